package wire

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// Mode is how a connection wants its frames (protocol 01 §2): the opcode
// follows the path it came in by, COMP only if it asked for it.
type Mode uint8

// Modes of a connection.
const (
	Text       Mode = iota // "/info": text messages, never compressed
	Binary                 // "/binfo"
	Compressed             // "/binfo" with compress=gzip: COMP + zlib for large frames
	modes
)

// compressFrom is the JSON size from which a COMP frame is worth its CPU time
// (protocol 01 §2 suggests 1-2 KiB; pushes below that are the rule).
const compressFrom = 2048

// Frame is one JSON document to send, encoded at most once per mode and shared
// by every connection it goes to. It is immutable and safe for concurrent use.
type Frame struct {
	doc  []byte
	once [modes]sync.Once
	enc  [modes][]byte
}

// NewFrame takes ownership of doc, a JSON document {"head":…,"body":…}.
func NewFrame(doc []byte) *Frame { return &Frame{doc: doc} }

// JSON returns the document; the caller must not change it.
func (f *Frame) JSON() []byte { return f.doc }

// Bytes returns the frame as WebSocket bytes (header and payload, server to
// client, unmasked) for a mode; the caller must not change them.
func (f *Frame) Bytes(m Mode) []byte {
	if m == Compressed && len(f.doc) < compressFrom {
		m = Binary
	}
	f.once[m].Do(func() { f.enc[m] = AppendMessage(nil, f.doc, m) })
	return f.enc[m]
}

// AppendMessage appends doc as one WebSocket message in the given mode.
func AppendMessage(dst, doc []byte, m Mode) []byte {
	switch {
	case m == Text:
		return append(appendHeader(dst, 1, len(doc)), doc...)
	case m == Compressed && len(doc) >= compressFrom:
		packed := compress(doc)
		return append(appendHeader(dst, 2, len(packed)), packed...)
	}
	return append(appendHeader(dst, 2, len(doc)), doc...)
}

// appendHeader appends the header of a final, unmasked data frame (RFC 6455 §5.2).
func appendHeader(dst []byte, opcode byte, size int) []byte {
	dst = append(dst, 0x80|opcode)
	switch {
	case size < 126:
		return append(dst, byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(size))
}

var deflaters = sync.Pool{New: func() any {
	w, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed) // the level is valid
	return w
}}

// compress returns "COMP" and a zlib stream of doc (protocol 01 §2).
func compress(doc []byte) []byte {
	var buf bytes.Buffer
	buf.Grow(len(doc)/3 + 64)
	buf.WriteString("COMP")
	w := deflaters.Get().(*zlib.Writer)
	w.Reset(&buf)
	_, _ = w.Write(doc) // a bytes.Buffer does not fail
	_ = w.Close()
	deflaters.Put(w)
	return buf.Bytes()
}

// AppendAnswer appends the document of an answer: head with the request's
// command and sequence echoed, and body, a JSON object (protocol 01 §5).
func AppendAnswer(dst []byte, command, seq string, body []byte) []byte {
	dst = append(dst, `{"head":{"ver":"v4","servcmd":`...)
	dst = AppendString(dst, command)
	dst = append(dst, `,"seq":`...)
	if seq == "" {
		seq = "0"
	}
	dst = append(dst, seq...)
	dst = append(dst, `},"body":`...)
	dst = append(dst, body...)
	return append(dst, '}')
}

// Names of frames that the server sends by itself (protocol 01 §12, §13).
const (
	PushCommand     = "im_open_push.msg_push"
	KickCommand     = "im_open_status.stat_forceoffline"
	RelogCommand    = "StatSvc.KickOther"
	OverloadCommand = "OverLoadPush.notify2"
	OverloadNotif   = "OverLoadPush.notify2"
)

const (
	pushHead = `{"head":{"ver":"v4","servcmd":"` + PushCommand + `"},"body":{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","EventArray":[`
	pushTail = `]}}`
)

// AppendPush appends a push document with the given event items, each a JSON
// object with exactly one payload key (protocol 01 §13).
func AppendPush(dst []byte, items ...[]byte) []byte {
	dst = append(dst, pushHead...)
	for i, item := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, item...)
	}
	return append(dst, pushTail...)
}

// Compresses reports whether a push of one item is sent compressed in a mode.
// Such a push is worth a [Frame]; others are written in place.
func (m Mode) Compresses(item []byte) bool {
	return m == Compressed && len(pushHead)+len(item)+len(pushTail) >= compressFrom
}

// AppendMergedPush appends one WebSocket message that pushes items. It is
// written in place and not compressed.
func AppendMergedPush(dst []byte, items [][]byte, m Mode) []byte {
	size := len(pushHead) + len(pushTail) + len(items) - 1
	for _, item := range items {
		size += len(item)
	}
	opcode := byte(2)
	if m == Text {
		opcode = 1
	}
	return AppendPush(appendHeader(dst, opcode, size), items...)
}
