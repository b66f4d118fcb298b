package command_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"imserver/internal/command"
	"imserver/internal/wire"
)

type echoRequest struct {
	Text  string
	Count int
}

type echoAnswer struct {
	Text string
}

func MustTable(t *testing.T) *command.Table {
	t.Helper()
	table := command.NewTable()
	command.Handle(table, "test.echo", command.Users, func(_ context.Context, _ *command.Call, r *echoRequest) (echoAnswer, error) {
		return echoAnswer{"user " + r.Text}, nil
	})
	command.Handle(table, "test.echo", command.Admins, func(_ context.Context, _ *command.Call, r *echoRequest) (echoAnswer, error) {
		return echoAnswer{"admin " + r.Text}, nil
	})
	command.Handle(table, "test.conflict", command.Users, func(context.Context, *command.Call, *command.Empty) (command.Empty, error) {
		return command.Empty{}, &command.Error{Code: 20027, Info: "changed meanwhile", Body: echoAnswer{"now"}}
	})
	command.Handle(table, "test.fault", command.Users, func(context.Context, *command.Call, *command.Empty) (command.Empty, error) {
		return command.Empty{}, errors.New("secret detail")
	})
	return table
}

func answer(t *testing.T, table *command.Table, kind command.Access, name, body string) (map[string]any, int) {
	t.Helper()
	v, err := table.Run(t.Context(), &command.Call{Name: name, Kind: kind}, []byte(body))
	doc, code := command.AppendAnswer(nil, v, err)
	var m map[string]any
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	if m["ErrorCode"] != float64(code) || (code != 0) == (m["ErrorInfo"] == "") {
		t.Fatalf("envelope of %s", doc)
	}
	return m, code
}

// plainAnswer has the members of a membersAnswer.
type plainAnswer struct {
	Text  string
	Count int64
	List  []json.RawMessage
}

type membersAnswer plainAnswer

func (a membersAnswer) AddTo(o *wire.Object) {
	o.Str("Text", a.Text)
	o.Int("Count", a.Count)
	items := [][]byte{}
	for _, item := range a.List {
		items = append(items, item)
	}
	o.List("List", items)
}

// Ensure that an answer that writes its own members is the one that
// encoding/json makes of them, in its envelope and after what was there.
func TestMembersAnswer(t *testing.T) {
	plain := plainAnswer{"a \"text\"\n", -7, []json.RawMessage{json.RawMessage(`{"a":[1,2]}`), json.RawMessage(`null`)}}
	want, _ := command.AppendAnswer([]byte("before"), plain, nil)
	got, code := command.AppendAnswer([]byte("before"), membersAnswer(plain), nil)
	if string(got) != string(want) || code != 0 {
		t.Errorf("code %d, %s; want %s", code, got, want)
	}
	if got, code := command.AppendAnswer(nil, membersAnswer{}, command.Err(command.CodeBadPacket, "no")); code != command.CodeBadPacket || strings.Contains(string(got), "Text") {
		t.Errorf("code %d, %s", code, got)
	}
}

func TestTable(t *testing.T) {
	table := MustTable(t)
	for name, tt := range map[string]struct {
		kind    command.Access
		command string
		body    string
		code    int
		text    any
	}{
		"User":        {command.Users, "test.echo", `{"Text":"x"}`, 0, "user x"},
		"Admin":       {command.Admins, "test.echo", `{"Text":"x"}`, 0, "admin x"},
		"EmptyBody":   {command.Users, "test.echo", ``, 0, "user "},
		"Nulls":       {command.Users, "test.echo", `{"Text":null,"More":[1]}`, 0, "user "},
		"Unknown":     {command.Users, "test.nothing", `{}`, command.CodeUnknownCommand, nil},
		"NotForAdmin": {command.Admins, "test.fault", `{}`, command.CodeUnknownCommand, nil},
		"NotLoggedIn": {command.Anonymous, "test.echo", `{}`, command.CodeNoSession, nil},
		"WrongType":   {command.Users, "test.echo", `{"Text":7}`, command.CodeBadRequest, nil},
		"NotAnObject": {command.Users, "test.echo", `[1]`, command.CodeBadRequest, nil},
		"BeyondInt64": {command.Users, "test.echo", `{"Count":99999999999999999999}`, command.CodeBadRequest, nil},
		"Body":        {command.Users, "test.conflict", `{}`, 20027, "now"},
		"Fault":       {command.Users, "test.fault", `{}`, command.CodeInternal, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, code := answer(t, table, tt.kind, tt.command, tt.body)
			if code != tt.code || m["Text"] != tt.text {
				t.Errorf("answer %v", m)
			}
			if m["ErrorInfo"] == "secret detail" {
				t.Error("an internal fault leaked")
			}
		})
	}
}

// Ensure a name can be given out only once for a kind of caller.
func TestHandleTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	table := MustTable(t)
	command.Handle(table, "test.fault", command.Users, func(context.Context, *command.Call, *command.Empty) (command.Empty, error) {
		return command.Empty{}, nil
	})
}

func TestAwait(t *testing.T) {
	v, err := command.Await(t.Context(), command.Later(func(done func(any, error)) { go done(7, nil) }), nil)
	if v != 7 || err != nil {
		t.Errorf("%v %v", v, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = command.Await(ctx, command.Later(func(func(any, error)) {}), nil); command.CodeOf(err) != command.CodeTimeout {
		t.Errorf("err = %v", err)
	}
}
