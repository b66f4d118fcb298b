package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"imserver/bench/loadgen"
)

func historyCommand(r *runner) *cobra.Command {
	var readers, messages, page, size int
	cmd := r.scenario("history", "Users who page through the history of their chats", func(ctx context.Context) (*result, error) {
		return runHistory(ctx, r, readers, messages, page, size)
	})
	cmd.Flags().IntVar(&readers, "readers", 50, "users who read at the same time, each a chat of its own")
	cmd.Flags().IntVar(&messages, "messages", 500, "messages in each chat, written before")
	cmd.Flags().IntVar(&page, "page", 15, "messages of a page; the SDKs ask for 15")
	cmd.Flags().IntVar(&size, "size", 100, "bytes of text in a message")
	return cmd
}

// reader pages from the newest message of its chat to the oldest, again and
// again. Its fields are used by its connection's reading goroutine only.
type reader struct {
	r       *runner
	device  *loadgen.Device
	peer    string
	page    int
	body    []byte
	stopped *atomic.Bool
	stats   *historyStats
}

type historyStats struct {
	pages, measured, errors atomic.Uint64
	answer                  loadgen.Histogram
	bytes                   atomic.Uint64
}

func (h *reader) ask(lastTime, key string) {
	h.body = fmt.Appendf(h.body[:0], `{"Peer_Account":"%s","MaxCnt":%d,"LastMsgTime":%s,"MsgKey":"%s","WithRecalledMsg":1,"GetDirection":0}`,
		h.peer, h.page, lastTime, key)
	h.device.Send("openim.getroammsg", h.body, 0, h.answered)
}

func (h *reader) answered(r loadgen.Reply) {
	h.stats.pages.Add(1)
	if r.Code != 0 {
		h.stats.errors.Add(1)
		if r.Code == loadgen.CodeLost {
			return
		}
	} else if h.r.measuring.Load() {
		h.stats.measured.Add(1)
		h.stats.bytes.Add(uint64(len(r.Doc)))
		h.stats.answer.Record(time.Duration(r.At - r.Sent))
	}
	if h.stopped.Load() {
		return
	}
	// The cursor fields stand before the list.
	if key := loadgen.Member(r.Doc, `"MsgKey":"`); key != "" && loadgen.Digits(r.Doc, `"Complete":`) == "0" {
		h.ask(loadgen.Digits(r.Doc, `"LastMsgTime":`), key)
		return
	}
	h.ask("0", "")
}

func runHistory(ctx context.Context, r *runner, readers, messages, page, size int) (*result, error) {
	name := r.names()
	devices, err := loadgen.OpenAll(r.target, name+"h", readers, 16, nil, nil)
	if err != nil {
		return nil, err
	}
	defer loadgen.CloseAll(devices)
	peers, err := loadgen.OpenAll(r.target, name+"p", readers, 16, nil, nil)
	if err != nil {
		return nil, err
	}
	r.say("writing %d messages", readers*messages)
	if err := fill(peers, devices, messages, size); err != nil {
		return nil, err
	}
	loadgen.CloseAll(peers)
	var stats historyStats
	var stopped atomic.Bool
	for i, d := range devices {
		(&reader{r: r, device: d, peer: peers[i].User, page: page, stopped: &stopped, stats: &stats}).ask("0", "")
	}
	res := &result{Params: map[string]int{"readers": readers, "messages": messages, "page": page}}
	err = r.run(ctx, res, stats.pages.Load)
	stopped.Store(true)
	res.Operations, res.Errors, res.Ack = stats.measured.Load(), stats.errors.Load(), stats.answer.Summary()
	res.Extra = map[string]float64{"bytes_per_page": float64(stats.bytes.Load()) / float64(max(res.Operations, 1))}
	return res, err
}

// fill writes n messages from each of the devices to the one of the same
// place, 32 under way at a time.
func fill(from, to []*loadgen.Device, n, size int) error {
	errs := make(chan error, len(from))
	for i := range from {
		go func() {
			gate := make(chan struct{}, 32)
			var bad atomic.Int64
			from[i].Grow(64)
			for k := range n {
				gate <- struct{}{}
				body := loadgen.C2C(nil, from[i].User, to[i].User, int64(k+1), rand.Int64N(1<<31), 0, int64(k), time.Now().Unix(), size)
				from[i].Send("openim.sendmsg", body, 0, func(r loadgen.Reply) {
					if r.Code != 0 {
						bad.Store(int64(r.Code))
					}
					<-gate
				})
			}
			for range cap(gate) {
				gate <- struct{}{}
			}
			if c := bad.Load(); c != 0 {
				errs <- fmt.Errorf("preparing messages: code %d", c)
				return
			}
			errs <- nil
		}()
	}
	for range from {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}
