-- +goose Up
-- Bits 1 and 2: lo, hi discards what the other sends now; 4 and 8: has ever
-- done so, and its list must be looked at closely (protocol 02 §12.1).
ALTER TABLE c2c_pairs ADD COLUMN discard INTEGER NOT NULL DEFAULT 0;

-- What a user has set for all of its chats: a counter of mute changes and the
-- do-not-disturb times (protocol 02 §12.2, §12.3).
CREATE TABLE c2c_settings (
    uid        INTEGER PRIMARY KEY,
    mute_seq   INTEGER NOT NULL DEFAULT 0,
    level      INTEGER NOT NULL DEFAULT 0,
    start_time INTEGER NOT NULL DEFAULT 0,
    end_time   INTEGER NOT NULL DEFAULT 0,
    repeated   INTEGER NOT NULL DEFAULT 0
);

-- Bodies of merged messages too large to travel inside one; the key cannot be
-- guessed (protocol 02 §17).
CREATE TABLE relay_bodies (
    app        INTEGER NOT NULL,
    key        TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (app, key)
) WITHOUT ROWID;
CREATE INDEX relay_bodies_end ON relay_bodies (expires_at);
