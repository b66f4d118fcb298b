package main_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// floors is the architecture (docs/architecture.md): a package imports only
// from floors below its own, but for siblings named in neighbours.
var floors = map[string]int{
	"imserver/migrations":       0,
	"imserver/internal/command": 1, "imserver/internal/wire": 1, "imserver/internal/usersig": 1, "imserver/internal/bus": 1,
	"imserver/internal/fanout": 1, "imserver/internal/store": 1, "imserver/internal/config": 1, "imserver/internal/ratelimit": 1,
	"imserver/internal/socket": 0, "imserver/internal/store/storetest": 1, "imserver/internal/bus/bustest": 1, "imserver/internal/apptest": 4, "imserver/internal/certfile": 1, "imserver/internal/admission": 1, "imserver/internal/clientip": 1,
	"imserver/internal/gateway": 3, "imserver/internal/rest": 3, "imserver/internal/console": 3,
}

// domain is the floor of every other package under internal.
const domain = 2

func floorOf(pkg string) int {
	if f, ok := floors[pkg]; ok {
		return f
	}
	if strings.HasPrefix(pkg, "imserver/internal/") {
		return domain
	}
	return 4
}

// Ensure no import climbs, and doors do not know each other or a domain other
// than the sessions they authenticate by.
func TestFloors(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "imserver/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for dec.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		for _, i := range p.Imports {
			if !strings.HasPrefix(i, "imserver/") {
				continue
			}
			from, to := floorOf(p.ImportPath), floorOf(i)
			switch {
			case to > from:
				t.Errorf("%s (floor %d) imports %s (floor %d)", p.ImportPath, from, i, to)
			case from == 3 && to == 3:
				t.Errorf("door %s knows door %s", p.ImportPath, i)
			case from == 3 && to == domain && i != "imserver/internal/session":
				t.Errorf("door %s knows domain %s", p.ImportPath, i)
			}
		}
	}
}
