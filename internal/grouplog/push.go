package grouplog

import (
	"imserver/internal/account"
	"imserver/internal/group"
)

// Pusher takes what may have to reach members who are away. It must not block.
//
// A notice is offered once for a message, whatever the size of its group: who
// is to be notified is the pusher's to find out, away from the path of
// sending. These are the members of Home but the sender; of a directed message
// only its Receivers; who have no connection; and whose receive option lets
// them be told (protocol 03 §1.4): AcceptAndNotify is, Discard and
// AcceptNotNotify are not, the two with ExceptAt are when the message mentions
// them.
type Pusher interface {
	OfferGroup(n Notice)
}

// Notice is a stored message that members may have to be notified of. Tips,
// online-only messages and those of live rooms are none.
type Notice struct {
	Group    *group.Info // whose log the message is in: a group or a topic
	Home     *group.Info // whose members it has: the community of a topic, else Group
	From     *account.Account
	Message  *Message
	Mentions []int64 // uids mentioned; 0 is everybody
}

// offer hands a stored message to the pusher.
func (s *Service) offer(d *sending) {
	if s.Pusher != nil {
		s.Pusher.OfferGroup(Notice{Group: d.Info, Home: d.home, From: d.sender, Message: d.message, Mentions: d.mentions})
	}
}
