package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"imserver/bench/loadgen"
)

func loginCommand(r *runner) *cobra.Command {
	var devices int
	var again, accounts bool
	cmd := r.scenario("login", "Many devices at once: connect, log in, ask everything an SDK asks at start", func(ctx context.Context) (*result, error) {
		return runLogin(ctx, r, devices, accounts || again, again)
	})
	cmd.Flags().IntVar(&devices, "devices", 5000, "devices that come at once")
	cmd.Flags().BoolVar(&again, "again", false, "they were connected before and come back with their keys (a relogin)")
	cmd.Flags().BoolVar(&accounts, "accounts", true, "their accounts exist already")
	return cmd
}

// storm is what all devices of a login run share.
type storm struct {
	start  time.Time
	errors [64]atomic.Uint64 // by index in StartUp; the last one: connect or login
	failed atomic.Uint64
	done   sync.WaitGroup
	full   loadgen.Histogram // from the start of the storm to the last answer
	login  loadgen.Histogram // from the request to its answer
}

func runLogin(ctx context.Context, r *runner, n int, exist, again bool) (*result, error) {
	name := r.names()
	devices := make([]*loadgen.Device, n)
	for i := range devices {
		var err error
		if devices[i], err = loadgen.NewDevice(r.target.Node(i), fmt.Sprintf("%s%d", name, i)); err != nil {
			return nil, err
		}
	}
	if exist {
		if err := visit(r, devices, again); err != nil {
			return nil, err
		}
		if !wait(ctx, r.warmup) { // the server forgets the sockets
			return nil, ctx.Err()
		}
	}
	m, err := r.begin()
	if err != nil {
		return nil, err
	}
	s := &storm{start: time.Now()}
	s.done.Add(n)
	for _, d := range devices {
		go s.come(d)
	}
	finished := make(chan struct{})
	go func() { s.done.Wait(); close(finished) }()
	for running := true; running; {
		select {
		case <-finished:
			running = false
		case <-time.After(2 * time.Second):
			r.say("%3.0f s: %d of %d", time.Since(s.start).Seconds(), s.full.Count(), n)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	res := &result{Params: map[string]int{"devices": n}, Operations: s.full.Count(), Errors: s.failed.Load()}
	m.end(res)
	loadgen.CloseAll(devices)
	res.Push, res.Ack = s.full.Summary(), s.login.Summary()
	res.Extra = map[string]float64{"requests_per_login": float64(len(loadgen.StartUp) + 2)}
	for i := range s.errors {
		if e := s.errors[i].Load(); e > 0 && i < len(loadgen.StartUp) {
			res.Extra["errors "+loadgen.StartUp[i].Command] = float64(e)
		} else if e > 0 {
			res.Extra["errors login"] = float64(e)
		}
	}
	return res, nil
}

// visit logs every device in and out of the way again, so that its account
// exists; a device that is to come back keeps its key.
func visit(r *runner, devices []*loadgen.Device, keep bool) error {
	r.say("%d devices log in once before", len(devices))
	errs := make(chan error, len(devices))
	gate := make(chan struct{}, 64)
	for _, d := range devices {
		gate <- struct{}{}
		go func() {
			defer func() { <-gate }()
			visitor := d
			if !keep {
				visitor, _ = loadgen.NewDevice(d.Target, d.User) // worked for d
			}
			err := visitor.Open(nil)
			if err == nil && !keep {
				_, err = visitor.Call("im_open_status.wslogout", []byte(`{"wslogout_type":0,"is_web_uniapp":0}`))
			}
			if visitor.Conn != nil {
				visitor.Close()
			}
			errs <- err
		}()
	}
	for range devices {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// come is one device of the storm.
func (s *storm) come(d *loadgen.Device) {
	defer s.done.Done()
	last := len(s.errors) - 1
	if err := d.Connect(nil); err != nil {
		s.errors[last].Add(1)
		s.failed.Add(1)
		return
	}
	answers := make(chan struct{})
	left := len(loadgen.StartUp)
	d.Login(func(r loadgen.Reply) {
		if r.Code != 0 {
			s.errors[last].Add(1)
			s.failed.Add(1)
			close(answers)
			return
		}
		s.login.Record(time.Duration(r.At - r.Sent))
		bad := false
		d.Begin(func(r loadgen.Reply) {
			// 60009 is an answer: the server is not built that far yet.
			if r.Code != 0 {
				s.errors[r.Tag].Add(1)
				bad = bad || r.Code != unknownCommand
			}
			if left--; left == 0 {
				if bad {
					s.failed.Add(1)
				}
				s.full.Record(time.Since(s.start))
				close(answers)
			}
		})
	})
	<-answers
}

// unknownCommand is the code of commands that the server does not offer.
const unknownCommand = 60009
