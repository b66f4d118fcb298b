package profile

import (
	"context"

	"imserver/internal/command"
)

// Most accounts of one request (protocol 04 §2, 06 §5.3).
const (
	maxUsers      = 1000
	maxAdminUsers = 100
)

// notFound stands for an account that does not exist: the SDKs drop it
// silently (protocol 04 §2).
const notFound = "@TLS#NOT_FOUND"

// Register adds the profile commands to the table (protocol 04 §2, 06 §5.3).
func (s *Service) Register(t *command.Table) {
	command.Handle(t, "profile.portrait_get_all", command.Users, s.getAll)
	command.Handle(t, "profile.portrait_set", command.Users, s.setOwn)
	command.Handle(t, "profile.portrait_get", command.Admins, s.adminGet)
	command.Handle(t, "profile.portrait_set", command.Admins, s.adminSet)
}

type getAllRequest struct {
	From_Account string
	UserItem     []struct {
		To_Account string
	}
}

type userProfile struct {
	To_Account  string
	ProfileItem []item
	ResultCode  int
	ResultInfo  string
}

// sequenced is userProfile as users get it: sequences are always 0, because
// the SDKs always ask for everything.
type sequenced struct {
	userProfile
	StandardSequence int
	CustomSequence   int
}

type getAllAnswer struct {
	UserProfileItem         []sequenced
	CurrentStandardSequence int
}

func (s *Service) getAll(ctx context.Context, call *command.Call, req *getAllRequest) (ans getAllAnswer, err error) {
	if err := own(call, req.From_Account); err != nil {
		return ans, err
	}
	if len(req.UserItem) == 0 || len(req.UserItem) > maxUsers {
		return ans, command.Errf(codeParameter, "UserItem must have 1 to %d accounts", maxUsers)
	}
	names := make([]string, len(req.UserItem))
	for i, u := range req.UserItem {
		names[i] = u.To_Account
	}
	found, err := s.named(ctx, call, names)
	if err != nil {
		return ans, err
	}
	ans.UserProfileItem = make([]sequenced, len(names))
	for i, id := range names {
		p := &ans.UserProfileItem[i].userProfile
		if r := found[id]; r != nil {
			p.To_Account, p.ProfileItem = id, r.items(call.App)
		} else {
			p.To_Account, p.ProfileItem = notFound, []item{}
		}
	}
	return ans, nil
}

// own refuses requests in another user's name.
func own(call *command.Call, from string) error {
	if from != "" && from != call.UserID {
		return command.Err(codeNotYours, "From_Account is not the caller")
	}
	return nil
}

type setRequest struct {
	From_Account string
	ProfileItem  []item // lite spells tag and value small; the decoder takes both
}

// items refuses lists that are empty or too long.
func (r *setRequest) items() error {
	if len(r.ProfileItem) == 0 || len(r.ProfileItem) > maxItems {
		return command.Errf(codeParameter, "ProfileItem must have 1 to %d tags", maxItems)
	}
	return nil
}

func (s *Service) setOwn(ctx context.Context, call *command.Call, req *setRequest) (command.Empty, error) {
	if err := own(call, req.From_Account); err != nil {
		return command.Empty{}, err
	}
	if err := req.items(); err != nil {
		return command.Empty{}, err
	}
	return command.Empty{}, s.change(ctx, call.App, call.UID, req.ProfileItem, false)
}

func (s *Service) adminSet(ctx context.Context, call *command.Call, req *setRequest) (command.Empty, error) {
	if err := req.items(); err != nil {
		return command.Empty{}, err
	}
	acc, err := s.accounts.Lookup(ctx, call.App.SDKAppID, req.From_Account)
	if command.CodeOf(err) == command.CodeNoAccount {
		return command.Empty{}, command.Err(codeNoUser, "the account does not exist")
	}
	if err != nil {
		return command.Empty{}, err
	}
	return command.Empty{}, s.change(ctx, call.App, acc.UID, req.ProfileItem, true)
}

type adminGetRequest struct {
	To_Account []string
	TagList    []string
}

type adminGetAnswer struct {
	UserProfileItem []userProfile
	Fail_Account    []string `json:",omitempty"`
}

func (s *Service) adminGet(ctx context.Context, call *command.Call, req *adminGetRequest) (ans adminGetAnswer, err error) {
	switch {
	case len(req.To_Account) == 0 || len(req.To_Account) > maxAdminUsers:
		return ans, command.Errf(codeParameter, "To_Account must have 1 to %d accounts", maxAdminUsers)
	case len(req.TagList) == 0 || len(req.TagList) > maxItems:
		return ans, command.Errf(codeParameter, "TagList must have 1 to %d tags", maxItems)
	}
	for _, tag := range req.TagList {
		if !known(call.App, tag) {
			return ans, command.Errf(codeNoTag, "there is no tag %.64q", tag)
		}
	}
	found, err := s.byName(ctx, call.App.SDKAppID, req.To_Account)
	if err != nil {
		return ans, err
	}
	for _, id := range req.To_Account {
		p := userProfile{To_Account: id, ProfileItem: []item{}}
		r := found[id]
		if r == nil {
			p.ResultCode, p.ResultInfo = codeNoUser, "the account does not exist"
			ans.Fail_Account = append(ans.Fail_Account, id)
		} else {
			for _, tag := range req.TagList {
				if v := r.value(tag, call.App); v != nil {
					p.ProfileItem = append(p.ProfileItem, item{tag, v})
				}
			}
		}
		ans.UserProfileItem = append(ans.UserProfileItem, p)
	}
	return ans, nil
}

// named is byName; the caller's own profile alone, which every SDK asks for at
// start, is read together with those of others who start.
func (s *Service) named(ctx context.Context, call *command.Call, names []string) (map[string]*record, error) {
	if len(names) != 1 || names[0] != call.UserID || call.UID == 0 {
		return s.byName(ctx, call.App.SDKAppID, names)
	}
	list, err := s.own.Of(ctx, call.UID)
	found := map[string]*record{}
	for i := range list {
		found[list[i].userID] = &list[i]
	}
	return found, err
}
