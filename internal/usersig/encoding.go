package usersig

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// alphabet is standard base64 in which '+', '/' and the padding '=' are spelt '*', '-' and '_'.
// It is not the URL-safe alphabet of RFC 4648.
var alphabet = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-").WithPadding('_')

// document is the JSON inside a ticket. Keys it does not name are ignored.
type document struct {
	Version    string  `json:"TLS.ver"`
	Identifier string  `json:"TLS.identifier"`
	SDKAppID   uint32  `json:"TLS.sdkappid"`
	Time       int64   `json:"TLS.time"`
	Expire     int64   `json:"TLS.expire"`
	UserBuf    *string `json:"TLS.userbuf,omitempty"`
	Sig        string  `json:"TLS.sig"`
}

// deflaters are kept because a fresh one costs 800 KiB.
var deflaters = sync.Pool{New: func() any { return zlib.NewWriter(nil) }}

func encode(t Ticket, signature []byte) (string, error) {
	doc := document{
		Version:    version,
		Identifier: t.UserID,
		SDKAppID:   t.SDKAppID,
		Time:       t.IssuedAt,
		Expire:     t.Lifetime,
		Sig:        base64.StdEncoding.EncodeToString(signature),
	}
	if t.UserBuf != nil {
		doc.UserBuf = &t.userBufText
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("usersig: %w", err)
	}
	var packed bytes.Buffer
	w := deflaters.Get().(*zlib.Writer)
	defer deflaters.Put(w)
	w.Reset(&packed)
	if _, err := w.Write(text); err != nil {
		return "", fmt.Errorf("usersig: %w", err)
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("usersig: %w", err)
	}
	sig := alphabet.EncodeToString(packed.Bytes())
	if len(sig) > MaxTicketBytes {
		return "", fmt.Errorf("usersig: ticket has %d bytes, at most %d are allowed", len(sig), MaxTicketBytes)
	}
	return sig, nil
}

// Parse reads a ticket without checking its signature: what it says is a claim until Verify has agreed.
// The error is ErrEmpty or wraps ErrMalformed.
func Parse(sig string) (Ticket, error) {
	if sig == "" {
		return Ticket{}, ErrEmpty
	}
	if len(sig) > MaxTicketBytes {
		return Ticket{}, malformed("longer than %d bytes", MaxTicketBytes)
	}
	if strings.ContainsAny(sig, "\r\n") { // which the base64 decoder would skip
		return Ticket{}, malformed("line break")
	}
	packed, err := alphabet.DecodeString(sig)
	if err != nil {
		return Ticket{}, malformed("%v", err)
	}
	text, err := inflate(packed)
	if err != nil {
		return Ticket{}, malformed("%v", err)
	}
	if !utf8.Valid(text) {
		return Ticket{}, malformed("not UTF-8")
	}
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		return Ticket{}, malformed("%v", err)
	}
	return doc.ticket()
}

func (doc document) ticket() (Ticket, error) {
	if doc.Version != version {
		return Ticket{}, malformed("version is not %s", version)
	}
	if !validUserID(doc.Identifier) {
		return Ticket{}, malformed("user ID")
	}
	t := Ticket{
		UserID:   doc.Identifier,
		SDKAppID: doc.SDKAppID,
		IssuedAt: doc.Time,
		Lifetime: doc.Expire,
	}
	if doc.UserBuf != nil {
		// A line break in it would let one signed text be read as two different tickets (see validUserID).
		if strings.ContainsAny(*doc.UserBuf, "\r\n") {
			return Ticket{}, malformed("line break in userbuf")
		}
		buf, err := base64.StdEncoding.DecodeString(*doc.UserBuf)
		if err != nil {
			return Ticket{}, malformed("userbuf: %v", err)
		}
		t.UserBuf, t.userBufText = buf, *doc.UserBuf
	}
	// A signature that is no base64 is a wrong signature, not a broken ticket: it equals nothing.
	t.signature, _ = base64.StdEncoding.DecodeString(doc.Sig)
	return t, nil
}

// inflaters are kept because a fresh one costs a window of 32 KiB, and every login and REST call needs one.
var inflaters sync.Pool

func inflate(packed []byte) ([]byte, error) {
	source := bytes.NewReader(packed)
	z, reused := inflaters.Get().(io.ReadCloser)
	var err error
	if reused {
		err = z.(zlib.Resetter).Reset(source, nil)
	} else {
		z, err = zlib.NewReader(source)
	}
	if err != nil {
		return nil, err
	}
	defer inflaters.Put(z)
	// To the end of the stream, because that is where zlib keeps its checksum.
	text, err := io.ReadAll(io.LimitReader(z, maxInflatedBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxInflatedBytes {
		return nil, fmt.Errorf("inflates to more than %d bytes", maxInflatedBytes)
	}
	return text, nil
}
