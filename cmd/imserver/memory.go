package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go collects garbage when enough new has been made, and keeps most of what
// that frees. A server that has got quiet after a login storm makes nothing
// new: it would hold the storm's garbage for as long as it stays quiet.
const (
	memoryRound = 3 * time.Second
	quietBytes  = 4 << 20 // made in a round by a quiet server at most
	worthBytes  = 6 << 20 // garbage and free memory worth a collection
)

// Go collects when the heap has doubled. That of a server with few users is so
// small that a stream of messages doubles it ten times a second, and a sixth
// of the time goes into collecting. The ballast makes a small heap look larger.
// Nobody touches it, so it takes addresses and no memory.
const ballastBytes = 32 << 20

// returnMemory gives memory back to the system when the server gets quiet, and
// keeps the ballast while the heap is small, until ctx ends.
func returnMemory(ctx context.Context) {
	tick := time.NewTicker(memoryRound)
	defer tick.Stop()
	var ballast []byte
	made := heap{}
	for {
		h := readHeap()
		if h.made-made.made < quietBytes && h.objects-min(h.live, h.objects)+h.free > worthBytes {
			debug.FreeOSMemory()
		}
		made = h
		live := h.live - min(uint64(len(ballast)), h.live)
		switch {
		case live > ballastBytes:
			ballast = nil
		case ballast == nil && live < ballastBytes/2 && os.Getenv("GOGC") == "": // else somebody has thought about it
			ballast = make([]byte, ballastBytes)
		}
		select {
		case <-ctx.Done():
			runtime.KeepAlive(ballast)
			return
		case <-tick.C:
		}
	}
}

// heap is what the runtime says of its memory, in bytes.
type heap struct {
	made    uint64 // since the start
	live    uint64 // found by the last collection
	objects uint64 // live or garbage now
	free    uint64 // neither used nor given back
}

func readHeap() heap {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(samples)
	return heap{samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64(), samples[3].Value.Uint64()}
}
