package group

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
)

// outbox gathers, inside a transaction, what is to be told when it has
// committed. It is emptied when the transaction has to run again.
type outbox struct {
	touched []int64 // members whose rows changed
	joined  []int64
	places  []fanout.Position // where the logs stood when they came
	left    []int64
	notices []notice
	tips    []Tip
	events  []event // for everybody
	gone    []int64
	// destroyed is set when the group is no more: nobody listens to it any
	// longer. It lists who came in a moment ago, and may not listen to it yet.
	destroyed *[]int64
}

// event is an Event 6 tip: its MsgBody, and what it is about if that is a topic
// of the group that changed.
type event struct {
	body  any
	about *Info
}

// change runs fn in a transaction that holds the group's row, so that changes
// of one group happen one after the other, and then tells what fn put into the
// outbox. fn gets the group as it is now and may change that copy. It returns
// when the tips are stored.
func (s *Service) change(ctx context.Context, call *command.Call, groupID string, fn func(tx *sql.Tx, g *Info, out *outbox) error) (*Info, error) {
	if !plausibleID(groupID) {
		return nil, errBadID
	}
	end, err := s.turns.take(ctx, call.App.SDKAppID, groupID)
	if err != nil {
		return nil, err
	}
	g, tips, err := s.changeInTurn(ctx, call, groupID, fn)
	end()
	if err != nil {
		return nil, err
	}
	for _, stored := range tips {
		if err := <-stored; err != nil {
			s.Log.Error("a group tip was not stored", "group", g.GID, "request", call.RequestID, "err", err)
		}
	}
	return g, nil
}

// changeInTurn also returns what tells when each tip is stored.
func (s *Service) changeInTurn(ctx context.Context, call *command.Call, groupID string, fn func(tx *sql.Tx, g *Info, out *outbox) error) (*Info, []<-chan error, error) {
	var g *Info
	var out *outbox
	err := s.DB.Tx(ctx, func(tx *sql.Tx) error {
		g, out = &Info{}, &outbox{}
		err := scanInfo(tx.QueryRowContext(ctx, `SELECT `+infoColumns+` FROM groups g WHERE g.app = $1 AND g.group_id = $2`+s.DB.ForUpdate(),
			call.App.SDKAppID, groupID).Scan, g)
		if errors.Is(err, sql.ErrNoRows) {
			return errNoGroup
		}
		if err != nil {
			return fmt.Errorf("group: lock: %w", err)
		}
		if err := fn(tx, g, out); err != nil {
			return err
		}
		return s.keepNotices(ctx, tx, g, out.notices)
	})
	if err != nil {
		return nil, nil, err
	}
	return g, s.tell(ctx, call, g, out), nil
}

// tell publishes what a committed change put into its outbox: first what makes
// connections join or leave the group's topic, then the personal notices, then
// what everybody sees (protocol 03 §7.3). It waits for nothing; what it returns
// tells when each tip is stored.
func (s *Service) tell(ctx context.Context, call *command.Call, g *Info, out *outbox) (tips []<-chan error) {
	ctx = context.WithoutCancel(ctx) // committed: the rest is owed even to a caller who has gone
	s.Groups.forget(g.GID, out.touched...)
	for _, gid := range out.gone {
		s.Groups.forget(gid)
	}
	topic := s.hubTopic(g)
	if len(out.joined) > 0 {
		s.toEach(out.joined, fanout.NewJoin(topic, g.turn, out.places))
	}
	if len(out.left) > 0 {
		s.toEach(out.left, fanout.NewLeave(topic, g.turn))
	}
	if g.Kind == LiveRoom {
		s.tellRoom(ctx, call, g, out)
		return nil
	}
	for i := range out.notices {
		s.publishNotice(g, &out.notices[i], actorOf(call).device)
	}
	for _, e := range out.events {
		about := cmp.Or(e.about, g)
		s.everybody(g, s.eventItem(about, 6, 0, e.body))
	}
	for _, tip := range out.tips {
		tips = append(tips, s.Messages.AppendTip(ctx, tip))
	}
	if out.destroyed != nil {
		leave := fanout.NewLeave(topic, lastTurn)
		s.Hub.Publish(topic, leave)
		s.toEach(*out.destroyed, leave)
	}
	return tips
}

// lastTurn is the turn in which everybody leaves a group that is no more.
const lastTurn = math.MaxInt64

// toEach hands an event to the devices of each account.
func (s *Service) toEach(uids []int64, e *fanout.Event) {
	for _, uid := range uids {
		s.Hub.Publish(fanout.User(uid), e)
	}
}

// hubTopic is where everybody in the group listens.
func (s *Service) hubTopic(g *Info) fanout.Topic { return fanout.Group(g.HubID()) }

// everybody hands an event item to all members, with one publication.
func (s *Service) everybody(g *Info, item []byte) {
	s.Hub.Publish(s.hubTopic(g), &fanout.Event{Item: item})
}

// systemAccount is the sender of tips and notices.
const systemAccount = "@TIM#SYSTEM"

// groupInfo is the GroupInfo of events; the SDK drops the rest of a frame
// when it is missing (protocol 03 §3.2).
type groupInfo struct {
	GroupId          string
	GroupName        string
	GroupType        string
	From_Account     string
	MillionGroupFlag int    `json:",omitempty"`
	TopicId          string `json:",omitempty"`
}

// infoForEvent returns the GroupInfo object of the group's events.
func (i *Info) infoForEvent() groupInfo {
	gi := groupInfo{GroupId: i.CommunityID(), GroupName: i.Name, GroupType: i.Kind.String(), From_Account: systemAccount}
	if i.Kind == Topic {
		gi.MillionGroupFlag, gi.TopicId = 2, i.ID
	}
	return gi
}

type tipItem struct {
	ToGroupId     string
	From_Account  string
	TinyId        string
	MsgSeq        int64
	MsgRandom     int64
	ClientSeq     int64
	MsgTimeStamp  int64
	MsgClientTime int64
	MsgPriority   int
	GroupInfo     groupInfo
	MsgBody       any
}

// eventItem builds an event of the group that is not stored: Event 6 and the
// notices of Event 5. A seq of 0 is drawn for notices.
func (s *Service) eventItem(g *Info, event int, seq int64, body any) []byte {
	now := s.Now().Unix()
	item := tipItem{ToGroupId: g.CommunityID(), From_Account: systemAccount, TinyId: "0", MsgSeq: seq, MsgRandom: drawNumber(),
		ClientSeq: seq, MsgTimeStamp: now, MsgClientTime: now, MsgPriority: 2, GroupInfo: g.infoForEvent(), MsgBody: body}
	return wrapTips(event, item)
}

func wrapTips(event int, item any) []byte {
	b, _ := json.Marshal(struct { // plain fields and bodies of ours
		Event     int
		GroupTips [1]any
	}{event, [1]any{item}})
	return b
}

// drawNumber draws a message number; the SDK replaces 1 and 2 (protocol 03 §3.4).
func drawNumber() int64 { return 1000 + rand.Int64N(1<<31-1000) }

// person is who is spoken of in tips and notices.
type person struct {
	UserId   string
	NickName string
	ImageUrl string
}

func personOf(a *account.Account) person {
	return person{UserId: a.UserID, NickName: a.Nick, ImageUrl: a.Avatar}
}

// operator returns the actor as tips show it.
func (s *Service) operator(ctx context.Context, act actor) person {
	if act.uid != 0 {
		if a, err := s.Accounts.ByUID(ctx, act.uid); err == nil {
			return personOf(a)
		}
	}
	return person{UserId: act.id}
}

// accountsFor finds every named account; 10019 if one is unknown
// (protocol 03 §7.3). Double names count once.
func (s *Service) accountsFor(ctx context.Context, app uint32, ids []string) ([]*account.Account, error) {
	found, err := s.Accounts.LookupAll(ctx, app, ids)
	if err != nil {
		return nil, err
	}
	list := make([]*account.Account, 0, len(ids))
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		a := found[id]
		if a == nil {
			return nil, errUnknownUser
		}
		list = append(list, a)
	}
	return list, nil
}

func uidsOf(accounts []*account.Account) []int64 {
	uids := make([]int64, len(accounts))
	for i, a := range accounts {
		uids[i] = a.UID
	}
	return uids
}

// values returns "($f,$f+1,…),(…)" for rows of width placeholders from first on.
func values(first, width, rows int) string {
	parts := make([]string, rows)
	for i := range parts {
		parts[i] = store.In(first+i*width, width)
	}
	return strings.Join(parts, ",")
}
