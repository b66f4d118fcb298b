package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"

	"imserver/bench/loadgen"
)

// serveCommand is the bare server, a process of its own. On /echo it returns
// what it gets; on /binfo it waits until --expect sockets are there and then
// writes the same frame to all of them, again and again, as fast as they take it.
func serveCommand() *cobra.Command {
	var expect, size int
	cmd := &cobra.Command{Use: "serve", Hidden: true, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(l.Addr())
		b := &broadcaster{expect: expect, frame: pushFrame(size)}
		return http.Serve(l, b) // a yardstick: no limits, on loopback
	}}
	cmd.Flags().IntVar(&expect, "expect", 0, "sockets to wait for; 0 = echo only")
	cmd.Flags().IntVar(&size, "size", 100, "bytes of text in the frame")
	return cmd
}

// pushFrame is a group message's push as the server sends it, of that size.
func pushFrame(size int) []byte {
	doc := []byte(`{"head":{"ver":"v4","servcmd":"im_open_push.msg_push"},"body":{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","EventArray":[` +
		`{"Event":3,"GroupMsgArray":[{"From_Account":"b2abcs1","To_Account":"@TGS#2J4SZEAEL","GroupId":"@TGS#2J4SZEAEL","MsgSeq":1234,"MsgRandom":1234567890,` +
		`"MsgTimeStamp":1795387270,"MsgClientTime":1795387270,"ClientSeq":2241100001,"TinyId":"144115200000012345","MsgPriority":2,"From_AccountNick":"",` +
		`"From_AccountHeadurl":"","GroupInfo":{"GroupType":"ChatRoom","GroupName":"a group of the run","From_AccountNick":"","From_AccountNameCard":""},` +
		`"CloudCustomData":"","NeedReadReceipt":0,"SupportMessageExtension":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"`)
	doc = loadgen.Text(doc, 0, 0, size)
	return append(doc, `"}}]}]}]}}`...)
}

type broadcaster struct {
	expect int
	frame  []byte
	mu     sync.Mutex
	conns  []*websocket.Conn // guarded by mu
}

var upgrader = websocket.Upgrader{} // default buffers, as the documentation's echo example

func (b *broadcaster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	if b.expect == 0 {
		b.echo(ws)
		return
	}
	b.mu.Lock()
	b.conns = append(b.conns, ws)
	full := len(b.conns) == b.expect
	b.mu.Unlock()
	if full {
		go b.broadcast()
	}
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
	}
}

func (b *broadcaster) echo(ws *websocket.Conn) {
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if ws.WriteMessage(kind, p) != nil {
			return
		}
	}
}

// broadcast writes with two goroutines, one for each processor of the machine
// that the targets were set on, each to its half of the sockets.
func (b *broadcaster) broadcast() {
	time.Sleep(300 * time.Millisecond) // the last client reads by then
	prepared, err := websocket.NewPreparedMessage(websocket.BinaryMessage, b.frame)
	if err != nil {
		panic(err)
	}
	half := len(b.conns) / 2
	for _, part := range [][]*websocket.Conn{b.conns[:half], b.conns[half:]} {
		go func() {
			for {
				for _, ws := range part {
					if ws.WritePreparedMessage(prepared) != nil {
						return
					}
				}
			}
		}()
	}
}

// startServer runs this program's serve and returns its address and process.
func startServer(args ...string) (address string, cmd *exec.Cmd, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd = exec.Command(self, append([]string{"serve"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err = cmd.Start(); err != nil {
		return "", nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(line), cmd, err
}

func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // it may have ended
	_ = cmd.Wait()
}

func broadcastCommand(duration *time.Duration) *cobra.Command {
	var sockets, size int
	cmd := &cobra.Command{Use: "broadcast", Short: "A bare gorilla server writes one frame to all sockets", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			address, server, err := startServer("--expect", fmt.Sprint(sockets), "--size", fmt.Sprint(size))
			if err != nil {
				return err
			}
			defer stop(server)
			var received atomic.Uint64
			for range sockets {
				c, err := loadgen.Dial("ws://"+address, 1, "x")
				if err != nil {
					return err
				}
				c.OnPush = func(doc []byte, _ int64) {
					loadgen.Stamps(doc, func(int64, int64) { received.Add(1) })
				}
				c.Start()
			}
			time.Sleep(time.Second)
			before, _ := loadgen.ReadUsage(server.Process.Pid)
			n, start := received.Load(), time.Now()
			time.Sleep(*duration)
			n, seconds := received.Load()-n, time.Since(start).Seconds()
			after, _ := loadgen.ReadUsage(server.Process.Pid)
			return figures{"deliveries_per_second": float64(n) / seconds, "sockets": float64(sockets),
				"server_us_per_delivery": (after.CPU - before.CPU) * 1e6 / float64(max(n, 1))}.print()
		}}
	cmd.Flags().IntVar(&sockets, "sockets", 100, "sockets")
	cmd.Flags().IntVar(&size, "size", 100, "bytes of text in the frame")
	return cmd
}

func idleCommand(duration *time.Duration) *cobra.Command {
	var sockets int
	cmd := &cobra.Command{Use: "idle", Short: "Memory of a bare gorilla echo connection with default buffers", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			address, server, err := startServer()
			if err != nil {
				return err
			}
			defer stop(server)
			before, err := loadgen.ReadUsage(server.Process.Pid)
			if err != nil {
				return err
			}
			conns := make([]*loadgen.Conn, sockets)
			for i := range conns {
				if conns[i], err = loadgen.Dial("ws://"+address, 1, "x"); err != nil {
					return err
				}
				conns[i].Start()
				conns[i].Send("heartbeat.alive", []byte("{}"), 0, func(loadgen.Reply) {})
			}
			time.Sleep(*duration) // the server collects its garbage meanwhile
			after, err := loadgen.ReadUsage(server.Process.Pid)
			if err != nil {
				return err
			}
			return figures{"bytes_per_connection": float64(after.RSS-before.RSS) / float64(sockets), "sockets": float64(sockets)}.print()
		}}
	cmd.Flags().IntVar(&sockets, "sockets", 10_000, "sockets")
	return cmd
}
