package group

import "imserver/internal/command"

// Codes of the group commands (protocol 03 §17).
const (
	CodeBadParameter  = 10004
	CodeTooMany       = 10005 // too many accounts in one request
	CodeNoPermission  = 10007 // no right, no member, or nothing for this kind of group
	CodeOwnerStays    = 10009
	CodeNoGroup       = 10010
	CodeAlreadyMember = 10013
	CodeFull          = 10014
	CodeBadID         = 10015
	CodeMuted         = 10017
	CodeUnknownUser   = 10019
	CodeIDTaken       = 10021
	CodeHandled       = 10024
	CodeIDMine        = 10025
	CodeTooManyRooms  = 10036
	CodeTooManyGroups = 10037
	CodeNoHistory     = 10044
	CodeAttrKey       = 10045
	CodeAttrValue     = 10046
	CodeAttrCount     = 10047
	CodeAttrTotal     = 10048
	CodeAttrRate      = 10049
	CodeAttrMissing   = 10050
	CodeConflict      = 10056
	CodeAppFull       = 10058 // the app has as many groups as it may
	CodeTooManyKeys   = 10063
	CodeCommunityOff  = 11000
)

var (
	errNoPermission = command.Err(CodeNoPermission, "the group does not allow this to the caller")
	errNotMember    = command.Err(CodeNoPermission, "not a member of the group")
	errNotForKind   = command.Err(CodeNoPermission, "this type of group does not have that")
	errNoGroup      = command.Err(CodeNoGroup, "the group does not exist")
	errBadID        = command.Err(CodeBadID, "the group ID is not valid")
	errFull         = command.Err(CodeFull, "the group is full")
	errHandled      = command.Err(CodeHandled, "the application was answered already")
	errConflict     = command.Err(CodeConflict, "somebody else changed it meanwhile: read it again")
	errUnknownUser  = command.Err(CodeUnknownUser, "an account does not exist")
)
