package annotation

import (
	"strconv"

	"imserver/internal/wire"
)

// Message is how pushes name a message: Key and Object are the member that
// names it, such as "ExtensionGroupMsgInfo" and {"GroupId":…}; Sender is the
// message sender's uid (protocol 02 §15, §16).
type Message struct {
	Key    string
	Object []byte
	Sender int64
}

// ExtensionEvent is the Event 20 item that tells of a change (protocol 02
// §15). It goes to everybody in the conversation except the acting connection.
func ExtensionEvent(m Message, a *ChangeAnswer) []byte {
	o := wire.OpenObject(make([]byte, 0, 256))
	o.Raw(m.Key, m.Object)
	o.Int("MsgOptType", int64(a.Operation))
	o.ID("TinyId", m.Sender)
	o.Int("MsgLastSeq", a.Seq)
	switch a.Operation {
	case OpClear:
		o.Raw("ClearKVInfo", []byte(`[{"ClearMsgSeq":`+strconv.FormatInt(a.Seq, 10)+`}]`))
	case OpDelete:
		o.Raw("DeleteKVInfo", pairs(a.Applied()))
	default:
		o.Raw("SetKVInfo", pairs(a.Applied()))
	}
	return item(20, "MsgExtensionNotify", o.Close())
}

func pairs(list []Extension) []byte {
	b := []byte(`[{"MsgKeyValue":[`)
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		o := wire.OpenObject(b)
		o.Str("Key", e.Key)
		o.Str("Value", e.Value)
		o.Int("Seq", e.Seq)
		b = o.Close()
	}
	return append(b, `]}]`...)
}

// ReactionEvent is the Event 22 item that tells a receiver of a reaction's new
// state; users are the names of the first reactors, at most ten are sent. mine
// is personal: whether the receiver is among the reactors (protocol 02 §16).
func ReactionEvent(m Message, sum Summary, users []string, mine bool) []byte {
	return reactionEvent(m, sum, users, &mine)
}

// SharedReactionEvent is ReactionEvent for receivers who all get the same:
// without the field SDKs remember by themselves whether they have reacted.
func SharedReactionEvent(m Message, sum Summary, users []string) []byte {
	return reactionEvent(m, sum, users, nil)
}

func reactionEvent(m Message, sum Summary, users []string, mine *bool) []byte {
	o := wire.OpenObject(nil)
	o.Str("Reaction", sum.Reaction)
	o.Int("Count", int64(sum.Count))
	if sum.Count > 0 {
		o.Raw("Reaction_Account", Names(users[:min(len(users), previewUsers)]))
	}
	if mine != nil {
		o.Flag("ReactedByMe", *mine)
	}
	summary := o.Close()
	n := wire.OpenObject(make([]byte, 0, len(summary)+256))
	n.Raw(m.Key, m.Object)
	n.Raw("MsgReactionSummary", list(summary))
	return item(22, "MsgReactionNotifyList", list(n.Close()))
}

// MyReactionEvent is the Event 23 item for the actor's other devices; it goes
// before Event 22 (protocol 02 §16).
func MyReactionEvent(m Message, reaction string, added bool) []byte {
	o := wire.OpenObject(make([]byte, 0, 256))
	o.Raw(m.Key, m.Object)
	o.Str("Reaction", reaction)
	if added {
		o.Int("OperateType", 1)
	} else {
		o.Int("OperateType", 2)
	}
	return item(23, "MsgReactionNotify", o.Close())
}

// Names is a JSON array of strings.
func Names(names []string) []byte {
	b := []byte{'['}
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, n)
	}
	return append(b, ']')
}

func list(object []byte) []byte { return append(append([]byte{'['}, object...), ']') }

func item(event int64, key string, value []byte) []byte {
	o := wire.OpenObject(make([]byte, 0, len(value)+48))
	o.Int("Event", event)
	o.Raw(key, value)
	return o.Close()
}
