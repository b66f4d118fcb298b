package loadgen

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// MixGroup is how many devices share a group of a Mix.
const MixGroup = 20

// Mix is the requests of an ordinary day: of 20 requests 9 are one-to-one
// messages, 4 read reports, 3 history pages, 2 group messages, 2 lists.
type Mix struct {
	Devices []*Device
	Groups  []string // group i/MixGroup is that of device i
	number  atomic.Int64
	waiting atomic.Int64
}

// Waiting is how many requests of Run wait for their answers.
func (m *Mix) Waiting() int64 { return m.waiting.Load() }

// Next makes one request of device i.
func (m *Mix) Next(i int) (command string, body []byte) {
	d, n := m.Devices[i], m.number.Add(1)
	peer := m.Devices[(i+1+rand.IntN(5))%len(m.Devices)].User // everybody has five people to talk to
	switch k := rand.IntN(20); {
	case k < 9:
		return "openim.sendmsg", C2C(nil, d.User, peer, n, rand.Int64N(1<<31), Now(), n, time.Now().Unix(), 100)
	case k < 13:
		return "openim.msgreaded", fmt.Appendf(nil, `{"C2CMsgReaded":{"Cookie":"","C2CMsgReadedItem":[{"To_Account":"%s","LastedMsgTime":%d,"Receipt":1}]}}`, peer, time.Now().Unix())
	case k < 16:
		return "openim.getroammsg", fmt.Appendf(nil, `{"Peer_Account":"%s","MaxCnt":15,"LastMsgTime":0,"MsgKey":"","WithRecalledMsg":1,"GetDirection":0}`, peer)
	case k < 18:
		return "group_open_http_svc.send_group_msg", Group(nil, d.User, m.Groups[i/MixGroup], rand.Int64N(1<<31), n, Now(), n, 100)
	}
	return "recentcontact.page_get", fmt.Appendf(nil, `{"From_Account":"%s","TimeStamp":0,"StartIndex":0,"TopTimeStamp":0,"TopStartIndex":0,"OrderType":1,"MsgAssistFlags":15,"AssistFlags":31}`, d.User)
}

// Run sends rate requests a second, of devices drawn at random, until stop is
// closed; one is left out while as many as atMost wait for their answers. done
// is called with each answer.
func (m *Mix) Run(stop <-chan struct{}, rate int, atMost int64, done func(Reply)) {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for sent, start := 0, time.Now(); ; {
		select {
		case <-t.C:
		case <-stop:
			return
		}
		for due := int(time.Since(start).Seconds() * float64(rate)); sent < due; sent++ {
			if m.waiting.Load() >= atMost {
				continue
			}
			m.waiting.Add(1)
			i := rand.IntN(len(m.Devices))
			command, body := m.Next(i)
			m.Devices[i].Send(command, body, 0, func(r Reply) {
				m.waiting.Add(-1)
				done(r)
			})
		}
	}
}
