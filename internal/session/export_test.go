package session

import "time"

// ParseForTest verifies an A2 key and returns whose it is.
func ParseForTest(a2 string, app uint32, keys []string, now time.Time) (uid string, err error) {
	c, err := parse(a2, app, keys, func() time.Time { return now })
	return c.UID, err
}

// SignForTest makes an A2 key.
func SignForTest(app uint32, uid, key string, expiry int64) (string, error) {
	return sign(claims{App: app, UID: uid, Inst: 1, Expiry: expiry, User: "alice"}, key)
}
