package command

import "strings"

// CheckTexts refuses texts with the character NUL, error 20001. Postgres stores
// no such text, and would refuse whatever is written together with it, so they
// are refused on every engine before they come near one.
func CheckTexts(texts ...string) error {
	for _, s := range texts {
		if strings.IndexByte(s, 0) >= 0 {
			return Err(CodeBadPacket, "a text has the character NUL")
		}
	}
	return nil
}
