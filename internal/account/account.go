// Package account is the directory of accounts: who exists in an app, under
// which permanent number, with which nick and avatar. Every other domain asks
// it; lookups of accounts in use cost no query.
package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
)

// MaxUserID is the longest user ID in bytes (protocol 01 §16).
const MaxUserID = 32

// Account is what the directory knows of an account.
type Account struct {
	UID    int64 // the TinyId; permanent and unique over all apps
	App    uint32
	UserID string
	Nick   string
	Avatar string
	// VoidBefore is the unix second before which issued tickets are void
	// (REST kick, protocol 01 §12); 0 means none.
	VoidBefore int64
	Status     string // custom status, plain text
}

// TinyID returns the number as the decimal string of the protocol.
func (a *Account) TinyID() string { return strconv.FormatInt(a.UID, 10) }

type nameKey struct {
	app    uint32
	userID string
}

// Directory finds accounts. Its caches are short-lived and told of changes by
// the other nodes over the bus, so that a stale name lives seconds at most.
type Directory struct {
	db     *store.DB
	now    func() time.Time
	notify func(uid int64)
	byName *expirable.LRU[nameKey, *Account]
	byUID  *expirable.LRU[int64, *Account]

	questions *store.Gather[*question]
	creations *store.Gather[*creation]

	removers []Remover                                 // see OnDelete
	deleted  []func(uids []int64)                      // see OnDeleted
	changes  []func(ctx context.Context, uids []int64) // see OnChange
}

// Cache bounds: entries are some 300 bytes.
const (
	cacheSize = 100_000
	cacheTTL  = time.Minute
)

// NewDirectory makes a directory over db.
func NewDirectory(db *store.DB, now func() time.Time) *Directory {
	d := &Directory{
		db: db, now: now, notify: func(int64) {},
		byName: expirable.NewLRU[nameKey, *Account](cacheSize, nil, cacheTTL),
		byUID:  expirable.NewLRU[int64, *Account](cacheSize, nil, cacheTTL),
	}
	d.questions = store.NewGather(256, 2, d.answer)
	d.creations = store.NewGather(128, 1, d.create)
	return d
}

// changedTopic carries the uids of changed accounts between nodes.
const changedTopic fanout.Topic = "accounts"

// Share makes changes known to the other nodes of the hub, and hears theirs.
func (d *Directory) Share(h *fanout.Hub) {
	h.Hear(changedTopic, func(payload []byte) {
		if uid, err := strconv.ParseInt(string(payload), 10, 64); err == nil {
			d.forget(uid)
		}
	})
	h.OnReset(func() { // changes may have been missed
		d.byName.Purge()
		d.byUID.Purge()
	})
	d.notify = func(uid int64) { h.Tell(changedTopic, strconv.AppendInt(nil, uid, 10)) }
}

// Forget drops what is cached of an account here and on the other nodes; call
// it after a committed change.
func (d *Directory) Forget(uid int64) {
	d.forget(uid)
	d.notify(uid)
}

func (d *Directory) forget(uid int64) {
	if a, ok := d.byUID.Peek(uid); ok {
		d.byName.Remove(nameKey{a.App, a.UserID})
	}
	d.byUID.Remove(uid)
}

const columns = `uid, app, user_id, nick, avatar, void_before, status`

// byNames finds accounts of an app on Postgres, each by the index: a condition
// on a list would do as a filter over the whole app.
const byNames = `SELECT found.* FROM unnest($2::text[]) AS name(user_id)
	CROSS JOIN LATERAL (SELECT a.uid, a.app, a.user_id, a.nick, a.avatar, a.void_before, a.status
	FROM accounts a WHERE a.app = $1 AND a.user_id = name.user_id LIMIT 1) AS found`

func scan(rows *sql.Rows, a *Account) error {
	return rows.Scan(&a.UID, &a.App, &a.UserID, &a.Nick, &a.Avatar, &a.VoidBefore, &a.Status)
}

func (d *Directory) keep(a *Account) {
	d.byName.Add(nameKey{a.App, a.UserID}, a)
	d.byUID.Add(a.UID, a)
}

// Lookup returns the account named userID; [command.CodeNoAccount] if there
// is none. The result is shared: do not change it. Lookups of several callers
// at the same time are one query.
func (d *Directory) Lookup(ctx context.Context, app uint32, userID string) (*Account, error) {
	key := nameKey{app, userID}
	if a, ok := d.byName.Get(key); ok {
		return a, nil
	}
	if nameable(userID) {
		q := &question{nameKey: key}
		if err := d.questions.Do(ctx, q); err != nil {
			return nil, err
		}
		if q.found != nil {
			return q.found, nil
		}
	}
	return nil, command.Err(command.CodeNoAccount, "")
}

// question is a lookup that the caches could not answer.
type question struct {
	nameKey
	found *Account // set by answer
}

// answer looks up what several callers asked for; mostly they are of one app.
func (d *Directory) answer(ctx context.Context, list []*question) error {
	byApp := map[uint32][]string{}
	for _, q := range list {
		byApp[q.app] = append(byApp[q.app], q.userID)
	}
	for app, ids := range byApp {
		found, err := d.LookupAll(ctx, app, ids)
		if err != nil {
			return err
		}
		for _, q := range list {
			if q.app == app {
				q.found = found[q.userID]
			}
		}
	}
	return nil
}

// LookupAll returns the accounts that exist among userIDs, with at most one
// query per 500 that are not cached.
func (d *Directory) LookupAll(ctx context.Context, app uint32, userIDs []string) (map[string]*Account, error) {
	found := make(map[string]*Account, len(userIDs))
	var missing []string
	for _, id := range userIDs {
		if a, ok := d.byName.Get(nameKey{app, id}); ok {
			found[id] = a
		} else if nameable(id) {
			missing = append(missing, id)
		}
	}
	for len(missing) > 0 {
		part := missing[:min(len(missing), 500)]
		missing = missing[len(part):]
		query, args := byNames, []any{app, part}
		if d.db.Dialect == store.SQLite {
			part = store.Padded(part)
			query, args = `SELECT `+columns+` FROM accounts WHERE app = $1 AND user_id IN `+store.In(2, len(part)), store.Args(part, any(app))
		}
		list, err := store.Collect(ctx, d.db.Lists, scan, query, args...)
		if err != nil {
			return nil, fmt.Errorf("account: lookup: %w", err)
		}
		for i := range list {
			d.keep(&list[i])
			found[list[i].UserID] = &list[i]
		}
	}
	return found, nil
}

// nameable reports whether the database can be asked for a name; what is not
// names nobody.
func nameable(id string) bool {
	return id != "" && len(id) <= MaxUserID*4 && utf8.ValidString(id) && !strings.Contains(id, "\x00")
}

// ByUID returns the account with number uid; [command.CodeNoAccount] if gone.
func (d *Directory) ByUID(ctx context.Context, uid int64) (*Account, error) {
	if a, ok := d.byUID.Get(uid); ok {
		return a, nil
	}
	found, err := d.ByUIDs(ctx, []int64{uid})
	if err != nil {
		return nil, err
	}
	if a := found[uid]; a != nil {
		return a, nil
	}
	return nil, command.Err(command.CodeNoAccount, "")
}

// ByUIDs returns the accounts that exist among uids, with at most one query
// per 500 that are not cached.
func (d *Directory) ByUIDs(ctx context.Context, uids []int64) (map[int64]*Account, error) {
	found := make(map[int64]*Account, len(uids))
	var missing []int64
	for _, uid := range uids {
		if a, ok := d.byUID.Get(uid); ok {
			found[uid] = a
		} else {
			missing = append(missing, uid)
		}
	}
	for len(missing) > 0 {
		part := missing[:min(len(missing), 500)]
		missing = missing[len(part):]
		among, args := store.Among(d.db, 1, part)
		list, err := store.Collect(ctx, d.db.Lists, scan, `SELECT `+columns+` FROM accounts WHERE uid `+among, args...)
		if err != nil {
			return nil, fmt.Errorf("account: lookup: %w", err)
		}
		for i := range list {
			d.keep(&list[i])
			found[list[i].UID] = &list[i]
		}
	}
	return found, nil
}

// ValidUserID reports whether id may name an account: 1 to MaxUserID bytes of
// UTF-8 without control characters (protocol 01 §16), and none that SDKs take for
// the system (protocol 03 §3.4) or for nobody (protocol 04 §2).
func ValidUserID(id string) bool {
	if id == "" || len(id) > MaxUserID || !utf8.ValidString(id) || strings.HasPrefix(id, "@TIM#") || strings.HasPrefix(id, "@TLS#") {
		return false
	}
	for _, r := range id {
		if r < 0x20 || r == 0x7f {
			return false
		}
	}
	return true
}

// Ensure returns the account named userID, creating it when it is new (a
// valid ticket is an invitation, protocol 01 §8). created tells which.
func (d *Directory) Ensure(ctx context.Context, app uint32, userID string) (a *Account, created bool, err error) {
	a, err = d.Lookup(ctx, app, userID)
	if err == nil || !errors.Is(err, command.Err(command.CodeNoAccount, "")) {
		return a, false, err
	}
	if !ValidUserID(userID) {
		return nil, false, command.Err(command.CodeNoAccount, "the user ID is not valid")
	}
	n := &creation{nameKey: nameKey{app, userID}}
	if err = d.creations.Do(ctx, n); err != nil {
		return nil, false, fmt.Errorf("account: create: %w", err)
	}
	a, err = d.Lookup(ctx, app, userID)
	return a, n.made, err
}

// creation is an account on its way into the table.
type creation struct {
	nameKey
	made bool // set by create: it did not exist
}

// create makes accounts, many in one statement: a new app's users come at once.
func (d *Directory) create(ctx context.Context, list []*creation) error {
	var values strings.Builder
	args := []any{d.now().Unix()}
	for i, c := range store.Padded(list) { // a repeated row conflicts with itself and is left out
		if i > 0 {
			values.WriteByte(',')
		}
		fmt.Fprintf(&values, `($%d, $%d, $1, `+voidOf+`)`, 2*i+2, 2*i+3, 2*i+2, 2*i+3)
		args = append(args, c.app, c.userID)
	}
	made, err := store.Collect(ctx, d.db.Write, func(rows *sql.Rows, k *nameKey) error { return rows.Scan(&k.app, &k.userID) },
		`INSERT INTO accounts (app, user_id, created_at, void_before) VALUES `+values.String()+`
		ON CONFLICT (app, user_id) DO NOTHING RETURNING app, user_id`, args...)
	if err != nil {
		return err
	}
	fresh := make(map[nameKey]bool, len(made))
	for _, k := range made {
		fresh[k] = true
	}
	for _, c := range list {
		c.made = fresh[c.nameKey]
		delete(fresh, c.nameKey) // of two who asked at once, one made it
	}
	return nil
}

// Number is Ensure for a caller who only wants the account's number.
func (d *Directory) Number(ctx context.Context, app uint32, userID string) (int64, error) {
	a, _, err := d.Ensure(ctx, app, userID)
	if err != nil {
		return 0, err
	}
	return a.UID, nil
}
