package grouplog

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/account"
	"imserver/internal/annotation"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/ratelimit"
	"imserver/internal/store"
)

// Groups is what the log asks the groups; *group.Directory does it. Members of
// a topic are asked for with its community's number.
type Groups interface {
	Group(ctx context.Context, app uint32, id string) (*group.Info, error)
	ByGID(ctx context.Context, gid int64) (*group.Info, error)
	Member(ctx context.Context, gid, uid int64) (*group.Member, error)
	MembersOf(ctx context.Context, gid int64, uids []int64) (map[int64]*group.Member, error)
	Members(ctx context.Context, gid, after int64, limit int) ([]group.Member, error)
}

// Rooms sends to live rooms, which have no log.
type Rooms interface {
	Send(ctx context.Context, call *command.Call, g *group.Info, m *Message) (any, error)
	// Recall recalls messages and returns a code for each sequence, 0 is done.
	Recall(ctx context.Context, call *command.Call, g *group.Info, seqs []int64, reason string) (map[int64]int, error)
	// Watches refuses a caller who does not watch the room.
	Watches(ctx context.Context, call *command.Call, g *group.Info) error
	// Said returns a message that is still remembered; nil when it is not.
	Said(ctx context.Context, call *command.Call, g *group.Info, seq int64) (*Message, error)
	// Show pushes the item of a reaction's event to the watchers, if the room
	// takes another message of the lowest priority now.
	Show(ctx context.Context, app *config.App, g *group.Info, item []byte)
}

// Guard is asked before a message is stored, and may change or refuse it; it
// must not keep m.
type Guard interface {
	BeforeGroupMessage(ctx context.Context, call *command.Call, g *group.Info, m *Message) (changed bool, err error)
	AfterGroupMessage(app *config.App, g *group.Info, sender *account.Account, m *Message)
}

// Options of a Service; Limiter, Rooms, Guard and Pusher may be nil.
type Options struct {
	DB          *store.DB
	Accounts    *account.Directory
	Groups      Groups
	Hub         *fanout.Hub
	Annotations *annotation.Store
	Limiter     ratelimit.Limiter
	Rooms       Rooms
	Guard       Guard
	Pusher      Pusher
	Apps        func(app uint32) *config.App
	Now         func() time.Time
	Log         *slog.Logger
	Metrics     prometheus.Registerer
}

// Service does the commands about group messages. It is the groups' Log and
// the Filler of the fan-out.
type Service struct {
	Options
	log      *store.Batcher[*draft]
	missed   *store.Each[atRow] // see Missed
	appended prometheus.Counter
	pushed   *store.Recent[identity] // messages this node has pushed
}

var _ group.Log = (*Service)(nil)

// Bounds of what a node remembers of its pushes: clients re-send within
// minutes (protocol 01 §11).
const (
	pushedCount = 1 << 16
	pushedTTL   = 5 * time.Minute
)

// NewService makes the service and starts its writers.
func NewService(ctx context.Context, o Options) (*Service, error) {
	w := &writer{db: o.DB, now: o.Now}
	if o.DB.Dialect == store.SQLite {
		if err := w.prepare(ctx); err != nil {
			return nil, err
		}
	}
	metrics := store.NewLogMetrics(o.Metrics, "group")
	s := &Service{Options: o, appended: metrics.Appended, pushed: store.NewRecent[identity](pushedCount, pushedTTL)}
	s.missed = store.NewEach(o.DB, 1, missedQuery, scanAt)
	s.log = store.NewBatcher(store.BatchOptions{Writers: o.DB.Writers(), Sizes: metrics.Sizes, Seconds: metrics.Seconds}, w.append)
	return s, nil
}

// Stop commits what waits and ends the writers, at the latest when ctx ends.
func (s *Service) Stop(ctx context.Context) error { return s.log.Stop(ctx) }

// handle registers fn under both service names (protocol 03 §1.1).
func handle[Req, Ans any](t *command.Table, name string, access command.Access, fn func(context.Context, *command.Call, *Req) (Ans, error)) {
	for _, svc := range [2]string{"group_open_http_svc.", "million_group_open_http_svc."} {
		command.Handle(t, svc+name, access, fn)
	}
}

// Register adds the commands to the table.
func (s *Service) Register(t *command.Table) {
	const both = command.Users | command.Admins
	handle(t, "send_group_msg", command.Users|command.Ordered, s.send)
	handle(t, "send_group_msg", command.Admins, s.adminSend)
	handle(t, "group_msg_get", command.Users|command.CatchUp, s.history)
	handle(t, "group_msg_get_simple", command.Admins, s.simpleHistory)
	handle(t, "msg_read_report", command.Users, s.readReport)
	handle(t, "group_msg_recall", command.Users, s.recall)
	handle(t, "group_msg_recall", command.Admins, s.adminRecall)
	handle(t, "delete_group_ramble_msg_by_seq", command.Users, s.remove)
	handle(t, "batch_get_group_notify", command.Users|command.CatchUp, s.recalls)
	handle(t, "get_group_notify", command.Users|command.CatchUp, s.recallsOfOne)
	handle(t, "group_msg_receipt", both, s.sendReceipts)
	handle(t, "get_group_msg_receipt", both, s.receipts)
	handle(t, "get_group_msg_receipt_detail", both, s.receiptMembers)
	handle(t, "get_group_msg_receipts_by_users", command.Users, s.receiptsOf)
	handle(t, "pin_message", command.Users, s.pin)
	handle(t, "unpin_message", command.Users, s.unpin)
	handle(t, "get_pinned_messages", command.Users, s.pinned)
	command.Handle(t, "openim.modify_group_msg", command.Users, s.modify)
	command.Handle(t, "openim.modify_group_msg", command.Admins, s.adminModify)
	handle(t, "import_group_msg", command.Admins|command.Once, s.importMessages)
	handle(t, "delete_group_msg_by_sender", command.Admins, s.recallSilently)
	handle(t, "clear_group_msg", command.Admins, s.clearForAll)
	handle(t, "set_unread_msg_num", command.Admins, s.setUnread)
	const ext = "openim_msg_ext_http_svc."
	command.Handle(t, ext+"group_set_key_values", both|command.Once, s.setExtensions)
	command.Handle(t, ext+"group_get_key_values", both, s.extensions)
	command.Handle(t, ext+"group_reaction_add", command.Users|command.Once, s.react)
	command.Handle(t, ext+"group_reaction_del", command.Users|command.Once, s.unreact)
	command.Handle(t, ext+"group_reaction_multi_stat", command.Users, s.reactions)
	command.Handle(t, ext+"group_reaction_iterate", command.Users, s.reactors)
}

// Codes of group messages (protocol 03 §17).
const (
	codeMuted         = 10017
	codeNotFound      = 10030 // message to recall not found
	codeTooLate       = 10031 // recall after the author's time
	codeNotRecallable = 10032
	codeNoRecall      = 10041 // recall is switched off
	codeTooManyAt     = 10053 // mentions (protocol 06 §2.2)
	codeReceiptSize   = 10060 // group too large for receipts
	codeReceiptOnline = 10061
	codeReceiptNone   = 10062 // message without receipts
	codeTooManyPins   = 10070
	codeModifyNone    = 20026
	codeModifyRace    = 20027
)

var (
	errNoPermission = command.Err(group.CodeNoPermission, "the group does not allow this to the caller")
	errNoGroup      = command.Err(group.CodeNoGroup, "the group does not exist")
	errNotMember    = command.Err(group.CodeNoPermission, "not a member of the group")
	errBadSeq       = command.Err(group.CodeBadParameter, "a sequence is out of range")
)

// place finds the log that GroupId and TopicId name (protocol 03 §1.1). lite
// and REST callers may give the topic's ID alone.
func (s *Service) place(ctx context.Context, app uint32, groupID, topicID string) (place, error) {
	id := groupID
	if topicID != "" {
		id = topicID
	}
	g, err := s.Groups.Group(ctx, app, id)
	if err != nil {
		return place{}, err
	}
	p, err := s.placeOf(ctx, g)
	if err != nil {
		return place{}, err
	}
	if topicID != "" && (g.Kind != group.Topic || groupID != "" && groupID != p.home.ID && groupID != topicID) {
		return place{}, errNoGroup // a topic of another community
	}
	return p, nil
}

// placeOf completes a group or topic.
func (s *Service) placeOf(ctx context.Context, g *group.Info) (p place, err error) {
	p = place{Info: g, home: g}
	if g.Kind == group.Topic {
		if p.home, err = s.Groups.ByGID(ctx, g.Parent); err != nil {
			return p, err
		}
	}
	app := s.Apps(g.App)
	if app == nil {
		return p, errNoGroup
	}
	p.unread = g.Kind.Settings(app).Unread
	return p, nil
}

// topic is the hub topic that carries the log's events.
func (p place) topic() fanout.Topic { return fanout.Group(p.HubID()) }

func deviceOf(call *command.Call) fanout.Device { return fanout.Device{UID: call.UID, Inst: call.Inst} }

// low is the unix second before which messages are past their retention.
func (s *Service) low(app *config.App) int64 { return s.Now().Add(-app.Retention).Unix() }
