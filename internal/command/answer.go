package command

import (
	"context"
	"encoding/json"
	"errors"

	"imserver/internal/wire"
)

const okHead = `"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""`

// Raw is an answer that is already a JSON object with all its fields, the
// envelope's included. The configuration commands use it: their envelope has
// other names (protocol 01 §10).
type Raw []byte

// Later is the answer of a handler that has something to wait for, such as a
// commit. The door calls it once, without waiting; it arranges the work and
// calls done exactly once, from any goroutine. So a connection can have many
// messages under way without a goroutine each, and their order is that of the
// calls.
type Later func(done func(answer any, err error))

// Await returns the final answer: it waits for a [Later], and passes anything
// else through.
func Await(ctx context.Context, answer any, err error) (any, error) {
	later, ok := answer.(Later)
	if !ok || err != nil {
		return answer, err
	}
	type result struct {
		answer any
		err    error
	}
	ch := make(chan result, 1)
	later(func(a any, e error) { ch <- result{a, e} })
	select {
	case r := <-ch:
		return r.answer, r.err
	case <-ctx.Done():
		return nil, Err(CodeTimeout, "")
	}
}

// Members is an answer that writes its own members: one that is asked for often
// and made of what is JSON already, such as a page of history. encoding/json
// would go over all of that once more.
type Members interface {
	// AddTo adds them to o, after those of the envelope.
	AddTo(o *wire.Object)
}

// Preceded is an answer with event items that the asking device is pushed right
// before it; only the WebSocket door does so.
type Preceded struct {
	Events [][]byte
	Answer any
}

// AppendAnswer appends the body of an answer to dst: the three envelope fields
// and the fields of answer, or the refusal in err. It returns the code that it
// wrote. A non-protocol error is answered as [CodeInternal] without its text.
func AppendAnswer(dst []byte, answer any, err error) ([]byte, int) {
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = Err(CodeInternal, "")
		}
		return appendRefusal(dst, e), e.Code
	}
	if p, ok := answer.(Preceded); ok {
		answer = p.Answer
	}
	if raw, ok := answer.(Raw); ok {
		return append(dst, raw...), 0
	}
	if m, ok := answer.(Members); ok {
		o := wire.OpenObject(dst)
		o.Str("ActionStatus", "OK")
		o.Int("ErrorCode", 0)
		o.Str("ErrorInfo", "")
		m.AddTo(&o)
		return o.Close(), 0
	}
	dst = append(dst, '{')
	dst = append(dst, okHead...)
	dst, ok := appendFields(dst, answer)
	if !ok {
		return appendRefusal(dst[:0], Err(CodeInternal, "")), CodeInternal
	}
	return append(dst, '}'), 0
}

func appendRefusal(dst []byte, e *Error) []byte {
	info := e.Info
	if info == "" {
		info = Text(e.Code)
	}
	head, _ := json.Marshal(struct { // three plain fields cannot fail to marshal
		ActionStatus string
		ErrorCode    int
		ErrorInfo    string
	}{"FAIL", e.Code, info})
	dst = append(dst, head[:len(head)-1]...)
	if e.Body != nil {
		dst, _ = appendFields(dst, e.Body)
	}
	return append(dst, '}')
}

// appendFields appends the fields of v, a JSON object, after a comma.
func appendFields(dst []byte, v any) ([]byte, bool) {
	if v == nil {
		return dst, true
	}
	if _, empty := v.(Empty); empty {
		return dst, true
	}
	fields, err := json.Marshal(v)
	if err != nil || len(fields) < 2 || fields[0] != '{' {
		return dst, string(fields) == "null"
	}
	if len(fields) == 2 {
		return dst, true
	}
	dst = append(dst, ',')
	return append(dst, fields[1:len(fields)-1]...), true
}
