package grouplog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/store"
	"imserver/internal/wire"
)

type seqEntry struct{ MsgSeq int64 }

func seqsOf(list []seqEntry) []int64 {
	out := make([]int64, 0, len(list))
	for _, e := range list {
		if !slices.Contains(out, e.MsgSeq) {
			out = append(out, e.MsgSeq)
		}
	}
	return out
}

// recallRequest is group_msg_recall (protocol 03 §12.3).
type recallRequest struct {
	GroupId    string
	TopicId    string
	MsgSeqList []seqEntry
	Reason     string
}

type recallResult struct {
	MsgSeq  int64
	RetCode int
}

type recallAnswer struct {
	RecallRetList []recallResult
}

// maxSeqs bounds the messages of one request (protocol 03 §16).
const (
	maxSeqs   = 30
	maxReason = 256 // bytes
)

func (r *recallRequest) check() error {
	if len(r.MsgSeqList) == 0 || len(r.MsgSeqList) > maxSeqs || len(r.Reason) > maxReason || command.CheckTexts(r.Reason) != nil {
		return command.Errf(group.CodeBadParameter, "MsgSeqList must have 1 to %d entries", maxSeqs)
	}
	return nil
}

// recall is group_msg_recall.
func (s *Service) recall(ctx context.Context, call *command.Call, req *recallRequest) (*recallAnswer, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	if ans, err := s.recallLive(ctx, call, req); ans != nil || err != nil {
		return ans, err
	}
	v, err := s.see(ctx, call, req.GroupId, req.TopicId)
	if err != nil {
		return nil, err
	}
	me, err := s.Groups.Member(ctx, v.home.GID, call.UID)
	if err != nil {
		return nil, err
	}
	list, err := s.pick(ctx, s.DB.Read, v, seqsOf(req.MsgSeqList))
	if err != nil {
		return nil, err
	}
	authors, err := s.senders(ctx, v.place, list)
	if err != nil {
		return nil, err
	}
	return s.recallBy(ctx, recaller{call, me, authors.members}, v, req)
}

// recallLive recalls in a live room, which has no log; nil when the group is none.
func (s *Service) recallLive(ctx context.Context, call *command.Call, req *recallRequest) (*recallAnswer, error) {
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, req.GroupId)
	if err != nil || g.Kind != group.LiveRoom || s.Rooms == nil {
		return nil, err
	}
	seqs := seqsOf(req.MsgSeqList)
	codes, err := s.Rooms.Recall(ctx, call, g, seqs, req.Reason)
	if err != nil {
		return nil, err
	}
	ans := &recallAnswer{}
	for _, seq := range seqs {
		ans.RecallRetList = append(ans.RecallRetList, recallResult{seq, codes[seq]})
	}
	return ans, nil
}

// recallBy recalls what its caller may, tells the members, and answers with a
// code for each message.
func (s *Service) recallBy(ctx context.Context, by recaller, v view, req *recallRequest) (*recallAnswer, error) {
	seqs := seqsOf(req.MsgSeqList)
	done, codes, err := s.mark(ctx, by, v, seqs, req.Reason)
	if err != nil {
		return nil, fmt.Errorf("grouplog: recall: %w", err)
	}
	for i := range done {
		s.tellRecall(v.place, &done[i], deviceOf(by.call))
	}
	ans := &recallAnswer{}
	for _, seq := range seqs {
		ans.RecallRetList = append(ans.RecallRetList, recallResult{seq, codes[seq]})
	}
	return ans, nil
}

// mark marks those of the messages as recalled that the member may recall, and
// returns them and a code for each of the others.
func (s *Service) mark(ctx context.Context, by recaller, v view, seqs []int64, reason string) (done []Message, codes map[int64]int, err error) {
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		done, codes = nil, map[int64]int{}
		now, err := s.lockForChange(ctx, tx, v.GID)
		if err != nil {
			return err
		}
		list, err := s.pick(ctx, tx, v, seqs)
		if err != nil {
			return err
		}
		for _, seq := range seqs {
			codes[seq] = codeNotFound
		}
		for _, m := range list {
			if codes[m.Seq] = by.refusal(s.Now().Unix(), v.home.Kind, &m); codes[m.Seq] != 0 || m.Flags&FlagRecalled != 0 { // recalling again changes nothing
				continue
			}
			m.Flags |= FlagRecalled
			m.Revoker, m.Reason, m.ChangedAt = by.call.UserID, reason, now
			done = append(done, m)
		}
		return s.writeRecalls(ctx, tx, v.GID, done, now)
	})
	return done, codes, err
}

// lockForChange locks a log's head, so that changes of its messages come one
// after the other, and returns a time in microseconds after the last change.
func (s *Service) lockForChange(ctx context.Context, tx *sql.Tx, log int64) (int64, error) {
	var last int64
	err := tx.QueryRowContext(ctx, `SELECT last_recall FROM group_logs WHERE log = $1`+s.DB.ForUpdate(), log).Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	return max(s.Now().UnixMicro(), last+1), nil
}

func (s *Service) writeRecalls(ctx context.Context, tx *sql.Tx, log int64, done []Message, now int64) error {
	if len(done) == 0 {
		return nil
	}
	seqs := make([]int64, len(done))
	for i := range done {
		seqs[i] = done[i].Seq
	}
	in := store.In(6, len(seqs))
	_, err := tx.ExecContext(ctx, `UPDATE group_messages SET flags = flags | $2, changed_at = $3, revoker = $4, reason = $5 WHERE log = $1 AND seq IN `+in,
		store.Args(seqs, any(log), FlagRecalled, now, done[0].Revoker, done[0].Reason)...)
	if err != nil {
		return err
	}
	in = store.In(2, len(seqs))
	if _, err = tx.ExecContext(ctx, `INSERT INTO group_quiet (log, seq, uid, at) SELECT log, seq, 0, time FROM group_messages WHERE log = $1 AND seq IN `+in+
		` ON CONFLICT DO NOTHING`, store.Args(seqs, any(log))...); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE group_logs SET last_recall = $2 WHERE log = $1`, log, now)
	return err
}

// recaller is who recalls: its membership, and those of the authors.
type recaller struct {
	call    *command.Call
	me      *group.Member
	authors map[int64]*group.Member
}

// refusal returns 0, or the code of the refusal. The author has a limited
// time; owners and an app's
// administrators recall anything at any time, admins what ordinary members sent.
func (r recaller) refusal(now int64, kind group.Kind, m *Message) int {
	limit := int64(r.call.App.RecallLimit.Seconds())
	self := m.Sender == r.call.UID
	role := group.Nobody
	if a := r.authors[m.Sender]; a != nil {
		role = a.Role
	}
	switch {
	case m.Flags&FlagTip != 0:
		return codeNotRecallable
	case self && limit > 0 && now-m.Time <= limit, r.me.Role >= group.Owner:
		return 0
	case self && limit == 0:
		return codeNoRecall
	case self:
		return codeTooLate
	case group.May(kind, r.me.Role, group.RecallAny, role, false):
		return 0
	}
	return group.CodeNoPermission
}

// tellRecall tells the members of a recall; not the acting device, where it
// would lower the unread count a second time (protocol 03 §15).
func (s *Service) tellRecall(p place, m *Message, device fanout.Device) {
	o := wire.OpenObject(make([]byte, 0, 384))
	o.Str("GroupId", p.home.ID)
	o.Str("TopicId", p.topicID())
	o.Int("MsgSeq", m.Seq)
	o.Int("Random", m.Random)
	o.Int("MsgRandom", m.Random)
	o.ID("TinyId", m.Sender)
	o.Int("MsgClientTime", m.ClientTime)
	o.Int("MsgTime", m.Time)
	o.Int("MsgTimeStamp", m.Time)
	o.Raw("RevokerInfo", m.revokerInfo())
	s.Hub.Publish(p.topic(), &fanout.Event{Item: p.notice("GroupWithdrawInfoArray", o.Close(), m.revokerInfo()), Except: device, Only: m.audience()})
}

// notifyRequest is one group of batch_get_group_notify (protocol 03 §12.10).
type notifyRequest struct {
	GroupId   string
	BeginTime int64 // µs
	EndTime   int64 // µs
	Limit     int
}

type notifyAnswer struct {
	GroupId       string
	NextMsgTime   int64 // µs; 0 = done
	NotifyMsgList []json.RawMessage
}

type notifyBatch struct {
	NotifyReqList []notifyRequest
}

type notifyBatchAnswer struct {
	NotifyRspList []*notifyAnswer
}

// Bounds of batch_get_group_notify.
const (
	maxNotifyGroups = 10
	maxNotify       = 100
)

// recalls is batch_get_group_notify: what was recalled in a span of time.
func (s *Service) recalls(ctx context.Context, call *command.Call, req *notifyBatch) (*notifyBatchAnswer, error) {
	if len(req.NotifyReqList) > maxNotifyGroups {
		return nil, command.Errf(group.CodeTooMany, "more than %d groups", maxNotifyGroups)
	}
	ans := &notifyBatchAnswer{NotifyRspList: []*notifyAnswer{}}
	for i := range req.NotifyReqList {
		one, err := s.recallsOfOne(ctx, call, &req.NotifyReqList[i])
		if err != nil {
			if command.CodeOf(err) == command.CodeInternal {
				return nil, err
			}
			one = &notifyAnswer{GroupId: req.NotifyReqList[i].GroupId, NotifyMsgList: []json.RawMessage{}} // left meanwhile
		}
		ans.NotifyRspList = append(ans.NotifyRspList, one)
	}
	return ans, nil
}

// recallsOfOne is get_group_notify, v2's form of the same.
func (s *Service) recallsOfOne(ctx context.Context, call *command.Call, req *notifyRequest) (*notifyAnswer, error) {
	v, err := s.see(ctx, call, req.GroupId, "")
	if err != nil {
		return nil, err
	}
	limit := req.Limit
	if limit <= 0 || limit > maxNotify {
		limit = maxNotify
	}
	end := req.EndTime
	if end <= 0 {
		end = s.Now().UnixMicro()
	}
	list, err := store.Collect(ctx, s.DB.Read, scanSeen, seen+` AND m.changed_at > 0 AND m.changed_at >= $4 AND m.changed_at <= $5 AND m.seq >= $6
		ORDER BY m.changed_at LIMIT $7`, v.GID, v.low, v.uid, max(req.BeginTime, 0), end, v.first, limit+1)
	if err != nil {
		return nil, fmt.Errorf("grouplog: recalls: %w", err)
	}
	ans := &notifyAnswer{GroupId: req.GroupId, NotifyMsgList: []json.RawMessage{}}
	if len(list) > limit {
		ans.NextMsgTime = list[limit].ChangedAt
		list = list[:limit]
	}
	for i := range list {
		m := &list[i]
		if !m.visibleTo(v.uid) {
			continue
		}
		o := wire.OpenObject(nil)
		o.Int("MsgSeq", m.Seq)
		o.Int("Random", m.Random)
		o.Int("ClientTime", m.ClientTime)
		o.ID("TinyId", m.Sender)
		o.Raw("RevokerInfo", m.revokerInfo())
		ans.NotifyMsgList = append(ans.NotifyMsgList, o.Close())
	}
	return ans, nil
}
