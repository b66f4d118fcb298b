//go:build unix

package gateway

import (
	"io"
	"syscall"

	"imserver/internal/socket"
)

// listenReady lets the input of a plain socket wait without a buffer; TLS has
// no such thing.
func (in *input) listenReady() {
	if sc, ok := in.nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			in.raw, in.take = raw, in.takeReady
		}
	}
}

// takeReady reads what the kernel has; false makes the runtime wait for more.
func (in *input) takeReady(fd uintptr) bool {
	if in.buf == nil {
		in.buf = inputs.Get().(*[inputSize]byte)
	}
	var n int
	n, in.err = socket.Read(fd, in.buf[:])
	if in.err == syscall.EAGAIN {
		in.release()
		return false
	}
	in.w = max(n, 0)
	if n == 0 && in.err == nil {
		in.err = io.EOF
	}
	return true
}

// tryWrite writes what the kernel takes without waiting.
func tryWrite(raw syscall.RawConn, b []byte) (n int, err error) {
	failed := raw.Write(func(fd uintptr) bool {
		n, err = socket.Write(fd, b)
		return true
	})
	if failed != nil {
		return 0, failed
	}
	if err == syscall.EAGAIN {
		err = nil
	}
	return max(n, 0), err
}
