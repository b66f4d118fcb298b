// Package command is the table of everything a client can ask for. A command
// is a name "service.command" with a typed request and answer; it is
// registered once and reached through two doors, the WebSocket gateway and the
// REST door. The table checks who may call and decodes the body; a handler
// knows no envelope, no socket and no HTTP.
//
// The fields of requests and answers are spelled as the protocol spells them,
// which is not always Go's way: From_Account, GroupId.
package command

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
)

// Access says who may call a command; values combine with |.
type Access uint16

// Kinds of callers (protocol 01 §4, 06 §1), and how a command is run.
const (
	Users     Access = 1 << iota // a logged-in SDK user
	Admins                       // an app administrator through REST
	Anonymous                    // nobody: no ticket, no session
	Tickets                      // a ticket instead of a session: login, file services

	// Stale lets a genuine key of an ended session through: wslogin, wshello
	// and wslogout say themselves how it ended (protocol 01 §12).
	Stale
	// Ordered commands of one connection start in the order they came: two
	// messages sent without waiting must not overtake each other.
	Ordered
	// Once commands are not done a second time when a client re-sends a
	// request after a lost connection (protocol 01 §11): within some minutes
	// the first answer is given again.
	Once
	// Snapshot commands read a list that the SDK then puts in the place of its
	// own, so an event that overtakes the answer would be undone by it: a new
	// conversation would vanish, an unread message not count. The door runs
	// them again when events were queued for the asking connection meanwhile.
	// They must not change anything.
	Snapshot
	// Overview commands tell a device that came back what is newest in each of
	// its conversations, by which it notices what it has missed: events wait for
	// the answer, so that they do not hide a gap before them.
	Overview
	// CatchUp commands fetch what such a device has missed: its SDK ends that
	// when it is pushed something newer, so events wait for these, too.
	CatchUp
	// Sync commands are the last that such a device asks: their answer has the
	// unread counts, and what it missed of one-to-one chats and did not fetch.
	Sync
	// Held commands may wait for seconds before they answer: they do not count
	// among those that a connection may have in flight, and a connection that
	// is to be closed does not wait for them.
	Held
	// Crowded commands are those that thousands may ask in the same moment,
	// such as coming into a live room when it begins. A node works on a few of
	// them at a time, so that they keep nobody else waiting.
	Crowded
	// Last commands start when those of the connection before them are done: a
	// logout must not refuse what was asked before it, which SDKs throw.
	Last

	callers = Users | Admins | Anonymous | Tickets
)

// String lists the kinds, as `imserver commands` prints them.
func (a Access) String() string {
	var names []string
	for _, n := range []struct {
		bit  Access
		name string
	}{{Users, "users"}, {Admins, "admins"}, {Anonymous, "anonymous"}, {Tickets, "tickets"}} {
		if a&n.bit != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ",")
}

// run decodes a body and does the command.
type run func(ctx context.Context, call *Call, body []byte) (any, error)

// entry is one name of the table: one function for users, one for
// administrators, because the same name can mean different things to them.
type entry struct {
	name   string
	access Access
	user   run
	admin  run
}

// Table holds the commands. It is filled at start and read-only afterwards.
type Table struct {
	entries map[string]*entry
}

// NewTable returns an empty table.
func NewTable() *Table { return &Table{entries: map[string]*entry{}} }

// Handle registers fn under name ("service.command") for the callers in
// access. It panics on a name registered twice for the same kind of caller:
// that is a programming error found at start.
func Handle[Req, Ans any](t *Table, name string, access Access, fn func(context.Context, *Call, *Req) (Ans, error)) {
	do := func(ctx context.Context, call *Call, body []byte) (any, error) {
		req := new(Req)
		if err := decode(body, req); err != nil {
			return nil, badBody(err)
		}
		return fn(ctx, call, req)
	}
	e := t.entries[name]
	if e == nil {
		e = &entry{name: name}
		t.entries[name] = e
	}
	if e.access&access&callers != 0 {
		panic(fmt.Sprintf("command %s registered twice for %s", name, e.access&access))
	}
	e.access |= access
	if access&callers&^Admins != 0 {
		e.user = do
	}
	if access&Admins != 0 {
		e.admin = do
	}
}

func badBody(err error) error {
	return &Error{Code: CodeBadRequest, Info: "the request body is not valid for this command: " + plainJSONError(err)}
}

// plainJSONError names the field and kind but never quotes the input.
func plainJSONError(err error) string {
	switch e := err.(type) {
	case *json.UnmarshalTypeError:
		if e.Field != "" {
			return "field " + e.Field + " cannot be a " + strings.SplitN(e.Value, " ", 2)[0]
		}
		return "it cannot be a " + strings.SplitN(e.Value, " ", 2)[0]
	case *json.SyntaxError:
		return fmt.Sprintf("syntax error at byte %d", e.Offset)
	}
	return "wrong form"
}

// Lookup returns who may call name; 0 if there is no such command.
func (t *Table) Lookup(name string) Access {
	if e := t.entries[name]; e != nil {
		return e.access
	}
	return 0
}

// Run performs call.Name with the JSON body. A caller of a kind that the
// command does not serve gets [CodeUnknownCommand], so that probing reveals
// nothing. The answer is nil or a value that marshals to a JSON object.
func (t *Table) Run(ctx context.Context, call *Call, body []byte) (any, error) {
	e := t.entries[call.Name]
	if e == nil {
		return nil, Err(CodeUnknownCommand, "")
	}
	switch {
	case call.Kind == Admins && e.access&Admins != 0:
		return e.admin(ctx, call, body)
	case call.Kind != Admins && e.access&call.Kind != 0:
		return e.user(ctx, call, body)
	case call.Kind != Admins && e.access&Users != 0:
		return nil, Err(CodeNoSession, "")
	}
	return nil, Err(CodeUnknownCommand, "")
}

// Info describes one registered command.
type Info struct {
	Name   string
	Access Access
}

// List returns every command, sorted by name.
func (t *Table) List() []Info {
	list := make([]Info, 0, len(t.entries))
	for _, e := range t.entries {
		list = append(list, Info{e.name, e.access})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}
