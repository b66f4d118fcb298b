package account_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"imserver/internal/apptest"
	"imserver/internal/command"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// open runs fn on every engine with an app that has the account commands.
func open(t *testing.T, fn func(t *testing.T, a *apptest.App)) {
	t.Helper()
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		a := apptest.New(t, db)
		a.Accounts.Register(a.Table, a.Sessions)
		fn(t, a)
	})
}

// many returns n JSON strings "u1", "u2" … in the form of format.
func many(n int, format string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, fmt.Sprintf("u%d", i+1))
	}
	return strings.Join(list, ",")
}

// Each row is one request and what must be in the answer.
func TestImportAndCheck(t *testing.T) {
	long := strings.Repeat("x", 501)
	rows := []struct {
		command, body string
		code          int
		has           string
	}{
		{"account_import", `{"UserID":"alice","Nick":"Alice","FaceUrl":"http://a"}`, 0, ""},
		{"account_import", `{"Identifier":"bob"}`, 0, ""},
		{"account_import", `{"UserID":"alice"}`, 0, ""},
		{"account_import", `{}`, 70402, ""},
		{"account_import", `{"UserID":""}`, 70402, ""},
		{"account_import", `{"UserID":7}`, 60003, ""},
		{"account_import", `{"UserID":"` + strings.Repeat("x", 33) + `"}`, 70402, ""},
		{"account_import", `{"UserID":"a\u0000b"}`, 70402, ""},
		{"account_import", `{"UserID":"@TIM#SYSTEM"}`, 70402, ""},
		{"multiaccount_import", `{"Accounts":["@TLS#NOT_FOUND","gina"]}`, 0, `"FailAccounts":["@TLS#NOT_FOUND"]`},
		{"account_import", `{"UserID":"carl","Nick":"` + long + `"}`, 70402, ""},
		{"account_import", `{"UserID":"carl","Nick":"a\u0000b"}`, 70402, ""},
		{"account_import", `{"UserID":"carl","FaceUrl":"` + long + `"}`, 70402, ""},
		{"multiaccount_import", `{"Accounts":["dora","emil",""]}`, 0, `"FailAccounts":[""]`},
		{"multiaccount_import", `{"AccountList":[{"UserID":"fred","Nick":"F"},{"UserID":"fred","Nick":"G"}],"Accounts":null}`, 0, ""},
		{"multiaccount_import", `{"AccountList":[]}`, 70402, ""},
		{"multiaccount_import", `{"Accounts":[` + many(100, "%q") + `]}`, 0, ""},
		{"multiaccount_import", `{"Accounts":[` + many(101, "%q") + `]}`, 70206, ""},
		{"account_check", `{"CheckItem":[{"UserID":"alice"},{"UserID":"carl"},{"UserID":"bob"}]}`, 0,
			`"ResultItem":[{"UserID":"alice","ResultCode":0,"ResultInfo":"","AccountStatus":"Imported"},` +
				`{"UserID":"carl","ResultCode":0,"ResultInfo":"","AccountStatus":"NotImported"},` +
				`{"UserID":"bob","ResultCode":0,"ResultInfo":"","AccountStatus":"Imported"}]`},
		{"account_check", `{"CheckItem":[{"UserID":"u100"},{"UserID":"u101"}]}`, 0, `"UserID":"u101","ResultCode":0,"ResultInfo":"","AccountStatus":"NotImported"`},
		{"account_check", `{"CheckItem":[{"UserID":"a\u0000"},{"UserID":""}]}`, 0, `"NotImported"`},
		{"account_check", `{"CheckItem":null}`, 70402, ""},
		{"account_check", `{"CheckItem":[` + many(101, `{"UserID":%q}`) + `]}`, 70206, ""},
	}
	open(t, func(t *testing.T, a *apptest.App) {
		for _, r := range rows {
			t.Log(r.command, r.body[:min(len(r.body), 60)])
			a.Post(t, "im_open_login_svc."+r.command, r.body).Want(t, r.code).Has(t, r.has)
		}
		acc, err := a.Accounts.Lookup(t.Context(), a.SDKAppID, "alice")
		if err != nil || acc.Nick != "Alice" || acc.Avatar != "http://a" {
			t.Errorf("alice is %+v, %v: an import without nick must keep it", acc, err)
		}
		acc, err = a.Accounts.Lookup(t.Context(), a.SDKAppID, "fred")
		if err != nil || acc.Nick != "G" {
			t.Errorf("fred is %+v, %v: the last of two entries counts", acc, err)
		}
	})
}

// An import that changes something is seen at once, although names are cached,
// and told to who wants to know; one that changes nothing is not told.
func TestImportTells(t *testing.T) {
	open(t, func(t *testing.T, a *apptest.App) {
		var told []int64
		a.Accounts.OnChange(func(_ context.Context, uids []int64) { told = append(told, uids...) })
		alice := a.User(t, "alice")
		a.Post(t, "im_open_login_svc.account_import", `{"UserID":"alice","Nick":"A"}`).Want(t, 0)
		a.Post(t, "im_open_login_svc.account_import", `{"UserID":"alice","Nick":"A","FaceUrl":""}`).Want(t, 0)
		if !slices.Equal(told, []int64{alice.UID}) {
			t.Errorf("told of %v, want %d once", told, alice.UID)
		}
		if acc, err := a.Accounts.ByUID(t.Context(), alice.UID); err != nil || acc.Nick != "A" {
			t.Errorf("%+v, %v", acc, err)
		}
	})
}

// A deleted account is gone, its devices are told, its tickets are void even
// when the name is used again, and what is used again is a new account.
func TestDelete(t *testing.T) {
	open(t, func(t *testing.T, a *apptest.App) {
		var removed []int64
		a.Accounts.OnDelete(func(ctx context.Context, tx *sql.Tx, uids []int64) error {
			removed = append(removed, uids...)
			return nil
		})
		alice, bob := a.User(t, "alice"), a.User(t, "bob")
		a.User(t, apptest.Admin)
		ticket := a.Ticket(t, "alice")
		a.Post(t, "im_open_login_svc.account_delete",
			`{"DeleteItem":[{"UserID":"alice"},{"UserID":"nobody"},{"UserID":"administrator"},{"UserID":"alice"}]}`).Want(t, 0).Has(t,
			`{"UserID":"alice","ResultCode":0,"ResultInfo":""}`,
			`{"UserID":"nobody","ResultCode":70107,"ResultInfo":"the account does not exist"}`,
			`{"UserID":"administrator","ResultCode":70402,`,
			`{"UserID":"alice","ResultCode":70107,`)
		if !slices.Equal(removed, []int64{alice.UID}) {
			t.Errorf("removers were told of %v, want %d", removed, alice.UID)
		}
		if alice.Kicks() != 1 || bob.Kicks() != 0 {
			t.Errorf("alice was kicked %d times, bob %d", alice.Kicks(), bob.Kicks())
		}
		void := func() {
			t.Helper()
			if _, err := a.Sessions.Ticket(t.Context(), a.App, "alice", ticket); command.CodeOf(err) != 70001 {
				t.Errorf("the old ticket: %v, want 70001", err)
			}
		}
		void()
		a.Advance(2 * time.Second)
		if _, err := a.Sessions.Ticket(t.Context(), a.App, "alice", a.Ticket(t, "alice")); err != nil {
			t.Errorf("a new ticket: %v", err)
		}
		a.Post(t, "im_open_login_svc.account_check", `{"CheckItem":[{"UserID":"alice"},{"UserID":"bob"},{"UserID":"administrator"}]}`).Want(t, 0).Has(t,
			`"alice","ResultCode":0,"ResultInfo":"","AccountStatus":"NotImported"`,
			`"bob","ResultCode":0,"ResultInfo":"","AccountStatus":"Imported"`,
			`"administrator","ResultCode":0,"ResultInfo":"","AccountStatus":"Imported"`)

		a.Post(t, "im_open_login_svc.account_import", `{"UserID":"alice"}`).Want(t, 0)
		void()
		acc, err := a.Accounts.Lookup(t.Context(), a.SDKAppID, "alice")
		if err != nil || acc.UID == alice.UID {
			t.Errorf("%+v, %v: a name used again is a new account", acc, err)
		}
		a.Post(t, "im_open_login_svc.account_delete", `{"DeleteItem":[]}`).Want(t, 70402)
		a.Post(t, "im_open_login_svc.account_delete", `{"DeleteItem":[`+many(101, `{"UserID":%q}`)+`]}`).Want(t, 70206)
	})
}

// A remover that fails leaves everything as it was.
func TestDeleteIsOneTransaction(t *testing.T) {
	open(t, func(t *testing.T, a *apptest.App) {
		alice := a.User(t, "alice")
		a.Accounts.OnDelete(func(context.Context, *sql.Tx, []int64) error { return sql.ErrConnDone })
		a.Post(t, "im_open_login_svc.account_delete", `{"DeleteItem":[{"UserID":"alice"}]}`).Want(t, command.CodeInternal)
		a.Accounts.Forget(alice.UID)
		if acc, err := a.Accounts.Lookup(t.Context(), a.SDKAppID, "alice"); err != nil || acc.UID != alice.UID {
			t.Errorf("%+v, %v", acc, err)
		}
		if _, err := a.Sessions.Ticket(t.Context(), a.App, "alice", a.Ticket(t, "alice")); err != nil {
			t.Errorf("the ticket: %v", err)
		}
	})
}

// Apps do not see each other's accounts.
func TestAppsAreApart(t *testing.T) {
	open(t, func(t *testing.T, a *apptest.App) {
		other, _, err := a.Accounts.Ensure(t.Context(), a.SDKAppID+1, "alice")
		if err != nil {
			t.Fatal(err)
		}
		a.Post(t, "im_open_login_svc.account_check", `{"CheckItem":[{"UserID":"alice"}]}`).Want(t, 0).Has(t, "NotImported")
		a.Post(t, "im_open_login_svc.account_delete", `{"DeleteItem":[{"UserID":"alice"}]}`).Want(t, 0).Has(t, "70107")
		if acc, err := a.Accounts.ByUID(t.Context(), other.UID); err != nil || acc.App != a.SDKAppID+1 {
			t.Errorf("%+v, %v", acc, err)
		}
	})
}
