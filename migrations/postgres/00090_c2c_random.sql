-- +goose Up
-- Of two indexes that cost the same, the planner takes the one made later. For
-- a partition without statistics, such as a day's that has just begun, the
-- search of a repeated message costs the same by the primary key, which was
-- made anew in the meantime, and by this index; but the primary key would walk
-- the pair's whole day for each message.
DROP INDEX c2c_messages_random;
CREATE INDEX c2c_messages_random ON c2c_messages (lo, hi, random);
