package message

import (
	"math"
	"strconv"
	"strings"
)

// cookie is a place in time, which all pairs' logs share: what follows it is
// still to be told.
type cookie struct {
	seq     int64 // of the last message told, or none's
	changes int64 // unix second from which changes are told, on the last page
	// The rest is 0 but between pages.
	bound  int64 // below it each pair's newest message is left for the last page
	lo, hi int64 // the pair of the last message told: others may have messages of this seq
}

const cookiePrefix = "p"

// String encodes the cookie as it goes to the client, to whom it is opaque.
func (c cookie) String() string {
	text := cookiePrefix + strconv.FormatInt(c.seq, 36)
	if c.bound > 0 {
		for _, n := range []int64{c.changes, c.bound, c.lo, c.hi} {
			text += "." + strconv.FormatInt(n, 36)
		}
	}
	return text
}

// parseCookie reads what String wrote; ok is false for anything else.
func parseCookie(s string) (c cookie, ok bool) {
	digits, found := strings.CutPrefix(s, cookiePrefix)
	if !found {
		return cookie{}, false
	}
	numbers := [5]int64{}
	parts := strings.Split(digits, ".")
	if len(parts) != 1 && len(parts) != len(numbers) {
		return cookie{}, false
	}
	for i, part := range parts {
		n, err := strconv.ParseInt(part, 36, 64)
		if err != nil || n < 0 {
			return cookie{}, false
		}
		numbers[i] = n
	}
	c = cookie{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]}
	if len(parts) == 1 {
		c.changes, c.lo, c.hi = secondOf(c.seq), math.MaxInt64, math.MaxInt64
	}
	return c, c.changes <= maxUnix
}
