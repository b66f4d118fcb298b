package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// checker collects what is wrong, so that all of it can be told at once.
type checker struct {
	prefix string
	errs   []error
}

func (v *checker) wrong(path, format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf("%s%s: %s", v.prefix, path, fmt.Sprintf(format, args...)))
}

func (v *checker) between(path string, n, low, high int) {
	if n < low || n > high {
		v.wrong(path, "must be %d to %d, is %d", low, high, n)
	}
}

func (v *checker) within(path string, d, low, high time.Duration) {
	if d < low || d > high {
		v.wrong(path, "must be %s to %s, is %s", Span(low), Span(high), Span(d))
	}
}

func (v *checker) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.wrong(path, "must be one of %s, is %q", strings.Join(allowed, ", "), value)
	}
}

// address checks a URL without quoting it: it may hold a password.
func (v *checker) address(path, value string, schemes ...string) {
	if value == "" {
		return
	}
	u, err := url.Parse(value)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" {
		v.wrong(path, "must be an address that starts with %s://", strings.Join(schemes, ":// or "))
	}
}

const many = 1_000_000_000 // a bound for what has none of its own

func (c *Config) validate() error {
	v := &checker{}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		v.wrong("listen", "must be host:port, is %q", c.Listen)
	}
	if c.PProf != "" && !loopback(c.PProf) {
		v.wrong("pprof", "must be host:port with a loopback address, is %q", c.PProf)
	}
	v.address("public_url", c.PublicURL, "http", "https")
	if strings.HasSuffix(c.PublicURL, "/") {
		v.wrong("public_url", "must not end with a slash")
	}
	if c.DataDir == "" {
		v.wrong("data_dir", "must not be empty")
	}
	v.database(c)
	for _, origin := range c.AllowedOrigins {
		if u, err := url.Parse(origin); err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" {
			v.wrong("allowed_origins", "%q is not scheme://host[:port]", origin)
		}
	}
	v.within("presence_grace", c.PresenceGrace, 0, 5*time.Minute)
	v.within("drain_timeout", c.DrainTimeout, 0, 5*time.Minute)
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "text", "json")
	v.tls(c.TLS)
	v.limits(c.Limits)

	v.prefix = "defaults."
	v.settings(&c.Defaults)
	seen := map[uint32]bool{}
	for i := range c.Apps {
		app := &c.Apps[i]
		v.prefix = fmt.Sprintf("app %d: ", app.SDKAppID)
		if app.SDKAppID == 0 {
			v.wrong("sdkappid", "must be above 0")
		}
		if seen[app.SDKAppID] {
			v.wrong("sdkappid", "is there twice")
		}
		seen[app.SDKAppID] = true
		if len(app.Keys) == 0 || slices.Contains(app.Keys, "") {
			v.wrong("keys", "there must be a key, and none may be empty")
		}
		v.settings(&app.Settings)
	}
	return errors.Join(v.errs...)
}

func (v *checker) database(c *Config) {
	v.address("database_url", strings.Replace(c.DatabaseURL, ":///", "://local/", 1), "postgres", "postgresql") // without a host: the local socket
	if c.DatabaseConns != 0 {
		v.between("database_conns", c.DatabaseConns, 2, 1000)
	}
	v.address("redis_url", c.RedisURL, "redis", "rediss")
	if c.RedisURL != "" && c.DatabaseURL == "" {
		v.wrong("redis_url", "needs database_url: several servers cannot share an embedded database")
	}
	if c.RedisMaster != "" && c.RedisURL == "" {
		v.wrong("redis_master", "needs redis_url")
	}
}

func (v *checker) tls(t TLS) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		v.wrong("tls", "cert_file and key_file go together")
	}
	for _, file := range [][2]string{{"tls.cert_file", t.CertFile}, {"tls.key_file", t.KeyFile}} {
		if file[1] == "" {
			continue
		}
		if _, err := os.Stat(file[1]); err != nil {
			v.wrong(file[0], "%v", err)
		}
	}
}

func (v *checker) limits(l Limits) {
	v.between("limits.frame_bytes", l.FrameBytes, 64<<10, 64<<20)
	v.between("limits.command_rate", l.CommandRate, 0, many)
	v.between("limits.command_burst", l.CommandBurst, 1, many)
	v.between("limits.command_concurrency", l.CommandConcurrency, 1, 1024)
	v.between("limits.concurrency", l.Concurrency, 64, 1_000_000)
	v.between("limits.connections", l.Connections, 0, many)
	v.between("limits.handshakes", l.Handshakes, 16, 1_000_000)
	v.between("limits.connections_per_ip", l.ConnectionsPerIP, 0, many)
	v.within("limits.handshake_timeout", l.HandshakeTimeout, 100*time.Millisecond, 5*time.Minute)
	v.within("limits.ping_interval", l.PingInterval, 100*time.Millisecond, 10*time.Minute)
	v.within("limits.idle_timeout", l.IdleTimeout, 200*time.Millisecond, 30*time.Minute)
	if l.PingInterval >= l.IdleTimeout {
		v.wrong("limits.ping_interval", "must be less than limits.idle_timeout")
	}
	v.within("limits.write_timeout", l.WriteTimeout, 100*time.Millisecond, 5*time.Minute)
	v.between("limits.queue_bytes", l.QueueBytes, 64<<10, 1<<30)
	v.between("limits.rest_body_bytes", l.RESTBodyBytes, 64<<10, 64<<20)
}

func (v *checker) settings(s *Settings) {
	if len(s.Admins) == 0 || slices.ContainsFunc(s.Admins, func(id string) bool { return id == "" || len(id) > 32 }) {
		v.wrong("admins", "there must be one, and each has 1 to 32 bytes")
	}
	v.oneOf("login_policy", string(s.LoginPolicy),
		string(LoginSingle), string(LoginDual), string(LoginTriple), string(LoginMulti))
	v.instances(s.MaxInstances)
	v.within("retention", s.Retention, time.Second, 360*24*time.Hour)
	v.within("recall_limit", s.RecallLimit, 0, 360*24*time.Hour)
	v.between("message_bytes", s.MessageBytes, 1<<10, 1<<20)
	v.between("group_rate", s.GroupRate, 0, many)
	v.between("conversation_list", s.ConversationList, 1, 10_000)
	v.between("status_subscriptions", s.StatusSubscriptions, 1, 10_000)
	v.oneOf("allow_type", s.AllowType,
		"AllowType_Type_AllowAny", "AllowType_Type_NeedConfirm", "AllowType_Type_DenyAny")
	v.between("rest_rate", s.RESTRate, 0, many)
	v.between("relations.friends", s.Relations.Friends, 1, many)
	v.between("relations.blocklist", s.Relations.Blocklist, 1, many)
	v.between("relations.applications", s.Relations.Applications, 1, many)
	v.between("relations.friend_lists", s.Relations.FriendLists, 1, many)
	v.customFields(s.CustomFields)
	v.groups(&s.Groups)
	v.liveRooms(s.LiveRooms)
	v.words(s.Words)
	v.service("translate", s.Translate)
	v.service("speech", s.Speech)
	v.address("webhook.url", s.Webhook.URL, "http", "https")
	v.within("webhook.timeout", s.Webhook.Timeout, 100*time.Millisecond, 10*time.Second)
}

func (v *checker) instances(m MaxInstances) {
	v.between("max_instances.web", m.Web, 1, 10)
	v.between("max_instances.android", m.Android, 1, 3)
	v.between("max_instances.iphone", m.IPhone, 1, 3)
	v.between("max_instances.ipad", m.IPad, 1, 3)
	v.between("max_instances.windows", m.Windows, 1, 3)
	v.between("max_instances.mac", m.Mac, 1, 3)
	v.between("max_instances.linux", m.Linux, 1, 3)
}

func (v *checker) customFields(c CustomFields) {
	for _, kind := range []struct {
		path         string
		names        []string
		count, bytes int
	}{
		{"custom_fields.user", c.User, 20, 8},
		{"custom_fields.friend", c.Friend, 20, 8},
		{"custom_fields.group", c.Group, 10, 32},
		{"custom_fields.member", c.Member, 5, 32},
	} {
		if len(kind.names) > kind.count {
			v.wrong(kind.path, "at most %d, there are %d", kind.count, len(kind.names))
		}
		for _, name := range kind.names {
			if name == "" || len(name) > kind.bytes {
				v.wrong(kind.path, "%q must have 1 to %d bytes", name, kind.bytes)
			}
		}
	}
}

func (v *checker) groups(g *Groups) {
	v.between("groups.work.members", g.Work.Members, 0, many)
	v.between("groups.public.members", g.Public.Members, 0, many)
	v.between("groups.meeting.members", g.Meeting.Members, 0, many)
	v.between("groups.community.members", g.Community.Members, 0, many)
	v.between("groups.live_room.members", g.LiveRoom.Members, 0, many)
	v.between("groups.created", g.Created, 0, many)
	v.between("groups.joined", g.Joined, 0, many)
	v.between("groups.total", g.Total, 0, many)
	v.between("groups.live_rooms", g.LiveRooms, 0, many)
	v.between("groups.receipt_members", g.ReceiptMembers, 0, 10_000)
	v.between("groups.topics_per_community", g.TopicsPerCommunity, 0, 10_000)
	v.between("groups.attribute_rate", g.AttributeRate, 0, many)
}

func (v *checker) liveRooms(l LiveRooms) {
	v.oneOf("live_rooms.delivery", l.Delivery, DeliverByWebSocket, DeliverByPolling)
	v.between("live_rooms.history", l.History, 0, 50)
	v.between("live_rooms.ring_events", l.RingEvents, 1, 100_000)
	v.within("live_rooms.ring_age", l.RingAge, time.Second, time.Hour)
	v.between("live_rooms.member_list", l.MemberList, 0, 1000)
	v.between("live_rooms.broadcast_rate", l.BroadcastRate, 0, many)
	v.within("live_rooms.member_timeout", l.MemberTimeout, 10*time.Second, 10*time.Minute)
	v.within("live_rooms.poll_hold", l.PollHold, time.Second, 10*time.Second)
}

func (v *checker) words(words []Word) {
	for i, word := range words {
		if word.Text == "" {
			v.wrong(fmt.Sprintf("words[%d].text", i), "must not be empty")
		}
		if _, err := regexp.Compile(word.Text); word.Regexp && err != nil {
			v.wrong(fmt.Sprintf("words[%d].text", i), "%v", err)
		}
	}
}

func (v *checker) service(path string, s Service) {
	v.address(path+".url", s.URL, "http", "https")
	v.within(path+".timeout", s.Timeout, 100*time.Millisecond, time.Minute)
}

// loopback reports whether a host:port can be reached from this machine only.
func loopback(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && a.Addr().IsLoopback()
}
