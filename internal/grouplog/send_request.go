package grouplog

import (
	"encoding/json"
	"errors"
	"slices"

	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/group"
	"imserver/internal/message"
	"imserver/internal/wire"
)

// sendRequest is send_group_msg (protocol 03 §12.1).
type sendRequest struct {
	From_Account            string
	GroupId                 string
	TopicId                 string
	Random                  int64
	ClientSeq               int64
	MsgClientTime           int64
	MsgPriority             json.RawMessage
	MsgBody                 json.RawMessage
	CloudCustomData         string
	OfflinePushInfo         json.RawMessage
	OnlineOnlyFlag          int
	SendMsgControl          []string
	GroupAtInfo             []mention
	To_Account              []string
	NeedReadReceipt         int
	SupportMessageExtension int
}

// Field implements command.Fields.
func (r *sendRequest) Field(name []byte) any {
	switch string(name) {
	case "From_Account":
		return &r.From_Account
	case "GroupId":
		return &r.GroupId
	case "TopicId":
		return &r.TopicId
	case "Random":
		return &r.Random
	case "ClientSeq":
		return &r.ClientSeq
	case "MsgClientTime":
		return &r.MsgClientTime
	case "MsgPriority":
		return &r.MsgPriority
	case "MsgBody":
		return &r.MsgBody
	case "CloudCustomData":
		return &r.CloudCustomData
	case "OfflinePushInfo":
		return &r.OfflinePushInfo
	case "OnlineOnlyFlag":
		return &r.OnlineOnlyFlag
	case "SendMsgControl":
		return &r.SendMsgControl
	case "GroupAtInfo":
		return &r.GroupAtInfo
	case "To_Account":
		return &r.To_Account
	case "NeedReadReceipt":
		return &r.NeedReadReceipt
	case "SupportMessageExtension":
		return &r.SupportMessageExtension
	}
	return nil
}

type sendAnswer struct {
	MsgTime         int64
	MsgSeq          int64
	MsgDropReason   string // left out when empty
	ReadReceiptCode int    // left out when 0
}

// AddTo implements command.Members.
func (a sendAnswer) AddTo(o *wire.Object) {
	o.Int("MsgTime", a.MsgTime)
	o.Int("MsgSeq", a.MsgSeq)
	if a.MsgDropReason != "" {
		o.Str("MsgDropReason", a.MsgDropReason)
	}
	if a.ReadReceiptCode != 0 {
		o.Int("ReadReceiptCode", int64(a.ReadReceiptCode))
	}
}

// dropReason tells a sender, in a success, that the group takes no more just
// now (protocol 03 §12.1).
const dropReason = "MsgFreqCtrl"

// Bounds of a message (protocol 03 §16).
const (
	maxNumber    = 1 << 53
	maxReceivers = 50
	maxMentions  = 30
)

// message checks the request and makes the message; its place is still open.
func (r *sendRequest) message(app *config.App) (*Message, error) {
	for _, n := range []int64{r.Random, r.ClientSeq, r.MsgClientTime} {
		if n < 0 || n > maxNumber {
			return nil, command.Err(group.CodeBadParameter, "Random, ClientSeq or MsgClientTime is out of range")
		}
	}
	priority, ok := parsePriority(r.MsgPriority)
	if !ok {
		return nil, command.Err(group.CodeBadParameter, "MsgPriority must be High, Normal, Low or Lowest")
	}
	body, err := message.Normalize(r.MsgBody, len(r.CloudCustomData), app.MessageBytes)
	if err == nil {
		err = command.CheckTexts(r.CloudCustomData)
	}
	if err != nil {
		if errors.Is(err, command.Err(command.CodeBadPacket, "")) {
			err = command.Err(group.CodeBadParameter, err.(*command.Error).Info)
		}
		return nil, err
	}
	m := &Message{Random: r.Random, ClientSeq: r.ClientSeq, ClientTime: r.MsgClientTime, Priority: priority, Body: body, Cloud: r.CloudCustomData,
		PushInfo: message.KeepPushInfo(r.OfflinePushInfo, app.MessageBytes)}
	for _, f := range []struct {
		on   bool
		flag int
	}{{r.NeedReadReceipt == 1, FlagReceipt}, {r.SupportMessageExtension == 1, FlagExtensions},
		{slices.Contains(r.SendMsgControl, "NoUnread"), FlagNoUnread}, {slices.Contains(r.SendMsgControl, "NoLastMsg"), FlagNoLast}} {
		if f.on {
			m.Flags |= f.flag
		}
	}
	return m, nil
}
