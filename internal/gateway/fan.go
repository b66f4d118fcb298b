package gateway

import (
	"bytes"
	"runtime"
	"sync"
	"time"
)

// fan writes what many connections get at the same time, the frames of live
// rooms and the events of crowded groups, from a few goroutines: a goroutine
// for each of 5,000 connections, for each frame, would stand between the next
// speaker and the processor. It never waits for a connection: what the kernel
// does not take at once becomes the work of a goroutine of that connection.
type fan struct {
	mu      sync.Mutex
	queue   []*Conn // guarded by mu: each is marked as writing
	running int     // guarded by mu
}

// add has c's queues written. The caller has marked it as writing.
func (f *fan) add(c *Conn) {
	f.mu.Lock()
	f.queue = append(f.queue, c)
	start := f.running < runtime.GOMAXPROCS(0)
	if start {
		f.running++
	}
	f.mu.Unlock()
	if start {
		go f.run()
	}
}

// fanTurn is how many connections a goroutine takes from the queue at once.
const fanTurn = 32

func (f *fan) run() {
	var turn [fanTurn]*Conn
	for {
		f.mu.Lock()
		n := copy(turn[:], f.queue)
		clear(f.queue[:n])
		if f.queue = f.queue[n:]; len(f.queue) == 0 {
			f.queue = nil
		}
		if n == 0 {
			f.running--
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		for _, c := range turn[:n] {
			c.writeNow()
		}
		clear(turn[:n])
		runtime.Gosched() // requests that came meanwhile go first
	}
}

// writeNow is write for as long as the kernel takes everything at once.
func (c *Conn) writeNow() {
	if c.in.raw == nil {
		go c.write()
		return
	}
	buf := buffers.Get().(*[]byte)
	for c.next(buf) {
		if c.timed { // a deadline that has passed would refuse the write
			_ = c.nc.SetWriteDeadline(time.Time{}) // fails only on a closed socket
			c.timed = false
		}
		n, err := tryWrite(c.in.raw, *buf)
		if err != nil {
			c.close("write")
		} else if n < len(*buf) {
			go c.writeRest(bytes.Clone((*buf)[n:]))
			break
		}
	}
	keep(buf)
}

// writeRest writes what the kernel did not take, and goes on.
func (c *Conn) writeRest(b []byte) {
	if err := c.send(b); err != nil {
		c.close("write")
	}
	c.write()
}
