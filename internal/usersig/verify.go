package usersig

import (
	"crypto/hmac"
	"fmt"
	"time"
)

// Error says why a ticket is not accepted: the protocol's code and a text for the caller (protocol 01 §6, 06 §2.1).
type Error struct {
	Code int
	Info string
}

func (e *Error) Error() string { return e.Info }

// The reasons, in the order in which they are looked for (protocol 01 §16). ErrVoid shares its code with ErrExpired
// because to a client they mean the same: fetch a new ticket.
var (
	ErrEmpty        = &Error{70002, "UserSig is empty"}
	ErrMalformed    = &Error{70003, "UserSig is malformed"}
	ErrAppMismatch  = &Error{70014, "UserSig is for another SDKAppID"}
	ErrUserMismatch = &Error{70013, "UserSig is for another user"}
	ErrSignature    = &Error{70009, "UserSig signature does not match the app's key"}
	ErrExpired      = &Error{70001, "UserSig has expired"}
	ErrVoid         = &Error{70001, "UserSig was issued before the user was kicked"}
)

// malformed wraps ErrMalformed with what exactly is wrong, for logs; callers answer ErrMalformed's own text.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Claim is what a ticket has to prove.
type Claim struct {
	SDKAppID uint32    // the app the caller named
	UserID   string    // the user the caller says to be
	Keys     []string  // the app's secrets; a ticket signed with any of them is good, so keys can be rotated
	Now      time.Time // the present

	// VoidUntil revokes: tickets issued at or before it are void. The zero time revokes none (protocol 06 §5.1, kick).
	VoidUntil time.Time
}

// Verify parses sig and checks it against c. The error is, or wraps, one of this package's errors: use errors.As
// with *Error to get the code. An unknown app is the caller's to detect, because it knows the keys (70020).
func Verify(sig string, c Claim) (Ticket, error) {
	t, err := Parse(sig)
	if err != nil {
		return Ticket{}, err
	}
	if err := t.Verify(c); err != nil {
		return Ticket{}, err
	}
	return t, nil
}

// Verify checks a ticket that Parse returned.
func (t Ticket) Verify(c Claim) error {
	switch {
	case t.SDKAppID != c.SDKAppID:
		return ErrAppMismatch
	case t.UserID != c.UserID:
		return ErrUserMismatch
	case !t.signedByAny(c.Keys):
		return ErrSignature
	case !c.Now.Before(t.ExpiresAt()):
		return ErrExpired
	case !c.VoidUntil.IsZero() && t.IssuedAt <= c.VoidUntil.Unix():
		return ErrVoid
	}
	return nil
}

// signedByAny compares in constant time and tries every key, so that timing tells nothing about a key or its place.
func (t Ticket) signedByAny(keys []string) bool {
	text, match := t.signedText(), false
	for _, key := range keys {
		if key != "" && hmac.Equal(t.signature, mac(key, text)) {
			match = true
		}
	}
	return match
}
