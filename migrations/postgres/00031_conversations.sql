-- +goose Up
-- What a user keeps of a conversation besides its messages: kind 1 is a chat
-- with the user named target, 2 the group named so (protocol 02 §14). A row
-- exists only while there is something to keep. marks has a bit per mark.
CREATE TABLE conversation_states (
    uid       BIGINT  NOT NULL,
    kind      INTEGER NOT NULL,
    target    TEXT    NOT NULL,
    pinned_at BIGINT  NOT NULL DEFAULT 0,
    marks     BIGINT  NOT NULL DEFAULT 0,
    custom    TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (uid, kind, target)
);

-- A user's folders of conversations; id is the user's own and never used again
-- while the folder exists (protocol 02 §14.5).
CREATE TABLE conversation_groups (
    uid  BIGINT  NOT NULL,
    id   BIGINT  NOT NULL,
    name TEXT    NOT NULL,
    PRIMARY KEY (uid, id),
    UNIQUE (uid, name)
);

CREATE TABLE conversation_group_items (
    uid    BIGINT  NOT NULL,
    kind   INTEGER NOT NULL,
    target TEXT    NOT NULL,
    id     BIGINT  NOT NULL,
    PRIMARY KEY (uid, kind, target, id)
);
