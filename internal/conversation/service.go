// Package conversation keeps the conversation list of a user: what is in it,
// in which order, pinned, marked and grouped. The list is computed on reading,
// from the logs and what each member keeps; sending writes nothing here.
package conversation

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
)

// Kinds of conversations (protocol 02 §14).
const (
	C2C   = 1
	Group = 2
)

// Item is one conversation as a source describes it. Session holds the
// members of its SessionItem that the source alone knows, a JSON object
// (protocol 02 §14.1); an item without it holds a place in the page and is not
// shown: what it was is gone.
type Item struct {
	Kind    int
	ID      string // the peer's user ID or the group ID
	Time    int64  // unix seconds of the last activity; orders the list
	Session json.RawMessage
}

// Window is the part of a user's list that is wanted: the conversations with
// their last activity in or before the unix second Until, the newest first, at
// most Limit.
type Window struct {
	UID   int64
	Until int64
	Limit int
}

// Source is where the conversations of one kind come from.
type Source interface {
	// Kind returns [C2C] or [Group].
	Kind() int
	// Conversations lists a window with a fixed number of queries. Within
	// one second the order is the same at every call.
	Conversations(ctx context.Context, call *command.Call, w Window) ([]Item, error)
	// Remove takes conversations from uid's list until their next message,
	// with nothing unread left in them; clear also clears their history for
	// uid. Names of conversations that there are not are passed over.
	Remove(ctx context.Context, call *command.Call, uid int64, ids []string, clear bool) error
}

// Service does the recentcontact commands.
type Service struct {
	db       *store.DB
	accounts *account.Directory
	hub      *fanout.Hub
	sources  []Source
	now      func() time.Time
	states   *store.Lookup[state] // for readers, see load
	names    *store.Lookup[group]
}

// NewService makes the service over its sources.
func NewService(db *store.DB, accounts *account.Directory, hub *fanout.Hub, now func() time.Time, sources ...Source) *Service {
	s := &Service{db: db, accounts: accounts, hub: hub, sources: sources, now: now}
	s.states = store.NewLookup(db, `SELECT uid, `+stateColumns+` FROM conversation_states WHERE uid %s`,
		func(rows *sql.Rows, uid *int64, st *state) error {
			return rows.Scan(uid, &st.kind, &st.target, &st.pinnedAt, &st.marks, &st.custom)
		})
	s.names = store.NewLookup(db, `SELECT uid, id, name FROM conversation_groups WHERE uid %s ORDER BY id`,
		func(rows *sql.Rows, uid *int64, g *group) error { return rows.Scan(uid, &g.id, &g.name) })
	return s
}

// Register adds the commands to the table (protocol 02 §14, 06 §5.5).
func (s *Service) Register(t *command.Table) {
	command.Handle(t, "recentcontact.page_get", command.Users|command.Snapshot|command.Overview, s.page)
	command.Handle(t, "recentcontact.get_list", command.Admins, s.list)
	command.Handle(t, "recentcontact.batch_delete", command.Users, s.batchDelete)
	command.Handle(t, "recentcontact.delete", command.Admins, s.adminDelete)
	command.Handle(t, "recentcontact.top", command.Users, s.top)
	both := command.Users | command.Admins
	command.Handle(t, "recentcontact.mark_contact", both, s.mark)
	command.Handle(t, "recentcontact.create_contact_group", both|command.Once, s.createGroups)
	command.Handle(t, "recentcontact.del_contact_group", both|command.Once, s.deleteGroups)
	command.Handle(t, "recentcontact.update_contact_group", both|command.Once, s.updateGroup)
	command.Handle(t, "recentcontact.get_contact_group", both, s.groups)
	command.Handle(t, "recentcontact.search_contact_group", both, s.search)
}

// Codes of the family (protocol 02 §21, 06 §2.2).
const (
	codeAccount    = 50001 // the user does not exist
	codeParameter  = 50002
	codeMarkCount  = 51006 // no or too many conversations in a request
	codeMarks      = 51008 // too many marked conversations
	codeNoGroup    = 51009
	codeGroups     = 51010 // too many conversation groups
	codeGroupName  = 51011
	codePinned     = 51012
	maxPinned      = 50
	maxMarked      = 1000
	maxPerRequest  = 100
	maxSearched    = 300
	maxGroups      = 20
	maxGroupName   = 32  // bytes
	maxCustom      = 256 // bytes
	maxTarget      = 128 // bytes of a user or group ID
	maxGroupOfName = 1000
)

// owner is whose list a request is about, and the device that it came from.
type owner struct {
	uid    int64
	device fanout.Device
}

// owner takes a user's own list, and for an administrator that of the named
// account: a user cannot name somebody else.
func (s *Service) owner(ctx context.Context, call *command.Call, named string) (owner, error) {
	if call.Kind == command.Users {
		if named != "" && named != call.UserID {
			return owner{}, command.Err(codeParameter, "From_Account is not the caller")
		}
		return owner{call.UID, fanout.Device{UID: call.UID, Inst: call.Inst}}, nil
	}
	a, err := s.accounts.Lookup(ctx, call.App.SDKAppID, named)
	if err != nil {
		if command.CodeOf(err) == command.CodeNoAccount {
			err = command.Err(codeAccount, "the account does not exist")
		}
		return owner{}, err
	}
	return owner{uid: a.UID}, nil
}

// contact names a conversation in requests and answers. Requests spell the
// group's key in three ways: ToGroupid and ToGroupId, which decode alike, and
// GroupId (protocol 02 §14).
type contact struct {
	Type       int
	To_Account string `json:",omitempty"`
	ToGroupId  string `json:",omitempty"`
	GroupId    string `json:",omitempty"`
}

// key names a conversation of a user.
type key struct {
	kind   int
	target string
}

func (c contact) key() (key, error) {
	k := key{c.Type, c.To_Account}
	if c.Type == Group {
		if k.target = c.ToGroupId; k.target == "" {
			k.target = c.GroupId
		}
	}
	if c.Type != C2C && c.Type != Group || k.target == "" || len(k.target) > maxTarget || command.CheckTexts(k.target) != nil {
		return k, command.Err(codeParameter, "a conversation needs a Type, 1 or 2, and To_Account or ToGroupId")
	}
	return k, nil
}

// contact is the reverse of contact.key, as answers spell it.
func (k key) contact() contact {
	if k.kind == C2C {
		return contact{Type: C2C, To_Account: k.target}
	}
	return contact{Type: Group, ToGroupId: k.target}
}

func keys(list []contact) ([]key, error) {
	out := make([]key, 0, len(list))
	for _, c := range list {
		k, err := c.key()
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// unknown returns which of the one-to-one keys name no account.
func (s *Service) unknown(ctx context.Context, call *command.Call, list []key) (map[key]bool, error) {
	var ids []string
	for _, k := range list {
		if k.kind == C2C {
			ids = append(ids, k.target)
		}
	}
	found, err := s.accounts.FormerAll(ctx, call.App.SDKAppID, ids)
	if err != nil {
		return nil, err
	}
	missing := map[key]bool{}
	for _, id := range ids {
		if found[id] == nil {
			missing[key{C2C, id}] = true
		}
	}
	return missing, nil
}
