package message_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"imserver/internal/annotation"
	"imserver/internal/message"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// Ensure that a key names one message, also when the two of a pair give their
// messages the same numbers in the same second: a page by key skips none, and
// deleting, receipts, reactions and revokes reach the one that is meant.
func TestKeysNameOneMessage(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		w := MustWorld(t, db, message.Options{Annotations: annotation.New(db, time.Now)})
		ann, ben := w.login(t, "ann", 1), w.login(t, "ben", 1)
		const same = 20
		sides := []*device{ann, ben}
		keys := make([][2]string, same)
		send := func(side, i int) string {
			a := sides[side].must(t, "openim.sendmsg", object{"To_Account": sides[1-side].name, "MsgSeq": 7, "MsgRandom": i, "MsgClientTime": 1,
				"IsNeedReadReceipt": 1, "MsgBody": say(fmt.Sprint(side, " ", i))})
			return a["MsgKey"].(string)
		}
		var wg sync.WaitGroup
		for i := range same { // all at once: in one batch, or one after the other
			for side := range sides {
				wg.Add(1)
				go func() {
					defer wg.Done()
					time.Sleep(rand.N(5 * time.Millisecond))
					keys[i][side] = send(side, i)
				}()
			}
		}
		wg.Wait()
		for i := range keys {
			if keys[i][0] == keys[i][1] {
				t.Fatalf("two messages have the key %s", keys[i][0])
			}
			for side := range sides {
				equal(t, send(side, i), keys[i][side], "the key of a repeat")
			}
		}
		seen, last := map[string]bool{}, 1e18
		for req := (object{"Peer_Account": "ben", "MaxCnt": 1, "LastMsgTime": 0, "MsgKey": ""}); ; {
			page := ann.must(t, "openim.getroammsg", req)
			m := page["MsgList"].([]any)[0].(object)
			if at := m["MsgTimeStamp"].(float64); at > last {
				t.Fatal("times fall")
			} else {
				last = at
			}
			seen[fmt.Sprint(m["MsgBody"])] = true
			if page["Complete"] == 1.0 {
				break
			}
			req["LastMsgTime"], req["MsgKey"] = page["LastMsgTime"], page["MsgKey"]
		}
		equal(t, len(seen), 2*same, "messages in pages of one")
		ann.must(t, "openim.delete_c2c_msg_ramble", object{"From_Account": "ann", "To_Account": "ben", "MsgKeyList": []string{keys[0][1]}})
		texts := fmt.Sprint(ann.texts(t, "ben"))
		equal(t, len(ann.texts(t, "ben")), 2*same-1, "after a delete: "+texts)
		on := object{"From_Account": "ben", "To_Account": "ann", "MsgKey": keys[1][1], "Reaction": "x"}
		ann.must(t, "openim_msg_ext_http_svc.reaction_add", on)
		answer := ben.must(t, "openim_msg_ext_http_svc.reaction_multi_stat", object{"From_Account": "ann", "To_Account": "ben", "MsgKeyList": keys[1][:], "Count": 5})
		if s := fmt.Sprint(answer["Results"]); s != fmt.Sprintf("[map[MsgKey:%s ReactionList:[]] map[MsgKey:%s ReactionList:[map[Count:1 ReactedByMe:0 Reaction:x Reaction_Account:[ann]]]]]", keys[1][0], keys[1][1]) {
			t.Fatal("reactions: ", s)
		}
	})
}

// Ensure that an import whose numbers the other side has used in that second is
// neither taken for a repeat nor given a key that names two messages.
func TestImportKeys(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, ben, _ *device) {
		past := w.clock().Add(-time.Hour).Unix()
		put := func(from, to string) {
			code, _ := w.admin(t, "openim.importmsg", object{"SyncFromOldSystem": 2, "From_Account": from, "To_Account": to, "MsgSeq": 1, "MsgRandom": 2,
				"MsgTimeStamp": past, "MsgBody": say("from " + from)})
			wantCode(t, code, 0, "import")
		}
		put("ann", "ben")
		put("ben", "ann")
		put("ann", "ben")
		equal(t, ben.texts(t, "ann"), []string{"from ann", "from ben"}, "history")
		h := ben.history(t, "ann")
		equal(t, []any{h[0]["MsgTimeStamp"], h[1]["MsgTimeStamp"]}, []any{float64(past), float64(past + 1)}, "times")
	})
}

// Ensure that a request which comes again is one message, also when the clock
// was far ahead when it came first, and that a pair ahead of the clock gets no
// further ahead with every message.
func TestRepeatsAheadOfTheClock(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, ben, _ *device) {
		ann.send(t, "ben", "before", nil)
		w.advance(2 * time.Hour)
		first := ann.send(t, "ben", "first", nil)
		w.advance(-2 * time.Hour)
		for range 2 {
			again := ann.must(t, "openim.sendmsg", object{"From_Account": "ann", "To_Account": "ben", "MsgSeq": first.seq, "MsgRandom": first.random,
				"MsgClientTime": 1, "MsgBody": say("first")})
			equal(t, again["MsgKey"], any(first.key), "the key of the repeat")
		}
		want := []string{"before", "first"}
		for i := range 5 {
			m := ann.send(t, "ben", fmt.Sprint("m", i), nil)
			equal(t, m.time, first.time, "the time of what follows")
			want = append(want, fmt.Sprint("m", i))
		}
		// The other side's numbers: not a repeat, and not the same second.
		twin := ben.must(t, "openim.sendmsg", object{"From_Account": "ben", "To_Account": "ann", "MsgSeq": first.seq, "MsgRandom": first.random,
			"MsgClientTime": 1, "MsgBody": say("twin")})
		equal(t, twin["MsgTime"], any(float64(first.time+1)), "the time of the twin")
		equal(t, ben.texts(t, "ann"), append(want, "twin"), "history")
	})
}

// Ensure that the times of a pair's messages never decrease, even when the
// clock does, and that the log keeps the order of sending.
func TestTimesNeverDecrease(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, ben, _ *device) {
		var want []string
		last := int64(0)
		for i, step := range []time.Duration{0, 2 * time.Second, -time.Minute, 0, 30 * time.Second, -time.Hour, time.Second, 2 * time.Hour} {
			w.advance(step)
			from, to := ann, "ben"
			if i%2 == 1 {
				from, to = ben, "ann"
			}
			m := from.send(t, to, fmt.Sprint("m", i), nil)
			if m.time < last {
				t.Fatalf("message %d has the time %d after %d", i, m.time, last)
			}
			last = m.time
			want = append(want, fmt.Sprint("m", i))
		}
		equal(t, last, w.clock().Unix(), "the time when the clock is ahead again")
		equal(t, ann.texts(t, "ben"), want, "history")
		equal(t, ben.unread(t), map[string]int{"ann": 4}, "unread")
	})
}
