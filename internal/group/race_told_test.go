package group_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"imserver/internal/group"
	"imserver/internal/store"
)

// tipText is a tip as the model writes it.
func tipText(body string) string {
	var tip struct {
		OpType           int
		Operator_Account string
		List_Account     []string
		MemberNum        int
		GroupJoinType    int
		MsgMemberInfo    []struct{ ShutupTime int64 }
		MsgGroupNewInfo  struct {
			GroupName     string
			Owner_Account string
		}
	}
	if err := json.Unmarshal([]byte(body), &tip); err != nil {
		return body
	}
	text := fmt.Sprintf("%d %s", tip.OpType, tip.Operator_Account)
	if len(tip.List_Account) > 0 {
		text += fmt.Sprintf(" %s", tip.List_Account)
	}
	switch tip.OpType {
	case 1:
		text += fmt.Sprintf(" %d by %d", tip.MemberNum, tip.GroupJoinType)
	case 2, 3:
		text += fmt.Sprintf(" %d", tip.MemberNum)
	case 6:
		if tip.MsgGroupNewInfo.Owner_Account != "" {
			return text + " owner " + tip.MsgGroupNewInfo.Owner_Account
		}
		text += " name " + tip.MsgGroupNewInfo.GroupName
	case 7:
		text += fmt.Sprintf(" for %d", tip.MsgMemberInfo[0].ShutupTime)
	}
	return text
}

// said are the tips that the log has got since the last moment.
func (r *run) said() (tips []string) {
	type entry struct {
		seq  int64
		body string
	}
	list, err := store.Collect(r.t.Context(), r.nodes[0].DB.Read, func(rows *sql.Rows, e *entry) error { return rows.Scan(&e.seq, &e.body) },
		`SELECT seq, body FROM group_messages WHERE log = $1 AND seq > $2 ORDER BY seq`, r.gid, r.seq)
	if err != nil {
		r.rt.Fatal(err)
	}
	for _, e := range list {
		if r.seq++; e.seq != r.seq {
			r.rt.Fatalf("sequence %d of the log stands where %d should", e.seq, r.seq)
		}
		tips = append(tips, tipText(e.body))
	}
	return tips
}

// got are the events of a device, as the model writes them.
func got(items []string) (o outcome) {
	for _, item := range items {
		var e struct {
			Event     int
			GroupTips []struct{ MsgBody json.RawMessage }
		}
		if err := json.Unmarshal([]byte(item), &e); err != nil || len(e.GroupTips) != 1 {
			o.events = append(o.events, item)
			continue
		}
		raw := e.GroupTips[0].MsgBody
		var body struct {
			ReportType       int
			Operator_Account string
			GroupCounterInfo []struct {
				GroupCounterSeq int64
				GroupCounter    []struct{ Value int64 }
			}
			MsgGroupNewInfo struct {
				GroupAttrOption struct{ GroupAttrSeq, OpType int64 }
			}
		}
		_ = json.Unmarshal(raw, &body)
		switch {
		case e.Event == 4:
			o.tips = append(o.tips, tipText(string(raw)))
		case e.Event == 5:
			o.notices = append(o.notices, fmt.Sprintf("%d %s", body.ReportType, body.Operator_Account))
		case len(body.GroupCounterInfo) == 1:
			c := body.GroupCounterInfo[0]
			o.events = append(o.events, fmt.Sprintf("counter %d at %d", c.GroupCounter[0].Value, c.GroupCounterSeq))
		default:
			a := body.MsgGroupNewInfo.GroupAttrOption
			o.events = append(o.events, fmt.Sprintf("attributes %d by %d", a.GroupAttrSeq, a.OpType))
		}
	}
	return o
}

// stayed tells who was a member all the time in every history.
func stayed(before, after state, fit []history) (who [4]bool) {
	for i, name := range raceUsers {
		who[i] = before.roles[i] != group.Nobody && after.roles[i] != group.Nobody
		for _, h := range fit {
			for _, n := range h.notices { // kicked, or has quit
				who[i] = who[i] && !(strings.HasSuffix(n, ">"+name) && (strings.HasPrefix(n, "4 ") || strings.HasPrefix(n, "8 ")))
			}
		}
	}
	return who
}

// without takes the late ones out of list, each once.
func without(list, late []string) []string {
	list = slices.Clone(list)
	for _, l := range late {
		if i := slices.Index(list, l); i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
	}
	return list
}

// told waits until every device has what one of the histories says, each once.
func (r *run) told(deeds []deed, fit []history, stayed [4]bool) {
	for i, n := range r.nodes {
		for j, u := range n.users {
			r.wait(fmt.Sprintf("what %s on node %d hears of %+v", u.UserID, i, deeds), func() error {
				o := got(u.Peek())
				o.tips, o.events = without(o.tips, r.late[u]), without(o.events, r.late[u])
				for _, h := range fit {
					want := noticesOf(h.notices, raceUsers[j], i)
					if r.same(o.notices, want) && (!stayed[j] || r.same(o.tips, h.tips) && r.same(o.events, h.events)) {
						return nil
					}
				}
				return fmt.Errorf("%+v; want one of %+v", o, fit)
			})
			u.Events()
			r.late[u] = nil
			for _, h := range fit {
				if !stayed[j] {
					r.late[u] = append(append(r.late[u], h.tips...), h.events...)
				}
			}
		}
	}
}

// noticesOf are those for one device.
func noticesOf(all []string, user string, node int) (list []string) {
	for _, n := range all {
		text, to, _ := strings.Cut(n, ">")
		if name, except, _ := strings.Cut(to, "!"); name == user && except != fmt.Sprint(node) {
			list = append(list, text)
		}
	}
	return list
}
