//go:build linux && !race

package socket

import (
	"syscall"
	"unsafe"
)

// Read is read(2) on a socket that does not block. At the end of what is sent
// it returns 0 and no error; EAGAIN when there is nothing yet.
func Read(fd uintptr, b []byte) (int, error) { return call(syscall.SYS_READ, fd, b) }

// Write is write(2) on a socket that does not block: it returns how much the
// kernel took, EAGAIN when that is nothing.
func Write(fd uintptr, b []byte) (int, error) { return call(syscall.SYS_WRITE, fd, b) }

func call(trap, fd uintptr, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
