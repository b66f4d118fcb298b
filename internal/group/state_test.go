package group_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"imserver/internal/apptest"
)

func TestAttributes(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		ann, ben, cid := u[0], u[1], u[2]
		w.Groups.AttributeRate = 0
		id := w.group(t, "Public", ann, ben)
		write := func(by *apptest.User, command, attrs string, main int, control string) apptest.Answer {
			return by.Call(t, "group_open_http_svc."+command, fmt.Sprintf(`{"GroupId":%q,"GroupAttr":[%s],"AttrMainSeq":%d,"AttrControl":[%s]}`, id, attrs, main, control))
		}
		const race = `"RaceConflict"`
		write(cid, "set_group_attr", `{"key":"a","value":"1"}`, 0, race).Want(t, 10007)
		write(ann, "set_group_attr", `{"key":"a","value":"1"},{"key":"b","value":"2"}`, 0, race).Want(t, 0).Has(t, `"AttrMainSeq":1`, `{"Key":"a","seq":1}`)
		for _, m := range []*apptest.User{ann, ben} {
			wantEvent(t, m, m.Events(), `"Event":6`, `"OpType":6`, `"GroupAttrOption":{"GroupAttrSeq":1,"OpType":1,"PushChangedAttrValFlag":1,"BytesChangedKeys":["a","b"],"GroupAttrInfo":[{"Key":"a","Val":"1","SubKeySeq":1}`)
		}
		write(ben, "set_group_attr", `{"key":"c","value":"3"}`, 0, race).Want(t, 10056)
		write(ben, "modify_group_attr", `{"key":"a","value":"9","seq":0}`, 1, race).Want(t, 10056)
		write(ben, "modify_group_attr", `{"key":"a","value":"9","seq":1},{"key":"c","value":"3","seq":0}`, 0, race).Want(t, 0).Has(t, `"AttrMainSeq":2`, `{"Key":"a","seq":2}`, `{"Key":"c","seq":1}`)
		write(ben, "modify_group_attr", `{"key":"a","value":"8","seq":0}`, 0, ``).Want(t, 0).Has(t, `"AttrMainSeq":3`)
		write(ann, "delete_group_attr", `{"key":"b","seq":1}`, 3, race).Want(t, 0).Has(t, `"AttrMainSeq":4`)
		write(ann, "delete_group_attr", `{"key":"b","seq":0}`, 4, race).Want(t, 10050)
		ben.Call(t, "group_open_attr_http_svc.get_group_attr", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0).
			Has(t, `"AttrMainSeq":4,"GroupAttrAry":[{"key":"a","value":"8","seq":3},{"key":"c","value":"3","seq":1}]`)
		cid.Call(t, "group_open_attr_http_svc.get_group_attr", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 10007)
		write(ann, "clear_group_attr", ``, 3, race).Want(t, 10056)
		write(ann, "clear_group_attr", ``, 4, race).Want(t, 0).Has(t, `"AttrMainSeq":5`)
		wantEvent(t, ben, ben.Events(), `"GroupAttrSeq":5,"OpType":3`, `"GroupAttrInfo":[]`)

		var many []string
		for i := range 17 {
			many = append(many, fmt.Sprintf(`{"key":"k%d","value":"v"}`, i))
		}
		write(ann, "modify_group_attr", strings.Join(many, ","), 5, ``).Want(t, 10047)
		write(ann, "modify_group_attr", strings.Join(many[:16], ","), 5, ``).Want(t, 0)
		write(ann, "modify_group_attr", many[16], 6, ``).Want(t, 10047)
		write(ann, "modify_group_attr", `{"key":"`+strings.Repeat("k", 33)+`","value":"v"}`, 6, ``).Want(t, 10045)
		write(ann, "modify_group_attr", `{"key":"k1","value":"`+strings.Repeat("v", 4001)+`"}`, 6, ``).Want(t, 10046)
		big := strings.Repeat("v", 4000)
		write(ann, "modify_group_attr", fmt.Sprintf(`{"key":"k1","value":%q},{"key":"k2","value":%q},{"key":"k3","value":%q},{"key":"k4","value":%q}`, big, big, big, big), 6, ``).Want(t, 10048)
	})
}

// Ensure that all members together write attributes as often in a second as
// the app allows, whatever kind of write it is, and that what is refused
// changes nothing and does not count.
func TestAttributeRate(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		id, other := w.group(t, "Public", u[0], u[1]), w.group(t, "Public", u[0], u[1])
		write := func(by int, id, command, attrs string, main int) apptest.Answer {
			return u[by].Call(t, "group_open_http_svc."+command, fmt.Sprintf(`{"GroupId":%q,"GroupAttr":[%s],"AttrMainSeq":%d,"AttrControl":["RaceConflict"]}`, id, attrs, main))
		}
		write(0, id, "set_group_attr", `{"key":"a","value":"1"}`, 0).Want(t, 0)
		write(1, id, "modify_group_attr", `{"key":"b","value":"1"}`, 0).Want(t, 0)
		write(1, id, "set_group_attr", `{"key":"b","value":"1"}`, 0).Want(t, 10056)
		write(0, id, "delete_group_attr", `{"key":"b","seq":1}`, 0).Want(t, 0)
		write(0, id, "clear_group_attr", ``, 3).Want(t, 0)
		write(0, id, "set_group_attr", `{"key":"a","value":"2"}`, 4).Want(t, 0)
		write(1, id, "set_group_attr", `{"key":"a","value":"3"}`, 5).Want(t, 10049)
		write(1, id, "clear_group_attr", ``, 5).Want(t, 10049)
		write(1, other, "set_group_attr", `{"key":"a","value":"1"}`, 0).Want(t, 0)
		u[1].Call(t, "group_open_http_svc.get_group_attr", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0).
			Has(t, `"AttrMainSeq":5,"GroupAttrAry":[{"key":"a","value":"2","seq":1}]`)
		w.Advance(-time.Second) // a node whose clock is behind
		write(1, id, "clear_group_attr", ``, 5).Want(t, 10049)
		w.Advance(2 * time.Second)
		write(1, id, "clear_group_attr", ``, 5).Want(t, 0)
		w.Groups.AttributeRate = 0
		for n := 6; n < 20; n++ {
			write(1, id, "clear_group_attr", ``, n).Want(t, 0)
		}
	})
}

func TestCounters(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		ann, ben := u[0], u[1]
		id := w.group(t, "Public", ann, ben)
		update := func(by *apptest.User, mode, counters string) apptest.Answer {
			return by.Call(t, "group_open_http_svc.update_group_counter", fmt.Sprintf(`{"GroupId":%q,"Mode":%q,"GroupCounter":[%s]}`, id, mode, counters))
		}
		update(ann, "Set", `{"Key":"likes","Value":5},{"Key":"b","Value":1}`).Want(t, 0).Has(t, `"GroupCounter":[{"Key":"b","Value":1},{"Key":"likes","Value":5}]`, `"GroupCounterSeq":1`)
		update(ben, "Increase", `{"Key":"likes","Value":2}`).Want(t, 0).Has(t, `"GroupCounter":[{"Key":"likes","Value":7}]`)
		update(ben, "Decrease", `{"Key":"likes","Value":10}`).Want(t, 0).Has(t, `{"Key":"likes","Value":-3}`)
		wantEvent(t, ann, ann.Events(), `"MsgBody":{"GroupCounterInfo":[{"Type":0,"GroupCounterSeq":3,"GroupCounter":[{"Key":"likes","Value":-3}]}]}`)
		update(ben, "Double", `{"Key":"likes","Value":10}`).Want(t, 10004)
		update(ben, "Set", `{"Key":"likes","Value":9223372036854775807}`).Want(t, 0)
		update(ben, "Increase", `{"Key":"likes","Value":1}`).Want(t, 10004)
		update(ben, "Set", `{"Key":"","Value":1}`).Want(t, 10004)
		var many []string
		for i := range 21 {
			many = append(many, fmt.Sprintf(`{"Key":"k%d","Value":1}`, i))
		}
		update(ben, "Set", strings.Join(many, ",")).Want(t, 10063)
		update(ben, "Set", strings.Join(many[:19], ",")).Want(t, 10063)
		ann.Call(t, "group_open_http_svc.get_group_counter", fmt.Sprintf(`{"GroupId":%q,"GroupCounterKeys":["b","x"]}`, id)).Want(t, 0).Has(t, `"GroupCounter":[{"Key":"b","Value":1}]`)
		w.Post(t, "group_open_http_svc.delete_group_counter", fmt.Sprintf(`{"GroupId":%q,"GroupCounterKeys":["b\u0000"]}`, id)).Want(t, 10004)
		community := w.group(t, "Community", ann)
		ann.Call(t, "million_group_open_http_svc.update_group_counter", fmt.Sprintf(`{"GroupId":%q,"Mode":"Set","GroupCounter":[{"Key":"a","Value":1}]}`, community)).Want(t, 10007)
	})
}

func TestTopics(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		ann, ben, cid := u[0], u[1], u[2]
		id := w.group(t, "Topics", ann, ben)
		const svc = "million_group_open_http_svc."
		create := func(by *apptest.User, group, fields string) apptest.Answer {
			return by.Call(t, svc+"create_topic", fmt.Sprintf(`{"GroupId":%q,%s}`, group, fields))
		}
		create(ben, id, `"TopicName":"News"`).Want(t, 10007)
		create(cid, id, `"TopicName":"News"`).Want(t, 10007)
		create(ann, id, `"Introduction":"x"`).Want(t, 10004)
		plain := w.group(t, "Community", ann)
		create(ann, plain, `"TopicName":"News"`).Want(t, 10007)
		create(ann, id, `"TopicName":"News","TopicId":"@TGS#_other@TOPIC#_x"`).Want(t, 10015)
		topic := create(ann, id, `"TopicName":"News","CustomString":"cs","FaceUrl":"f"`).Want(t, 0).Fields["TopicId"].(string)
		if !strings.HasPrefix(topic, id+"@TOPIC#_@TOPIC#") {
			t.Errorf("topic %s of %s", topic, id)
		}
		for _, m := range []*apptest.User{ann, ben} {
			wantEvent(t, m, m.Events(), `"Event":5`, `"ReportType":17`, `"ToGroupId":"`+id+`"`, `"MillionGroupFlag":2`, `"TopicId":"`+topic+`"`)
		}
		other := create(ann, id, fmt.Sprintf(`"TopicName":"Own","TopicId":"%s@TOPIC#_own"`, id)).Want(t, 0).Fields["TopicId"].(string)
		create(ann, id, fmt.Sprintf(`"TopicName":"Own","TopicId":"%s@TOPIC#_own"`, id)).Want(t, 10025)
		ben.Call(t, svc+"get_topic", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0).
			Has(t, `"ErrorCode":0,"ErrorInfo":"","TopicInfo":{"GroupId":"`+id+`","TopicId":"`+topic+`","TopicName":"News","FaceUrl":"f","CustomString":"cs"`, `"NextMsgSeq":1`, `"ShutUpAllFlag":0`, `"TopicId":"`+other).
			Lacks(t, "LastMsg\"")
		cid.Call(t, svc+"get_topic", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 10007)
		w.log.say(gid(t, w, topic))
		w.log.say(gid(t, w, topic))
		ben.Call(t, svc+"get_topic", fmt.Sprintf(`{"GroupId":%q,"TopicIdList":[%q,"%s@TOPIC#_none"]}`, id, topic, id)).Want(t, 0).Has(t, `"NextMsgSeq":3`, `"SelfInfo":{"MsgSeq":0`, `"ErrorCode":10010`).Lacks(t, other)

		modify := fmt.Sprintf(`{"GroupId":%q,"TopicId":%q,"TopicName":"Newer","ShutUpAllMember":"On"}`, id, topic)
		ben.Events()
		ben.Call(t, svc+"modify_topic", modify).Want(t, 10007)
		ann.Call(t, svc+"modify_topic", modify).Want(t, 0)
		wantEvent(t, ben, ben.Events(), `"Event":6`, `"OpType":8`, `"MsgTopicNewInfo":{"TopicName":"Newer","ShutupAll":1}`, `"TopicId":"`+topic)
		i, err := w.dir.Topic(t.Context(), w.SDKAppID, topic)
		if err != nil || !i.MuteAll || i.Name != "Newer" || i.CommunityID() != id {
			t.Errorf("%+v, %v", i, err)
		}
		ann.Call(t, svc+"modify_topic", fmt.Sprintf(`{"GroupId":%q,"TopicId":%q,"TopicName":"x"}`, plain, topic)).Want(t, 10007)

		ben.Call(t, svc+"modify_group_member_info", fmt.Sprintf(`{"GroupId":%q,"TopicId":%q,"Member_Account":"ben","MsgFlag":"Discard"}`, id, topic)).Want(t, 0)
		ann.Call(t, svc+"modify_group_member_info", fmt.Sprintf(`{"GroupId":%q,"TopicId":%q,"Member_Account":"ben","ShutUpTime":60}`, id, topic)).Want(t, 0)
		ben.Call(t, svc+"modify_group_member_info", fmt.Sprintf(`{"GroupId":%q,"TopicId":%q,"Member_Account":"ann","ShutUpTime":60}`, id, topic)).Want(t, 10007)
		ann.Call(t, svc+"modify_group_member_info", fmt.Sprintf(`{"GroupId":%q,"TopicId":%q,"Member_Account":"ben","ShutUpTime":60}`, plain, topic)).Want(t, 10010)
		ben.Call(t, svc+"get_topic", fmt.Sprintf(`{"GroupId":%q,"TopicIdList":[%q]}`, id, topic)).Want(t, 0).Has(t, `"MsgFlag":"Discard"`, fmt.Sprintf(`"ShutUpTime":%d`, w.Now().Unix()+60), `"InheritGroupReceiveOption":0`)

		ben.Events()
		ben.Call(t, svc+"destroy_topic", fmt.Sprintf(`{"GroupId":%q,"TopicIdList":[%q]}`, id, topic)).Want(t, 10007)
		ann.Call(t, svc+"destroy_topic", fmt.Sprintf(`{"GroupId":%q,"TopicIdList":[%q,"none"]}`, id, topic)).Want(t, 0).
			Has(t, fmt.Sprintf(`{"TopicId":%q,"ErrorCode":0,"ErrorInfo":""}`, topic), `{"TopicId":"none","ErrorCode":10010`)
		wantEvent(t, ben, ben.Events(), `"ReportType":18`, fmt.Sprintf(`"TopicIdArray":[%q]`, topic))
		if _, err := w.dir.Topic(t.Context(), w.SDKAppID, topic); err == nil {
			t.Error("the topic is still known")
		}
		ann.Call(t, svc+"destroy_topic", fmt.Sprintf(`{"GroupId":%q,"TopicIdList":[]}`, id)).Want(t, 0).Has(t, other)
		ann.Call(t, svc+"get_topic", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0).Has(t, `"TopicAndSelfInfo":[]`)
		ben.Call(t, "group_open_http_svc.quit_group", fmt.Sprintf(`{"GroupId":%q}`, topic)).Want(t, 10010)
	})
}

func TestSystemNotification(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		id := w.group(t, "Public", u[0], u[1])
		w.Post(t, "group_open_http_svc.send_group_system_notification", fmt.Sprintf(`{"GroupId":%q,"Content":"maintenance"}`, id)).Want(t, 0)
		for _, m := range u[:2] {
			wantEvent(t, m, m.Events(), `"ReportType":255`, `"UserDefinedField":"maintenance"`)
		}
		w.Post(t, "group_open_http_svc.send_group_system_notification", fmt.Sprintf(`{"GroupId":%q,"Content":"you","ToMembers_Account":["ben","cid"]}`, id)).Want(t, 0)
		wantEvent(t, u[1], u[1].Events(), `"UserDefinedField":"you"`)
		if e := append(u[0].Events(), u[2].Events()...); len(e) != 0 {
			t.Errorf("others got %q", e)
		}
		w.Post(t, "group_open_http_svc.send_group_system_notification", `{"GroupId":"none","Content":"x"}`).Want(t, 10010)
		u[0].Call(t, "group_open_http_svc.send_group_system_notification", fmt.Sprintf(`{"GroupId":%q,"Content":"x"}`, id)).Want(t, 60009)
	})
}
