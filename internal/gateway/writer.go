package gateway

import (
	"sync"
	"time"

	"imserver/internal/fanout"
	"imserver/internal/wire"
)

var pingMessage = []byte{0x89, 0}

var resyncDocument = []byte(`{"head":{"ver":"v4","servcmd":"` + wire.RelogCommand + `"},"body":{}}`)

// kickDocument is the push that logs an instance out (protocol 01 §12).
func kickDocument(e *fanout.Event) []byte {
	inst := wire.OpenObject(nil)
	inst.Int("InstId", int64(e.NewInst))
	inst.Str("Platform", string(e.Item))
	notice := wire.OpenObject(nil)
	notice.Int("KickType", int64(e.KickType))
	notice.Raw("NewInstInfo", inst.Close())
	doc := []byte(`{"head":{"ver":"v4","servcmd":"` + wire.KickCommand + `"},"body":{"EventArray":[{"Event":10,"C2cNotifyMsgArray":[{"KickoutMsgNotify":`)
	doc = append(doc, notice.Close()...)
	return append(doc, `}]}]}}`...)
}

// enqueue adds o to what waits, and starts a writer if none is running. A
// connection whose queue is over the limit is closed: dropping one push would
// leave a hole that the SDK never notices, while after a reconnect it fetches
// everything (protocol 01 §13).
func (c *Conn) enqueue(o outgoing) {
	c.mu.Lock()
	c.enqueueLocked(o)
}

// enqueueLocked is enqueue by a caller who holds mu; it releases it.
func (c *Conn) enqueueLocked(o outgoing) {
	if c.closed {
		c.mu.Unlock()
		return
	}
	held := c.holdLocked(o)
	if !held {
		if o.event != nil && !o.event.Apart {
			c.events++
		}
		c.out = append(c.out, o)
		c.outBytes += o.size()
	}
	if c.outBytes > c.server.opts.MaxQueue || held && c.back.bytes > c.server.opts.MaxQueue {
		c.mu.Unlock()
		c.server.metrics.overflows.Inc()
		go c.close("slow") // not here: the caller may hold a lock
		return
	}
	if held {
		c.mu.Unlock()
		return
	}
	start := !c.writing || c.off && o.event == nil
	c.writing = true
	if start {
		c.off = false
	}
	c.mu.Unlock()
	switch {
	case !start:
	case o.event != nil && o.event.Crowd():
		c.server.fan.add(c)
	case c.server.together.add(c): // is written with others
	default:
		go c.write()
	}
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// maxKept is the largest buffer that goes back to the pool.
const maxKept = 64 << 10

// keep puts a buffer back into the pool.
func keep(buf *[]byte) {
	if cap(*buf) <= maxKept {
		buffers.Put(buf)
	}
}

// write writes what waits, everything that has gathered in one system call,
// until nothing is left.
func (c *Conn) write() {
	buf := buffers.Get().(*[]byte)
	for c.next(buf) {
		if err := c.send(*buf); err != nil {
			c.close("write")
		}
	}
	keep(buf)
}

// next puts into buf what is to be written next. When there is nothing it
// returns false, and the connection has no writer any more.
func (c *Conn) next(buf *[]byte) bool {
	c.mu.Lock()
	batch := c.out
	if !c.waitingLocked() || c.closed {
		c.writing = false
		done := c.closing && c.inflight == 0 && !c.closed
		c.mu.Unlock()
		if done {
			go c.goodbye() // not here: it may wait for a client, and the caller may have others to write to
		}
		return false
	}
	c.out, c.outBytes = nil, 0
	*buf = c.stream.take((*buf)[:0], c.mode)
	c.mu.Unlock()
	*buf = c.assemble(*buf, batch)
	return true
}

// send writes b. A write that takes longer than the timeout ends the
// connection, but not that of a live room's watcher: it has skipped what it
// was too slow for, and is gone only when it is silent for the whole idle time.
func (c *Conn) send(b []byte) error {
	for {
		_ = c.nc.SetWriteDeadline(time.Now().Add(c.server.opts.WriteTimeout)) // fails only on a closed socket
		c.timed = true
		n, err := c.nc.Write(b)
		if err == nil || !c.patient(err) {
			return err
		}
		b = b[n:]
	}
}

// maxMerge bounds the items of one push frame.
const maxMerge = 64

// assemble appends the messages of a batch. Events that follow each other
// become one push frame with several items (protocol 01 §13).
func (c *Conn) assemble(dst []byte, batch []outgoing) []byte {
	for i := 0; i < len(batch); {
		o := batch[i]
		if o.event == nil {
			dst = append(dst, o.message...)
			i++
			continue
		}
		run := 1
		for i+run < len(batch) && batch[i+run].event != nil && run < maxMerge {
			run++
		}
		if run == 1 && c.mode.Compresses(o.event.Item) {
			dst = append(dst, o.event.Frame().Bytes(c.mode)...) // once for everybody
		} else {
			var few [4][]byte
			items := few[:0]
			for _, e := range batch[i : i+run] {
				items = append(items, e.event.Item)
			}
			dst = wire.AppendMergedPush(dst, items, c.mode)
		}
		c.server.metrics.pushed.Add(float64(run))
		i += run
	}
	return dst
}
