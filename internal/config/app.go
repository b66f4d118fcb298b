package config

import (
	"net/netip"
	"slices"
	"time"
)

// App is one app: its users, groups and messages are invisible to every other app.
type App struct {
	// SDKAppID identifies the app, above 0.
	SDKAppID uint32 `koanf:"sdkappid"`

	// Keys are the secrets tickets are signed with. All are good at once, so a key is replaced by adding the new one
	// first and removing the old one when its tickets have ended. New tickets are signed with the first.
	Keys []string `koanf:"keys"`

	Settings `koanf:",squash"`
}

// IsAdmin says whether the user may call the REST API.
func (a *App) IsAdmin(userID string) bool { return slices.Contains(a.Admins, userID) }

// LoginPolicy says which of a user's devices may be online together (protocol 06 §9).
type LoginPolicy string

// The login policies.
const (
	LoginSingle LoginPolicy = "single" // one device
	LoginDual   LoginPolicy = "dual"   // one of phone, tablet and computer, and web
	LoginTriple LoginPolicy = "triple" // one phone or tablet, one computer, and web
	LoginMulti  LoginPolicy = "multi"  // every platform
)

// MaxInstances is how many devices of one platform a user may have online: web 1 to 10, the others 1 to 3
// (protocol 06 §9). Mini-programs and uni-app count as web.
type MaxInstances struct {
	Web     int `koanf:"web"`
	Android int `koanf:"android"`
	IPhone  int `koanf:"iphone"`
	IPad    int `koanf:"ipad"`
	Windows int `koanf:"windows"`
	Mac     int `koanf:"mac"`
	Linux   int `koanf:"linux"`
}

// The delivery modes of live rooms.
const (
	DeliverByWebSocket = "websocket"
	DeliverByPolling   = "polling"
)

// Settings are what can be set for each app: the hosted service's console (protocol 06 §10) and more.
type Settings struct {
	// Admins are the users who may call the REST API and send app-wide.
	Admins []string `koanf:"admins"`

	// LoginPolicy says which devices of a user may be online together: single, dual, triple or multi.
	LoginPolicy LoginPolicy `koanf:"login_policy"`

	// MaxInstances is how many devices of each platform a user may have online.
	MaxInstances MaxInstances `koanf:"max_instances"`

	// Retention is how long messages are kept and can be read, 1 s to 360 days.
	Retention time.Duration `koanf:"retention"`

	// RecallLimit is for how long after sending its author may recall a message; 0 is never.
	RecallLimit time.Duration `koanf:"recall_limit"`

	// MessageBytes bounds a message's body and custom data together, 1 KiB to 1 MiB (protocol 02 §21).
	MessageBytes int `koanf:"message_bytes"`

	// GroupRate is how many messages a second a group takes, all senders together; the least important are dropped
	// first. 0 is no limit (protocol 06 §8).
	GroupRate int `koanf:"group_rate"`

	// ConversationList bounds the conversations a client is told of, 1 to 10000. The hosted service has 100 or 500.
	ConversationList int `koanf:"conversation_list"`

	// SyncConversationDelete removes a conversation a user deletes from the user's other devices too.
	SyncConversationDelete bool `koanf:"sync_conversation_delete"`

	// UserStatus switches asking for and subscribing to users' status on (72001 when off).
	UserStatus bool `koanf:"user_status"`

	// FriendStatus tells every user the status of all friends without a subscription.
	FriendStatus bool `koanf:"friend_status"`

	// StatusSubscriptions bounds the users one user subscribes to, 1 to 10000; the oldest gives way (protocol 04 §4).
	StatusSubscriptions int `koanf:"status_subscriptions"`

	// MessageExtensions switches message extensions on (23002 when off).
	MessageExtensions bool `koanf:"message_extensions"`

	// PushToAll switches the REST commands that push to every user on (90045 when off).
	PushToAll bool `koanf:"push_to_all"`

	// FriendCheck lets only mutual friends chat one to one (20009 otherwise).
	FriendCheck bool `koanf:"friend_check"`

	// BlockedSeesSuccess tells a blocked sender that the message was sent; off, the sender gets 20007.
	BlockedSeesSuccess bool `koanf:"blocked_sees_success"`

	// AllowType is how a user without a choice of its own is befriended: AllowType_Type_AllowAny,
	// AllowType_Type_NeedConfirm or AllowType_Type_DenyAny (protocol 04 §2).
	AllowType string `koanf:"allow_type"`

	// Community switches communities on, Topics their topics (11000 when off).
	Community bool `koanf:"community"`
	Topics    bool `koanf:"topics"`

	// DirectorySearch lets users find users and groups they have nothing to do with.
	DirectorySearch bool `koanf:"directory_search"`

	// RESTAllow are the addresses the REST API may be called from (60021 otherwise). Empty: every one.
	RESTAllow []netip.Prefix `koanf:"rest_allow"`

	// RESTRate is how many calls a second each REST command takes; 0 is no limit (protocol 06 §1.3).
	RESTRate int `koanf:"rest_rate"`

	// CloudConfig is what the SDKs fetch as their configuration, every value a string (protocol 01 §10).
	// The file adds to the default entries; an empty value removes one.
	CloudConfig map[string]string `koanf:"cloud_config"`

	Relations    Relations    `koanf:"relations"`
	CustomFields CustomFields `koanf:"custom_fields"`
	Groups       Groups       `koanf:"groups"`
	LiveRooms    LiveRooms    `koanf:"live_rooms"`
	Words        []Word       `koanf:"words"` // local moderation list (protocol 05 E)
	Translate    Service      `koanf:"translate"`
	Speech       Service      `koanf:"speech"`
	Webhook      Webhook      `koanf:"webhook"`
}

// Relations bound what one user can keep.
type Relations struct {
	Friends      int `koanf:"friends"`
	Blocklist    int `koanf:"blocklist"`
	Applications int `koanf:"applications"` // open friend applications
	FriendLists  int `koanf:"friend_lists"`
}

// CustomFields declare the custom fields there may be, by the part of their name after the prefix, as in the hosted
// service's console. An empty list accepts every name.
type CustomFields struct {
	User   []string `koanf:"user"`   // Tag_Profile_Custom_…, at most 8 letters
	Friend []string `koanf:"friend"` // Tag_SNS_Custom_…, at most 8 letters
	Group  []string `koanf:"group"`  // at most 32 bytes
	Member []string `koanf:"member"` // at most 32 bytes
}

// Groups are the settings of groups, by type where they differ.
type Groups struct {
	Work      GroupType `koanf:"work"`
	Public    GroupType `koanf:"public"`
	Meeting   GroupType `koanf:"meeting"`
	Community GroupType `koanf:"community"`
	LiveRoom  GroupType `koanf:"live_room"`

	// Created and Joined bound the groups of one user, Total the groups of the app, and LiveRooms its live rooms; 0 is
	// no limit (10037, 10058, 10036).
	Created   int `koanf:"created"`
	Joined    int `koanf:"joined"`
	Total     int `koanf:"total"`
	LiveRooms int `koanf:"live_rooms"`

	// ReceiptMembers is the largest group that has read receipts (10060).
	ReceiptMembers int `koanf:"receipt_members"`

	// TopicsPerCommunity bounds the topics of a community (protocol 03 §16).
	TopicsPerCommunity int `koanf:"topics_per_community"`

	// AttributeRate is how often a second the attributes of a group may be written, by all together; 0 is no limit
	// (10049, protocol 03 §16).
	AttributeRate int `koanf:"attribute_rate"`
}

// GroupType is what can be set for one type of group.
type GroupType struct {
	// Members bounds the members; 0 is no limit.
	Members int `koanf:"members"`

	// HistoryBeforeJoin shows newcomers what was said before they came.
	HistoryBeforeJoin bool `koanf:"history_before_join"`

	// InviteConsent asks whom a member invites before that user is in; owner, admins and the REST API add at once.
	InviteConsent bool `koanf:"invite_consent"`

	// Receipts allows read receipts.
	Receipts bool `koanf:"receipts"`

	// Unread counts unread messages.
	Unread bool `koanf:"unread"`

	// MemberTips tells the group who comes and goes, ProfileTips that the group's profile changed, MemberProfileTips
	// that a member's role or card did, and MuteTips that somebody or everybody is muted (protocol 03 §3.3).
	MemberTips        bool `koanf:"member_tips"`
	ProfileTips       bool `koanf:"profile_tips"`
	MemberProfileTips bool `koanf:"member_profile_tips"`
	MuteTips          bool `koanf:"mute_tips"`
}

// LiveRooms are the settings of live rooms (protocol 03 §13).
type LiveRooms struct {
	// Delivery is how members get messages: websocket or polling.
	Delivery string `koanf:"delivery"`

	// History is how many of the newest messages a newcomer gets, 0 to 50.
	History int `koanf:"history"`

	// RingEvents and RingAge bound what is remembered of a room for clients that were away, up to 100000 and 1 hour.
	RingEvents int           `koanf:"ring_events"`
	RingAge    time.Duration `koanf:"ring_age"`

	// AnonymousJoin lets visitors without an account watch, by polling.
	AnonymousJoin bool `koanf:"anonymous_join"`

	// MemberList is how many online members are listed, 0 to 1000. The hosted service has 30, or 1000 when switched on.
	MemberList int `koanf:"member_list"`

	// Ban allows members to be banned.
	Ban bool `koanf:"ban"`

	// BroadcastRate is how many messages a second the app may send to all rooms; 0 is no limit.
	BroadcastRate int `koanf:"broadcast_rate"`

	// MemberTimeout is after how long without a sign of life a watcher is gone, 10 s to 10 minutes.
	MemberTimeout time.Duration `koanf:"member_timeout"`

	// PollHold is how long a poll without news is held, 1 s to 10 s: clients give up at 15 s (protocol 03 §13.3).
	PollHold time.Duration `koanf:"poll_hold"`
}

// Word is one entry of the list of words that clients filter by themselves.
type Word struct {
	Text    string `koanf:"text"`    // the word, or a regular expression
	Replace string `koanf:"replace"` // what stands in its place; empty: the message is refused
	Regexp  bool   `koanf:"regexp"`
}

// Service is an HTTP service that does something for users. An empty URL is a service there is not.
type Service struct {
	URL     string        `koanf:"url"`
	Token   string        `koanf:"token"` // sent as bearer token; empty: none
	Timeout time.Duration `koanf:"timeout"`
}

// Webhook is the app's backend that is told of events, and asked before some (protocol 06 §7).
type Webhook struct {
	URL   string `koanf:"url"`
	Token string `koanf:"token"` // signs the requests; empty: they are not signed

	// Events are the CallbackCommand names to send. Empty: all.
	Events []string `koanf:"events"`

	// RefuseOnFailure refuses what was asked about when the backend does not answer (80003); off, it is allowed.
	RefuseOnFailure bool `koanf:"refuse_on_failure"`

	// Timeout bounds the wait for an answer, 100 ms to 10 s.
	Timeout time.Duration `koanf:"timeout"`
}

// defaultSettings are the hosted service's defaults, with the features on that need its paid plans.
func defaultSettings() Settings {
	work := GroupType{Members: 6000, Receipts: true, Unread: true,
		MemberTips: true, ProfileTips: true, MemberProfileTips: true, MuteTips: true}
	public := work
	meeting := GroupType{Members: 6000, HistoryBeforeJoin: true, Receipts: true,
		ProfileTips: true, MemberProfileTips: true, MuteTips: true}
	community := GroupType{Members: 100_000, HistoryBeforeJoin: true, Unread: true,
		ProfileTips: true, MemberProfileTips: true, MuteTips: true}
	liveRoom := GroupType{MemberTips: true, ProfileTips: true, MemberProfileTips: true, MuteTips: true}
	return Settings{
		Admins:              []string{"administrator"},
		LoginPolicy:         LoginDual,
		MaxInstances:        MaxInstances{1, 1, 1, 1, 1, 1, 1},
		Retention:           7 * 24 * time.Hour,
		RecallLimit:         2 * time.Minute,
		MessageBytes:        12 << 10,
		GroupRate:           40,
		ConversationList:    1000,
		UserStatus:          true,
		StatusSubscriptions: 200,
		MessageExtensions:   true,
		BlockedSeesSuccess:  true,
		AllowType:           "AllowType_Type_AllowAny",
		Community:           true,
		Topics:              true,
		DirectorySearch:     true,
		RESTRate:            200,
		CloudConfig:         map[string]string{"evt_rpt_waiting": "5000", "evt_rpt_threshold": "200"},
		Relations:           Relations{Friends: 3000, Blocklist: 1000, Applications: 100, FriendLists: 32},
		Groups: Groups{
			Work: work, Public: public, Meeting: meeting, Community: community, LiveRoom: liveRoom,
			Joined: 3000, ReceiptMembers: 200, TopicsPerCommunity: 200, AttributeRate: 5,
		},
		LiveRooms: LiveRooms{
			Delivery: DeliverByWebSocket, History: 20, RingEvents: 1000, RingAge: time.Minute,
			MemberList: 1000, Ban: true, BroadcastRate: 1, MemberTimeout: time.Minute, PollHold: 10 * time.Second,
		},
		Translate: Service{Timeout: 5 * time.Second},
		Speech:    Service{Timeout: 10 * time.Second},
		Webhook:   Webhook{Timeout: 2 * time.Second},
	}
}
