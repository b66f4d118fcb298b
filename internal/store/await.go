package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// patience is how long Open waits for a Postgres that is still starting.
const patience = 30 * time.Second

// await returns when Postgres answers, or why it did not. onWait is told once
// what the first attempt failed with.
func await(ctx context.Context, pool *pgxpool.Pool, onWait func(error)) error {
	deadline := time.Now().Add(patience)
	for first := true; ; first = false {
		err := pool.Ping(ctx)
		switch {
		case err == nil:
			return nil
		case refused(err):
			return fmt.Errorf("the database refuses: %w", oneLine{err})
		case ctx.Err() != nil:
			return fmt.Errorf("the database did not answer: %w", ctx.Err())
		case time.Now().After(deadline):
			return fmt.Errorf("the database did not answer for %s: %w", patience, oneLine{err})
		case first && onWait != nil:
			onWait(oneLine{err})
		}
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// refused reports whether Postgres has answered what waiting does not change:
// it does not let this user in, or has no such database.
func refused(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && (strings.HasPrefix(answer.Code, "28") || answer.Code == "3D000")
}

// oneLine makes a line of pgx's list of attempts, which are often the same.
type oneLine struct{ error }

func (e oneLine) Unwrap() error { return e.error }

func (e oneLine) Error() string {
	head, rest, _ := strings.Cut(e.error.Error(), "\n")
	var attempts []string
	for attempt := range strings.SplitSeq(rest, "\n") {
		if attempt = strings.TrimSpace(attempt); attempt != "" && !slices.Contains(attempts, attempt) {
			attempts = append(attempts, attempt)
		}
	}
	return strings.TrimSpace(head + " " + strings.Join(attempts, "; "))
}
