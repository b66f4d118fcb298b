// Command yardstick measures the bare limits that the server's figures are
// compared with: what Postgres and SQLite take of the same rows, what a bare
// gorilla/websocket server delivers, and what one of its connections weighs.
// Every subcommand prints one JSON object.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	cmd := &cobra.Command{Use: "yardstick", Short: "Measure bare limits", SilenceUsage: true, SilenceErrors: true}
	duration := cmd.PersistentFlags().Duration("duration", 5*time.Second, "time to measure")
	cmd.AddCommand(postgresCommand(duration), sqliteCommand(duration), broadcastCommand(duration), idleCommand(duration), serveCommand())
	if err := cmd.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "yardstick:", err)
		os.Exit(1)
	}
}

// figures is what a subcommand found, by name.
type figures map[string]float64

func (f figures) print() error { return json.NewEncoder(os.Stdout).Encode(f) }

// wanted reports whether to measure what is called name: all of it when nothing
// is named.
func wanted(only []string, name string) bool {
	return len(only) == 0 || slices.Contains(only, name)
}

// rowText is a stored message body of the size that imbench sends.
const rowText = `[{"MsgType":"TIMTextElem","MsgContent":{"Text":"@@00000000000000000000000000000000 the quick brown fox jumps over the lazy dog and comes back to"}}]`
