package message

import (
	"strconv"
	"strings"
)

// cookie is a place in time, which all pairs' logs share.
type cookie struct {
	seq     int64 // what follows is still to be told
	changes int64 // unix second from which changes are told, on the last page
	bound   int64 // between pages: below it each pair's newest message is left for the last one; else 0
}

const cookiePrefix = "p"

// String encodes the cookie as it goes to the client, to whom it is opaque.
func (c cookie) String() string {
	text := cookiePrefix + strconv.FormatInt(c.seq, 36)
	if c.bound > 0 {
		text += "." + strconv.FormatInt(c.changes, 36) + "." + strconv.FormatInt(c.bound, 36)
	}
	return text
}

// parseCookie reads what String wrote; ok is false for anything else.
func parseCookie(s string) (c cookie, ok bool) {
	digits, found := strings.CutPrefix(s, cookiePrefix)
	if !found {
		return cookie{}, false
	}
	numbers := [3]int64{}
	parts := strings.Split(digits, ".")
	if len(parts) != 1 && len(parts) != 3 {
		return cookie{}, false
	}
	for i, part := range parts {
		n, err := strconv.ParseInt(part, 36, 64)
		if err != nil || n < 0 {
			return cookie{}, false
		}
		numbers[i] = n
	}
	c = cookie{numbers[0], numbers[1], numbers[2]}
	if len(parts) == 1 {
		c.changes = secondOf(c.seq)
	}
	return c, c.changes <= maxUnix
}
