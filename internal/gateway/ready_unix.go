//go:build unix

package gateway

import (
	"io"
	"syscall"
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
	for {
		n, in.err = syscall.Read(int(fd), in.buf[:])
		if in.err != syscall.EINTR {
			break
		}
	}
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
