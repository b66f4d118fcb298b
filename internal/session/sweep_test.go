package session_test

import (
	"context"
	"testing"
	"time"

	"imserver/internal/apptest"
	"imserver/internal/bus"
	"imserver/internal/command"
	"imserver/internal/session"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// Ensure that the rows of logins that have ended go a week later, however long
// their tickets are good for, counted from their end and not from the login;
// that those who are there stay; and that a step is no longer than it may be.
func TestSweepOfEndedLogins(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		const day = 24 * time.Hour
		a := apptest.New(t, db)
		a.LoginPolicy = "multi"
		a.MaxInstances.Web = 1
		one := newPlace(a, bus.Local{})
		login := func() *session.Session {
			d := &device{hub: one.hub}
			call := &command.Call{Name: "im_open_status.wslogin", Kind: command.Tickets, App: a.App, UserID: "alice", Platform: 7, Conn: d,
				Ticket: command.Ticket{IssuedAt: a.Now().Unix(), ExpiresAt: a.Now().Add(180 * day).Unix()}}
			if _, err := one.table.Run(t.Context(), call, []byte(`{"State":"Online"}`)); err != nil {
				t.Fatal(err)
			}
			return d.Session()
		}
		logout := func(s *session.Session) {
			call := &command.Call{Name: "im_open_status.wslogout", Kind: command.Users, App: a.App, UserID: "alice", UID: s.UID, Inst: s.Inst, Session: s}
			if _, err := one.table.Run(t.Context(), call, []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
		}
		rows := func() (n int) {
			if err := db.Read.QueryRowContext(t.Context(), `SELECT count(*) FROM sessions`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		var swept []int64
		a.Sessions.OnSweep(func(_ context.Context, uids []int64) error { swept = append(swept, uids...); return nil })
		sweep := func(limit, want int) {
			t.Helper()
			if n, err := a.Sessions.Sweep(t.Context(), limit); err != nil || n != want {
				t.Fatalf("%d rows went, %v; want %d", n, err, want)
			}
		}
		kicked := login() // by the next one
		a.Advance(20 * day)
		out := login()
		a.Advance(time.Minute)
		logout(out)
		stays := login()
		a.Advance(6 * day)
		sweep(10, 0)
		a.Advance(2 * day)
		sweep(1, 1)
		sweep(10, 1)
		sweep(10, 0)
		if n := rows(); n != 1 {
			t.Fatalf("%d logins are left", n)
		}
		if len(swept) != 2 || swept[0] != kicked.UID {
			t.Fatalf("told of %v", swept)
		}
		if live := liveOf(t, db, stays.UID); !live[stays.Inst] {
			t.Fatal("who is there was removed")
		}
		a.Advance(200 * day)
		sweep(10, 1)
	})
}
