-- +goose Up
-- Who is told of whose status; the newest of an account's stay when there are
-- too many (protocol 04 §4). at: unix µs, distinct per account.
CREATE TABLE status_watches (
    uid    BIGINT NOT NULL,
    target BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (uid, target)
);
CREATE INDEX status_watches_target ON status_watches (target);

-- Where a native build's notices go while it is not connected; '' is nowhere.
ALTER TABLE sessions ADD COLUMN token TEXT NOT NULL DEFAULT '';
