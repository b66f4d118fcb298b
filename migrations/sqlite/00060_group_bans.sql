-- +goose Up
-- Who may not come into a live room again, until a unix second.
CREATE TABLE group_bans (
    gid   INTEGER NOT NULL,
    uid   INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (gid, uid)
) WITHOUT ROWID;
