package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"imserver/bench/loadgen"
)

// nullCommand is the measure of the generator itself: a server that does
// nothing but answer OK, and hand a chat message's text to its receiver. With a
// database it stores the message before, which is the measure of any server
// that commits in groups.
func nullCommand(*runner) *cobra.Command {
	var listen, database string
	cmd := &cobra.Command{Use: "null", Short: "A server that only answers: the generator's own limit", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := &nullServer{users: map[string]*nullConn{}}
			if database != "" {
				var stop func()
				var err error
				if s.rows, stop, err = newNullRows(cmd.Context(), database); err != nil {
					return err
				}
				defer stop()
			}
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return err
			}
			fmt.Printf("listening on %s\n", l.Addr())
			go func() {
				for {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					go s.serve(nc)
				}
			}()
			<-cmd.Context().Done()
			return l.Close()
		}}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8099", "address")
	cmd.Flags().StringVar(&database, "database", "", "postgres:// address that imserver migrate has prepared: store every message before it is answered")
	return cmd
}

type nullServer struct {
	mu    sync.RWMutex
	users map[string]*nullConn // guarded by mu
	rows  *nullRows            // nil without a database
	made  atomic.Int64         // connections
}

type nullConn struct {
	nc net.Conn
	id int64
	mu sync.Mutex // one write at a time
}

func (c *nullConn) write(b []byte) {
	c.mu.Lock()
	_, _ = c.nc.Write(b) // a lost client ends by its read
	c.mu.Unlock()
}

func (s *nullServer) serve(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	r := bufio.NewReaderSize(nc, 16<<10)
	if _, err := http.ReadRequest(r); err != nil {
		return
	}
	// The answer to the one key that the generator sends.
	_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	c := &nullConn{nc: nc, id: s.made.Add(1)}
	for {
		doc, err := readMasked(r)
		if err != nil {
			return
		}
		name := loadgen.Member(doc, `"servcmd":"`)
		if name == "im_open_status.wslogin" {
			s.mu.Lock()
			s.users[loadgen.Member(doc, `"identifier":"`)] = c
			s.mu.Unlock()
		}
		if name != "openim.sendmsg" {
			c.answer(name, doc)
			continue
		}
		s.mu.RLock()
		to := s.users[loadgen.Member(doc, `"To_Account":"`)]
		s.mu.RUnlock()
		done := func() {
			if to != nil {
				to.push(doc)
			}
			c.answer(name, doc)
		}
		if s.rows == nil {
			done()
		} else if to != nil {
			s.rows.add(c, to, doc, done)
		}
	}
}

// push hands the text of a message on.
func (c *nullConn) push(doc []byte) {
	push := append(make([]byte, 0, 256), `{"head":{"ver":"v4","servcmd":"im_open_push.msg_push"},"body":{"Text":"`...)
	c.write(frame(make([]byte, 0, 256), append(append(push, loadgen.Member(doc, `"Text":"`)...), `"}}`...)))
}

// answer says that all is well.
func (c *nullConn) answer(name string, doc []byte) {
	out := append(make([]byte, 0, 256), `{"head":{"ver":"v4","servcmd":"`...)
	out = append(append(out, name...), `","seq":`...)
	out = append(append(out, loadgen.Digits(doc, `"seq":`)...), `},"body":{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","A2Key":"k","TinyId":"1","InstId":1}}`...)
	c.write(frame(make([]byte, 0, 256), out))
}

// readMasked reads one frame whose mask is zero, as the generator's are.
func readMasked(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	n, skip := int(head[1]&0x7f), 6
	if n == 126 {
		if head, err = r.Peek(4); err != nil {
			return nil, err
		}
		n, skip = int(binary.BigEndian.Uint16(head[2:])), 8
	}
	if _, err = r.Discard(skip); err != nil {
		return nil, err
	}
	doc := make([]byte, n)
	_, err = io.ReadFull(r, doc)
	return doc, err
}

func frame(dst, doc []byte) []byte {
	dst = append(dst, 0x82)
	if len(doc) < 126 {
		return append(append(dst, byte(len(doc))), doc...)
	}
	return append(binary.BigEndian.AppendUint16(append(dst, 126), uint16(len(doc))), doc...)
}
