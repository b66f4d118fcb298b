package gateway

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// socketOf is a socket from which a client's bytes come, and then nothing.
type socketOf struct {
	net.Conn
	r *bytes.Reader
}

func (s socketOf) Read(b []byte) (int, error)       { return s.r.Read(b) }
func (s socketOf) Write(b []byte) (int, error)      { return len(b), nil }
func (s socketOf) SetWriteDeadline(time.Time) error { return nil }
func (s socketOf) Close() error                     { return nil }

// FuzzFrames: no stream of bytes makes the reader panic, read past its end or
// keep more than the limit.
func FuzzFrames(f *testing.F) {
	f.Add(clientFrame(true, opText, []byte(`{"head":{"servcmd":"heartbeat.alive","seq":1},"body":{}}`)))
	f.Add(append(clientFrame(false, opBinary, []byte("abc")), clientFrame(true, opContinuation, make([]byte, 300))...))
	f.Add(append(clientFrame(true, opPing, []byte("x")), clientFrame(true, opClose, []byte{3, 232})...))
	f.Add(clientFrame(true, opPong, []byte{0, 0, 0, 0, 0, 0, 0, 1}))
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x81, 0xfe, 0, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 256
		in := socketOf{r: bytes.NewReader(data)}
		c := &Conn{nc: in, in: &input{nc: in}, server: &Server{opts: Options{MaxFrame: limit, MaxQueue: 1 << 20, WriteTimeout: time.Second}}}
		c.closed = true // what would be answered goes nowhere
		defer c.in.release()
		for range len(data) + 1 {
			frame, size, err := c.readFrame()
			if err != nil {
				return
			}
			if len(*frame) > limit || int64(len(*frame)) > size || size > int64(len(data)) {
				t.Fatalf("%d bytes kept of %d, %d sent", len(*frame), size, len(data))
			}
			frames.Put(frame)
		}
		t.Fatal("more frames than bytes")
	})
}
