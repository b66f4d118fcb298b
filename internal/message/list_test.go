package message_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"imserver/internal/message"
)

func c2c(id string) object { return object{"Type": 1, "To_Account": id} }

func grp(id string) object { return object{"Type": 2, "ToGroupId": id} }

// Ensure that a list of many conversations comes in pages without gaps or
// repeats, also where many share a second.
func TestListPages(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, _, _ *device) {
		const n = 250
		for i := range n {
			d := w.login(t, fmt.Sprintf("user%d", i), 1)
			d.send(t, "ann", "hi", nil)
			if i%60 == 59 {
				w.advance(time.Second)
			}
		}
		items, _ := ann.list(t)
		equal(t, len(items), n, "conversations")
		w.app.ConversationList = 130
		items, _ = ann.list(t)
		equal(t, len(items), 130, "bounded")
		code, _ := ann.do(t, "recentcontact.page_get", object{"TimeStamp": -5, "StartIndex": -1, "TopStartIndex": 1})
		wantCode(t, code, 50002, "a cursor of nobody")
		code, _ = ann.do(t, "recentcontact.page_get", object{"From_Account": "ben"})
		wantCode(t, code, 50002, "somebody else's list")
	})
}

// Ensure that removed conversations are gone with their pins until the next
// message, which is the only unread one, with and without their history.
func TestRemove(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, ben, _ *device) {
		ann.send(t, "ben", "one", nil)
		ben.must(t, "recentcontact.top", object{"From_Account": "ben", "OperationType": 1, "RecentContactItem": []object{c2c("ann")}})
		for _, clear := range []int{0, 1} {
			ben.must(t, "recentcontact.batch_delete", object{"From_Account": "ben", "ContactItem": []object{c2c("ann")}, "ClearRamble": clear})
			items, _ := ben.list(t)
			equal(t, len(items), 0, "list")
			equal(t, ben.unread(t), map[string]int{}, "unread")
			if clear == 0 {
				equal(t, ben.texts(t, "ann"), []string{"one"}, "history")
			} else {
				equal(t, ben.texts(t, "ann"), []string{}, "cleared history")
			}
			ann.send(t, "ben", "next", nil)
			items, _ = ben.list(t)
			equal(t, []any{last(items["ann"]), items["ann"]["TopFlags"]}, []any{"next", nil}, "list after a message")
			equal(t, ben.unread(t), map[string]int{"ann": 1}, "unread after a message")
		}
		code, _ := w.admin(t, "recentcontact.delete", object{"From_Account": "ben", "Type": 1, "To_Account": "ann"})
		wantCode(t, code, 0, "delete of an administrator")
		items, _ := ben.list(t)
		equal(t, len(items), 0, "list")
	})
}

// Ensure that pins, marks and custom data are kept, listed, pushed whole to own
// other devices, and bounded.
func TestPinsAndMarks(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, ann2, ben, eve *device) {
		ben.send(t, "ann", "hi", nil)
		ann.take()
		ann2.take()
		ann.must(t, "recentcontact.top", object{"From_Account": "ann", "OperationType": 1, "RecentContactItem": []object{c2c("ben")}})
		equal(t, fmt.Sprint(ann2.take()), "[map[Event:11 RecentContactMod:[map[PushType:2 RecentContactTopItem:map[RecentContactList:[map[Peer_Account:ben To_Account:ben Type:1]]]]]]]", "push of a pin")
		ann.must(t, "recentcontact.mark_contact", object{"From_Account": "ann", "MarkItem": []object{
			{"OptType": 1, "ContactItem": c2c("ben"), "SetMark": []int{0, 63}}, {"OptType": 2, "ContactItem": grp("@TGS#1"), "CustomMark": "c"}, {"OptType": 1, "ContactItem": c2c("nobody"), "SetMark": []int{1}}}})
		mark := "1" + strings.Repeat("0", 62) + "1"
		pushes := fmt.Sprint(ann2.take())
		if !strings.Contains(pushes, "StandardMark:"+mark) || !strings.Contains(pushes, "CustomMark:c") || !strings.Contains(pushes, "GroupId:@TGS#1") || strings.Contains(pushes, "nobody") {
			t.Fatal(pushes)
		}
		equal(t, len(ann.take()), 0, "pushes to the acting device")
		items, _ := ann2.list(t)
		equal(t, []any{items["ben"]["TopFlags"], items["ben"]["StandardMark"]}, []any{1.0, mark}, "listed")
		ann.must(t, "recentcontact.mark_contact", object{"From_Account": "ann", "MarkItem": []object{{"OptType": 1, "ContactItem": c2c("ben"), "ClearMark": []int{63}}}})
		answer := ann.must(t, "recentcontact.search_contact_group", object{"From_Account": "ann", "ContactItem": []object{c2c("ben"), {"Type": 2, "GroupId": "@TGS#1"}, c2c("eve")}})
		got := answer["ContactResultItem"].([]any)
		equal(t, []any{got[0].(object)["StandardMark"], got[1].(object)["CustomMark"], got[2].(object)["StandardMark"]},
			[]any{strings.Repeat("0", 63) + "1", "c", strings.Repeat("0", 64)}, "search")
		_, answer = w.admin(t, "recentcontact.get_list", object{"From_Account": "ann", "TimeStamp": 0, "StartIndex": 0, "TopTimeStamp": 0, "TopStartIndex": 0, "AssistFlags": 7})
		equal(t, answer["SessionItem"].([]any)[0].(object)["TopFlag"], 1.0, "list of an administrator")

		for _, twice := range [][]object{{c2c("ben"), c2c("ben")}, {grp("@TGS#1"), grp("@TGS#1")}} {
			ann.must(t, "recentcontact.top", object{"OperationType": 1, "RecentContactItem": twice})
			ann.must(t, "recentcontact.top", object{"OperationType": 2, "RecentContactItem": twice[1:]})
		}
		ann.must(t, "recentcontact.top", object{"OperationType": 1, "RecentContactItem": []object{c2c("ben")}})
		ann.must(t, "recentcontact.mark_contact", object{"MarkItem": []object{
			{"OptType": 1, "ContactItem": c2c("ben"), "SetMark": []int{7}}, {"OptType": 3, "ContactItem": c2c("ben"), "ClearMark": []int{7}, "CustomMark": "last"}}})
		items, _ = ann2.list(t)
		equal(t, []any{items["ben"]["CustomMark"], items["ben"]["StandardMark"]}, []any{"last", strings.Repeat("0", 63) + "1"}, "marked twice in one request")

		for i := range 49 {
			code, _ := ann.do(t, "recentcontact.top", object{"OperationType": 1, "RecentContactItem": []object{grp(fmt.Sprint("g", i))}})
			wantCode(t, code, 0, "pin")
		}
		code, _ := ann.do(t, "recentcontact.top", object{"OperationType": 1, "RecentContactItem": []object{grp("g50")}})
		wantCode(t, code, 51012, "the 51st pin")
		code, _ = ann.do(t, "recentcontact.top", object{"OperationType": 2, "RecentContactItem": []object{grp("g1")}})
		wantCode(t, code, 0, "unpin at the limit")
		for _, bad := range []struct {
			item object
			code int
		}{
			{object{"OptType": 1, "ContactItem": c2c("ben"), "SetMark": []int{64}}, 50002},
			{object{"OptType": 2, "ContactItem": c2c("ben"), "CustomMark": strings.Repeat("x", 257)}, 50002},
			{object{"OptType": 4, "ContactItem": c2c("ben")}, 50002},
			{object{"OptType": 1, "ContactItem": object{"Type": 3}}, 50002},
		} {
			code, _ := ann.do(t, "recentcontact.mark_contact", object{"MarkItem": []object{bad.item}})
			wantCode(t, code, bad.code, fmt.Sprint(bad.item))
		}
		code, _ = ann.do(t, "recentcontact.mark_contact", object{"MarkItem": make([]object, 101)})
		wantCode(t, code, 51006, "101 marks")
		code, _ = eve.do(t, "recentcontact.mark_contact", object{"From_Account": "ann", "MarkItem": []object{{"OptType": 2, "ContactItem": c2c("ben"), "CustomMark": "eve"}}})
		wantCode(t, code, 50002, "marks of somebody else")
	})
}

// Ensure that conversation groups are made, renamed, filled and deleted within
// their limits, told to own other devices and listed in pages.
func TestConversationGroups(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, ann2, ben, _ *device) {
		ben.send(t, "ann", "hi", nil)
		ann2.take()
		create := func(name string, items ...object) int {
			code, _ := ann.do(t, "recentcontact.create_contact_group", object{"From_Account": "ann", "GroupContactItem": []object{{"GroupName": name, "ContactItem": items}}})
			return code
		}
		wantCode(t, create("work", c2c("ben"), c2c("nobody")), 0, "create")
		wantCode(t, create("work"), 50002, "create twice")
		wantCode(t, create(strings.Repeat("n", 33)), 51011, "a long name")
		update := func(u object) (int, object) {
			return ann.do(t, "recentcontact.update_contact_group", object{"From_Account": "ann", "UpdateType": 1, "UpdateGroup": u})
		}
		code, _ := update(object{"UpdateGroupType": 1, "OldGroupName": "play", "NewGroupName": "x"})
		wantCode(t, code, 51009, "rename of none")
		code, _ = update(object{"UpdateGroupType": 1, "OldGroupName": "work", "NewGroupName": "job"})
		wantCode(t, code, 0, "rename")
		code, _ = update(object{"UpdateGroupType": 2, "OldGroupName": "job", "ContactUpdateItem": []object{{"ContactOptType": 1, "ContactItem": grp("@TGS#1")}, {"ContactOptType": 2, "ContactItem": c2c("ben")}}})
		wantCode(t, code, 0, "members")
		var kinds []string
		for _, it := range ann2.take(11) {
			kinds = append(kinds, fmt.Sprint(it["RecentContactMod"].([]any)[0].(object)["PushType"]))
		}
		equal(t, kinds, []string{"5", "7", "7"}, "pushes")
		answer := ann.must(t, "recentcontact.get_contact_group", object{"From_Account": "ann", "StartIndex": 0})
		equal(t, fmt.Sprint(answer["GroupItem"]), "[map[GroupId:1 GroupName:job]]", "groups")
		equal(t, fmt.Sprint(answer["ContactItem"].([]any)[0].(object)["ToGroupId"], answer["CompleteFlag"]), "@TGS#11", "members")
		page := ann.must(t, "recentcontact.page_get", object{"From_Account": "ann"})
		equal(t, fmt.Sprint(page["GroupItem"]), "[map[GroupId:1 GroupName:job]]", "groups of the list")
		for i := range 19 {
			wantCode(t, create(fmt.Sprint("g", i)), 0, "create")
		}
		wantCode(t, create("one too many"), 51010, "the 21st group")
		del := func(name string) int {
			code, _ := ann.do(t, "recentcontact.del_contact_group", object{"From_Account": "ann", "GroupName": []string{name}})
			return code
		}
		wantCode(t, del("job"), 0, "delete")
		wantCode(t, del("job"), 51009, "delete twice")
		answer = ann.must(t, "recentcontact.get_contact_group", object{"From_Account": "ann", "StartIndex": 0})
		equal(t, len(answer["ContactItem"].([]any)), 0, "members of a deleted group")

		marks := make([]object, 100)
		for page := range 2 {
			for i := range marks {
				marks[i] = object{"OptType": 1, "ContactItem": grp(fmt.Sprint("m", page, i)), "SetMark": []int{0}}
			}
			ann.must(t, "recentcontact.mark_contact", object{"MarkItem": marks})
		}
		answer = ann.must(t, "recentcontact.get_contact_group", object{"From_Account": "ann", "StartIndex": 0})
		equal(t, []any{answer["CompleteFlag"], answer["NextStartIndex"], len(answer["ContactItem"].([]any))}, []any{0.0, 100.0, 100}, "first page")
		answer = ann.must(t, "recentcontact.get_contact_group", object{"From_Account": "ann", "StartIndex": 100})
		equal(t, []any{answer["CompleteFlag"], len(answer["ContactItem"].([]any))}, []any{1.0, 100}, "last page")
	})
}
