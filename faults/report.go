package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// result is a row of the table.
type result struct {
	name         string
	sent, acked  int
	lost, twice  int
	interruption time.Duration // longest without an acknowledgement, as a client saw it
	slowest      time.Duration // longest that a message waited for its answer, good or bad
	problems     []string
	skipped      string
}

func (r result) passed() bool {
	return r.lost == 0 && r.twice == 0 && len(r.problems) == 0 && (r.acked > 0 || r.skipped != "")
}

// report prints the table, renews it in the page if there is one, and says
// whether everything held.
func report(results []result, o options) (bool, error) {
	passed := 0
	for _, r := range results {
		if r.passed() {
			passed++
		}
		for _, p := range r.problems {
			log.Printf("%s: %s", r.name, p)
		}
	}
	var table bytes.Buffer
	resultTable(&table, results, fmt.Sprintf("%d users, a message each %s", o.users, o.every))
	_, _ = os.Stdout.Write(table.Bytes())
	fmt.Printf("\n%d passed, %d failed\n", passed, len(results)-passed)
	if o.docs != "" {
		if err := renew(o.docs, "faults", table.String()); err != nil {
			return false, err
		}
	}
	return passed == len(results) && passed > 0, nil
}

func resultTable(out io.Writer, results []result, load string) {
	rows := [][]string{{"fault", "load", "acknowledged", "lost", "duplicated", "longest interruption", "slowest answer", ""}}
	for _, r := range results {
		note := r.skipped
		if len(r.problems) > 0 {
			note = "**" + r.problems[0] + "**"
		}
		rows = append(rows, []string{r.name, load, fmt.Sprint(r.acked), fmt.Sprint(r.lost), fmt.Sprint(r.twice),
			r.interruption.Round(10 * time.Millisecond).String(), r.slowest.Round(10 * time.Millisecond).String(), note})
	}
	writeTable(out, rows)
}

// writeTable writes a Markdown table whose columns stand below each other.
func writeTable(out io.Writer, rows [][]string) {
	w := tabwriter.NewWriter(out, 0, 4, 1, ' ', 0)
	line := func(cells []string) { _, _ = fmt.Fprintf(w, "| %s\t|\n", strings.Join(cells, "\t| ")) }
	line(rows[0])
	rule := make([]string, len(rows[0]))
	for i := range rule {
		rule[i] = "---"
	}
	line(rule)
	for _, r := range rows[1:] {
		line(r)
	}
	_ = w.Flush()
}

// renew puts text between the marks of a page.
func renew(page, name, text string) error {
	doc, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+" writes from here -->\n", "<!-- "+name+" writes to here -->"
	before, rest, ok := strings.Cut(string(doc), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no marks for %s", page, name)
	}
	return os.WriteFile(page, []byte(before+begin+"\n"+text+"\n"+end+after), 0o644)
}
