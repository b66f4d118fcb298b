package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"imserver/internal/apptest"
	"imserver/internal/command"
	"imserver/internal/session"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// Ensure that a relogin is never answered with a fault, which an SDK would
// take for success (protocol 01 T6): a short one is got over, a long one ends
// the connection. A first login is answered, and leaves nobody attached.
func TestFaultsOfALogin(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		a := apptest.New(t, db)
		a.Sessions.Register(a.Table)
		failing := 0
		a.Sessions.OnArrive(func(context.Context, *command.Call, *session.Session) error {
			if failing > 0 {
				failing--
				return errors.New("the store is away")
			}
			return nil
		})
		term := &terminal{}
		login := func(call command.Call) error {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			call.Name, call.App, call.Platform, call.Conn = "im_open_status.wslogin", a.App, 7, term
			_, err := a.Table.Run(ctx, &call, []byte(`{"State":"Online"}`))
			return err
		}
		first := command.Call{Kind: command.Tickets, UserID: "alice",
			Ticket: command.Ticket{IssuedAt: a.Now().Unix(), ExpiresAt: a.Now().Unix() + 3600}}
		failing = 1
		if err := login(first); err == nil || errors.Is(err, command.ErrHangUp) || term.session != nil {
			t.Fatalf("a first login with a fault: %v, attached: %v", err, term.session != nil)
		}
		if err := login(first); err != nil {
			t.Fatal(err)
		}
		again := command.Call{Kind: command.Users, UserID: "alice", UID: term.session.UID, Session: term.session}
		failing = 2
		if err := login(again); err != nil || failing != 0 {
			t.Fatalf("a relogin with a short fault: %v", err)
		}
		failing = 1000
		if err := login(again); !errors.Is(err, command.ErrHangUp) {
			t.Fatalf("a relogin with a long fault: %v, want a hang-up", err)
		}
	})
}
