package profile

import (
	"context"
	"encoding/json"
	"time"

	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/session"
	"imserver/internal/store"
)

// tell pushes the profile to the user's own devices, the one that changed it
// included, and to the user's friends: one event, encoded once.
func (s *Service) tell(ctx context.Context, r *record) {
	app := s.apps(r.app)
	if app == nil {
		return // an app that was taken out of the configuration
	}
	e := &fanout.Event{Item: r.push(app)}
	s.hub.Publish(fanout.User(r.uid), e)
	if s.friends == nil {
		return
	}
	friends, err := s.friends.Friends(ctx, r.uid)
	if err != nil {
		s.log.Error("a profile change was not told to friends", "user", r.userID, "err", err)
		return
	}
	for _, uid := range friends {
		if uid != r.uid {
			s.hub.Publish(fanout.User(uid), e)
		}
	}
}

// pushTag has numbers in ValueBytes, too: lite reads nothing else (protocol 04 §2).
type pushTag struct {
	Tag        string
	ValueNum   json.RawMessage `json:",omitempty"`
	ValueBytes json.RawMessage
}

type pushMod struct {
	PushType        int
	Profile_Account string
	ProfileList     []pushTag
}

// push returns the event item of a changed profile. All tags are in it,
// because a client without the profile builds it from the push alone.
func (r *record) push(app *config.App) []byte {
	m := pushMod{PushType: 1, Profile_Account: r.userID}
	for _, i := range r.items(app) {
		t := pushTag{Tag: i.Tag, ValueBytes: i.Value}
		if i.Value[0] != '"' {
			t.ValueNum = i.Value
		}
		m.ProfileList = append(m.ProfileList, t)
	}
	b, _ := json.Marshal(struct { // stored values are JSON
		Event          int
		ProfileDataMod []pushMod
	}{8, []pushMod{m}})
	return b
}

// Announce tells of profiles that were changed by other means: give it to
// account.Directory.OnChange.
func (s *Service) Announce(ctx context.Context, uids []int64) {
	list, err := s.byNumber(ctx, uids)
	if err != nil {
		s.log.Error("imported profiles were not told", "err", err)
		return
	}
	for i := range list {
		s.tell(ctx, &list[i])
	}
}

func (s *Service) byNumber(ctx context.Context, uids []int64) ([]record, error) {
	return store.Collect(ctx, s.db.Read, scan, `SELECT `+columns+` FROM accounts WHERE uid IN `+store.In(1, len(uids)), store.Args(uids)...)
}

// Greet pushes a device its user's own profile: browsers keep it for a day and
// do not ask again (protocol 04 §7). Give it to session.Service.OnGreet.
func (s *Service) Greet(ctx context.Context, call *command.Call, ses *session.Session) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	list, err := s.own.Of(ctx, ses.UID)
	if err != nil {
		s.log.Error("a profile was not pushed at login", "user", ses.UserID, "err", err)
		return
	}
	for i := range list {
		s.hub.PublishLocal(fanout.User(ses.UID), &fanout.Event{Item: list[i].push(call.App), Target: ses.Device(), Apart: true})
	}
}
