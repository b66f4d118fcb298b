-- +goose Up
-- When a device that is away was last here, unix s; 0 while it is connected. A
-- push service counts as reaching it for some days from then on.
ALTER TABLE sessions ADD COLUMN seen_at BIGINT NOT NULL DEFAULT 0;
UPDATE sessions SET seen_at = created_at / 1000000;
