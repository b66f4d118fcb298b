package liveroom

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"imserver/internal/account"
	"imserver/internal/group"
)

// OpTypes of tips (protocol 03 §3.3).
const (
	tipJoined   = 1
	tipQuit     = 2
	tipBanned   = 10
	tipUnbanned = 11
)

// Bounds of the tips about who comes and goes: so many a second tell of one
// account each. Who comes or goes besides is told of together at the end of
// the second, the first of them by name, and the others only by their number.
const (
	tipsPerSecond = 10
	tipNames      = 20
)

// tips keeps a rush of watchers from becoming a storm of tips.
type tips struct {
	mu     sync.Mutex
	second int64           // guarded by mu, as all below
	sent   int             // tips of one account each in that second
	more   map[int][]int64 // accounts waiting for the end of it, by OpType
}

type tipBody struct {
	OpType                     int
	Operator_Account           string
	List_Account               []string
	GroupJoinType              int
	MemberNum                  int
	OnlineMemberInfo           onlineInfo
	MsgOperatorMemberExtraInfo person
	MsgMemberExtraInfo         []person
}

type onlineInfo struct {
	OnlineMemberNum int
	ExpireTime      int
}

// onlineTTL is for how many seconds a client may believe the number of
// watchers (protocol 03 §4.5).
const onlineTTL = 60

// announce tells the room that an account has come or gone.
func (s *Service) announce(g *group.Info, op int, uid int64) {
	app := s.Apps(g.App)
	if uid < 0 || app == nil || !g.Kind.Settings(app).MemberTips { // visitors have no names
		return
	}
	r := s.room(g.GID)
	if r == nil {
		s.tip(g, op, []int64{uid})
		return
	}
	now := time.Now()
	t := &r.tips
	t.mu.Lock()
	defer t.mu.Unlock()
	if sec := now.Unix(); sec != t.second {
		t.second, t.sent = sec, 0
	}
	if t.sent < tipsPerSecond && len(t.more) == 0 {
		t.sent++
		go s.tip(g, op, []int64{uid})
		return
	}
	if t.more == nil {
		t.more = map[int][]int64{}
		time.AfterFunc(time.Second-time.Duration(now.Nanosecond()), func() { s.announceRest(g, t) })
	}
	if len(t.more[op]) < tipNames {
		t.more[op] = append(t.more[op], uid)
	}
}

func (s *Service) announceRest(g *group.Info, t *tips) {
	t.mu.Lock()
	more := t.more
	t.more = nil
	t.mu.Unlock()
	for op, uids := range more {
		s.tip(g, op, uids)
	}
}

// tip publishes a tip about accounts who did it themselves.
func (s *Service) tip(g *group.Info, op int, uids []int64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		s.Log.Error("a tip of a live room is lost", "room", g.GID, "err", err)
		return
	}
	var list []*account.Account
	for _, uid := range uids {
		if a := who[uid]; a != nil {
			list = append(list, a)
		}
	}
	if len(list) > 0 {
		s.tipBy(g, op, personOf(list[0]), list)
	}
}

// tipBy publishes a tip about accounts that somebody did something to.
func (s *Service) tipBy(g *group.Info, op int, by person, about []*account.Account) {
	count := s.known(g.GID)
	body := tipBody{OpType: op, Operator_Account: by.UserId, MsgOperatorMemberExtraInfo: by, MemberNum: count,
		OnlineMemberInfo: onlineInfo{count, onlineTTL}}
	if op == tipJoined {
		body.GroupJoinType = 1
	}
	for _, a := range about {
		body.List_Account = append(body.List_Account, a.UserID)
		body.MsgMemberExtraInfo = append(body.MsgMemberExtraInfo, personOf(a))
	}
	raw, _ := json.Marshal(body) // plain fields
	s.publish(&Event{Room: g.GID, Kind: eventTip, Body: systemBody(g, s.Now(), raw), Count: count}, s.boundsOf(g.GID), nil)
}

// Tell implements [group.Rooms]: it hands an event of the system to everybody
// in the room.
func (s *Service) Tell(_ context.Context, g *group.Info, event int, body []byte) {
	s.publish(&Event{Room: g.GID, Kind: event, Body: systemBody(g, s.Now(), body)}, s.boundsOf(g.GID), nil)
}

// Closed implements [group.Rooms]: the group is destroyed, and body the notice
// that says so.
func (s *Service) Closed(ctx context.Context, g *group.Info, body []byte) {
	told := make(chan struct{})
	s.publish(&Event{Room: g.GID, Kind: eventNotice, Body: systemBody(g, s.Now(), body), Last: true}, s.boundsOf(g.GID), func(error) { close(told) })
	select { // it would make the ledger remember the room anew
	case <-told:
	case <-ctx.Done():
	}
	if err := s.Ledger.Forget(ctx, g.GID); err != nil {
		s.Log.Warn("a destroyed live room is still in the ledger", "room", g.GID, "err", err)
	}
}
