-- +goose Up
-- Postgres' planner needs its index of random numbers made anew; SQLite is
-- told by the statement which index to use.
SELECT 1;
