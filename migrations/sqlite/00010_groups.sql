-- +goose Up
-- A group or, with kind 6 and a parent, a topic of a community. gid is also
-- the number of its message log; it is never used again. Options and kinds are
-- the numbers of package group. custom is a JSON object of strings.
CREATE TABLE groups (
    gid           INTEGER PRIMARY KEY AUTOINCREMENT,
    app           INTEGER NOT NULL,
    group_id      TEXT   NOT NULL,
    kind          INTEGER NOT NULL,
    parent        INTEGER NOT NULL DEFAULT 0,
    name          TEXT   NOT NULL,
    introduction  TEXT   NOT NULL DEFAULT '',
    notification  TEXT   NOT NULL DEFAULT '',
    face_url      TEXT   NOT NULL DEFAULT '',
    custom_text   TEXT   NOT NULL DEFAULT '',
    owner         INTEGER NOT NULL DEFAULT 0,
    apply_option  INTEGER NOT NULL DEFAULT 0,
    invite_option INTEGER NOT NULL DEFAULT 0,
    max_members   INTEGER NOT NULL DEFAULT 0,
    member_num    INTEGER NOT NULL DEFAULT 0,
    mute_all      INTEGER NOT NULL DEFAULT 0,
    support_topic INTEGER NOT NULL DEFAULT 0,
    custom        TEXT   NOT NULL DEFAULT '{}',
    info_seq      INTEGER NOT NULL DEFAULT 1,
    info_time     INTEGER NOT NULL,
    attr_seq      INTEGER NOT NULL DEFAULT 0,
    counter_seq   INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    UNIQUE (app, group_id)
);
CREATE INDEX groups_parent ON groups (parent) WHERE parent > 0;
CREATE INDEX groups_kind ON groups (app, kind, gid);

-- Positions are sequences of the group's log. Seqs from join_seq + 1 on were
-- said in the member's presence.
CREATE TABLE group_members (
    gid         INTEGER NOT NULL,
    uid         INTEGER NOT NULL,
    role        INTEGER NOT NULL,
    joined_at   INTEGER NOT NULL,
    join_seq    INTEGER NOT NULL DEFAULT 0,
    read_seq    INTEGER NOT NULL DEFAULT 0,
    cleared_seq INTEGER NOT NULL DEFAULT 0,
    hidden_seq  INTEGER NOT NULL DEFAULT 0,
    muted_until INTEGER NOT NULL DEFAULT 0,
    recv_opt    INTEGER NOT NULL DEFAULT 0,
    name_card   TEXT   NOT NULL DEFAULT '',
    custom      TEXT   NOT NULL DEFAULT '{}',
    PRIMARY KEY (gid, uid)
) WITHOUT ROWID;
CREATE INDEX group_members_uid ON group_members (uid, gid);
CREATE INDEX group_members_order ON group_members (gid, role DESC, joined_at, uid);

-- A mute outlives leaving and coming back (protocol 06 §5.6).
CREATE TABLE group_mutes (
    gid   INTEGER NOT NULL,
    uid   INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (gid, uid)
) WITHOUT ROWID;

-- What a member keeps of a topic, made when there is something to keep.
-- recv_opt -1 follows the community.
CREATE TABLE topic_members (
    tid         INTEGER NOT NULL,
    uid         INTEGER NOT NULL,
    read_seq    INTEGER NOT NULL DEFAULT 0,
    cleared_seq INTEGER NOT NULL DEFAULT 0,
    hidden_seq  INTEGER NOT NULL DEFAULT 0,
    muted_until INTEGER NOT NULL DEFAULT 0,
    recv_opt    INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (tid, uid)
) WITHOUT ROWID;
CREATE INDEX topic_members_uid ON topic_members (uid, tid);

-- kind: 0 somebody wants to join, 1 an invitation that waits for the invited,
-- 2 an invitation that waits for an admin. For 0 invited is 0. added_at is in
-- microseconds. handled: 0 open, 1 agreed, 2 refused.
CREATE TABLE group_applications (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    gid        INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    applicant  INTEGER NOT NULL,
    invited    INTEGER NOT NULL DEFAULT 0,
    message    TEXT   NOT NULL DEFAULT '',
    auth       TEXT   NOT NULL,
    added_at   INTEGER NOT NULL,
    handled    INTEGER NOT NULL DEFAULT 0,
    UNIQUE (gid, kind, applicant, invited)
);

CREATE TABLE group_attributes (
    gid   INTEGER NOT NULL,
    name  TEXT   NOT NULL,
    value TEXT   NOT NULL,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (gid, name)
) WITHOUT ROWID;

CREATE TABLE group_counters (
    gid   INTEGER NOT NULL,
    name  TEXT   NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (gid, name)
) WITHOUT ROWID;

-- System notices and mentions that a receiver may have missed; the client
-- names them by seq and random (protocol 03 §6.3, 02 §13.1). item is the
-- event item as openim.getmsg returns it.
CREATE TABLE group_notices (
    uid        INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    random     INTEGER NOT NULL,
    gid        INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    item       TEXT   NOT NULL,
    PRIMARY KEY (uid, seq, random)
) WITHOUT ROWID;
CREATE INDEX group_notices_created ON group_notices (created_at);
