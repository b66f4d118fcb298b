package session_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"imserver/internal/session"
)

var classes = []session.Class{session.Web, session.Android, session.IPhone, session.IPad, session.Windows, session.Mac, session.Linux}

// Ensure every pair of terminals meets the policy's table (protocol 06 §9):
// the older one stays only where the mode lets the two be together.
func TestDecidePairs(t *testing.T) {
	group := map[session.Mode][]int{ // of Web, Android, iPhone, iPad, Windows, Mac, Linux
		session.Single: {0, 0, 0, 0, 0, 0, 0},
		session.Dual:   {0, 1, 1, 1, 1, 1, 1},
		session.Triple: {0, 1, 1, 1, 2, 2, 2},
		session.Multi:  {0, 1, 2, 3, 4, 5, 6},
	}
	for mode, groups := range group {
		for i, old := range classes {
			for j, fresh := range classes {
				var want []session.Victim
				if old == fresh {
					want = []session.Victim{{Inst: 5, Type: session.KickAccount}}
				} else if groups[i] == groups[j] {
					want = []session.Victim{{Inst: 5, Type: session.KickDevice}}
				}
				got := session.Policy{Mode: mode}.Decide([]session.Instance{{Inst: 5, Class: old}}, fresh)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: %s then %s: %s", mode, old, fresh, diff)
				}
			}
		}
	}
}

// Ensure that, whatever the history, no more stay than the policy allows, the
// newcomer's class loses its oldest first, and nobody goes without need.
func TestDecideKeepsTheNewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := session.Policy{Mode: rapid.SampledFrom([]session.Mode{session.Single, session.Dual, session.Triple, session.Multi}).Draw(t, "mode")}
		for i := range p.Max {
			p.Max[i] = rapid.IntRange(0, 4).Draw(t, "max")
		}
		var live []session.Instance
		for n := range uint32(rapid.IntRange(1, 30).Draw(t, "logins")) {
			c := rapid.SampledFrom(classes).Draw(t, "class")
			victims := map[uint32]bool{}
			for _, v := range p.Decide(live, c) {
				victims[v.Inst] = true
			}
			kept := live[:0:0]
			for _, i := range live {
				if !victims[i.Inst] {
					kept = append(kept, i)
				}
			}
			before, same := 0, 0
			for _, i := range live {
				if i.Class == c {
					before++
				}
			}
			for _, i := range kept {
				if i.Class == c {
					same++
				}
			}
			if limit := max(1, p.Max[c]); same+1 > limit || before < limit && same != before {
				t.Fatalf("%d of %d stay beside the newcomer, limit %d", same, before, limit)
			}
			live = append(kept, session.Instance{Inst: n + 1, Class: c})
		}
	})
}
