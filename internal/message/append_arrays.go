package message

// arrays are a batch as pgPlace and pgInsert take it: an array for each column
// of the messages, and for each of the pairs that they belong to.
type arrays struct {
	lo, hi, back, sender, msgSeq, random, client []int64
	flags                                        []int32
	body, cloud                                  []string
	push                                         []string // nil when no message has push settings

	pairLo, pairHi, count []int64 // of the pairs: how many messages are theirs
	first                 []int   // of the pairs: where these begin
	placed                []bool  // of the pairs
}

// arraysOf takes drafts that are sorted by pair.
func arraysOf(drafts []*draft) *arrays {
	n := len(drafts)
	ints, texts := make([]int64, 10*n), make([]string, 2*n)
	part := func(i int) []int64 { return ints[i*n : (i+1)*n : (i+1)*n] }
	a := &arrays{lo: part(0), hi: part(1), back: part(2), sender: part(3), msgSeq: part(4), random: part(5), client: part(6),
		flags: make([]int32, n), body: texts[:n], cloud: texts[n:], pairLo: part(7)[:0], pairHi: part(8)[:0], count: part(9)[:0]}
	for i, d := range drafts {
		a.lo[i], a.hi[i] = pair(d.From, d.To)
		a.sender[i], a.msgSeq[i], a.random[i], a.client[i], a.flags[i] = d.From, d.MsgSeq, d.Random, d.ClientTime, int32(d.Flags)
		a.body[i], a.cloud[i] = string(d.Body), d.Cloud
		if d.PushInfo != nil {
			if a.push == nil {
				a.push = make([]string, n)
			}
			a.push[i] = string(d.PushInfo)
		}
		if last := len(a.first) - 1; last < 0 || a.pairLo[last] != a.lo[i] || a.pairHi[last] != a.hi[i] {
			a.pairLo, a.pairHi, a.count, a.first = append(a.pairLo, a.lo[i]), append(a.pairHi, a.hi[i]), append(a.count, 0), append(a.first, i)
		}
		a.count[len(a.count)-1]++
	}
	a.placed = make([]bool, len(a.first))
	for p, first := range a.first { // the last of a pair takes its last place
		for k := range a.count[p] {
			a.back[int64(first)+k] = a.count[p] - 1 - k
		}
	}
	return a
}

// place notes the last place of a pair and who of it discards.
func (a *arrays) place(drafts []*draft, pair int, last int64, discard int) {
	a.placed[pair] = true
	for i := a.first[pair]; i < a.first[pair]+int(a.count[pair]); i++ {
		d := drafts[i]
		d.Seq, d.repeated, d.Flags = last-a.back[i], false, stamp(int(a.flags[i]), discard, a.sender[i] == a.lo[i])
	}
}

// split tells the drafts whose pairs have got places from the others.
func (a *arrays) split(drafts []*draft) (placed, unplaced []*draft) {
	for p, first := range a.first {
		if theirs := drafts[first : first+int(a.count[p])]; a.placed[p] {
			placed = append(placed, theirs...)
		} else {
			unplaced = append(unplaced, theirs...)
		}
	}
	return placed, unplaced
}
