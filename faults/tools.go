package main

import (
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"
)

var errOwnDisk = errors.New("the data is on the machine's own file system (as root it is put on a small one in memory)")

func redisClient(cl *cluster) (*redis.Client, error) {
	o, err := redis.ParseURL("redis://127.0.0.1:" + strconv.Itoa(cl.rdPort) + "/0")
	if err != nil {
		return nil, err
	}
	return redis.NewClient(o), nil
}
