-- +goose Up
-- Logins that have ended go a week later; seen_at is then when they ended. When
-- those that are there did is not known.
UPDATE sessions SET seen_at = CAST(extract(epoch FROM now()) AS BIGINT) WHERE state <> 0;
CREATE INDEX sessions_ended ON sessions (seen_at) WHERE state <> 0;
