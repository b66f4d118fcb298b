//go:build unix

package socket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"imserver/internal/socket"
)

// pipe returns both ends of a connection, the first of them wrapped.
func pipe(t *testing.T) (wrapped, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 1)
	go func() {
		nc, _ := l.Accept() // nil fails the test below
		accepted <- nc
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	wrapped, peer = socket.Wrap(nc), <-accepted
	t.Cleanup(func() { _, _ = wrapped.Close(), peer.Close() })
	if wrapped == nc {
		t.Fatal("a TCP connection was not wrapped")
	}
	return wrapped, peer
}

// Ensure more than the kernel holds gets through, both ways, in order.
func TestWrapLarge(t *testing.T) {
	c, peer := pipe(t)
	data := make([]byte, 32<<20)
	for i := range data {
		data[i] = byte(i * 7 / 3)
	}
	for _, way := range []struct {
		name     string
		from, to net.Conn
	}{{"out", c, peer}, {"in", peer, c}} {
		sent := make(chan error, 1)
		go func() {
			n, err := way.from.Write(data)
			if err == nil && n != len(data) {
				err = io.ErrShortWrite
			}
			sent <- err
		}()
		time.Sleep(50 * time.Millisecond) // until the writer has to wait
		got := make([]byte, len(data))
		if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: err = %v, equal = %v", way.name, err, bytes.Equal(got, data))
		}
		if err := <-sent; err != nil {
			t.Errorf("%s: write: %v", way.name, err)
		}
	}
}

// Ensure an end, a deadline and a reset are reported as a net.Conn does.
func TestWrapErrors(t *testing.T) {
	c, peer := pipe(t)
	_ = c.SetDeadline(time.Now().Add(20 * time.Millisecond))
	n, err := c.Read(make([]byte, 8))
	var netErr net.Error
	if n != 0 || !errors.As(err, &netErr) || !netErr.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read past its deadline: %d, %v", n, err)
	}
	if _, err := c.Write(make([]byte, 8)); !errors.As(err, &netErr) || !netErr.Timeout() {
		t.Errorf("write past its deadline: %v", err)
	}
	_ = c.SetDeadline(time.Time{})
	_ = peer.(*net.TCPConn).CloseWrite()
	if n, err := c.Read(make([]byte, 8)); n != 0 || err != io.EOF {
		t.Errorf("read at the end: %d, %v", n, err)
	}
	_ = peer.(*net.TCPConn).SetLinger(0)
	_ = peer.Close()
	var op *net.OpError
	for range 100 {
		if _, err = c.Write([]byte("x")); err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if !errors.As(err, &op) || op.Op != "write" {
		t.Errorf("write after a reset: %v", err)
	}
	_ = c.Close()
	if _, err := c.Read(make([]byte, 8)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}
