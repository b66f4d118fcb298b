package main

import (
	"io"
	"net"
	"sync"
)

// proxy is a network link that can be cut, with a word (sever) or without one
// (stall): it forwards a loopback port to another.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	cut   bool                  // guarded by mu
	clear chan struct{}         // guarded by mu: closed while bytes pass
	conns map[net.Conn]struct{} // guarded by mu
}

func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, conns: map[net.Conn]struct{}{}, clear: make(chan struct{})}
	close(p.clear)
	go p.accept()
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.forward(in)
	}
}

func (p *proxy) forward(in net.Conn) {
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = in.Close()
		return
	}
	if !p.keep(in, out) {
		_ = in.Close()
		_ = out.Close()
		return
	}
	defer p.drop(in, out)
	done := make(chan struct{}, 2)
	pipe := func(dst, src net.Conn) {
		_, _ = io.Copy(dst, &held{src, p}) // ends when either side is gone
		done <- struct{}{}
	}
	go pipe(in, out)
	go pipe(out, in)
	<-done
}

// held passes on what it reads when the link is clear.
type held struct {
	net.Conn
	link *proxy
}

func (h *held) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.link.pass()
	return n, err
}

// pass waits while the link is stalled.
func (p *proxy) pass() {
	p.mu.Lock()
	clear := p.clear
	p.mu.Unlock()
	<-clear
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return false
	}
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return true
}

func (p *proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
		_ = c.Close()
	}
}

// reset ends the connections there are; new ones go through.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// sever ends the connections and lets no new ones through until mend.
func (p *proxy) sever() {
	p.mu.Lock()
	p.cut = true
	p.mu.Unlock()
	p.reset()
}

// stall swallows everything until mend, and nobody is told: what a network
// does that loses packets.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.clear:
		p.clear = make(chan struct{})
	default: // it is stalled already
	}
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	select {
	case <-p.clear:
	default:
		close(p.clear)
	}
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mend()
	p.reset()
}
