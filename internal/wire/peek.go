package wire

import "github.com/tidwall/gjson"

// PeekHead reads the head of a frame that is cut short or otherwise unusable,
// so that its sender can be told. The SDKs write the head first, so its two
// members are found in the first bytes; the zero Head means they were not.
func PeekHead(frame []byte) Head {
	const reach = 4096
	part := frame[:min(len(frame), reach)]
	var h Head
	raw := gjson.GetBytes(part, "head")
	if !raw.IsObject() {
		return h
	}
	h.set("servcmd", raw.Get("servcmd"))
	h.set("seq", raw.Get("seq"))
	if len(h.Command) > maxCommand || len(h.Seq) > maxSeq {
		return Head{}
	}
	return h
}
