package main

import (
	"context"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/bus/bustest"
	"imserver/internal/config"
)

var (
	descName   = regexp.MustCompile(`fqName: "(\w+)"`)
	descLabels = regexp.MustCompile(`variableLabels: \{([^}]*)\}`)
	metricName = regexp.MustCompile(`\b(?:imserver|process|go)_[a-z0-9_]+`)
	grouped    = regexp.MustCompile(`by \(([^)]*)\) \((?:rate|increase)\((imserver_[a-z0-9_]+)`)
	suffix     = regexp.MustCompile(`_(?:bucket|count|sum)$`)
)

// metricsOf returns what a node with Redis exposes, each with its labels.
func metricsOf(t *testing.T) map[string][]string {
	t.Helper()
	c := config.Default()
	c.DataDir, c.RedisURL = t.TempDir(), bustest.URL(t)
	c.Apps = []config.App{{SDKAppID: 1400000001, Keys: []string{"k"}, Settings: c.Defaults}}
	n, err := newNode(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer n.close(context.Background())
	descs := make(chan *prometheus.Desc)
	go func() { n.metrics.Describe(descs); close(descs) }()
	found := map[string][]string{}
	for d := range descs {
		text := d.String()
		labels := strings.FieldsFunc(descLabels.FindStringSubmatch(text)[1], func(r rune) bool { return r == ',' || r == ' ' })
		found[descName.FindStringSubmatch(text)[1]] = labels
	}
	return found
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Ensure that alerts, dashboard and runbook speak of metrics and labels that
// there are, and that the runbook explains every one.
func TestMetricsAreReal(t *testing.T) {
	found := metricsOf(t)
	for _, path := range []string{"../../deploy/alerts.yml", "../../deploy/grafana/imserver.json", "../../docs/operations.md"} {
		text := mustRead(t, path)
		for _, name := range metricName.FindAllString(text, -1) {
			_, whole := found[name]
			if _, cut := found[suffix.ReplaceAllString(name, "")]; !whole && !cut {
				t.Errorf("%s: there is no metric %s", path, name)
			}
		}
		for _, m := range grouped.FindAllStringSubmatch(text, -1) {
			have := append(found[suffix.ReplaceAllString(m[2], "")], "le", "instance", "job")
			for _, label := range strings.Split(m[1], ",") {
				if label = strings.TrimSpace(label); !strings.Contains(" "+strings.Join(have, " ")+" ", " "+label+" ") {
					t.Errorf("%s: %s has no label %s", path, m[2], label)
				}
			}
		}
	}
	runbook := mustRead(t, "../../docs/operations.md")
	for name := range found {
		if strings.HasPrefix(name, "imserver_") && !strings.Contains(runbook, "`"+name+"`") {
			t.Errorf("docs/operations.md does not explain %s", name)
		}
	}
}

// Ensure that the runbook says what to do about every alert.
func TestAlertsAreExplained(t *testing.T) {
	runbook := mustRead(t, "../../docs/operations.md")
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(mustRead(t, "../../deploy/alerts.yml"), -1) {
		if !strings.Contains(runbook, "`"+m[1]+"`") {
			t.Errorf("docs/operations.md does not explain the alert %s", m[1])
		}
	}
}
