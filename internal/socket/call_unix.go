//go:build unix && (!linux || race)

package socket

import "syscall"

// Read is read(2) on a socket that does not block, as on Linux.
func Read(fd uintptr, b []byte) (int, error) { return call(syscall.Read, fd, b) }

// Write is write(2) on a socket that does not block, as on Linux.
func Write(fd uintptr, b []byte) (int, error) { return call(syscall.Write, fd, b) }

func call(fn func(fd int, b []byte) (int, error), fd uintptr, b []byte) (int, error) {
	for {
		n, err := fn(int(fd), b)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
