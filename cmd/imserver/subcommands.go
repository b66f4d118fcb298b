package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"imserver/internal/config"
	"imserver/internal/store"
	"imserver/internal/usersig"
)

// usersigCommand prints a ticket.
func usersigCommand(out io.Writer) *cobra.Command {
	var user string
	var app uint32
	var expire time.Duration
	cmd := &cobra.Command{Use: "usersig", Short: "Print a login ticket (UserSig)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			if app == 0 {
				app = c.Apps[0].SDKAppID
			}
			a := c.App(app)
			if a == nil {
				return fmt.Errorf("no app %d in the configuration", app)
			}
			sig, err := usersig.Sign(a.Keys[0], usersig.Ticket{UserID: user, SDKAppID: app, IssuedAt: time.Now().Unix(), Lifetime: int64(expire / time.Second)})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(out, sig)
			return err
		}}
	cmd.Flags().StringVar(&user, "user", "", "user ID the ticket is for")
	cmd.Flags().Uint32Var(&app, "app", 0, "SDKAppID (default: the first app)")
	cmd.Flags().DurationVar(&expire, "expire", 180*24*time.Hour, "how long the ticket is good")
	_ = cmd.MarkFlagRequired("user") // the flag exists
	return cmd
}

// migrateCommand brings the schema up to date and ends.
func migrateCommand(out io.Writer) *cobra.Command {
	return &cobra.Command{Use: "migrate", Short: "Bring the database schema up to date", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			db, err := store.Open(cmd.Context(), store.Options{URL: c.DatabaseURL, Dir: c.DataDir})
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			v, err := db.Migrate(cmd.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, "%s schema is at version %d\n", db.Dialect, v)
			return err
		}}
}

// commandsCommand prints the command table.
func commandsCommand(out io.Writer) *cobra.Command {
	return &cobra.Command{Use: "commands", Short: "List the commands that the server answers", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := config.Default()
			dir, err := os.MkdirTemp("", "imserver")
			if err != nil {
				return err
			}
			defer func() { _ = os.RemoveAll(dir) }()
			c.DataDir = dir
			c.Apps = []config.App{{SDKAppID: 1, Keys: []string{"-"}, Settings: c.Defaults}}
			n, err := newNode(cmd.Context(), c, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			defer n.close(cmd.Context())
			w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
			for _, info := range n.table.List() {
				_, _ = fmt.Fprintf(w, "%s\t%s\n", info.Name, info.Access)
			}
			return w.Flush()
		}}
}

// healthcheckCommand asks a running server on this machine how it is; it is
// what the container's HEALTHCHECK runs.
func healthcheckCommand() *cobra.Command {
	return &cobra.Command{Use: "healthcheck", Short: "Exit 0 if the server on this machine is up", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			_, port, err := net.SplitHostPort(c.Listen)
			if err != nil {
				return err
			}
			client := http.Client{Timeout: 3 * time.Second}
			res, err := client.Get("http://" + net.JoinHostPort("127.0.0.1", port) + "/healthz")
			if err != nil {
				return err
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				return errQuiet
			}
			return nil
		}}
}
