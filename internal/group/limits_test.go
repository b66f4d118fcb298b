package group_test

import (
	"fmt"
	"strings"
	"testing"

	"imserver/internal/apptest"
)

// Ensure that there are as many groups of each sort as the app allows, and
// that those who are in too many are told apart from the others.
func TestCountLimits(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid", "dan")
		ann, ben, cid := u[0], u[1], u[2]
		create := func(by *apptest.User, kind, members string) apptest.Answer {
			return by.Call(t, svc(kind, "create_group"), fmt.Sprintf(`{"Type":%q,"Name":"x","MemberList":[%s]}`, kind, members))
		}
		w.Groups.Created = 2
		for range 2 {
			create(ann, "Public", ``).Want(t, 0)
		}
		create(ann, "Public", ``).Want(t, 10037)
		create(ben, "Public", `{"Member_Account":"ann"}`).Want(t, 0) // not her own
		w.Groups.Created = 0

		w.Groups.LiveRooms = 1
		create(ann, "AVChatRoom", ``).Want(t, 0)
		create(ben, "AVChatRoom", ``).Want(t, 10036)
		create(ben, "Meeting", ``).Want(t, 0)

		w.Groups.Joined = 1 // cid is in none yet, all others are
		id := create(cid, "Meeting", `{"Member_Account":"ben"},{"Member_Account":"dan"}`).Want(t, 0).
			Has(t, `"OverJoinedGroupLimit_Account":["ben"]`).Fields["GroupId"].(string)
		create(cid, "Public", ``).Want(t, 10037)
		ben.Call(t, "group_open_http_svc.apply_join_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 10037)
		cid.Call(t, "group_open_http_svc.add_group_member", fmt.Sprintf(`{"GroupId":%q,"MemberList":[{"Member_Account":"ann"},{"Member_Account":"dan"}]}`, id)).Want(t, 0).
			Has(t, `{"Member_Account":"ann","Result":4}`, `{"Member_Account":"dan","Result":2}`)
		w.Groups.Joined = 0

		w.Groups.Total = 6 // there are 6
		create(u[3], "Public", ``).Want(t, 10058)
		create(u[3], "Community", ``).Want(t, 10058)
		w.Groups.Total = 7
		create(u[3], "Community", ``).Want(t, 0)
	})
}

// Ensure that each bound on what one request may hold is where it is said to
// be: that much passes, one more is refused (protocol 03 §16).
func TestRequestLimits(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		ann := u[0]
		id := w.group(t, "Public", ann, u[1])
		list := func(item string, n int) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
		for _, l := range []struct {
			command, fields string // %s is the list or the text
			item            string
			most, code      int
		}{
			{"modify_group_base_info", `"Name":"%s"`, "", 100, 10004},
			{"modify_group_base_info", `"Introduction":"%s"`, "", 400, 10004},
			{"modify_group_base_info", `"Notification":"%s"`, "", 400, 10004},
			{"modify_group_base_info", `"FaceUrl":"%s"`, "", 500, 10004},
			{"modify_group_base_info", `"AppDefinedData":[{"Key":"%s","Value":"v"}]`, "", 32, 10004},
			{"modify_group_base_info", `"AppDefinedData":[{"Key":"k","Value":"%s"}]`, "", 512, 10004},
			{"modify_group_member_info", `"Member_Account":"ann","NameCard":"%s"`, "", 50, 10004},
			{"modify_group_member_info", `"Member_Account":"ann","AppMemberDefinedData":[{"Key":"k","Value":"%s"}]`, "", 512, 10004},
			{"add_group_member", `"MemberList":[%s]`, `{"Member_Account":"ben"}`, 500, 10005},
			{"delete_group_member", `"MemberToDel_Account":[%s]`, `"nobody"`, 500, 10005},
			{"get_specified_group_member_info", `"Member_List_Account":[%s]`, `"ben"`, 50, 10005},
			{"update_group_counter", `"Mode":"Set","GroupCounter":[{"Key":"%s","Value":1}]`, "", 128, 10004},
		} {
			for _, n := range []int{l.most, l.most + 1} {
				what, want := strings.Repeat("x", n), 0
				if l.item != "" {
					what = list(l.item, n)
				}
				if n > l.most {
					want = l.code
				}
				if a := ann.Call(t, "group_open_http_svc."+l.command, fmt.Sprintf(`{"GroupId":%q,`+l.fields+`}`, id, what)); a.Code != want {
					t.Errorf("%s %s with %d: %d, want %d: %.200s", l.command, l.fields, n, a.Code, want, a.Text)
				}
			}
		}
	})
}

// Ensure that IDs are as long as they may be, and no longer (protocol 03 §1.3).
func TestIDLimits(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		ann := w.User(t, "ann")
		community := w.group(t, "Topics", ann)
		for _, l := range []struct {
			command, fields, prefix string
			most                    int
		}{
			{"group_open_http_svc.create_group", `{"Type":"Public","Name":"x","GroupId":"%s"}`, "g", 48},
			{"million_group_open_http_svc.create_group", `{"Type":"Community","Name":"x","GroupId":"%s"}`, "@TGS#_", 48},
			{"million_group_open_http_svc.create_topic", `{"GroupId":"` + community + `","TopicName":"x","TopicId":"%s"}`, community + "@TOPIC#_", 96},
		} {
			for _, n := range []int{l.most, l.most + 1} {
				want := 0
				if n > l.most {
					want = 10015
				}
				if a := ann.Call(t, l.command, fmt.Sprintf(l.fields, l.prefix+strings.Repeat("x", n-len(l.prefix)))); a.Code != want {
					t.Errorf("%s with %d bytes: %d, want %d: %s", l.command, n, a.Code, want, a.Text)
				}
			}
		}
	})
}

// Ensure that a community has as many topics as the app allows.
func TestTopicLimit(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		ann := w.User(t, "ann")
		id := w.group(t, "Topics", ann)
		w.Groups.TopicsPerCommunity = 2
		for i := range 3 {
			want := 0
			if i == 2 {
				want = 10004
			}
			if a := ann.Call(t, "million_group_open_http_svc.create_topic", fmt.Sprintf(`{"GroupId":%q,"TopicName":"t"}`, id)); a.Code != want {
				t.Errorf("topic %d: %d, want %d", i, a.Code, want)
			}
		}
	})
}
