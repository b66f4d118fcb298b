-- +goose Up
-- One row a pair: lo and hi are the smaller and the larger uid. seq is
-- seconds << 20 | counter, so it orders the pair's messages, holds their time
-- and turns a time cursor into a key range (protocol 02 §2, §7).
CREATE TABLE c2c_pairs (
    lo       INTEGER NOT NULL,
    hi       INTEGER NOT NULL,
    last_seq INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (lo, hi)
) WITHOUT ROWID;

CREATE TABLE c2c_messages (
    lo          INTEGER NOT NULL,
    hi          INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    sender      INTEGER NOT NULL,
    msg_seq     INTEGER NOT NULL,
    random      INTEGER NOT NULL,
    client_time INTEGER NOT NULL,
    flags       INTEGER NOT NULL,
    version     INTEGER NOT NULL DEFAULT 0,
    changed_at  INTEGER NOT NULL DEFAULT 0,
    receipt_at  INTEGER NOT NULL DEFAULT 0,
    revoker     TEXT    NOT NULL DEFAULT '',
    reason      TEXT    NOT NULL DEFAULT '',
    body        TEXT    NOT NULL,
    cloud       TEXT    NOT NULL DEFAULT '',
    push_info   TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (lo, hi, seq)
) WITHOUT ROWID;
CREATE INDEX c2c_messages_random ON c2c_messages (lo, hi, random);
CREATE INDEX c2c_messages_changed ON c2c_messages (lo, hi, changed_at) WHERE changed_at > 0;

-- What one side keeps of a pair: positions are seqs of the pair.
CREATE TABLE c2c_members (
    uid         INTEGER NOT NULL,
    peer        INTEGER NOT NULL,
    read_seq    INTEGER NOT NULL DEFAULT 0,
    cleared_seq INTEGER NOT NULL DEFAULT 0,
    hidden_seq  INTEGER NOT NULL DEFAULT 0,
    recv_opt    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (uid, peer)
) WITHOUT ROWID;

CREATE TABLE c2c_deleted (
    uid  INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (uid, peer, seq)
) WITHOUT ROWID;
