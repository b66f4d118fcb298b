-- +goose Up
-- Administrators of live rooms, whose watchers are in no table.
CREATE TABLE group_admins (
    gid INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    PRIMARY KEY (gid, uid)
) WITHOUT ROWID;
