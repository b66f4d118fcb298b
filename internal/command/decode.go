package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"imserver/internal/wire"
)

// Fields is what a request can be that is decoded often: it says where its
// members go, which spares the reflection that is most of the time of decoding
// a message. Unlike elsewhere the spelling counts. It must not be embedded in
// another request, whose own members would be passed over.
type Fields interface {
	// Field returns a pointer to the member of that name, nil for others.
	Field(name []byte) any
}

// decode reads a body into req.
func decode(body []byte, req any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	f, ok := req.(Fields)
	if !ok || !gjson.ValidBytes(body) {
		return json.Unmarshal(body, req)
	}
	object, err := wire.Members(body, func(name, value []byte) error {
		if field := f.Field(name); field != nil {
			return set(name, value, field)
		}
		return nil
	})
	if !object {
		return json.Unmarshal(body, req)
	}
	return err
}

// set decodes a member, with plain texts, whole numbers and raw JSON done by hand.
func set(name, value []byte, field any) error {
	switch f := field.(type) {
	case *string:
		if n := len(value); value[0] == '"' && bytes.IndexByte(value, '\\') < 0 && utf8.Valid(value) {
			*f = string(value[1 : n-1])
			return nil
		}
	case *int:
		if n, err := strconv.Atoi(string(value)); err == nil {
			*f = n
			return nil
		}
	case *int64:
		if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			*f = n
			return nil
		}
	case *json.RawMessage:
		*f = bytes.Clone(value)
		return nil
	}
	err := json.Unmarshal(value, field)
	if e := (*json.UnmarshalTypeError)(nil); errors.As(err, &e) {
		e.Field = strings.TrimSuffix(string(name)+"."+e.Field, ".")
	}
	return err
}
