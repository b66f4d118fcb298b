package account

import (
	"context"

	"imserver/internal/command"
)

// Codes of the account commands (protocol 06 §2.1).
const (
	codeNoSuchAccount = 70107
	codeTooMany       = 70206
	codeParameter     = 70402
)

// MaxBatch is the most accounts of one command (protocol 06 §5.1).
const MaxBatch = 100

// Expeller ends every login of accounts, on every node, and tells their devices.
type Expeller interface {
	Expel(ctx context.Context, uids ...int64) error
}

// admin does the administrators' commands.
type admin struct {
	dir      *Directory
	sessions Expeller
}

// Register adds the account commands of administrators to the table
// (protocol 06 §5.1).
func (d *Directory) Register(t *command.Table, sessions Expeller) {
	a := admin{d, sessions}
	command.Handle(t, "im_open_login_svc.account_import", command.Admins, a.importOne)
	command.Handle(t, "im_open_login_svc.multiaccount_import", command.Admins, a.importMany)
	command.Handle(t, "im_open_login_svc.account_check", command.Admins, a.check)
	command.Handle(t, "im_open_login_svc.account_delete", command.Admins, a.delete)
}

type importItem struct {
	UserID     string
	Identifier string // the older spelling (protocol 06 §3)
	Nick       string
	FaceUrl    string
}

func (i *importItem) entry() Entry {
	e := Entry{UserID: i.UserID, Nick: i.Nick, Avatar: i.FaceUrl}
	if e.UserID == "" {
		e.UserID = i.Identifier
	}
	return e
}

func (a admin) importOne(ctx context.Context, call *command.Call, req *importItem) (command.Empty, error) {
	e := req.entry()
	if !e.valid() {
		return command.Empty{}, command.Errf(codeParameter, "UserID must have 1 to %d bytes, Nick and FaceUrl at most %d", MaxUserID, MaxText)
	}
	return command.Empty{}, a.dir.Import(ctx, call.App.SDKAppID, []Entry{e})
}

type importManyRequest struct {
	Accounts    []string // the older form
	AccountList []importItem
}

type importManyAnswer struct {
	FailAccounts []string `json:",omitempty"`
}

func (a admin) importMany(ctx context.Context, call *command.Call, req *importManyRequest) (ans importManyAnswer, err error) {
	if err := batch(len(req.Accounts)+len(req.AccountList), "AccountList"); err != nil {
		return ans, err
	}
	var good []Entry
	take := func(e Entry) {
		if e.valid() {
			good = append(good, e)
		} else {
			ans.FailAccounts = append(ans.FailAccounts, e.UserID)
		}
	}
	for _, id := range req.Accounts {
		take(Entry{UserID: id})
	}
	for _, item := range req.AccountList {
		take(item.entry())
	}
	if len(good) == 0 {
		return ans, nil
	}
	return ans, a.dir.Import(ctx, call.App.SDKAppID, good)
}

// batch refuses lists that are empty or too long.
func batch(n int, name string) error {
	switch {
	case n == 0:
		return command.Errf(codeParameter, "%s is empty", name)
	case n > MaxBatch:
		return command.Errf(codeTooMany, "%s has more than %d accounts", name, MaxBatch)
	}
	return nil
}

type named struct {
	UserID     string
	Identifier string
}

// ids returns the names of a list in either spelling.
func ids(list []named) []string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = n.UserID
		if n.UserID == "" {
			out[i] = n.Identifier
		}
	}
	return out
}

type resultItem struct {
	UserID        string
	ResultCode    int
	ResultInfo    string
	AccountStatus string `json:",omitempty"`
}

type resultAnswer struct {
	ResultItem []resultItem
}

type checkRequest struct {
	CheckItem []named
}

func (a admin) check(ctx context.Context, call *command.Call, req *checkRequest) (ans resultAnswer, err error) {
	if err := batch(len(req.CheckItem), "CheckItem"); err != nil {
		return ans, err
	}
	names := ids(req.CheckItem)
	found, err := a.dir.LookupAll(ctx, call.App.SDKAppID, names)
	if err != nil {
		return ans, err
	}
	for _, id := range names {
		item := resultItem{UserID: id, AccountStatus: "NotImported"}
		if found[id] != nil {
			item.AccountStatus = "Imported"
		}
		ans.ResultItem = append(ans.ResultItem, item)
	}
	return ans, nil
}

type deleteRequest struct {
	DeleteItem []named
}

// delete removes the accounts that exist. Administrators stay: an app that
// deletes its own would lock itself out.
func (a admin) delete(ctx context.Context, call *command.Call, req *deleteRequest) (ans resultAnswer, err error) {
	if err := batch(len(req.DeleteItem), "DeleteItem"); err != nil {
		return ans, err
	}
	names := ids(req.DeleteItem)
	found, err := a.dir.LookupAll(ctx, call.App.SDKAppID, names)
	if err != nil {
		return ans, err
	}
	var uids []int64
	for _, id := range names {
		item := resultItem{UserID: id}
		switch acc := found[id]; {
		case acc == nil:
			item.ResultCode, item.ResultInfo = codeNoSuchAccount, "the account does not exist"
		case call.App.IsAdmin(id):
			item.ResultCode, item.ResultInfo = codeParameter, "an administrator of the app cannot be deleted"
		default:
			uids = append(uids, acc.UID)
			delete(found, id) // a name given twice is unknown the second time
		}
		ans.ResultItem = append(ans.ResultItem, item)
	}
	if len(uids) == 0 {
		return ans, nil
	}
	if err := a.dir.Delete(ctx, uids); err != nil {
		return ans, err
	}
	// After the commit, so that a device that logs in in between goes as well.
	return ans, a.sessions.Expel(ctx, uids...)
}
