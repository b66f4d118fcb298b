package message

import (
	"encoding/json"
	"sync/atomic"

	"github.com/tidwall/gjson"
)

// pushDefaults are what the SDKs send for settings of OfflinePushInfo that an
// app has not set, besides empty texts and zeros (protocol 02 §4.1).
var pushDefaults = map[string]string{"InterruptionLevel": `"active"`, "VIVOClassification": "1"}

// KeepPushInfo returns what is kept of a request's OfflinePushInfo: the whole of
// it, or nil when it says nothing. SDKs send it with every message; only what
// an app has set is worth its bytes in the log (protocol 02 §4.1). It is never a
// reason to refuse a message (protocol 06 §4.2): what is no object, or longer
// than limit bytes, is ignored.
func KeepPushInfo(raw json.RawMessage, limit int) []byte {
	if len(raw) > limit {
		return nil
	}
	slot := &silent[len(raw)%len(silent)]
	if last := slot.Load(); last != nil && string(raw) == *last {
		return nil
	}
	info := gjson.ParseBytes(raw)
	if !info.IsObject() {
		return nil
	}
	if saysNothing(info) {
		text := string(raw)
		slot.Store(&text)
		return nil
	}
	return compact(raw)
}

// silent are the last OfflinePushInfos that said nothing, by length. A client
// sends the same with every message, so it is seldom read a second time.
var silent [16]atomic.Pointer[string]

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
