package grouplog

import (
	"context"
	"encoding/json"
	"slices"

	"imserver/internal/command"
	"imserver/internal/group"
)

// address resolves the receivers of a directed message and the mentions. Those
// who are no members are left out.
func (s *Service) address(ctx context.Context, d *sending, req *sendRequest) error {
	if len(req.To_Account) > maxReceivers {
		return command.Errf(group.CodeTooMany, "more than %d receivers", maxReceivers)
	}
	ids := slices.Clone(req.To_Account)
	for _, a := range req.GroupAtInfo {
		if a.GroupAtAllFlag == 1 {
			d.mentions = []int64{0}
		} else {
			ids = append(ids, a.GroupAt_Account)
		}
	}
	if len(ids)-len(req.To_Account) > maxMentions || len(req.GroupAtInfo) > maxMentions+1 { // @all is none of them
		return command.Errf(codeTooManyAt, "more than %d mentions", maxMentions)
	}
	if len(req.GroupAtInfo) > 0 {
		d.message.Mentions, _ = json.Marshal(req.GroupAtInfo) // plain fields
	}
	if len(ids) == 0 {
		return nil
	}
	members, err := s.membersNamed(ctx, d.place, ids)
	if err != nil {
		return err
	}
	d.names = make(map[int64]string, len(members))
	for id, uid := range members {
		d.names[uid] = id
	}
	if len(req.To_Account) > 0 {
		d.message.Flags |= FlagDirected
		d.message.Receivers = pick(members, req.To_Account, d.sender.UID)
		if len(d.message.Receivers) == 0 {
			return command.Err(group.CodeBadParameter, "none of the receivers is a member")
		}
	}
	for _, a := range req.GroupAtInfo {
		uid := members[a.GroupAt_Account]
		if uid != 0 && uid != d.sender.UID && !slices.Contains(d.mentions, uid) {
			d.mentions = append(d.mentions, uid)
		}
	}
	if d.message.Flags&FlagDirected != 0 { // only who gets the message hears of its mentions
		d.mentions = directedMentions(d.mentions, d.message.Receivers)
	}
	return nil
}

func pick(members map[string]int64, ids []string, except int64) (uids []int64) {
	for _, id := range ids {
		if uid := members[id]; uid != 0 && uid != except && !slices.Contains(uids, uid) {
			uids = append(uids, uid)
		}
	}
	return uids
}

func directedMentions(mentions, receivers []int64) (out []int64) {
	for _, uid := range receivers {
		if slices.Contains(mentions, 0) || slices.Contains(mentions, uid) {
			out = append(out, uid)
		}
	}
	return out
}

// membersNamed returns the uids of those among ids that are members.
func (s *Service) membersNamed(ctx context.Context, p place, ids []string) (map[string]int64, error) {
	accounts, err := s.Accounts.LookupAll(ctx, p.App, ids)
	if err != nil {
		return nil, err
	}
	uids := make([]int64, 0, len(accounts))
	for _, a := range accounts {
		uids = append(uids, a.UID)
	}
	members, err := s.Groups.MembersOf(ctx, p.home.GID, uids)
	if err != nil {
		return nil, err
	}
	out := make(map[string]int64, len(members))
	for id, a := range accounts {
		if members[a.UID] != nil {
			out[id] = a.UID
		}
	}
	return out, nil
}
