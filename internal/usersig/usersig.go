// Package usersig makes and checks UserSig version 2, the signed ticket a user logs in with and an
// administrator calls the REST API with (protocol 01 §16, 06 §1.4).
//
// A ticket is base64*(zlib(JSON)) where the JSON names the user, the app, when the ticket was issued and for how
// long it is good, and carries an HMAC-SHA256 over those values keyed with the app's secret.
package usersig

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	// MaxUserIDBytes bounds a user ID, in bytes of UTF-8 (protocol 01 §16).
	MaxUserIDBytes = 32

	// MaxTicketBytes bounds an encoded ticket. A usual one has 200 to 400 bytes; the rest is room for userbuf.
	MaxTicketBytes = 8 << 10

	// maxInflatedBytes bounds what a ticket may inflate to, so that a small one cannot cost a large buffer.
	maxInflatedBytes = 64 << 10

	// version is the only ticket version there is; the RSA tickets of version 1 have another shape altogether.
	version = "2.0"
)

// Ticket is what a UserSig says. One returned by Parse has not been checked: only Verify makes it trustworthy.
type Ticket struct {
	UserID   string // the account, 1 to MaxUserIDBytes bytes without control characters
	SDKAppID uint32 // the app
	IssuedAt int64  // Unix time in seconds
	Lifetime int64  // seconds from IssuedAt
	UserBuf  []byte // optional bytes of the app's own, signed with the rest; nil means none

	userBufText string // UserBuf as the ticket spelt it: the signature covers this text
	signature   []byte // as presented
}

// lastInstant is where ExpiresAt stops, the end of the year 9999: beyond it time arithmetic stops being dependable.
const lastInstant = 253402300799

// ExpiresAt is the first instant at which the ticket is no longer good.
func (t Ticket) ExpiresAt() time.Time {
	end := t.IssuedAt + t.Lifetime
	switch {
	case t.Lifetime > 0 && (end < t.IssuedAt || end > lastInstant):
		end = lastInstant
	case t.Lifetime <= 0 && end > t.IssuedAt:
		end = math.MinInt32 // overflow downwards: expired long ago
	}
	return time.Unix(end, 0)
}

// Sign returns the UserSig for t under the app's secret key, which is used as text, never hex-decoded.
func Sign(key string, t Ticket) (string, error) {
	if key == "" {
		return "", errors.New("usersig: empty key")
	}
	if !validUserID(t.UserID) {
		return "", errors.New("usersig: user ID must have 1 to 32 bytes of UTF-8 without control characters")
	}
	if t.Lifetime <= 0 {
		return "", errors.New("usersig: lifetime must be positive")
	}
	t.userBufText = base64.StdEncoding.EncodeToString(t.UserBuf)
	return encode(t, mac(key, t.signedText()))
}

// signedText is the text the signature covers: one line per value, from the decoded values and in this order.
func (t Ticket) signedText() []byte {
	b := make([]byte, 0, 160+len(t.userBufText))
	b = append(b, "TLS.identifier:"...)
	b = append(b, t.UserID...)
	b = append(b, "\nTLS.sdkappid:"...)
	b = strconv.AppendUint(b, uint64(t.SDKAppID), 10)
	b = append(b, "\nTLS.time:"...)
	b = strconv.AppendInt(b, t.IssuedAt, 10)
	b = append(b, "\nTLS.expire:"...)
	b = strconv.AppendInt(b, t.Lifetime, 10)
	if t.UserBuf != nil {
		b = append(b, "\nTLS.userbuf:"...)
		b = append(b, t.userBufText...)
	}
	return append(b, '\n')
}

func mac(key string, text []byte) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write(text)
	return h.Sum(nil)
}

// validUserID refuses what could not be an account. Control characters are refused for the signature's sake: the
// signed text separates its values by line feeds, so a user ID with one in it could stand for several values.
func validUserID(id string) bool {
	if id == "" || len(id) > MaxUserIDBytes || !utf8.ValidString(id) {
		return false
	}
	for i := range len(id) {
		if id[i] < ' ' || id[i] == 0x7f {
			return false
		}
	}
	return true
}
