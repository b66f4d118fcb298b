-- +goose Up
-- The sender's settings for offline push, a JSON object; '' when they say nothing.
ALTER TABLE group_messages ADD COLUMN push_info TEXT NOT NULL DEFAULT '';
