//go:build !unix

package gateway

import "syscall"

// listenReady does nothing: here an input waits in a read, with its buffer.
func (in *input) listenReady() {}

// tryWrite is not used here.
func tryWrite(syscall.RawConn, []byte) (int, error) { return 0, syscall.ENOSYS }
