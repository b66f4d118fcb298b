package message_test

import (
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"imserver/internal/message"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// Ensure that of all who edit one version at once, on whatever device and node,
// exactly one succeeds, that the others are shown what it wrote or what came
// after, and that no version is given out twice: while receipts, revokes and
// reading go on around them.
func TestEditsOfOneVersion(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		w := MustWorld(t, db, message.Options{})
		w.node(t)
		id := 0
		rapid.Check(t, func(rt *rapid.T) {
			id++
			c := newChat(rt, w, id)
			m := c.devices[0][0].send(rt, c.names[1], "v0", object{"IsNeedReadReceipt": 1})
			text := "v0"
			for version := range rapid.IntRange(1, 4).Draw(rt, "versions") {
				editors := rapid.SliceOfN(rapid.IntRange(0, 3), 2, 8).Draw(rt, "editors")
				wins, odd := c.edit(rt, m, version, editors)
				if len(wins) != 1 || len(odd) > 0 {
					rt.Fatalf("version %d was edited by %v; %v", version, wins, odd)
				}
				text = wins[0]
			}
			for side := range 2 {
				h := c.devices[side][0].history(rt, c.names[1-side])
				equal(rt, fmt.Sprint(h[0]["MsgBody"]), fmt.Sprint(say(text)), "what both see")
				equal(rt, h[0]["IsPeerRead"], 1.0, "the receipt that was given meanwhile")
			}
		})
	})
}

// edit lets several devices edit one version at once, and returns the texts of
// those that succeeded, and answers that nobody should get.
func (c *chat) edit(t fataler, m sent, version int, editors []int) (wins, odd []string) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	shown := map[string]bool{}
	for i, e := range editors {
		text := fmt.Sprint("v", version+1, " by ", i)
		body := m.info()
		body["MsgVersion"], body["MsgBody"] = version, say(text)
		wg.Add(1)
		go func() {
			defer wg.Done()
			code, answer := c.devices[e%2][e/2].do(t, "openim.modify_c2c_msg", body)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case code == 0 && answer["MsgVersion"] == float64(version+1):
				wins = append(wins, text)
			case code == 20027 && answer["MsgVersion"] == float64(version+1):
				shown[fmt.Sprint(answer["MsgBody"])] = true
			default:
				odd = append(odd, fmt.Sprint(code, answer))
			}
		}()
	}
	wg.Add(1)
	go func() {
		defer wg.Done()
		c.devices[1][version%2].must(t, "openim.c2c_msg_read_receipt", object{"Peer_Account": c.names[0], "C2CMsgInfo": []object{m.info()}})
	}()
	wg.Wait()
	for s := range shown {
		if len(wins) != 1 || s != fmt.Sprint(say(wins[0])) {
			odd = append(odd, "shown: "+s)
		}
	}
	return wins, odd
}
