package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"imserver/bench/loadgen"
	"imserver/internal/store"
)

// nullInsert stores rows and does nothing else: it gives no places and looks
// for no repeats.
const nullInsert = `INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body)
	SELECT lo, hi, seq, lo, seq, seq, 1, 0, body FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) AS i(lo, hi, seq, body)`

// nullRows stores messages with the server's own group commit.
type nullRows struct {
	batches *store.Batcher[nullRow]
	next    int64
}

type nullRow struct {
	from, to int64
	body     string
	stored   func()
}

// newNullRows connects; stop ends the writer.
func newNullRows(ctx context.Context, database string) (rows *nullRows, stop func(), err error) {
	config, err := pgxpool.ParseConfig(database)
	if err != nil {
		return nil, nil, err
	}
	config.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	rows = &nullRows{next: time.Now().Unix() << 20}
	rows.batches = store.NewBatcher(store.BatchOptions{}, func(ctx context.Context, list []nullRow) error {
		lo, hi, seq, body := make([]int64, len(list)), make([]int64, len(list)), make([]int64, len(list)), make([]string, len(list))
		for i, row := range list {
			rows.next++
			lo[i], hi[i], seq[i], body[i] = row.from, row.to, rows.next, row.body
		}
		_, err := pool.Exec(ctx, nullInsert, lo, hi, seq, body)
		return err
	})
	return rows, func() { _ = rows.batches.Stop(context.Background()); pool.Close() }, nil
}

// add stores a message; stored is called when it is.
func (r *nullRows) add(from, to *nullConn, doc []byte, stored func()) {
	r.batches.Go(uint64(from.id), nullRow{from.id, to.id, loadgen.Member(doc, `"Text":"`), stored}, func(row nullRow, err error) {
		if err == nil {
			row.stored() // without an answer the generator notices
		}
	})
}
