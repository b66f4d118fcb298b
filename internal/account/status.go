package account

import (
	"context"

	"imserver/internal/command"
)

// Codes of the status query (protocol 06 §2.2).
const (
	codeToAccount   = 90003
	codeTooManyAsks = 90011
)

// maxStatus is the most accounts of one status query (protocol 06 §5.1).
const maxStatus = 500

// Presence knows who is online on any node.
type Presence interface {
	// Online returns the platforms of the connected devices of those of uids
	// that have any: iPhone, Android, Web, PC, iPad or Mac (protocol 06 §5.1).
	Online(ctx context.Context, uids []int64) (map[int64][]string, error)
}

// RegisterStatus adds the administrators' query of who is online to the table,
// under its new and its old name (protocol 06 §5.1).
func (d *Directory) RegisterStatus(t *command.Table, p Presence) {
	s := status{d, p}
	command.Handle(t, "openim.query_online_status", command.Admins, s.query)
	command.Handle(t, "openim.querystate", command.Admins, s.query)
}

type status struct {
	dir      *Directory
	presence Presence
}

type statusRequest struct {
	To_Account   []string //nolint:revive // the protocol's spelling
	IsNeedDetail int
}

// statusItem has the state under both names that libraries look for
// (protocol 06 T2).
type statusItem struct {
	To_Account string //nolint:revive // the protocol's spelling
	State      string
	Status     string
	Detail     []statusDetail `json:",omitempty"`
}

type statusDetail struct {
	Platform string
	Status   string
}

type statusError struct {
	To_Account string //nolint:revive // the protocol's spelling
	ErrorCode  int
}

type statusAnswer struct {
	QueryResult []statusItem
	ErrorList   []statusError `json:",omitempty"`
}

func (s status) query(ctx context.Context, call *command.Call, req *statusRequest) (ans statusAnswer, err error) {
	switch n := len(req.To_Account); {
	case n == 0:
		return ans, command.Err(codeToAccount, "To_Account is empty")
	case n > maxStatus:
		return ans, command.Errf(codeTooManyAsks, "To_Account has more than %d accounts", maxStatus)
	}
	found, err := s.dir.LookupAll(ctx, call.App.SDKAppID, req.To_Account)
	if err != nil {
		return ans, err
	}
	uids := make([]int64, 0, len(found))
	for _, acc := range found {
		uids = append(uids, acc.UID)
	}
	online, err := s.presence.Online(ctx, uids)
	if err != nil {
		return ans, err
	}
	ans.QueryResult = []statusItem{}
	for _, id := range req.To_Account {
		acc := found[id]
		if acc == nil {
			ans.ErrorList = append(ans.ErrorList, statusError{id, codeNoSuchAccount})
			continue
		}
		ans.QueryResult = append(ans.QueryResult, item(id, online[acc.UID], req.IsNeedDetail == 1))
	}
	return ans, nil
}

// item describes one account; a platform with several devices stands once.
func item(id string, platforms []string, detail bool) statusItem {
	i := statusItem{To_Account: id, State: "Offline", Status: "Offline"}
	if len(platforms) == 0 {
		return i
	}
	i.State, i.Status = "Online", "Online"
	if !detail {
		return i
	}
	seen := map[string]bool{}
	for _, p := range platforms {
		if !seen[p] {
			seen[p] = true
			i.Detail = append(i.Detail, statusDetail{p, "Online"})
		}
	}
	return i
}
