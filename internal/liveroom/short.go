package liveroom

import (
	"encoding/json"
)

// shortNames are the names of the short form of answers to polls (protocol 03
// §13.4). Every name means the same wherever it stands.
var shortNames = map[string]string{
	"Event": "E", "ToGroupId": "GId", "From_Account": "F_Account", "MsgSeq": "MS", "MsgRandom": "MR", "MsgTimeStamp": "MTS",
	"MsgClientTime": "MCT", "MsgPriority": "MP", "CloudCustomData": "CCD", "GroupInfo": "GInf",
	"GroupName": "GN", "GroupType": "GT", "From_AccountNick": "F_NN", "From_AccountHeadurl": "F_Hd", "From_AccountLevel": "F_Ll",
	"OpType": "Opt", "Operator_Account": "O_Account", "List_Account": "L_Account", "MsgOperatorMemberExtraInfo": "OpInf",
	"NickName": "NN", "ImageUrl": "Img", "OnlineMemberInfo": "OnlineInf", "OnlineMemberNum": "Num", "ExpireTime": "ET",
	"ReportType": "RT", "UserDefinedField": "UDF",
}

// shortNested are the members whose own members have short names, too. The
// elements of a message have none: MsgBody is nested only as an object, as
// tips and notices have it.
var shortNested = map[string]bool{"GroupInfo": true, "MsgBody": true, "MsgOperatorMemberExtraInfo": true, "OnlineMemberInfo": true, "MsgMemberExtraInfo": true}

// shorten returns an item of an answer to a poll in the short form; what SDKs
// add by themselves is left out.
func shorten(item []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(item, &fields) != nil {
		return item // a form that this version does not know
	}
	delete(fields, "ClientSeq")
	if string(fields["CloudCustomData"]) == `""` {
		delete(fields, "CloudCustomData")
	}
	if string(fields["From_Account"]) == `"`+systemAccount+`"` {
		delete(fields, "From_Account")
		delete(fields, "TinyId")
	}
	return renamed(fields)
}

func renamed(fields map[string]json.RawMessage) []byte {
	short := make(map[string]json.RawMessage, len(fields))
	for name, value := range fields {
		if shortNested[name] {
			value = renamedValue(name, value)
		}
		if s, ok := shortNames[name]; ok {
			name = s
		}
		short[name] = value
	}
	b, _ := json.Marshal(short) // what was valid JSON stays it
	return b
}

// renamedValue renames in an object, or in the objects of a list.
func renamedValue(name string, value json.RawMessage) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) == nil {
		return renamed(object)
	}
	var list []map[string]json.RawMessage
	if name == "MsgBody" || json.Unmarshal(value, &list) != nil {
		return value
	}
	out := []byte{'['}
	for i, object := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, renamed(object)...)
	}
	return append(out, ']')
}
