package relation_test

import (
	"testing"

	"imserver/internal/apptest"
	"imserver/internal/relation"
	"imserver/internal/store/storetest"
)

// The start-up commands say that all lists are empty, with what ends the
// SDKs' paging; nothing pretends to change them.
func TestEmptyLists(t *testing.T) {
	a := apptest.New(t, storetest.SQLite(t))
	relation.Register(a.Table)
	alice := a.User(t, "alice")
	for name, want := range map[string]string{
		"sns.friend_get":     `"UserDataItem":[],"FriendNum":0,"CompleteFlag":1,"NextStartIndex":0,"StandardSequence":0,"CustomSequence":0`,
		"sns.black_list_get": `"BlackListItem":[],"StartIndex":0`,
		"sns.group_get":      `"ResultItem":[],"CurrentSequence":0`,
		"sns.pendency_get":   `"PendencyItem":[],"UnreadPendencyCount":0`,
	} {
		alice.Call(t, name, `{"From_Account":"alice","StartIndex":0,"MaxLimited":1000}`).Want(t, 0).Has(t, want)
		alice.Call(t, name, `{"From_Account":"bob"}`).Want(t, 30004)
	}
	alice.Call(t, "sns.friend_add", `{}`).Want(t, 60009)
}
