package grouplog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/group"
	"imserver/internal/store"
)

const columns = `m.log, m.seq, m.time, m.sender, m.operator, m.random, m.client_seq, m.client_time, m.priority, m.flags, m.version, m.changed_at,
	m.revoker, m.reason, m.body, m.cloud, m.mentions, m.receivers`

// fields are the destinations of columns; finish must follow the scan.
func (m *Message) fields(receivers *string) []any {
	return []any{&m.Log, &m.Seq, &m.Time, &m.Sender, &m.Operator, &m.Random, &m.ClientSeq, &m.ClientTime, &m.Priority, &m.Flags, &m.Version,
		&m.ChangedAt, &m.Revoker, &m.Reason, &m.Body, &m.Cloud, &m.Mentions, receivers}
}

func scanMessage(rows *sql.Rows, m *Message) error {
	var receivers string
	if err := rows.Scan(m.fields(&receivers)...); err != nil {
		return err
	}
	m.Receivers = splitUIDs(receivers)
	return nil
}

// scanSeen reads columns and whether the reader deleted the message.
func scanSeen(rows *sql.Rows, m *Message) error {
	var receivers string
	if err := rows.Scan(append(m.fields(&receivers), &m.hidden)...); err != nil {
		return err
	}
	m.Receivers = splitUIDs(receivers)
	return nil
}

// seen selects messages of the log $1 within the retention $2 with a mark of
// what the reader $3 deleted.
const seen = `SELECT ` + columns + `, EXISTS (SELECT 1 FROM group_deleted d WHERE d.uid = $3 AND d.log = m.log AND d.seq = m.seq)
	FROM group_messages m WHERE m.log = $1 AND m.time >= $2`

// view is what a member may see of a log at this moment.
type view struct {
	place
	uid   int64
	low   int64 // unix s: older messages are past their retention
	first int64 // lowest visible sequence; last+1 when there is none
	last  int64 // newest sequence
	read  int64 // read position
	all   bool  // an administrator's: directed messages too
}

// view reads a member's positions in a log with one query; 10007 for others.
// An app's administrator sees what a member who was always there sees.
func (s *Service) view(ctx context.Context, app *config.App, p place, uid int64) (view, error) {
	v := view{place: p, uid: uid, low: s.low(app)}
	var joinSeq, joinedAt, cleared, oldest int64
	query := `SELECT m.join_seq, m.joined_at, m.cleared_seq, m.read_seq, COALESCE(l.last_seq, 0),
		COALESCE((SELECT o.seq FROM group_messages o WHERE o.log = $1 AND o.time >= $3 ORDER BY o.seq LIMIT 1), 0)
		FROM group_members m LEFT JOIN group_logs l ON l.log = $1 WHERE m.gid = $1 AND m.uid = $2`
	args := []any{p.GID, uid, v.low}
	if p.Kind == group.Topic {
		query = `SELECT 0, m.joined_at, COALESCE(t.cleared_seq, 0), COALESCE(t.read_seq, 0), COALESCE(l.last_seq, 0),
			COALESCE((SELECT o.seq FROM group_messages o WHERE o.log = $1 AND o.time >= CASE WHEN $5 = 0 AND m.joined_at > $3 THEN m.joined_at ELSE $3 END
				ORDER BY o.seq LIMIT 1), 0)
			FROM group_members m LEFT JOIN group_logs l ON l.log = $1 LEFT JOIN topic_members t ON t.tid = $1 AND t.uid = m.uid
			WHERE m.gid = $4 AND m.uid = $2`
		before := 0
		if p.Kind.Settings(app).HistoryBeforeJoin {
			before = 1
		}
		args = append(args, p.home.GID, before)
	}
	err := s.DB.Read.QueryRowContext(ctx, query, args...).Scan(&joinSeq, &joinedAt, &cleared, &v.read, &v.last, &oldest)
	if errors.Is(err, sql.ErrNoRows) {
		return v, errNotMember
	}
	if err != nil {
		return v, fmt.Errorf("grouplog: view: %w", err)
	}
	if oldest == 0 {
		oldest = v.last + 1
	}
	if p.Kind.Settings(app).HistoryBeforeJoin {
		joinSeq = 0
	}
	v.first = max(joinSeq+1, cleared+1, oldest)
	return v, nil
}

// see is place and view for a caller: a member's, or all of it for an
// administrator.
func (s *Service) see(ctx context.Context, call *command.Call, groupID, topicID string) (view, error) {
	if call.Kind == command.Admins {
		return s.overview(ctx, call, groupID, topicID)
	}
	p, err := s.place(ctx, call.App.SDKAppID, groupID, topicID)
	if err != nil {
		return view{}, err
	}
	return s.view(ctx, call.App, p, call.UID)
}

// window returns the messages with sequences from lo to hi, newest first,
// those that the reader must not see included and marked by visibleTo.
func (s *Service) window(ctx context.Context, v view, lo, hi int64) ([]Message, error) {
	list, err := store.Collect(ctx, s.DB.Read, scanSeen, seen+` AND m.seq >= $4 AND m.seq <= $5 ORDER BY m.seq DESC`, v.GID, v.low, v.uid, lo, hi)
	if err != nil {
		return nil, fmt.Errorf("grouplog: window: %w", err)
	}
	return list, nil
}

// pick returns the messages with these sequences that the reader may see,
// newest first. q is the store or a transaction. The plus sign keeps SQLite
// from walking the log from the first visible sequence on instead of looking
// the sequences up.
func (s *Service) pick(ctx context.Context, q store.Querier, v view, seqs []int64) ([]Message, error) {
	if len(seqs) == 0 {
		return nil, nil
	}
	list, err := store.Collect(ctx, q, scanSeen, seen+` AND +m.seq >= $4 AND m.seq IN `+store.In(5, len(seqs))+` ORDER BY m.seq DESC`,
		store.Args(seqs, v.GID, v.low, v.uid, v.first)...)
	if err != nil {
		return nil, fmt.Errorf("grouplog: messages: %w", err)
	}
	shown := list[:0]
	for _, m := range list {
		if v.all || m.visibleTo(v.uid) {
			shown = append(shown, m)
		}
	}
	return shown, nil
}

// people are the senders of messages: their accounts and name cards.
type people struct {
	accounts map[int64]*account.Account
	members  map[int64]*group.Member
}

// senders looks up who sent the messages, with a query at most for accounts
// and one for members that are not cached.
func (s *Service) senders(ctx context.Context, p place, list []Message) (people, error) {
	uids := make([]int64, 0, len(list))
	known := map[int64]bool{0: true}
	for i := range list {
		if uid := list[i].Sender; !known[uid] {
			known[uid] = true
			uids = append(uids, uid)
		}
	}
	var w people
	var err error
	if w.accounts, err = s.Accounts.ByUIDs(ctx, uids); err != nil {
		return w, err
	}
	w.members, err = s.Groups.MembersOf(ctx, p.home.GID, uids)
	return w, err
}

// item is m.item with its sender looked up in w.
func (w people) item(m *Message, p place, f form) []byte {
	if m.Sender == 0 {
		return m.item(p, nil, "", f)
	}
	a := w.accounts[m.Sender]
	if a == nil {
		a = &account.Account{UID: m.Sender} // deleted; its messages are still shown
	}
	card := ""
	if member := w.members[m.Sender]; member != nil {
		card = member.NameCard
	}
	return m.item(p, a, card, f)
}

// userID returns an account's name; "" of a deleted one, the system's of 0.
func (w people) userID(uid int64) string {
	if uid == 0 {
		return systemAccount
	}
	if a := w.accounts[uid]; a != nil {
		return a.UserID
	}
	return ""
}

// userIDs names accounts in the order of uids; deleted ones are left out.
func userIDs(who map[int64]*account.Account, uids []int64) []string {
	names := make([]string, 0, len(uids))
	for _, uid := range uids {
		if a := who[uid]; a != nil {
			names = append(names, a.UserID)
		}
	}
	return names
}
