package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"imserver/bench/loadgen"
)

func abuses() []abuse {
	return []abuse{
		{"nobody", func(ctx context.Context, _ *node) (string, error) { <-ctx.Done(); return "", nil }},
		{"2,000 clients that connect and log in at once", storm},
		{"a client that never reads, sent 8 KB messages by four others", deaf},
		{"a client that sends 10,000 commands/s (history pages)", flood},
		{"10,000 half-open handshakes", halfOpen},
	}
}

func (n *node) target() loadgen.Target { return loadgen.Target{URL: n.url, App: appID, Key: appKey} }

// storm is everybody coming back at once.
func storm(ctx context.Context, n *node) (string, error) {
	const clients = 2000
	begin := time.Now()
	devices, err := loadgen.OpenAll(n.target(), "storm", clients, clients, nil, nil)
	if err != nil {
		return "", err
	}
	took := time.Since(begin)
	<-ctx.Done()
	loadgen.CloseAll(devices)
	return fmt.Sprintf("all logged in within %.1f s, %.0f a second", took.Seconds(), clients/took.Seconds()), nil
}

// alone logs a user in on a socket of its own: the load generator's devices
// share a reader, which one that blocks would hold up for the bystanders. It
// returns the end of the head of further requests.
func (n *node) alone(user string) (ws *websocket.Conn, head string, err error) {
	ws, _, err = websocket.DefaultDialer.Dial(fmt.Sprintf("%s/binfo?sdkappid=%d&instanceid=%032x&random=0.5&platform=7", n.url, appID, user), nil)
	if err != nil {
		return nil, "", err
	}
	ticket, err := n.target().Ticket(user)
	if err == nil {
		err = ws.WriteMessage(websocket.BinaryMessage, fmt.Appendf(nil,
			`{"head":{"ver":"v4","servcmd":"im_open_status.wslogin","seq":1,"sdkappid":%d,"identifier":%q,"usersig":%q},"body":{"State":"Online"}}`, appID, user, ticket))
	}
	var answer []byte
	if err == nil {
		_, answer, err = ws.ReadMessage()
	}
	if err != nil || loadgen.Digits(answer, `"ErrorCode":`) != "0" {
		_ = ws.Close()
		return nil, "", fmt.Errorf("login of %s: %w: %.200s", user, err, answer)
	}
	return ws, fmt.Sprintf(`"sdkappid":%d,"a2":%q,"tinyid":%q,"status_instid":%s`, appID, loadgen.Member(answer, `"A2Key":"`),
		loadgen.Member(answer, `"TinyId":"`), loadgen.Digits(answer, `"InstId":`)), nil
}

// deaf logs in and reads nothing any more, while others write to it.
func deaf(ctx context.Context, n *node) (string, error) {
	ws, _, err := n.alone("deaf")
	if err != nil {
		return "", err
	}
	defer func() { _ = ws.Close() }()
	writers, err := loadgen.OpenAll(n.target(), "writer", 4, 4, nil, nil)
	if err != nil {
		return "", err
	}
	defer loadgen.CloseAll(writers)
	var sent atomic.Int64
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() {
			for i := int64(1); ctx.Err() == nil; i++ {
				w.Send("openim.sendmsg", loadgen.C2C(nil, w.User, "deaf", i, i, 0, i, time.Now().Unix(), 8000), 0, func(r loadgen.Reply) {
					if r.Code == 0 {
						sent.Add(1)
					}
				})
				sleep(ctx, 12*time.Millisecond)
			}
		})
	}
	wg.Wait()
	closed, err := n.metric(`imserver_connections_closed_total`)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d messages to it; closed: %s", sent.Load(), closed), nil
}

// flood sends far more commands than the limit, whatever is answered.
func flood(ctx context.Context, n *node) (string, error) {
	ws, head, err := n.alone("flood")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { _ = ws.Close() }) // ends a write that waits
	var served, refused atomic.Int64
	go func() {
		for {
			_, doc, err := ws.ReadMessage()
			if err != nil {
				return
			}
			switch loadgen.Digits(doc, `"ErrorCode":`) {
			case "0":
				served.Add(1)
			case "60007":
				refused.Add(1)
			}
		}
	}()
	asked, begin := 0, time.Now()
	for err == nil && ctx.Err() == nil {
		for due := int(time.Since(begin).Seconds() * 10000); asked < due && err == nil; asked++ {
			err = ws.WriteMessage(websocket.BinaryMessage, fmt.Appendf(nil, `{"head":{"ver":"v4","servcmd":"openim.getroammsg","seq":%d,%s},"body":`+
				`{"Peer_Account":"bystander0","MaxCnt":15,"LastMsgTime":0,"GetDirection":0}}`, asked+2, head))
		}
		sleep(ctx, 5*time.Millisecond)
	}
	if ctx.Err() == nil {
		return "", fmt.Errorf("the socket ended: %w", err)
	}
	s := time.Since(begin).Seconds()
	return fmt.Sprintf("it got %.0f commands/s across; %.0f/s served, %.0f/s refused with 60007", float64(asked)/s, float64(served.Load())/s, float64(refused.Load())/s), nil
}

// halfOpen keeps opening sockets that begin a request and never end it, and
// lets genuine users in between.
func halfOpen(ctx context.Context, n *node) (string, error) {
	const sockets = 10000
	address := strings.TrimPrefix(n.url, "ws://")
	var open []net.Conn
	defer func() {
		for _, nc := range open {
			_ = nc.Close()
		}
	}()
	for len(open) < sockets && ctx.Err() == nil {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			return "", err
		}
		open = append(open, nc)
		if _, err := io.WriteString(nc, "GET /binfo HTTP/1.1\r\nHost: x\r\n"); err != nil {
			continue // it had to make way already
		}
	}
	var visits loadgen.Histogram
	for i := 0; ctx.Err() == nil; i++ {
		begin := time.Now()
		d, err := loadgen.NewDevice(n.target(), fmt.Sprintf("genuine%d", i))
		if err != nil {
			return "", err
		}
		if err := d.Open(nil); err != nil {
			return "", fmt.Errorf("a genuine user could not log in: %w", err)
		}
		visits.Record(time.Since(begin))
		d.Close()
		sleep(ctx, 50*time.Millisecond)
	}
	cut, err := n.metric("imserver_connections_cut_total")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d opened, cut: %s; %d genuine users came meanwhile, connected and logged in within %.0f ms (p99)",
		len(open), cut, visits.Count(), ms(visits.Quantile(0.99))), nil
}

// metric returns the node's counters of a name, as label=value pairs.
func (n *node) metric(name string) (string, error) {
	res, err := http.Get(strings.TrimSuffix(n.readiness, "/readyz") + "/metrics")
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+"{"); ok {
			label, value, _ := strings.Cut(rest, "} ")
			_, label, _ = strings.Cut(label, "=")
			found = append(found, strings.Trim(label, `"`)+" "+strings.TrimSpace(value))
		}
	}
	if found == nil {
		return "none", nil
	}
	return strings.Join(found, ", "), nil
}
