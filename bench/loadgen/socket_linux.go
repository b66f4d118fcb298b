package loadgen

import (
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// socket is a TCP socket that is read by one of a few pollers. Go's own
// network poller would need a goroutine for each socket, and a second read to
// find out that there is no more: with thousands of sockets that a message goes
// to, the generator would need more of the machine than the server does.
type socket struct {
	fd     int
	poller *poller
}

// poller waits for many sockets at once.
type poller struct {
	epoll int
	mu    sync.Mutex
	conns map[int]*Conn // guarded by mu; by fd
}

var (
	pollers []*poller
	aside   *poller // of sockets that are read apart
	started sync.Once
	turn    atomic.Uint32
)

func startPollers() {
	for range max(1, runtime.NumCPU()/2) {
		pollers = append(pollers, newPoller())
	}
	aside = newPoller()
}

func newPoller() *poller {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		panic(err) // no descriptors are left before the first connection
	}
	p := &poller{epoll: epoll, conns: map[int]*Conn{}}
	go p.run()
	return p
}

// newSocket takes the socket away from Go's poller. It is read apart from the
// others if that is asked for.
func newSocket(tcp *net.TCPConn, apart bool) (socket, error) {
	started.Do(startPollers)
	f, err := tcp.File()
	_ = tcp.Close() // f is another name of it
	if err != nil {
		return socket{}, err
	}
	fd, err := syscall.Dup(int(f.Fd()))
	_ = f.Close()
	if err != nil {
		return socket{}, os.NewSyscallError("dup", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return socket{}, err
	}
	if apart {
		return socket{fd: fd, poller: aside}, nil
	}
	return socket{fd: fd, poller: pollers[turn.Add(1)%uint32(len(pollers))]}, nil
}

func (s socket) start(c *Conn) {
	s.poller.mu.Lock()
	s.poller.conns[s.fd] = c
	s.poller.mu.Unlock()
	err := syscall.EpollCtl(s.poller.epoll, syscall.EPOLL_CTL_ADD, s.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP, Fd: int32(s.fd)})
	if err != nil {
		panic(err) // the descriptor is ours and open
	}
}

// end makes the poller see the end of the stream. Like write and close it is
// called while nobody else uses the socket.
func (s socket) end() { _ = syscall.Shutdown(s.fd, syscall.SHUT_RDWR) } // the other side may have done so

func (s socket) close() { _ = syscall.Close(s.fd) } // nothing is left to do about it

func (s socket) write(b []byte) error {
	for len(b) > 0 {
		n, err := syscall.Write(s.fd, b)
		switch err {
		case nil:
			b = b[n:]
		case syscall.EAGAIN:
			runtime.Gosched() // the server is slow to read: rare, so a wait of this kind does
		case syscall.EINTR:
		default:
			return err
		}
	}
	return nil
}

// run reads whatever has come, until the program ends.
func (p *poller) run() {
	events := make([]syscall.EpollEvent, 256)
	buf := make([]byte, 256<<10)
	for {
		n, err := syscall.EpollWait(p.epoll, events, -1)
		if err != nil && err != syscall.EINTR {
			panic(err) // the descriptor is ours and open
		}
		for _, e := range events[:max(n, 0)] {
			p.mu.Lock()
			c := p.conns[int(e.Fd)]
			p.mu.Unlock()
			if c == nil {
				continue
			}
			n, err := syscall.Read(int(e.Fd), buf)
			if err == syscall.EAGAIN || err == syscall.EINTR {
				continue
			}
			if n > 0 && err == nil && c.take(buf[:n]) {
				continue
			}
			p.mu.Lock()
			delete(p.conns, int(e.Fd))
			p.mu.Unlock()
			c.fail()
		}
	}
}
