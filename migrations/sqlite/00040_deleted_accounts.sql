-- +goose Up
-- Names of deleted accounts: tickets issued until void_before stay void, also
-- when an account of that name is made again (protocol 06 §5.1).
CREATE TABLE deleted_accounts (
    app         INTEGER NOT NULL,
    user_id     TEXT    NOT NULL,
    void_before INTEGER NOT NULL,
    PRIMARY KEY (app, user_id)
) WITHOUT ROWID;
