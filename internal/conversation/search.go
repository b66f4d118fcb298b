package conversation

import (
	"cmp"
	"context"
	"slices"

	"imserver/internal/command"
)

// contactState is what is kept of a conversation, as get_contact_group and
// search_contact_group tell it (protocol 02 §14.5).
type contactState struct {
	contact
	StandardMark   string
	CustomMark     string
	ContactGroupId []int64
}

func (st *state) describe() contactState {
	groups := st.groups
	if groups == nil {
		groups = []int64{}
	}
	return contactState{st.contact(), st.standard(), st.custom, groups}
}

type groupsRequest struct {
	From_Account string
	StartIndex   int
}

type groupsAnswer struct {
	CompleteFlag   int
	NextStartIndex int
	GroupItem      []groupItem
	ContactItem    []contactState
}

// groups is recentcontact.get_contact_group: all groups and, in pages, every
// conversation with marks or in a group. v2 learns them only here (protocol 02 §14.5).
func (s *Service) groups(ctx context.Context, call *command.Call, req *groupsRequest) (*groupsAnswer, error) {
	who, err := s.owner(ctx, call, req.From_Account)
	if err != nil {
		return nil, err
	}
	k, err := s.read(ctx, who.uid)
	if err != nil {
		return nil, err
	}
	var list []*state
	for _, st := range k.states {
		if st.marks != 0 || st.custom != "" || len(st.groups) > 0 {
			list = append(list, st)
		}
	}
	slices.SortFunc(list, func(a, b *state) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.target, b.target)) })
	start := max(0, min(req.StartIndex, len(list)))
	end := min(start+pageSize, len(list))
	ans := &groupsAnswer{GroupItem: k.groupItems(), ContactItem: make([]contactState, 0, end-start), NextStartIndex: end}
	if end == len(list) {
		ans.CompleteFlag, ans.NextStartIndex = 1, 0
	}
	for _, st := range list[start:end] {
		ans.ContactItem = append(ans.ContactItem, st.describe())
	}
	return ans, nil
}

type searchRequest struct {
	From_Account string
	ContactItem  []contact
}

type searchAnswer struct {
	GroupItem         []groupItem
	ContactResultItem []contactState
}

// search is recentcontact.search_contact_group: what is kept of the asked
// conversations (protocol 02 §14.5).
func (s *Service) search(ctx context.Context, call *command.Call, req *searchRequest) (*searchAnswer, error) {
	who, err := s.owner(ctx, call, req.From_Account)
	if err != nil {
		return nil, err
	}
	if len(req.ContactItem) > maxSearched {
		return nil, command.Errf(codeParameter, "more than %d conversations", maxSearched)
	}
	list, err := keys(req.ContactItem)
	if err != nil {
		return nil, err
	}
	k, err := s.read(ctx, who.uid)
	if err != nil {
		return nil, err
	}
	ans := &searchAnswer{GroupItem: k.groupItems(), ContactResultItem: make([]contactState, 0, len(list))}
	for _, c := range list {
		st := k.states[c]
		if st == nil {
			st = &state{key: c}
		}
		ans.ContactResultItem = append(ans.ContactResultItem, st.describe())
	}
	return ans, nil
}
