package grouplog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/store"
	"imserver/internal/wire"
)

// receiptRequest names messages (protocol 02 §11.2, §11.3).
type receiptRequest struct {
	GroupId      string
	TopicId      string
	MsgSeqList   []seqEntry
	From_Account string // of an administrator: the member who has read
}

type receiptResult struct {
	MsgSeq int64
	Code   int
}

type receiptSent struct {
	MsgSeqList []receiptResult
}

// withReceipts returns the messages that the caller may see, and codes for
// those that are not there or have no receipts.
func (s *Service) withReceipts(ctx context.Context, call *command.Call, req *receiptRequest) (view, []Message, map[int64]int, error) {
	if len(req.MsgSeqList) == 0 || len(req.MsgSeqList) > maxPage {
		return view{}, nil, nil, command.Errf(group.CodeBadParameter, "MsgSeqList must have 1 to %d entries", maxPage)
	}
	v, err := s.seeAs(ctx, call, req)
	if err != nil {
		return v, nil, nil, err
	}
	seqs := seqsOf(req.MsgSeqList)
	list, err := s.pick(ctx, s.DB.Read, v, seqs)
	if err != nil {
		return v, nil, nil, err
	}
	codes := make(map[int64]int, len(seqs))
	for _, seq := range seqs {
		codes[seq] = codeNotFound
	}
	list = slices.DeleteFunc(list, func(m Message) bool {
		codes[m.Seq] = 0
		if m.Flags&FlagReceipt == 0 {
			codes[m.Seq] = codeReceiptNone
		}
		return m.Flags&FlagReceipt == 0
	})
	return v, list, codes, nil
}

// seeAs is see, or the view of the member that an administrator acts for.
func (s *Service) seeAs(ctx context.Context, call *command.Call, req *receiptRequest) (view, error) {
	if call.Kind != command.Admins || req.From_Account == "" {
		return s.see(ctx, call, req.GroupId, req.TopicId)
	}
	member, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, req.From_Account)
	if err != nil {
		return view{}, command.Err(group.CodeUnknownUser, "From_Account does not exist")
	}
	p, err := s.place(ctx, call.App.SDKAppID, req.GroupId, req.TopicId)
	if err != nil {
		return view{}, err
	}
	return s.view(ctx, call.App, p, member.UID)
}

// sendReceipts is group_msg_receipt: the caller has read these messages; their
// senders are told (protocol 02 §11.2, §11.4).
func (s *Service) sendReceipts(ctx context.Context, call *command.Call, req *receiptRequest) (*receiptSent, error) {
	if call.Kind == command.Admins && req.From_Account == "" {
		return nil, command.Err(group.CodeBadParameter, "From_Account is missing")
	}
	v, list, codes, err := s.withReceipts(ctx, call, req)
	if err != nil {
		return nil, err
	}
	ans := &receiptSent{}
	for _, seq := range seqsOf(req.MsgSeqList) {
		ans.MsgSeqList = append(ans.MsgSeqList, receiptResult{seq, codes[seq]})
	}
	list = slices.DeleteFunc(list, func(m Message) bool { return m.Sender == v.uid })
	if len(list) == 0 {
		return ans, nil
	}
	news, err := s.addReceipts(ctx, v.GID, v.uid, list)
	if err != nil || len(news) == 0 {
		return ans, err
	}
	list = slices.DeleteFunc(list, func(m Message) bool { return !slices.Contains(news, m.Seq) })
	counts, err := s.receiptCounts(ctx, v, list)
	if err != nil {
		return nil, err
	}
	for i := range list {
		m := &list[i]
		o := wire.OpenObject(nil)
		o.Int("MsgSeq", m.Seq)
		o.Int("MsgRandom", m.Random)
		o.ID("TinyId", m.Sender)
		o.Int("MsgClientTime", m.ClientTime)
		o.Int("ReadNum", counts[m.Seq].ReadNum)
		o.Int("UnreadNum", counts[m.Seq].UnreadNum)
		s.Hub.Push(m.Sender, v.notice("GroupMsgReceiptList", o.Close(), nil), fanout.Device{})
	}
	return ans, nil
}

// addReceipts stores receipts and returns the sequences that had none of uid.
func (s *Service) addReceipts(ctx context.Context, log, uid int64, list []Message) ([]int64, error) {
	query, args := []byte(`INSERT INTO group_receipts (log, uid, at, seq) VALUES `), []any{log, uid, s.Now().Unix()}
	for i := range list {
		if i > 0 {
			query = append(query, ',')
		}
		args = append(args, list[i].Seq)
		query = fmt.Appendf(query, "($1,$2,$3,$%d)", len(args))
	}
	query = append(query, ` ON CONFLICT (log, seq, uid) DO NOTHING RETURNING seq`...)
	news, err := store.Collect(ctx, s.DB.Write, func(rows *sql.Rows, seq *int64) error { return rows.Scan(seq) }, string(query), args...)
	if err != nil {
		return nil, fmt.Errorf("grouplog: receipts: %w", err)
	}
	return news, nil
}

// receiptCount is how many members have read a message, and how many have not.
type receiptCount struct {
	MsgSeq    int64
	Code      int
	ReadNum   int64
	UnreadNum int64
}

func (s *Service) receiptCounts(ctx context.Context, v view, list []Message) (map[int64]receiptCount, error) {
	out := make(map[int64]receiptCount, len(list))
	if len(list) == 0 {
		return out, nil
	}
	seqs := make([]int64, len(list))
	for i := range list {
		seqs[i] = list[i].Seq
	}
	type row struct{ seq, n int64 }
	rows, err := store.Collect(ctx, s.DB.Write, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.seq, &r.n) },
		`SELECT seq, count(*) FROM group_receipts WHERE log = $1 AND seq IN `+store.In(2, len(seqs))+` GROUP BY seq`, store.Args(seqs, any(v.GID))...)
	if err != nil {
		return nil, fmt.Errorf("grouplog: receipts: %w", err)
	}
	read := make(map[int64]int64, len(rows))
	for _, r := range rows {
		read[r.seq] = r.n
	}
	members := int64(v.home.MemberNum)
	for i := range list {
		m := &list[i]
		of := members - 1
		if m.Flags&FlagDirected != 0 {
			of = int64(len(m.Receivers))
		}
		out[m.Seq] = receiptCount{MsgSeq: m.Seq, ReadNum: read[m.Seq], UnreadNum: max(0, of-read[m.Seq])}
	}
	return out, nil
}

type receiptsAnswer struct {
	GroupMsgReceiptList []receiptCount
}

// receipts is get_group_msg_receipt.
func (s *Service) receipts(ctx context.Context, call *command.Call, req *receiptRequest) (*receiptsAnswer, error) {
	v, list, codes, err := s.withReceipts(ctx, call, req)
	if err != nil {
		return nil, err
	}
	counts, err := s.receiptCounts(ctx, v, list)
	if err != nil {
		return nil, err
	}
	ans := &receiptsAnswer{GroupMsgReceiptList: []receiptCount{}}
	for _, seq := range seqsOf(req.MsgSeqList) {
		c := counts[seq]
		c.MsgSeq, c.Code = seq, codes[seq]
		ans.GroupMsgReceiptList = append(ans.GroupMsgReceiptList, c)
	}
	return ans, nil
}

// receiptDetailRequest is get_group_msg_receipt_detail (protocol 02 §11.3).
type receiptDetailRequest struct {
	GroupId string
	TopicId string
	MsgSeq  int64
	Flag    int             // 0 who has read, 1 who has not
	Filter  int             // lite's name of it
	Cursor  json.RawMessage // "" or what the last page gave
	Num     int
	Count   int // REST's name of it
}

type readAccount struct {
	Read_Account string
	Read_Time    int64
}

type unreadAccount struct {
	Unread_Account string
}

type receiptDetailAnswer struct {
	MsgSeq     int64
	Cursor     string
	IsFinish   int
	IsFinished int // the newer spelling (protocol 06 §3)
	ReadList   []readAccount
	UnreadList []unreadAccount
}

// receiptMembers is get_group_msg_receipt_detail: who has read a message, or
// who has not, in pages by account.
func (s *Service) receiptMembers(ctx context.Context, call *command.Call, req *receiptDetailRequest) (*receiptDetailAnswer, error) {
	v, list, codes, err := s.withReceipts(ctx, call, &receiptRequest{GroupId: req.GroupId, TopicId: req.TopicId, MsgSeqList: []seqEntry{{req.MsgSeq}}})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, command.Err(codes[req.MsgSeq], "the message does not exist or has no receipts")
	}
	after := int64(0)
	if text := strings.Trim(string(req.Cursor), `"`); text != "" && text != "null" {
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
			return nil, command.Err(group.CodeBadParameter, "Cursor is not one of this list")
		}
	}
	num := min(max(req.Num, req.Count, 1), 2*maxPage)
	type row struct{ uid, at int64 }
	query := `SELECT uid, at FROM group_receipts WHERE log = $1 AND seq = $2 AND uid > $3 ORDER BY uid LIMIT $4`
	args := []any{v.GID, req.MsgSeq, after, num + 1}
	unread := req.Flag == 1 || req.Filter == 1
	if unread {
		query = `SELECT m.uid, 0 FROM group_members m WHERE m.gid = $5 AND m.uid > $3 AND m.uid <> $6 AND ($7 = '' OR $7 LIKE '%,' || CAST(m.uid AS TEXT) || ',%')
			AND NOT EXISTS (SELECT 1 FROM group_receipts r WHERE r.log = $1 AND r.seq = $2 AND r.uid = m.uid) ORDER BY m.uid LIMIT $4`
		args = append(args, v.home.GID, list[0].Sender, joinUIDs(list[0].Receivers))
	}
	rows, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.uid, &r.at) }, query, args...)
	if err != nil {
		return nil, fmt.Errorf("grouplog: receipt members: %w", err)
	}
	ans := &receiptDetailAnswer{MsgSeq: req.MsgSeq, IsFinish: 1, IsFinished: 1, ReadList: []readAccount{}, UnreadList: []unreadAccount{}}
	if len(rows) > num {
		rows = rows[:num]
		ans.IsFinish, ans.IsFinished, ans.Cursor = 0, 0, strconv.FormatInt(rows[num-1].uid, 10)
	}
	uids := make([]int64, 0, len(rows))
	for _, r := range rows {
		uids = append(uids, r.uid)
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		a := who[r.uid]
		switch {
		case a == nil:
		case unread:
			ans.UnreadList = append(ans.UnreadList, unreadAccount{a.UserID})
		default:
			ans.ReadList = append(ans.ReadList, readAccount{a.UserID, r.at})
		}
	}
	return ans, nil
}

// receiptsOfRequest is get_group_msg_receipts_by_users (protocol 02 §11.3).
type receiptsOfRequest struct {
	GroupId           string
	TopicId           string
	MemberReadMsgList []struct {
		MsgSeq             int64
		MemberList_Account []string
	}
}

type receiptsOfEntry struct {
	MsgSeq   int64
	ReadList []readAccount
}

type receiptsOfAnswer struct {
	MsgReadList []receiptsOfEntry
}

// maxAsked bounds the accounts of one get_group_msg_receipts_by_users.
const maxAsked = 500

// receiptsOf tells which of some members have read which messages, and when.
func (s *Service) receiptsOf(ctx context.Context, call *command.Call, req *receiptsOfRequest) (*receiptsOfAnswer, error) {
	var ask receiptRequest
	var ids []string
	for _, e := range req.MemberReadMsgList {
		ask.MsgSeqList = append(ask.MsgSeqList, seqEntry{e.MsgSeq})
		ids = append(ids, e.MemberList_Account...)
	}
	if len(ids) > maxAsked {
		return nil, command.Errf(group.CodeTooMany, "more than %d accounts", maxAsked)
	}
	ans := &receiptsOfAnswer{MsgReadList: []receiptsOfEntry{}}
	if len(ids) == 0 {
		return ans, nil
	}
	ask.GroupId, ask.TopicId = req.GroupId, req.TopicId
	v, list, _, err := s.withReceipts(ctx, call, &ask)
	if err != nil || len(list) == 0 {
		return ans, err
	}
	accounts, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, ids)
	if err != nil {
		return nil, err
	}
	seqs := make([]int64, len(list))
	for i := range list {
		seqs[i] = list[i].Seq
	}
	type row struct{ seq, uid, at int64 }
	rows, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.seq, &r.uid, &r.at) },
		`SELECT seq, uid, at FROM group_receipts WHERE log = $1 AND seq IN `+store.In(2, len(seqs)), store.Args(seqs, any(v.GID))...)
	if err != nil {
		return nil, fmt.Errorf("grouplog: receipts: %w", err)
	}
	type key struct{ seq, uid int64 }
	at := make(map[key]int64, len(rows))
	for _, r := range rows {
		at[key{r.seq, r.uid}] = r.at
	}
	for _, e := range req.MemberReadMsgList {
		entry := receiptsOfEntry{MsgSeq: e.MsgSeq, ReadList: []readAccount{}}
		for _, id := range e.MemberList_Account {
			if a := accounts[id]; a != nil && at[key{e.MsgSeq, a.UID}] > 0 {
				entry.ReadList = append(entry.ReadList, readAccount{id, at[key{e.MsgSeq, a.UID}]})
			}
		}
		ans.MsgReadList = append(ans.MsgReadList, entry)
	}
	return ans, nil
}
