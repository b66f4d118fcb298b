-- +goose Up
-- The number of the account that had the name last: what it wrote stays in the
-- history of others, under its name (protocol 06 §5.1). 0 = not known.
ALTER TABLE deleted_accounts ADD COLUMN uid BIGINT NOT NULL DEFAULT 0;
CREATE INDEX deleted_accounts_uid ON deleted_accounts (uid);
