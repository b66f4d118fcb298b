package ratelimit

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Ensure that the metric tells what was dropped, by priority.
func TestCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	l := Counted(NewLocal(newFakeClock()), reg)
	passed := 0
	for range 5 {
		l.Admit(t.Context(), 1, Low, 3, func(admitted bool) {
			if admitted {
				passed++
			}
		})
	}
	want := `# HELP imserver_group_messages_dropped_total Group messages over the limit of their group, by priority.
# TYPE imserver_group_messages_dropped_total counter
imserver_group_messages_dropped_total{priority="high"} 0
imserver_group_messages_dropped_total{priority="low"} 2
imserver_group_messages_dropped_total{priority="lowest"} 0
imserver_group_messages_dropped_total{priority="normal"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil || passed != 3 {
		t.Errorf("%d passed; %v", passed, err)
	}
}
