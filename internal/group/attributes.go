package group

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"imserver/internal/command"
	"imserver/internal/store"
)

// Bounds of attributes, in bytes (protocol 03 §16).
const (
	maxAttributes = 16
	maxAttrKey    = 32
	maxAttrValue  = 4000
	maxAttrTotal  = 16000
)

// attrInput and attrState have the spellings of requests and answers: keys are
// small in requests, capital in pushes (protocol 03 trap 7).
type attrInput struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Seq   int64  `json:"seq"`
}

type attrRequest struct {
	GroupId     string
	GroupAttr   []attrInput
	AttrMainSeq int64
	AttrControl []string
}

type attrSeq struct {
	Key string
	Seq int64 `json:"seq"`
}

type attrAnswer struct {
	AttrMainSeq int64
	GroupAttr   []attrSeq
}

// attribute is a stored one.
type attribute struct {
	name, value string
	seq         int64
}

// Inner OpTypes of the attribute push (protocol 03 §8.5).
const (
	attrInit   = 1
	attrModify = 2
	attrClear  = 3
	attrDelete = 4
)

// attrPush is the MsgBody of the push.
type attrPush struct {
	OpType           int
	Operator_Account string
	MsgGroupNewInfo  struct{ GroupAttrOption attrOption }
}

type attrOption struct {
	GroupAttrSeq           int64
	OpType                 int
	PushChangedAttrValFlag int
	BytesChangedKeys       []string
	GroupAttrInfo          []attrPushed
}

type attrPushed struct {
	Key       string
	Val       string
	SubKeySeq int64
}

func (s *Service) setAttributes(ctx context.Context, call *command.Call, req *attrRequest) (*attrAnswer, error) {
	return s.writeAttributes(ctx, call, req, attrInit)
}

func (s *Service) modifyAttributes(ctx context.Context, call *command.Call, req *attrRequest) (*attrAnswer, error) {
	return s.writeAttributes(ctx, call, req, attrModify)
}

func (s *Service) deleteAttributes(ctx context.Context, call *command.Call, req *attrRequest) (*attrAnswer, error) {
	return s.writeAttributes(ctx, call, req, attrDelete)
}

func (s *Service) clearAttributes(ctx context.Context, call *command.Call, req *attrRequest) (*attrAnswer, error) {
	return s.writeAttributes(ctx, call, req, attrClear)
}

// check refuses keys and values over the limits.
func (r *attrRequest) check(op int) error {
	if op == attrClear {
		r.GroupAttr = nil
		return nil
	}
	if len(r.GroupAttr) == 0 && op != attrInit {
		return command.Err(CodeAttrMissing, "GroupAttr is empty")
	}
	if len(r.GroupAttr) > maxAttributes {
		return command.Errf(CodeAttrCount, "more than %d attributes", maxAttributes)
	}
	seen := map[string]bool{}
	for _, a := range r.GroupAttr {
		if a.Key == "" || len(a.Key) > maxAttrKey || checkText("key", a.Key, maxAttrKey) != nil {
			return command.Errf(CodeAttrKey, "an attribute's key is empty or over %d bytes", maxAttrKey)
		}
		if checkText("value", a.Value, maxAttrValue) != nil {
			return command.Errf(CodeAttrValue, "an attribute's value is over %d bytes", maxAttrValue)
		}
		if seen[a.Key] {
			return command.Err(CodeBadParameter, "an attribute is named twice")
		}
		seen[a.Key] = true
	}
	return nil
}

// writeAttributes does the four writes: one transaction, the main sequence up
// by one, the new values pushed to everybody (protocol 03 §8).
func (s *Service) writeAttributes(ctx context.Context, call *command.Call, req *attrRequest, op int) (*attrAnswer, error) {
	if err := req.check(op); err != nil {
		return nil, err
	}
	if err := s.here(ctx, call, req.GroupId); err != nil {
		return nil, err
	}
	act := actorOf(call)
	ans := &attrAnswer{}
	_, err := s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		role, err := s.sharing(ctx, tx, g, act)
		if err != nil {
			return err
		}
		if g.Kind == Topic {
			return errNotForKind
		}
		if err := may(g, role, SetAttributes); err != nil {
			return err
		}
		main, have, err := readAttributes(ctx, tx, g.GID)
		if err != nil {
			return err
		}
		if slices.Contains(req.AttrControl, "RaceConflict") && req.stale(op, main, have) {
			return errConflict
		}
		changed, err := req.write(ctx, tx, g.GID, op, have)
		if err != nil {
			return err
		}
		main++
		if err := s.countWrite(ctx, tx, g.GID, main, call.App.Groups.AttributeRate); err != nil {
			return err
		}
		ans.AttrMainSeq, ans.GroupAttr = main, []attrSeq{}
		if op != attrDelete {
			for _, a := range changed {
				ans.GroupAttr = append(ans.GroupAttr, attrSeq{a.name, a.seq})
			}
		}
		out.events = append(out.events, event{body: pushOf(act, op, main, changed)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ans, nil
}

// countWrite stores the main sequence after a write; 10049 when limit writes
// were made in this second already (protocol 03 §16). Whichever node writes
// holds the group's row, so together they make no more.
func (s *Service) countWrite(ctx context.Context, tx *sql.Tx, gid, main int64, limit int) error {
	var writes int
	// A node whose clock is behind counts to the second of the others.
	err := tx.QueryRowContext(ctx, `UPDATE groups SET attr_seq = $2, attr_writes = CASE WHEN attr_at >= $3 THEN attr_writes + 1 ELSE 1 END,
		attr_at = CASE WHEN attr_at >= $3 THEN attr_at ELSE $3 END WHERE gid = $1 RETURNING attr_writes`, gid, main, s.Now().Unix()).Scan(&writes)
	if err != nil {
		return fmt.Errorf("group: attributes: %w", err)
	}
	if limit > 0 && writes > limit {
		return command.Errf(CodeAttrRate, "the attributes of a group are written at most %d times a second", limit)
	}
	return nil
}

// pushOf tells members of a write (protocol 03 §8.5).
func pushOf(act actor, op int, main int64, changed []attribute) attrPush {
	push := attrPush{OpType: tipProfile, Operator_Account: act.id}
	o := &push.MsgGroupNewInfo.GroupAttrOption
	*o = attrOption{GroupAttrSeq: main, OpType: op, PushChangedAttrValFlag: 1, BytesChangedKeys: []string{}, GroupAttrInfo: []attrPushed{}}
	for _, a := range changed {
		o.BytesChangedKeys = append(o.BytesChangedKeys, a.name)
		o.GroupAttrInfo = append(o.GroupAttrInfo, attrPushed{a.name, a.value, a.seq})
	}
	return push
}

// stale reports whether the caller did not know the newest state: of
// everything for set and clear, of the named keys otherwise (protocol 03 §8.4).
func (r *attrRequest) stale(op int, main int64, have map[string]attribute) bool {
	if op == attrInit || op == attrClear {
		return r.AttrMainSeq != main
	}
	for _, a := range r.GroupAttr {
		if have[a.Key].seq != a.Seq {
			return true
		}
	}
	return false
}

// write stores the change and returns the written or deleted attributes.
func (r *attrRequest) write(ctx context.Context, tx *sql.Tx, gid int64, op int, have map[string]attribute) ([]attribute, error) {
	var changed []attribute
	switch op {
	case attrDelete:
		var names []string
		for _, a := range r.GroupAttr {
			if old, ok := have[a.Key]; ok {
				changed, names = append(changed, attribute{name: a.Key, seq: old.seq + 1}), append(names, a.Key)
			}
		}
		if len(names) == 0 {
			return nil, command.Err(CodeAttrMissing, "the group has none of the attributes")
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM group_attributes WHERE gid = $1 AND name IN `+store.In(2, len(names)), store.Args(names, any(gid))...); err != nil {
			return nil, fmt.Errorf("group: attributes: %w", err)
		}
		return changed, nil
	case attrInit, attrClear:
		if _, err := tx.ExecContext(ctx, `DELETE FROM group_attributes WHERE gid = $1`, gid); err != nil {
			return nil, fmt.Errorf("group: attributes: %w", err)
		}
	}
	total, count := 0, 0
	if op == attrModify {
		for _, a := range have {
			total, count = total+len(a.name)+len(a.value), count+1
		}
	}
	var args []any
	for _, a := range r.GroupAttr {
		old, known := have[a.Key]
		if op == attrModify && known {
			total, count = total-len(old.name)-len(old.value), count-1
		}
		total, count = total+len(a.Key)+len(a.Value), count+1
		changed = append(changed, attribute{a.Key, a.Value, old.seq + 1})
		args = append(args, gid, a.Key, a.Value, old.seq+1)
	}
	if count > maxAttributes {
		return nil, command.Errf(CodeAttrCount, "more than %d attributes", maxAttributes)
	}
	if total > maxAttrTotal {
		return nil, command.Errf(CodeAttrTotal, "the attributes are over %d bytes together", maxAttrTotal)
	}
	if len(args) == 0 {
		return nil, nil
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO group_attributes (gid, name, value, seq) VALUES `+values(1, 4, len(changed))+`
		ON CONFLICT (gid, name) DO UPDATE SET value = excluded.value, seq = excluded.seq`, args...); err != nil {
		return nil, fmt.Errorf("group: attributes: %w", err)
	}
	return changed, nil
}

func readAttributes(ctx context.Context, q store.Querier, gid int64) (main int64, byName map[string]attribute, err error) {
	type joined struct {
		main  int64
		name  sql.NullString
		value sql.NullString
		seq   sql.NullInt64
	}
	list, err := store.Collect(ctx, q, func(rows *sql.Rows, a *joined) error { return rows.Scan(&a.main, &a.name, &a.value, &a.seq) },
		`SELECT g.attr_seq, a.name, a.value, a.seq FROM groups g LEFT JOIN group_attributes a ON a.gid = g.gid WHERE g.gid = $1`, gid)
	if err != nil {
		return 0, nil, fmt.Errorf("group: attributes: %w", err)
	}
	byName = make(map[string]attribute, len(list))
	for _, a := range list {
		main = a.main
		if a.name.Valid {
			byName[a.name.String] = attribute{a.name.String, a.value.String, a.seq.Int64}
		}
	}
	return main, byName, nil
}

type attrListAnswer struct {
	AttrMainSeq  int64
	GroupAttrAry []attrInput
}

// attributes is get_group_attr.
func (s *Service) attributes(ctx context.Context, call *command.Call, req *groupRequest) (*attrListAnswer, error) {
	g, _, err := s.member(ctx, call, req.GroupId)
	if err != nil {
		return nil, err
	}
	main, byName, err := readAttributes(ctx, s.DB.Read, g.GID)
	if err != nil {
		return nil, err
	}
	ans := &attrListAnswer{AttrMainSeq: main, GroupAttrAry: make([]attrInput, 0, len(byName))}
	for _, a := range byName {
		ans.GroupAttrAry = append(ans.GroupAttrAry, attrInput{a.name, a.value, a.seq})
	}
	slices.SortFunc(ans.GroupAttrAry, func(a, b attrInput) int { return strings.Compare(a.Key, b.Key) })
	return ans, nil
}
