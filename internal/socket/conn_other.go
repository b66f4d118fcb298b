//go:build !unix

package socket

import "net"

// Wrap returns nc.
func Wrap(nc net.Conn) net.Conn { return nc }
