package session_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"imserver/internal/session"
)

// FuzzA2: whatever a client calls its key, it neither panics nor passes,
// unless it is one that the server made.
func FuzzA2(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	good, err := session.SignForTest(7, "144115200000000001", "secret", now.Unix()+60)
	if err != nil {
		f.Fatal(err)
	}
	other, _ := session.SignForTest(8, "144115200000000001", "secret", now.Unix()+60)
	old, _ := session.SignForTest(7, "144115200000000001", "secret", now.Unix())
	head, rest, _ := strings.Cut(good, ".")
	body, _, _ := strings.Cut(rest, ".")
	for _, seed := range []string{good, other, old, "", "a.b.c", head + "." + body + ".", "eyJhbGciOiJub25lIn0." + body + ".", good[:len(good)-1], good + "=", strings.Repeat("a", 2000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, a2 string) {
		if uid, err := session.ParseForTest(a2, 7, []string{"another", "secret"}, now); err == nil && a2 != good {
			t.Fatalf("%q passes as %s", a2, uid)
		}
		if uid, err := session.ParseForTest(a2, 7, []string{"another"}, now); err == nil || uid != "" {
			t.Fatalf("%q passes as %q with a key it was not made with: %v", a2, uid, err)
		}
	})
}

// Ensure the key works for its app, with its key, until its end.
func TestA2(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	good, err := session.SignForTest(7, "1", "secret", now.Unix()+1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		app  uint32
		keys []string
		at   time.Time
		ok   bool
	}{
		{7, []string{"secret"}, now, true}, {7, []string{"new", "secret"}, now, true}, {7, []string{"secret"}, now.Add(time.Second), false},
		{8, []string{"secret"}, now, false}, {7, []string{"new"}, now, false}, {7, nil, now, false},
	} {
		uid, err := session.ParseForTest(good, c.app, c.keys, c.at)
		if (err == nil) != c.ok {
			t.Errorf("app %d, keys %v, at %v: %v", c.app, c.keys, c.at, err)
		}
		if genuine := c.app == 7 && slices.Contains(c.keys, "secret"); (uid != "") != genuine {
			t.Errorf("app %d, keys %v, at %v: claims of %q", c.app, c.keys, c.at, uid)
		}
	}
}
