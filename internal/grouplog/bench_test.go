package grouplog_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/account"
	"imserver/internal/bus"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/grouplog"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "25") // each works on real databases; -rapid.checks says otherwise
	os.Exit(m.Run())
}

// sink is a member's connection that counts what it is offered.
type sink struct {
	uid int64
	n   int
}

func (s *sink) Device() fanout.Device { return fanout.Device{UID: s.uid, Inst: 1} }
func (s *sink) Offer(*fanout.Event)   { s.n++ }

// stage is a group with members for benchmarks.
type stage struct {
	db    *store.DB
	table *command.Table
	app   *config.App
	me    *account.Account
	id    string
}

// newStage makes a group with so many members, of which online are connected
// here.
func newStage(b *testing.B, db *store.DB, members, online int) *stage {
	b.Helper()
	ctx := b.Context()
	log := slog.New(slog.DiscardHandler)
	s := &stage{db: db, table: command.NewTable(), app: &config.App{SDKAppID: 1, Settings: config.Default().Defaults}}
	s.app.GroupRate = 0
	accounts := account.NewDirectory(db, time.Now)
	hub := fanout.NewHub(bus.Local{}, log)
	dir := group.NewDirectory(db, hub)
	svc, err := grouplog.NewService(ctx, grouplog.Options{DB: db, Accounts: accounts, Groups: dir, Hub: hub, Now: time.Now, Log: log,
		Metrics: prometheus.NewRegistry(), Apps: func(uint32) *config.App { return s.app }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = svc.Stop(context.Background()) })
	svc.Register(s.table)
	if s.me, _, err = accounts.Ensure(ctx, 1, "owner"); err != nil {
		b.Fatal(err)
	}
	s.id = fmt.Sprintf("bench%d-%d", members, time.Now().UnixNano())
	var gid int64
	err = db.Write.QueryRowContext(ctx, `INSERT INTO groups (app, group_id, kind, name, owner, member_num, info_time, created_at)
		VALUES (1, $1, 2, 'Bench', $2, $3, 0, 0) RETURNING gid`, s.id, s.me.UID, members).Scan(&gid)
	if err != nil {
		b.Fatal(err)
	}
	if err := db.Tx(ctx, func(tx *sql.Tx) error {
		for i := range members {
			if _, err := tx.ExecContext(ctx, `INSERT INTO group_members (gid, uid, role, joined_at) VALUES ($1, $2, 200, 0)`, gid, s.me.UID+int64(i)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	for i := range online {
		hub.Join(fanout.Group(gid), &sink{uid: s.me.UID + int64(i)})
	}
	return s
}

// send sends message number n and calls done after the commit.
func (s *stage) send(b *testing.B, n int, done func(error)) {
	call := &command.Call{Name: "group_open_http_svc.send_group_msg", Kind: command.Users, App: s.app, UserID: s.me.UserID, UID: s.me.UID, Inst: 1}
	ans, err := s.table.Run(b.Context(), call, fmt.Appendf(nil, `{"GroupId":%q,"Random":%d,"ClientSeq":%d,"MsgClientTime":1,"MsgBody":%s}`,
		s.id, n, n, body("a message of a usual length, some words about this and that")))
	if err != nil {
		b.Fatal(err)
	}
	ans.(command.Later)(func(_ any, err error) { done(err) })
}

// run sends b.N messages with at most parallel unanswered.
func (s *stage) run(b *testing.B, parallel int) {
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		slots <- struct{}{}
		wg.Add(1)
		s.send(b, n+1, func(err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
			wg.Done()
		})
	}
	wg.Wait()
}

// BenchmarkAppend compares a commit for each message (1 unanswered at a time)
// with group commit.
func BenchmarkAppend(b *testing.B) {
	for _, parallel := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("sqlite/%d", parallel), func(b *testing.B) { newStage(b, storetest.SQLite(b), 10, 10).run(b, parallel) })
		b.Run(fmt.Sprintf("postgres/%d", parallel), func(b *testing.B) { newStage(b, storetest.Postgres(b), 10, 10).run(b, parallel) })
	}
}

// BenchmarkMembers shows that accepting a message costs the same whatever the
// size of the group; ten members are connected.
func BenchmarkMembers(b *testing.B) {
	for _, members := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("sqlite/%d", members), func(b *testing.B) { newStage(b, storetest.SQLite(b), members, 10).run(b, 64) })
		b.Run(fmt.Sprintf("postgres/%d", members), func(b *testing.B) { newStage(b, storetest.Postgres(b), members, 10).run(b, 64) })
	}
}
