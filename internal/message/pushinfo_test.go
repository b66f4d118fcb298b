package message_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"imserver/internal/message"
	"imserver/internal/store"
)

// offers is a message.Pusher that remembers the push settings of what it was
// offered, by the message's text.
type offers struct {
	mu   sync.Mutex
	info map[string]string // guarded by mu
}

func (o *offers) Offer(n message.Notice) {
	var body []struct{ MsgContent struct{ Text string } }
	if err := json.Unmarshal(n.Message.Body, &body); err != nil {
		panic(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.info[body[0].MsgContent.Text] = string(n.Message.PushInfo)
}

func (o *offers) take() map[string]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	info := o.info
	o.info = map[string]string{}
	return info
}

func mustJSON(t fataler, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func scanString(rows *sql.Rows, s *string) error { return rows.Scan(s) }

// Ensure that the settings for offline push are kept with their message, by
// whichever way it came and whatever else was written with it, and that what
// SDKs send when an app sets nothing takes no room.
func TestPushInfoIsKept(t *testing.T) {
	// As v3 sends it with every message.
	blank := object{"PushFlag": 0, "Title": "", "Desc": "", "Ext": "", "ApnsInfo": object{"Sound": "", "BadgeMode": 0, "InterruptionLevel": "active"},
		"AndroidInfo": object{"Sound": "", "VIVOClassification": 1, "HuaWeiImage": nil}}
	p := &offers{}
	each(t, message.Options{Pusher: p}, func(t *testing.T, w *world, ann, _, ben, _ *device) {
		p.take()
		said := map[string]object{
			"titled": {"PushFlag": 0, "Title": "you have mail", "Ext": "{\"a\":1}"}, "sound": with(blank, object{"ApnsInfo": object{"Sound": "bell.caf", "InterruptionLevel": "active"}}),
			"unwanted": {"PushFlag": 1}, "class": {"AndroidInfo": object{"VIVOClassification": 0, "OPPOChannelID": "c"}}, "blank": blank, "none": nil,
		}
		var wg sync.WaitGroup
		for text, info := range said {
			body := ann.draft("ben", text, object{"OfflinePushInfo": info})
			if info == nil {
				delete(body, "OfflinePushInfo")
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				ann.must(t, "openim.sendmsg", body)
				ann.must(t, "openim.sendmsg", body) // a repeat changes nothing
			}()
		}
		wg.Wait()
		code, _ := w.admin(t, "openim.sendmsg", object{"From_Account": "ann", "To_Account": "ben", "MsgRandom": 5, "MsgBody": say("official"), "OfflinePushInfo": said["titled"]})
		wantCode(t, code, 0, "an administrator's message")
		offered := p.take()
		equal(t, len(offered), len(said)+1, "messages offered for push")
		for text, info := range said {
			want := mustJSON(t, info)
			if text == "blank" || text == "none" {
				want = ""
			}
			equal(t, offered[text], want, "what the push interface got of "+text)
			kept, err := store.Collect(w.ctx, w.service.DB.Read, scanString, `SELECT push_info FROM c2c_messages WHERE body LIKE $1`, `%"`+text+`"%`)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, kept, []string{want}, "what is kept of "+text)
		}
		equal(t, offered["official"], mustJSON(t, said["titled"]), "what the push interface got of an administrator's message")
		p.take()
		for _, bad := range []any{"x", 5, []int{1}, true, nil, object{"Title": strings.Repeat("long", w.app.MessageBytes/4)}} {
			ann.send(t, "ben", "said", object{"OfflinePushInfo": bad})
			equal(t, p.take(), map[string]string{"said": ""}, "what the push interface got of bad settings")
			code, answer := w.admin(t, "openim.sendmsg", object{"From_Account": "ann", "To_Account": "ben", "MsgRandom": 6 + w.numbers, "MsgBody": say("said"), "OfflinePushInfo": bad})
			wantCode(t, code, 0, fmt.Sprint("an administrator's message with bad settings: ", answer))
			equal(t, p.take(), map[string]string{"said": ""}, "what the push interface got of bad settings of an administrator")
		}
	})
}

// Ensure that what said nothing once is not taken for what says something.
func TestKeepPushInfo(t *testing.T) {
	for range 2 {
		for info, kept := range map[string]bool{`{"PushFlag":0}`: false, `{"PushFlag":1}`: true, `{"Title":""}`: false, `{"Title": ""}`: false, `[]`: false, ``: false, `{"Title":"you have mail"}`: false} {
			if got := message.KeepPushInfo(json.RawMessage(info), 20) != nil; got != kept {
				t.Errorf("kept of %q: %v", info, got)
			}
		}
	}
}
