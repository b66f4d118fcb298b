package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"imserver/bench/loadgen"
)

// errands are what people do beside the steady mix. Each belongs to so many
// people, who do it again and again under the same names.
var errands = []struct {
	name   string
	people int
	pause  time.Duration
	run    func(ctx context.Context, d *day, who, round int) error
}{
	{"visitors", 24, 2 * time.Second, visitor},
	{"groups made and dismissed", 4, time.Second, shortGroup},
	{"live rooms", 3, 2 * time.Second, shortRoom},
	{"slow client", 1, 20 * time.Second, slowClient},
}

// arrive logs a user in as an SDK does: 14 requests, the key a new one.
func (d *day) arrive(user string, node int) (*loadgen.Device, error) {
	v, err := loadgen.NewDevice(d.cluster.everywhere().Node(node), user)
	if err != nil {
		return nil, err
	}
	if err := v.Open(nil); err != nil {
		return nil, err
	}
	return v, start(v)
}

// start asks what an SDK asks after every login.
func start(v *loadgen.Device) error {
	codes := make(chan loadgen.Reply, len(loadgen.StartUp))
	v.Begin(func(r loadgen.Reply) { r.Doc = nil; codes <- r })
	for range loadgen.StartUp {
		if r := <-codes; r.Code != 0 {
			return fmt.Errorf("%s: code %d", loadgen.StartUp[r.Tag].Command, r.Code)
		}
	}
	return nil
}

// calls sends requests one after the other, up to the first that fails.
func calls(v *loadgen.Device, list ...[2]string) error {
	for _, c := range list {
		if _, err := v.Call(c[0], []byte(c[1])); err != nil {
			return err
		}
	}
	return nil
}

// visitor logs in, writes, changes what it wrote, follows who is there, and
// leaves in one of three ways: by logging out, without a word, or without a
// word after it was gone for a moment and came back with its key.
func visitor(ctx context.Context, d *day, who, round int) error {
	user, peer := "visitor"+strconv.Itoa(who), d.mix.Devices[who%dayDevices]
	v, err := d.arrive(user, who+round)
	if err != nil {
		return err
	}
	defer func() { v.Close() }()
	keys, err := chat(v, peer.User, 4)
	if err != nil {
		return err
	}
	about := fmt.Sprintf(`"From_Account":%q,"To_Account":%q,`, user, peer.User)
	watched := fmt.Sprintf(`{"To_Account":[%q,%q]}`, peer.User, "visitor"+strconv.Itoa(who^1))
	if err := calls(v,
		[2]string{"openim.modify_c2c_msg", "{" + about + keys[0].fields() + `,"MsgVersion":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"edited"}}],"CloudCustomData":""}`},
		[2]string{"openim.msgwithdraw", `{"MsgInfo":{` + about + keys[1].stamp() + `}}`},
		[2]string{"openim.delete_c2c_msg_ramble", "{" + about + `"MsgKeyList":["` + keys[2].String() + `"]}`},
		[2]string{"openim_msg_ext_http_svc.reaction_add", "{" + about + `"Reaction":"ok","MsgKey":"` + keys[3].String() + `","Add_Account":["` + user + `"]}`},
		[2]string{"im_open_status.ws_status_subscribe", watched},
		[2]string{"im_open_status.ws_set_custom_status", `{"CustomStatus":"round ` + strconv.Itoa(round) + `"}`},
		[2]string{"recentcontact.page_get", fmt.Sprintf(`{"From_Account":%q,"TimeStamp":0,"StartIndex":0,"TopTimeStamp":0,"TopStartIndex":0,"OrderType":1,"MsgAssistFlags":15,"AssistFlags":31}`, user)},
	); err != nil {
		return err
	}
	if _, err := peer.Call("openim.c2c_msg_read_receipt", fmt.Appendf(nil, `{"Peer_Account":%q,"C2CMsgInfo":[{%s%s,"MsgClientTime":%d}]}`, user, about, keys[3].fields(), keys[3].time)); err != nil {
		return err
	}
	sleep(ctx, time.Second)
	switch round % 3 {
	case 0:
		return calls(v,
			[2]string{"im_open_status.ws_status_unsubscribe", `{"UnsubscribeAll":1}`},
			[2]string{"im_open_status.wslogout", `{"wslogout_type":0,"is_web_uniapp":0}`})
	case 1:
		v.Close()
		if err := v.Open(nil); err != nil {
			return fmt.Errorf("a relogin: %w", err)
		}
		return start(v)
	}
	return nil
}

// shortGroup is a public group from its making to its end: people join, are
// added, write, recall, edit, react, read, leave and are sent away.
func shortGroup(ctx context.Context, d *day, who, round int) error {
	people := d.mix.Devices[who*20 : who*20+20]
	owner, joiner, added := people[0], people[1+round%9], people[10+round%9]
	doc, err := owner.Call("group_open_http_svc.create_group", fmt.Appendf(nil,
		`{"Type":"Public","Name":"short","Owner_Account":%q,"ApplyJoinOption":"FreeAccess","MemberList":[{"Member_Account":%q}]}`, owner.User, people[19].User))
	if err != nil {
		return err
	}
	group := loadgen.Member(doc, `"GroupId":"`)
	in := fmt.Sprintf(`{"GroupId":%q`, group)
	if err := calls(joiner, [2]string{"group_open_http_svc.apply_join_group", in + `,"ApplyMsg":""}`}); err != nil {
		return err
	}
	for i := range int64(4) {
		if _, err := joiner.Call("group_open_http_svc.send_group_msg", loadgen.Group(nil, joiner.User, group, int64(round)<<8|i, i, 0, i, 80)); err != nil {
			return err
		}
	}
	newest, err := joiner.Call("group_open_http_svc.group_msg_get", []byte(in+`,"ReqMsgNumber":1,"WithRecalledMsg":1}`))
	if err != nil {
		return err
	}
	seq := number64(newest, "MsgSeq")
	if err := calls(joiner,
		[2]string{"group_open_http_svc.group_msg_recall", fmt.Sprintf(`%s,"MsgSeqList":[{"MsgSeq":%d}],"TopicId":""}`, in, seq-1)},
		[2]string{"openim.modify_group_msg", fmt.Sprintf(`%s,"MsgSeq":%d,"MsgVersion":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"edited"}}],"CloudCustomData":""}`, in, seq)},
		[2]string{"openim_msg_ext_http_svc.group_reaction_add", fmt.Sprintf(`%s,"Reaction":"ok","MsgSeq":%d,"Add_Account":[%q]}`, in, seq, joiner.User)},
		[2]string{"group_open_http_svc.delete_group_ramble_msg_by_seq", fmt.Sprintf(`%s,"Deleter_Account":%q,"Seqs":["%d"]}`, in, joiner.User, seq-2)},
	); err != nil {
		return err
	}
	if err := calls(owner,
		[2]string{"group_open_http_svc.add_group_member", fmt.Sprintf(`%s,"MemberList":[{"Member_Account":%q}]}`, in, added.User)},
		[2]string{"group_open_http_svc.msg_read_report", fmt.Sprintf(`%s,"MsgReadedSeq":%d}`, in, seq)},
		[2]string{"group_open_http_svc.set_group_attr", in + `,"GroupAttr":[{"key":"mood","value":"good"}]}`},
		[2]string{"group_open_http_svc.update_group_counter", in + `,"GroupCounter":[{"Key":"a","Value":1}],"Mode":"Set"}`},
		[2]string{"group_open_http_svc.delete_group_member", fmt.Sprintf(`%s,"MemberToDel_Account":[%q],"Reason":""}`, in, added.User)},
	); err != nil {
		return err
	}
	sleep(ctx, time.Second)
	if err := calls(joiner, [2]string{"group_open_http_svc.quit_group", in + "}"}); err != nil {
		return err
	}
	return calls(owner, [2]string{"group_open_http_svc.destroy_group", in + "}"})
}

// shortRoom is a live room: eight watchers come from all nodes, hear twenty
// messages, and leave by the door or by losing their connection; then it ends.
func shortRoom(ctx context.Context, d *day, who, round int) error {
	host := d.mix.Devices[100+who]
	doc, err := host.Call("group_open_http_svc.create_group", fmt.Appendf(nil, `{"Type":"AVChatRoom","Name":"short","Owner_Account":%q}`, host.User))
	if err != nil {
		return err
	}
	room := loadgen.Member(doc, `"GroupId":"`)
	in := fmt.Sprintf(`{"GroupId":%q`, room)
	watchers, err := loadgen.OpenAll(d.cluster.everywhere(), fmt.Sprintf("watcher%d-", who), 8, 4, nil, nil)
	if err != nil {
		return err
	}
	defer loadgen.CloseAll(watchers)
	for _, w := range watchers {
		if err := calls(w, [2]string{"group_open_http_svc.apply_join_group", in + `,"WebPushFlag":1,"HugeGroupHistoryMsgFlag":1}`}); err != nil {
			return err
		}
	}
	for i := range int64(20) {
		if _, err := host.Call("group_open_http_svc.send_group_msg", loadgen.Group(nil, host.User, room, int64(round)<<8|i, i, 0, i, 80)); err != nil {
			return err
		}
		sleep(ctx, 100*time.Millisecond)
	}
	for _, w := range watchers[:4] {
		if err := calls(w, [2]string{"group_open_http_svc.quit_group", in + "}"}); err != nil {
			return err
		}
	}
	loadgen.CloseAll(watchers[4:6])
	return calls(host, [2]string{"group_open_http_svc.destroy_group", in + "}"})
}

// slowClient reads nothing while more is written to it than may wait, and is
// left open: the server finds out by itself.
func slowClient(ctx context.Context, d *day, who, round int) error {
	ws, _, err := d.cluster.nodes[round%len(d.cluster.nodes)].alone("slow")
	if err != nil {
		return err
	}
	defer func() { _ = ws.Close() }()
	if c, ok := ws.UnderlyingConn().(*net.TCPConn); ok {
		_ = c.SetReadBuffer(4096) // the kernel shall not read for it
	}
	writer := d.mix.Devices[110+who]
	for i := range int64(120) {
		n := int64(round)<<8 | i
		if _, err := writer.Call("openim.sendmsg", loadgen.C2C(nil, writer.User, "slow", n, n, 0, n, time.Now().Unix(), 8000)); err != nil {
			return err
		}
	}
	sleep(ctx, 5*time.Second)
	return nil
}

// chat writes n messages and returns what they are called by.
func chat(v *loadgen.Device, to string, n int) ([]messageKey, error) {
	keys := make([]messageKey, n)
	for i := range keys {
		now := time.Now()
		k := messageKey{seq: now.UnixMicro() & (1<<31 - 1), random: int64(i + 1)}
		doc, err := v.Call("openim.sendmsg", loadgen.C2C(nil, v.User, to, k.seq, k.random, 0, k.seq, now.Unix(), 80))
		if err != nil {
			return nil, err
		}
		k.time = number64(doc, "MsgTime")
		keys[i] = k
	}
	return keys, nil
}

// messageKey names a one-to-one message.
type messageKey struct{ seq, random, time int64 }

func (k messageKey) String() string { return fmt.Sprintf("%d_%d_%d", k.seq, k.random, k.time) }

func (k messageKey) fields() string {
	return fmt.Sprintf(`"MsgSeq":%d,"MsgRandom":%d,"MsgTime":%d`, k.seq, k.random, k.time)
}

func (k messageKey) stamp() string {
	return fmt.Sprintf(`"MsgSeq":%d,"MsgRandom":%d,"MsgTimeStamp":%d`, k.seq, k.random, k.time)
}
