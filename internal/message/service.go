package message

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/account"
	"imserver/internal/annotation"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
)

// Policy decides whether one account may write to another: block list, friend
// check, mute (protocol 02 §21). drop means that the sender is told success
// and nothing is delivered; a refusal is a *command.Error.
type Policy interface {
	MaySend(ctx context.Context, call *command.Call, from, to *account.Account) (drop bool, err error)
}

// Pusher takes what may have to reach a user who is not online. It must not
// block.
type Pusher interface {
	Offer(n Notice)
}

// Notice is a stored message that its receiver may have to be notified of.
type Notice struct {
	App      uint32
	From, To *account.Account
	Message  *Message
}

// Hook is asked before a message is sent and told afterwards: the app's
// webhooks (protocol 06 §7).
type Hook interface {
	// BeforeSend may refuse, with a *command.Error, or change m's Body and
	// Cloud, which it has normalized. The sender's devices are then told of the
	// new content (protocol 02 §4.4).
	BeforeSend(ctx context.Context, call *command.Call, from, to *account.Account, m *Message) error
	// AfterSend is told of a stored message. It must not block.
	AfterSend(n Notice)
}

// Options of a Service; Policy, Hook, Pusher and Annotations may be nil.
type Options struct {
	DB       *store.DB
	Accounts *account.Directory
	Hub      *fanout.Hub
	Policy   Policy
	Hook     Hook
	Pusher   Pusher
	// Annotations keeps extensions and reactions; without it their commands
	// are not offered.
	Annotations *annotation.Store
	Now         func() time.Time
	Log         *slog.Logger
	Metrics     prometheus.Registerer
}

// Service does the one-to-one commands.
type Service struct {
	Options
	log      *store.Batcher[*draft]
	unreads  *store.Each[Message] // what many ask at once when they log in
	chats    *store.Each[chat]
	readings *store.Gather[*reading] // nil on Postgres
	tellings tellings
	groups   Groups // nil while there are none
	events   []Events
	appended prometheus.Counter
	pushed   *store.Recent[identity] // messages this node has pushed
}

// NewService makes the service and starts its writers.
func NewService(ctx context.Context, o Options) (*Service, error) {
	w := &writer{db: o.DB, now: o.Now}
	if o.DB.Dialect == store.SQLite {
		if err := w.prepare(ctx); err != nil {
			return nil, err
		}
	}
	metrics := store.NewLogMetrics(o.Metrics, "c2c")
	s := &Service{Options: o, tellings: tellings{on: map[[2]int64]*telling{}}, appended: metrics.Appended, pushed: store.NewRecent[identity](pushedCount, pushedTTL)}
	s.unreads = store.NewEach(o.DB, 1, unreadQuery, scanRow)
	s.chats = store.NewEach(o.DB, 1, chatsQuery, scanChat)
	if o.DB.Dialect == store.SQLite {
		s.readings = store.NewGather(maxReadings, 1, s.recordAll)
	}
	batches := store.BatchOptions{Writers: o.DB.Writers(), Sizes: metrics.Sizes, Seconds: metrics.Seconds}
	if o.DB.Dialect == store.Postgres {
		// SQLite works in the writer itself, which others should not keep from it.
		batches.Together = o.Hub.Together
	}
	s.log = store.NewBatcher(batches, w.append)
	return s, nil
}

// Stop commits what waits and ends the writers, at the latest when ctx ends.
func (s *Service) Stop(ctx context.Context) error { return s.log.Stop(ctx) }

// Register adds the commands to the table.
func (s *Service) Register(t *command.Table) {
	command.Handle(t, "openim.sendmsg", command.Users|command.Ordered, s.send)
	command.Handle(t, "openim.getmsg", command.Users|command.Snapshot|command.Sync, s.sync)
	command.Handle(t, "openim.getroammsg", command.Users|command.CatchUp, s.history)
	command.Handle(t, "openim.msgreaded", command.Users, s.markRead)
	command.Handle(t, "openim.get_peer_read_time", command.Users, s.peerReadTime)
	command.Handle(t, "openim.ws_msg_push_ack", command.Users, s.ack)
	command.Handle(t, "openim.read_all_unread_msg", command.Users, s.readAll)
	command.Handle(t, "openim.msgwithdraw", command.Users|command.Once, s.revoke)
	command.Handle(t, "openim.modify_c2c_msg", command.Users|command.Once, s.modify)
	command.Handle(t, "openim.delete_c2c_msg_ramble", command.Users, s.delete)
	command.Handle(t, "recentcontact.clear_msg", command.Users, s.clear)
	command.Handle(t, "openim.c2c_msg_read_receipt", command.Users, s.receipt)
	command.Handle(t, "openim.set_c2c_peer_mute_notifications", command.Users, s.mute)
	command.Handle(t, "openim.get_c2c_peer_mute_notifications", command.Users, s.muted)
	command.Handle(t, "im_msg_db_logic.ws_set_do_not_disturb", command.Users, s.setQuiet)
	command.Handle(t, "im_msg_db_logic.ws_get_do_not_disturb", command.Users, s.getQuiet)
	command.Handle(t, "im_long_msg.save_relay_json_msg", command.Users, s.saveRelay)
	command.Handle(t, "im_long_msg.get_relay_json_msg", command.Users, s.getRelay)
	s.registerAdmin(t)
	if s.Annotations != nil {
		s.registerAnnotations(t)
	}
}

// registerAdmin adds what app administrators may do (protocol 06 §5.2).
func (s *Service) registerAdmin(t *command.Table) {
	command.Handle(t, "openim.sendmsg", command.Admins, s.adminSend)
	command.Handle(t, "openim.batchsendmsg", command.Admins, s.adminBatchSend)
	command.Handle(t, "openim.importmsg", command.Admins, s.adminImport)
	command.Handle(t, "openim.admin_getroammsg", command.Admins, s.adminHistory)
	command.Handle(t, "openim.admin_msgwithdraw", command.Admins, s.adminRevoke)
	command.Handle(t, "openim.admin_set_msg_read", command.Admins, s.adminRead)
	command.Handle(t, "openim.get_c2c_unread_msg_num", command.Admins, s.adminUnread)
	command.Handle(t, "openim.modify_c2c_msg", command.Admins, s.adminModify)
	command.Handle(t, "openim.delete_c2c_msg_ramble", command.Admins, s.adminDelete)
	command.Handle(t, "openim.c2c_msg_read_receipt", command.Admins, s.adminReceipt)
}

// ack takes a client's word that a push arrived; the server asks for none.
func (s *Service) ack(context.Context, *command.Call, *command.Empty) (command.Empty, error) {
	return command.Empty{}, nil
}
