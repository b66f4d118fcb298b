// Package relation will keep friends, applications, friend groups and the
// block list. So far no command makes any of them, so everybody's lists are
// empty, and that is what this package truthfully says when an SDK asks at its
// login; what would change them is not registered and answers 60009.
package relation

import (
	"context"

	"imserver/internal/command"
)

// codeNotYours answers requests in another user's name (protocol 04 §0).
const codeNotYours = 30004

// Register adds the start-up commands to the table. Their bodies end the SDKs'
// paging: a missing StartIndex in the block list would make v3 ask again for
// ever (protocol 01 §9, 04 §3).
func Register(t *command.Table) {
	handle(t, "sns.friend_get", friends{UserDataItem: []command.Empty{}, CompleteFlag: 1})
	handle(t, "sns.black_list_get", blocked{BlackListItem: []command.Empty{}})
	handle(t, "sns.group_get", groups{ResultItem: []command.Empty{}})
	handle(t, "sns.pendency_get", applications{PendencyItem: []command.Empty{}})
}

type request struct {
	From_Account string
}

type friends struct {
	UserDataItem     []command.Empty
	FriendNum        int
	CompleteFlag     int
	NextStartIndex   int
	StandardSequence int
	CustomSequence   int
}

type blocked struct {
	BlackListItem    []command.Empty
	StartIndex       int
	CurruentSequence int // the protocol's spelling
}

type groups struct {
	ResultItem      []command.Empty
	CurrentSequence int
}

type applications struct {
	PendencyItem        []command.Empty
	UnreadPendencyCount int
	StartTime           int
	CurrentSequence     int
}

func handle[A any](t *command.Table, name string, empty A) {
	command.Handle(t, name, command.Users, func(_ context.Context, call *command.Call, req *request) (ans A, err error) {
		if req.From_Account != "" && req.From_Account != call.UserID {
			return ans, command.Err(codeNotYours, "From_Account is not the caller")
		}
		return empty, nil
	})
}
