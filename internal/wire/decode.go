// Package wire is the form of what travels on the socket: request and answer
// frames, push frames and their WebSocket encoding. It knows names and bytes,
// not meanings.
package wire

import (
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/tidwall/gjson"
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

// Decode splits a frame into head and body. The body is the raw JSON text of
// the "body" member, nil when absent; it aliases frame. Nesting is bounded, so
// that a hostile frame costs no stack.
func Decode(frame []byte) (Head, []byte, error) {
	if !utf8.Valid(frame) {
		return Head{}, nil, ErrNotJSON
	}
	if tooDeep(frame) {
		return Head{}, nil, ErrTooDeep
	}
	if !json.Valid(frame) {
		return Head{}, nil, ErrNotJSON
	}
	var head Head
	var rawHead, rawBody gjson.Result
	root := gjson.ParseBytes(frame)
	if !root.IsObject() {
		return Head{}, nil, ErrNoHead
	}
	root.ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "head":
			rawHead = value
		case "body":
			rawBody = value
		}
		return true
	})
	if !rawHead.IsObject() {
		return Head{}, nil, ErrNoHead
	}
	rawHead.ForEach(func(key, value gjson.Result) bool {
		head.set(key.Str, value)
		return true
	})
	if head.Command == "" || len(head.Seq) > maxSeq { // a command of any length is answered: there is none so long
		return Head{}, nil, ErrNoHead
	}
	if rawBody.Raw == "" {
		return head, nil, nil
	}
	start := rawBody.Index
	return head, frame[start : start+len(rawBody.Raw)], nil
}

func (h *Head) set(key string, v gjson.Result) {
	switch key {
	case "servcmd":
		h.Command = text(v)
	case "seq":
		if v.Type == gjson.Number {
			h.Seq = v.Raw
		} else if _, err := strconv.ParseUint(v.Str, 10, 64); err == nil && v.Type == gjson.String {
			h.Seq = v.Str
		}
	case "sdkappid":
		h.App = uint32(whole(v, 1<<32-1))
	case "platform":
		h.Platform = int(whole(v, 1<<15))
	case "status_instid":
		h.Inst = uint32(whole(v, 1<<32-1))
	case "a2":
		h.A2 = text(v)
	case "tinyid":
		h.TinyID = text(v)
	case "identifier":
		h.Identifier = text(v)
	case "usersig":
		h.UserSig = text(v)
	}
}

func text(v gjson.Result) string {
	if v.Type == gjson.String {
		return v.Str
	}
	return ""
}

// whole reads a non-negative integer up to max, also from a numeric string; 0 otherwise.
func whole(v gjson.Result, max uint64) uint64 {
	s := v.Raw
	if v.Type == gjson.String {
		s = v.Str
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > max {
		return 0
	}
	return n
}

// tooDeep looks for nesting beyond maxDepth without recursion.
func tooDeep(frame []byte) bool {
	depth, inString, escaped := 0, false, false
	for _, c := range frame {
		switch {
		case escaped:
			escaped = false
		case inString:
			switch c {
			case '\\':
				escaped = true
			case '"':
				inString = false
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
