-- +goose Up
-- Unix second at which the side last had fewer unread messages: it read, cleared or removed the chat.
ALTER TABLE c2c_members ADD COLUMN read_at BIGINT NOT NULL DEFAULT 0;
