package loadgen

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"imserver/internal/usersig"
)

// Target is the server under load.
type Target struct {
	URL string // what proxyServer says, ws://host:port; several nodes by commas
	App uint32
	Key string
	// Apart has devices read by a goroutine of their own, so that what is
	// measured at them does not wait for the reading of thousands of others.
	Apart bool
}

// Ticket signs a ticket for a user, good for a day.
func (t Target) Ticket(user string) (string, error) {
	return usersig.Sign(t.Key, usersig.Ticket{UserID: user, SDKAppID: t.App, IssuedAt: time.Now().Unix(), Lifetime: 86400})
}

// Node returns the target with the address of one of its nodes, in turn.
func (t Target) Node(i int) Target {
	nodes := strings.Split(t.URL, ",")
	t.URL = nodes[i%len(nodes)]
	return t
}

// Device is a logged-in SDK instance.
type Device struct {
	*Conn
	Target   Target
	User     string
	Instance string // instanceid, the same over reconnects

	UserSig string // of the first login
	a2      string
	tiny    string
	inst    string
}

// NewDevice makes a device that is not connected.
func NewDevice(t Target, user string) (*Device, error) {
	sig, err := t.Ticket(user)
	return &Device{Target: t, User: user, Instance: fmt.Sprintf("%032x", user), UserSig: sig}, err
}

// LoggedIn reports whether the device has a key: it will relogin then.
func (d *Device) LoggedIn() bool { return d.a2 != "" }

const (
	headStart = `,"platform":7,"websdkappid":537048168,"websdkversion":"1.7.3",`
	headEnd   = `"sdkability":75689843,"sdkability_ext":"","cappid":0,"cs":3000782250},"body":`
)

// setHead makes what follows the seq in every request: the ticket before a
// first login, the key after it (protocol 01 §3).
func (d *Device) setHead() {
	b := []byte(headStart)
	if d.a2 == "" {
		b = append(b, `"status_instid":0,"identifier":"`+d.User+`","usersig":"`+d.UserSig+`",`...)
	} else {
		b = append(b, `"a2":"`+d.a2+`","tinyid":"`+d.tiny+`","status_instid":`+d.inst+`,`...)
	}
	b = fmt.Appendf(b, `"sdkappid":%d,"contenttype":"json","reqtime":%d,`, d.Target.App, time.Now().Unix())
	d.mu.Lock()
	d.head = append(b, headEnd...)
	d.mu.Unlock()
}

// Connect opens a socket and sends the heartbeat an SDK begins with. onPush
// may be nil.
func (d *Device) Connect(onPush func(doc []byte, at int64)) error {
	c, err := dial(d.Target.URL, d.Target.App, d.Instance, d.Target.Apart)
	if err != nil {
		return err
	}
	c.OnPush = onPush
	d.Conn = c
	d.setHead()
	c.Start()
	c.Send("heartbeat.alive", []byte("{}"), 0, func(Reply) {})
	return nil
}

const loginBody = `{"State":"Online","is_web_uniapp":0,"InstType":0,"CustomInfo":""}`

// Login sends wslogin; done is called with its code from the reading goroutine
// when the device may send other requests.
func (d *Device) Login(done func(r Reply)) {
	first := d.a2 == ""
	d.Send("im_open_status.wslogin", []byte(loginBody), 0, func(r Reply) {
		if r.Code == 0 && first {
			d.a2, d.tiny, d.inst = Member(r.Doc, `"A2Key":"`), Member(r.Doc, `"TinyId":"`), Digits(r.Doc, `"InstId":`)
			d.setHead()
		}
		done(r)
	})
}

// Open connects and logs in, and waits for it.
func (d *Device) Open(onPush func(doc []byte, at int64)) error {
	if err := d.Connect(onPush); err != nil {
		return err
	}
	code := make(chan int, 1)
	d.Login(func(r Reply) { code <- r.Code })
	if c := <-code; c != 0 {
		return fmt.Errorf("login of %s: code %d", d.User, c)
	}
	return nil
}

// Call sends a request and waits for its answer, whose document it copies.
func (d *Device) Call(command string, body []byte) (doc []byte, err error) {
	type result struct {
		code int
		doc  []byte
	}
	ch := make(chan result, 1)
	d.Send(command, body, 0, func(r Reply) { ch <- result{r.Code, bytes.Clone(r.Doc)} })
	r := <-ch
	if r.code != 0 {
		return nil, fmt.Errorf("%s: code %d: %.300s", command, r.code, r.doc)
	}
	return r.doc, nil
}

// StartUp is the burst of requests that a v3 SDK sends after a login, in its
// order (protocol 01 §9); %s is the user.
var StartUp = []struct{ Command, Body string }{
	{"profile.portrait_get_all", `{"From_Account":"%s","UserItem":[{"To_Account":"%s","StandardSequence":0,"CustomSequence":0}]}`},
	{"sns.black_list_get", `{"From_Account":"%s","StartIndex":0,"MaxLimited":1000}`},
	{"recentcontact.page_get", `{"From_Account":"%s","TimeStamp":0,"StartIndex":0,"TopTimeStamp":0,"TopStartIndex":0,"OrderType":1,"MsgAssistFlags":15,"AssistFlags":31}`},
	{"group_open_http_svc.get_joined_group_list", joinedBody},
	{"openim.getmsg", `{"Cookie":"","SyncFlag":0,"NeedAbstract":1,"IsOnlineSync":0,"NeedSignaling":1,"NeedCachedMsg":1}`},
	{"sns.friend_get", `{"From_Account":"%s","StartIndex":0,"StandardSequence":0,"CustomSequence":0}`},
	{"sns.group_get", `{"From_Account":"%s","LastSequence":0,"NeedFriend":"Need_Friend_Type_Yes"}`},
	{"sns.pendency_get", `{"From_Account":"%s","PendencyType":"Pendency_Type_Both","StartTime":0,"MaxLimited":100,"LastSequence":0}`},
	{"im_sdk_config_mgr.fetch_config", `{"uint32_sdkappid":1400000001,"uint64_version":0}`},
	{"recentcontact.get_contact_group", `{"From_Account":"%s","StartIndex":0}`},
	{"million_group_open_http_svc.get_joined_group_list", joinedBody},
	{"im_sdk_config_mgr.fetch_imsdk_purchase_bitsv2", `{"uint32_sdkappid":1400000001}`},
}

const joinedBody = `{"Member_Account":"%s","Limit":200,"Offset":0,"ResponseFilter":{"GroupBaseInfoFilter":["Type","Name","Introduction",` +
	`"Notification","FaceUrl","Owner_Account","CreateTime","InfoSeq","LastInfoTime","LastMsgTime","MemberNum","MaxMemberNum","ApplyJoinOption",` +
	`"NextMsgSeq","ShutUpAllMember","InviteJoinOption"],"SelfInfoFilter":["Role","JoinTime","MsgFlag","MsgSeq"]},"SupportTopic":0,"NeedAppDefineData":1}`

// Begin sends the start-up burst. each is called with every answer, its Tag
// the index into StartUp.
func (d *Device) Begin(each func(Reply)) {
	user := []byte(d.User)
	for i, r := range StartUp {
		d.Send(r.Command, bytes.ReplaceAll([]byte(r.Body), []byte("%s"), user), int64(i), each)
	}
}

// Member returns the text after the first name in doc, such as `"A2Key":"`, up to
// the next quotation mark; "" if there is none.
func Member(doc []byte, name string) string {
	i := bytes.Index(doc, []byte(name))
	if i < 0 {
		return ""
	}
	rest := doc[i+len(name):]
	return string(rest[:max(bytes.IndexByte(rest, '"'), 0)])
}

// Digits returns the whole number after the first name in doc; "0" if there is
// none.
func Digits(doc []byte, name string) string {
	i := bytes.Index(doc, []byte(name))
	if i < 0 {
		return "0"
	}
	return strconv.FormatInt(number(doc[i+len(name):]), 10)
}

// OpenAll opens n devices named prefix0, prefix1, …, at most width at a time.
// onPush makes the push handler of a device and may be nil; progress is called
// now and then with how many are open.
func OpenAll(t Target, prefix string, n, width int, onPush func(i int) func(doc []byte, at int64), progress func(open int)) ([]*Device, error) {
	devices := make([]*Device, n)
	errs := make(chan error, n)
	gate := make(chan struct{}, width)
	var wg sync.WaitGroup
	for i := range n {
		gate <- struct{}{}
		wg.Add(1)
		go func() {
			defer func() { <-gate; wg.Done() }()
			d, err := NewDevice(t.Node(i), prefix+strconv.Itoa(i))
			if err == nil {
				var handler func([]byte, int64)
				if onPush != nil {
					handler = onPush(i)
				}
				err = d.Open(handler)
			}
			if err != nil {
				errs <- err
				return
			}
			devices[i] = d
		}()
		if progress != nil && i%1000 == 999 {
			progress(i + 1)
		}
	}
	wg.Wait()
	select {
	case err := <-errs:
		return nil, err
	default:
		return devices, nil
	}
}

// CloseAll closes connections.
func CloseAll(devices []*Device) {
	for _, d := range devices {
		if d != nil && d.Conn != nil {
			d.Close()
		}
	}
}
