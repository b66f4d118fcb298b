package main

import (
	"strings"
	"testing"
)

// Ensure that the verdict of a soak run finds what grows under load, what stays
// after it and tables that grow, and lets a steady day pass.
func TestJudge(t *testing.T) {
	steady := func() (before sample, seen []sample, after sample) {
		before = sample{goroutines: 30, openFiles: 20, sockets: 0}
		for range 24 {
			seen = append(seen, sample{goroutines: 200, openFiles: 150, sockets: 140, answerP99: 20, "rows of groups": 10})
		}
		return before, seen, sample{goroutines: 31, openFiles: 24, sockets: 0, "rows of groups": 10}
	}
	for name, c := range map[string]struct {
		change func(seen []sample, after sample)
		want   string
	}{
		"steady": {func([]sample, sample) {}, ""},
		"grows": {func(seen []sample, _ sample) {
			for i, s := range seen {
				s[goroutines] += float64(10 * i)
			}
		}, goroutines},
		"one peak": {func(seen []sample, _ sample) { seen[23][goroutines] = 2000 }, ""},
		"stays":    {func(_ []sample, after sample) { after[sockets] = 3 }, sockets},
		"a table": {func(seen []sample, _ sample) {
			for i, s := range seen {
				s["rows of groups"] = float64(20 * i)
			}
		}, "rows of groups"},
	} {
		t.Run(name, func(t *testing.T) {
			before, seen, after := steady()
			c.change(seen, after)
			rows, problems := judge(before, seen, after)
			if c.want == "" && len(problems) > 0 || c.want != "" && (len(problems) != 1 || !strings.HasPrefix(problems[0], c.want)) {
				t.Errorf("problems %q, want one of %q", problems, c.want)
			}
			if len(rows) < 4 {
				t.Errorf("a table of %d rows", len(rows))
			}
		})
	}
}
