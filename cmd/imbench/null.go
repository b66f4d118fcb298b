package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/spf13/cobra"

	"imserver/bench/loadgen"
)

// nullCommand is the measure of the generator itself: a server that does
// nothing but answer OK, and hand a chat message's text to its receiver.
func nullCommand(*runner) *cobra.Command {
	var listen string
	cmd := &cobra.Command{Use: "null", Short: "A server that only answers: the generator's own limit", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return err
			}
			fmt.Printf("listening on %s\n", l.Addr())
			s := &nullServer{users: map[string]*nullConn{}}
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
	return cmd
}

type nullServer struct {
	mu    sync.RWMutex
	users map[string]*nullConn // guarded by mu
}

type nullConn struct {
	nc net.Conn
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
	c := &nullConn{nc: nc}
	var out, push []byte
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
		if name == "openim.sendmsg" {
			s.mu.RLock()
			to := s.users[loadgen.Member(doc, `"To_Account":"`)]
			s.mu.RUnlock()
			push = append(push[:0], `{"head":{"ver":"v4","servcmd":"im_open_push.msg_push"},"body":{"Text":"`...)
			push = append(append(push, loadgen.Member(doc, `"Text":"`)...), `"}}`...)
			if to != nil {
				to.write(frame(nil, push))
			}
		}
		out = append(out[:0], `{"head":{"ver":"v4","servcmd":"`...)
		out = append(append(out, name...), `","seq":`...)
		out = append(append(out, loadgen.Digits(doc, `"seq":`)...), `},"body":{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","A2Key":"k","TinyId":"1","InstId":1}}`...)
		c.write(frame(nil, out))
	}
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
