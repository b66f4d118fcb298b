package conversation

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"imserver/internal/command"
	"imserver/internal/wire"
)

// pageSize is how many conversations a page has (protocol 02 §14.1 leaves it
// to the server).
const pageSize = 100

// maxUnix is later than any time there is, unix seconds.
const maxUnix = 1 << 40

// cursor is the place in the list where the next page starts, in the four
// numbers that the SDK hands back untouched. All zero is the beginning, which
// is also what the last page gives: the SDK then asks for everything again
// when it comes back (protocol 02 §14.1).
type cursor struct {
	TimeStamp     int64 // unix second of the last item given
	StartIndex    int   // how many of that second were given
	TopTimeStamp  int64 // how many were given altogether
	TopStartIndex int   // 1: this is the middle of a list
}

// complete is the CompleteFlag of an answer whose next page starts at c.
func (c cursor) complete() int { return 1 - c.TopStartIndex }

type pageRequest struct {
	From_Account string
	cursor
}

type pageAnswer struct {
	CompleteFlag int
	cursor
	SessionItem []json.RawMessage
	GroupItem   []groupItem
}

// page is recentcontact.page_get: the list, newest activity first, in pages of
// pageSize (protocol 02 §14.1).
func (s *Service) page(ctx context.Context, call *command.Call, req *pageRequest) (*pageAnswer, error) {
	items, kept, next, err := s.readPage(ctx, call, req)
	if err != nil {
		return nil, err
	}
	ans := &pageAnswer{CompleteFlag: next.complete(), cursor: next, SessionItem: make([]json.RawMessage, 0, len(items)), GroupItem: kept.groupItems()}
	for _, item := range items {
		ans.SessionItem = append(ans.SessionItem, kept.states[key{item.Kind, item.ID}].decorate(item.Session))
	}
	return ans, nil
}

// readPage reads the page that a request asks for: its conversations, what their
// owner keeps of them, and the cursor of the next page.
func (s *Service) readPage(ctx context.Context, call *command.Call, req *pageRequest) (items []Item, kept *keeping, next cursor, err error) {
	who, err := s.owner(ctx, call, req.From_Account)
	if err != nil {
		return nil, nil, cursor{}, err
	}
	if items, next, err = s.slice(ctx, call, who.uid, req.cursor); err != nil {
		return nil, nil, cursor{}, err
	}
	if kept, err = s.read(ctx, who.uid); err != nil {
		return nil, nil, cursor{}, err
	}
	gone := func(item Item) bool { return item.Session == nil }
	return slices.DeleteFunc(items, gone), kept, next, nil
}

// decorate adds what the user keeps of a conversation to its SessionItem.
func (st *state) decorate(session []byte) []byte {
	if st == nil || len(session) < 2 {
		return session
	}
	o := wire.OpenObject(nil)
	o.Flag("TopFlags", st.pinnedAt > 0)
	if st.marks != 0 {
		o.Str("StandardMark", st.standard())
	}
	if st.custom != "" {
		o.Str("CustomMark", st.custom)
	}
	if len(st.groups) > 0 {
		ids, _ := json.Marshal(st.groups) // numbers
		o.Raw("ContactGroupId", ids)
	}
	extra := o.Close()
	out := append(make([]byte, 0, len(session)+len(extra)), session[:len(session)-1]...)
	if len(session) > 2 {
		out = append(out, ',')
	}
	return append(out, extra[1:]...)
}

// slice returns the page at c and the cursor of the next one, which is zero
// when there is none. The list ends at the app's bound.
func (s *Service) slice(ctx context.Context, call *command.Call, uid int64, c cursor) ([]Item, cursor, error) {
	given := 0
	w := Window{UID: uid, Until: maxUnix, Limit: pageSize + 1}
	if c.TopStartIndex != 0 {
		if c.TimeStamp < 0 || c.TimeStamp > w.Until || c.StartIndex < 0 || c.StartIndex > call.App.ConversationList || c.TopTimeStamp < 0 {
			return nil, cursor{}, command.Err(codeParameter, "the cursor is not of this server")
		}
		given = int(min(c.TopTimeStamp, int64(call.App.ConversationList)))
		w.Until, w.Limit = c.TimeStamp, pageSize+1+c.StartIndex
	} else {
		c = cursor{}
	}
	var all []Item
	for _, src := range s.sources {
		items, err := src.Conversations(ctx, call, w)
		if err != nil {
			return nil, cursor{}, fmt.Errorf("conversation: list: %w", err)
		}
		all = append(all, items...)
	}
	// Stable: within a second the sources' own order counts, which is the same
	// for every page.
	slices.SortStableFunc(all, func(a, b Item) int { return cmp.Compare(b.Time, a.Time) })
	skip := 0
	for skip < len(all) && skip < c.StartIndex && all[skip].Time == c.TimeStamp {
		skip++
	}
	all = all[skip:]
	size := min(pageSize, call.App.ConversationList-given)
	if len(all) <= size || size <= 0 {
		return all[:min(len(all), max(size, 0))], cursor{}, nil
	}
	all = all[:size]
	if given+size >= call.App.ConversationList {
		return all, cursor{}, nil
	}
	last := all[size-1].Time
	next := cursor{TimeStamp: last, TopTimeStamp: int64(given + size), TopStartIndex: 1}
	for i := size - 1; i >= 0 && all[i].Time == last; i-- {
		next.StartIndex++
	}
	if last == c.TimeStamp {
		next.StartIndex += skip
	}
	return all, next, nil
}

type listItem struct {
	Type       int
	To_Account string `json:",omitempty"`
	GroupId    string `json:",omitempty"`
	ToGroupId  string `json:",omitempty"`
	MsgTime    int64
	TopFlag    int
}

type listAnswer struct {
	SessionItem  []listItem
	CompleteFlag int
	cursor
	ErrorDisplay string
}

// list is recentcontact.get_list of an administrator (protocol 06 §5.5).
func (s *Service) list(ctx context.Context, call *command.Call, req *pageRequest) (*listAnswer, error) {
	items, kept, next, err := s.readPage(ctx, call, req)
	if err != nil {
		return nil, err
	}
	ans := &listAnswer{SessionItem: make([]listItem, 0, len(items)), CompleteFlag: next.complete(), cursor: next}
	for _, item := range items {
		li := listItem{Type: item.Kind, MsgTime: item.Time}
		if item.Kind == C2C {
			li.To_Account = item.ID
		} else {
			li.GroupId, li.ToGroupId = item.ID, item.ID
		}
		if st := kept.states[key{item.Kind, item.ID}]; st != nil && st.pinnedAt > 0 {
			li.TopFlag = 1
		}
		ans.SessionItem = append(ans.SessionItem, li)
	}
	return ans, nil
}
