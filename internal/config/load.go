package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// shown are the flags that help lists. There is one for every setting.
var shown = map[string]string{
	"listen":            "address of WebSocket, REST, files and metrics",
	"data-dir":          "folder of the embedded database, media and generated keys",
	"database-url":      "postgres://… (empty: embedded SQLite)",
	"redis-url":         "redis://… (empty: in-process bus)",
	"admins":            "users who may call the REST API",
	"login-policy":      "single, dual, triple or multi",
	"max-web-instances": "web devices of one user at once, 1 to 10",
	"retention":         "how long history is kept, such as 12h or 30d",
	"group-rate":        "messages per second per group, 0 = no limit",
	"log-level":         "debug, info, warn or error",
	"log-format":        "text or json",
}

// AddFlags adds --config, --apps and a flag for every setting to fs.
func AddFlags(fs *pflag.FlagSet) {
	fs.String("config", "", "YAML file [IMSERVER_CONFIG]")
	fs.String("apps", "", "sdkappid:key,… (empty: app 1400000001 with a key kept in the data folder) [IMSERVER_APPS]")
	preset := Default()
	for _, s := range settings() {
		name := s.flag()
		help, important := shown[name]
		if !important {
			help = "setting " + s.path
		}
		fs.String(name, "", help+" ["+s.env()+"]")
		flag := fs.Lookup(name)
		flag.Hidden = !important
		if important {
			flag.DefValue = s.preset(preset)
		}
		if s.typ.Kind() == reflect.Bool {
			flag.NoOptDefVal = "true"
		}
	}
}

// Parse reads a command line and environ (as os.Environ gives it), and loads the configuration.
func Parse(args, environ []string) (*Config, error) {
	fs := pflag.NewFlagSet("imserver", pflag.ContinueOnError)
	AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	return Load(fs, environ)
}

// Load fills a configuration from the defaults, the YAML file, environ and the flags in fs, which AddFlags has
// prepared and which are parsed. It touches nothing: Apps stays empty when none is named, see MakeOwnApp and
// FindOwnApp. An error names the setting, and where it came from if it could not be read.
func Load(fs *pflag.FlagSet, environ []string) (*Config, error) {
	env, unknown := variables(environ)
	outside, err := overrides(fs, env)
	if err != nil {
		return nil, err
	}
	file, err := readFile(pick(fs, "config", env, "IMSERVER_CONFIG"))
	if err != nil {
		return nil, err
	}
	records, err := appRecords(file["apps"])
	if err != nil {
		return nil, err
	}
	delete(file, "apps")
	records, err = addPairs(records, pick(fs, "apps", env, "IMSERVER_APPS"))
	if err != nil {
		return nil, err
	}

	c := Default()
	c.Unknown = unknown
	tree := koanf.New(".")
	for _, source := range []map[string]any{file, outside} {
		if err := tree.Load(confmap.Provider(source, ""), nil); err != nil {
			return nil, err
		}
	}
	if err := decode(tree.Raw(), c); err != nil {
		return nil, err
	}
	dropEmpty(c.Defaults.CloudConfig)
	if c.Apps, err = apps(tree, records); err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// variables returns the IMSERVER_* variables that have a value, and the names of those that set nothing.
// An empty one counts as absent: that is what an unset ${VARIABLE} in a compose file becomes.
func variables(environ []string) (set map[string]string, unknown []string) {
	known := map[string]bool{"IMSERVER_CONFIG": true, "IMSERVER_APPS": true}
	for _, s := range settings() {
		known[s.env()] = true
	}
	set = map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case !strings.HasPrefix(name, envPrefix) || value == "":
		case known[name]:
			set[name] = value
		case !strings.HasPrefix(name, envPrefix+"TEST_"): // which belong to the tests
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return set, unknown
}

// overrides collects what variables and, above them, flags set.
func overrides(fs *pflag.FlagSet, env map[string]string) (map[string]any, error) {
	tree := map[string]any{}
	var errs []error
	for _, s := range settings() {
		text, given, source := env[s.env()], env[s.env()] != "", s.env()
		if flag := fs.Lookup(s.flag()); flag != nil && flag.Changed {
			text, given, source = flag.Value.String(), true, "--"+s.flag()
		}
		if !given {
			continue
		}
		value, err := s.value(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: must be %s, is %q", source, kind(s.typ), text))
			continue
		}
		nested(tree, s.path, value)
	}
	return tree, errors.Join(errs...)
}

// pick returns the flag's value if it was given, else the variable's.
func pick(fs *pflag.FlagSet, flag string, env map[string]string, name string) string {
	if f := fs.Lookup(flag); f != nil && f.Changed {
		return f.Value.String()
	}
	return env[name]
}

func readFile(path string) (map[string]any, error) {
	if path == "" {
		return map[string]any{}, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	tree, err := yaml.Parser().Unmarshal(text)
	if err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", path, err)
	}
	if tree == nil {
		tree = map[string]any{}
	}
	return tree, nil
}

// appRecords returns the file's list of apps.
func appRecords(value any) ([]map[string]any, error) {
	if value == nil {
		return nil, nil
	}
	entries, ok := value.([]any)
	if !ok {
		return nil, errors.New("apps: must be a list")
	}
	var records []map[string]any
	for i, entry := range entries {
		record, ok := entry.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("apps[%d]: must have sdkappid and keys", i)
		}
		records = append(records, record)
	}
	return records, nil
}

// addPairs merges a list of sdkappid:key into the records. Several keys of one app are all valid.
func addPairs(records []map[string]any, text string) ([]map[string]any, error) {
	keys := map[int][]any{}
	for _, pair := range list(text) {
		id, key, _ := strings.Cut(pair.(string), ":")
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil || n == 0 || key == "" {
			return nil, errors.New("apps: must be a list of sdkappid:key") // not quoted: it may hold a key
		}
		keys[int(n)] = append(keys[int(n)], key)
	}
	for _, record := range records {
		if id, ok := record["sdkappid"].(int); ok && keys[id] != nil {
			record["keys"] = keys[id]
			delete(keys, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		records = append(records, map[string]any{"sdkappid": id, "keys": keys[id]})
	}
	return records, nil
}

// apps decodes the records, each on top of the default settings.
func apps(tree *koanf.Koanf, records []map[string]any) ([]App, error) {
	var found []App
	for i, record := range records {
		own := koanf.New(".")
		base, _ := tree.Raw()["defaults"].(map[string]any)
		for _, source := range []map[string]any{base, record} {
			if err := own.Load(confmap.Provider(source, ""), nil); err != nil {
				return nil, err
			}
		}
		app := App{Settings: defaultSettings()}
		if err := decode(own.Raw(), &app); err != nil {
			return nil, fmt.Errorf("apps[%d]: %w", i, err)
		}
		dropEmpty(app.CloudConfig)
		found = append(found, app)
	}
	slices.SortFunc(found, func(a, b App) int { return cmp.Compare(a.SDKAppID, b.SDKAppID) })
	return found, nil
}

func dropEmpty(m map[string]string) {
	maps.DeleteFunc(m, func(_, value string) bool { return value == "" })
}

// decode fills target from the tree. It refuses keys the target does not have and values of another type.
func decode(tree map[string]any, target any) error {
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:      target,
		TagName:     "koanf",
		ErrorUnused: true,
		MatchName:   func(key, field string) bool { return key == field },
		DecodeHook:  strict,
	})
	if err != nil {
		return err
	}
	return told(d.Decode(tree))
}

// strict reads durations and addresses, and refuses numbers that the decoder would bend until they fit.
func strict(from, to reflect.Value) (any, error) {
	value := from.Interface()
	if text, ok := value.(string); ok && to.Type() == reflect.TypeFor[netip.Prefix]() {
		if single, err := netip.ParseAddr(text); err == nil {
			return netip.PrefixFrom(single, single.BitLen()), nil
		}
		return netip.ParsePrefix(text)
	}
	if to.Type() == reflect.TypeFor[time.Duration]() {
		if text, ok := value.(string); ok {
			return Duration(text)
		}
		return nil, fmt.Errorf("%v is not %s", value, kind(to.Type()))
	}
	if from.CanFloat() && (to.CanInt() || to.CanUint()) {
		return nil, fmt.Errorf("%v is not a whole number", value)
	}
	if from.CanInt() && to.CanUint() && (from.Int() < 0 || to.OverflowUint(uint64(from.Int()))) {
		return nil, fmt.Errorf("%v is out of range", value)
	}
	return value, nil
}
