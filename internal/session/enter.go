package session

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/store"
)

// entry is a login on its way into the sessions table.
type entry struct {
	uid int64
	newcomer
	policy  Policy
	victims []Victim // who has to go; set by admit
	err     error    // a refusal of this one; set by admit
}

// maxEntries is how many logins one transaction records.
const maxEntries = 128

// enter records a new login instance of acc and returns who has to go.
func (s *Service) enter(ctx context.Context, acc *account.Account, n newcomer, policy Policy) ([]Victim, error) {
	e := &entry{uid: acc.UID, newcomer: n, policy: policy}
	if err := s.entries.Do(ctx, e); err != nil {
		return nil, fmt.Errorf("session: enter: %w", err)
	}
	return e.victims, e.err
}

// member is what is known of an account while logins of it are recorded.
type member struct {
	void int64
	live []Instance
}

// admit records logins, many in one transaction: after a restart everybody
// comes at once, and a commit for each would be the limit. It takes four
// statements whatever their number, and one for each kick type that occurs.
// The accounts' rows are locked meanwhile, so of two simultaneous logins, on
// whichever nodes, each sees the other.
func (s *Service) admit(ctx context.Context, entries []*entry) error {
	return s.db.Tx(ctx, func(tx *sql.Tx) error {
		members, err := s.members(ctx, tx, entries)
		if err != nil {
			return err
		}
		kicked := map[uint8][]instanceKey{}
		states := make(map[*entry]uint8, len(entries)) // of the new rows; a later entry may kick an earlier one
		byKey := map[instanceKey]*entry{}
		for _, e := range entries {
			e.victims, e.err = nil, nil
			m := members[e.uid]
			switch {
			case m == nil:
				e.err = command.Err(command.CodeNoAccount, "")
				continue
			case e.issued <= m.void:
				e.err = errVoidTicket
				continue
			}
			e.victims = e.policy.Decide(m.live, e.class)
			for _, v := range e.victims {
				key := instanceKey{e.uid, v.Inst}
				if earlier := byKey[key]; earlier != nil {
					states[earlier] = v.Type
				} else {
					kicked[v.Type] = append(kicked[v.Type], key)
				}
				m.live = slices.DeleteFunc(m.live, func(i Instance) bool { return i.Inst == v.Inst })
			}
			m.live = append(m.live, Instance{Inst: e.inst, Class: e.class})
			states[e], byKey[instanceKey{e.uid, e.inst}] = stateLive, e
		}
		for kickType, keys := range kicked { // three types at most
			if err := kick(ctx, tx, s.now().Unix(), kickType, keys); err != nil {
				return err
			}
		}
		return s.insert(ctx, tx, entries, states)
	})
}

// instanceKey names a login instance.
type instanceKey struct {
	uid  int64
	inst uint32
}

// members locks the entries' accounts and reads who is logged in.
func (s *Service) members(ctx context.Context, tx *sql.Tx, entries []*entry) (map[int64]*member, error) {
	uids := make([]int64, len(entries))
	for i, e := range entries {
		uids[i] = e.uid
	}
	slices.Sort(uids)
	uids = slices.Compact(uids)
	among, args := store.Among(s.db, 1, uids)
	members := make(map[int64]*member, len(uids))
	type account struct{ uid, void int64 }
	accounts, err := store.Collect(ctx, tx, func(rows *sql.Rows, a *account) error { return rows.Scan(&a.uid, &a.void) },
		`SELECT uid, void_before FROM accounts WHERE uid `+among+` ORDER BY uid`+s.db.ForUpdate(), args...)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		members[a.uid] = &member{void: a.void}
	}
	type row struct {
		uid int64
		Instance
	}
	live, err := store.Collect(ctx, tx, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.uid, &r.Inst, &r.Class) },
		fmt.Sprintf(`SELECT uid, inst, class FROM sessions WHERE state = 0 AND uid %s AND expires_at > $%d ORDER BY uid, created_at, inst`, among, len(args)+1),
		append(args, s.now().Unix())...)
	if err != nil {
		return nil, err
	}
	for _, r := range live {
		if m := members[r.uid]; m != nil {
			m.live = append(m.live, r.Instance)
		}
	}
	return members, nil
}

// kick marks instances as kicked with a type, now (unix s).
func kick(ctx context.Context, tx *sql.Tx, now int64, kickType uint8, keys []instanceKey) error {
	var where strings.Builder
	args := []any{int64(kickType), now}
	for i, k := range store.Padded(keys) {
		if i > 0 {
			where.WriteString(" OR ")
		}
		fmt.Fprintf(&where, "(uid = $%d AND inst = $%d)", 3+2*i, 4+2*i)
		args = append(args, k.uid, k.inst)
	}
	_, err := tx.ExecContext(ctx, `UPDATE sessions SET state = $1, seen_at = $2 WHERE state = 0 AND (`+where.String()+`)`, args...)
	return err
}

// insert adds the rows of the entries that were not refused.
func (s *Service) insert(ctx context.Context, tx *sql.Tx, entries []*entry, states map[*entry]uint8) error {
	fresh := make([]*entry, 0, len(entries))
	for _, e := range entries {
		if e.err == nil {
			fresh = append(fresh, e)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	now := s.now().UnixMicro()
	var values strings.Builder
	var args []any
	for i, e := range store.Padded(fresh) { // a repeated row conflicts with itself and is left out
		if i > 0 {
			values.WriteByte(',')
		}
		n, ended := 8*i, int64(0)
		if states[e] != stateLive {
			ended = now / 1e6
		}
		fmt.Fprintf(&values, "($%d,$%d,$%d,$%d,$%d,$%d,$%d,$%d)", n+1, n+2, n+3, n+4, n+5, n+6, n+7, n+8)
		args = append(args, e.uid, e.inst, e.platform, e.class, states[e], now+int64(min(i, len(fresh)-1)), e.expires, ended)
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO sessions (uid, inst, platform, class, state, created_at, expires_at, seen_at) VALUES `+values.String()+
		` ON CONFLICT (uid, inst) DO NOTHING`, args...)
	if err != nil {
		return err
	}
	if n, _ := res.RowsAffected(); int(n) != len(fresh) { // both drivers know it
		return errInstanceTaken
	}
	return nil
}
