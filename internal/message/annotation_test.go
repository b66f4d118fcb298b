package message_test

import (
	"fmt"
	"testing"
	"time"

	"imserver/internal/annotation"
	"imserver/internal/message"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

func annotated(t *testing.T, fn func(t *testing.T, w *world, ann, ann2, ben, eve *device)) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		w := MustWorld(t, db, message.Options{Annotations: annotation.New(db, time.Now)})
		fn(t, w, w.login(t, "ann", 1), w.login(t, "ann", 2), w.login(t, "ben", 1), w.login(t, "eve", 1))
	})
}

func with(base object, more object) object {
	out := object{}
	for k, v := range base {
		out[k] = v
	}
	for k, v := range more {
		out[k] = v
	}
	return out
}

// Ensure that both sides set extensions, that all devices but the acting one
// learn of it, that a conflict carries the current value and that strangers
// see and change nothing.
func TestExtensions(t *testing.T) {
	annotated(t, func(t *testing.T, w *world, ann, ann2, ben, eve *device) {
		m, plain := ann.send(t, "ben", "poll", object{"SupportMessageExtension": 1}), ann.send(t, "ben", "plain", nil)
		for _, d := range []*device{ann, ann2, ben, eve} {
			d.take()
		}
		name := object{"From_Account": "ann", "To_Account": "ben", "MsgKey": m.key}
		set := func(value string, seq int) object {
			return with(name, object{"OperateType": 1, "ExtensionList": []object{{"Key": "a", "Value": value, "Seq": seq}}})
		}
		answer := ben.must(t, "openim_msg_ext_http_svc.set_key_values", set("1", 0))
		equal(t, fmt.Sprint(answer["ExtensionList"]), "[map[ErrorCode:0 Extension:map[Key:a Seq:1 Value:1]]]", "set")
		equal(t, len(ben.take()), 0, "pushes to the acting device")
		for _, d := range []*device{ann, ann2} {
			items := d.take(20)
			equal(t, len(items), 1, "pushes")
			n := items[0]["MsgExtensionNotify"].(object)
			equal(t, []any{n["MsgOptType"], n["MsgLastSeq"], n["ExtensionC2cMsgInfo"].(object)["MsgKey"], n["TinyId"]}, []any{1.0, 1.0, m.key, fmt.Sprint(ann.UID)}, "push")
		}
		answer = ann.must(t, "openim_msg_ext_http_svc.set_key_values", set("2", 0))
		equal(t, fmt.Sprint(answer["ExtensionList"]), "[map[ErrorCode:23001 Extension:map[Key:a Seq:1 Value:1]]]", "conflict")
		equal(t, len(ben.take()), 0, "pushes of a conflict")
		code, _ := w.admin(t, "openim_msg_ext_http_svc.set_key_values", set("admin", 0))
		wantCode(t, code, 0, "an administrator without a Seq")
		answer = ben.must(t, "openim_msg_ext_http_svc.get_key_values", with(name, object{"startSeq": 2}))
		equal(t, fmt.Sprint(answer["ExtensionList"], answer["CompleteFlag"]), "[map[Key:a Seq:2 Value:admin]] 1", "get")
		for _, op := range []string{"set_key_values", "get_key_values"} {
			code, answer = eve.do(t, "openim_msg_ext_http_svc."+op, set("eve", 2))
			wantCode(t, code, 23004, op+" of a stranger")
			equal(t, answer["ExtensionList"], nil, "what a stranger is shown")
			code, answer = eve.do(t, "openim_msg_ext_http_svc."+op, with(set("eve", 2), object{"From_Account": "eve"}))
			wantCode(t, code, 23004, op+" in a chat of one's own")
		}
		equal(t, answer["ExtensionList"], nil, "what a stranger is shown")
		code, _ = ann.do(t, "openim_msg_ext_http_svc.set_key_values", with(set("x", 0), object{"MsgKey": plain.key}))
		wantCode(t, code, 23002, "a message without extensions")
	})
}

// Ensure that reactions reach everybody, with who reacted computed for each,
// and the actor's other devices first hear what the actor did.
func TestReactions(t *testing.T) {
	annotated(t, func(t *testing.T, w *world, ann, ann2, ben, eve *device) {
		m := ann.send(t, "ben", "news", nil)
		for _, d := range []*device{ann, ann2, ben} {
			d.take()
		}
		name := object{"From_Account": "ann", "To_Account": "ben", "MsgKey": m.key, "Reaction": "smile"}
		ann.must(t, "openim_msg_ext_http_svc.reaction_add", with(name, object{"Add_Account": []string{"ben"}})) // who acts is who calls
		state := func(d *device, events ...float64) (out []any) {
			items := d.take()
			if len(items) != len(events) {
				t.Fatalf("%s got %v", d.name, items)
			}
			for i, it := range items {
				equal(t, it["Event"], events[i], "event")
				if events[i] == 22 {
					s := it["MsgReactionNotifyList"].([]any)[0].(object)["MsgReactionSummary"].([]any)[0].(object)
					out = []any{s["Count"], s["Reaction_Account"], s["ReactedByMe"]}
				}
			}
			return out
		}
		equal(t, state(ann, 22), []any{1.0, []any{"ann"}, 1.0}, "the acting device")
		equal(t, state(ann2, 23, 22), []any{1.0, []any{"ann"}, 1.0}, "the actor's other device")
		equal(t, state(ben, 22), []any{1.0, []any{"ann"}, 0.0}, "the peer")
		ben.must(t, "openim_msg_ext_http_svc.reaction_add", name)
		equal(t, state(ben, 22), []any{2.0, []any{"ann", "ben"}, 1.0}, "the second reactor")
		code, _ := ben.do(t, "openim_msg_ext_http_svc.reaction_add", name)
		wantCode(t, code, 23007, "the same again")
		list := object{"From_Account": "ann", "To_Account": "ben", "MsgKeyList": []string{m.key, "1_1_1"}, "Count": 1}
		answer := ben.must(t, "openim_msg_ext_http_svc.reaction_multi_stat", list)
		equal(t, fmt.Sprint(answer["Results"]), "[map[MsgKey:"+m.key+" ReactionList:[map[Count:2 ReactedByMe:1 Reaction:smile Reaction_Account:[ann]]]] map[MsgKey:1_1_1 ReactionList:[]]]", "statistics")
		answer = ann.must(t, "openim_msg_ext_http_svc.reaction_iterate", with(name, object{"Count": 10}))
		equal(t, fmt.Sprint(answer["Reaction_Account"], answer["NextSeq"]), "[ann ben] 0", "users")
		for _, op := range []string{"reaction_add", "reaction_del", "reaction_iterate", "reaction_multi_stat"} {
			code, _ := eve.do(t, "openim_msg_ext_http_svc."+op, with(name, list))
			wantCode(t, code, 23004, op+" of a stranger")
		}
		ann.take()
		ann.must(t, "openim_msg_ext_http_svc.reaction_del", name)
		ben.must(t, "openim_msg_ext_http_svc.reaction_del", name)
		items := ann.take(22)
		s := items[len(items)-1]["MsgReactionNotifyList"].([]any)[0].(object)["MsgReactionSummary"].([]any)[0].(object)
		_, there := s["Reaction_Account"]
		equal(t, []any{s["Count"], there}, []any{0.0, false}, "a reaction of nobody")
		ann.must(t, "openim.msgwithdraw", object{"MsgInfo": m.info()})
		code, _ = ben.do(t, "openim_msg_ext_http_svc.reaction_add", name)
		wantCode(t, code, 23004, "a reaction to a revoked message")
	})
}
