package grouplog

import (
	"context"
	"errors"
	"time"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/ratelimit"
	"imserver/internal/store"
)

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
