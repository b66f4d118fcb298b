package wire

// PeekHead reads the head of a frame that is cut short or otherwise unusable,
// so that its sender can be told. The SDKs write the head first, so its two
// members are found in the first bytes; the zero Head means they were not.
func PeekHead(frame []byte) Head {
	const reach = 4096
	s := scanner{b: frame[:min(len(frame), reach)]}
	var h Head
	if s.space() != '{' {
		return h
	}
	_ = s.object(func(name []byte) error { // ends at what is broken
		if string(name) == "head" && s.b[s.i] == '{' {
			return s.object(func(name []byte) error { return s.field(&h, name) })
		}
		return s.skip()
	})
	if len(h.Command) > maxCommand || len(h.Seq) > maxSeq {
		return Head{}
	}
	return Head{Command: h.Command, Seq: h.Seq}
}
