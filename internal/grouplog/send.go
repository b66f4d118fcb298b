package grouplog

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/message"
	"imserver/internal/ratelimit"
	"imserver/internal/store"
)

// sendRequest is send_group_msg (protocol 03 §12.1).
type sendRequest struct {
	From_Account            string //nolint:revive // the protocol's spelling, here and below
	GroupId                 string //nolint:revive
	TopicId                 string //nolint:revive
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
	To_Account              []string //nolint:revive
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
	MsgDropReason   string `json:",omitempty"`
	ReadReceiptCode int    `json:",omitempty"`
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

// sending is a checked message on its way.
type sending struct {
	place
	app      *config.App
	message  *Message
	sender   *account.Account
	card     string
	member   bool // has to be a member with the word when the message is stored
	device   fanout.Device
	mentions []int64          // uids; 0 is everybody
	names    map[int64]string // user IDs of those addressed
	receipt  int              // ReadReceiptCode
	modified bool             // the server changed what the sender gave
}

// send is send_group_msg of a user.
func (s *Service) send(ctx context.Context, call *command.Call, req *sendRequest) (any, error) {
	if req.From_Account != "" && req.From_Account != call.UserID {
		return nil, command.Err(group.CodeBadParameter, "From_Account is not the caller")
	}
	m, err := req.message(call.App)
	if err != nil {
		return nil, err
	}
	p, err := s.place(ctx, call.App.SDKAppID, req.GroupId, req.TopicId)
	if err != nil {
		return nil, err
	}
	m.Log, m.Sender = p.GID, call.UID
	if p.Kind == group.LiveRoom {
		if s.Rooms == nil {
			return nil, errNoPermission
		}
		return s.Rooms.Send(ctx, call, p.Info, m)
	}
	d := &sending{place: p, app: call.App, message: m, device: deviceOf(call)}
	if d.sender, err = s.Accounts.ByUID(ctx, call.UID); err != nil {
		return nil, err
	}
	if err := s.maySend(ctx, d); err != nil {
		return nil, err
	}
	d.member = true
	if req.OnlineOnlyFlag == 1 { // nothing is appended that would look
		if err := s.refusal(ctx, d); err != nil {
			return nil, err
		}
	}
	return s.complete(ctx, call, d, req)
}

// complete resolves who the message is for, and sends it.
func (s *Service) complete(ctx context.Context, call *command.Call, d *sending, req *sendRequest) (any, error) {
	m := d.message
	if err := s.address(ctx, d, req); err != nil {
		return nil, err
	}
	online := req.OnlineOnlyFlag == 1
	if m.Flags&FlagReceipt != 0 {
		if code := receiptCode(d.place, d.app, online); code != 0 {
			d.receipt = code
			m.Flags &^= FlagReceipt
		}
	}
	if s.Guard != nil {
		changed, err := s.Guard.BeforeGroupMessage(ctx, call, d.Info, m)
		if err != nil {
			return nil, err
		}
		d.modified = changed
	}
	return command.Later(func(done func(any, error)) {
		s.admit(ctx, d, func(admitted bool) {
			switch {
			case !admitted:
				done(sendAnswer{MsgTime: s.Now().Unix(), MsgDropReason: dropReason}, nil)
			case online:
				s.sendOnline(d)
				done(sendAnswer{MsgTime: m.Time, ReadReceiptCode: d.receipt}, nil)
			default:
				s.store(d, done)
			}
		})
	}), nil
}

// admit asks the limiter (protocol 03 §12.1).
func (s *Service) admit(ctx context.Context, d *sending, done func(bool)) {
	if s.Limiter == nil || d.app.GroupRate <= 0 {
		done(true)
		return
	}
	s.Limiter.Admit(ctx, d.GID, ratelimit.Priority(d.message.Priority-1), d.app.GroupRate, done)
}

// receiptCode is the ReadReceiptCode of a message that asks for receipts.
func receiptCode(p place, app *config.App, online bool) int {
	switch {
	case !p.Kind.Settings(app).Receipts:
		return codeReceiptNone
	case online:
		return codeReceiptOnline
	case p.home.MemberNum > app.Groups.ReceiptMembers:
		return codeReceiptSize
	}
	return 0
}

// address resolves the receivers of a directed message and the mentions. Those
// who are no members are left out.
func (s *Service) address(ctx context.Context, d *sending, req *sendRequest) error {
	if len(req.To_Account) > maxReceivers {
		return command.Errf(group.CodeTooMany, "more than %d receivers", maxReceivers)
	}
	ids := slices.Clone(req.To_Account)
	for _, a := range req.GroupAtInfo {
		if a.GroupAtAllFlag == 1 {
			d.mentions = []int64{0}
		} else {
			ids = append(ids, a.GroupAt_Account)
		}
	}
	if len(ids)-len(req.To_Account) > maxMentions || len(req.GroupAtInfo) > maxMentions+1 { // @all is none of them
		return command.Errf(codeTooManyAt, "more than %d mentions", maxMentions)
	}
	if len(req.GroupAtInfo) > 0 {
		d.message.Mentions, _ = json.Marshal(req.GroupAtInfo) // plain fields
	}
	if len(ids) == 0 {
		return nil
	}
	members, err := s.membersNamed(ctx, d.place, ids)
	if err != nil {
		return err
	}
	d.names = make(map[int64]string, len(members))
	for id, uid := range members {
		d.names[uid] = id
	}
	if len(req.To_Account) > 0 {
		d.message.Flags |= FlagDirected
		d.message.Receivers = pick(members, req.To_Account, d.sender.UID)
		if len(d.message.Receivers) == 0 {
			return command.Err(group.CodeBadParameter, "none of the receivers is a member")
		}
	}
	for _, a := range req.GroupAtInfo {
		uid := members[a.GroupAt_Account]
		if uid != 0 && uid != d.sender.UID && !slices.Contains(d.mentions, uid) {
			d.mentions = append(d.mentions, uid)
		}
	}
	if d.message.Flags&FlagDirected != 0 { // only who gets the message hears of its mentions
		d.mentions = directedMentions(d.mentions, d.message.Receivers)
	}
	return nil
}

func pick(members map[string]int64, ids []string, except int64) (uids []int64) {
	for _, id := range ids {
		if uid := members[id]; uid != 0 && uid != except && !slices.Contains(uids, uid) {
			uids = append(uids, uid)
		}
	}
	return uids
}

func directedMentions(mentions, receivers []int64) (out []int64) {
	for _, uid := range receivers {
		if slices.Contains(mentions, 0) || slices.Contains(mentions, uid) {
			out = append(out, uid)
		}
	}
	return out
}

// membersNamed returns the uids of those among ids that are members.
func (s *Service) membersNamed(ctx context.Context, p place, ids []string) (map[string]int64, error) {
	accounts, err := s.Accounts.LookupAll(ctx, p.App, ids)
	if err != nil {
		return nil, err
	}
	uids := make([]int64, 0, len(accounts))
	for _, a := range accounts {
		uids = append(uids, a.UID)
	}
	members, err := s.Groups.MembersOf(ctx, p.home.GID, uids)
	if err != nil {
		return nil, err
	}
	out := make(map[string]int64, len(members))
	for id, a := range accounts {
		if members[a.UID] != nil {
			out[id] = a.UID
		}
	}
	return out, nil
}

// store hands the message to its log's writer; after the commit, in the order
// of the log, it is published and answered. A repeat is published too unless
// this node did so before: the first commit's outcome may have been lost, or
// the node that stored it may have died. What members have had already, the
// order of the log leaves out.
func (s *Service) store(d *sending, done func(any, error)) {
	m := d.message
	s.log.Go(uint64(m.Log), &draft{Message: m, hub: d.HubID(), mentions: d.mentions, member: d.member}, func(a *draft, err error) {
		switch {
		case err != nil:
			done(nil, storeError(err))
			return
		case a.refused:
			go func() { done(nil, s.whyRefused(d)) }() // asks the record, which the writer must not wait for
			return
		case !a.repeated:
			s.appended.Inc()
		}
		known := s.pushed.Add(a.identity())
		if !a.repeated || !known {
			s.publish(d)
			s.offer(d)
		}
		done(sendAnswer{MsgTime: m.Time, MsgSeq: m.Seq, ReadReceiptCode: d.receipt}, nil)
	})
}

// whyRefused is the error of a message that the append did not take.
func (s *Service) whyRefused(d *sending) error {
	ctx, cancel := context.WithTimeout(context.Background(), refusalTimeout)
	defer cancel()
	if err := s.refusal(ctx, d); err != nil {
		return err
	}
	return errNotMember // and has come back since
}

const refusalTimeout = 5 * time.Second

func storeError(err error) error {
	if errors.Is(err, store.ErrBusy) || errors.Is(err, store.ErrStopped) {
		return command.Err(command.CodeTooFast, "the server is too busy, try again")
	}
	return err
}

// publish hands a stored message to the members, once for all of them.
func (s *Service) publish(d *sending) {
	m := d.message
	e := s.event(d.place, m, m.item(d.place, d.sender, d.card, form{}))
	e.Except = d.device
	if d.modified {
		// The sender's devices learn what became of the message; the sending
		// one too (protocol 03 §12.1).
		e.Except, e.AltTo = fanout.Device{}, []int64{m.Sender}
		e.AltItem = m.pushItem(m.item(d.place, d.sender, d.card, form{modified: true}))
	}
	s.Hub.Publish(d.topic(), e)
	s.tellMentions(d)
	if s.Guard != nil {
		s.Guard.AfterGroupMessage(d.app, d.Info, d.sender, m)
	}
}

// event is the ordered event of a stored message.
func (s *Service) event(p place, m *Message, item []byte) *fanout.Event {
	e := &fanout.Event{Item: m.pushItem(item), Log: m.Log, Seq: m.Seq, Only: m.audience()}
	if m.Flags&FlagTip != 0 && m.Operator > 0 { // who did it does not count it as unread (protocol 03 §3.3)
		e.AltTo = []int64{m.Operator}
		e.AltItem = m.pushItem(m.item(p, nil, "", form{quiet: true}))
	}
	return e
}

// sendOnline publishes a message that is not stored: without a sequence.
func (s *Service) sendOnline(d *sending) {
	m := d.message
	m.Time = s.Now().Unix()
	s.Hub.Publish(d.topic(), &fanout.Event{Item: m.pushItem(m.item(d.place, d.sender, d.card, form{online: true})), Except: d.device, Only: m.audience()})
}

// AppendTip implements group.Log.
func (s *Service) AppendTip(ctx context.Context, tip group.Tip) <-chan error {
	stored := make(chan error, 1)
	p, err := s.placeOf(ctx, tip.Group)
	if err != nil {
		stored <- err
		return stored
	}
	now := s.Now().Unix()
	m := &Message{Log: p.GID, Operator: tip.Operator, Random: int64(rand.Uint32()), ClientSeq: rand.Int64N(1 << 31), ClientTime: now, Priority: 2,
		Flags: FlagTip, Body: tip.Body}
	s.log.Go(uint64(m.Log), &draft{Message: m, hub: p.HubID()}, func(a *draft, err error) {
		if err == nil {
			e := s.event(p, m, m.item(p, nil, "", form{}))
			e.Not = tip.Exclude
			s.Hub.Publish(p.topic(), e)
		}
		stored <- storeError(err)
	})
	return stored
}
