package admission_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/admission"
)

// serve runs a server behind a gate and returns its address.
func serve(t *testing.T, most, silent int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := admission.New(most, silent, prometheus.NewRegistry())
	s := &http.Server{ConnContext: g.Context, Handler: g.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))}
	go func() { _ = s.Serve(g.Listen(l)) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

// ask sends a request and reports whether it was answered.
func ask(nc net.Conn) error {
	if _, err := fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// cut waits until the server has closed nc.
func cut(t *testing.T, nc net.Conn) {
	t.Helper()
	_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := nc.Read(make([]byte, 1)); err == nil {
		t.Fatal("the connection has sent something")
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatal("the connection is still open")
	}
}

// Ensure that silent connections make way for newer ones, the oldest first, and
// that those who have spoken stay.
func TestSilent(t *testing.T) {
	address := serve(t, 100, 3)
	spoken := dial(t, address)
	if err := ask(spoken); err != nil {
		t.Fatal(err)
	}
	var silent []net.Conn
	for range 3 {
		nc := dial(t, address)
		if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\n"); err != nil { // half a head is nothing
			t.Fatal(err)
		}
		silent = append(silent, nc)
		time.Sleep(10 * time.Millisecond) // they are accepted in this order
	}
	if err := ask(dial(t, address)); err != nil {
		t.Errorf("a newcomer among silent ones: %v", err)
	}
	cut(t, silent[0])
	if err := ask(spoken); err != nil {
		t.Errorf("one that had spoken: %v", err)
	}
}

// Ensure that there are never more connections than allowed, and that there is
// room again when one ends.
func TestFull(t *testing.T) {
	address := serve(t, 2, 2)
	first, second := dial(t, address), dial(t, address)
	for _, nc := range []net.Conn{first, second} {
		if err := ask(nc); err != nil {
			t.Fatal(err)
		}
	}
	cut(t, dial(t, address))
	_ = first.Close()
	deadline := time.Now().Add(10 * time.Second)
	for ask(dial(t, address)) != nil {
		if time.Now().After(deadline) {
			t.Fatal("there is no room after one has gone")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
