package annotation

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/command"
	"imserver/internal/store"
)

// Operations on extensions (OperateType, protocol 02 §15).
const (
	OpSet    = 1
	OpDelete = 2
	OpClear  = 3
)

// Extension is one pair; Seq counts the changes of the message's extensions up
// to this pair's last one. In a request it is what the caller knows, 0 = new.
type Extension struct {
	Key   string
	Value string // "" = deleted
	Seq   int64
}

// Result is what became of one extension of a request; after a conflict
// (23001) Extension is the current state.
type Result struct {
	ErrorCode int
	Extension Extension
}

// ChangeRequest are the fields of set_key_values beside the message's name.
type ChangeRequest struct {
	OperateType   int
	ExtensionList []Extension
}

// ChangeAnswer is the answer of set_key_values.
type ChangeAnswer struct {
	ExtensionList []Result
	Seq           int64 // the message's counter
	Operation     int   `json:"-"`
}

// Applied returns the extensions that were really changed.
func (a *ChangeAnswer) Applied() []Extension {
	var list []Extension
	for _, r := range a.ExtensionList {
		if r.ErrorCode == 0 {
			list = append(list, r.Extension)
		}
	}
	return list
}

// Changed tells whether there is something to tell the others.
func (a *ChangeAnswer) Changed() bool { return a.Operation == OpClear || len(a.Applied()) > 0 }

func (r *ChangeRequest) check() error {
	if r.OperateType < OpSet || r.OperateType > OpClear {
		return command.Err(command.CodeBadPacket, "OperateType must be 1, 2 or 3")
	}
	if r.OperateType == OpClear {
		return nil
	}
	if len(r.ExtensionList) == 0 || len(r.ExtensionList) > MaxPerCall {
		return command.Errf(command.CodeBadPacket, "ExtensionList must have 1 to %d entries", MaxPerCall)
	}
	seen := map[string]bool{}
	for _, e := range r.ExtensionList {
		if e.Key == "" || len(e.Key) > MaxKey || len(e.Value) > MaxValue || command.CheckTexts(e.Key, e.Value) != nil {
			return command.Errf(command.CodeBadPacket, "a key must have 1 to %d bytes, a value at most %d", MaxKey, MaxValue)
		}
		if seen[e.Key] {
			return command.Err(command.CodeBadPacket, "a key is given twice")
		}
		seen[e.Key] = true
	}
	return nil
}

// Change sets, deletes or clears a message's extensions. A pair that somebody
// else changed meanwhile is left as it is and reported with 23001 and its
// current state; the others are done. Errors: 20001, 23003.
func (s *Store) Change(ctx context.Context, r Ref, req *ChangeRequest) (*ChangeAnswer, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	var ans *ChangeAnswer
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		ans = &ChangeAnswer{ExtensionList: []Result{}, Operation: req.OperateType}
		h, err := s.lock(ctx, tx, r)
		if err != nil {
			return err
		}
		if req.OperateType == OpClear {
			if err := h.admit(s.now(), 1); err != nil {
				return err
			}
			h.counter++
			h.clear = h.counter
			ans.Seq = h.counter
			if _, err := tx.ExecContext(ctx, `DELETE FROM message_extensions WHERE a = $1 AND b = $2 AND seq = $3`, r.A, r.B, r.Seq); err != nil {
				return err
			}
			return s.save(ctx, tx, r, h)
		}
		if err := h.admit(s.now(), len(req.ExtensionList)); err != nil {
			return err
		}
		if err := s.change(ctx, tx, r, &h, req, ans); err != nil {
			return err
		}
		ans.Seq = h.counter
		return s.save(ctx, tx, r, h)
	})
	if err != nil {
		return nil, fault("change extensions", err)
	}
	return ans, nil
}

// change applies the pairs of a request to a locked message. The current
// state is read and written with one statement each.
func (s *Store) change(ctx context.Context, tx *sql.Tx, r Ref, h *head, req *ChangeRequest, ans *ChangeAnswer) error {
	have, alive, err := current(ctx, tx, r)
	if err != nil {
		return err
	}
	var changed []Extension
	for _, e := range req.ExtensionList {
		old := have[e.Key]
		deleted := old.Seq == 0 || old.Value == ""
		switch {
		case e.Seq != old.Seq && !(deleted && e.Seq == 0):
			old.Key = e.Key
			ans.ExtensionList = append(ans.ExtensionList, Result{CodeConflict, old})
			continue
		case req.OperateType == OpDelete:
			e.Value = ""
			if !deleted {
				alive--
			}
		case deleted && e.Value != "":
			if alive++; alive > MaxPerMessage {
				return command.Errf(command.CodeBadPacket, "more than %d extensions on the message", MaxPerMessage)
			}
		}
		h.counter++
		e.Seq = h.counter
		changed = append(changed, e)
		ans.ExtensionList = append(ans.ExtensionList, Result{0, e})
	}
	if len(changed) == 0 {
		return nil
	}
	query := []byte(`INSERT INTO message_extensions (a, b, seq, name, value, version) VALUES `)
	args := []any{r.A, r.B, r.Seq}
	for i, e := range changed {
		if i > 0 {
			query = append(query, ',')
		}
		query = fmt.Appendf(query, "($1,$2,$3,$%d,$%d,$%d)", 3*i+4, 3*i+5, 3*i+6)
		args = append(args, e.Key, e.Value, e.Seq)
	}
	query = append(query, ` ON CONFLICT (a, b, seq, name) DO UPDATE SET value = excluded.value, version = excluded.version`...)
	_, err = tx.ExecContext(ctx, string(query), args...)
	return err
}

// current returns a message's extensions, and how many are not deleted.
func current(ctx context.Context, tx *sql.Tx, r Ref) (map[string]Extension, int, error) {
	list, err := store.Collect(ctx, tx, scanExtension,
		`SELECT name, value, version FROM message_extensions WHERE a = $1 AND b = $2 AND seq = $3`, r.A, r.B, r.Seq)
	have, alive := make(map[string]Extension, len(list)), 0
	for _, e := range list {
		have[e.Key] = e
		if e.Value != "" {
			alive++
		}
	}
	return have, alive, err
}

func scanExtension(rows *sql.Rows, e *Extension) error { return rows.Scan(&e.Key, &e.Value, &e.Seq) }

// ListRequest is the field of get_key_values beside the message's name; JSON
// decoding takes lite's StartSeq and v3's startSeq alike.
type ListRequest struct {
	StartSeq int64
}

// ListAnswer is the answer of get_key_values.
type ListAnswer struct {
	CompleteFlag  int // always 1: everything fits one answer
	LatestSeq     int64
	ClearSeq      int64
	ExtensionList []Extension
}

// FillSeqs gives the keys of an administrator's request their current numbers:
// it need not know them (protocol 06 §5.2).
func (s *Store) FillSeqs(ctx context.Context, r Ref, req *ChangeRequest) error {
	have, err := s.List(ctx, r, 0)
	if err != nil {
		return err
	}
	for i := range req.ExtensionList {
		e := &req.ExtensionList[i]
		for _, old := range have.ExtensionList {
			if e.Seq == 0 && old.Key == e.Key {
				e.Seq = old.Seq
			}
		}
	}
	return nil
}

// List returns a message's extensions whose Seq is at least start, deleted
// ones with an empty value.
func (s *Store) List(ctx context.Context, r Ref, start int64) (*ListAnswer, error) {
	ans := &ListAnswer{CompleteFlag: 1}
	err := s.db.Read.QueryRowContext(ctx, `SELECT counter, clear_seq FROM annotations WHERE a = $1 AND b = $2 AND seq = $3`,
		r.A, r.B, r.Seq).Scan(&ans.LatestSeq, &ans.ClearSeq)
	if err != nil && err != sql.ErrNoRows {
		return nil, fault("list extensions", err)
	}
	ans.ExtensionList, err = store.Collect(ctx, s.db.Read, scanExtension,
		`SELECT name, value, version FROM message_extensions WHERE a = $1 AND b = $2 AND seq = $3 AND version >= $4 ORDER BY version`,
		r.A, r.B, r.Seq, start)
	if err != nil {
		return nil, fault("list extensions", err)
	}
	if ans.ExtensionList == nil {
		ans.ExtensionList = []Extension{}
	}
	return ans, nil
}
