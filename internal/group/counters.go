package group

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"

	"imserver/internal/command"
	"imserver/internal/store"
)

// Bounds of counters (protocol 03 §16).
const (
	maxCounters   = 20
	maxCounterKey = 128
)

type counter struct {
	Key   string
	Value int64
}

type counterRequest struct {
	GroupId          string
	GroupCounter     []counter
	Mode             string
	GroupCounterKeys []string
}

type counterAnswer struct {
	GroupCounter    []counter
	GroupCounterSeq int64
}

// counterPush is the MsgBody of the push; it has no OpType (protocol 03 §9.3).
type counterPush struct {
	GroupCounterInfo [1]counterInfo
}

type counterInfo struct {
	Type            int // counterUpdated or counterDeleted
	GroupCounterSeq int64
	GroupCounter    []counter
}

// What happened to counters.
const (
	counterUpdated = 0
	counterDeleted = 1
)

func (r *counterRequest) check() error {
	if r.Mode != "Set" && r.Mode != "Increase" && r.Mode != "Decrease" {
		return command.Err(CodeBadParameter, "Mode is Set, Increase or Decrease")
	}
	if len(r.GroupCounter) == 0 {
		return command.Err(CodeBadParameter, "GroupCounter is empty")
	}
	if len(r.GroupCounter) > maxCounters {
		return command.Errf(CodeTooManyKeys, "more than %d counters", maxCounters)
	}
	for _, c := range r.GroupCounter {
		if c.Key == "" || checkText("Key", c.Key, maxCounterKey) != nil {
			return command.Errf(CodeBadParameter, "a counter's key is empty or over %d bytes", maxCounterKey)
		}
	}
	return nil
}

// updateCounters is update_group_counter: set or change by a value, in one
// step whoever else does the same (protocol 03 §9.1).
func (s *Service) updateCounters(ctx context.Context, call *command.Call, req *counterRequest) (*counterAnswer, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	if err := s.here(ctx, call, req.GroupId); err != nil {
		return nil, err
	}
	act := actorOf(call)
	ans := &counterAnswer{}
	_, err := s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		role, err := s.sharing(ctx, tx, g, act)
		if err != nil {
			return err
		}
		if g.Kind == Topic {
			return errNotForKind
		}
		if err := may(g, role, SetCounters); err != nil {
			return err
		}
		seq, have, err := readCounters(ctx, tx, g.GID)
		if err != nil {
			return err
		}
		ans.GroupCounter = nil
		changed := map[string]bool{}
		for _, c := range req.GroupCounter {
			v, err := step(req.Mode, have[c.Key], c.Value)
			if err != nil {
				return err
			}
			have[c.Key] = v
			changed[c.Key] = true
		}
		if len(have) > maxCounters {
			return command.Errf(CodeTooManyKeys, "more than %d counters", maxCounters)
		}
		var args []any
		for key := range changed {
			ans.GroupCounter = append(ans.GroupCounter, counter{key, have[key]})
		}
		sortCounters(ans.GroupCounter)
		for _, c := range ans.GroupCounter {
			args = append(args, g.GID, c.Key, c.Value)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO group_counters (gid, name, value) VALUES `+values(1, 3, len(ans.GroupCounter))+`
			ON CONFLICT (gid, name) DO UPDATE SET value = excluded.value`, args...); err != nil {
			return fmt.Errorf("group: counters: %w", err)
		}
		seq++
		if _, err := tx.ExecContext(ctx, `UPDATE groups SET counter_seq = $2 WHERE gid = $1`, g.GID, seq); err != nil {
			return fmt.Errorf("group: counters: %w", err)
		}
		ans.GroupCounterSeq = seq
		out.events = append(out.events, event{body: counterPush{[1]counterInfo{{counterUpdated, seq, ans.GroupCounter}}}})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ans, nil
}

// deleteCounters is delete_group_counter: those of the named counters that
// there are go, and members are told their last values (protocol 06 §5.6).
func (s *Service) deleteCounters(ctx context.Context, call *command.Call, req *counterRequest) (command.Empty, error) {
	if n := len(req.GroupCounterKeys); n == 0 || n > maxCounters {
		return command.Empty{}, command.Errf(CodeBadParameter, "GroupCounterKeys has 1 to %d entries", maxCounters)
	}
	for _, key := range req.GroupCounterKeys {
		if err := checkText("a key", key, maxCounterKey); err != nil {
			return command.Empty{}, err
		}
	}
	_, err := s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if err := may(g, Above, SetCounters); err != nil {
			return err
		}
		gone, err := store.Collect(ctx, tx, func(rows *sql.Rows, c *counter) error { return rows.Scan(&c.Key, &c.Value) },
			`DELETE FROM group_counters WHERE gid = $1 AND name IN `+store.In(2, len(req.GroupCounterKeys))+` RETURNING name, value`,
			store.Args(req.GroupCounterKeys, any(g.GID))...)
		if err != nil {
			return fmt.Errorf("group: counters: %w", err)
		}
		if len(gone) == 0 {
			return nil
		}
		sortCounters(gone)
		var seq int64
		if err := tx.QueryRowContext(ctx, `UPDATE groups SET counter_seq = counter_seq + 1 WHERE gid = $1 RETURNING counter_seq`, g.GID).Scan(&seq); err != nil {
			return fmt.Errorf("group: counters: %w", err)
		}
		out.events = append(out.events, event{body: counterPush{[1]counterInfo{{counterDeleted, seq, gone}}}})
		return nil
	})
	return command.Empty{}, err
}

// step returns a counter's next value; 10004 when it would not fit.
func step(mode string, old, by int64) (int64, error) {
	switch mode {
	case "Set":
		return by, nil
	case "Decrease":
		if by == math.MinInt64 {
			return 0, command.Err(CodeBadParameter, "the value is out of range")
		}
		by = -by
	}
	sum := old + by
	if by > 0 && sum < old || by < 0 && sum > old {
		return 0, command.Err(CodeBadParameter, "the value is out of range")
	}
	return sum, nil
}

func sortCounters(list []counter) {
	slices.SortFunc(list, func(a, b counter) int { return strings.Compare(a.Key, b.Key) })
}

func readCounters(ctx context.Context, q store.Querier, gid int64) (seq int64, have map[string]int64, err error) {
	type joined struct {
		seq   int64
		name  sql.NullString
		value sql.NullInt64
	}
	list, err := store.Collect(ctx, q, func(rows *sql.Rows, c *joined) error { return rows.Scan(&c.seq, &c.name, &c.value) },
		`SELECT g.counter_seq, c.name, c.value FROM groups g LEFT JOIN group_counters c ON c.gid = g.gid WHERE g.gid = $1`, gid)
	if err != nil {
		return 0, nil, fmt.Errorf("group: counters: %w", err)
	}
	have = make(map[string]int64, len(list))
	for _, c := range list {
		seq = c.seq
		if c.name.Valid {
			have[c.name.String] = c.value.Int64
		}
	}
	return seq, have, nil
}

// counters is get_group_counter: the named ones, or all.
func (s *Service) counters(ctx context.Context, call *command.Call, req *counterRequest) (*counterAnswer, error) {
	g, _, err := s.member(ctx, call, req.GroupId)
	if err != nil {
		return nil, err
	}
	if g.Kind == Community {
		return nil, errNotForKind
	}
	seq, have, err := readCounters(ctx, s.DB.Read, g.GID)
	if err != nil {
		return nil, err
	}
	ans := &counterAnswer{GroupCounter: []counter{}, GroupCounterSeq: seq}
	for key, value := range have {
		if len(req.GroupCounterKeys) == 0 || slices.Contains(req.GroupCounterKeys, key) {
			ans.GroupCounter = append(ans.GroupCounter, counter{key, value})
		}
	}
	sortCounters(ans.GroupCounter)
	return ans, nil
}
