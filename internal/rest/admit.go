package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"imserver/internal/command"
	"imserver/internal/config"
)

// Codes of the door itself (protocol 06 §2.1).
const (
	codeHTTP       = 60002 // method or framing
	codeBadApp     = 60006 // no such app here
	codeNoApp      = 60012 // sdkappid missing
	codeOverloaded = 60018 // too many requests at once
	codeAddress    = 60021 // source address not allowed
)

// nameOf turns /v4/<service>/<command> into "service.command"; "" when the
// path has another form.
func nameOf(path string) string {
	service, name, ok := strings.Cut(strings.TrimPrefix(path, Prefix), "/")
	if !ok || service == "" || name == "" || strings.ContainsAny(name, "/.") {
		return ""
	}
	return service + "." + name
}

// admit checks who calls, and fills call in. The order of the checks decides
// which code a request with several faults gets (protocol 06 §1.5).
func (d *Door) admit(ctx context.Context, r *http.Request, call *command.Call) error {
	if r.Method != http.MethodPost {
		return command.Err(codeHTTP, "only POST is served")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return command.Err(codeHTTP, "the query string is malformed")
	}
	if call.App, err = d.app(query.Get("sdkappid")); err != nil {
		return err
	}
	if !allowed(call.App.RESTAllow, d.remote(r)) {
		return command.Err(codeAddress, "the app's REST API may not be called from this address")
	}
	if d.table.Lookup(call.Name)&command.Admins == 0 {
		return command.Errf(command.CodeUnknownCommand, "this server does not offer %.100q", strings.TrimPrefix(r.URL.Path, Prefix))
	}
	call.UserID = query.Get("identifier")
	ticket, err := d.tickets.Ticket(ctx, call.App, call.UserID, query.Get("usersig"))
	if err != nil {
		return err
	}
	if !call.App.IsAdmin(call.UserID) {
		return command.Err(command.CodeNotAdmin, "")
	}
	if call.UID, err = d.number(ctx, call.App.SDKAppID, call.UserID); err != nil {
		return err
	}
	call.Ticket = command.Ticket{IssuedAt: ticket.IssuedAt, ExpiresAt: ticket.ExpiresAt().Unix()}
	return nil
}

func (d *Door) app(text string) (*config.App, error) {
	if text == "" {
		return nil, command.Err(codeNoApp, "sdkappid is missing")
	}
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil, command.Err(codeBadApp, "sdkappid is not a number of an app")
	}
	app := d.apps(uint32(id))
	if app == nil {
		return nil, command.Err(codeBadApp, "this server has no such SDKAppID")
	}
	return app, nil
}

// allowed reports whether an address may call: no list allows everybody.
func allowed(list []netip.Prefix, addr netip.Addr) bool {
	if len(list) == 0 {
		return true
	}
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// drain is how much of a body over the limit is read before the answer, so
// that a caller who writes first and reads then gets to read it.
const drain = 8 << 20

// read returns the request's body, one JSON object; an empty body stands for
// the empty object.
func (d *Door) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(d.opts.Timeout)) // a recorder in a test has none
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(d.opts.MaxBody)+1))
	switch {
	case err != nil:
		return nil, command.Err(codeHTTP, "the request body ended early")
	case len(body) > d.opts.MaxBody:
		_, _ = io.CopyN(io.Discard, r.Body, drain)
		return nil, command.Errf(command.CodeTooLong, "the request body is longer than %d bytes", d.opts.MaxBody)
	}
	text := bytes.TrimSpace(body)
	switch {
	case len(text) == 0:
		return nil, nil
	case text[0] != '{' || !utf8.Valid(text) || !json.Valid(text):
		return nil, command.Err(command.CodeBadRequest, "the request body is not a JSON object")
	}
	return text, nil
}

// fault keeps a refusal and turns anything else, after logging it, into the
// generic code: what went wrong inside is nobody else's business.
func (d *Door) fault(call *command.Call, err error) error {
	if errors.As(err, new(*command.Error)) {
		return err
	}
	answer, tell := command.Mask(err, call.RequestID)
	if tell {
		var app uint32
		if call.App != nil {
			app = call.App.SDKAppID
		}
		d.log.Error("command failed", "app", app, "user", call.UserID, "command", call.Name, "request", call.RequestID, "err", err)
	}
	return answer
}
