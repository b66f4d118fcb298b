package main

import (
	"crypto/tls"
	"errors"
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
	"imserver/internal/usersig"
)

// usersigCommand prints a ticket.
func usersigCommand(out io.Writer) *cobra.Command {
	var user string
	var app uint32
	expire := lifetime(180 * 24 * time.Hour)
	cmd := &cobra.Command{Use: "usersig", Short: "Print a login ticket (UserSig)", Args: cobra.NoArgs,
		Long:    "Prints a login ticket (UserSig), signed with the app's key. Give it the --data-dir, --config or --apps of the server.",
		Example: "  imserver usersig --user alice --expire 12h",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			if err := findOrMakeApp(c, cmd.ErrOrStderr()); err != nil {
				return err
			}
			if app == 0 {
				app = c.Apps[0].SDKAppID
			}
			a := c.App(app)
			if a == nil {
				return fmt.Errorf("no app %d in the configuration", app)
			}
			sig, err := usersig.Sign(a.Keys[0], usersig.Ticket{UserID: user, SDKAppID: app, IssuedAt: time.Now().Unix(), Lifetime: int64(time.Duration(expire) / time.Second)})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(out, sig)
			return err
		}}
	cmd.Flags().StringVar(&user, "user", "", "user ID the ticket is for")
	cmd.Flags().Uint32Var(&app, "app", 0, "SDKAppID (default: the first app)")
	cmd.Flags().Var(&expire, "expire", "how long the ticket is good, such as 12h or 30d")
	_ = cmd.MarkFlagRequired("user") // the flag exists
	return cmd
}

// findOrMakeApp completes the configuration with the key of the server whose data folder that is. If there is none yet,
// it makes the key that the server will find there, and says so: the folder may be the wrong one.
func findOrMakeApp(c *config.Config, notes io.Writer) error {
	err := c.FindOwnApp()
	if !errors.Is(err, config.ErrNoKey) {
		return err
	}
	if err := c.MakeOwnApp(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(notes, "No server has made a key in %s yet: made it. The ticket is good for a server with that --data-dir.\n", c.DataDir)
	return err
}

// lifetime is a flag that takes days, as the settings do.
type lifetime time.Duration

func (l *lifetime) String() string { return config.Span(time.Duration(*l)) }
func (l *lifetime) Type() string   { return "duration" }
func (l *lifetime) Set(text string) error {
	d, err := config.Duration(text)
	if err == nil && d < time.Second {
		err = errors.New("must be at least 1s")
	}
	*l = lifetime(d)
	return err
}

// migrateCommand brings the schema up to date and ends.
func migrateCommand(out io.Writer) *cobra.Command {
	return &cobra.Command{Use: "migrate", Short: "Bring the database schema up to date", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			db, err := openStore(cmd.Context(), c, logger(c.Log), nil)
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
			res, err := healthClient.Get(healthURL(c))
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

// healthClient takes any certificate: it is for a public name, and the server is this machine's own.
var healthClient = http.Client{Timeout: 3 * time.Second,
	Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// healthURL is where the server of that configuration answers /healthz.
func healthURL(c *config.Config) string {
	host, port, _ := net.SplitHostPort(c.Listen) // validated by config
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	scheme := "http"
	if c.TLS.CertFile != "" {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/healthz"
}
