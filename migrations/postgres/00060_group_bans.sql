-- +goose Up
-- Who may not come into a live room again, until a unix second.
CREATE TABLE group_bans (
    gid   BIGINT NOT NULL,
    uid   BIGINT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (gid, uid)
);
