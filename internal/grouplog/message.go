// Package grouplog keeps what is said in groups and topics: one log each,
// written once and read by every member. It gives the sequences, stores
// messages and tips by group commit, publishes them in order, and does
// everything that happens to a stored message.
package grouplog

import (
	"encoding/json"
	"strconv"
	"strings"

	"imserver/internal/account"
	"imserver/internal/group"
	"imserver/internal/wire"
)

// Flags of a stored message.
const (
	FlagReceipt    = 1 << iota // the sender wants read receipts (NeedReadReceipt)
	FlagExtensions             // extensions may be set on it (SupportMessageExtension)
	FlagNoUnread               // does not count as unread
	FlagNoLast                 // is not shown as last message
	FlagRecalled               // was recalled; shown as such
	FlagTip                    // a stored tip (Event 4): the body is an object
	FlagDirected               // for its receivers only
)

const systemAccount = "@TIM#SYSTEM"

// Message is an entry of a log.
type Message struct {
	Log        int64
	Seq        int64 // contiguous from 1; 0 of an online-only message
	Time       int64 // unix s; never falls within a log
	Sender     int64 // uid; 0 is the system
	Operator   int64 // of a tip: the uid that must not count it as unread
	Random     int64
	ClientSeq  int64
	ClientTime int64 // sender's clock, unix s; part of the message ID
	Priority   int   // 1 High to 4 Lowest
	Flags      int
	Version    int   // count of edits
	ChangedAt  int64 // unix µs of the recall
	Revoker    string
	Reason     string
	Body       []byte // MsgBody: JSON array, of a tip an object
	Cloud      string
	Mentions   []byte  // GroupAtInfo, JSON array or nil
	Receivers  []int64 // of a directed message
	PushInfo   []byte  // OfflinePushInfo, a JSON object; nil if it says nothing, and in what queries return

	hidden bool // deleted by the reader, set by queries for one
}

// visibleTo reports whether uid may see the message anywhere.
func (m *Message) visibleTo(uid int64) bool {
	if m.hidden {
		return false
	}
	if m.Flags&FlagDirected == 0 || m.Sender == uid {
		return true
	}
	for _, r := range m.Receivers {
		if r == uid {
			return true
		}
	}
	return false
}

// audience returns who alone may hear of the message; nil is everybody.
func (m *Message) audience() []int64 {
	if m.Flags&FlagDirected == 0 {
		return nil
	}
	return append([]int64{m.Sender}, m.Receivers...)
}

// joinUIDs is the stored form of receivers, ",1,2,".
func joinUIDs(uids []int64) string {
	if len(uids) == 0 {
		return ""
	}
	b := []byte{','}
	for _, u := range uids {
		b = append(strconv.AppendInt(b, u, 10), ',')
	}
	return string(b)
}

func splitUIDs(s string) (uids []int64) {
	for part := range strings.SplitSeq(strings.Trim(s, ","), ",") {
		if u, err := strconv.ParseInt(part, 10, 64); err == nil {
			uids = append(uids, u)
		}
	}
	return uids
}

// place is a log with what its items must say about it.
type place struct {
	*group.Info             // the owner of the log: a group or a topic
	home        *group.Info // whose members it has: the community of a topic
	unread      bool        // this kind counts unread messages
}

// groupInfo is the GroupInfo of an item (protocol 03 §3.2, §11.5).
func (p place) groupInfo(sender *account.Account, card string) []byte {
	o := wire.OpenObject(make([]byte, 0, 256))
	o.Str("GroupId", p.home.ID)
	o.Str("GroupName", p.home.Name)
	o.Str("GroupType", p.home.Kind.String())
	o.Int("GroupCode", p.home.GID)
	if p.Kind == group.Topic {
		o.Int("MillionGroupFlag", 2)
		o.Str("TopicId", p.ID)
	}
	if sender == nil {
		o.Str("From_Account", systemAccount)
		return o.Close()
	}
	o.Str("From_Account", sender.UserID)
	o.Str("From_AccountNick", sender.Nick)
	o.Str("From_AccountHeadurl", sender.Avatar)
	o.Int("From_AccountLevel", 0)
	c := wire.OpenObject(nil)
	c.Str("NameCard", card)
	o.Raw("MsgFrom_AccountExtraInfo", c.Close())
	return o.Close()
}

// topicID is the ID as pushes about messages say it: "" outside of topics.
func (p place) topicID() string {
	if p.Kind == group.Topic {
		return p.ID
	}
	return ""
}

// form says what an item is for.
type form struct {
	history  bool // a page of history, not a push
	online   bool // online-only
	modified bool // the sender's copy of a message that was changed on the way
	quiet    bool // does not count for this receiver
}

// item is the message as pushes and history hold it (protocol 03 §3.2, §12.2).
// sender is nil for the system.
func (m *Message) item(p place, sender *account.Account, card string, f form) []byte {
	o := wire.OpenObject(make([]byte, 0, len(m.Body)+len(m.Cloud)+640))
	o.Str("ToGroupId", p.home.ID)
	tiny, from := int64(0), systemAccount
	if sender != nil {
		tiny, from = sender.UID, sender.UserID
	}
	o.Str("From_Account", from)
	o.ID("TinyId", tiny)
	o.Int("MsgSeq", m.Seq)
	o.Int("MsgRandom", m.Random)
	o.Int("MsgTimeStamp", m.Time)
	o.Int("MsgClientTime", m.ClientTime)
	o.Int("ClientSeq", m.ClientSeq)
	o.Int("MsgPriority", int64(m.Priority))
	o.Str("CloudCustomData", m.Cloud)
	o.Flag("NeedReadReceipt", m.Flags&FlagReceipt != 0)
	o.Flag("SupportMessageExtension", m.Flags&FlagExtensions != 0)
	if len(m.Mentions) > 0 {
		o.Raw("GroupAtInfo", m.Mentions)
	}
	noUnread := m.Flags&FlagNoUnread != 0 || !p.unread || f.quiet
	if noUnread || m.Flags&FlagNoLast != 0 {
		c := wire.OpenObject(nil)
		c.Flag("NoUnread", noUnread)
		c.Flag("NoLastMsg", m.Flags&FlagNoLast != 0)
		o.Raw("SendMsgControl", c.Close())
	}
	if m.Version > 0 {
		o.Int("MsgVersion", int64(m.Version))
	}
	if f.online {
		o.Int("OnlineOnlyFlag", 1)
	}
	if f.modified {
		o.Int("MsgModifiedFlag", 1)
	}
	if f.history {
		m.historyFields(&o, p)
	}
	o.Raw("GroupInfo", p.groupInfo(sender, card))
	o.Raw("MsgBody", m.Body)
	return o.Close()
}

func (m *Message) historyFields(o *wire.Object, p place) {
	if p.Kind == group.Topic {
		o.Str("ToTopicId", p.ID)
	}
	switch {
	case m.Flags&FlagTip != 0:
		o.Int("Event", 4)
	case m.Flags&FlagRecalled != 0:
		o.Int("IsPlaceMsg", placeRecalled)
		o.Raw("RevokerInfo", m.revokerInfo())
		return
	}
	o.Int("IsPlaceMsg", 0)
}

// placeRecalled is the IsPlaceMsg of a recalled message (protocol 03 §12.2).
const placeRecalled = 2

func (m *Message) revokerInfo() []byte {
	r := wire.OpenObject(nil)
	r.Str("Revoker_Account", m.Revoker)
	r.Str("Reason", m.Reason)
	return r.Close()
}

// pushItem wraps an item as Event 3, or 4 for a tip.
func (m *Message) pushItem(item []byte) []byte {
	if m.Flags&FlagTip != 0 {
		return event(4, "GroupTips", item)
	}
	return event(3, "GroupMsgArray", item)
}

// event wraps one object as {"Event":n,"key":[object]}.
func event(number int64, key string, object []byte) []byte {
	b := make([]byte, 0, len(object)+len(key)+32)
	b = append(b, `{"Event":`...)
	b = strconv.AppendInt(b, number, 10)
	b = append(b, ',', '"')
	b = append(b, key...)
	b = append(b, `":[`...)
	b = append(b, object...)
	return append(b, `]}`...)
}

// notice is the Event 5 item about a log with one list in its MsgBody
// (protocol 03 §12.3, §12.8, 02 §11.4). revoker may be nil.
func (p place) notice(list string, entry, revoker []byte) []byte {
	g := wire.OpenObject(nil)
	g.Str("GroupId", p.home.ID)
	g.Str("GroupType", p.home.Kind.String())
	if p.Kind == group.Topic {
		g.Int("MillionGroupFlag", 2)
		g.Str("TopicId", p.ID)
	}
	body := wire.OpenObject(nil)
	body.Raw(list, array(entry))
	o := wire.OpenObject(make([]byte, 0, len(entry)+320))
	o.Str("ToGroupId", p.home.ID)
	o.Str("From_Account", systemAccount)
	o.Int("MsgSeq", 1)
	o.Int("MsgRandom", 1)
	if revoker != nil {
		o.Raw("RevokerInfo", revoker)
	}
	o.Raw("GroupInfo", g.Close())
	o.Raw("MsgBody", body.Close())
	return event(5, "GroupTips", o.Close())
}

func array(object []byte) []byte {
	return append(append(make([]byte, 0, len(object)+2), '['), append(object, ']')...)
}

// mention is one entry of GroupAtInfo.
type mention struct {
	GroupAtAllFlag  int
	GroupAt_Account string `json:",omitempty"`
}

// parsePriority reads MsgPriority, a word or a number (protocol 03 §1.4).
func parsePriority(raw json.RawMessage) (int, bool) {
	switch strings.Trim(string(raw), `"`) {
	case "High", "1":
		return 1, true
	case "", "null", "Normal", "2":
		return 2, true
	case "Low", "3":
		return 3, true
	case "Lowest", "4":
		return 4, true
	}
	return 0, false
}
