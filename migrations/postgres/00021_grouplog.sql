-- +goose Up
-- The head of a group's or topic's log; log is the group's number. hub is the
-- number of the hub topic that carries its events: a topic's is its
-- community's. last_recall is in microseconds.
CREATE TABLE group_logs (
    log         BIGINT PRIMARY KEY,
    hub         BIGINT NOT NULL,
    last_seq    BIGINT NOT NULL DEFAULT 0,
    last_time   BIGINT NOT NULL DEFAULT 0,
    last_recall BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE INDEX group_logs_hub ON group_logs (hub);

-- Written once for all members. time (unix seconds) never falls within a log.
-- sender 0 is the system; operator is then who caused the tip. receivers of a
-- directed message are ",uid,uid,". changed_at is the last recall, in
-- microseconds. Partitioned by day of time; the retention job makes and drops
-- the partitions.
CREATE TABLE group_messages (
    log         BIGINT NOT NULL,
    seq         BIGINT NOT NULL,
    time        BIGINT NOT NULL,
    sender      BIGINT NOT NULL,
    operator    BIGINT NOT NULL DEFAULT 0,
    random      BIGINT NOT NULL,
    client_seq  BIGINT NOT NULL,
    client_time BIGINT NOT NULL,
    priority    SMALLINT NOT NULL,
    flags       INTEGER NOT NULL,
    version     INTEGER NOT NULL DEFAULT 0,
    changed_at  BIGINT NOT NULL DEFAULT 0,
    revoker     TEXT   NOT NULL DEFAULT '',
    reason      TEXT   NOT NULL DEFAULT '',
    body        TEXT   NOT NULL,
    cloud       TEXT   NOT NULL DEFAULT '',
    mentions    TEXT   NOT NULL DEFAULT '',
    receivers   TEXT   NOT NULL DEFAULT '',
    PRIMARY KEY (log, seq, time)
) PARTITION BY RANGE (time);
CREATE INDEX group_messages_random ON group_messages (log, random);
CREATE INDEX group_messages_changed ON group_messages (log, changed_at) WHERE changed_at > 0;
CREATE TABLE group_messages_default PARTITION OF group_messages DEFAULT;

-- Sequences that do not count as unread: for everybody (uid 0), or for one.
CREATE TABLE group_quiet (
    log BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    at  BIGINT NOT NULL,
    PRIMARY KEY (log, seq, uid)
);
CREATE INDEX group_quiet_at ON group_quiet (at);

-- Messages that a member deleted for itself.
CREATE TABLE group_deleted (
    uid BIGINT NOT NULL,
    log BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    at  BIGINT NOT NULL,
    PRIMARY KEY (uid, log, seq)
);
CREATE INDEX group_deleted_at ON group_deleted (at);

-- Mentions: uid 0 is everybody. seq and random name the mention to its receiver. group_at_dropped are mentions of everybody that
-- one of them has done away with.
CREATE TABLE group_at (
    log    BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    uid    BIGINT NOT NULL,
    sender BIGINT NOT NULL,
    random BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (log, seq, uid)
);
CREATE INDEX group_at_uid ON group_at (uid, at);
CREATE INDEX group_at_at ON group_at (at);
CREATE TABLE group_at_dropped (
    uid    BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    random BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (uid, seq, random)
);
CREATE INDEX group_at_dropped_at ON group_at_dropped (at);

-- Read receipts of members for messages that asked for them.
CREATE TABLE group_receipts (
    log BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    at  BIGINT NOT NULL,
    PRIMARY KEY (log, seq, uid)
);
CREATE INDEX group_receipts_at ON group_receipts (at);

-- Pinned messages; at is in microseconds and orders them.
CREATE TABLE group_pins (
    log BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    at  BIGINT NOT NULL,
    PRIMARY KEY (log, seq)
);
