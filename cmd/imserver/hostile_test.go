package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"imserver/internal/command"
	"imserver/internal/store/storetest"
)

// spoilers are values in JSON that no well-meaning client sends.
var spoilers = []string{
	`"a\u0000b"`, `"` + strings.Repeat("x", 10_000) + `"`, `"\ud800'%;--"`, `""`, `-1`, `0`, `9223372036854775807`, `-9223372036854775808`, `99999999999999999999`, `1.5`, `1e400`,
	`null`, `true`, `[]`, `{}`, `[` + strings.Repeat(`"x",`, 9_999) + `"x"]`, `[` + strings.Repeat(`{},`, 9_999) + `{}]`, `[null]`, `[[[]]]`,
}

// spoilersEach is how many of them a place in a request gets.
const spoilersEach = 2

// parting are commands after which the stage is no longer what it was: they
// come last.
var parting = []string{"destroy_group", "quit_group", "delete_group_member", "change_group_owner", "wslogout", "account_delete", "kick"}

// Ensure that whatever stands at whatever place of a request, of users and
// administrators, the answer is a code that says so or an answer: no fault of
// the server, no panic, and never one that the store had to find.
func TestHostile(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { spoil(t, mustStage(t)) })
	t.Run("postgres", func(t *testing.T) { spoil(t, mustStage(t, storetest.PostgresURL(t))) })
}

func spoil(t *testing.T, s *stage) {
	s.furnish(t)
	seeds := s.seeds(t)
	list := s.table.List()
	slices.SortStableFunc(list, func(a, b command.Info) int { return rank(a.Name) - rank(b.Name) })
	calls := 0
	for _, c := range list {
		own := seeds[c.Name]
		if len(own) > 2 { // the last two are the ones that fit every command, more or less
			own = own[:len(own)-2]
		}
		for _, seed := range own {
			for _, body := range spoiled(t, s.aim(seed)[0]) {
				calls++
				s.survives(t, c, body)
			}
		}
	}
	if calls < 2000 {
		t.Errorf("only %d calls", calls)
	}
}

func rank(name string) int {
	if slices.ContainsFunc(parting, func(p string) bool { return strings.Contains(name, p) }) {
		return 1
	}
	return 0
}

// survives makes a call as everybody who may.
func (s *stage) survives(t *testing.T, c command.Info, body string) {
	for _, kind := range []command.Access{command.Users, command.Admins} {
		if c.Access&kind == 0 {
			continue
		}
		code, answer := s.askAs(t, kind, "alice", c.Name, []byte(body))
		if code == command.CodeInternal || code != 0 && gjson.Get(answer, "ErrorInfo").Str == "" && !strings.Contains(answer, "error") {
			t.Errorf("%s of %s: %s\nanswers %s", c.Name, kind, abridged(body), answer)
		}
	}
}

func abridged(s string) string {
	if len(s) > 400 {
		return s[:300] + fmt.Sprintf("… %d bytes … ", len(s)) + s[len(s)-100:]
	}
	return s
}

// spoiled returns requests with one of their values, or a whole part, replaced,
// and requests whose lists name something twice.
func spoiled(t *testing.T, seed string) (out []string) {
	var root any
	if err := json.Unmarshal([]byte(seed), &root); err != nil {
		t.Fatal(err)
	}
	keep := func() {
		body, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(body))
	}
	n := 0
	var walk func(v any, set func(any))
	walk = func(v any, set func(any)) {
		for i := range spoilersEach {
			spoiler := spoilers[(n*5+i)%len(spoilers)]
			if _, text := v.(string); text && i == 0 {
				spoiler = spoilers[0]
			}
			set(json.RawMessage(spoiler))
			keep()
		}
		n++
		set(v)
		switch v := v.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(v[name], func(value any) { v[name] = value })
			}
		case []any:
			if len(v) > 0 {
				set(append(v[:1:1], v...))
				keep()
				set(v)
			}
			for i := range min(2, len(v)) {
				walk(v[i], func(value any) { v[i] = value })
			}
		}
	}
	walk(root, func(value any) { root = value })
	return out
}
