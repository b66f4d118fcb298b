package group_test

import (
	"testing"

	"imserver/internal/group"
)

// Every cell of the permission matrix, written down by hand from protocol 03
// §2.1: who may do what to whom. O, A, M are owner, admin, member; "A>M" is an
// admin on a member, "M=" a member on itself.
func TestMatrix(t *testing.T) {
	kinds := []group.Kind{group.Work, group.Public, group.Meeting, group.Community, group.LiveRoom}
	roles := map[byte]group.Role{'O': group.Owner, 'A': group.Admin, 'M': group.Ordinary}
	cases := map[group.Action][5]string{
		group.EditBasics:    {"O M", "O A", "O A", "O A", "O A"},
		group.EditRest:      {"O", "O A", "O A", "O A", "O A"},
		group.MuteEveryone:  {"", "O A", "O A", "O A", "O A"},
		group.SpeakMuted:    {"O", "O A", "O A", "O A", "O A"},
		group.SetAdmins:     {"", "O>A O>M", "O>A O>M", "O>A O>M", ""},
		group.Kick:          {"O>M", "O>A O>M A>M", "O>A O>M A>M", "O>A O>M A>M", ""},
		group.Mute:          {"", "O>A O>M A>M", "O>A O>M A>M", "O>A O>M A>M", "O>A O>M A>M"},
		group.Ban:           {"", "", "", "", "O>A O>M A>M"},
		group.Transfer:      {"O>M", "O>A O>M", "O>A O>M", "O>A O>M", ""},
		group.Leave:         {"O M", "A M", "A M", "A M", "A M"},
		group.Dismiss:       {"", "O", "O", "O", "O"},
		group.Invite:        {"O M", "O A M", "O A M", "O A M", ""},
		group.InviteFreely:  {"O", "O A", "O A", "O A", ""},
		group.Approve:       {"O", "O A", "O A", "O A", ""},
		group.EditCard:      {"O= O>M M=", "O= O>A O>M A= A>M M=", "O= O>A O>M A= A>M M=", "O= O>A O>M A= A>M M=", ""},
		group.SetAttributes: {"O M", "O A M", "O A M", "O A M", "O A M"},
		group.SetCounters:   {"O M", "O A M", "O A M", "", "O A M"},
		group.Pin:           {"O M", "O A M", "O A M", "O A M", ""},
		group.RecallAny:     {"O>M", "O>A O>M A>M", "O>A O>M A>M", "O>A O>M A>M", "O>A O>M A>M"},
		group.ManageTopics:  {"", "", "", "O A", ""},
		group.ReadMembers:   {"O M", "O A M", "O A M", "O A M", "O A M"},
	}
	for action := group.Action(0); action <= group.ReadMembers; action++ {
		cells, ok := cases[action]
		if !ok {
			t.Errorf("action %d is not tested", action)
			continue
		}
		for i, kind := range kinds {
			want := map[string]bool{}
			targeted := false
			for rest := cells[i]; rest != ""; {
				n := 1
				for n < len(rest) && rest[n] != ' ' {
					n++
				}
				want[rest[:n]] = true
				targeted = targeted || n > 1
				rest = rest[min(n+1, len(rest)):]
			}
			for actor, role := range roles {
				if kind == group.Work && role == group.Admin {
					continue // there are none
				}
				if !targeted {
					if got := group.May(kind, role, action, group.Nobody, false); got != want[string(actor)] {
						t.Errorf("%s: %c, action %d: %v", kind, actor, action, got)
					}
					continue
				}
				for target, on := range roles {
					if kind == group.Work && on == group.Admin || on == group.Owner {
						continue // there is one owner: others do not act on it, see below
					}
					if got := group.May(kind, role, action, on, false); got != want[string(actor)+">"+string(target)] {
						t.Errorf("%s: %c on %c, action %d: %v", kind, actor, target, action, got)
					}
				}
				if got := group.May(kind, role, action, role, true); got != want[string(actor)+"="] {
					t.Errorf("%s: %c on itself, action %d: %v", kind, actor, action, got)
				}
				if role != group.Owner && group.May(kind, role, action, group.Owner, false) {
					t.Errorf("%s: %c on the owner, action %d", kind, actor, action)
				}
			}
			if group.May(kind, group.Nobody, action, group.Nobody, false) {
				t.Errorf("%s: somebody outside may do %d", kind, action)
			}
			has := cells[i] != "" || action == group.Dismiss
			if got := group.May(kind, group.Above, action, group.Owner, false); got != has {
				t.Errorf("%s: an administrator, action %d: %v, want %v", kind, action, got, has)
			}
		}
	}
}

// SpeaksMuted says of every kind that can be muted what the matrix says.
func TestSpeaksMuted(t *testing.T) {
	for kind := group.Work; kind <= group.Topic; kind++ {
		if !group.May(kind, group.Owner, group.MuteEveryone, group.Nobody, false) {
			continue
		}
		for _, role := range []group.Role{group.Ordinary, group.Admin, group.Owner} {
			if got := group.May(kind, role, group.SpeakMuted, group.Nobody, false); got != (role >= group.SpeaksMuted) {
				t.Errorf("%s: %s speaks while all are muted: %v", kind, role, got)
			}
		}
	}
}
