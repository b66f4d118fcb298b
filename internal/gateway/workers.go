package gateway

import "sync/atomic"

// job is a command to serve, or with no request a connection's ordered ones.
type job struct {
	c *Conn
	r *request
}

func (j job) do() {
	if j.r != nil {
		j.c.serve(*j.r)
	} else {
		j.c.serveOrdered()
	}
}

// workers run commands in goroutines that are used again: a command's stack
// has grown to what JSON and the database drivers need, and growing a new one
// for every command was a seventh of the time of a login.
type workers struct {
	jobs chan job
	idle atomic.Int32
}

// maxIdle is how many workers wait for work; each keeps some 16 KiB of stack.
const maxIdle = 256

func newWorkers() *workers { return &workers{jobs: make(chan job)} }

// do runs j in a goroutine, one that waits or a new one. It never blocks.
func (w *workers) do(j job) {
	select {
	case w.jobs <- j:
	default:
		go w.run(j)
	}
}

func (w *workers) run(j job) {
	for {
		j.do()
		if w.idle.Add(1) > maxIdle {
			w.idle.Add(-1)
			return
		}
		j = <-w.jobs
		w.idle.Add(-1)
	}
}
