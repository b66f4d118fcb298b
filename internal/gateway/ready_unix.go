//go:build unix

package gateway

import (
	"io"
	"net"
	"syscall"
)

// listenReady lets the input of a plain TCP socket wait without a buffer.
func (in *input) listenReady() {
	if tcp, ok := in.nc.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
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
