package profile

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"imserver/internal/command"
	"imserver/internal/config"
)

// Codes of the profile commands (protocol 06 §2.2).
const (
	codeParameter = 40001
	codeNoUser    = 40003
	codeNotYours  = 40004
	codeNoWrite   = 40008
	codeNoTag     = 40009
	codeTooLong   = 40601
	codeBadValue  = 40605
	codeBadType   = 40610
)

// Tags that the server itself looks at.
const (
	tagNick      = "Tag_Profile_IM_Nick"
	tagImage     = "Tag_Profile_IM_Image"
	tagAllow     = "Tag_Profile_IM_AllowType"
	tagForbid    = "Tag_Profile_IM_AdminForbidType"
	customPrefix = "Tag_Profile_Custom_"
)

// Limits (protocol 04 §1, 06 §5.3).
const (
	maxValue     = 500 // bytes of a value
	maxLocation  = 16  // bytes
	maxCustomKey = 8   // bytes after the prefix
	maxCustoms   = 20  // custom fields of one account
	maxItems     = 100 // tags of one request
)

// kind is what values a tag takes.
type kind struct {
	number bool     // uint32; otherwise a string
	oneOf  []string // the only values, when not empty
	limit  int      // bytes, when lower than maxValue
}

var standard = map[string]kind{
	tagNick:                        {},
	tagImage:                       {},
	"Tag_Profile_IM_Gender":        {oneOf: []string{"Gender_Type_Unknown", "Gender_Type_Female", "Gender_Type_Male"}},
	"Tag_Profile_IM_BirthDay":      {number: true},
	"Tag_Profile_IM_Location":      {limit: maxLocation},
	"Tag_Profile_IM_SelfSignature": {},
	tagAllow:                       {oneOf: []string{"AllowType_Type_NeedConfirm", "AllowType_Type_AllowAny", "AllowType_Type_DenyAny"}},
	"Tag_Profile_IM_Language":      {number: true},
	"Tag_Profile_IM_MsgSettings":   {number: true},
	tagForbid:                      {oneOf: []string{forbidNone, "AdminForbid_Type_SendOut"}},
	"Tag_Profile_IM_Level":         {number: true},
	"Tag_Profile_IM_Role":          {number: true},
}

const forbidNone = "AdminForbid_Type_None"

// known reports whether a profile of the app can have the tag.
func known(app *config.App, tag string) bool {
	if _, ok := standard[tag]; ok {
		return true
	}
	key, ok := strings.CutPrefix(tag, customPrefix)
	if !ok || key == "" || len(key) > maxCustomKey {
		return false
	}
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	declared := app.CustomFields.User
	return len(declared) == 0 || slices.Contains(declared, key)
}

// check returns the value of a tag as it is stored, or why it is refused. A
// custom field takes strings, and from administrators numbers as well.
func check(app *config.App, i item, admin bool) (json.RawMessage, error) {
	if !known(app, i.Tag) {
		return nil, command.Errf(codeNoTag, "there is no tag %.64q", i.Tag)
	}
	k, isStandard := standard[i.Tag]
	isNumber := len(i.Value) > 0 && (i.Value[0] == '-' || i.Value[0] >= '0' && i.Value[0] <= '9')
	isText := len(i.Value) > 0 && i.Value[0] == '"'
	switch {
	case isNumber && (k.number || !isStandard && admin):
		n, err := strconv.ParseUint(string(i.Value), 10, 32)
		if err != nil {
			return nil, command.Errf(codeBadValue, "%s must be a whole number from 0 to 4294967295", i.Tag)
		}
		return strconv.AppendUint(nil, n, 10), nil
	case isText && !k.number:
		return k.text(i)
	}
	return nil, command.Errf(codeBadType, "the value of %s has the wrong type", i.Tag)
}

func (k kind) text(i item) (json.RawMessage, error) {
	var s string
	if err := json.Unmarshal(i.Value, &s); err != nil {
		return nil, command.Errf(codeBadType, "the value of %s has the wrong type", i.Tag)
	}
	switch {
	case len(s) > maxValue:
		return nil, command.Errf(codeTooLong, "the value of %s is longer than %d bytes", i.Tag, maxValue)
	case k.limit > 0 && len(s) > k.limit:
		return nil, command.Errf(codeBadValue, "the value of %s is longer than %d bytes", i.Tag, k.limit)
	case len(k.oneOf) > 0 && !slices.Contains(k.oneOf, s):
		return nil, command.Errf(codeBadValue, "the value of %s must be one of %s", i.Tag, strings.Join(k.oneOf, ", "))
	case strings.Contains(s, "\x00"):
		return nil, command.Errf(codeBadValue, "the value of %s has a NUL character", i.Tag)
	}
	return quote(s), nil
}

// quote returns s as JSON.
func quote(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string always marshals
	return b
}
