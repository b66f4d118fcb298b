package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/spf13/pflag"

	"imserver/internal/bus"
	"imserver/internal/config"
	"imserver/internal/store"
	"imserver/internal/usersig"
)

// record keeps what is logged and answered.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// secretApp is a node whose log is read, with clients that hold secrets.
type secretApp struct {
	*node
	log  record // all levels
	http *httptest.Server
	key  string
	seq  int
}

func mustSecretApp(t *testing.T) *secretApp {
	t.Helper()
	s := &secretApp{key: "k3y-of-the-app-0123456789abcdef"}
	c := config.Default()
	c.DataDir = t.TempDir()
	c.Apps = []config.App{{SDKAppID: 1400000001, Keys: []string{s.key}, Settings: c.Defaults}}
	n, err := newNode(t.Context(), c, slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.close(context.Background()) })
	s.node = n
	s.http = httptest.NewServer(n.handler())
	t.Cleanup(s.http.Close)
	return s
}

func (s *secretApp) ticket(t *testing.T, user, key string, age time.Duration) string {
	t.Helper()
	sig, err := usersig.Sign(key, usersig.Ticket{UserID: user, SDKAppID: 1400000001, IssuedAt: time.Now().Add(-age).Unix(), Lifetime: 3600})
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func (s *secretApp) dial(t *testing.T) *websocket.Conn {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.http.URL, "http")+"/info?sdkappid=1400000001&platform=7", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}

// ask sends a frame and returns the body of the answer.
func (s *secretApp) ask(t *testing.T, ws *websocket.Conn, name, head, body string) string {
	t.Helper()
	s.seq++
	frame := fmt.Sprintf(`{"head":{"servcmd":%q,"seq":%d,"sdkappid":1400000001,%s},"body":%s}`, name, s.seq, head, body)
	if err := ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		t.Fatal(err)
	}
	for {
		_ = ws.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, answer, err := ws.ReadMessage()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if strings.Contains(string(answer), fmt.Sprintf(`"seq":%d`, s.seq)) {
			return string(answer)
		}
	}
}

func (s *secretApp) post(t *testing.T, user, sig, body string) string {
	t.Helper()
	q := url.Values{"sdkappid": {"1400000001"}, "identifier": {user}, "usersig": {sig}}
	resp, err := http.Post(s.http.URL+"/v4/openim/sendmsg?"+q.Encode(), "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Ensure that no ticket, session key, app key or message text is logged at
// any level, or stands in an error that a client gets: not when all is well,
// not when requests are wrong, and not when the store has gone.
func TestSecretsAreNotLogged(t *testing.T) {
	s := mustSecretApp(t)
	good, admin := s.ticket(t, "alice", s.key, 0), s.ticket(t, "administrator", s.key, 0)
	forged, expired := s.ticket(t, "alice", "an0ther-key", 0), s.ticket(t, "alice", s.key, 2*time.Hour)
	const text = "wh1sper between alice and bob"
	var refusals []string
	ws := s.dial(t)
	login := func(user, sig string) string {
		return s.ask(t, ws, "im_open_status.wslogin", fmt.Sprintf(`"identifier":%q,"usersig":%q`, user, sig), `{"State":"Online"}`)
	}
	for _, sig := range []string{forged, expired, good[:60], good + "x", strings.ToUpper(good)} {
		refusals = append(refusals, login("alice", sig), login("bob", sig), s.post(t, "administrator", sig, `{}`))
	}
	answer := login("alice", good)
	var ok struct {
		Body struct{ A2Key, TinyId string }
	}
	if err := json.Unmarshal([]byte(answer), &ok); err != nil || ok.Body.A2Key == "" {
		t.Fatalf("%v: %s", err, answer)
	}
	a2 := ok.Body.A2Key
	as := fmt.Sprintf(`"a2":%q,"tinyid":%q`, a2, ok.Body.TinyId)
	message := `{"To_Account":"administrator","MsgSeq":1,"MsgRandom":2,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"` + text + `"}}]}`
	if b := s.post(t, "administrator", admin, `{"To_Account":"alice","MsgRandom":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"`+text+`"}}]}`); !strings.Contains(b, `"OK"`) {
		t.Fatal(b)
	}
	if b := s.ask(t, ws, "openim.sendmsg", as, message); !strings.Contains(b, `"ErrorCode":0`) {
		t.Fatal(b)
	}
	wrong := []string{
		s.ask(t, ws, "openim.sendmsg", as, `{"To_Account":7,"MsgBody":"`+text+`"}`),
		s.ask(t, ws, "openim.nothing", as, message),
		s.ask(t, ws, "openim.sendmsg", fmt.Sprintf(`"a2":%q`, a2+"x"), message),
		s.ask(t, ws, "im_open_status.wslogin", fmt.Sprintf(`"a2":%q`, a2[:40]), `{}`),
		s.post(t, "alice", good, message), s.post(t, "administrator", admin, `{"MsgBody":"`+text+`"`),
	}
	_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"head":{"a2":"`+a2+`","usersig":"`+good+`"`))
	_ = s.db.Close() // nothing can be read or stored any more
	wrong = append(wrong, s.ask(t, ws, "openim.sendmsg", as, message), s.ask(t, s.dial(t), "openim.getmsg", as, `{"Cookie":""}`), s.post(t, "administrator", admin, message),
		s.ask(t, ws, "profile.portrait_set", as, `{"ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"`+text+`"}]}`))

	logged := s.log.String()
	if !strings.Contains(logged, "level=ERROR") || !strings.Contains(logged, "level=DEBUG") {
		t.Fatalf("the test provoked too little:\n%s", logged)
	}
	refusals = append(refusals, wrong...)
	for name, secret := range map[string]string{"the app's key": s.key, "a ticket": good[5:45], "the administrator's ticket": admin[5:45], "a forged ticket": forged[5:45],
		"an expired ticket": expired[5:45], "a session key": a2[len(a2)-40:], "a message": "wh1sper"} {
		if at := strings.Index(logged, secret); at >= 0 {
			t.Errorf("%s is logged: …%s", name, logged[max(0, at-200):min(len(logged), at+100)])
		}
		for _, answer := range refusals {
			if strings.Contains(answer, secret) {
				t.Errorf("%s is in an answer: %.300s", name, answer)
			}
		}
	}
}

// Ensure that passwords in addresses and keys in settings stay out of errors.
func TestSecretsAreNotInErrors(t *testing.T) {
	const secret = "passw0rd"
	errs := map[string]error{}
	for _, address := range []string{
		"postgres://im:" + secret + "@127.0.0.1:1/im?connect_timeout=1", "postgres://im:" + secret + "@[::1/im", "postgres://im:" + secret + "@127.0.0.1:1/im?sslmode=nonsense",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, errs[address] = store.Open(ctx, store.Options{URL: address})
		cancel()
	}
	for _, address := range []string{"redis://im:" + secret + "@127.0.0.1:x", "redis://im:" + secret + "@127.0.0.1:1?nonsense=1", "http://" + secret + "@h"} {
		_, errs[address] = bus.Dial(address, nil)
	}
	client, err := bus.Dial("redis://im:"+secret+"@127.0.0.1:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	errs["no Redis"] = client.Ping(t.Context()).Err()
	for _, vars := range [][]string{
		{"IMSERVER_APPS=1400000001:" + secret + ",x"}, {"IMSERVER_APPS=x:" + secret}, {"IMSERVER_APPS=" + secret},
		{"IMSERVER_DATABASE_URL=mysql://im:" + secret + "@h/im"}, {"IMSERVER_DATABASE_URL=postgres://im:" + secret + "@[::1/im"}, {"IMSERVER_REDIS_URL=http://im:" + secret + "@h"},
		{"IMSERVER_REDIS_URL=redis://im:" + secret + "@h"}, // needs a database
	} {
		_, errs[vars[0]] = config.Load(pflag.NewFlagSet("test", pflag.ContinueOnError), vars)
	}
	for what, err := range errs {
		if err == nil {
			t.Errorf("%s: no error", what)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells the secret: %v", what, err)
		}
	}
}
