package liveroom

import (
	"encoding/json"
	"math/rand/v2"
	"time"

	"imserver/internal/account"
	"imserver/internal/group"
	"imserver/internal/wire"
)

const systemAccount = "@TIM#SYSTEM"

// groupInfo is the GroupInfo of an item; the SDK drops the rest of a frame
// when it is missing (protocol 03 §3.2). sender is nil for the system.
func groupInfo(g *group.Info, sender *account.Account) []byte {
	o := wire.OpenObject(make([]byte, 0, 256))
	o.Str("GroupId", g.ID)
	o.Str("GroupName", g.Name)
	o.Str("GroupType", g.Kind.String())
	if sender == nil {
		o.Str("From_Account", systemAccount)
		return o.Close()
	}
	o.Str("From_Account", sender.UserID)
	o.Str("From_AccountNick", sender.Nick)
	o.Str("From_AccountHeadurl", sender.Avatar)
	o.Int("From_AccountLevel", 0)
	return o.Close()
}

// to is what stands before a body that is the same for several rooms.
func to(g *group.Info, sender *account.Account) []byte {
	o := wire.OpenObject(nil)
	o.Str("ToGroupId", g.ID)
	o.Raw("GroupInfo", groupInfo(g, sender))
	return append(open(o), ',')
}

// open returns an object's members without the braces.
func open(o wire.Object) []byte {
	b := o.Close()
	return b[1 : len(b)-1]
}

// rest returns an object without its opening brace: an event's Body.
func rest(o wire.Object) []byte { return o.Close()[1:] }

// drawNumber draws a MsgRandom; the SDK replaces 1 and 2 (protocol 03 §3.4).
func drawNumber() int64 { return 1000 + rand.Int64N(1<<31-1000) }

// systemBody is the body of an event of the system: tips, notices, state.
func systemBody(g *group.Info, now time.Time, body []byte) []byte {
	random := drawNumber()
	o := wire.OpenObject(make([]byte, 0, len(body)+384))
	o.Str("ToGroupId", g.ID)
	o.Str("From_Account", systemAccount)
	o.ID("TinyId", 0)
	o.Int("MsgRandom", random)
	o.Int("MsgTimeStamp", now.Unix())
	o.Int("MsgClientTime", now.Unix())
	o.Int("ClientSeq", random)
	o.Int("MsgPriority", 2)
	o.Raw("GroupInfo", groupInfo(g, nil))
	o.Raw("MsgBody", body)
	return rest(o)
}

// messageBody is the body of a message (protocol 03 §3.2).
func messageBody(e *Event, head []byte, sender *account.Account, m messageFields) []byte {
	o := wire.OpenObject(make([]byte, 0, len(m.body)+len(m.cloud)+len(head)+512))
	o.Str("From_Account", sender.UserID)
	o.ID("TinyId", sender.UID)
	o.Int("MsgRandom", e.Random)
	o.Int("MsgTimeStamp", e.Time)
	o.Int("MsgClientTime", e.ClientTime)
	o.Int("ClientSeq", e.ClientSeq)
	o.Int("MsgPriority", int64(m.priority))
	o.Str("CloudCustomData", m.cloud)
	if len(m.mentions) > 0 {
		o.Raw("GroupAtInfo", m.mentions)
	}
	o.Raw("MsgBody", m.body)
	return append(append(make([]byte, 0, len(head)+len(m.body)+512), head...), rest(o)...)
}

type messageFields struct {
	priority       int
	cloud          string
	mentions, body json.RawMessage
}

// person is who is spoken of in tips (protocol 03 §3.3).
type person struct {
	UserId   string
	NickName string
	ImageUrl string
}

func personOf(a *account.Account) person { return person{a.UserID, a.Nick, a.Avatar} }
