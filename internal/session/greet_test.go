package session_test

import (
	"context"
	"slices"
	"testing"

	"imserver/internal/apptest"
	"imserver/internal/command"
	"imserver/internal/session"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// terminal is a connection without a socket.
type terminal struct{ session *session.Session }

func (t *terminal) ID() uint64                { return 1 }
func (t *terminal) Query(string) string       { return "" }
func (t *terminal) Attach(s *session.Session) { t.session = s }
func (t *terminal) Hold()                     {}
func (t *terminal) Detach()                   { t.session = nil }
func (t *terminal) Session() *session.Session { return t.session }

// Who arrives is attached before the answer and greeted after it, at a login
// and at a relogin, and not when the login was refused.
func TestGreetFollowsTheAnswer(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		a := apptest.New(t, db)
		a.Sessions.Register(a.Table)
		var order []string
		a.Sessions.OnArrive(func(context.Context, *command.Call, *session.Session) error {
			order = append(order, "arrive")
			return nil
		})
		a.Sessions.OnGreet(func(ctx context.Context, _ *command.Call, ses *session.Session) {
			order = append(order, "greet "+ses.UserID)
			if ctx.Err() != nil {
				t.Error("the greeting's context ended with the answer")
			}
		})
		login := func(call command.Call) error {
			t.Helper()
			order = nil
			ctx, cancel := context.WithCancel(t.Context())
			call.Name, call.App, call.Platform = "im_open_status.wslogin", a.App, 7
			answer, err := a.Table.Run(ctx, &call, []byte(`{"State":"Online"}`))
			if err != nil {
				cancel()
				return err
			}
			answer.(command.Later)(func(answer any, doneErr error) {
				cancel() // as the door does
				order, err = append(order, "answer"), doneErr
				if answer == nil {
					t.Error("no answer")
				}
			})
			return err
		}
		term := &terminal{}
		ticket := command.Ticket{IssuedAt: a.Now().Unix(), ExpiresAt: a.Now().Unix() + 3600}
		want := []string{"arrive", "answer", "greet alice"}
		if err := login(command.Call{Kind: command.Tickets, UserID: "alice", Ticket: ticket, Conn: term}); err != nil || !slices.Equal(order, want) {
			t.Fatalf("login: %v, %v", order, err)
		}
		ses := term.session
		relogin := command.Call{Kind: command.Users, UserID: "alice", UID: ses.UID, Inst: ses.Inst, Session: ses, Conn: term}
		if err := login(relogin); err != nil || !slices.Equal(order, want) {
			t.Fatalf("relogin: %v, %v", order, err)
		}
		if err := a.Sessions.Expel(t.Context(), ses.UID); err != nil {
			t.Fatal(err)
		}
		if err := login(relogin); command.CodeOf(err) != command.CodeKicked || len(order) != 0 {
			t.Fatalf("after a kick: %v, %v", order, err)
		}
	})
}
