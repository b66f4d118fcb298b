// Package conversation keeps the conversation list of a user: what is in it,
// in which order, pinned, marked and grouped. The list is computed on reading,
// from the logs and what each member keeps; sending writes nothing here.
package conversation

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"time"

	"imserver/internal/command"
)

// Kinds of conversations (protocol 02 §14).
const (
	C2C   = 1
	Group = 2
)

// Item is one conversation as a source describes it. Session holds the
// members of its SessionItem that the source alone knows, a JSON object
// (protocol 02 §14.1).
type Item struct {
	Kind    int
	ID      string // the peer's user ID or the group ID
	Time    int64  // unix seconds of the last activity; orders the list
	Session json.RawMessage
}

// Source lists the conversations of one kind that a user has, newest activity
// first, at most limit of them, with a fixed number of queries.
type Source interface {
	Conversations(ctx context.Context, call *command.Call, limit int) ([]Item, error)
}

// Service does the recentcontact commands.
type Service struct {
	sources []Source
	now     func() time.Time
}

// NewService makes the service over its sources.
func NewService(now func() time.Time, sources ...Source) *Service {
	return &Service{sources: sources, now: now}
}

// Register adds the commands to the table.
func (s *Service) Register(t *command.Table) {
	command.Handle(t, "recentcontact.page_get", command.Users, s.page)
	command.Handle(t, "recentcontact.get_contact_group", command.Users, s.groups)
	command.Handle(t, "recentcontact.search_contact_group", command.Users, s.search)
}

type pageRequest struct {
	TimeStamp  int64
	StartIndex int
}

type pageAnswer struct {
	CompleteFlag  int
	TimeStamp     int64
	StartIndex    int
	TopTimeStamp  int64
	TopStartIndex int
	SessionItem   []json.RawMessage
	GroupItem     []json.RawMessage
}

// page is recentcontact.page_get: the whole list in one answer, newest first
// (protocol 02 §14.1). CompleteFlag 1 ends the SDK's paging.
func (s *Service) page(ctx context.Context, call *command.Call, _ *pageRequest) (*pageAnswer, error) {
	limit := call.App.ConversationList
	var all []Item
	for _, src := range s.sources {
		items, err := src.Conversations(ctx, call, limit)
		if err != nil {
			return nil, fmt.Errorf("conversation: list: %w", err)
		}
		all = append(all, items...)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Time > all[j].Time })
	all = all[:min(len(all), limit)]
	ans := &pageAnswer{CompleteFlag: 1, TimeStamp: s.now().Unix(), SessionItem: make([]json.RawMessage, 0, len(all)), GroupItem: []json.RawMessage{}}
	for _, item := range all {
		ans.SessionItem = append(ans.SessionItem, item.Session)
	}
	return ans, nil
}

type groupsAnswer struct {
	CompleteFlag   int
	NextStartIndex int
	GroupItem      []json.RawMessage
	ContactItem    []json.RawMessage
}

// groups is recentcontact.get_contact_group (protocol 02 §14.5).
func (s *Service) groups(context.Context, *command.Call, *command.Empty) (*groupsAnswer, error) {
	return &groupsAnswer{CompleteFlag: 1, GroupItem: []json.RawMessage{}, ContactItem: []json.RawMessage{}}, nil
}

type searchAnswer struct {
	GroupItem         []json.RawMessage
	ContactResultItem []json.RawMessage
}

// search is recentcontact.search_contact_group (protocol 02 §14.5).
func (s *Service) search(context.Context, *command.Call, *command.Empty) (*searchAnswer, error) {
	return &searchAnswer{GroupItem: []json.RawMessage{}, ContactResultItem: []json.RawMessage{}}, nil
}
