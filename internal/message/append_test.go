package message_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/account"
	"imserver/internal/bus"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/message"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// node is a message service over a database, as one server process has it.
type node struct {
	table    *command.Table
	accounts *account.Directory
	app      *config.App
}

func MustNode(t *testing.T, db *store.DB) *node {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	n := &node{table: command.NewTable(), accounts: account.NewDirectory(db, time.Now), app: &config.App{SDKAppID: 1, Settings: config.Default().Defaults}}
	s, err := message.NewService(t.Context(), message.Options{DB: db, Accounts: n.accounts, Hub: fanout.NewHub(bus.Local{}, log), Now: time.Now, Log: log,
		Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	s.Register(n.table)
	return n
}

// do runs a command as a user and decodes the answer.
func (n *node) do(t *testing.T, user, name, body string) (code int, answer map[string]any) {
	t.Helper()
	acc, _, err := n.accounts.Ensure(t.Context(), 1, user)
	if err != nil {
		t.Fatal(err)
	}
	v, err := n.table.Run(t.Context(), &command.Call{Name: name, Kind: command.Users, App: n.app, UserID: user, UID: acc.UID, Inst: 1}, []byte(body))
	v, err = command.Await(t.Context(), v, err)
	doc, code := command.AppendAnswer(nil, v, err)
	if err := json.Unmarshal(doc, &answer); err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	if code == command.CodeInternal {
		t.Fatalf("%s: %v", name, err)
	}
	return code, answer
}

func text(to string, seq, random int) string {
	return fmt.Sprintf(`{"To_Account":%q,"MsgSeq":%d,"MsgRandom":%d,"MsgClientTime":1795382433,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"m%d"}}]}`,
		to, seq, random, random)
}

// Ensure that two nodes which take the same messages, each several times and
// at once, store each once, give every copy the same answer, and never let the
// time of a pair go back.
func TestAppendOnce(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		nodes := []*node{MustNode(t, db), MustNode(t, db)}
		const senders, each, copies = 4, 25, 3
		users := []string{"ann", "ben"}
		for _, n := range nodes {
			for _, u := range users {
				n.do(t, u, "openim.getmsg", `{"Cookie":""}`)
			}
		}
		var mu sync.Mutex
		answers := map[int]map[any]bool{}
		var wg sync.WaitGroup
		for s := range senders {
			for c := range copies {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for i := range each {
						random := s*1000 + i
						code, a := nodes[(s+c)%2].do(t, users[s%2], "openim.sendmsg", text(users[1-s%2], 7_000_000_000+i, random))
						if code != 0 {
							t.Errorf("code %d: %v", code, a)
						}
						mu.Lock()
						if answers[random] == nil {
							answers[random] = map[any]bool{}
						}
						answers[random][a["MsgKey"]] = true
						mu.Unlock()
					}
				}()
			}
		}
		wg.Wait()
		for random, keys := range answers {
			if len(keys) != 1 {
				t.Errorf("message %d has %d answers: %v", random, len(keys), keys)
			}
		}
		seen := map[float64]bool{}
		body, last, pages := `"MsgKey":"","LastMsgTime":0`, 1e18, 0
		for {
			_, a := nodes[0].do(t, "ann", "openim.getroammsg", `{"Peer_Account":"ben","MaxCnt":15,"GetDirection":0,`+body+`}`)
			list := a["MsgList"].([]any)
			for i := len(list) - 1; i >= 0; i-- {
				m := list[i].(map[string]any)
				if at := m["MsgTimeStamp"].(float64); at > last {
					t.Errorf("time rises from %v to %v towards older", last, at)
				} else {
					last = at
				}
				if r := m["MsgRandom"].(float64); seen[r] {
					t.Errorf("message %v is there twice", r)
				} else {
					seen[r] = true
				}
			}
			if pages++; a["Complete"] == float64(1) || pages > 50 {
				break
			}
			body = fmt.Sprintf(`"MsgKey":%q,"LastMsgTime":%v`, a["MsgKey"], int64(a["LastMsgTime"].(float64)))
		}
		if len(seen) != senders*each {
			t.Errorf("%d messages in the history, want %d", len(seen), senders*each)
		}
		_, a := nodes[1].do(t, "ben", "openim.getmsg", `{"Cookie":""}`)
		counts := a["C2CPairUnreadCount"].([]any)
		if len(counts) != 1 || counts[0].(map[string]any)["UnreadCount"] != float64(senders/2*each) {
			t.Errorf("unread %v", counts)
		}
	})
}

// Ensure that the first messages of new pairs, written by both sides at once,
// on two nodes and beside messages of old pairs, are stored once each.
func TestFirstMessagesAtOnce(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		nodes := []*node{MustNode(t, db), MustNode(t, db)}
		const pairs, each = 60, 4
		name := func(pair, side int) string { return fmt.Sprintf("%c%d", 'a'+side, pair) }
		for i := range 2 * pairs {
			nodes[i%2].do(t, name(i/2, i%2), "openim.getmsg", `{"Cookie":""}`)
		}
		var wg sync.WaitGroup
		for i := range pairs * each * 2 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				pair, side, k := i/2%pairs, i%2, i/2/pairs
				if code, a := nodes[(side+k)%2].do(t, name(pair, side), "openim.sendmsg", text(name(pair, 1-side), 1+k, 1000*side+k)); code != 0 {
					t.Errorf("code %d: %v", code, a)
				}
			}()
		}
		wg.Wait()
		for pair := range pairs {
			_, a := nodes[0].do(t, name(pair, 0), "openim.getroammsg", fmt.Sprintf(`{"Peer_Account":%q,"MaxCnt":15,"GetDirection":0,"MsgKey":"","LastMsgTime":0}`, name(pair, 1)))
			seen := map[any]int{}
			for _, m := range a["MsgList"].([]any) {
				seen[m.(map[string]any)["MsgRandom"]]++
			}
			if len(seen) != 2*each || len(a["MsgList"].([]any)) != 2*each {
				t.Errorf("pair %d: %v", pair, seen)
			}
		}
	})
}
