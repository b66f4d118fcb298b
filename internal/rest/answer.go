package rest

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"imserver/internal/command"
)

// displays are the services whose answers carry the always empty ErrorDisplay
// (protocol 06 §1.2).
var displays = map[string]bool{"sns": true, "profile": true, "recentcontact": true}

// encode returns the answer's body and its code.
func (d *Door) encode(call *command.Call, answer any, err error) ([]byte, int) {
	if err != nil {
		err = d.fault(call, err)
	}
	body, code := command.AppendAnswer(make([]byte, 0, 512), answer, err)
	if service, _, _ := strings.Cut(call.Name, "."); displays[service] {
		body = append(body[:len(body)-1], `,"ErrorDisplay":""}`...) // the envelope's fields stand before it
	}
	return body, code
}

// newRequestID names a request in logs and in the answer's header.
func newRequestID() string { return "r" + strconv.FormatUint(rand.Uint64(), 36) }
