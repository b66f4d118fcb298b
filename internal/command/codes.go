package command

// Codes shared by every family (protocol 01 §6, 02 §21, 06 §2). A domain's own
// codes stand as constants in its package; their texts are in the table below,
// so that an answer never has an empty ErrorInfo.
const (
	CodeBadRequest     = 60003 // body is not the JSON that the command wants
	CodeUnknownCommand = 60009 // no such command, or not built yet
	CodeNotAdmin       = 60010 // REST caller is no administrator of the app
	CodeTooFast        = 60007 // a rate limit of this server
	CodeTimeout        = 60008 // not finished within the server's own limit
	CodeNoSession      = 6014  // a2 without a session: kicked or logged out
	CodeSessionOver    = 70001 // ticket or session ended: the SDK logs out
	CodeKicked         = 1002  // with KickType: the instance was kicked
	CodeInternal       = 20004 // unexpected fault, details in the log only
	CodeNoAccount      = 20003 // unknown or malformed account
	CodeBadPacket      = 20001 // malformed message packet
	CodeTooLong        = 80002 // message body over the limit
)

var texts = map[int]string{
	CodeBadRequest:     "the request body is not valid for this command",
	CodeUnknownCommand: "this server does not offer the command",
	CodeNotAdmin:       "the caller is not an administrator of this app",
	CodeTooFast:        "too many requests",
	CodeTimeout:        "the server could not finish in time",
	CodeNoSession:      "not logged in",
	CodeSessionOver:    "the ticket has expired",
	CodeKicked:         "this login instance was kicked out",
	CodeInternal:       "internal error",
	CodeNoAccount:      "the account does not exist",
	CodeBadPacket:      "malformed message",
	CodeTooLong:        "the message is too long",
}

// Text returns the table's text for code; never empty.
func Text(code int) string {
	if t, ok := texts[code]; ok {
		return t
	}
	return "the request was refused"
}
