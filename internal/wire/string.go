package wire

import (
	"strconv"
	"unicode/utf8"
)

const hex = "0123456789abcdef"

// AppendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD,
// because the SDKs may throw on bytes that are not UTF-8 (protocol 01 §2).
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\ufffd"...)
			i++
			start = i
			continue
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// Object builds a JSON object by appending; it is for hot paths, where
// reflection would be the larger part of the cost. Names are constants of ours.
type Object struct{ buf []byte }

// OpenObject starts an object on dst.
func OpenObject(dst []byte) Object { return Object{append(dst, '{')} }

func (o *Object) name(name string) {
	if o.buf[len(o.buf)-1] != '{' {
		o.buf = append(o.buf, ',')
	}
	o.buf = append(o.buf, '"')
	o.buf = append(o.buf, name...)
	o.buf = append(o.buf, '"', ':')
}

// Str adds a string member.
func (o *Object) Str(name, value string) {
	o.name(name)
	o.buf = AppendString(o.buf, value)
}

// Int adds a whole-number member.
func (o *Object) Int(name string, value int64) {
	o.name(name)
	o.buf = strconv.AppendInt(o.buf, value, 10)
}

// ID adds a number as a decimal string, the form of TinyId (protocol 01 §8).
func (o *Object) ID(name string, value int64) {
	o.name(name)
	o.buf = append(o.buf, '"')
	o.buf = strconv.AppendInt(o.buf, value, 10)
	o.buf = append(o.buf, '"')
}

// Flag adds 1 or 0.
func (o *Object) Flag(name string, value bool) {
	n := int64(0)
	if value {
		n = 1
	}
	o.Int(name, n)
}

// Raw adds a member whose value is JSON already; empty means null.
func (o *Object) Raw(name string, value []byte) {
	o.name(name)
	if len(value) == 0 {
		value = []byte("null")
	}
	o.buf = append(o.buf, value...)
}

// List adds an array of values that are JSON already.
func (o *Object) List(name string, values [][]byte) {
	o.name(name)
	o.buf = append(o.buf, '[')
	for i, value := range values {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = append(o.buf, value...)
	}
	o.buf = append(o.buf, ']')
}

// Ints adds an array of whole numbers.
func (o *Object) Ints(name string, values []int64) {
	o.name(name)
	o.buf = append(o.buf, '[')
	for i, value := range values {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = strconv.AppendInt(o.buf, value, 10)
	}
	o.buf = append(o.buf, ']')
}

// Close ends the object and returns the buffer.
func (o *Object) Close() []byte { return append(o.buf, '}') }
