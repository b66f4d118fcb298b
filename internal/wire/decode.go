// Package wire is the form of what travels on the socket: request and answer
// frames, push frames and their WebSocket encoding. It knows names and bytes,
// not meanings.
package wire

import (
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// Head is the part of a request head that the server reads (protocol 01 §3).
// Unknown fields are ignored.
type Head struct {
	Command    string // servcmd, "service.command"
	Seq        string // seq as it stood, a number or a numeric string; echoed
	App        uint32 // sdkappid
	Platform   int
	Inst       uint32 // status_instid
	A2         string
	TinyID     string
	Identifier string
	UserSig    string
}

// Limits of what a head may hold; longer values are a malformed frame.
const (
	maxCommand = 128 // only in a frame that is unusable otherwise: elsewhere a longer name is just unknown
	maxSeq     = 24
	maxDepth   = 128
)

// Errors of Decode. A frame with a readable head but a bad rest yields the
// head as well, so that the door can answer it.
var (
	ErrNotJSON = errors.New("frame is not a JSON document")
	ErrNoHead  = errors.New("frame has no usable head")
	ErrTooDeep = errors.New("frame is nested too deeply")
)

// Decode splits a frame into head and body in one pass. The body is the raw
// text of the "body" member, nil when absent; it aliases frame. It is one value
// with its brackets in pairs, but whether it is JSON in every detail is found
// out by the command that decodes it, not twice. Nesting is bounded, so that a
// hostile frame costs no stack.
func Decode(frame []byte) (Head, []byte, error) {
	if !utf8.Valid(frame) {
		return Head{}, nil, ErrNotJSON
	}
	s := scanner{b: frame}
	if s.space() != '{' {
		return Head{}, nil, notAnObject(frame)
	}
	var head Head
	var body []byte
	found := false
	err := s.object(func(name []byte) error {
		start := s.i
		switch string(name) {
		case "head":
			if s.b[s.i] != '{' {
				break
			}
			found = true
			return s.object(func(name []byte) error { return s.field(&head, name) })
		case "body":
			err := s.skip()
			body = frame[start:s.i:s.i]
			return err
		}
		return s.skip()
	})
	switch {
	case err != nil:
		return Head{}, nil, err
	case s.space() != 0 || s.i != len(frame):
		return Head{}, nil, ErrNotJSON
	case !found || head.Command == "" || len(head.Seq) > maxSeq: // a command of any length is answered: there is none so long
		return Head{}, nil, ErrNoHead
	}
	return head, body, nil
}

func notAnObject(frame []byte) error {
	if json.Valid(frame) {
		return ErrNoHead
	}
	return ErrNotJSON
}

// field reads one member of a head.
func (s *scanner) field(h *Head, name []byte) error {
	start := s.i
	if err := s.skip(); err != nil {
		return err
	}
	h.set(string(name), value(s.b[start:s.i]))
	return nil
}

// set takes one member of a head.
func (h *Head) set(name string, v value) {
	switch name {
	case "servcmd":
		h.Command = v.text()
	case "seq":
		h.Seq = v.seq()
	case "sdkappid":
		h.App = uint32(v.whole(1<<32 - 1))
	case "platform":
		h.Platform = int(v.whole(1 << 15))
	case "status_instid":
		h.Inst = uint32(v.whole(1<<32 - 1))
	case "a2":
		h.A2 = v.text()
	case "tinyid":
		h.TinyID = v.text()
	case "identifier":
		h.Identifier = v.text()
	case "usersig":
		h.UserSig = v.text()
	}
}

// value is the raw text of a member of a head.
type value []byte

// text returns the value of a string, "" for anything else.
func (v value) text() string {
	if len(v) < 2 || v[0] != '"' {
		return ""
	}
	for _, c := range v {
		if c == '\\' || c < 0x20 {
			var s string
			_ = json.Unmarshal(v, &s) // what is no string stays empty
			return s
		}
	}
	return string(v[1 : len(v)-1])
}

// seq returns a request number as it stood, from a number or a numeric string;
// "" for anything else, because it is echoed as JSON.
func (v value) seq() string {
	if len(v) == 0 {
		return ""
	}
	if v[0] == '"' {
		if s := v.text(); digits(s) {
			return s
		}
		return ""
	}
	if s := string(v); digits(s) || (v[0] == '-' || v[0] >= '0' && v[0] <= '9') && json.Valid(v) {
		return s
	}
	return ""
}

// digits reports whether s is a whole number that JSON would accept.
func digits(s string) bool {
	if _, err := strconv.ParseUint(s, 10, 64); err != nil {
		return false
	}
	return len(s) == 1 || s[0] != '0'
}

// whole reads a non-negative integer up to most, also from a numeric string; 0 otherwise.
func (v value) whole(most uint64) uint64 {
	s := string(v)
	if len(v) > 0 && v[0] == '"' {
		s = v.text()
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > most {
		return 0
	}
	return n
}
