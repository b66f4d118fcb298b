-- +goose Up
-- What is attached to a message after it was sent (protocol 02 §15, §16). a, b
-- and seq name the message: its log (two numbers) and its place there.
CREATE TABLE annotations (
    a          BIGINT NOT NULL,
    b          BIGINT NOT NULL,
    seq        BIGINT NOT NULL,
    counter    BIGINT NOT NULL DEFAULT 0, -- last number given to a change of an extension
    clear_seq  BIGINT NOT NULL DEFAULT 0, -- counter at the last clearing
    minute     BIGINT NOT NULL DEFAULT 0, -- unix minute that changes counts
    changes    INTEGER NOT NULL DEFAULT 0,
    touched_at BIGINT NOT NULL DEFAULT 0, -- unix s of the last change; retention goes by it
    PRIMARY KEY (a, b, seq)
) WITH (fillfactor = 70);
CREATE INDEX annotations_touched ON annotations (touched_at);

CREATE TABLE message_extensions (
    a       BIGINT NOT NULL,
    b       BIGINT NOT NULL,
    seq     BIGINT NOT NULL,
    name    TEXT   NOT NULL,
    value   TEXT   NOT NULL, -- '' = deleted
    version BIGINT NOT NULL,
    PRIMARY KEY (a, b, seq, name)
);

-- place orders the users of a reaction by when they reacted.
CREATE TABLE message_reactions (
    a        BIGINT NOT NULL,
    b        BIGINT NOT NULL,
    seq      BIGINT NOT NULL,
    reaction TEXT   NOT NULL,
    uid      BIGINT NOT NULL,
    place    BIGINT NOT NULL,
    PRIMARY KEY (a, b, seq, reaction, uid)
);
