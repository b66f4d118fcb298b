package grouplog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"imserver/internal/store"
)

// draft is a message on its way into its log.
type draft struct {
	*Message
	hub      int64   // the group whose hub topic carries the log
	mentions []int64 // uids mentioned; 0 is everybody
	// member asks to store it only if the sender is a member who may speak;
	// refused is set when that is not so: nothing is stored then.
	member, refused bool
	// repeated is set when the message was stored before: Seq and Time are the
	// first copy's then, and nothing is delivered (protocol 03 §1.2).
	repeated bool
}

// identity is what makes two requests the same message.
type identity struct{ log, sender, random, clientSeq int64 }

func (d *draft) identity() identity { return identity{d.Log, d.Sender, d.Random, d.ClientSeq} }

// repeatWindow is how far back a repeated request is looked for, seconds. A
// client re-sends within minutes; a day also covers one that slept.
const repeatWindow = 86400

// writer appends drafts to the logs. It is written twice, because here the
// engines differ in what makes a batch cheap.
//
// The sender's read position follows its own message (protocol 03 §12.1). It
// is moved in the statement that appends, once for each sender of a batch: a
// narrow update of a row without an indexed column in it, cheaper than an
// index of messages by sender, which each message would have to be put into,
// and than counting own messages whenever somebody reads.
type writer struct {
	db    *store.DB
	now   func() time.Time
	stmts sqliteStatements
}

// append stores a batch in one commit and sets each draft's Seq and Time.
func (w *writer) append(ctx context.Context, drafts []*draft) error {
	// Sorted by log, in order of arrival within one: locks are taken in one
	// order everywhere, and a log's messages are neighbours.
	sorted := slices.Clone(drafts)
	slices.SortStableFunc(sorted, func(a, b *draft) int { return int(min(max(a.Log-b.Log, -1), 1)) })
	fresh := sorted[:0:0]
	seen := make(map[identity]*draft, len(sorted))
	var twins [][2]*draft
	for _, d := range sorted {
		if first := seen[d.identity()]; first != nil {
			twins = append(twins, [2]*draft{d, first})
			continue
		}
		seen[d.identity()] = d
		fresh = append(fresh, d)
	}
	run := w.appendSQLite
	if w.db.Dialect == store.Postgres {
		run = w.appendPostgres
	}
	err := run(ctx, fresh)
	for try := 0; store.IsConflict(err) && try < 4; try++ { // a deadlock with a change of many members
		err = run(ctx, fresh)
	}
	for _, t := range twins {
		t[0].Seq, t[0].Time, t[0].repeated, t[0].refused = t[1].Seq, t[1].Time, true, t[1].refused
	}
	if err != nil {
		return fmt.Errorf("grouplog: append: %w", err)
	}
	return nil
}

// findRepeat finds the first copy of a message.
func findRepeat(index string) string {
	return `SELECT seq, time FROM group_messages` + index + ` WHERE log = $1 AND random = $2 AND client_seq = $3 AND sender = $4 AND time > $5
	ORDER BY seq DESC LIMIT 1`
}

// byNumbers names the index for the search of repeats: SQLite, which has no
// statistics here, would walk the whole log instead.
const byNumbers = ` INDEXED BY group_messages_numbers`

// countsNot are the flags of what nobody counts as unread.
const countsNot = FlagNoUnread | FlagDirected
