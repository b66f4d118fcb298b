package gateway

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// Opcodes of RFC 6455 §5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

var (
	errHopeless = errors.New("gateway: frame far over the limit")
	errFraming  = errors.New("gateway: not a WebSocket frame of a client")

	frames = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}
	inputs = sync.Pool{New: func() any { return new([inputSize]byte) }}
)

// inputSize is what one system call reads at most. It is larger than the
// requests of a chat, so that a request is one call.
const inputSize = 8 << 10

// input is the reading side of a socket. A socket that waits for bytes holds
// no buffer: one is taken from a pool when the kernel has some, which is most
// of what an idle connection costs less here than elsewhere. Of a connection
// that is no plain TCP (TLS) the buffer stays, because only a read tells there
// whether bytes have come.
type input struct {
	nc   net.Conn
	raw  syscall.RawConn // nil: nc is read instead
	take func(fd uintptr) bool
	buf  *[inputSize]byte
	r, w int   // unread bytes are buf[r:w]
	err  error // of the last take
}

func newInput(nc net.Conn) *input {
	in := &input{nc: nc}
	in.listenReady()
	return in
}

func (in *input) release() {
	if in.buf != nil {
		inputs.Put(in.buf)
		in.buf = nil
	}
}

// fill waits for bytes; there are none left when it is called.
func (in *input) fill() error {
	in.r, in.w = 0, 0
	if in.raw != nil {
		if err := in.raw.Read(in.take); err != nil {
			return err
		}
		return in.err
	}
	if in.buf == nil {
		in.buf = inputs.Get().(*[inputSize]byte)
	}
	n, err := in.nc.Read(in.buf[:])
	in.w = n
	if n > 0 {
		return nil
	}
	return err
}

// next returns up to limit unread bytes, at least one.
func (in *input) next(limit int) ([]byte, error) {
	if in.r == in.w {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	n := min(limit, in.w-in.r)
	b := in.buf[in.r : in.r+n]
	in.r += n
	return b, nil
}

// full reads len(dst) bytes.
func (in *input) full(dst []byte) error {
	for len(dst) > 0 {
		b, err := in.next(len(dst))
		if err != nil {
			return err
		}
		dst = dst[copy(dst, b):]
	}
	return nil
}

// frameHeader is the head of a client's frame (RFC 6455 §5.2).
type frameHeader struct {
	fin    bool
	opcode byte
	size   uint64
	mask   [4]byte
}

func (in *input) header() (h frameHeader, err error) {
	var b [8]byte
	if err = in.full(b[:2]); err != nil {
		return h, err
	}
	h.fin, h.opcode = b[0]&0x80 != 0, b[0]&15
	if b[0]&0x70 != 0 || b[1]&0x80 == 0 { // no extension was agreed; clients mask
		return h, errFraming
	}
	switch n := b[1] & 0x7f; n {
	case 126:
		err = in.full(b[:2])
		h.size = uint64(binary.BigEndian.Uint16(b[:2]))
	case 127:
		err = in.full(b[:8])
		h.size = binary.BigEndian.Uint64(b[:8])
	default:
		h.size = uint64(n)
	}
	if err == nil {
		err = in.full(h.mask[:])
	}
	if h.opcode >= opClose && (h.size > 125 || !h.fin) || h.size>>63 != 0 {
		return h, errFraming
	}
	return h, err
}

// unmask decodes b, which begins at offset of its frame's payload.
func unmask(b []byte, mask [4]byte, offset uint64) {
	var key [8]byte
	for i := range key {
		key[i] = mask[(offset+uint64(i))&3]
	}
	word := binary.LittleEndian.Uint64(key[:])
	if word == 0 {
		return
	}
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
	}
	for i := range b {
		b[i] ^= key[i&7]
	}
}

// readFrame reads one message into a pooled buffer. Of a message over the
// limit it returns the first bytes and the true size: closing the socket would
// make the SDK send the same request again for ever (protocol 01 T9). Only 64
// times the limit ends the connection.
func (c *Conn) readFrame() (*[]byte, int64, error) {
	var buf *[]byte
	var size uint64
	for {
		h, err := c.in.header()
		if err != nil {
			return nil, 0, err
		}
		switch {
		case h.opcode >= opClose:
			if err := c.control(h); err != nil {
				return nil, 0, err
			}
			continue
		case h.opcode > opBinary, (h.opcode == opContinuation) != (buf != nil):
			return nil, 0, errFraming
		}
		if buf == nil {
			buf = frames.Get().(*[]byte)
			*buf = (*buf)[:0]
		}
		size += h.size
		if size > uint64(c.server.opts.MaxFrame)*64 {
			return nil, 0, errHopeless
		}
		if err := c.payload(h, buf); err != nil {
			return nil, 0, err
		}
		if h.fin {
			return buf, int64(size), nil
		}
	}
}

// payload appends a data frame's payload to buf as far as the limit allows and
// passes over the rest.
func (c *Conn) payload(h frameHeader, buf *[]byte) error {
	for done := uint64(0); done < h.size; {
		part, err := c.in.next(int(min(h.size-done, inputSize)))
		if err != nil {
			return err
		}
		if room := c.server.opts.MaxFrame - len(*buf); room > 0 {
			start := len(*buf)
			*buf = append(*buf, part[:min(len(part), room)]...)
			unmask((*buf)[start:], h.mask, done)
		}
		done += uint64(len(part))
	}
	return nil
}

// control answers a ping and ends at a close.
func (c *Conn) control(h frameHeader) error {
	var b [125]byte
	p := b[:h.size]
	if err := c.in.full(p); err != nil {
		return err
	}
	unmask(p, h.mask, 0)
	switch h.opcode {
	case opPing:
		c.enqueue(outgoing{message: controlFrame(opPong, p)})
	case opPong:
		c.heard.Store(time.Now().UnixNano())
		c.confirmed(p)
	case opClose:
		if len(p) > 2 {
			p = p[:2] // the code is echoed, the reason is not
		}
		_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second)) // closing anyway
		_, _ = c.nc.Write(controlFrame(opClose, p))
		return io.EOF
	default:
		return errFraming
	}
	return nil
}

// controlFrame is a final, unmasked control frame; payload has at most 125 bytes.
func controlFrame(opcode byte, payload []byte) []byte {
	return append([]byte{0x80 | opcode, byte(len(payload))}, payload...)
}
