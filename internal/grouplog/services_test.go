package grouplog_test

import (
	"strings"
	"testing"

	"imserver/internal/command"
	"imserver/internal/store/storetest"
)

// Ensure that every command of groups is known under the name of both services,
// for the same callers: in some the name alone tells communities from the
// others (protocol 03 §1.1). Only topics are of communities alone.
func TestBothServices(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t), nil)
	const plain, million = "group_open_http_svc.", "million_group_open_http_svc."
	found := map[string]command.Access{}
	for _, info := range w.Table.List() {
		found[info.Name] = info.Access
	}
	count := 0
	for name, access := range found {
		command, ok := strings.CutPrefix(name, plain)
		twin := million + command
		if !ok {
			if command, ok = strings.CutPrefix(name, million); !ok || strings.HasSuffix(command, "_topic") {
				continue
			}
			twin = plain + command
		}
		if count++; found[twin] != access {
			t.Errorf("%s is for %v, %s for %v", name, access, twin, found[twin])
		}
	}
	if count < 60 {
		t.Errorf("%d commands", count)
	}
}
