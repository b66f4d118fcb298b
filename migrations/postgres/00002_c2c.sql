-- +goose Up
-- One row a pair: lo and hi are the smaller and the larger uid. seq is
-- seconds << 20 | counter, so it orders the pair's messages, holds their time
-- and turns a time cursor into a key range (protocol 02 §2, §7).
CREATE TABLE c2c_pairs (
    lo       BIGINT NOT NULL,
    hi       BIGINT NOT NULL,
    last_seq BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (lo, hi)
) WITH (fillfactor = 70);

-- Partitioned by day of seq; the partitions are made and dropped by the
-- retention job. The default partition catches clocks that run far ahead.
CREATE TABLE c2c_messages (
    lo          BIGINT NOT NULL,
    hi          BIGINT NOT NULL,
    seq         BIGINT NOT NULL,
    sender      BIGINT NOT NULL,
    msg_seq     BIGINT NOT NULL,
    random      BIGINT NOT NULL,
    client_time BIGINT NOT NULL,
    flags       INTEGER NOT NULL,
    version     INTEGER NOT NULL DEFAULT 0,
    changed_at  BIGINT NOT NULL DEFAULT 0,
    receipt_at  BIGINT NOT NULL DEFAULT 0,
    revoker     TEXT   NOT NULL DEFAULT '',
    reason      TEXT   NOT NULL DEFAULT '',
    body        TEXT   NOT NULL,
    cloud       TEXT   NOT NULL DEFAULT '',
    push_info   TEXT   NOT NULL DEFAULT '',
    PRIMARY KEY (lo, hi, seq)
) PARTITION BY RANGE (seq);
CREATE INDEX c2c_messages_random ON c2c_messages (lo, hi, random);
CREATE INDEX c2c_messages_changed ON c2c_messages (lo, hi, changed_at) WHERE changed_at > 0;
CREATE TABLE c2c_messages_default PARTITION OF c2c_messages DEFAULT;

-- What one side keeps of a pair: positions are seqs of the pair.
CREATE TABLE c2c_members (
    uid         BIGINT NOT NULL,
    peer        BIGINT NOT NULL,
    read_seq    BIGINT NOT NULL DEFAULT 0,
    cleared_seq BIGINT NOT NULL DEFAULT 0,
    hidden_seq  BIGINT NOT NULL DEFAULT 0,
    recv_opt    SMALLINT NOT NULL DEFAULT 0,
    PRIMARY KEY (uid, peer)
) WITH (fillfactor = 80);

CREATE TABLE c2c_deleted (
    uid  BIGINT NOT NULL,
    peer BIGINT NOT NULL,
    seq  BIGINT NOT NULL,
    PRIMARY KEY (uid, peer, seq)
);
