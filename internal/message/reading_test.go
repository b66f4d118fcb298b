package message_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"imserver/internal/message"
)

// Ensure that read reports of many pairs at the same moment, which one
// statement may record, are each taken down and told once, that of several of
// one pair the furthest counts, and that none of them goes back.
func TestReportsAtOnce(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, ben, _ *device) {
		const peers, messages = 20, 5
		var writers []*device
		var last []sent
		for i := range peers {
			p := w.login(t, fmt.Sprint("peer", i), 1)
			writers = append(writers, p)
			for range messages - 1 {
				p.send(t, "ann", "m", nil)
				w.advance(time.Second)
			}
			last = append(last, p.send(t, "ann", "m", nil))
		}
		ben.send(t, "ann", "unread", nil)
		var reports sync.WaitGroup
		report := func(peer string, unix int64) {
			reports.Go(func() {
				code, _ := ann.do(t, "openim.msgreaded", object{"C2CMsgReaded": object{"C2CMsgReadedItem": []any{object{"To_Account": peer, "LastedMsgTime": unix}}}})
				if code != 0 {
					t.Errorf("a report was answered with %d", code)
				}
			})
		}
		for i, p := range writers {
			report(p.name, last[i].time-1) // all but the last
			report(p.name, last[i].time)
		}
		report("ben", last[0].time-1000) // before anything was said
		reports.Wait()
		equal(t, ann.unread(t), map[string]int{"ben": 1}, "unread")
		for i, p := range writers {
			newest, before := int64(0), int64(0)
			for _, item := range p.take(10) {
				for _, notice := range item["C2cNotifyMsgArray"].([]any) {
					read := notice.(object)["C2cReadedReceipt"].(object)["UinPairReadArray"].([]any)[0].(object)
					before, newest = newest, int64(read["LastReadTime"].(float64))
				}
			}
			equal(t, newest, last[i].time, "last receipt")
			if before == newest {
				t.Errorf("%s was told the same twice", p.name)
			}
		}
		for i, p := range writers { // what was known already is no news
			report(p.name, last[i].time)
			report(p.name, last[i].time-1)
		}
		reports.Wait()
		for _, p := range writers {
			equal(t, len(p.take(10)), 0, "receipts of nothing new")
		}
	})
}
