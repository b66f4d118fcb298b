// Package rest is the REST door: it takes POST /v4/<service>/<command> from an
// app's backend, makes sure that the caller is an administrator of the app,
// hands the command to the command table and writes the answer (protocol 06
// §1). It knows no domain.
package rest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/usersig"
)

// Prefix is where the paths of the REST API begin.
const Prefix = "/v4/"

// Matches reports whether the door serves a request path. Ask it before a
// ServeMux, which would answer an unclean path with a redirect: this API has
// only status 200 (protocol 06 §1.2).
func Matches(path string) bool { return strings.HasPrefix(path, Prefix) }

// Options are the door's limits.
type Options struct {
	MaxBody  int           // bytes of a request body; a longer one is answered with an error
	Inflight int           // requests being worked on at once; 0 = no limit
	Timeout  time.Duration // time a command may take; backends give up after 3 s and more

	// Remote tells the caller's address; nil means the connection's.
	Remote func(*http.Request) netip.Addr
}

// Apps finds an app's settings; nil if there is no such app.
type Apps func(sdkAppID uint32) *config.App

// Tickets verifies a UserSig of a caller who names itself userID; an error
// carries the protocol's code (protocol 06 §1.5).
type Tickets interface {
	Ticket(ctx context.Context, app *config.App, userID, sig string) (usersig.Ticket, error)
}

// Number returns the permanent number of an administrator's account. An account
// that is new is created: the ticket is an invitation, as at a first login.
type Number func(ctx context.Context, app uint32, userID string) (uid int64, err error)

// Door is an http.Handler.
type Door struct {
	opts    Options
	apps    Apps
	table   *command.Table
	tickets Tickets
	number  Number
	limits  *limits
	room    chan struct{} // nil = no limit
	log     *slog.Logger
	metrics *metrics
}

// New makes the door.
func New(o Options, apps Apps, table *command.Table, tickets Tickets, number Number, now func() time.Time,
	reg prometheus.Registerer, log *slog.Logger) *Door {
	d := &Door{opts: o, apps: apps, table: table, tickets: tickets, number: number, limits: newLimits(now), log: log, metrics: newMetrics(reg)}
	if o.Inflight > 0 {
		d.room = make(chan struct{}, o.Inflight)
	}
	return d
}

// ServeHTTP answers a request, always with status 200: a library takes any
// other status for a broken transport (protocol 06 T1).
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	call := &command.Call{Name: nameOf(r.URL.Path), Kind: command.Admins, RequestID: newRequestID()}
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Allow-Headers", "Content-Type")
	header.Set("Access-Control-Allow-Methods", "POST, OPTIONS")
	header.Set("X-Request-Id", call.RequestID)
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		return // a browser asks whether it may POST; the headers above say so
	}
	answer, err := d.serve(w, r, call)
	body, code := d.encode(call, answer, err)
	d.log.Debug("rest", "command", call.Name, "user", call.UserID, "code", code, "request", call.RequestID)
	header.Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the caller is gone: nobody is left to be told
	name := call.Name
	if d.table.Lookup(name)&command.Admins == 0 {
		name = "unknown" // a label per invented name would be a leak
	}
	d.metrics.answered(name, code, time.Since(start))
}

// serve does the work of a request, short of writing the answer.
func (d *Door) serve(w http.ResponseWriter, r *http.Request, call *command.Call) (any, error) {
	if d.room != nil {
		select {
		case d.room <- struct{}{}:
			defer func() { <-d.room }()
		default:
			return nil, command.Err(codeOverloaded, "too many requests at once")
		}
	}
	// A caller that hangs up does not stop what it began: a command is done whole.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), d.opts.Timeout)
	defer cancel()
	if err := d.admit(ctx, r, call); err != nil {
		return nil, err
	}
	body, err := d.read(w, r)
	if err != nil {
		return nil, err
	}
	if !d.limits.allow(call.App, call.Name) {
		return nil, command.Err(command.CodeTooFast, "")
	}
	return d.run(ctx, call, body)
}

// run calls the table and waits for what comes later; a panic costs this one
// answer only.
func (d *Door) run(ctx context.Context, call *command.Call, body []byte) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			d.metrics.panics.Inc()
			d.log.Error("command panicked", "command", call.Name, "request", call.RequestID, "panic", p, "stack", string(debug.Stack()))
			answer, err = nil, command.Err(command.CodeInternal, "")
		}
	}()
	answer, err = d.table.Run(ctx, call, body)
	return command.Await(ctx, answer, err)
}

// remote is the caller's address; the zero Addr when it cannot be told.
func (d *Door) remote(r *http.Request) netip.Addr {
	if d.opts.Remote != nil {
		return d.opts.Remote(r)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, _ := netip.ParseAddr(host) // the zero Addr stands for unknown
	return addr.Unmap()
}
