package gateway

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// clientFrame is a masked frame as a browser writes it.
func clientFrame(fin bool, opcode byte, payload []byte) []byte {
	b := []byte{opcode}
	if fin {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	var key [4]byte
	binary.LittleEndian.PutUint32(key[:], rand.Uint32())
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i&3])
	}
	return b
}

// MustPair returns a reading Conn and the socket that writes to it.
func MustPair(t *testing.T, limit int) (*Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	return &Conn{nc: server, in: newInput(server), server: &Server{opts: Options{MaxFrame: limit, MaxQueue: 1 << 20, WriteTimeout: time.Second}}}, client
}

// Ensure that messages of every size arrive whole, however the network cuts
// them, in one frame or in several, with control frames between.
func TestReadFrame(t *testing.T) {
	c, client := MustPair(t, 1<<20)
	var want [][]byte
	var stream []byte
	for _, size := range []int{0, 1, 7, 125, 126, 1000, inputSize - 14, inputSize, inputSize + 1, 65535, 65536, 200_000} {
		m := make([]byte, size)
		for i := range m {
			m[i] = byte(rand.Uint32())
		}
		want = append(want, m, m)
		stream = append(stream, clientFrame(true, opBinary, m)...)
		stream = append(stream, clientFrame(false, opText, m[:size/3])...)
		stream = append(stream, clientFrame(true, opPong, []byte("still here"))...)
		stream = append(stream, clientFrame(false, opContinuation, m[size/3:size/2])...)
		stream = append(stream, clientFrame(true, opContinuation, m[size/2:])...)
	}
	go func() {
		for len(stream) > 0 {
			n := min(len(stream), 1+rand.IntN(20_000))
			if _, err := client.Write(stream[:n]); err != nil {
				return
			}
			stream = stream[n:]
		}
	}()
	for i, m := range want {
		buf, size, err := c.readFrame()
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if int(size) != len(m) || !bytes.Equal(*buf, m) {
			t.Fatalf("message %d has %d bytes and differs, want %d", i, len(*buf), len(m))
		}
	}
}

// Ensure that a message over the limit is cut but measured, that the next one
// is read, and that one far over it ends the connection.
func TestReadFrameOversize(t *testing.T) {
	c, client := MustPair(t, 1000)
	go func() {
		_, _ = client.Write(clientFrame(true, opBinary, bytes.Repeat([]byte("x"), 50_000)))
		_, _ = client.Write(clientFrame(true, opBinary, []byte("next")))
		_, _ = client.Write(clientFrame(true, opBinary, bytes.Repeat([]byte("x"), 64_001)))
	}()
	buf, size, err := c.readFrame()
	if err != nil || size != 50_000 || string(*buf) != string(bytes.Repeat([]byte("x"), 1000)) {
		t.Fatalf("size %d, %d bytes, %v", size, len(*buf), err)
	}
	if buf, _, err = c.readFrame(); err != nil || string(*buf) != "next" {
		t.Fatalf("%q, %v", *buf, err)
	}
	if _, _, err = c.readFrame(); err != errHopeless {
		t.Fatalf("%v, want errHopeless", err)
	}
}

// Ensure that what no client may send ends the connection with an error.
func TestReadFrameMalformed(t *testing.T) {
	for name, stream := range map[string][]byte{
		"unmasked":                 {0x82, 1, 'x'},
		"reserved bit":             {0xc2, 0x81, 0, 0, 0, 0, 'x'},
		"unknown opcode":           clientFrame(true, 3, nil),
		"unknown control":          clientFrame(true, 11, nil),
		"continuation of nothing":  clientFrame(true, opContinuation, nil),
		"message inside a message": append(clientFrame(false, opText, nil), clientFrame(true, opText, nil)...),
		"fragmented ping":          clientFrame(false, opPing, nil),
		"long ping":                clientFrame(true, opPing, make([]byte, 126)),
		"length with the top bit":  {0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		c, client := MustPair(t, 1000)
		if _, err := client.Write(stream); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.readFrame(); err != errFraming {
			t.Errorf("%s: %v, want errFraming", name, err)
		}
	}
}

// Ensure that a close frame is echoed and ends the reading.
func TestReadFrameClose(t *testing.T) {
	c, client := MustPair(t, 1000)
	if _, err := client.Write(clientFrame(true, opClose, []byte{0x03, 0xe8, 'b', 'y', 'e'})); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.readFrame(); err != io.EOF {
		t.Fatalf("%v, want EOF", err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, []byte{0x88, 2, 0x03, 0xe8}) {
		t.Fatalf("%x, %v", got, err)
	}
}
