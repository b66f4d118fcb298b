package group

import (
	"context"
	"database/sql"

	"imserver/internal/account"
	"imserver/internal/command"
)

// Imports bring groups from elsewhere, with their past: first the group, then
// its messages, then its members (protocol 06 §5.6). Nobody is told.

// pastTime checks a moment of the past, unix seconds; 0 is now.
func pastTime(field string, t, now int64) (int64, error) {
	if t == 0 {
		return now, nil
	}
	if t < 0 || t > now {
		return 0, command.Errf(CodeBadParameter, "%s is not in the past", field)
	}
	return t, nil
}

// importGroup is import_group: create_group without members, at a time of the
// past.
func (s *Service) importGroup(ctx context.Context, call *command.Call, req *createRequest) (*createAnswer, error) {
	if len(req.MemberList) > 0 {
		return nil, command.Err(CodeBadParameter, "members are imported by import_group_member")
	}
	g, err := newGroup(call, req)
	if err != nil {
		return nil, err
	}
	if g.Kind == LiveRoom {
		return nil, errNotForKind
	}
	if g.CreatedAt, err = pastTime("CreateTime", req.CreateTime, s.Now().Unix()); err != nil {
		return nil, err
	}
	return s.found(ctx, call, req, g, func(actor, *Info, []int64) []notice { return nil })
}

// importTopic is import_topic: create_topic at a time of the past.
func (s *Service) importTopic(ctx context.Context, call *command.Call, req *topicRequest) (*topicAnswer, error) {
	created, err := pastTime("CreateTime", req.CreateTime, s.Now().Unix())
	if err != nil {
		return nil, err
	}
	return s.addTopic(ctx, call, req, created, func(*Info) []notice { return nil })
}

type importMembersRequest struct {
	GroupId    string
	MemberList []importedMember
}

type importedMember struct {
	Member_Account string
	Role           string
	JoinTime       int64 // unix s
	UnreadMsgNum   int64
}

// maxImported bounds the members of one request.
const maxImported = 300

// importMembers is import_group_member: members with a role, the time they
// joined, which is where their history begins, and how much they have not read.
func (s *Service) importMembers(ctx context.Context, call *command.Call, req *importMembersRequest) (*addAnswer, error) {
	if len(req.MemberList) == 0 || len(req.MemberList) > maxImported {
		return nil, command.Errf(CodeBadParameter, "MemberList has 1 to %d entries", maxImported)
	}
	known, err := s.Groups.Group(ctx, call.App.SDKAppID, req.GroupId)
	if err != nil {
		return nil, err
	}
	if known.Kind == LiveRoom || known.Kind == Topic {
		return nil, errNotForKind
	}
	ids := make([]string, len(req.MemberList))
	inputs := make(map[string]importedMember, len(req.MemberList))
	for i, m := range req.MemberList {
		ids[i], inputs[m.Member_Account] = m.Member_Account, m
	}
	accounts, err := s.accountsFor(ctx, call.App.SDKAppID, ids)
	if err != nil {
		return nil, err
	}
	at, err := s.door(ctx, known.GID)
	if err != nil {
		return nil, err
	}
	people, err := s.withPast(ctx, known, accounts, inputs, at.head)
	if err != nil {
		return nil, err
	}
	ans := &addAnswer{}
	_, err = s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		added, err := s.enter(ctx, tx, g, people, at.head)
		if err != nil {
			return err
		}
		out.touched, out.joined, out.places = added, added, at.places
		in := make(map[int64]bool, len(added))
		for _, uid := range added {
			in[uid] = true
		}
		ans.MemberList = nil
		for _, a := range accounts {
			result := alreadyIn
			if in[a.UID] {
				result = addedNow
			}
			ans.MemberList = append(ans.MemberList, addResult{a.UserID, result})
		}
		return nil
	})
	return ans, err
}

// withPast makes the newcomers that an import describes. Their history begins
// behind what was said before they joined.
func (s *Service) withPast(ctx context.Context, g *Info, accounts []*account.Account, inputs map[string]importedMember, head int64) ([]newcomer, error) {
	now := s.Now().Unix()
	people := make([]newcomer, len(accounts))
	moments := make([]int64, len(accounts))
	for i, a := range accounts {
		in := inputs[a.UserID]
		joined, err := pastTime("JoinTime", in.JoinTime, now)
		if err != nil {
			return nil, err
		}
		if in.UnreadMsgNum < 0 {
			return nil, command.Err(CodeBadParameter, "UnreadMsgNum is negative")
		}
		people[i] = newcomer{uid: a.UID, role: Ordinary, past: &past{joinedAt: joined, readSeq: max(0, head-in.UnreadMsgNum)}}
		switch in.Role {
		case "", "Member":
		case "Admin":
			if g.Kind == Work {
				return nil, errNotForKind
			}
			people[i].role = Admin
		default:
			return nil, command.Err(CodeBadParameter, "Role is Admin or Member")
		}
		moments[i] = joined
	}
	before, err := s.Messages.Before(ctx, g.GID, moments)
	if err != nil {
		return nil, err
	}
	for i, a := range accounts {
		people[i].past.joinSeq = head
		if inputs[a.UserID].JoinTime > 0 {
			people[i].past.joinSeq = min(before[moments[i]], head)
		}
	}
	return people, nil
}
