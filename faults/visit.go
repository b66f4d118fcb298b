package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"imserver/bench/loadgen"
)

var visits atomic.Int64

// visit is two users who come to a node for the first time, write to each
// other and in a group that one of them makes, and leave.
func (c *crowd) visit(ctx context.Context, n *node) error {
	names := [2]string{fmt.Sprintf("visitor%da", visits.Add(1)), fmt.Sprintf("visitor%db", visits.Load())}
	target := loadgen.Target{URL: n.url, App: appID, Key: appKey}
	arrived := make(chan int64, 8)
	var devices [2]*loadgen.Device
	for i, name := range names {
		d, err := loadgen.NewDevice(target, name)
		if err != nil {
			return err
		}
		if err := d.Open(func(doc []byte, _ int64) {
			loadgen.Stamps(doc, func(_, number int64) { arrived <- number })
		}); err != nil {
			return err
		}
		defer d.Close()
		devices[i] = d
	}
	from := devices[0]
	if _, err := from.Call("openim.sendmsg", loadgen.C2C(nil, names[0], names[1], 1, 1, 0, 1, time.Now().Unix(), 80)); err != nil {
		return err
	}
	group := "of" + names[0]
	if _, err := from.Call("group_open_http_svc.create_group", fmt.Appendf(nil,
		`{"Type":"Public","Name":"visit","GroupId":%q,"Owner_Account":%q,"MemberList":[{"Member_Account":%q}]}`, group, names[0], names[1])); err != nil {
		return err
	}
	if _, err := from.Call("group_open_http_svc.send_group_msg", loadgen.Group(nil, names[0], group, 2, 2, 0, 2, 80)); err != nil {
		return err
	}
	for waiting := map[int64]bool{1: true, 2: true}; len(waiting) > 0; {
		select {
		case number := <-arrived:
			delete(waiting, number)
		case <-time.After(10 * time.Second):
			return fmt.Errorf("%d of 2 messages were not pushed", len(waiting))
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// refusedQuickly checks that a message which cannot be stored is answered, with
// an error, long before a client gives up (protocol 01 §7).
func (c *crowd) refusedQuickly(ctx context.Context) error {
	const quick = 2 * time.Second
	m := c.members[0]
	for ctx.Err() == nil {
		begin := time.Now()
		r, err := m.call(ctx, "openim.msgreaded", fmt.Appendf(nil,
			`{"C2CMsgReaded":{"Cookie":"","C2CMsgReadedItem":[{"To_Account":%q,"LastedMsgTime":%d,"Receipt":1}]}}`, m.peer, time.Now().Unix()))
		took := time.Since(begin)
		switch {
		case err != nil: // between two connections
			sleep(ctx, 100*time.Millisecond)
		case r.code == 0:
			return fmt.Errorf("the server acknowledges without a database")
		case took > quick:
			return fmt.Errorf("a refusal took %s", took)
		default:
			return nil
		}
	}
	return nil
}
