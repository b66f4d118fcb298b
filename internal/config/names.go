package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

const envPrefix = "IMSERVER_"

// setting is one thing that a variable or a flag can set.
type setting struct {
	path string // in the file, such as defaults.login_policy
	name string // path, or what the contract calls it: what the variable and the flag are made of
	typ  reflect.Type
}

func (s setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.name, ".", "_"))
}
func (s setting) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(s.name) }

// renamed are settings that go by another name outside the file.
var renamed = map[string]string{"defaults.max_instances.web": "max_web_instances"}

// settings lists what variables and flags can set: single values, lists and maps of them, but no lists of records.
func settings() []setting {
	var found []setting
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for i := range t.NumField() {
			field := t.Field(i)
			tag := field.Tag.Get("koanf")
			if tag == "-" {
				continue
			}
			here := path + tag
			switch {
			case field.Type.Kind() == reflect.Struct:
				walk(field.Type, here+".")
			case field.Type.Kind() == reflect.Slice && field.Type == reflect.TypeFor[[]Word]():
			default:
				name := strings.TrimPrefix(here, "defaults.")
				if other, ok := renamed[here]; ok {
					name = other
				}
				found = append(found, setting{here, name, field.Type})
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return found
}

// value reads text as a value of the setting's type, in a form the decoder takes.
func (s setting) value(text string) (any, error) {
	switch s.typ.Kind() {
	case reflect.Bool:
		return strconv.ParseBool(text)
	case reflect.Int:
		return strconv.Atoi(text)
	case reflect.Slice:
		return list(text), nil
	case reflect.Map:
		pairs := map[string]any{}
		for _, pair := range list(text) {
			key, value, ok := strings.Cut(pair.(string), "=")
			if !ok {
				return nil, fmt.Errorf("%q is not key=value", pair)
			}
			pairs[key] = value
		}
		return pairs, nil
	}
	return text, nil // strings, durations and what else the decoder reads from text
}

// preset is the setting's value in c as a flag would give it; empty for what is not set.
func (s setting) preset(c *Config) string {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(s.path, ".") {
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("koanf") == name {
				v = v.Field(i)
				break
			}
		}
	}
	switch value := v.Interface().(type) {
	case time.Duration:
		return Span(value)
	case []string:
		return strings.Join(value, ",")
	default:
		return fmt.Sprint(value)
	}
}

// list splits at commas. Blanks around an entry and empty entries do not count.
func list(text string) []any {
	entries := []any{}
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, entry)
		}
	}
	return entries
}

// nested puts value under a dotted path into the tree.
func nested(tree map[string]any, path string, value any) {
	head, rest, more := strings.Cut(path, ".")
	if !more {
		tree[head] = value
		return
	}
	branch, ok := tree[head].(map[string]any)
	if !ok {
		branch = map[string]any{}
		tree[head] = branch
	}
	nested(branch, rest, value)
}

// Duration reads what time.ParseDuration reads, and days: 7d, 1d12h.
func Duration(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is not %s", text, kind(reflect.TypeFor[time.Duration]()))
	days, rest, ok := strings.Cut(text, "d")
	if !ok {
		days, rest = "0", text
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, wrong
	}
	d := time.Duration(n) * 24 * time.Hour
	if ok && rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil {
		return 0, wrong
	}
	return d + more, nil
}
