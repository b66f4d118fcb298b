package group

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"imserver/internal/fanout"
	"imserver/internal/store"
)

// Directory finds groups and members. What is in use costs no query; changes
// are told to every node over the hub, and what could not be told lives for
// seconds only.
type Directory struct {
	db      *store.DB
	hub     *fanout.Hub
	byName  *expirable.LRU[nameKey, *Info]
	byGID   *expirable.LRU[int64, *Info]
	members *expirable.LRU[memberKey, *Member] // nil: known to be no member
	// changes counts what was forgotten, by shard of gid: a reader whose
	// query overlapped a change does not keep what it read.
	changes [256]atomic.Uint64
	hooks   []func(gid int64) // filled before traffic starts

	notices *store.Each[string] // see Missed
}

type nameKey struct {
	app uint32
	id  string
}

type memberKey struct{ gid, uid int64 }

// Cache bounds: a group is some 500 bytes, a member 150.
const (
	groupCache  = 50_000
	groupTTL    = 30 * time.Second
	memberCache = 200_000
	memberTTL   = 10 * time.Second
)

// changedTopic carries what nodes must forget.
const changedTopic = fanout.Topic("groups")

// NewDirectory makes a directory over db that hears of changes through hub.
func NewDirectory(db *store.DB, hub *fanout.Hub) *Directory {
	d := &Directory{db: db, hub: hub,
		byName:  expirable.NewLRU[nameKey, *Info](groupCache, nil, groupTTL),
		byGID:   expirable.NewLRU[int64, *Info](groupCache, nil, groupTTL),
		members: expirable.NewLRU[memberKey, *Member](memberCache, nil, memberTTL),
		notices: store.NewEach(db, 1, noticesQuery, func(row store.Row, item *string) error { return row.Scan(item) })}
	hub.Hear(changedTopic, d.drop)
	hub.OnReset(func() {
		for i := range d.changes {
			d.changes[i].Add(1)
		}
		d.byName.Purge()
		d.byGID.Purge()
		d.members.Purge()
	})
	return d
}

// OnChange adds fn to what runs, on every node, when something of a group has
// changed. Call it before traffic starts; fn must not block.
func (d *Directory) OnChange(fn func(gid int64)) { d.hooks = append(d.hooks, fn) }

// Forget makes every node read a group anew, and whatever OnChange's functions
// keep of it.
func (d *Directory) Forget(gid int64) { d.forget(gid) }

// drop forgets what a note names: a gid and the uids of changed members.
func (d *Directory) drop(note []byte) {
	fields := strings.Fields(string(note))
	if len(fields) == 0 {
		return
	}
	gid, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return
	}
	d.changes[gid&255].Add(1)
	if i, ok := d.byGID.Peek(gid); ok {
		d.byName.Remove(nameKey{i.App, i.ID})
	}
	d.byGID.Remove(gid)
	for _, fn := range d.hooks {
		fn(gid)
	}
	for _, f := range fields[1:] {
		if uid, err := strconv.ParseInt(f, 10, 64); err == nil {
			d.members.Remove(memberKey{gid, uid})
		}
	}
}

// forget makes every node read the group and these members anew. Call it after
// the commit and before anybody is told of the change.
func (d *Directory) forget(gid int64, uids ...int64) {
	b := strconv.AppendInt(nil, gid, 10)
	for _, uid := range uids {
		b = strconv.AppendInt(append(b, ' '), uid, 10)
	}
	d.drop(b)
	d.hub.Tell(changedTopic, b)
}

const infoColumns = `g.gid, g.app, g.group_id, g.kind, g.parent, g.name, g.introduction, g.notification, g.face_url, g.custom_text,
	g.owner, g.apply_option, g.invite_option, g.max_members, g.member_num, g.mute_all, g.support_topic, g.custom, g.info_seq, g.info_time, g.created_at`

func infoFields(i *Info, mute, topics *int, custom *string) []any {
	return []any{&i.GID, &i.App, &i.ID, &i.Kind, &i.Parent, &i.Name, &i.Introduction, &i.Notification, &i.FaceURL, &i.CustomText,
		&i.Owner, &i.Apply, &i.Invite, &i.MaxMembers, &i.MemberNum, mute, topics, custom, &i.InfoSeq, &i.InfoTime, &i.CreatedAt}
}

// scanInfo reads infoColumns and whatever else the query has after them.
func scanInfo(scan func(dest ...any) error, i *Info, more ...any) error {
	var mute, topics int
	var custom string
	if err := scan(append(infoFields(i, &mute, &topics, &custom), more...)...); err != nil {
		return err
	}
	i.MuteAll, i.SupportTopic = mute != 0, topics != 0
	i.Custom = decodeCustom(custom)
	return nil
}

// decodeCustom reads a stored set of custom fields; nil when it is empty.
func decodeCustom(s string) map[string]string {
	if s == "" || s == "{}" {
		return nil
	}
	var m map[string]string
	_ = json.Unmarshal([]byte(s), &m) // written by encodeCustom
	return m
}

func encodeCustom(m map[string]string) string {
	b, _ := json.Marshal(m) // strings cannot fail
	if m == nil {
		return "{}"
	}
	return string(b)
}

func (d *Directory) keep(i *Info) {
	d.byName.Add(nameKey{i.App, i.ID}, i)
	d.byGID.Add(i.GID, i)
}

// Group returns the group or topic with that ID; 10010 if there is none, 10015
// if the ID cannot be one.
func (d *Directory) Group(ctx context.Context, app uint32, id string) (*Info, error) {
	if i, ok := d.byName.Get(nameKey{app, id}); ok {
		return i, nil
	}
	if !plausibleID(id) {
		return nil, errBadID
	}
	return d.load(ctx, `SELECT `+infoColumns+` FROM groups g WHERE g.app = $1 AND g.group_id = $2`, app, id)
}

// Topic returns a topic of a community that has it; 10010 otherwise.
func (d *Directory) Topic(ctx context.Context, app uint32, topicID string) (*Info, error) {
	i, err := d.Group(ctx, app, topicID)
	if err == nil && i.Kind != Topic {
		return nil, errNoGroup
	}
	return i, err
}

// ByGID returns the group or topic with that number; 10010 if it is gone.
func (d *Directory) ByGID(ctx context.Context, gid int64) (*Info, error) {
	if i, ok := d.byGID.Get(gid); ok {
		return i, nil
	}
	return d.read(ctx, gid)
}

// read is ByGID by the record alone.
func (d *Directory) read(ctx context.Context, gid int64) (*Info, error) {
	return d.load(ctx, `SELECT `+infoColumns+` FROM groups g WHERE g.gid = $1`, gid)
}

func (d *Directory) load(ctx context.Context, query string, args ...any) (*Info, error) {
	before := d.generation()
	i := &Info{}
	err := scanInfo(d.db.Read.QueryRowContext(ctx, query, args...).Scan, i)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoGroup
	}
	if err != nil {
		return nil, fmt.Errorf("group: lookup: %w", err)
	}
	if before(i.GID) {
		d.keep(i)
	}
	return i, nil
}

// Groups returns the groups and topics that exist among ids, with one query
// for those that are not cached. At most 500 ids.
func (d *Directory) Groups(ctx context.Context, app uint32, ids []string) (map[string]*Info, error) {
	found := make(map[string]*Info, len(ids))
	var missing []string
	for _, id := range ids {
		if i, ok := d.byName.Get(nameKey{app, id}); ok {
			found[id] = i
		} else if plausibleID(id) {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	before := d.generation()
	list, err := store.Collect(ctx, d.db.Read, func(rows *sql.Rows, i *Info) error { return scanInfo(rows.Scan, i) },
		`SELECT `+infoColumns+` FROM groups g WHERE g.app = $1 AND g.group_id IN `+store.In(2, len(missing)), store.Args(missing, any(app))...)
	if err != nil {
		return nil, fmt.Errorf("group: lookup: %w", err)
	}
	for i := range list {
		if before(list[i].GID) {
			d.keep(&list[i])
		}
		found[list[i].ID] = &list[i]
	}
	return found, nil
}

// generation remembers the change counts; the function it returns reports
// whether nothing of gid's shard has changed since.
func (d *Directory) generation() func(gid int64) bool {
	var then [256]uint64
	for i := range then {
		then[i] = d.changes[i].Load()
	}
	return func(gid int64) bool { return d.changes[gid&255].Load() == then[gid&255] }
}

const memberColumns = `m.gid, m.uid, m.role, m.joined_at, m.join_seq, m.cleared_seq, m.muted_until, m.recv_opt, m.name_card`

func scanMember(rows *sql.Rows, m *Member) error {
	return rows.Scan(&m.GID, &m.UID, &m.Role, &m.JoinedAt, &m.JoinSeq, &m.ClearedSeq, &m.MutedUntil, &m.Receive, &m.NameCard)
}

// Member returns uid's membership of the group gid (of a topic, ask for the
// community); 10007 if there is none. That there is none is never taken from
// memory: somebody may just have come in on another node.
func (d *Directory) Member(ctx context.Context, gid, uid int64) (*Member, error) {
	if m, ok := d.members.Get(memberKey{gid, uid}); ok && m != nil {
		return m, nil
	}
	d.members.Remove(memberKey{gid, uid})
	found, err := d.MembersOf(ctx, gid, []int64{uid})
	if err != nil {
		return nil, err
	}
	if m := found[uid]; m != nil {
		return m, nil
	}
	return nil, errNotMember
}

// MembersOf returns the members among uids, with one query for those that are
// not cached. At most 500 uids.
func (d *Directory) MembersOf(ctx context.Context, gid int64, uids []int64) (map[int64]*Member, error) {
	found := make(map[int64]*Member, len(uids))
	var missing []int64
	for _, uid := range uids {
		if m, ok := d.members.Get(memberKey{gid, uid}); !ok {
			missing = append(missing, uid)
		} else if m != nil {
			found[uid] = m
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	changes := d.changes[gid&255].Load()
	list, err := store.Collect(ctx, d.db.Read, scanMember, `SELECT `+memberColumns+` FROM group_members m WHERE m.gid = $1 AND m.uid IN `+
		store.In(2, len(missing)), store.Args(missing, any(gid))...)
	if err != nil {
		return nil, fmt.Errorf("group: members: %w", err)
	}
	for i := range list {
		found[list[i].UID] = &list[i]
	}
	if d.changes[gid&255].Load() == changes {
		for _, uid := range missing {
			d.members.Add(memberKey{gid, uid}, found[uid])
		}
	}
	return found, nil
}

// Members returns up to limit members with a uid above after, by uid.
func (d *Directory) Members(ctx context.Context, gid, after int64, limit int) ([]Member, error) {
	list, err := store.Collect(ctx, d.db.Read, scanMember,
		`SELECT `+memberColumns+` FROM group_members m WHERE m.gid = $1 AND m.uid > $2 ORDER BY m.uid LIMIT $3`, gid, after, limit)
	if err != nil {
		return nil, fmt.Errorf("group: members: %w", err)
	}
	return list, nil
}
