-- +goose Up
-- Counts the changes of who is in the group: connections that are told of two
-- of them out of order know the later one by it.
ALTER TABLE groups ADD COLUMN member_seq BIGINT NOT NULL DEFAULT 0;
