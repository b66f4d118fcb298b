// Package loadgen is the client that load is made with. It speaks the SDK's
// protocol (protocol 01) over a bare TCP connection: frames are parsed by
// hand, a connection that waits has neither a goroutine nor a buffer, a request
// costs no allocation. What it can drive at most is measured against a server
// that does nothing but answer (see imbench null).
package loadgen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zlib"
)

// epoch is what Now counts from.
var epoch = time.Now()

// Now is nanoseconds on the monotonic clock of this process.
func Now() int64 { return int64(time.Since(epoch)) }

// Reply is the answer to a request. Doc is valid during the callback only.
// Callbacks of one connection run one after the other and must not block.
type Reply struct {
	Code int // ErrorCode, or CodeLost
	Doc  []byte
	Sent int64 // Now when the request was written
	At   int64 // Now when the answer was read
	Tag  int64 // as given to Send
}

// CodeLost is the code of requests that a lost connection left unanswered.
const CodeLost = -1

// pending is how many requests of a connection may be under way, unless Grow
// made room for more.
const pending = 32

type slot struct {
	seq  uint32
	sent int64
	tag  int64
	done func(Reply)
}

// Conn is a client's connection.
type Conn struct {
	// OnPush is called with every document that is no answer. It is set before
	// Start and must not block.
	OnPush func(doc []byte, at int64)

	sock   socket
	part   []byte // the begin of a frame whose end has not arrived; used by the reader only
	head   []byte // of a request, from after the seq to the body
	mu     sync.Mutex
	out    []byte // guarded by mu: frames made and not yet written
	corked bool   // guarded by mu: the reader writes them when it is done
	seq    uint32 // guarded by mu
	slots  []slot // guarded by mu; by seq
	broken bool   // guarded by mu
	ended  chan struct{}
}

// dialer leaves keep-alive probes out: ten thousand idle connections would
// pay for them.
var dialer = net.Dialer{Timeout: 30 * time.Second, KeepAlive: -1}

// Dial opens a WebSocket as the SDK does: address is what proxyServer says,
// ws://host:port, the path /binfo and the SDK's query are added. It does not
// start reading; see Start.
func Dial(address string, app uint32, instance string) (*Conn, error) {
	return dial(address, app, instance, false)
}

// dial is Dial of a connection that may be read apart, see Target.
func dial(address string, app uint32, instance string, apart bool) (*Conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	nc, err := dialer.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	path := fmt.Sprintf("%s/binfo?sdkappid=%d&instanceid=%s&random=0.5&platform=7&host=unknown&version=-1&sdkversion=3.6.6&compress=gzip", u.Path, app, instance)
	_, err = io.WriteString(nc, "GET "+path+" HTTP/1.1\r\nHost: "+u.Host+"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	r := bufio.NewReaderSize(nc, 512)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols || r.Buffered() > 0 {
		_ = nc.Close()
		return nil, fmt.Errorf("the server answers the upgrade with %s", res.Status)
	}
	c := &Conn{seq: 1000, ended: make(chan struct{})}
	c.sock, err = newSocket(nc.(*net.TCPConn), apart)
	return c, err
}

// Start begins to read.
func (c *Conn) Start() { c.sock.start(c) }

// Close ends the connection.
func (c *Conn) Close() {
	c.mu.Lock()
	if !c.broken {
		c.sock.end()
	}
	c.mu.Unlock()
	<-c.ended
}

// Ended is closed when the connection is gone.
func (c *Conn) Ended() <-chan struct{} { return c.ended }

// Send writes a request; done is called once from the reading goroutine, with
// tag, when it is answered or the connection is lost. It returns when the
// request was handed to the kernel.
func (c *Conn) Send(command string, body []byte, tag int64, done func(Reply)) {
	c.mu.Lock()
	if c.slots == nil {
		c.slots = make([]slot, pending)
	}
	c.seq++
	s := &c.slots[c.seq%uint32(len(c.slots))]
	if c.broken || s.done != nil {
		c.mu.Unlock()
		done(Reply{Code: CodeLost, Tag: tag})
		return
	}
	b := append(c.out, docStart...)
	b = append(b, command...)
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, uint64(c.seq), 10)
	b = append(b, c.head...)
	b = append(b, body...)
	b = append(b, '}')
	c.out = sealFrame(b, len(c.out))
	*s = slot{seq: c.seq, sent: Now(), tag: tag, done: done}
	if !c.corked {
		c.flushLocked()
	}
	c.mu.Unlock()
}

func (c *Conn) flushLocked() {
	if len(c.out) == 0 {
		return
	}
	if err := c.sock.write(c.out); err != nil {
		c.sock.end() // the reader ends and reports every request
	}
	c.out = c.out[:0]
}

// cork gathers what callbacks send until uncork, which writes it at once: a
// generator that plays many users would otherwise spend its time in system
// calls.
func (c *Conn) cork() {
	c.mu.Lock()
	c.corked = true
	c.mu.Unlock()
}

func (c *Conn) uncork() {
	c.mu.Lock()
	c.corked = false
	c.flushLocked()
	c.mu.Unlock()
}

// docStart is room for a header of 8 bytes (a payload of 126 to 65535), and
// what every request begins with.
const docStart = "\x00\x00\x00\x00\x00\x00\x00\x00" + docPrefix

// sealFrame fills in the header of a final, masked binary frame that begins at
// start. The mask is zero, which RFC 6455 §5.3 allows and which costs the
// client nothing; the server unmasks as ever.
func sealFrame(b []byte, start int) []byte {
	n := len(b) - start - 8
	b[start] = 0x82
	b[start+1] = 0x80 | 126
	binary.BigEndian.PutUint16(b[start+2:], uint16(n)) // requests of a run are between 126 and 65535 bytes
	return b
}

// take handles what was read; b is the reader's. It reports false when the
// connection has ended.
func (c *Conn) take(b []byte) bool {
	at := Now()
	if len(c.part) > 0 {
		c.part = append(c.part, b...)
		b = c.part
	}
	c.cork()
	defer c.uncork()
	for {
		opcode, payload, size := parseFrame(b)
		if size < 0 {
			return false
		}
		if size == 0 {
			break
		}
		b = b[size:]
		if !c.frame(opcode, payload, at) {
			return false
		}
	}
	if len(b) == 0 {
		c.part = nil
	} else {
		c.part = append([]byte(nil), b...)
	}
	return true
}

// parseFrame returns the first frame of b and its size: 0 when it is not
// complete, -1 when it is nothing this server sends.
func parseFrame(b []byte) (opcode byte, payload []byte, size int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	if b[0]&0x80 == 0 || b[1]&0x80 != 0 {
		return 0, nil, -1
	}
	n, start := int(b[1]), 2
	switch n {
	case 126:
		if len(b) < 4 {
			return 0, nil, 0
		}
		n, start = int(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return 0, nil, 0
		}
		n, start = int(binary.BigEndian.Uint64(b[2:])), 10
	}
	if len(b) < start+n {
		return 0, nil, 0
	}
	return b[0] & 15, b[start : start+n], start + n
}

func (c *Conn) frame(opcode byte, payload []byte, at int64) bool {
	switch opcode {
	case 1, 2:
		c.document(payload, at)
	case 9:
		c.mu.Lock()
		c.out = append(append(c.out, 0x8a, 0x80|byte(len(payload)), 0, 0, 0, 0), payload...)
		c.mu.Unlock()
	case 8:
		return false
	}
	return true
}

var errNoDocument = errors.New("loadgen: a frame that is no document of the protocol")

const docPrefix = `{"head":{"ver":"v4","servcmd":"`

// document hands a document to the one who waits for it. What the server
// writes begins the same every time, so the head needs no JSON decoder.
func (c *Conn) document(doc []byte, at int64) {
	if bytes.HasPrefix(doc, []byte("COMP")) {
		doc = inflate(doc[4:])
	}
	if !bytes.HasPrefix(doc, []byte(docPrefix)) {
		panic(fmt.Sprintf("%v: %.80q", errNoDocument, doc)) // a server that speaks otherwise cannot be measured
	}
	rest := doc[len(docPrefix):]
	rest = rest[bytes.IndexByte(rest, '"')+1:]
	if !bytes.HasPrefix(rest, []byte(`,"seq":`)) {
		if c.OnPush != nil {
			c.OnPush(doc, at)
		}
		return
	}
	seq := uint32(number(rest[7:]))
	c.mu.Lock()
	if len(c.slots) == 0 {
		c.mu.Unlock()
		return
	}
	s := &c.slots[seq%uint32(len(c.slots))]
	if s.seq != seq || s.done == nil {
		c.mu.Unlock()
		return
	}
	mine := *s
	s.done = nil
	c.mu.Unlock()
	mine.done(Reply{Code: codeOf(rest), Doc: doc, Sent: mine.sent, At: at, Tag: mine.tag})
}

func codeOf(doc []byte) int {
	const name = `"ErrorCode":`
	if i := bytes.Index(doc, []byte(name)); i >= 0 {
		return int(number(doc[i+len(name):]))
	}
	return 0
}

// number reads the digits that b begins with.
func number(b []byte) (n int64) {
	for _, d := range b {
		if d < '0' || d > '9' {
			break
		}
		n = n*10 + int64(d-'0')
	}
	return n
}

// inflated is a packed document and what was in it.
type inflated struct{ packed, doc []byte }

var (
	inflaters sync.Pool
	// newest is the last document that was unpacked. Thousands of devices get
	// the same bytes one after the other, and it is their machines that unpack
	// them, not the generator's.
	newest atomic.Pointer[inflated]
)

func inflate(b []byte) []byte {
	if n := newest.Load(); n != nil && bytes.Equal(n.packed, b) {
		return n.doc
	}
	r, _ := inflaters.Get().(io.ReadCloser)
	if r == nil {
		r, _ = zlib.NewReader(bytes.NewReader(b)) // nil again when b is none
	} else if r.(zlib.Resetter).Reset(bytes.NewReader(b), nil) != nil {
		return nil
	}
	if r == nil {
		return nil
	}
	doc, _ := io.ReadAll(r) // what is cut short fails the prefix check
	inflaters.Put(r)
	newest.Store(&inflated{bytes.Clone(b), doc})
	return doc
}

// fail closes the socket and reports every request that waits.
func (c *Conn) fail() {
	c.mu.Lock()
	c.broken = true
	c.sock.close()
	var waiting []slot
	for i := range c.slots {
		if c.slots[i].done != nil {
			waiting = append(waiting, c.slots[i])
			c.slots[i].done = nil
		}
	}
	c.mu.Unlock()
	close(c.ended)
	for _, s := range waiting {
		s.done(Reply{Code: CodeLost, Sent: s.sent, At: Now(), Tag: s.tag})
	}
}

// Grow makes room for n requests under way. It is called before the device
// sends, or while none waits.
func (c *Conn) Grow(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > len(c.slots) {
		c.slots = make([]slot, n)
	}
}
