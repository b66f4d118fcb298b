package group

import (
	"slices"
	"strings"
	"unicode/utf8"

	"imserver/internal/command"
	"imserver/internal/config"
)

// Bounds of texts in bytes (protocol 03 §16, the newer limits).
const (
	maxName         = 100
	maxIntroduction = 400
	maxNotification = 400
	maxFaceURL      = 500
	maxNameCard     = 50
	maxCustomKey    = 32
	maxCustomValue  = 512
	maxCustomKeys   = 50
	maxRemark       = 500
	maxCustomText   = 1000
)

// Bounds of lists in one request (protocol 03 §16).
const (
	maxInvited  = 500
	maxKicked   = 500
	maxProfiles = 500
	maxGroupIDs = 50

	maxUserProfiles = 50   // of maxProfiles, for users
	maxPage         = 100  // members of a page
	maxRESTPage     = 6000 // members of a page, through REST
)

// KeyValue is a custom field.
type KeyValue struct {
	Key   string
	Value string
}

// checkText refuses what is too long or cannot be stored.
func checkText(field, value string, limit int) error {
	if len(value) > limit {
		return command.Errf(CodeBadParameter, "%s is longer than %d bytes", field, limit)
	}
	if strings.ContainsRune(value, 0) || !utf8.ValidString(value) {
		return command.Errf(CodeBadParameter, "%s holds characters that are not allowed", field)
	}
	return nil
}

// profileTexts are the texts of a profile; nil means not given.
type profileTexts struct {
	Name         *string
	Introduction *string
	Notification *string
	FaceUrl      *string
}

func (p *profileTexts) check() error {
	for _, f := range []struct {
		name  string
		value *string
		limit int
	}{{"Name", p.Name, maxName}, {"Introduction", p.Introduction, maxIntroduction}, {"Notification", p.Notification, maxNotification}, {"FaceUrl", p.FaceUrl, maxFaceURL}} {
		if f.value == nil {
			continue
		}
		if err := checkText(f.name, *f.value, f.limit); err != nil {
			return err
		}
	}
	if p.Name != nil && strings.TrimSpace(*p.Name) == "" {
		return command.Err(CodeBadParameter, "Name is empty")
	}
	return nil
}

// mergeCustom returns old with the fields of list set, those with an empty
// value removed. known are the declared names; empty means all.
func mergeCustom(old map[string]string, list []KeyValue, known []string) (map[string]string, error) {
	if len(list) == 0 {
		return old, nil
	}
	merged := make(map[string]string, len(old)+len(list))
	for k, v := range old {
		merged[k] = v
	}
	for _, kv := range list {
		if kv.Key == "" || len(kv.Key) > maxCustomKey || len(kv.Value) > maxCustomValue || !utf8.ValidString(kv.Key+kv.Value) {
			return nil, command.Errf(CodeBadParameter, "a custom field has a name over %d or a value over %d bytes", maxCustomKey, maxCustomValue)
		}
		if len(known) > 0 && !slices.Contains(known, kv.Key) {
			return nil, command.Err(CodeBadParameter, "a custom field is not declared")
		}
		if kv.Value == "" {
			delete(merged, kv.Key)
		} else {
			merged[kv.Key] = kv.Value
		}
	}
	if len(merged) > maxCustomKeys {
		return nil, command.Errf(CodeBadParameter, "more than %d custom fields", maxCustomKeys)
	}
	return merged, nil
}

// customList returns fields as the protocol lists them: by name, only those
// in filter unless it is nil.
func customList(m map[string]string, filter []string) []KeyValue {
	list := make([]KeyValue, 0, len(m))
	for k, v := range m {
		if filter == nil || slices.Contains(filter, k) {
			list = append(list, KeyValue{k, v})
		}
	}
	slices.SortFunc(list, func(a, b KeyValue) int { return strings.Compare(a.Key, b.Key) })
	return list
}

// options are the fixed and default join options of a kind (protocol 03 §2.2).
func defaultOptions(kind Kind) (apply, invite JoinOption) {
	switch kind {
	case Work:
		return Disabled, Free
	case Public:
		return NeedPermission, Disabled
	case Meeting, LiveRoom:
		return Free, Disabled
	}
	return Free, Free
}

// applyFixed reports whether the kind's apply option cannot be chosen.
func applyFixed(kind Kind) bool { return kind == Work || kind == Meeting || kind == LiveRoom }

func parseOption(value, field, disabled string) (JoinOption, error) {
	switch value {
	case "FreeAccess":
		return Free, nil
	case "NeedPermission":
		return NeedPermission, nil
	case disabled:
		return Disabled, nil
	}
	return 0, command.Errf(CodeBadParameter, "%s is not valid", field)
}

func parseApply(value string) (JoinOption, error) {
	return parseOption(value, "ApplyJoinOption", "DisableApply")
}

func parseInvite(value string) (JoinOption, error) {
	return parseOption(value, "InviteJoinOption", "DisableInvite")
}

// memberLimit returns the member limit of a new or changed group: what was
// asked for, up to what the app allows. 0 is none.
func memberLimit(app *config.App, kind Kind, asked int) (int, error) {
	limit := limitOf(app, kind)
	if asked < 0 {
		return 0, command.Err(CodeBadParameter, "the member limit is negative")
	}
	if asked > 0 && (limit == 0 || asked < limit) {
		return asked, nil
	}
	return limit, nil
}
