package message

import (
	"encoding/json"

	"github.com/tidwall/gjson"

	"imserver/internal/command"
)

// pushDefaults are what the SDKs send for settings of OfflinePushInfo that an
// app has not set, besides empty texts and zeros (protocol 02 §4.1).
var pushDefaults = map[string]string{"InterruptionLevel": `"active"`, "VIVOClassification": "1"}

// KeepPushInfo returns what is kept of a request's OfflinePushInfo: the whole of
// it, or nil when it says nothing. SDKs send it with every message; only what
// an app has set is worth its bytes in the log (protocol 02 §4.1). Errors:
// 20001 for what is not an object, 80002 for one over limit bytes.
func KeepPushInfo(raw json.RawMessage, limit int) ([]byte, error) {
	if len(raw) > limit {
		return nil, command.Err(command.CodeTooLong, "OfflinePushInfo is too long")
	}
	info := gjson.ParseBytes(raw)
	switch {
	case info.Type == gjson.Null:
		return nil, nil
	case !info.IsObject():
		return nil, command.Err(command.CodeBadPacket, "OfflinePushInfo is not an object")
	case saysNothing(info):
		return nil, nil
	}
	return compact(raw), nil
}

// saysNothing reports whether v holds defaults alone.
func saysNothing(v gjson.Result) bool {
	nothing := true
	v.ForEach(func(name, value gjson.Result) bool {
		switch {
		case value.IsObject() || value.IsArray():
			nothing = saysNothing(value)
		case value.Type == gjson.String:
			nothing = value.Raw == `""` || value.Raw == pushDefaults[name.Str]
		case value.Type == gjson.Number:
			nothing = value.Num == 0 || value.Raw == pushDefaults[name.Str]
		default:
			nothing = value.Type != gjson.True
		}
		return nothing
	})
	return nothing
}
