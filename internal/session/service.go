// Package session knows the login instances of accounts: who may log in beside
// whom, which keys are good, who is kicked, and which connection a device
// speaks through.
package session

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/store"
	"imserver/internal/usersig"
)

// HelloInterval is the period of wshello in seconds (protocol 01 §8).
const HelloInterval = 120

// Capabilities has every PurchaseBits bit set: a private server switches on
// all that it can do (protocol 01 §10).
var Capabilities = strings.Repeat("1", 64)

// errInstanceTaken: a number that was drawn is in use. The logins draw again.
var errInstanceTaken = errors.New("session: instance number is taken")

var errVoidTicket = command.Err(command.CodeSessionOver, "the ticket was issued before the user was kicked")

// Session is a login instance as a connection knows it. Immutable.
type Session struct {
	App       uint32
	UserID    string
	UID       int64
	Inst      uint32
	Class     Class
	A2        string
	IssuedAt  int64 // unix s, of the ticket
	ExpiresAt int64 // unix s, end of the ticket
}

// Device returns the instance as event receivers know it.
func (s *Session) Device() fanout.Device { return fanout.Device{UID: s.UID, Inst: s.Inst} }

// Terminal is a connection that a login instance can speak through; the
// gateway's connections are.
type Terminal interface {
	command.Conn
	// Attach makes the connection the instance's: events reach it from now
	// on. It replaces the instance's earlier connection on this node.
	Attach(s *Session)
	// Hold keeps the events of logs back until the device has been given its
	// list of conversations: it compares them with what it has, and a push
	// that came first would hide a gap (protocol 03 §14.3).
	Hold()
	// Detach ends that; the socket stays.
	Detach()
	// Session returns what is attached, or nil.
	Session() *Session
}

// Service does the session commands.
type Service struct {
	db       *store.DB
	accounts *account.Directory
	hub      *fanout.Hub
	now      func() time.Time
	log      *slog.Logger
	entries  *store.Gather[*entry]
	states   *store.Each[int]
	// arrivals are told of every login and relogin after it was recorded and
	// before it is answered; see OnArrive.
	arrivals []func(ctx context.Context, call *command.Call, s *Session) error
	greeters []func(ctx context.Context, call *command.Call, s *Session) // see OnGreet
	ends     []func(ctx context.Context, s *Session)                     // see OnEnd
	sweeps   []func(ctx context.Context, uids []int64) error             // see OnSweep
}

// NewService makes the service.
func NewService(db *store.DB, accounts *account.Directory, hub *fanout.Hub, now func() time.Time, log *slog.Logger) *Service {
	s := &Service{db: db, accounts: accounts, hub: hub, now: now, log: log}
	s.states = store.NewEach(db, 2, stateQuery, func(row store.Row, state *int) error { return row.Scan(state) })
	s.entries = store.NewGather(maxEntries, s.writers(), s.admit)
	return s
}

// writers is how many transactions of logins may be under way.
func (s *Service) writers() int {
	if s.db.Dialect == store.SQLite {
		return 1
	}
	return 2
}

// OnArrive adds fn to what runs when a device has logged in and its connection
// is attached; an error is the login's. Call it before traffic starts.
func (s *Service) OnArrive(fn func(ctx context.Context, call *command.Call, ses *Session) error) {
	s.arrivals = append(s.arrivals, fn)
}

// OnGreet adds fn to what runs after the answer of a login or relogin is on
// its way: what it pushes to the device follows the answer. Call it before
// traffic starts.
func (s *Service) OnGreet(fn func(ctx context.Context, call *command.Call, ses *Session)) {
	s.greeters = append(s.greeters, fn)
}

// OnEnd adds fn to what runs when a device has logged out, after that was
// recorded and before it is answered. Call it before traffic starts.
func (s *Service) OnEnd(fn func(ctx context.Context, ses *Session)) { s.ends = append(s.ends, fn) }

// OnSweep adds fn to what is told of accounts that lost logins because their
// tickets ended long ago. Call it before traffic starts.
func (s *Service) OnSweep(fn func(ctx context.Context, uids []int64) error) {
	s.sweeps = append(s.sweeps, fn)
}

// Ticket verifies a UserSig for a caller who names itself userID; the error
// carries the protocol's code (protocol 01 §16).
func (s *Service) Ticket(ctx context.Context, app *config.App, userID, sig string) (usersig.Ticket, error) {
	// The account is looked up last, so that a forged ticket costs no query.
	t, err := usersig.Verify(sig, usersig.Claim{SDKAppID: app.SDKAppID, UserID: userID, Keys: app.Keys, Now: s.now()})
	if err == nil {
		var void int64
		if void, err = s.accounts.VoidBefore(ctx, app.SDKAppID, userID); err == nil && void > 0 && t.IssuedAt <= void {
			err = usersig.ErrVoid
		}
	}
	var refusal *usersig.Error
	if errors.As(err, &refusal) {
		return t, command.Err(refusal.Code, refusal.Info)
	}
	return t, err
}

// Verify finds the login instance of an A2 key. Errors: [command.CodeSessionOver]
// when the ticket has ended or an administrator kicked the user,
// [command.CodeNoSession] when there is no such instance, or it was kicked or
// logged out: only wslogin and wshello tell it so, that exactly one KICKED_OUT
// fires (protocol 01 §4). The session is returned whenever the key is genuine.
func (s *Service) Verify(ctx context.Context, app *config.App, a2 string) (*Session, error) {
	c, err := parse(a2, app.SDKAppID, app.Keys, s.now)
	if err != nil && c.UID == "" {
		return nil, err
	}
	uid, convErr := strconv.ParseInt(c.UID, 10, 64)
	if convErr != nil {
		return nil, command.Err(command.CodeNoSession, "")
	}
	ses := &Session{App: c.App, UserID: c.User, UID: uid, Inst: c.Inst, Class: c.Class, A2: a2, IssuedAt: c.Issued, ExpiresAt: c.Expiry}
	if err != nil {
		return ses, err
	}
	state, known, err := s.state(ctx, uid, c.Inst)
	if err != nil {
		return ses, err
	}
	return ses, refusal(state, known)
}

// refusal turns a session's state into the error of an ordinary command.
func refusal(state int, known bool) error {
	switch {
	case known && state == stateLive:
		return nil
	case known && state == KickREST:
		return command.Err(command.CodeSessionOver, "the login was ended by an administrator")
	}
	return command.Err(command.CodeNoSession, "")
}

type newcomer struct {
	inst     uint32
	platform int
	class    Class
	issued   int64
	expires  int64
}

func policyOf(app *config.App) Policy {
	p := Policy{Mode: Mode(app.LoginPolicy)}
	m := app.MaxInstances
	p.Max = [...]int{m.Web, m.Android, m.IPhone, m.IPad, m.Windows, m.Mac, m.Linux}
	return p
}

// newInst draws an instance number: non-zero, below 2^31, unique per account
// by the table's key.
func newInst() uint32 { return rand.Uint32N(1<<31-2) + 1 }

func tiny(uid int64) string { return strconv.FormatInt(uid, 10) }

func encodeStatus(status string) string {
	return base64.StdEncoding.EncodeToString([]byte(status))
}
