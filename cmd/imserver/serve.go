package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"imserver/internal/admission"
	"imserver/internal/certfile"
	"imserver/internal/clientip"
	"imserver/internal/config"
	"imserver/internal/gateway"
	"imserver/internal/usersig"
)

func logger(c config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // validated by config
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// serve runs the server until ctx ends, then drains.
func serve(ctx context.Context, c *config.Config, out io.Writer) error {
	log := logger(c.Log)
	for _, name := range c.Unknown {
		log.Warn("this variable sets nothing", "name", name)
	}
	for _, name := range c.Unbuilt() {
		log.Warn("this setting has no effect in this version", "name", name)
	}
	release, err := holdFolder(ctx, c)
	if err != nil {
		return err
	}
	defer release()
	n, err := newNode(ctx, c, log)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	gate := admission.New(c.Limits.Connections, c.Limits.Handshakes, n.metrics)
	listener = gate.Listen(listener)
	server := &http.Server{Handler: gate.Handler(n.handler()), ConnContext: gate.Context, ReadHeaderTimeout: c.Limits.HandshakeTimeout, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	if c.TLS.CertFile != "" {
		cert, err := certfile.Open(c.TLS.CertFile, c.TLS.KeyFile, log)
		if err != nil {
			return err
		}
		// WebSocket upgrades are HTTP/1.1, so HTTP/2 is not offered.
		listener = tls.NewListener(listener, cert.Config())
	}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(listener) }()
	if c.PProf == "" {
		runtime.MemProfileRate = 0 // nobody can ask for that profile, which is a hundredth of the time of a message
	} else {
		go func() { failed <- fmt.Errorf("pprof: %w", servePProf(c.PProf)) }()
	}
	background, stop := context.WithCancel(context.Background())
	defer stop()
	go n.gateway.Run(background)
	go n.rooms.Run(background)
	go n.housekeeping(background)
	go returnMemory(background)
	go n.presence.Run(background)
	go n.retain(background)
	log.Info("listening", "address", listener.Addr().String(), "version", version)
	greet(out, c, listener.Addr().String())

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("draining")
	drain, cancel := context.WithTimeout(context.Background(), c.DrainTimeout)
	defer cancel()
	requests := make(chan error, 1)
	go func() { requests <- server.Shutdown(drain) }() // sockets are the gateway's
	n.gateway.Drain(drain)
	<-requests
	stop()
	n.close(drain)
	log.Info("stopped")
	return nil
}

// handler routes by hand: the WebSocket door takes any path that ends right,
// and a ServeMux would redirect //binfo (protocol 01 T16).
func (n *node) handler() http.Handler {
	metrics := promhttp.HandlerFor(n.metrics, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case gateway.Matches(path), path == "/" && r.Header.Get("Upgrade") != "":
			n.gateway.ServeHTTP(w, r)
		case strings.HasPrefix(path, "/v4/"):
			n.rest.ServeHTTP(w, r)
		case path == "/metrics":
			if !clientip.Allowed(clientip.Of(r, n.config.TrustedProxies), n.config.MetricsAllow) {
				http.Error(w, "forbidden", http.StatusForbidden)
				return
			}
			metrics.ServeHTTP(w, r)
		case path == "/healthz":
			_, _ = io.WriteString(w, "ok\n")
		case path == "/readyz":
			n.serveReady(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// greet prints what to put into an SDK, when a person is likely to read it.
func greet(out io.Writer, c *config.Config, address string) {
	if c.Log.Format == "json" || len(c.Apps) == 0 {
		return
	}
	app := c.Apps[0]
	sig, err := usersig.Sign(app.Keys[0], usersig.Ticket{UserID: "alice", SDKAppID: app.SDKAppID, IssuedAt: time.Now().Unix(), Lifetime: 86400})
	if err != nil {
		return
	}
	scheme := "ws"
	if c.TLS.CertFile != "" {
		scheme = "wss"
	}
	_, _ = fmt.Fprintf(out, `
imserver is ready. In your app:

    const chat = TencentCloudChat.create({ SDKAppID: %d, proxyServer: '%s://%s' });
    await chat.login({
      userID: 'alice',
      userSig: '%s',
    });

That ticket is good for a day; imserver usersig --user NAME prints others.
`, app.SDKAppID, scheme, address, sig)
}

// sweepStep is how many rows go in one transaction.
const sweepStep = 500

// inSteps calls sweep until it finds less than a step: however much there is,
// traffic comes in between.
func inSteps(ctx context.Context, sweep func(ctx context.Context, limit int) (int, error)) error {
	for ctx.Err() == nil {
		if n, err := sweep(ctx, sweepStep); err != nil || n < sweepStep {
			return err
		}
	}
	return ctx.Err()
}

// housekeeping removes what is past its time, in small steps beside the
// traffic.
func (n *node) housekeeping(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := inSteps(ctx, n.sessions.Sweep); err != nil && !errors.Is(err, context.Canceled) {
			n.log.Error("sweeping sessions failed", "err", err)
		}
		n.sweepMessages(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweepMessages removes what belongs to messages past the longest retention.
func (n *node) sweepMessages(ctx context.Context) {
	var longest time.Duration
	for _, a := range n.config.Apps {
		longest = max(longest, a.Retention)
	}
	before := time.Now().Add(-longest).Unix()
	for what, sweep := range map[string]func(ctx context.Context, limit int) (int, error){
		"merged messages": n.messages.SweepRelays,
		"deletions":       func(ctx context.Context, limit int) (int, error) { return n.messages.SweepDeleted(ctx, before, limit) },
		"annotations":     func(ctx context.Context, limit int) (int, error) { return n.notes.Sweep(ctx, before, limit) },
	} {
		if err := inSteps(ctx, sweep); err != nil && !errors.Is(err, context.Canceled) {
			n.log.Error("sweeping failed", "of", what, "err", err)
		}
	}
}
