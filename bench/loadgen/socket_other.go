//go:build !linux

package loadgen

import "net"

// socket is a TCP socket with a goroutine that reads.
type socket struct{ nc net.Conn }

func newSocket(tcp *net.TCPConn, _ bool) (socket, error) { return socket{tcp}, nil }

func (s socket) start(c *Conn) {
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := s.nc.Read(buf)
			if err != nil || !c.take(buf[:n]) {
				break
			}
		}
		c.fail()
	}()
}

func (s socket) end() { _ = s.nc.Close() }

func (s socket) close() { _ = s.nc.Close() }

func (s socket) write(b []byte) error {
	_, err := s.nc.Write(b)
	return err
}
