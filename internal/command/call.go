package command

import (
	"imserver/internal/config"
)

// Call is who asks, and through what. A handler takes the acting account from
// here, never from the body (protocol 03 §1.2).
type Call struct {
	Name string // "service.command"
	Kind Access // exactly one of Users, Admins, Anonymous, Tickets

	App    *config.App // settings of the SDKAppID; never nil
	UserID string      // the account's name; "" for Anonymous
	UID    int64       // the account's number, its TinyId; 0 for Anonymous
	Inst   uint32      // login instance (InstId); 0 through REST

	// Ticket is the verified UserSig of a Tickets caller.
	Ticket Ticket
	// Session is the caller's login instance as the session domain knows it
	// (*session.Session); nil unless Kind is Users.
	Session any

	// CatchingUp is set for CatchUp commands of a device that has come back and
	// has not been answered a Sync command yet.
	CatchingUp bool

	Platform  int    // platform number of the head or URL (protocol 01 §1)
	RequestID string // for logs
	Conn      Conn   // the connection it came through; nil through REST
}

// Ticket is what a handler may know of a verified UserSig: unix seconds.
type Ticket struct {
	IssuedAt  int64
	ExpiresAt int64
}

// Conn is what a handler may know of the caller's connection.
type Conn interface {
	// ID is unique among this node's connections and never used again.
	ID() uint64
	// Query returns a parameter of the URL that opened the connection.
	Query(name string) string
}

// Empty is the request or answer of a command that has no fields of its own.
type Empty struct{}
