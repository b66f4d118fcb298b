// Package message does one-to-one chat: message bodies, the log of each pair,
// history, read state and everything that happens to a sent message. A pair's
// log is written once and read by both sides.
package message

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"imserver/internal/account"
	"imserver/internal/wire"
)

// Flags of a stored message.
const (
	FlagReceipt    = 1 << iota // the sender wants a read receipt (IsNeedReadReceipt)
	FlagExtensions             // extensions may be set on it (SupportMessageExtension)
	FlagNoUnread               // does not count as unread (SendMsgControl NoUnread)
	FlagNoLast                 // is not shown as last message (SendMsgControl NoLastMsg)
	FlagRevoked                // was revoked; shown as such
	flagDiscarded              // the receiver discards what the sender sends: it is there for the sender alone
	flagInsistent              // delivered even to a receiver who discards (an administrator's message)
	flagNotOwn                 // not for its sender's devices and history (REST SyncOtherMachine 2)
)

// flagBitsRevoked is the MsgFlagBits value of a revoked one-to-one message
// (protocol 02 §2.1).
const flagBitsRevoked = 8

// seqBits is how many low bits of a pair's sequence count within one second:
// a million messages of a pair in one second.
const seqBits = 20

// Message is a one-to-one message. Its content is JSON and opaque to the
// server but for what normalize changes.
type Message struct {
	From, To   int64 // uids
	Seq        int64 // place in the pair's log: unix seconds << seqBits | counter
	MsgSeq     int64 // the client's number, not ordered, may exceed 32 bits (protocol 02 §2)
	Random     int64
	ClientTime int64 // sender's clock, unix seconds; part of the message ID
	Flags      int
	Version    int   // count of edits
	ChangedAt  int64 // unix seconds of the last revoke or edit; 0 = never
	ReceiptAt  int64 // unix seconds of the receiver's receipt; 0 = none
	Revoker    string
	Reason     string
	Body       []byte // MsgBody, a JSON array
	Cloud      string // CloudCustomData
	PushInfo   []byte // OfflinePushInfo, a JSON object; nil if it says nothing
}

// Time returns the server time of the message in unix seconds.
func (m *Message) Time() int64 { return m.Seq >> seqBits }

// Key returns the message key (protocol 02 §2).
func (m *Message) Key() string { return Key(m.MsgSeq, m.Random, m.Time()) }

// Key makes a message key: MsgSeq_MsgRandom_MsgTimeStamp (protocol 02 §2).
func Key(msgSeq, random, unix int64) string {
	b := make([]byte, 0, 48)
	b = append(strconv.AppendInt(b, msgSeq, 10), '_')
	b = append(strconv.AppendInt(b, random, 10), '_')
	return string(strconv.AppendInt(b, unix, 10))
}

// ParseKey splits a message key; ok is false if it is none.
func ParseKey(key string) (msgSeq, random, unix int64, ok bool) {
	parts := strings.Split(key, "_")
	if len(parts) != 3 || len(key) > 64 {
		return 0, 0, 0, false
	}
	var n [3]int64
	for i, p := range parts {
		v, err := strconv.ParseInt(p, 10, 64)
		if err != nil || v < 0 {
			return 0, 0, 0, false
		}
		n[i] = v
	}
	return n[0], n[1], n[2], true
}

// pair returns the smaller and the larger uid: the key of a pair's log.
func pair(a, b int64) (lo, hi int64) {
	if a < b {
		return a, b
	}
	return b, a
}

// from and until turn a unix second into bounds of the sequences in it.
func from(unix int64) int64  { return unix << seqBits }
func until(unix int64) int64 { return (unix+1)<<seqBits - 1 }

func secondOf(seq int64) int64 { return seq >> seqBits }

// floor is the sequence below which messages are past their retention.
func floor(now time.Time, retention time.Duration) int64 { return from(now.Add(-retention).Unix()) }

// appendFields adds the members that pushes, sync lists and history share
// (protocol 02 §2.1); a is the sender.
func (m *Message) appendFields(o *wire.Object, a *account.Account) {
	o.Int("MsgSeq", m.MsgSeq)
	o.Int("MsgRandom", m.Random)
	o.Int("MsgTimeStamp", m.Time())
	o.Int("MsgClientTime", m.ClientTime)
	o.Int("ClientSeq", m.MsgSeq)
	o.ID("TinyId", m.From)
	o.Str("From_AccountNick", a.Nick)
	o.Str("From_AccountHeadurl", a.Avatar)
	o.Str("CloudCustomData", m.Cloud)
	o.Flag("IsNeedReadReceipt", m.Flags&FlagReceipt != 0)
	o.Flag("SupportMessageExtension", m.Flags&FlagExtensions != 0)
	if m.Flags&(FlagNoUnread|FlagNoLast) != 0 {
		c := wire.OpenObject(nil)
		c.Flag("NoUnread", m.Flags&FlagNoUnread != 0)
		c.Flag("NoLastMsg", m.Flags&FlagNoLast != 0)
		o.Raw("SendMsgControl", c.Close())
	}
	o.Raw("MsgBody", m.Body)
}

// pushItem is the Event 9 item for the receiver's devices, or, as a sync copy,
// for the sender's own others: there From and To are swapped and IsSyncMsg is
// set, TinyId stays the sender's (protocol 02 §5.1, §5.2).
func (m *Message) pushItem(sender, receiver *account.Account, kind copyKind) []byte {
	o := wire.OpenObject(openEvent(make([]byte, 0, len(m.Body)+len(m.Cloud)+512), 9, "C2cMsgArray"))
	if kind == toReceiver {
		o.Str("From_Account", sender.UserID)
		o.Str("To_Account", receiver.UserID)
	} else {
		o.Str("From_Account", receiver.UserID)
		o.Str("To_Account", sender.UserID)
		o.Int("IsSyncMsg", 1)
	}
	if kind == toSenderChanged {
		o.Int("MsgModifiedFlag", 1)
	}
	if m.Seq == 0 {
		panic(fmt.Sprintf("message %s has no place", m.Key())) // a programming error
	}
	m.appendFields(&o, sender)
	return append(o.Close(), eventEnd...)
}

// copyKind says whom a pushed copy is for.
type copyKind uint8

const (
	toReceiver copyKind = iota
	toSender
	toSenderChanged // the server changed the content: also for the sending connection (protocol 02 §4.4)
)

// eventItem wraps one object as {"Event":n,"key":[object]}.
func eventItem(event int64, key string, object []byte) []byte {
	b := openEvent(make([]byte, 0, len(object)+len(key)+32), event, key)
	return append(append(b, object...), eventEnd...)
}

// openEvent appends what eventItem has before the object, eventEnd is what
// follows: what every message makes is built in its place.
func openEvent(dst []byte, event int64, key string) []byte {
	dst = append(dst, `{"Event":`...)
	dst = strconv.AppendInt(dst, event, 10)
	dst = append(dst, ',', '"')
	dst = append(dst, key...)
	return append(dst, `":[`...)
}

const eventEnd = `]}`

// historyItem is the form in history pages and sync lists (protocol 02 §2.1, §7).
func (m *Message) historyItem(sender, receiver *account.Account) []byte {
	o := wire.OpenObject(make([]byte, 0, len(m.Body)+len(m.Cloud)+560))
	o.Str("From_Account", sender.UserID)
	o.Str("To_Account", receiver.UserID)
	m.appendFields(&o, sender)
	if m.Version > 0 {
		o.Int("MsgVersion", int64(m.Version))
	}
	if m.ReceiptAt > 0 {
		o.Int("IsPeerRead", 1)
		o.Int("PeerReadTime", m.ReceiptAt)
	}
	if m.Flags&FlagRevoked != 0 {
		o.Int("MsgFlagBits", flagBitsRevoked)
		o.Raw("RevokerInfo", m.revokerInfo())
	}
	return o.Close()
}

func (m *Message) revokerInfo() []byte {
	r := wire.OpenObject(nil)
	r.Str("Revoker_Account", m.Revoker)
	r.Str("Reason", m.Reason)
	return r.Close()
}
