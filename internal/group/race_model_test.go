package group_test

import (
	"fmt"
	"slices"

	"imserver/internal/group"
)

// raceUsers are the accounts of the races: ann is the owner at first.
var raceUsers = [4]string{"ann", "ben", "cid", "dan"}

// state is what a group must be like, in the simplest form. It is comparable:
// two are the same when members can tell no difference.
type state struct {
	kind       string // Public, ChatRoom or Private
	approve    bool   // what ordinary members invite waits for an admin
	gone       bool
	name       int
	roles      [4]group.Role
	muted      [4]bool // also of who has left: the mute is back when they are
	asking     [4]application
	invited    [4][4]application // by whom, and whom
	main       int64             // of the attributes
	attrs      [2]attr
	counter    int64
	counterSeq int64
}

// application is what is open of somebody who wants to come in.
type application uint8

const (
	none  application = iota
	known             // the one that was there before the moment
	newer             // one that those who answer cannot know of yet
)

// attr is an attribute; its sequence is 0 when it is not set.
type attr struct{ value, seq int64 }

// deed is one command of somebody, with what the client knew when it was made.
type deed struct {
	what   string
	by, on int // indexes of raceUsers
	from   int // who invited on
	node   int
	auth   string // of on's application
	pass   string // of from's invitation of on
	main   int64  // main sequence of the attributes
	seqs   [2]int64
	number int64 // what names, counts and values are made of; no two are alike
}

// outcome is what a deed leads to: the answer, and what is told of it.
type outcome struct {
	answer  string // the code, and what the answer says beyond it
	tips    []string
	notices []string // "type operator>receiver", "!node" for the device left out
	events  []string
}

func refusal(code int) outcome { return outcome{answer: fmt.Sprint(code)} }

// learn makes known what is open.
func (s *state) learn() {
	for i := range s.asking {
		s.asking[i] = min(s.asking[i], known)
		for j := range s.invited[i] {
			s.invited[i][j] = min(s.invited[i][j], known)
		}
	}
}

func (s *state) count() (n int) {
	for _, r := range s.roles {
		if r != group.Nobody {
			n++
		}
	}
	return n
}

// staff are those who may answer applications.
func (s *state) staff() (who []int) {
	for i, r := range s.roles {
		if r >= group.Admin {
			who = append(who, i)
		}
	}
	return who
}

func (s *state) quiet() bool { return s.kind == "ChatRoom" } // nobody is told who comes and goes
func (s *state) work() bool  { return s.kind == "Private" }

// do is what a server that does one thing after the other makes of a deed.
func (s *state) do(d deed) outcome {
	role := s.roles[d.by]
	switch {
	case s.gone:
		return refusal(10010)
	case d.what == "apply":
		return s.apply(d)
	case role == group.Nobody:
		return refusal(10007)
	}
	switch d.what {
	case "agree", "reject":
		return s.answer(d)
	case "allow", "deny":
		return s.permit(d)
	case "add", "invite":
		switch {
		case s.work() || role >= group.Admin:
		case s.approve:
			return s.invite(d)
		default:
			return refusal(10007)
		}
		return s.enter(d, d.on, 2, fmt.Sprintf("7 %s>%s", raceUsers[d.by], raceUsers[d.on]))
	case "kick":
		return s.kick(d)
	case "quit":
		return s.quit(d)
	case "admin", "member":
		return s.setRole(d)
	case "mute", "unmute":
		return s.mute(d)
	case "owner":
		return s.transfer(d)
	case "rename":
		if !s.work() && role < group.Admin {
			return refusal(10007)
		}
		s.name = int(d.number)
		return outcome{answer: "0", tips: []string{fmt.Sprintf("6 %s name %d", raceUsers[d.by], d.number)}}
	case "destroy":
		if s.work() || role != group.Owner {
			return refusal(10007)
		}
		o := outcome{answer: "0"}
		for i, r := range s.roles {
			if r != group.Nobody {
				o.notices = append(o.notices, fmt.Sprintf("5 %s>%s", raceUsers[d.by], raceUsers[i]))
			}
		}
		*s = state{kind: s.kind, approve: s.approve, gone: true}
		return o
	case "count":
		s.counter, s.counterSeq = s.counter+d.number, s.counterSeq+1
		return outcome{answer: fmt.Sprintf("0 %d at %d", s.counter, s.counterSeq), events: []string{fmt.Sprintf("counter %d at %d", s.counter, s.counterSeq)}}
	}
	return s.write(d)
}

func (s *state) apply(d deed) outcome {
	switch {
	case s.roles[d.by] != group.Nobody:
		return refusal(10013)
	case s.work():
		return refusal(10007)
	case s.kind == "Public":
		s.asking[d.by] = newer
		o := outcome{answer: "0"}
		for _, i := range s.staff() {
			o.notices = append(o.notices, fmt.Sprintf("1 %s>%s", raceUsers[d.by], raceUsers[i]))
		}
		return o
	}
	return s.enter(d, d.by, 1, fmt.Sprintf("2 %s>%s!%d", raceUsers[d.by], raceUsers[d.by], d.node))
}

// enter makes a member of somebody who is none yet.
func (s *state) enter(d deed, who, how int, notice string) outcome {
	o := outcome{answer: "0"}
	if s.roles[who] != group.Nobody {
		return o
	}
	s.roles[who], s.asking[who] = group.Ordinary, none
	for i := range s.invited {
		s.invited[i][who] = none
	}
	o.notices = []string{notice}
	if !s.quiet() {
		o.tips = []string{fmt.Sprintf("1 %s [%s] %d by %d", raceUsers[d.by], raceUsers[who], s.count(), how)}
	}
	return o
}

// leave is what becomes of somebody who is out.
func (s *state) leave(who int) {
	s.roles[who], s.invited[who] = group.Nobody, [4]application{}
}

// invite asks the admins to let somebody in.
func (s *state) invite(d deed) outcome {
	o := outcome{answer: "0"}
	if s.roles[d.on] != group.Nobody {
		return o
	}
	s.invited[d.by][d.on] = newer
	for _, i := range s.staff() {
		o.notices = append(o.notices, fmt.Sprintf("1 %s>%s", raceUsers[d.on], raceUsers[i]))
	}
	return o
}

// permit answers an invitation that waits.
func (s *state) permit(d deed) outcome {
	open := &s.invited[d.from][d.on]
	switch {
	case s.roles[d.by] < group.Admin:
		return refusal(10007)
	case *open == none:
		return refusal(10024)
	case *open == newer:
		return refusal(10004)
	}
	*open = none
	if d.what == "deny" {
		return outcome{answer: "0"}
	}
	d.by = d.from // it is the inviter's doing
	return s.enter(d, d.on, 2, fmt.Sprintf("7 %s>%s", raceUsers[d.from], raceUsers[d.on]))
}

func (s *state) answer(d deed) outcome {
	switch {
	case s.roles[d.by] < group.Admin:
		return refusal(10007)
	case s.asking[d.on] == none:
		return refusal(10024)
	case s.asking[d.on] == newer:
		return refusal(10004)
	}
	s.asking[d.on] = none
	if d.what == "agree" {
		return s.enter(d, d.on, 1, fmt.Sprintf("2 %s>%s", raceUsers[d.by], raceUsers[d.on]))
	}
	return outcome{answer: "0", notices: []string{fmt.Sprintf("3 %s>%s", raceUsers[d.by], raceUsers[d.on])}}
}

func (s *state) kick(d deed) outcome {
	role, target := s.roles[d.by], s.roles[d.on]
	switch {
	case role < group.Admin:
		return refusal(10007)
	case target == group.Nobody:
		return outcome{answer: "0"}
	case d.by == d.on || role != group.Owner && target != group.Ordinary:
		return refusal(10007)
	}
	s.leave(d.on)
	o := outcome{answer: "0", notices: []string{fmt.Sprintf("4 %s>%s", raceUsers[d.by], raceUsers[d.on])}}
	if !s.quiet() {
		o.tips = []string{fmt.Sprintf("3 %s [%s] %d", raceUsers[d.by], raceUsers[d.on], s.count())}
	}
	return o
}

func (s *state) quit(d deed) outcome {
	if s.roles[d.by] == group.Owner && !s.work() {
		return refusal(10009)
	}
	s.leave(d.by)
	o := outcome{answer: "0", notices: []string{fmt.Sprintf("8 %s>%s", raceUsers[d.by], raceUsers[d.by])}}
	if !s.quiet() {
		o.tips = []string{fmt.Sprintf("2 %s [%s] %d", raceUsers[d.by], raceUsers[d.by], s.count())}
	}
	return o
}

func (s *state) setRole(d deed) outcome {
	role, op, notice := group.Admin, 4, 9
	if d.what == "member" {
		role, op, notice = group.Ordinary, 5, 10
	}
	switch {
	case s.work() || s.roles[d.by] != group.Owner || d.by == d.on || s.roles[d.on] == group.Nobody:
		return refusal(10007)
	case s.roles[d.on] == role:
		return outcome{answer: "0"}
	}
	s.roles[d.on] = role
	return outcome{answer: "0", tips: []string{fmt.Sprintf("%d %s [%s]", op, raceUsers[d.by], raceUsers[d.on])},
		notices: []string{fmt.Sprintf("%d %s>%s", notice, raceUsers[d.by], raceUsers[d.on])}}
}

// muteSeconds is how long a mute lasts here: longer than the test.
const muteSeconds = 6000

func (s *state) mute(d deed) outcome {
	role, target := s.roles[d.by], s.roles[d.on]
	if s.work() || d.by == d.on || target == group.Nobody || role != group.Owner && (role != group.Admin || target != group.Ordinary) {
		return refusal(10007)
	}
	s.muted[d.on] = d.what == "mute"
	seconds := 0
	if s.muted[d.on] {
		seconds = muteSeconds
	}
	return outcome{answer: "0", tips: []string{fmt.Sprintf("7 %s [%s] for %d", raceUsers[d.by], raceUsers[d.on], seconds)}}
}

func (s *state) transfer(d deed) outcome {
	switch {
	case s.roles[d.by] != group.Owner:
		return refusal(10007)
	case d.by == d.on:
		return refusal(10004)
	case s.roles[d.on] == group.Nobody:
		return refusal(10007)
	}
	s.roles[d.by], s.roles[d.on], s.muted[d.on] = group.Ordinary, group.Owner, false
	return outcome{answer: "0", tips: []string{fmt.Sprintf("6 %s [%s] owner %s", raceUsers[d.by], raceUsers[d.on], raceUsers[d.on])}}
}

// write is one of the four writes of attributes: set replaces all by "a",
// change writes "a" and "b", drop deletes "a", clear all.
func (s *state) write(d deed) outcome {
	stale := d.main != s.main
	switch d.what {
	case "change":
		stale = d.seqs != [2]int64{s.attrs[0].seq, s.attrs[1].seq}
	case "drop":
		stale = d.seqs[0] != s.attrs[0].seq
	}
	if stale {
		return refusal(10056)
	}
	op := 0
	switch d.what {
	case "set":
		op, s.attrs = 1, [2]attr{{d.number, s.attrs[0].seq + 1}, {}}
	case "change":
		op, s.attrs = 2, [2]attr{{d.number, s.attrs[0].seq + 1}, {d.number, s.attrs[1].seq + 1}}
	case "clear":
		op, s.attrs = 3, [2]attr{}
	case "drop":
		if s.attrs[0].seq == 0 {
			return refusal(10050)
		}
		op, s.attrs[0] = 4, attr{}
	}
	s.main++
	return outcome{answer: fmt.Sprintf("0 %d", s.main), events: []string{fmt.Sprintf("attributes %d by %d", s.main, op)}}
}

// history is one order in which deeds may have been done.
type history struct {
	after state
	outcome
}

// histories returns what the deeds come to in every order that gives the
// answers.
func histories(before state, deeds []deed, answers []string) (list []history) {
	var walk func(h history, left []int)
	walk = func(h history, left []int) {
		if len(left) == 0 {
			list = append(list, h)
			return
		}
		for i, n := range left {
			next := h
			o := next.after.do(deeds[n])
			if o.answer != answers[n] {
				continue
			}
			next.tips = append(slices.Clip(h.tips), o.tips...)
			next.notices = append(slices.Clip(h.notices), o.notices...)
			next.events = append(slices.Clip(h.events), o.events...)
			walk(next, slices.Delete(slices.Clone(left), i, i+1))
		}
	}
	left := make([]int, len(deeds))
	for i := range left {
		left[i] = i
	}
	walk(history{after: before}, left)
	return list
}
