//go:build unix

package socket

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// Wrap returns nc with reads and writes that are made as this package's, if nc
// is a plain socket. Deadlines and Close are nc's.
func Wrap(nc net.Conn) net.Conn {
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return &conn{nc, raw}
		}
	}
	return nc
}

type conn struct {
	net.Conn
	raw syscall.RawConn
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	failed := c.raw.Read(func(fd uintptr) bool {
		n, err = Read(fd, b)
		return err != syscall.EAGAIN
	})
	if n == 0 && err == nil && failed == nil {
		return 0, io.EOF
	}
	return n, result("read", c.Conn, failed, err)
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (n int, err error) {
	failed := c.raw.Write(func(fd uintptr) bool {
		for n < len(b) && err == nil {
			var k int
			k, err = Write(fd, b[n:])
			n += k
		}
		if err != syscall.EAGAIN {
			return true
		}
		err = nil
		return false
	})
	return n, result("write", c.Conn, failed, err)
}

// result is what a net.Conn reports: why it could not wait, a deadline or its
// end, or what the kernel said.
func result(op string, nc net.Conn, failed, err error) error {
	var known *net.OpError
	switch {
	case errors.As(failed, &known):
		known.Op = op
		return known
	case failed != nil:
		err = failed
	case err == nil:
		return nil
	}
	return &net.OpError{Op: op, Net: nc.LocalAddr().Network(), Source: nc.LocalAddr(), Addr: nc.RemoteAddr(), Err: err}
}
