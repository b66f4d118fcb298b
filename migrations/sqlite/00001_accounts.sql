-- +goose Up
-- An account's uid is its TinyId: permanent, unique over all apps, so every
-- table keyed by uid keeps apps apart by construction (protocol 01 §8).
CREATE TABLE accounts (
    uid         INTEGER PRIMARY KEY AUTOINCREMENT,
    app         INTEGER NOT NULL,
    user_id     TEXT    NOT NULL,
    nick        TEXT    NOT NULL DEFAULT '',
    avatar      TEXT    NOT NULL DEFAULT '',
    tags        TEXT    NOT NULL DEFAULT '{}',
    status      TEXT    NOT NULL DEFAULT '',
    void_before INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    UNIQUE (app, user_id)
);
INSERT INTO sqlite_sequence (name, seq) VALUES ('accounts', 144115200000000000);

-- A login instance (InstId). state: 0 live, 1-3 kicked with that KickType,
-- 8 replaced tickets (expired), 9 logged out.
CREATE TABLE sessions (
    uid        INTEGER NOT NULL,
    inst       INTEGER NOT NULL,
    platform   INTEGER NOT NULL,
    class      INTEGER NOT NULL,
    state      INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (uid, inst)
) WITHOUT ROWID;
CREATE INDEX sessions_end ON sessions (expires_at);
