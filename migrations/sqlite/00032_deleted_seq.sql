-- +goose Up
-- Deletions go with the messages that they hide.
CREATE INDEX c2c_deleted_seq ON c2c_deleted (seq);
