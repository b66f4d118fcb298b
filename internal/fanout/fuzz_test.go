package fanout

import (
	"bytes"
	"testing"
)

// FuzzEvent: what comes over the bus neither panics nor takes memory out of
// proportion, and what is understood is written as it was read.
func FuzzEvent(f *testing.F) {
	for _, e := range []*Event{
		{}, {Item: []byte(`{"Event":9}`), Except: Device{144115200000000001, 7}, Log: 5, Seq: 9},
		{Kind: Kick, KickType: 2, NewInst: 8, Target: Device{UID: 144115200000000001}, Item: []byte("Web")},
		{Only: []int64{1, 2}, Not: []int64{3}, AltTo: []int64{4}, AltItem: []byte("b"), Item: []byte("a")},
	} {
		f.Add(e.append(nil))
	}
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(e.append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.append(nil), e.append(nil)) {
			t.Fatalf("%x changes when it is passed on", b)
		}
		e.Concerns(Device{1, 1})
	})
}
