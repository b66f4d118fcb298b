-- +goose Up
-- Administrators of live rooms, whose watchers are in no table.
CREATE TABLE group_admins (
    gid BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    PRIMARY KEY (gid, uid)
);
