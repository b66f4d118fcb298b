package message

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"

	"imserver/internal/command"
)

// element is one item of MsgBody (protocol 02 §3).
type element struct {
	MsgType    string
	MsgContent json.RawMessage
}

// maxElements bounds the elements of a message.
const maxElements = 64

// knownTypes are the elements the SDKs know; an unknown one would show as an
// empty message, so it is refused (protocol 02 §3).
var knownTypes = map[string]bool{
	"TIMTextElem": true, "TIMCustomElem": true, "TIMFaceElem": true, "TIMLocationElem": true, "TIMSoundElem": true,
	"TIMFileElem": true, "TIMVideoFileElem": true, "TIMImageElem": true, "TIMRelayElem": true,
}

// Normalize checks a MsgBody and returns it as it is stored and pushed:
// untouched, but for images without the fields that only a request has, and
// merged messages with the TinyId that readers need (protocol 02 §3, §17).
// Errors: 20001 for a malformed body, 80002 for one over limit bytes together
// with extra bytes of other content (protocol 02 §21).
func Normalize(body json.RawMessage, extra, limit int) (json.RawMessage, error) {
	list, err := elements(body)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > maxElements {
		return nil, command.Errf(command.CodeBadPacket, "MsgBody must have 1 to %d elements", maxElements)
	}
	if len(body)+extra > limit {
		return nil, command.Errf(command.CodeTooLong, "the message is longer than %d bytes", limit)
	}
	changed := false
	for i := range list {
		e := &list[i]
		if !knownTypes[e.MsgType] {
			return nil, command.Err(command.CodeBadPacket, "unknown element type")
		}
		if c := bytes.TrimSpace(e.MsgContent); len(c) == 0 || c[0] != '{' {
			return nil, command.Err(command.CodeBadPacket, "an element has no content")
		}
		var fix func(json.RawMessage) (json.RawMessage, error)
		switch e.MsgType {
		case "TIMImageElem":
			fix = cleanImage
		case "TIMRelayElem":
			fix = completeRelay
		default:
			continue
		}
		content, err := fix(e.MsgContent)
		if err != nil {
			return nil, err
		}
		e.MsgContent, changed = content, true
	}
	if !changed {
		return compact(body), nil
	}
	out, err := json.Marshal(list)
	if err != nil {
		return nil, command.Err(command.CodeBadPacket, "")
	}
	return out, nil
}

// elements reads a MsgBody that is valid JSON, with no reflection: every message
// comes by. As in JavaScript the last of equal names counts.
func elements(body json.RawMessage) (list []element, err error) {
	doc := gjson.ParseBytes(body)
	good := doc.IsArray()
	doc.ForEach(func(_, item gjson.Result) bool {
		if good = good && item.IsObject(); !good || len(list) > maxElements {
			return false
		}
		var e element
		item.ForEach(func(name, value gjson.Result) bool {
			switch name.String() {
			case "MsgType":
				e.MsgType = value.String()
			case "MsgContent":
				e.MsgContent = json.RawMessage(value.Raw)
			}
			return true
		})
		list = append(list, e)
		return true
	})
	if !good {
		return nil, command.Err(command.CodeBadPacket, "MsgBody is not an array of elements")
	}
	return list, nil
}

// compact drops the spaces between tokens; the SDKs send none.
func compact(body json.RawMessage) json.RawMessage {
	if !spaced(body) {
		return body
	}
	var b bytes.Buffer
	if json.Compact(&b, body) != nil {
		return body
	}
	return b.Bytes()
}

// spaced reports whether valid JSON has spaces outside of its texts.
func spaced(body []byte) bool {
	for text, i := false, 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '"':
			text = !text
		case c == '\\':
			i++ // only texts have escapes
		case c <= ' ' && !text:
			return true
		}
	}
	return false
}

// cleanImage removes InstanceId and MsgType from an image: left in, MsgType
// overwrites the image kind inside merged messages (protocol 02 §3).
func cleanImage(content json.RawMessage) (json.RawMessage, error) {
	var c map[string]json.RawMessage
	if err := json.Unmarshal(content, &c); err != nil {
		return nil, command.Err(command.CodeBadPacket, "")
	}
	delete(c, "InstanceId")
	delete(c, "MsgType")
	if raw, ok := c["ImageInfoArray"]; ok {
		var infos []map[string]json.RawMessage
		if err := json.Unmarshal(raw, &infos); err != nil {
			return nil, command.Err(command.CodeBadPacket, "ImageInfoArray is malformed")
		}
		for _, info := range infos {
			delete(info, "InstanceId")
			delete(info, "MsgType")
		}
		c["ImageInfoArray"], _ = json.Marshal(infos) // came from JSON
	}
	out, err := json.Marshal(c)
	if err != nil {
		return nil, command.Err(command.CodeBadPacket, "")
	}
	return out, nil
}

// maxLayers is how deep merged messages may be nested (protocol 02 §17).
const maxLayers = 100

// completeRelay prepares a merged message for its readers (protocol 02 §17).
func completeRelay(content json.RawMessage) (json.RawMessage, error) {
	var c map[string]json.RawMessage
	if err := json.Unmarshal(content, &c); err != nil {
		return nil, command.Err(command.CodeBadPacket, "")
	}
	if relayDepth(content) > maxLayers {
		delete(c, "MsgList")
		c["LayersOverLimit"] = json.RawMessage("1")
	} else {
		c["LayersOverLimit"] = json.RawMessage("0")
		if raw, ok := c["MsgList"]; ok {
			list, err := CompleteRelayList(raw)
			if err != nil {
				return nil, err
			}
			c["MsgList"] = list
		}
	}
	out, err := json.Marshal(c)
	if err != nil {
		return nil, command.Err(command.CodeBadPacket, "")
	}
	return out, nil
}

func relayDepth(content json.RawMessage) int { return bytes.Count(content, []byte(`"TIMRelayElem"`)) }

// maxRelayed is how many messages one merged message may hold (protocol 02 §17).
const maxRelayed = 300

// CompleteRelayList adds TinyId, the part of Id before the first "-", to each
// entry of a merged message's MsgList and cleans the images inside. 20001 if
// it is malformed or holds more than 300.
func CompleteRelayList(raw json.RawMessage) (json.RawMessage, error) {
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || len(list) > maxRelayed {
		return nil, command.Errf(command.CodeBadPacket, "MsgList must be an array of at most %d messages", maxRelayed)
	}
	for _, entry := range list {
		var id string
		if json.Unmarshal(entry["Id"], &id) == nil {
			if tiny, _, found := strings.Cut(id, "-"); found {
				entry["TinyId"], _ = json.Marshal(tiny) // a string always marshals
			}
		}
		if body, ok := entry["MsgBody"]; ok {
			entry["MsgBody"] = cleanImages(body)
		}
	}
	return json.Marshal(list)
}

// cleanImages cleans the images of a body inside a merged message. What is not
// a list of elements, a tip or something newer, is passed on as it is.
func cleanImages(body json.RawMessage) json.RawMessage {
	var elements []element
	if json.Unmarshal(body, &elements) != nil {
		return body
	}
	for i, e := range elements {
		if e.MsgType != "TIMImageElem" {
			continue
		}
		if clean, err := cleanImage(e.MsgContent); err == nil {
			elements[i].MsgContent = clean
		}
	}
	if out, err := json.Marshal(elements); err == nil {
		return out
	}
	return body
}
