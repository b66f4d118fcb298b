package group

import (
	"crypto/rand"
	"strings"
)

const communityMark = "@TGS#_"

// systemMark begins the names that are the system's: the SDKs show what comes
// from "@TIM#SYSTEM", or to it, as notices (protocol 03 §3.4).
const systemMark = "@TIM#"

// Bounds of IDs in bytes (protocol 03 §1.3).
const (
	maxGroupID = 48
	maxTopicID = 96
)

func printable(id string) bool {
	for i := range len(id) {
		if id[i] < 0x20 || id[i] > 0x7e {
			return false
		}
	}
	return true
}

// plausibleID reports whether a group or topic could have that ID.
func plausibleID(id string) bool {
	return id != "" && len(id) <= maxTopicID && printable(id)
}

// checkCustomID reports whether an app may choose that ID for a group of kind:
// communities start with "@TGS#_" and no other group does, or the SDKs would
// address the wrong service (protocol 03 §1.3); none is taken for the system.
func checkCustomID(id string, kind Kind) error {
	switch {
	case !printable(id) || len(id) > maxGroupID || strings.TrimSpace(id) == "" || strings.Contains(id, topicMark):
		return errBadID
	case kind == Community:
		if !strings.HasPrefix(id, communityMark) || len(id) == len(communityMark) {
			return errBadID
		}
	case strings.HasPrefix(id, "@TGS"), strings.HasPrefix(id, systemMark):
		return errBadID
	}
	return nil
}

// checkTopicID reports whether an app may choose that ID for a topic of the
// community.
func checkTopicID(id, community string) error {
	own, ok := strings.CutPrefix(id, community+topicMark)
	if !ok || own == "" || !printable(id) || len(id) > maxTopicID || strings.Contains(own, topicMark) {
		return errBadID
	}
	return nil
}

// newID draws an ID in the hosted service's form.
func newID(kind Kind) string {
	part := randomPart()
	switch kind {
	case Work:
		return "@TGS#1" + part
	case Public:
		return "@TGS#2" + part
	case Meeting:
		return "@TGS#3" + part
	case LiveRoom:
		return "@TGS#a" + part
	}
	return communityMark + "@TGS#c" + part
}

func newTopicID(community string) string { return community + topicMark + "@TOPIC#t" + randomPart() }

// randomPart returns 12 characters of 32: 60 random bits.
func randomPart() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = letters[b[i]&31]
	}
	return string(b)
}
