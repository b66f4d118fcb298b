// Command imserver is an instant-messaging server that unmodified Tencent
// Cloud Chat SDKs can talk to. This package wires the parts; it has no logic.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"imserver/internal/config"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root(os.Stdout).ExecuteContext(ctx); err != nil {
		if !errors.Is(err, errQuiet) {
			fmt.Fprintln(os.Stderr, "imserver:", err)
		}
		os.Exit(1)
	}
}

// errQuiet ends the process with status 1 and no further word.
var errQuiet = errors.New("failed")

func root(out io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "imserver",
		Short: "A self-hosted instant-messaging server for Tencent Cloud Chat SDKs",
		Long: `A self-hosted instant-messaging server for Tencent Cloud Chat SDKs. Without a command it serves.

Every setting of the YAML file is a flag and a variable, too: log.level is --log-level and IMSERVER_LOG_LEVEL.
deploy/imserver.yaml shows all of them; these are the usual ones.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			if err := c.MakeOwnApp(); err != nil {
				return err
			}
			return serve(cmd.Context(), c, out)
		},
	}
	config.AddFlags(cmd.PersistentFlags())
	cmd.AddCommand(usersigCommand(out), migrateCommand(out), commandsCommand(out), healthcheckCommand(),
		&cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {
			_, _ = fmt.Fprintln(out, version)
		}})
	return cmd
}
