-- +goose Up
-- A repeated message is found by the numbers that its client gave it. Clients
-- count the first of them upwards, so an index that begins with it grows at
-- one place for each conversation; by the random number every message touched
-- a page of its own.
DROP INDEX c2c_messages_random;
CREATE INDEX c2c_messages_numbers ON c2c_messages (lo, hi, msg_seq, random);
DROP INDEX group_messages_random;
CREATE INDEX group_messages_numbers ON group_messages (log, client_seq, random);
