package liveroom

import (
	"context"
	"encoding/json"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/group"
	"imserver/internal/grouplog"
	"imserver/internal/ratelimit"
	"imserver/internal/wire"
)

// dropReason tells a sender, in a success, that the room takes no more just
// now (protocol 03 §12.1).
const dropReason = "MsgFreqCtrl"

type sendAnswer struct {
	MsgTime       int64
	MsgSeq        int64
	MsgDropReason string `json:",omitempty"`
}

// Send implements [grouplog.Rooms]. The answer waits for the ledger, no longer
// than its bound, and never for a watcher.
func (s *Service) Send(ctx context.Context, call *command.Call, g *group.Info, m *grouplog.Message) (any, error) {
	if err := s.maySend(ctx, call, g, m.Sender); err != nil {
		return nil, err
	}
	sender, err := s.Accounts.ByUID(ctx, m.Sender)
	if err != nil {
		return nil, err
	}
	if s.Guard != nil {
		if _, err := s.Guard.BeforeGroupMessage(ctx, call, g, m); err != nil {
			return nil, err
		}
	}
	if f := s.follower(g.GID); f != nil { // a repeat after a lost connection gets the first answer
		if e := f.sent(m.Sender, m.Random, m.ClientSeq); e != nil {
			return sendAnswer{MsgTime: e.Time, MsgSeq: e.Seq}, nil
		}
	}
	return command.Later(func(done func(any, error)) {
		s.admit(ctx, call.App, g, ratelimit.Priority(m.Priority-1), func(yes bool) {
			if !yes {
				done(sendAnswer{MsgTime: s.Now().Unix(), MsgDropReason: dropReason}, nil)
				return
			}
			s.post(call, g, sender, m, done)
		})
	}), nil
}

// maySend refuses those who are not there, and the muted. The owner speaks from
// outside, too, and so does an administrator.
func (s *Service) maySend(ctx context.Context, call *command.Call, g *group.Info, uid int64) error {
	rules, err := s.rules.of(ctx, g.GID)
	if err != nil {
		return err
	}
	role := rules.caller(call, g)
	if role == group.Above {
		return nil
	}
	if role != group.Owner {
		if err := s.watches(ctx, g, uid); err != nil {
			return err
		}
	}
	switch {
	case rules.muted[uid] > s.Now().Unix():
		return command.Err(group.CodeMuted, "the sender is muted in the live room")
	case g.MuteAll && !group.May(group.LiveRoom, role, group.SpeakMuted, group.Nobody, false):
		return command.Err(group.CodeMuted, "everybody in the live room is muted")
	}
	return nil
}

func (s *Service) post(call *command.Call, g *group.Info, sender *account.Account, m *grouplog.Message, done func(any, error)) {
	e := &Event{Room: g.GID, Kind: eventMessage, Sender: m.Sender, Random: m.Random, ClientSeq: m.ClientSeq, ClientTime: m.ClientTime, Time: s.Now().Unix()}
	e.Body = messageBody(e, to(g, sender), sender, messageFields{m.Priority, m.Cloud, m.Mentions, m.Body})
	s.publish(e, boundsIn(call.App), func(err error) {
		if err != nil {
			done(nil, err)
			return
		}
		if e.repeat {
			s.answerRepeat(call, g, e, done)
			return
		}
		done(sendAnswer{MsgTime: e.Time, MsgSeq: e.Seq}, nil)
		if s.Guard != nil {
			m.Seq, m.Time = e.Seq, e.Time
			s.Guard.AfterGroupMessage(call.App, g, sender, m)
		}
	})
}

// answerRepeat answers a repeat that only the ledger recognised, as the first
// one was answered.
func (s *Service) answerRepeat(call *command.Call, g *group.Info, e *Event, done func(any, error)) {
	ctx, cancel := context.WithTimeout(context.Background(), ledgerTimeout)
	go func() { // the ledger must not wait for itself
		defer cancel()
		if first, err := s.message(ctx, g, call, e.Seq); err == nil && first != nil {
			e.Time = first.Time
		}
		done(sendAnswer{MsgTime: e.Time, MsgSeq: e.Seq}, nil)
	}()
}

// Codes of recalls (protocol 03 §17).
const (
	codeNotFound = 10030
	codeTooLate  = 10031
	codeNoRecall = 10041
)

// Recall implements [grouplog.Rooms]: who sent a message may, within the app's
// limit, and the owner and administrators as the matrix says. Only what is
// remembered can be recalled, see forgotten.
func (s *Service) Recall(ctx context.Context, call *command.Call, g *group.Info, seqs []int64, reason string) (map[int64]int, error) {
	rules, err := s.rules.of(ctx, g.GID)
	if err != nil {
		return nil, err
	}
	role := rules.caller(call, g)
	codes := make(map[int64]int, len(seqs))
	for _, seq := range seqs {
		e, err := s.message(ctx, g, call, seq)
		if err != nil {
			return nil, err
		}
		if e == nil || e.Kind != eventMessage {
			codes[seq] = s.forgotten(call, g, role, seq)
			continue
		}
		if codes[seq] = s.refusal(call, role, rules.role(g, e.Sender), e); codes[seq] != 0 {
			continue
		}
		// In this order: what newcomers see is read again after the event.
		if err := s.Ledger.Recalled(ctx, g.GID, seq); err != nil {
			s.Log.Warn("newcomers may still see a recalled message", "room", g.GID, "err", err)
		}
		s.publish(s.recallEvent(g, e, call.UserID, reason), boundsIn(call.App), nil)
	}
	return codes, nil
}

// message finds a remembered message of a room; nil when there is none.
func (s *Service) message(ctx context.Context, g *group.Info, call *command.Call, seq int64) (*Event, error) {
	if f := s.follower(g.GID); f != nil {
		if e := f.find(seq); e != nil {
			return e, nil
		}
	}
	for _, read := range []func() ([]*Event, error){
		func() ([]*Event, error) { return s.Ledger.Recent(ctx, g.GID, seq-1) },
		func() ([]*Event, error) { return s.Ledger.Newest(ctx, g.GID, call.App.LiveRooms.History) },
	} {
		list, err := read()
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if e.Seq == seq {
				return e, nil
			}
		}
	}
	return nil, nil
}

// refusal is why the caller may not recall e; 0 is nothing.
func (s *Service) refusal(call *command.Call, role, sender group.Role, e *Event) int {
	limit := int64(call.App.RecallLimit.Seconds())
	switch {
	case group.May(group.LiveRoom, role, group.RecallAny, sender, false):
		return 0
	case e.Sender != call.UID:
		return group.CodeNoPermission
	case limit == 0:
		return codeNoRecall
	case s.Now().Unix()-e.Time > limit:
		return codeTooLate
	}
	return 0
}

// forgotten is why a message that is not remembered cannot be recalled: for
// who could recall it in time only, it may be too late. Its sequence tells.
func (s *Service) forgotten(call *command.Call, g *group.Info, role group.Role, seq int64) int {
	at := timeOf(seq)
	if role == group.Ordinary && at.Unix() >= g.CreatedAt && s.Now().Sub(at) > call.App.RecallLimit {
		return codeTooLate
	}
	return codeNotFound
}

// recallEvent tells of a recall: to connections as in any group (protocol 03
// §12.3), to those who poll in the form of their answers (§13.3).
func (s *Service) recallEvent(g *group.Info, e *Event, by, reason string) *Event {
	revoker, _ := json.Marshal(struct{ Revoker_Account, Reason string }{by, reason})
	name := wire.OpenObject(nil)
	name.ID("TinyId", e.Sender)
	name.Int("MsgClientTime", e.ClientTime)
	name.Int("Random", e.Random)
	name.Int("MsgSeq", e.Seq)
	members := open(name)

	entry := wire.OpenObject(nil)
	entry.Str("GroupId", g.ID)
	entry.Str("TopicId", "")
	entry.Int("MsgTime", e.Time)
	entry.Raw("RevokerInfo", revoker)
	pushed := wire.OpenObject(nil)
	pushed.Int("ReportType", 13)
	pushed.Raw("GroupWithdrawInfoArray", array(append(append(append([]byte{'{'}, members...), ','), rest(entry)...)))
	pulled := wire.OpenObject(nil)
	pulled.Raw("RevokeMsgList", array(append(append([]byte{'{'}, members...), '}')))

	head := wire.OpenObject(nil)
	head.Raw("RevokerInfo", revoker)
	outer := append(open(head), ',')
	now := s.Now()
	return &Event{Room: g.GID, Kind: eventNotice, PullKind: eventRecall,
		Body: append(outer[:len(outer):len(outer)], systemBody(g, now, pushed.Close())...),
		Pull: append(outer[:len(outer):len(outer)], systemBody(g, now, pulled.Close())...)}
}

func array(object []byte) []byte {
	return append(append(make([]byte, 0, len(object)+2), '['), append(object, ']')...)
}
