package conversation

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"imserver/internal/store"
)

// state is what a user keeps of one conversation besides its messages.
type state struct {
	key
	pinnedAt int64 // unix seconds; 0 = not pinned
	marks    int64 // a bit per mark
	custom   string
	groups   []int64 // of the conversation groups it is in
}

// standard is the marks as 64 characters, the rightmost being bit 0 (protocol 02 §14.1).
func (st *state) standard() string {
	b := make([]byte, 64)
	for i := range b {
		b[63-i] = '0' + byte(uint64(st.marks)>>i&1)
	}
	return string(b)
}

// group is a user's folder of conversations.
type group struct {
	id   int64
	name string
}

// keeping is everything that one user keeps.
type keeping struct {
	states map[key]*state
	groups []group // by id
}

func (k *keeping) state(of key) *state {
	st := k.states[of]
	if st == nil {
		st = &state{key: of}
		k.states[of] = st
	}
	return st
}

func (k *keeping) named(name string) *group {
	for i := range k.groups {
		if k.groups[i].name == name {
			return &k.groups[i]
		}
	}
	return nil
}

// groupItem is a conversation group as the protocol spells it.
type groupItem struct {
	GroupId   int64
	GroupName string
}

func (k *keeping) groupItems() []groupItem {
	out := make([]groupItem, 0, len(k.groups))
	for _, g := range k.groups {
		out = append(out, groupItem{g.id, g.name})
	}
	return out
}

const stateColumns = `kind, target, pinned_at, marks, custom`

// read is load outside a transaction: its queries are shared with others who
// read at the same time.
func (s *Service) read(ctx context.Context, uid int64) (*keeping, error) {
	states, err := s.states.Of(ctx, uid)
	if err != nil {
		return nil, fmt.Errorf("conversation: states: %w", err)
	}
	groups, err := s.names.Of(ctx, uid)
	if err != nil {
		return nil, fmt.Errorf("conversation: groups: %w", err)
	}
	return assemble(ctx, s.db.Read, uid, states, groups)
}

// load reads what uid keeps, with three queries; the limits bound it.
func load(ctx context.Context, q store.Querier, uid int64) (*keeping, error) {
	states, err := store.Collect(ctx, q, func(rows *sql.Rows, st *state) error {
		return rows.Scan(&st.kind, &st.target, &st.pinnedAt, &st.marks, &st.custom)
	}, `SELECT `+stateColumns+` FROM conversation_states WHERE uid = $1`, uid)
	if err != nil {
		return nil, fmt.Errorf("conversation: states: %w", err)
	}
	groups, err := store.Collect(ctx, q, func(rows *sql.Rows, g *group) error { return rows.Scan(&g.id, &g.name) },
		`SELECT id, name FROM conversation_groups WHERE uid = $1 ORDER BY id`, uid)
	if err != nil {
		return nil, fmt.Errorf("conversation: groups: %w", err)
	}
	return assemble(ctx, q, uid, states, groups)
}

// assemble joins what was read; who has groups costs one more query.
func assemble(ctx context.Context, q store.Querier, uid int64, states []state, groups []group) (*keeping, error) {
	k := &keeping{states: map[key]*state{}, groups: groups}
	for i := range states {
		k.states[states[i].key] = &states[i]
	}
	if len(k.groups) == 0 {
		return k, nil
	}
	type item struct {
		key
		id int64
	}
	items, err := store.Collect(ctx, q, func(rows *sql.Rows, it *item) error { return rows.Scan(&it.kind, &it.target, &it.id) },
		`SELECT kind, target, id FROM conversation_group_items WHERE uid = $1 ORDER BY id`, uid)
	if err != nil {
		return nil, fmt.Errorf("conversation: group items: %w", err)
	}
	for _, it := range items {
		st := k.state(it.key)
		st.groups = append(st.groups, it.id)
	}
	return k, nil
}

// change runs fn in a transaction that excludes every other change of what uid
// keeps, so that limits hold and two devices' changes follow one another.
func (s *Service) change(ctx context.Context, uid int64, fn func(tx *sql.Tx, k *keeping) error) error {
	return s.db.Tx(ctx, func(tx *sql.Tx) error {
		var found int64
		if err := tx.QueryRowContext(ctx, `SELECT uid FROM accounts WHERE uid = $1`+s.db.ForUpdate(), uid).Scan(&found); err != nil {
			return fmt.Errorf("conversation: %w", err)
		}
		k, err := load(ctx, tx, uid)
		if err != nil {
			return err
		}
		return fn(tx, k)
	})
}

// save writes the states of the keys as they are in k; the empty ones go. A key
// that is named twice is written once: one statement cannot write a row twice.
func save(ctx context.Context, tx *sql.Tx, uid int64, k *keeping, changed []key) error {
	var put, drop []key
	for _, c := range changed {
		if slices.Contains(put, c) {
			continue
		}
		if st := k.states[c]; st != nil && (st.pinnedAt != 0 || st.marks != 0 || st.custom != "") {
			put = append(put, c)
		} else {
			drop = append(drop, c)
		}
	}
	if err := eraseRows(ctx, tx, "conversation_states", uid, drop); err != nil {
		return err
	}
	if len(put) == 0 {
		return nil
	}
	query := `INSERT INTO conversation_states (uid, kind, target, pinned_at, marks, custom) VALUES `
	args := []any{uid}
	for i, c := range put {
		st := k.states[c]
		if i > 0 {
			query += ","
		}
		n := len(args)
		query += fmt.Sprintf("($1,$%d,$%d,$%d,$%d,$%d)", n+1, n+2, n+3, n+4, n+5)
		args = append(args, c.kind, c.target, st.pinnedAt, st.marks, st.custom)
	}
	_, err := tx.ExecContext(ctx, query+` ON CONFLICT (uid, kind, target) DO UPDATE
		SET pinned_at = excluded.pinned_at, marks = excluded.marks, custom = excluded.custom`, args...)
	if err != nil {
		return fmt.Errorf("conversation: save: %w", err)
	}
	return nil
}

// eraseRows deletes the rows of a table for the keys, a statement per kind.
func eraseRows(ctx context.Context, tx *sql.Tx, table string, uid int64, list []key) error {
	for _, kind := range []int{C2C, Group} {
		targets := targetsOf(list, kind)
		if len(targets) == 0 {
			continue
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE uid = $1 AND kind = $2 AND target IN `+store.In(3, len(targets)),
			store.Args(targets, any(uid), any(kind))...)
		if err != nil {
			return fmt.Errorf("conversation: erase: %w", err)
		}
	}
	return nil
}

func targetsOf(list []key, kind int) []string {
	var out []string
	for _, k := range list {
		if k.kind == kind && !slices.Contains(out, k.target) {
			out = append(out, k.target)
		}
	}
	return out
}
