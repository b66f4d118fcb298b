package liveroom_test

import (
	"fmt"
	"testing"
	"time"

	"imserver/internal/bus/bustest"
	"imserver/internal/group"
	"imserver/internal/liveroom"
)

// Ensure that Redis forgets a room soon after it is dismissed: what tells of
// the end must not make it be remembered anew.
func TestDismissedRoomIsForgotten(t *testing.T) {
	client, prefix := bustest.Client(t), bustest.Prefix()
	ledger := liveroom.NewRedis(client, liveroom.RedisOptions{Prefix: prefix})
	s := mustService(t, ledger)
	for room := range int64(20) {
		mustAppend(t, ledger, liveroom.NewNamed(room+1, 3, 1, room, `}`), 0, liveroom.NewBounds(10, time.Minute, 5))
		s.Closed(t.Context(), &group.Info{GID: room + 1, ID: fmt.Sprint("room", room)}, []byte(`{}`))
	}
	eventually(t, "all rooms are forgotten", func() bool {
		keys, err := client.Keys(t.Context(), prefix+"*").Result()
		if err != nil {
			return false
		}
		for _, key := range keys {
			if life, err := client.PTTL(t.Context(), key).Result(); err != nil || life < 0 || life > 15*time.Minute {
				t.Fatalf("%s stays for %s, %v", key, life, err)
			}
		}
		return len(keys) > 0
	})
}
