package command

import (
	"encoding/json"
	"errors"
)

const okHead = `"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""`

// Raw is an answer that is already a JSON object with all its fields, the
// envelope's included. The configuration commands use it: their envelope has
// other names (protocol 01 §10).
type Raw []byte

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
	if raw, ok := answer.(Raw); ok {
		return append(dst, raw...), 0
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
