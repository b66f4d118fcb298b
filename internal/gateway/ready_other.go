//go:build !unix

package gateway

// listenReady does nothing: here an input waits in a read, with its buffer.
func (in *input) listenReady() {}
