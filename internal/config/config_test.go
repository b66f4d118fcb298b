package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/v2"

	"imserver/internal/config"
)

const sample = "../../deploy/imserver.yaml"

// MustWrite writes a configuration file and returns its path.
func MustWrite(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "imserver.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// MustParse loads with a data folder of the test's own.
func MustParse(t *testing.T, args []string, environ ...string) *config.Config {
	t.Helper()
	c, err := config.Parse(append([]string{"--data-dir", t.TempDir()}, args...), environ)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MakeOwnApp(); err != nil {
		t.Fatal(err)
	}
	return c
}

// Ensure the sample file shows the defaults, all of them, and nothing else.
func TestSampleFile(t *testing.T) {
	got := MustParse(t, []string{"--config", sample})
	want := MustParse(t, nil)
	got.DataDir, want.DataDir = "", ""
	got.Apps, want.Apps = nil, nil
	if diff := cmp.Diff(want, got, emptyIsNil()); diff != "" {
		t.Error(diff)
	}

	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	tree := koanf.New(".")
	if err := tree.Load(rawbytes{text}, yaml.Parser()); err != nil {
		t.Fatal(err)
	}
	for _, path := range append(config.PathsForTest(), "defaults.words", "apps") {
		if !tree.Exists(path) {
			t.Errorf("%s is missing", path)
		}
	}
}

// rawbytes gives koanf what has been read already.
type rawbytes struct{ text []byte }

func (r rawbytes) ReadBytes() ([]byte, error)    { return r.text, nil }
func (r rawbytes) Read() (map[string]any, error) { return nil, errors.ErrUnsupported }

// emptyIsNil compares lists by what they hold: an empty list in the file and none in the code mean the same.
func emptyIsNil() cmp.Option {
	return cmp.Options{
		cmp.Transformer("strings", func(s []string) string { return strings.Join(s, ",") }),
		cmp.Transformer("words", func(s []config.Word) string { return fmt.Sprint(s) }),
		cmp.Transformer("prefixes", func(s []netip.Prefix) string { return fmt.Sprint(s) }),
	}
}

// Ensure the contract others rely on holds: names, defaults and meaning.
func TestContract(t *testing.T) {
	c := MustParse(t, nil)
	s := c.Defaults
	if c.Listen != "127.0.0.1:8080" || c.DatabaseURL != "" || c.RedisURL != "" {
		t.Errorf("listen %q, database %q, redis %q", c.Listen, c.DatabaseURL, c.RedisURL)
	}
	if s.LoginPolicy != config.LoginDual || s.MaxInstances.Web != 1 || s.Retention != 168*time.Hour || s.GroupRate != 40 {
		t.Errorf("defaults %+v", s)
	}
	if len(c.Apps) != 1 || c.Apps[0].SDKAppID != 1400000001 || !c.Apps[0].IsAdmin("administrator") {
		t.Errorf("apps %+v", c.Apps)
	}
	if config.Default().DataDir != "./data" {
		t.Errorf("data_dir %q", config.Default().DataDir)
	}

	dir := t.TempDir()
	c, err := config.Parse(nil, []string{
		"IMSERVER_LISTEN=0.0.0.0:9090", "IMSERVER_DATA_DIR=" + dir,
		"IMSERVER_DATABASE_URL=postgres://u@h/d", "IMSERVER_REDIS_URL=redis://h:1/0",
		"IMSERVER_APPS=7:first, 8:other,7:second", "IMSERVER_ADMINS=root, boss", "IMSERVER_LOGIN_POLICY=multi",
		"IMSERVER_MAX_WEB_INSTANCES=3", "IMSERVER_RETENTION=30d12h", "IMSERVER_GROUP_RATE=0",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.Parse(nil, []string{"IMSERVER_DATABASE_URL=postgres:///restored", "IMSERVER_DATA_DIR=" + dir}); err != nil {
		t.Errorf("a database over the local socket: %v", err)
	}
	if c.Listen != "0.0.0.0:9090" || c.DataDir != dir || c.DatabaseURL != "postgres://u@h/d" || c.RedisURL != "redis://h:1/0" {
		t.Errorf("got %+v", c)
	}
	app := c.App(7)
	if app == nil || c.App(8) == nil || c.App(9) != nil || len(c.Apps) != 2 {
		t.Fatalf("apps %+v", c.Apps)
	}
	if diff := cmp.Diff([]string{"first", "second"}, app.Keys); diff != "" {
		t.Error(diff)
	}
	if !app.IsAdmin("root") || !app.IsAdmin("boss") || app.IsAdmin("administrator") {
		t.Errorf("admins %q", app.Admins)
	}
	if app.LoginPolicy != config.LoginMulti || app.MaxInstances.Web != 3 || app.Retention != 732*time.Hour || app.GroupRate != 0 {
		t.Errorf("settings %+v", app.Settings)
	}
}

// Ensure later sources win: defaults, file, variables, flags.
func TestPrecedence(t *testing.T) {
	file := MustWrite(t, "defaults: {recall_limit: 1m, group_rate: 1, message_bytes: 2000}\nlog: {level: debug}\n")
	c := MustParse(t, []string{"--config", file, "--group-rate", "3"},
		"IMSERVER_GROUP_RATE=2", "IMSERVER_MESSAGE_BYTES=4000", "IMSERVER_LOG_FORMAT=", "IMSERVER_TLS_CERT_FILE=")
	s := c.Apps[0].Settings
	if s.GroupRate != 3 || s.MessageBytes != 4000 || s.RecallLimit != time.Minute || s.ConversationList != 1000 {
		t.Errorf("got %+v", s)
	}
	if c.Log.Level != "debug" || c.Log.Format != "text" {
		t.Errorf("log %+v", c.Log)
	}
	c = MustParse(t, []string{"--config", file}, "IMSERVER_CONFIG=/nowhere")
	if c.Log.Level != "debug" {
		t.Error("the flag must win over IMSERVER_CONFIG")
	}
	c = MustParse(t, nil, "IMSERVER_CONFIG="+file)
	if c.Log.Level != "debug" {
		t.Error("IMSERVER_CONFIG was not read")
	}
}

// Ensure apps take over the default settings piece by piece and share nothing.
func TestAppsInherit(t *testing.T) {
	c := MustParse(t, []string{"--config", MustWrite(t, `
defaults:
  retention: 1d
  admins: [one, two, three]
  cloud_config: {extra: "1", evt_rpt_threshold: ""}
  words: [{text: darn, replace: "***"}, {text: "b[a4]d", regexp: true}]
apps:
  - sdkappid: 20
    keys: [k20]
  - sdkappid: 10
    keys: [k10a, k10b]
    retention: 12h
    admins: [boss]
    cloud_config: {extra: "2"}
    max_instances: {web: 5}
    groups: {work: {members: 10}, meeting: {member_tips: true}}
    words: []
`)}, "IMSERVER_APPS=20:from-variable,30:k30")
	if len(c.Apps) != 3 || c.Apps[0].SDKAppID != 10 || c.Apps[1].SDKAppID != 20 || c.Apps[2].SDKAppID != 30 {
		t.Fatalf("apps %+v", c.Apps)
	}
	ten, twenty := c.App(10), c.App(20)
	want := c.Defaults
	want.Words = nil
	want.Retention, want.Admins, want.MaxInstances.Web = 12*time.Hour, []string{"boss"}, 5
	want.CloudConfig = map[string]string{"extra": "2", "evt_rpt_waiting": "5000"}
	want.Groups.Work.Members, want.Groups.Meeting.MemberTips = 10, true
	if diff := cmp.Diff(want, ten.Settings, emptyIsNil()); diff != "" {
		t.Errorf("app 10: %s", diff)
	}
	if diff := cmp.Diff(c.Defaults, twenty.Settings, emptyIsNil()); diff != "" {
		t.Errorf("app 20: %s", diff)
	}
	if diff := cmp.Diff([]string{"from-variable"}, twenty.Keys); diff != "" {
		t.Errorf("keys: %s", diff)
	}
	ten.CloudConfig["x"] = "y"
	ten.Admins[0] = "changed"
	if twenty.CloudConfig["x"] != "" || c.Defaults.CloudConfig["x"] != "" || c.Defaults.Admins[0] != "one" {
		t.Error("apps share memory")
	}
}

// Ensure a wrong value is refused, with the name of the setting, and secrets are not repeated.
func TestRefuses(t *testing.T) {
	for _, test := range []struct {
		file, env, want string
	}{
		{file: "listten: x", want: "listten"},
		{file: "log: {colour: red}", want: "colour"},
		{file: "Listen: x:1", want: "Listen"},
		{file: "defaults: {groups: {work: {size: 1}}}", want: "size"},
		{file: "apps: [{sdkappid: 1, keys: [k], retenton: 1h}]", want: "retenton"},
		{file: "apps: [{sdkappid: 1, keys: [k], retention: 1ms}]", want: "app 1: retention"},
		{file: "apps: [{sdkappid: 0, keys: [k]}]", want: "sdkappid"},
		{file: "apps: [{sdkappid: 4294967297, keys: [k]}]", want: "sdkappid"},
		{file: "apps: [{sdkappid: -1, keys: [k]}]", want: "sdkappid"},
		{file: "apps: [{sdkappid: 1}]", want: "app 1: keys"},
		{file: "apps: [{sdkappid: 1, keys: [k, '']}]", want: "app 1: keys"},
		{file: "apps: [{sdkappid: 1, keys: [k]}, {sdkappid: 1, keys: [k]}]", want: "app 1: sdkappid"},
		{file: "apps: {}", want: "apps"},
		{file: "apps: [1]", want: "apps[0]"},
		{file: "a: b: c", want: "imserver.yaml"},
		{file: "listen: 1\nlisten: 2", want: "imserver.yaml"},
		{file: "defaults: {retention: 7}", want: "retention"},
		{file: "defaults: {group_rate: 1.5}", want: "group_rate"},
		{file: "defaults: {group_rate: '40'}", want: "group_rate"},
		{file: "defaults: {user_status: 1}", want: "user_status"},
		{file: "defaults: {admins: root}", want: "admins"},
		{file: "defaults: {admins: []}", want: "admins"},
		{file: "defaults: {cloud_config: {a: 1}}", want: "cloud_config"},
		{file: "defaults: {words: [{text: '[', regexp: true}]}", want: "words[0].text"},
		{file: "defaults: {live_rooms: {history: 51}}", want: "live_rooms.history"},
		{file: "defaults: {custom_fields: {user: [toolongname]}}", want: "custom_fields.user"},
		{file: "metrics_allow: [10.0.0.0/33]", want: "metrics_allow"},
		{file: "limits: {ping_interval: 60s}", want: "limits.ping_interval"},
		{file: "allowed_origins: [example.org]", want: "allowed_origins"},
		{env: "IMSERVER_LISTEN=8080", want: "listen"},
		{env: "IMSERVER_LOGIN_POLICY=double", want: "login_policy"},
		{env: "IMSERVER_MAX_WEB_INSTANCES=11", want: "max_instances.web"},
		{env: "IMSERVER_GROUP_RATE=many", want: "IMSERVER_GROUP_RATE"},
		{env: "IMSERVER_RETENTION=7 days", want: "retention"},
		{env: "IMSERVER_RETENTION=361d", want: "retention"},
		{env: "IMSERVER_APPS=hush", want: "apps"},
		{env: "IMSERVER_APPS=hush:1", want: "apps"},
		{env: "IMSERVER_APPS=5000000000:hush", want: "apps"},
		{env: "IMSERVER_APPS=1:", want: "apps"},
		{env: "IMSERVER_DATABASE_URL=mysql://root:hush@h/d", want: "database_url"},
		{env: "IMSERVER_DATABASE_URL=mysql:///hush", want: "database_url"},
		{env: "IMSERVER_REDIS_URL=redis://h:1", want: "redis_url"},
		{env: "IMSERVER_TLS_CERT_FILE=/nowhere", want: "tls"},
		{env: "IMSERVER_CONFIG=/nowhere", want: "/nowhere"},
		{env: "IMSERVER_CLOUD_CONFIG=novalue", want: "IMSERVER_CLOUD_CONFIG"},
	} {
		t.Run(test.file+test.env, func(t *testing.T) {
			args := []string{"--data-dir", filepath.Join(t.TempDir(), "data")}
			if test.file != "" {
				args = append(args, "--config", MustWrite(t, test.file))
			}
			_, err := config.Parse(args, []string{test.env})
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q does not name %q", err, test.want)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("%q repeats a secret", err)
			}
			if _, err := os.Stat(args[1]); err == nil {
				t.Error("a refused configuration has written files")
			}
		})
	}
	if _, err := config.Parse([]string{"--group-rat", "1"}, nil); err == nil {
		t.Error("an unknown flag was accepted")
	}
}

// Ensure what is wrong is said in the words of who wrote it: the setting first, nothing of types and decoders.
func TestErrorTexts(t *testing.T) {
	for _, test := range []struct{ file, env, want string }{
		{file: "listten: x", want: "listten: there is no such setting"},
		{file: "log: {colour: red, size: 1}", want: "log.colour: there is no such setting\nlog.size: there is no such setting"},
		{file: "defaults: {group_rate: '40'}", want: "defaults.group_rate: must be a whole number"},
		{file: "defaults: {group_rate: 1.5, user_status: 1}", want: "defaults.group_rate: 1.5 is not a whole number\ndefaults.user_status: must be true or false"},
		{file: "defaults: {admins: root}", want: "defaults.admins: must be a list"},
		{file: "log: debug", want: "log: must be a group of settings"},
		{file: "defaults: {retention: 7}", want: "defaults.retention: 7 is not a duration such as 90s, 12h or 7d"},
		{file: "apps: [{sdkappid: 1, keys: [k], retenton: 1h}]", want: "apps[0]: retenton: there is no such setting"},
		{env: "IMSERVER_RETENTION=7", want: `defaults.retention: "7" is not a duration such as 90s, 12h or 7d`},
		{env: "IMSERVER_RETENTION=400d", want: "defaults.retention: must be 1s to 360d, is 400d"},
		{env: "IMSERVER_RECALL_LIMIT=-90m", want: "defaults.recall_limit: must be 0s to 360d, is -1h30m"},
		{env: "IMSERVER_GROUP_RATE=40.5", want: `IMSERVER_GROUP_RATE: must be a whole number, is "40.5"`},
		{env: "IMSERVER_COMMUNITY=perhaps", want: `IMSERVER_COMMUNITY: must be true or false, is "perhaps"`},
	} {
		args := []string{"--data-dir", t.TempDir()}
		if test.file != "" {
			args = append(args, "--config", MustWrite(t, test.file))
		}
		_, err := config.Parse(args, []string{test.env})
		if got := fmt.Sprint(err); got != test.want {
			t.Errorf("%s%s:\n got %s\nwant %s", test.file, test.env, got, test.want)
		}
	}
}

// Ensure all that is wrong is told at once.
func TestAllErrors(t *testing.T) {
	_, err := config.Parse([]string{"--log-level=loud", "--log-format=xml", "--retention=0s"}, nil)
	for _, name := range []string{"log.level", "log.format", "retention"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	c := MustParse(t, nil, "IMSERVER_LOGINPOLICY=multi", "IMSERVER_TEST_POSTGRES_URL=x", "PATH=/", "IMSERVER_APPS=1:k")
	if diff := cmp.Diff([]string{"IMSERVER_LOGINPOLICY"}, c.Unknown); diff != "" {
		t.Error(diff)
	}
}

// Ensure nobody believes that friends are checked or a backend is asked.
func TestUnbuilt(t *testing.T) {
	if got := MustParse(t, nil).Unbuilt(); len(got) > 0 {
		t.Errorf("the defaults have %v", got)
	}
	c := MustParse(t, []string{"--friend-check", "--blocked-sees-success=false", "--webhook-url", "https://example.org/im"})
	if diff := cmp.Diff([]string{"webhook.url", "friend_check", "blocked_sees_success"}, c.Unbuilt()); diff != "" {
		t.Error(diff)
	}
}

// Ensure lists, maps, switches and single addresses can be given without a file.
func TestValuesOutsideTheFile(t *testing.T) {
	c := MustParse(t, []string{"--friend-check", "--community=false", "--rest-allow", "10.0.0.0/8, ::1,127.0.0.1"},
		"IMSERVER_CLOUD_CONFIG=a=1,b=2=3", "IMSERVER_LIVE_ROOMS_POLL_HOLD=5s", "IMSERVER_GROUPS_WORK_MEMBERS=9")
	s := c.Defaults
	if !s.FriendCheck || s.Community || s.LiveRooms.PollHold != 5*time.Second || s.Groups.Work.Members != 9 {
		t.Errorf("got %+v", s)
	}
	if got := fmt.Sprint(s.RESTAllow); got != "[10.0.0.0/8 ::1/128 127.0.0.1/32]" {
		t.Errorf("rest_allow %s", got)
	}
	want := map[string]string{"a": "1", "b": "2=3", "evt_rpt_waiting": "5000", "evt_rpt_threshold": "200"}
	if diff := cmp.Diff(want, s.CloudConfig); diff != "" {
		t.Error(diff)
	}
}

// Ensure the generated key is made once, for the owner's eyes only, also when several processes start at once.
func TestGeneratedKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	keys := make([]string, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			c, err := config.Parse([]string{"--data-dir", dir}, nil)
			if err == nil {
				err = c.MakeOwnApp()
			}
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = c.Apps[0].Keys[0]
		})
	}
	wg.Wait()
	for _, key := range keys {
		if key != keys[0] || len(key) != 64 {
			t.Fatalf("keys differ or are short: %q", keys)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v %v", entries, err)
	}
	info, err := entries[0].Info()
	if err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, entries[0].Name()), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.DataDir = dir
	if err := c.MakeOwnApp(); err == nil {
		t.Error("an empty key was accepted")
	}
}

// Ensure that who needs the key of a server that runs is told when it is looked for in the wrong place, and makes none.
func TestFindOwnApp(t *testing.T) {
	c := config.Default()
	c.DataDir = filepath.Join(t.TempDir(), "data")
	if err := c.FindOwnApp(); err == nil || !strings.Contains(err.Error(), "data_dir") || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("%v names neither the setting nor the way out", err)
	}
	if _, err := os.Stat(c.DataDir); err == nil {
		t.Error("looking for a key has written files")
	}
	if err := c.MakeOwnApp(); err != nil {
		t.Fatal(err)
	}
	same := config.Default()
	same.DataDir = c.DataDir
	if err := same.FindOwnApp(); err != nil || same.Apps[0].Keys[0] != c.Apps[0].Keys[0] {
		t.Errorf("found %+v, %v", same.Apps, err)
	}
}
