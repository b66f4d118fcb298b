-- +goose Up
-- How often the attributes were written in the second attr_at, unix s.
ALTER TABLE groups ADD COLUMN attr_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN attr_writes INTEGER NOT NULL DEFAULT 0;
