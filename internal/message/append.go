package message

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"imserver/internal/store"
)

// draft is a message on its way into its pair's log.
type draft struct {
	*Message
	// repeated is set when the message was stored before: Seq is the first
	// copy's then, and Flags what has become of it.
	repeated bool
}

// writer appends drafts to the logs. It is written twice, because here the
// engines differ in what makes a batch cheap; everything else is one text.
type writer struct {
	db    *store.DB
	now   func() time.Time
	stmts sqliteStatements
}

// append stores a batch in one commit and sets each draft's Seq. A key names
// one message: the two sides of a pair choose numbers without knowing each
// other, and when they choose the same ones within a second, the later message
// gets a place in the next second.
func (w *writer) append(ctx context.Context, drafts []*draft) error {
	// Sorted by pair, in order of arrival within one: locks are taken in one
	// order everywhere, and a pair's messages are neighbours.
	sorted := slices.Clone(drafts)
	slices.SortStableFunc(sorted, func(a, b *draft) int {
		alo, ahi := pair(a.From, a.To)
		blo, bhi := pair(b.From, b.To)
		return cmp.Or(cmp.Compare(alo, blo), cmp.Compare(ahi, bhi))
	})
	fresh, cut := sorted[:0:0], 0
	seen := make(map[numbers]*draft, len(sorted))
	var twins [][2]*draft
	var err error
	for _, d := range sorted {
		switch first := seen[d.numbers()]; {
		case first != nil && first.From == d.From:
			twins = append(twins, [2]*draft{d, first})
			continue
		case first != nil && w.db.Dialect == store.Postgres && err == nil:
			// The other side's message has these numbers: a statement sees only
			// what is stored before it.
			err, cut = w.appendPostgres(ctx, fresh[cut:], w.now().Unix()), len(fresh)
		}
		seen[d.numbers()] = d
		fresh = append(fresh, d)
	}
	switch {
	case err != nil:
	case w.db.Dialect == store.Postgres:
		err = w.appendPostgres(ctx, fresh[cut:], w.now().Unix())
	default:
		err = w.appendSQLite(ctx, fresh)
	}
	for _, t := range twins {
		t[0].Seq, t[0].repeated = t[1].Seq, true
	}
	if err != nil {
		return fmt.Errorf("message: append: %w", err)
	}
	return nil
}

// identity is what makes two requests the same message (protocol 02 §1.3).
type identity struct{ from, to, msgSeq, random int64 }

func (d *draft) identity() identity { return identity{d.From, d.To, d.MsgSeq, d.Random} }

// numbers are what a message's key has besides its time.
type numbers struct{ lo, hi, msgSeq, random int64 }

func (d *draft) numbers() numbers {
	lo, hi := pair(d.From, d.To)
	return numbers{lo, hi, d.MsgSeq, d.Random}
}

// repeatWindow is how far back a repeated request is looked for, seconds. A
// client re-sends within minutes; a day also covers one that slept.
const repeatWindow = 86400

// findRepeat finds the first copy of a message.
func findRepeat(hint string) string {
	return `SELECT seq, flags FROM c2c_messages` + hint + ` WHERE lo = $1 AND hi = $2 AND random = $3 AND msg_seq = $4 AND sender = $5 AND seq > $6
	ORDER BY seq DESC LIMIT 1`
}

// stamp marks a message that its receiver discards; pgAppend does the same
// with the numbers of the flags (protocol 02 §12.1).
func stamp(flags, discard int, fromLo bool) int {
	receiver := 1
	if fromLo {
		receiver = 2
	}
	if flags&flagInsistent == 0 && discard&receiver != 0 {
		flags |= flagDiscarded
	}
	return flags
}
