package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/session"
	"imserver/internal/store"
)

// marker stands in everything that an outsider must not see.
const marker = "s3cr3t"

// stage is a node with two people who have things of their own, and an
// outsider.
type stage struct {
	*node
	app     *config.App
	uids    map[string]int64
	key     string // of a message between alice and bob
	numbers [3]int64
	relay   string
	group   string
}

// mustStage makes a stage on SQLite, or on the Postgres of a URL.
func mustStage(t testing.TB, url ...string) *stage {
	t.Helper()
	c := config.Default()
	if len(url) > 0 {
		c.DatabaseURL = url[0]
	}
	c.DataDir = t.TempDir()
	c.Apps = []config.App{{SDKAppID: 1400000001, Keys: []string{"k"}, Settings: c.Defaults}}
	c.Apps[0].GroupRate = 0
	n, err := newNode(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.close(context.Background()) })
	s := &stage{node: n, app: &c.Apps[0], uids: map[string]int64{}}
	for _, name := range []string{"alice", "bob", "eve"} {
		a, _, err := n.accounts.Ensure(t.Context(), s.app.SDKAppID, name)
		if err != nil {
			t.Fatal(err)
		}
		s.uids[name] = a.UID
	}
	return s
}

// wire is a connection without a socket.
type wire struct{}

func (wire) ID() uint64          { return 1 }
func (wire) Query(string) string { return "" }
func (wire) Join(fanout.Topic)   {}
func (wire) Leave(fanout.Topic)  {}

// ask runs a command of users and returns the body of the answer.
func (s *stage) ask(t testing.TB, user, name string, body []byte) (code int, answer string) {
	t.Helper()
	return s.askAs(t, command.Users, user, name, body)
}

// askAs is ask of any kind of caller.
func (s *stage) askAs(t testing.TB, kind command.Access, user, name string, body []byte) (code int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	call := &command.Call{Name: name, Kind: kind, App: s.app, UserID: user, UID: s.uids[user], Inst: 1, Platform: 7, RequestID: "r", Conn: wire{},
		Session: &session.Session{App: s.app.SDKAppID, UserID: user, UID: s.uids[user], Inst: 1, ExpiresAt: time.Now().Add(time.Hour).Unix()}}
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s %s panics: %v", name, body, p)
		}
	}()
	v, err := s.table.Run(ctx, call, body)
	v, err = command.Await(ctx, v, err)
	doc, code := command.AppendAnswer(nil, v, err)
	return code, string(doc)
}

// must is ask of an insider, for setting the stage.
func (s *stage) must(t testing.TB, user, name, body string) map[string]any {
	t.Helper()
	code, answer := s.ask(t, user, name, []byte(body))
	if code != 0 {
		t.Fatalf("%s of %s: %s", name, user, answer)
	}
	var out map[string]any
	if err := json.Unmarshal([]byte(answer), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// furnish gives alice and bob what an outsider could be after.
func (s *stage) furnish(t testing.TB) {
	t.Helper()
	body := `"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"` + marker + `"}}],"CloudCustomData":"` + marker + `"`
	sent := s.must(t, "alice", "openim.sendmsg", `{"To_Account":"bob","MsgSeq":71,"MsgRandom":72,"MsgClientTime":73,"IsNeedReadReceipt":1,"SupportMessageExtension":1,`+body+`}`)
	s.key = sent["MsgKey"].(string)
	s.numbers = [3]int64{71, 72, int64(sent["MsgTime"].(float64))}
	s.must(t, "bob", "openim_msg_ext_http_svc.set_key_values", `{"From_Account":"alice","To_Account":"bob","MsgKey":"`+s.key+`","OperateType":1,"ExtensionList":[{"Key":"k1","Value":"`+marker+`","Seq":0}]}`)
	s.must(t, "bob", "openim_msg_ext_http_svc.reaction_add", `{"From_Account":"alice","To_Account":"bob","MsgKey":"`+s.key+`","Reaction":"`+marker+`"}`)
	s.relay = s.must(t, "alice", "im_long_msg.save_relay_json_msg", `{"MsgList":[{"Id":"1-2-3",`+body+`}]}`)["JsonMsgKey"].(string)
	s.must(t, "alice", "recentcontact.mark_contact", `{"MarkItem":[{"OptType":2,"ContactItem":{"Type":1,"To_Account":"bob"},"CustomMark":"`+marker+`"}]}`)
	s.must(t, "alice", "recentcontact.create_contact_group", `{"GroupContactItem":[{"GroupName":"`+marker+`","ContactItem":[{"Type":1,"To_Account":"bob"}]}]}`)
	s.must(t, "alice", "im_msg_db_logic.ws_set_do_not_disturb", `{"StartTime":1,"EndTime":2,"IsRepeated":1,"Level":2}`)
	s.must(t, "alice", "openim.set_c2c_peer_mute_notifications", `{"Peer_Account":["bob"],"Mute_Notifications":2}`)
	made := s.must(t, "alice", "group_open_http_svc.create_group", `{"Type":"Private","Name":"team","Owner_Account":"alice","MemberList":[{"Member_Account":"bob"}]}`)
	s.group = made["GroupId"].(string)
	s.must(t, "alice", "group_open_http_svc.send_group_msg", `{"GroupId":"`+s.group+`","Random":72,"ClientSeq":71,"MsgClientTime":73,"NeedReadReceipt":1,"SupportMessageExtension":1,`+body+`}`)
	if s.table.Lookup("group_open_attr_http_svc.modify_group_attr") != 0 {
		s.must(t, "alice", "group_open_attr_http_svc.modify_group_attr", `{"GroupId":"`+s.group+`","GroupAttr":[{"key":"a","value":"`+marker+`"}]}`)
	}
	s.must(t, "bob", "group_open_http_svc.modify_group_member_info", `{"GroupId":"`+s.group+`","Member_Account":"bob","NameCard":"`+marker+`"}`)
}

// seeds returns requests by command: those that real clients sent, and for
// every command one that names everything there is.
func (s *stage) seeds(t testing.TB) map[string][]string {
	t.Helper()
	file, err := os.Open("testdata/requests.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	seeds := map[string][]string{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r struct {
			Command string
			Body    json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		seeds[r.Command] = append(seeds[r.Command], string(r.Body))
	}
	info := fmt.Sprintf(`{"From_Account":"alice","To_Account":"bob","MsgSeq":71,"MsgRandom":72,"MsgTime":%d,"MsgTimeStamp":%d}`, s.numbers[2], s.numbers[2])
	all := `{"From_Account":"alice","To_Account":%s,"Peer_Account":%s,"UserID":"alice","Owner_Account":"alice","Member_Account":"bob","Operator_Account":"alice","Report_Account":"alice",
		"GroupId":"@TGS#1ABC","ToGroupId":"@TGS#1ABC","Type":2,"GroupIdList":["@TGS#1ABC"],"MsgKey":"1_2_3","MsgKeyList":["1_2_3"],"MsgInfo":` + info + `,"C2CMsgInfo":[` + info + `],
		"MsgSeq":1,"MsgSeqList":[{"MsgSeq":1}],"ReqMsgNumber":10,"ReqMsgSeq":10,"MaxCnt":20,"Reaction":"x","OperateType":1,"ExtensionList":[{"Key":"k1","Value":"x","Seq":1}],
		"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}],"CloudCustomData":"x","MsgRandom":5,"MemberList":[{"Member_Account":"eve"}],"Limit":100,"Count":10,
		"GroupAttr":[{"key":"a","value":"x"}],"NewOwner_Account":"eve","Name":"x","MuteAllMember":"On","MuteTime":60,"Members_Account":["bob"],"MemberToDel_Account":["bob"],
		"GroupCounterKeys":["x"],"GroupCounter":[{"Key":"x","Value":1}],"Mode":"Set"}`
	for _, c := range s.table.List() {
		seeds[c.Name] = append(seeds[c.Name], fmt.Sprintf(all, `"bob"`, `"bob"`), fmt.Sprintf(all, `["bob"]`, `["bob","alice"]`))
	}
	return seeds
}

var (
	groupName = regexp.MustCompile(`"(?:@TGS#1ABC|@TGS#AAAAAAA1|@TGS#_@TGS#AAAAAAA[12]|g1)"`)
	keyName   = regexp.MustCompile(`"\d+_\d+_\d+"`)
	seqName   = regexp.MustCompile(`"MsgSeq":2\d{9}`)
	randName  = regexp.MustCompile(`"(MsgRandom)":\d+`)
	timeName  = regexp.MustCompile(`"(MsgTime|MsgTimeStamp|LastedMsgTime)":\d+`)
	fromName  = regexp.MustCompile(`"From_Account":"(alice|bob)"`)
)

// aim makes requests out of a recorded one: at alice's and bob's own things,
// with the recorded names of who asks, and with the outsider's own name there.
func (s *stage) aim(body string) []string {
	body = groupName.ReplaceAllString(body, strconv.Quote(s.group))
	body = keyName.ReplaceAllString(body, strconv.Quote(s.key))
	body = seqName.ReplaceAllString(body, fmt.Sprintf(`"MsgSeq":%d`, s.numbers[0]))
	body = randName.ReplaceAllString(body, fmt.Sprintf(`"$1":%d`, s.numbers[1]))
	body = timeName.ReplaceAllString(body, fmt.Sprintf(`"$1":%d`, s.numbers[2]))
	out := []string{body, fromName.ReplaceAllString(body, `"From_Account":"eve"`), strings.ReplaceAll(body, `"alice"`, `"eve"`), strings.ReplaceAll(body, `"bob"`, `"eve"`)}
	slices.Sort(out)
	return slices.Compact(out)
}

// rows returns the rows of the database that are not the outsider's own, as
// texts by table.
func (s *stage) rows(t *testing.T) map[string][]string {
	t.Helper()
	tables, err := store.Collect(t.Context(), s.db.Read, scanText, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'goose%'`)
	if err != nil {
		t.Fatal(err)
	}
	eve := strconv.FormatInt(s.uids["eve"], 10)
	out := map[string][]string{}
	for _, table := range tables {
		list, err := s.dump(t, table)
		if err != nil {
			t.Fatal(table, err)
		}
		list = slices.DeleteFunc(list, func(row string) bool { return strings.Contains(row, eve) || strings.Contains(row, "eve") })
		slices.Sort(list)
		out[table] = list
	}
	return out
}

func (s *stage) dump(t *testing.T, table string) ([]string, error) {
	rows, err := s.db.Read.QueryContext(t.Context(), `SELECT * FROM `+table)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var list []string
	for rows.Next() {
		values, at := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			at[i] = &values[i]
		}
		if err := rows.Scan(at...); err != nil {
			return nil, err
		}
		var row strings.Builder
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				v = string(b)
			}
			_, _ = fmt.Fprintf(&row, "%s=%v ", names[i], v) // a builder takes everything
		}
		list = append(list, row.String())
	}
	return list, rows.Err()
}

// ear hears what an account's devices are pushed.
type ear struct {
	uid   int64
	mu    sync.Mutex
	heard []string // guarded by mu
}

func (e *ear) Device() fanout.Device { return fanout.Device{UID: e.uid, Inst: 9} }

func (e *ear) Offer(event *fanout.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, string(event.Item))
}

func (e *ear) take() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := strings.Join(e.heard, "\n")
	e.heard = nil
	return all
}

// Ensure that whatever command an outsider calls, with whatever names of other
// people's things, nothing of theirs is shown, changed, or said in their name.
func TestOutsider(t *testing.T) {
	s := mustStage(t)
	s.furnish(t)
	ears := map[string]*ear{}
	for name, uid := range s.uids {
		ears[name] = &ear{uid: uid}
		s.hub.Join(fanout.User(uid), ears[name])
	}
	if _, answer := s.ask(t, "bob", "openim.getroammsg", []byte(`{"Peer_Account":"alice","MaxCnt":20}`)); !strings.Contains(answer, marker) {
		t.Fatal("the stage is empty: ", answer)
	}
	if rows := s.rows(t); !slices.ContainsFunc(rows["group_members"], func(row string) bool { return strings.HasPrefix(row, "gid="+firstGroup+" ") }) {
		t.Fatal("the stage has no group: ", rows["group_members"])
	}
	before := s.rows(t)
	seeds := s.seeds(t)
	calls := 0
	for _, c := range s.table.List() {
		understood := false
		for _, seed := range append(seeds[c.Name], seeds[strings.TrimPrefix(c.Name, "million_")]...) {
			for _, body := range s.aim(seed) {
				calls++
				code, answer := s.ask(t, "eve", c.Name, []byte(body))
				if c.Access&(command.Users|command.Anonymous) == 0 && code == 0 {
					t.Errorf("%s is not for users, and answers %s", c.Name, answer)
				}
				if code == 0 && s.forbidden(c.Name, body) {
					t.Errorf("%s %s\nis for others, and answers %s", c.Name, body, answer)
				}
				understood = understood || code != command.CodeBadRequest
				if strings.Contains(answer, marker) && !strings.Contains(body, marker) {
					t.Errorf("%s %s\nreveals %s", c.Name, body, answer)
				}
				if heard := ears["eve"].take(); strings.Contains(heard, marker) {
					t.Errorf("%s %s\npushes %s", c.Name, body, heard)
				}
				for _, victim := range []string{"alice", "bob"} {
					if heard := ears[victim].take(); fromName.MatchString(heard) {
						t.Errorf("%s %s\ntells %s in another's name: %s", c.Name, body, victim, heard)
					}
				}
				if after := s.rows(t); !s.compare(t, before, after) {
					t.Errorf("by %s %s", c.Name, body)
					before = after
				}
			}
		}
		if !understood {
			t.Errorf("no request for %s is well-formed: add one to testdata/requests.jsonl", c.Name)
		}
	}
	if calls < 500 {
		t.Errorf("only %d calls", calls)
	}
}

// firstGroup is the number of the stage's group; the outsider makes its own.
const firstGroup = "1"

var groupOf = regexp.MustCompile(`^gid=(\d+) `)

// freely are tables where anybody may add rows of their own without being
// named in them.
var freely = []string{"relay_bodies", "groups"}

// compare reports whether every row before is still there, unchanged, and no
// row was added to somebody else's things.
func (s *stage) compare(t *testing.T, before, after map[string][]string) bool {
	t.Helper()
	same := true
	for table, rows := range before {
		for _, row := range rows {
			if _, found := slices.BinarySearch(after[table], row); !found {
				t.Errorf("gone from %s: %s", table, row)
				same = false
			}
		}
	}
	for table, rows := range after {
		if slices.Contains(freely, table) {
			continue
		}
		for _, row := range rows {
			if g := groupOf.FindStringSubmatch(row); g != nil && g[1] != firstGroup {
				continue // a group that the outsider made
			}
			if _, found := slices.BinarySearch(before[table], row); !found {
				t.Errorf("new in %s: %s", table, row)
				same = false
			}
		}
	}
	return same
}

func scanText(rows *sql.Rows, s *string) error { return rows.Scan(s) }
