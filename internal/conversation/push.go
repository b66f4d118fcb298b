package conversation

import (
	"encoding/json"

	"imserver/internal/fanout"
)

// The kinds of changes that own other devices are told of (protocol 02 §14.6).
const (
	pushDelete = iota + 1
	pushPin
	pushUnpin
	pushMark
	pushCreateGroup
	pushDeleteGroup
	pushUpdateGroup
)

// pushContact is a conversation in a push: both account keys, because SDKs
// read one or the other (protocol 02 §14.6).
type pushContact struct {
	Type         int
	To_Account   string `json:",omitempty"`
	Peer_Account string `json:",omitempty"`
	GroupId      string `json:",omitempty"`
}

func (k key) push() pushContact {
	if k.kind == C2C {
		return pushContact{Type: C2C, To_Account: k.target, Peer_Account: k.target}
	}
	return pushContact{Type: Group, GroupId: k.target}
}

func pushContacts(list []key) []pushContact {
	out := make([]pushContact, 0, len(list))
	for _, k := range list {
		out = append(out, k.push())
	}
	return out
}

type contactList struct {
	RecentContactList []pushContact
}

// fields are the members of a push that depend on its kind.
type fields = map[string]any

// tell pushes one change to the owner's other devices, as an Event 11 item. To a
// device that has just come back it follows the messages: deleting must not
// overtake what it deletes.
func (s *Service) tell(to owner, kind int, payload fields) {
	payload["PushType"] = kind
	item, err := json.Marshal(struct {
		Event            int
		RecentContactMod []fields
	}{11, []fields{payload}})
	if err != nil {
		return // strings and numbers always marshal
	}
	s.hub.PushWhen(to.uid, item, to.device, fanout.AfterSync)
}
