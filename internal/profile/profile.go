// Package profile keeps what users say about themselves: nick, avatar and
// further tags. It tells the user's own devices and the user's friends of
// changes.
package profile

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/store"
)

// Friends knows who watches a profile.
type Friends interface {
	// Friends returns the accounts that have uid in their friend list.
	Friends(ctx context.Context, uid int64) ([]int64, error)
}

// Service reads and changes profiles.
type Service struct {
	db       *store.DB
	accounts *account.Directory
	hub      *fanout.Hub
	apps     func(sdkAppID uint32) *config.App
	friends  Friends // nil: nobody has friends
	log      *slog.Logger
	own      *store.Lookup[record] // for logins, which come many at a time
}

// NewService makes the service; friends may be nil.
func NewService(db *store.DB, accounts *account.Directory, hub *fanout.Hub, apps func(sdkAppID uint32) *config.App, friends Friends, log *slog.Logger) *Service {
	own := store.NewLookup(db, `SELECT `+columns+` FROM accounts WHERE uid %s`, func(rows *sql.Rows, uid *int64, r *record) error {
		err := scan(rows, r)
		*uid = r.uid
		return err
	})
	return &Service{db: db, accounts: accounts, hub: hub, apps: apps, friends: friends, log: log, own: own}
}

// record is an account's profile as it is stored. Nick and avatar have columns
// of their own, because the directory of accounts hands them to everybody.
type record struct {
	uid    int64
	app    uint32
	userID string
	nick   string
	avatar string
	tags   map[string]json.RawMessage
}

const columns = `uid, app, user_id, nick, avatar, tags`

func scan(rows *sql.Rows, r *record) error {
	var tags []byte
	if err := rows.Scan(&r.uid, &r.app, &r.userID, &r.nick, &r.avatar, &tags); err != nil {
		return err
	}
	return json.Unmarshal(tags, &r.tags)
}

// item is a tag and its value on the wire.
type item struct {
	Tag   string
	Value json.RawMessage
}

// value returns the value of a tag: the stored one, "" for nick and avatar,
// the app's default of who may befriend; nil for other tags that are unset.
func (r *record) value(tag string, app *config.App) json.RawMessage {
	switch tag {
	case tagNick:
		return quote(r.nick)
	case tagImage:
		return quote(r.avatar)
	}
	v := r.tags[tag]
	if v == nil && tag == tagAllow {
		return quote(app.AllowType)
	}
	return v
}

// items returns all that is known of the profile, in a fixed order: the nick
// first, which lite wants never to be missing (protocol 04 §2).
func (r *record) items(app *config.App) []item {
	list := []item{{tagNick, r.value(tagNick, app)}, {tagImage, r.value(tagImage, app)}, {tagAllow, r.value(tagAllow, app)}}
	for _, tag := range slices.Sorted(maps.Keys(r.tags)) {
		if tag != tagAllow {
			list = append(list, item{tag, r.tags[tag]})
		}
	}
	return list
}

// set stores a checked value; it reports whether that changed anything.
func (r *record) set(tag string, value json.RawMessage) bool {
	switch tag {
	case tagNick, tagImage:
		field := &r.nick
		if tag == tagImage {
			field = &r.avatar
		}
		old := *field
		_ = json.Unmarshal(value, field) // checked: a string
		return *field != old
	}
	if string(r.tags[tag]) == string(value) {
		return false
	}
	if r.tags == nil {
		r.tags = map[string]json.RawMessage{}
	}
	r.tags[tag] = value
	return true
}

// customs counts the custom fields.
func (r *record) customs() int {
	n := 0
	for tag := range r.tags {
		if strings.HasPrefix(tag, customPrefix) {
			n++
		}
	}
	return n
}

// byName reads the profiles of those of the names that exist, with one query
// per 500.
func (s *Service) byName(ctx context.Context, app uint32, names []string) (map[string]*record, error) {
	found := make(map[string]*record, len(names))
	var valid []string
	for _, id := range names {
		if account.ValidUserID(id) {
			valid = append(valid, id)
		}
	}
	for part := range slices.Chunk(valid, 500) {
		list, err := store.Collect(ctx, s.db.Read, scan, `SELECT `+columns+` FROM accounts WHERE app = $1 AND user_id IN `+
			store.In(2, len(part)), store.Args(part, any(app))...)
		if err != nil {
			return nil, fmt.Errorf("profile: %w", err)
		}
		for i := range list {
			found[list[i].userID] = &list[i]
		}
	}
	return found, nil
}

// change applies items to a profile, all or nothing, and tells of it.
func (s *Service) change(ctx context.Context, app *config.App, uid int64, items []item, admin bool) error {
	for i := range items {
		value, err := check(app, items[i], admin)
		if err != nil {
			return err
		}
		items[i].Value = value
	}
	var r *record
	changed := false
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		list, err := store.Collect(ctx, tx, scan, `SELECT `+columns+` FROM accounts WHERE uid = $1`+s.db.ForUpdate(), uid)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return command.Err(codeNoUser, "the account does not exist")
		}
		r = &list[0]
		if changed, err = r.apply(items, admin); err != nil || !changed {
			return err
		}
		tags, err := json.Marshal(r.tags)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE accounts SET nick = $2, avatar = $3, tags = $4 WHERE uid = $1`, uid, r.nick, r.avatar, string(tags))
		return err
	})
	if err != nil {
		if errors.As(err, new(*command.Error)) {
			return err
		}
		return fmt.Errorf("profile: change: %w", err)
	}
	if changed {
		s.accounts.Forget(uid)
		s.tell(ctx, r)
	}
	return nil
}

// apply sets checked items; it reports whether that changed anything.
func (r *record) apply(items []item, admin bool) (changed bool, err error) {
	for _, i := range items {
		if i.Tag == tagForbid && !admin && !r.keepsForbid(i.Value) {
			return false, command.Errf(codeNoWrite, "only administrators change %s", tagForbid)
		}
		changed = r.set(i.Tag, i.Value) || changed
	}
	if r.customs() > maxCustoms {
		return false, command.Errf(codeParameter, "a profile has at most %d custom fields", maxCustoms)
	}
	return changed, nil
}

// keepsForbid reports whether value is what the profile says already: a client
// that sends its whole profile back is not to be refused.
func (r *record) keepsForbid(value json.RawMessage) bool {
	old := r.tags[tagForbid]
	if old == nil {
		old = quote(forbidNone)
	}
	return string(old) == string(value)
}
