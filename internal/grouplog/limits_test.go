package grouplog_test

import (
	"fmt"
	"strings"
	"testing"
)

// Ensure that each bound on what one request about messages may name is where it
// is said to be: that much passes, one more is refused (protocol 03 §16).
func TestRequestLimits(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		id := w.group(t, "Public", u[0], u[1])
		w.say(t, u[0], id, "one", `"NeedReadReceipt":1`)
		number := 100
		for _, l := range []struct {
			command, before, item, after string
			most, code                   int
		}{
			{"send_group_msg", `"MsgBody":` + body("x") + `,"MsgPriority":"Normal","To_Account":[`, `"ben"`, `]`, 50, 10005},
			{"group_msg_recall", `"MsgSeqList":[`, `{"MsgSeq":9}`, `]`, 30, 10004},
			{"delete_group_ramble_msg_by_seq", `"Seqs":[`, `"1"`, `]`, 30, 10004},
			{"group_msg_get", `"GetType":3,"ReqMsgSeqList":[`, `1`, `]`, 100, 10004},
			{"get_group_msg_receipt", `"MsgSeqList":[`, `{"MsgSeq":1}`, `]`, 100, 10004},
		} {
			for _, n := range []int{l.most, l.most + 1} {
				want := 0
				if n > l.most {
					want = l.code
				}
				number++
				list := strings.TrimSuffix(strings.Repeat(l.item+",", n), ",")
				req := fmt.Sprintf(`{"GroupId":%q,"Random":%d,"ClientSeq":%d,%s%s%s}`, id, number, number, l.before, list, l.after)
				if a := u[0].Call(t, "group_open_http_svc."+l.command, req); a.Code != want {
					t.Errorf("%s with %d: %d, want %d: %.200s", l.command, n, a.Code, want, a.Text)
				}
			}
		}
	})
}
