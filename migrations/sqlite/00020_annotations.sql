-- +goose Up
-- What is attached to a message after it was sent (protocol 02 §15, §16). a, b
-- and seq name the message: its log (two numbers) and its place there.
CREATE TABLE annotations (
    a          INTEGER NOT NULL,
    b          INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    counter    INTEGER NOT NULL DEFAULT 0, -- last number given to a change of an extension
    clear_seq  INTEGER NOT NULL DEFAULT 0, -- counter at the last clearing
    minute     INTEGER NOT NULL DEFAULT 0, -- unix minute that changes counts
    changes    INTEGER NOT NULL DEFAULT 0,
    touched_at INTEGER NOT NULL DEFAULT 0, -- unix s of the last change; retention goes by it
    PRIMARY KEY (a, b, seq)
) WITHOUT ROWID;
CREATE INDEX annotations_touched ON annotations (touched_at);

CREATE TABLE message_extensions (
    a       INTEGER NOT NULL,
    b       INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    name    TEXT   NOT NULL,
    value   TEXT   NOT NULL, -- '' = deleted
    version INTEGER NOT NULL,
    PRIMARY KEY (a, b, seq, name)
) WITHOUT ROWID;

-- place orders the users of a reaction by when they reacted.
CREATE TABLE message_reactions (
    a        INTEGER NOT NULL,
    b        INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    reaction TEXT   NOT NULL,
    uid      INTEGER NOT NULL,
    place    INTEGER NOT NULL,
    PRIMARY KEY (a, b, seq, reaction, uid)
) WITHOUT ROWID;
