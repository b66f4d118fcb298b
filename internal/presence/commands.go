package presence

import (
	"context"
	"strings"

	"imserver/internal/account"
	"imserver/internal/command"
)

// Codes of the status commands (protocol 04 §4, 06 §2).
const (
	codeOff         = 72001 // the app has no user status
	codeNoAccount   = 70107
	codeToAccount   = 90003
	codeTooManyAsks = 90011
	codeParameter   = 70402
)

// Bounds of one request (protocol 04 §4; the length of a custom status and of
// a token are our choice, bytes).
const (
	maxQuery     = 500
	maxSubscribe = 100
	maxCustom    = 512
	maxToken     = 1024
)

// Register adds the status commands to the table (protocol 04 §4, 05 D).
func (s *Service) Register(t *command.Table) {
	command.Handle(t, "im_open_status.ws_set_custom_status", command.Users, s.set)
	command.Handle(t, "im_open_status.ws_get_user_status", command.Users, s.get)
	command.Handle(t, "im_open_status.ws_status_subscribe", command.Users, s.watch)
	command.Handle(t, "im_open_status.ws_status_unsubscribe", command.Users, s.unwatch)
	command.Handle(t, "im_open_status.ws_stat_settoken", command.Users, s.token)
	command.Handle(t, "openim.query_online_status", command.Admins, s.query)
	command.Handle(t, "openim.querystate", command.Admins, s.query) // the older name
}

type setRequest struct {
	CustomStatus string // plain, unlike everywhere else (protocol 01 T13)
}

func (s *Service) set(ctx context.Context, call *command.Call, req *setRequest) (command.Empty, error) {
	if !storable(req.CustomStatus, maxCustom) {
		return command.Empty{}, command.Errf(codeParameter, "CustomStatus is longer than %d bytes, or has a NUL", maxCustom)
	}
	return command.Empty{}, s.setCustom(ctx, call.UID, req.CustomStatus)
}

type accountsRequest struct {
	To_Account     []string
	UnsubscribeAll int
}

// problem is an entry of ErrorList. Invalid_Account is set for what cannot be
// an account's name, To_Account for what is none (protocol 04 §4).
type problem struct {
	To_Account      string
	Invalid_Account string
	ErrorCode       int
	ErrorInfo       string
}

type getAnswer struct {
	UserStatusList []userStatus
	ErrorList      []problem
}

func (s *Service) get(ctx context.Context, call *command.Call, req *accountsRequest) (ans getAnswer, err error) {
	if err := admit(call, req, maxQuery); err != nil {
		return ans, err
	}
	uids, problems, err := s.find(ctx, call, req.To_Account)
	if err != nil {
		return ans, err
	}
	statuses, err := s.statuses(ctx, uids, s.connected(ctx, uids))
	if err != nil {
		return ans, err
	}
	ans.UserStatusList, ans.ErrorList = make([]userStatus, 0, len(uids)), problems
	for _, uid := range uids {
		if st, ok := statuses[uid]; ok {
			ans.UserStatusList = append(ans.UserStatusList, st.item())
		}
	}
	return ans, nil
}

// admit refuses apps without status, and lists that are empty or too long.
func admit(call *command.Call, req *accountsRequest, limit int) error {
	switch n := len(req.To_Account); {
	case !call.App.UserStatus:
		return command.Err(codeOff, "user status is not switched on in this app")
	case n == 0:
		return command.Err(codeToAccount, "To_Account is empty")
	case n > limit:
		return command.Errf(codeTooManyAsks, "To_Account has more than %d accounts", limit)
	}
	return nil
}

// find returns the numbers of accounts in the order asked, each once, and what
// is wrong with the other names.
func (s *Service) find(ctx context.Context, call *command.Call, names []string) (uids []int64, problems []problem, err error) {
	found, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, names)
	if err != nil {
		return nil, nil, err
	}
	uids, problems = make([]int64, 0, len(found)), []problem{}
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		switch acc := found[name]; {
		case acc != nil:
			uids = append(uids, acc.UID)
		case !account.ValidUserID(name):
			problems = append(problems, problem{Invalid_Account: name, ErrorCode: codeNoAccount, ErrorInfo: "this cannot be a user ID"})
		default:
			problems = append(problems, problem{To_Account: name, ErrorCode: codeNoAccount, ErrorInfo: "the account does not exist"})
		}
	}
	return uids, problems, nil
}

type watchAnswer struct {
	ErrorList []problem
}

func (s *Service) watch(ctx context.Context, call *command.Call, req *accountsRequest) (ans watchAnswer, err error) {
	if err := admit(call, req, maxSubscribe); err != nil {
		return ans, err
	}
	uids, problems, err := s.find(ctx, call, req.To_Account)
	if err != nil {
		return ans, err
	}
	others := uids[:0]
	for _, uid := range uids {
		if uid != call.UID {
			others = append(others, uid)
		} else {
			problems = append(problems, problem{To_Account: call.UserID, ErrorCode: codeParameter, ErrorInfo: "a user cannot subscribe to itself"})
		}
	}
	ans.ErrorList = problems
	return ans, s.subscribe(ctx, call.UID, others, call.App.StatusSubscriptions)
}

func (s *Service) unwatch(ctx context.Context, call *command.Call, req *accountsRequest) (ans watchAnswer, err error) {
	ans.ErrorList = []problem{}
	if call.App.UserStatus && req.UnsubscribeAll == 1 {
		return ans, s.unsubscribe(ctx, call.UID, nil)
	}
	if err := admit(call, req, maxSubscribe); err != nil {
		return ans, err
	}
	uids, problems, err := s.find(ctx, call, req.To_Account)
	if err != nil {
		return ans, err
	}
	ans.ErrorList = problems
	return ans, s.unsubscribe(ctx, call.UID, uids)
}

// tokenRequest has the token of Android or of Apple; the rest describes the
// device to a push service (protocol 05 D).
type tokenRequest struct {
	TokenID  string
	VarToken string
}

func (s *Service) token(ctx context.Context, call *command.Call, req *tokenRequest) (command.Empty, error) {
	token := req.TokenID
	if token == "" {
		token = req.VarToken
	}
	if !storable(token, maxToken) {
		return command.Empty{}, command.Errf(codeParameter, "the token is longer than %d bytes, or has a NUL", maxToken)
	}
	return command.Empty{}, s.setToken(ctx, call.UID, call.Inst, token)
}

// storable reports whether a text is short enough and can be stored: Postgres
// takes no NUL.
func storable(text string, limit int) bool {
	return len(text) <= limit && !strings.ContainsRune(text, 0)
}
