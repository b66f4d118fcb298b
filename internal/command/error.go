package command

import (
	"context"
	"errors"
	"fmt"

	"imserver/internal/store"
)

// Error is a refusal that a client is meant to read: a code of the protocol's
// table and a text for people. Handlers return it; a door writes it as
// ErrorCode and ErrorInfo. Anything else a handler returns is an internal
// fault, logged and answered as [CodeInternal] without its text.
type Error struct {
	Code int
	Info string
	// Body, when not nil, is a struct or map whose fields join the answer:
	// a modify conflict carries the current message, a kick its KickType.
	Body any
}

// Error implements the error interface.
func (e *Error) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Info) }

// Is reports equality by code, so that errors.Is(err, command.Err(10007, "")) works.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code
}

// Err makes an Error with the table's text for code, or info if it is given.
func Err(code int, info string) *Error {
	if info == "" {
		info = Text(code)
	}
	return &Error{Code: code, Info: info}
}

// ErrHangUp, or an error that wraps it, makes a door end the connection in the
// place of an answer: for requests whose client is better off asking again on a
// new connection than with any code it could be given.
var ErrHangUp = errors.New("the request was not answered")

// Errf is Err with a formatted text.
func Errf(code int, format string, args ...any) *Error {
	return &Error{Code: code, Info: fmt.Sprintf(format, args...)}
}

// Unavailable reports whether a fault is that something the server depends on
// does not answer, or ceased to while it was asked: it is answered with
// [CodeTimeout], and asking again may help. What was asked for may be done or
// not; requests that are repeated are recognised. What depends on others says
// so by a method Unavailable; of the database the store knows it.
func Unavailable(err error) bool {
	var u interface{ Unavailable() bool }
	return errors.As(err, &u) && u.Unavailable() || store.IsLost(err)
}

// Mask returns what a door answers in the place of a fault that is no refusal:
// what went wrong inside is nobody else's business. With tell, the log has to
// say it, because somebody has to look at it; what is away is told elsewhere,
// once and not for each request.
func Mask(err error, requestID string) (answer *Error, tell bool) {
	switch {
	case store.IsExhausted(err):
		return Err(CodeTimeout, ""), true
	case errors.Is(err, context.DeadlineExceeded), Unavailable(err):
		return Err(CodeTimeout, ""), false
	}
	return Errf(CodeInternal, "internal error, request %s", requestID), true
}

// CodeOf returns the protocol code of err: 0 for nil, [CodeInternal] for
// anything that is not an *Error.
func CodeOf(err error) int {
	if err == nil {
		return 0
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
