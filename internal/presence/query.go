package presence

import (
	"context"

	"imserver/internal/bus"
	"imserver/internal/command"
	"imserver/internal/session"
)

// platforms are the names that backends read, by class (protocol 06 §5.1).
var platforms = map[session.Class]string{
	session.Web: "Web", session.Android: "Android", session.IPhone: "iPhone", session.IPad: "iPad",
	session.Windows: "PC", session.Mac: "Mac", session.Linux: "PC",
}

// The states that backends read (protocol 06 §5.1).
const (
	stateOnline  = "Online"
	statePush    = "PushOnline"
	stateOffline = "Offline"
)

type queryRequest struct {
	To_Account   []string
	IsNeedDetail int
}

// queryItem has the state under both names that libraries look for
// (protocol 06 T2).
type queryItem struct {
	To_Account string
	State      string
	Status     string
	Detail     []queryDetail `json:",omitempty"`
}

type queryDetail struct {
	Platform string
	Status   string
}

type queryError struct {
	To_Account string
	ErrorCode  int
}

type queryAnswer struct {
	QueryResult []queryItem
	ErrorList   []queryError `json:",omitempty"`
}

// query answers an administrator who is online (protocol 06 §5.1).
func (s *Service) query(ctx context.Context, call *command.Call, req *queryRequest) (ans queryAnswer, err error) {
	switch n := len(req.To_Account); {
	case n == 0:
		return ans, command.Err(codeToAccount, "To_Account is empty")
	case n > maxQuery:
		return ans, command.Errf(codeTooManyAsks, "To_Account has more than %d accounts", maxQuery)
	}
	found, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, req.To_Account)
	if err != nil {
		return ans, err
	}
	uids := make([]int64, 0, len(found))
	for _, acc := range found {
		uids = append(uids, acc.UID)
	}
	connected := s.connected(ctx, uids)
	reachable, err := s.reachable(ctx, uids)
	if err != nil {
		return ans, err
	}
	ans.QueryResult = make([]queryItem, 0, len(uids))
	for _, id := range req.To_Account {
		acc := found[id]
		if acc == nil {
			ans.ErrorList = append(ans.ErrorList, queryError{id, codeNoAccount})
			continue
		}
		item := describe(connected[acc.UID], reachable[acc.UID])
		item.To_Account = id
		if req.IsNeedDetail != 1 {
			item.Detail = nil
		}
		ans.QueryResult = append(ans.QueryResult, item)
	}
	return ans, nil
}

// describe puts an account's devices together; a platform with several stands
// once.
func describe(connected []bus.Instance, reachable []session.Class) queryItem {
	i := queryItem{State: stateOffline}
	seen := map[string]bool{}
	add := func(class session.Class, state string) {
		if i.State == stateOffline {
			i.State = state
		}
		if name := platforms[class]; name != "" && !seen[name] {
			seen[name] = true
			i.Detail = append(i.Detail, queryDetail{name, state})
		}
	}
	for _, d := range connected {
		add(session.Class(d.Class), stateOnline)
	}
	for _, class := range reachable {
		add(class, statePush)
	}
	i.Status = i.State
	return i
}
