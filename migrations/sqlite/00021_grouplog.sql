-- +goose Up
-- The head of a group's or topic's log; log is the group's number. hub is the
-- number of the hub topic that carries its events: a topic's is its
-- community's. last_recall is in microseconds.
CREATE TABLE group_logs (
    log         INTEGER PRIMARY KEY,
    hub         INTEGER NOT NULL,
    last_seq    INTEGER NOT NULL DEFAULT 0,
    last_time   INTEGER NOT NULL DEFAULT 0,
    last_recall INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX group_logs_hub ON group_logs (hub);

-- Written once for all members. time (unix seconds) never falls within a log.
-- sender 0 is the system; operator is then who caused the tip. receivers of a
-- directed message are ",uid,uid,". changed_at is the last recall, in
-- microseconds.
CREATE TABLE group_messages (
    log         INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    time        INTEGER NOT NULL,
    sender      INTEGER NOT NULL,
    operator    INTEGER NOT NULL DEFAULT 0,
    random      INTEGER NOT NULL,
    client_seq  INTEGER NOT NULL,
    client_time INTEGER NOT NULL,
    priority    INTEGER NOT NULL,
    flags       INTEGER NOT NULL,
    version     INTEGER NOT NULL DEFAULT 0,
    changed_at  INTEGER NOT NULL DEFAULT 0,
    revoker     TEXT   NOT NULL DEFAULT '',
    reason      TEXT   NOT NULL DEFAULT '',
    body        TEXT   NOT NULL,
    cloud       TEXT   NOT NULL DEFAULT '',
    mentions    TEXT   NOT NULL DEFAULT '',
    receivers   TEXT   NOT NULL DEFAULT '',
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;
CREATE INDEX group_messages_random ON group_messages (log, random);
CREATE INDEX group_messages_changed ON group_messages (log, changed_at) WHERE changed_at > 0;

-- Sequences that do not count as unread: for everybody (uid 0), or for one.
CREATE TABLE group_quiet (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    at  INTEGER NOT NULL,
    PRIMARY KEY (log, seq, uid)
) WITHOUT ROWID;
CREATE INDEX group_quiet_at ON group_quiet (at);

-- Messages that a member deleted for itself.
CREATE TABLE group_deleted (
    uid INTEGER NOT NULL,
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at  INTEGER NOT NULL,
    PRIMARY KEY (uid, log, seq)
) WITHOUT ROWID;
CREATE INDEX group_deleted_at ON group_deleted (at);

-- Mentions: uid 0 is everybody. seq and random name the mention to its receiver. group_at_dropped are mentions of everybody that
-- one of them has done away with.
CREATE TABLE group_at (
    log    INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    uid    INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    random INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (log, seq, uid)
) WITHOUT ROWID;
CREATE INDEX group_at_uid ON group_at (uid, at);
CREATE INDEX group_at_at ON group_at (at);
CREATE TABLE group_at_dropped (
    uid    INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    random INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (uid, seq, random)
) WITHOUT ROWID;
CREATE INDEX group_at_dropped_at ON group_at_dropped (at);

-- Read receipts of members for messages that asked for them.
CREATE TABLE group_receipts (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    at  INTEGER NOT NULL,
    PRIMARY KEY (log, seq, uid)
) WITHOUT ROWID;
CREATE INDEX group_receipts_at ON group_receipts (at);

-- Pinned messages; at is in microseconds and orders them.
CREATE TABLE group_pins (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    at  INTEGER NOT NULL,
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;
