package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imserver/internal/command"
	"imserver/internal/fanout"
)

// Register adds the session commands to the table (protocol 01 §8).
func (s *Service) Register(t *command.Table) {
	command.Handle(t, "im_open_status.wslogin", command.Users|command.Tickets|command.Stale, s.login)
	command.Handle(t, "im_open_status.wshello", command.Users|command.Stale, s.hello)
	command.Handle(t, "im_open_status.wslogout", command.Users|command.Anonymous|command.Stale|command.Last, s.logout)
	for _, name := range []string{"im_open_status.ws_stat_background", "im_open_status.ws_stat_foreground"} {
		command.Handle(t, name, command.Users, s.ground)
	}
	command.Handle(t, "openim.authkey", command.Users, s.authKey)
	command.Handle(t, "im_open_login_svc.kick", command.Admins, s.kick)
}

type loginRequest struct {
	State string
}

type loginAnswer struct {
	TinyId         string
	A2Key          string
	InstId         uint32
	HelloInterval  int
	TimeStamp      int64
	PurchaseBits   string
	CustomStatus   string
	RichMsgAuthKey string
}

func (s *Service) login(ctx context.Context, call *command.Call, _ *loginRequest) (any, error) {
	term, ok := call.Conn.(Terminal)
	if !ok {
		return nil, command.Err(command.CodeUnknownCommand, "")
	}
	if call.Kind == command.Users {
		return s.relogin(ctx, call, term)
	}
	acc, _, err := s.accounts.Ensure(ctx, call.App.SDKAppID, call.UserID)
	if err != nil {
		return nil, err
	}
	n := newcomer{platform: call.Platform, class: ClassOf(call.Platform), issued: call.Ticket.IssuedAt, expires: call.Ticket.ExpiresAt}
	var victims []Victim
	for try := 0; ; try++ {
		n.inst = newInst()
		victims, err = s.enter(ctx, acc, n, policyOf(call.App))
		if err == nil || try == 3 || !errors.Is(err, errInstanceTaken) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	ses := &Session{App: acc.App, UserID: acc.UserID, UID: acc.UID, Inst: n.inst, Class: n.class, IssuedAt: n.issued, ExpiresAt: n.expires}
	ses.A2, err = sign(claims{App: ses.App, UID: acc.TinyID(), Inst: ses.Inst, Class: ses.Class, Issued: n.issued, Expiry: n.expires,
		User: acc.UserID}, call.App.Keys[0])
	if err != nil {
		return nil, err
	}
	for _, v := range victims {
		s.hub.Publish(fanout.User(acc.UID), &fanout.Event{Kind: fanout.Kick, KickType: v.Type, NewInst: n.inst,
			Target: fanout.Device{UID: acc.UID, Inst: v.Inst}, Item: []byte(n.class.String())})
	}
	answer, err := s.arrive(ctx, call, term, ses, acc.Status, false)
	if err != nil {
		term.Detach() // the client takes itself for logged out
	}
	return answer, err
}

// retryLogin is the pause before a fault is tried to be got over.
const retryLogin = 500 * time.Millisecond

// relogin continues an instance on another socket, with the same keys
// (protocol 01 §8, §12): a kicked instance is told so, a dropped one goes on.
// A fault is not answered, because an SDK would not ask again and go on
// without a session (protocol 01 T6): it is waited out, and what does not end
// in time ends the connection, whereupon the SDK comes back.
func (s *Service) relogin(ctx context.Context, call *command.Call, term Terminal) (any, error) {
	for {
		answer, err := s.resume(ctx, call, term)
		var refusal *command.Error
		if err == nil || errors.As(err, &refusal) {
			return answer, err
		}
		select {
		case <-time.After(retryLogin):
		case <-ctx.Done():
			return nil, fmt.Errorf("relogin: %w: %w", command.ErrHangUp, err)
		}
	}
}

func (s *Service) resume(ctx context.Context, call *command.Call, term Terminal) (any, error) {
	ses := call.Session.(*Session)
	if err := s.alive(ctx, ses); err != nil {
		return nil, err
	}
	acc, err := s.accounts.ByUID(ctx, ses.UID)
	if errors.Is(err, command.Err(command.CodeNoAccount, "")) {
		return nil, command.Err(command.CodeSessionOver, "the account no longer exists")
	}
	if err != nil {
		return nil, err
	}
	return s.arrive(ctx, call, term, ses, acc.Status, true)
}

// settleTime bounds the wait for the bus.
const settleTime = 2 * time.Second

// arrive attaches the connection and answers. Between the login's commit and
// the moment from which events reach the connection another login may have
// kicked it: nobody would have told it, so it is asked for again. back says that
// the device has been here before and may have missed something.
func (s *Service) arrive(ctx context.Context, call *command.Call, term Terminal, ses *Session, status string, back bool) (any, error) {
	term.Attach(ses)
	if back {
		term.Hold()
	}
	for _, fn := range s.arrivals {
		if err := fn(ctx, call, ses); err != nil {
			return nil, err
		}
	}
	// What other nodes publish after the answer must arrive. A bus that is
	// away is not waited for: devices are made to resync when it is back. One
	// that is slow is not waited for long: this device resyncs when it has
	// settled.
	settle, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := s.hub.Settle(settle); errors.Is(err, context.DeadlineExceeded) {
		go s.resyncLater(ses.Device())
	}
	kicked, err := s.kickOf(ctx, ses)
	if err != nil {
		return nil, err
	}
	now := s.now()
	answer := &loginAnswer{
		TinyId: tiny(ses.UID), A2Key: ses.A2, InstId: ses.Inst, HelloInterval: HelloInterval,
		TimeStamp:    (now.UnixMilli() + 500) / 1000, // nearest second: truncation makes clients late (protocol 01 T17)
		PurchaseBits: Capabilities, CustomStatus: encodeStatus(status),
	}
	return command.Later(func(done func(any, error)) {
		done(answer, nil)
		if kicked != 0 {
			s.hub.PublishLocal(fanout.User(ses.UID), &fanout.Event{Kind: fanout.Kick, KickType: kicked, Target: ses.Device()})
			return
		}
		for _, fn := range s.greeters {
			fn(context.WithoutCancel(ctx), call, ses)
		}
	}), nil
}

// resyncLater makes a device of this node fetch its state again when the bus
// has settled. A bus that goes down meanwhile makes everybody do so.
func (s *Service) resyncLater(d fanout.Device) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.hub.Settle(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return
	}
	s.hub.PublishLocal(fanout.User(d.UID), &fanout.Event{Kind: fanout.Resync, Target: d})
}

// kickOf returns the kick type of an instance that has been kicked, else 0.
func (s *Service) kickOf(ctx context.Context, ses *Session) (uint8, error) {
	state, known, err := s.state(ctx, ses.UID, ses.Inst)
	if err != nil || !known || state < KickAccount || state > KickREST {
		return 0, err
	}
	return uint8(state), nil
}

// kickedBody joins a 1002 answer (protocol 01 §12).
type kickedBody struct {
	KickType int
}

// alive tells wslogin and wshello how an instance stands: the kick type of a
// kicked one, the end of the session otherwise.
func (s *Service) alive(ctx context.Context, ses *Session) error {
	if s.now().Unix() >= ses.ExpiresAt {
		return command.Err(command.CodeSessionOver, "")
	}
	state, known, err := s.state(ctx, ses.UID, ses.Inst)
	switch {
	case err != nil:
		return err
	case known && state == stateLive:
		return nil
	case known && state >= KickAccount && state <= KickREST:
		return &command.Error{Code: command.CodeKicked, Info: command.Text(command.CodeKicked), Body: kickedBody{state}}
	}
	return command.Err(command.CodeSessionOver, "the login has ended")
}

func (s *Service) hello(ctx context.Context, call *command.Call, _ *command.Empty) (command.Empty, error) {
	return command.Empty{}, s.alive(ctx, call.Session.(*Session))
}

// logout ends the instance and always succeeds: the SDK waits for the answer,
// and a refusal after a kick would log it out a second time (protocol 01 T11).
func (s *Service) logout(ctx context.Context, call *command.Call, _ *command.Empty) (command.Empty, error) {
	ses, ok := call.Session.(*Session)
	if !ok {
		return command.Empty{}, nil
	}
	if err := s.end(ctx, ses.UID, ses.Inst, stateLoggedOut); err != nil {
		s.log.Error("logout was not recorded", "user", ses.UserID, "err", err)
	}
	for _, fn := range s.ends {
		fn(ctx, ses)
	}
	if term, ok := call.Conn.(Terminal); ok {
		if at := term.Session(); at != nil && at.Device() == ses.Device() {
			term.Detach()
		}
	}
	return command.Empty{}, nil
}

// ground takes the background and foreground reports of native builds; they
// only matter to offline push, which reads presence instead.
func (s *Service) ground(context.Context, *command.Call, *command.Empty) (command.Empty, error) {
	return command.Empty{}, nil
}

// authKey answers v2's request for the key of an obsolete file service.
func (s *Service) authKey(context.Context, *command.Call, *command.Empty) (command.Empty, error) {
	return command.Empty{}, nil
}

type kickRequest struct {
	UserID     string
	Identifier string // the older spelling (protocol 06 §3)
}

func (s *Service) kick(ctx context.Context, call *command.Call, req *kickRequest) (command.Empty, error) {
	id := req.UserID
	if id == "" {
		id = req.Identifier
	}
	acc, err := s.accounts.Lookup(ctx, call.App.SDKAppID, id)
	if errors.Is(err, command.Err(command.CodeNoAccount, "")) {
		return command.Empty{}, command.Err(70107, "the account does not exist")
	}
	if err != nil {
		return command.Empty{}, err
	}
	return command.Empty{}, s.Expel(ctx, acc.UID)
}

// Expel ends every login of accounts and voids their tickets issued so far.
func (s *Service) Expel(ctx context.Context, uids ...int64) error {
	if err := s.voidAll(ctx, uids); err != nil {
		return err
	}
	for _, uid := range uids {
		s.accounts.Forget(uid)
		s.hub.Publish(fanout.User(uid), &fanout.Event{Kind: fanout.Kick, KickType: KickREST, Target: fanout.Device{UID: uid}})
	}
	return nil
}
