package main

import (
	"context"
	"regexp"
	"strconv"

	"github.com/redis/go-redis/v9"
)

var processed = regexp.MustCompile(`total_commands_processed:([0-9]+)`)

// redisCommands returns how many commands the server at an address has done
// since its start; 0 without an address.
func redisCommands(address string) (int64, error) {
	if address == "" {
		return 0, nil
	}
	o, err := redis.ParseURL(address)
	if err != nil {
		return 0, err
	}
	o.DisableIdentity = true // two commands of its own
	client := redis.NewClient(o)
	defer func() { _ = client.Close() }()
	info, err := client.Info(context.Background(), "stats").Result()
	if err != nil {
		return 0, err
	}
	m := processed.FindStringSubmatch(info)
	if m == nil {
		return 0, nil
	}
	return strconv.ParseInt(m[1], 10, 64)
}
