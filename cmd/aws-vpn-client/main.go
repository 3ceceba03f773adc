// Command aws-vpn-client stands in for the command line of AWS's VPN client 6 in scripts: the same subcommands, flags,
// JSON and exit codes, over Adit's service. People use adit, which says more. What is printed is AWS's: one JSON value on
// stdout, an error too; remarks and hints go to stderr. Source of the shapes: AWS Client VPN user guide, "CLI command
// syntax".
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/saml/signin"
)

// version is set when a release is linked (-ldflags "-X main.version=1.2.3").
var version = "dev"

func main() { os.Exit(run()) }

// run is main with its exit code as a value.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends what the first one cannot
	socket := os.Getenv("ADIT_SOCKET")
	if socket == "" {
		socket = ipc.DefaultPath
	}
	return execute(ctx, os.Args[1:], &app{socket: socket, places: administrators(), out: os.Stdout, err: os.Stderr, open: signin.NewBrowser(), zone: time.Local, patience: connectTimeout})
}

// app is what the subcommands share.
type app struct {
	socket   string
	places   places
	out, err io.Writer
	open     func(url string) error // shows an address in the browser
	zone     *time.Location         // of the times that are printed
	patience time.Duration          // for what is connecting already, without sign-ins
}

// places is what the administrator of the machine writes.
type places struct {
	profiles string                            // folder of managed profiles; empty: unknown
	above    string                            // the folder above it that the service alone may make; empty: there is none
	policy   string                            // where the policy is, as the service names it
	set      func(key string, value any) error // sets one key of it, and leaves the others
}

// service returns a client of the service; the caller closes it.
func (a *app) service() *api.Client { return api.NewClient(a.socket) }

// execute runs one command line and returns its exit code: 0 done, 1 failed, 2 wrong usage.
func execute(ctx context.Context, args []string, a *app) int {
	root := newRoot(a)
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	return a.failure(err)
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "aws-vpn-client <COMMAND>",
		Short: "Adit's stand-in for the command line of the AWS VPN client",
		Long: `Adit's stand-in for the command line of the AWS VPN client 6: the same commands, JSON and exit codes, over Adit's
service (aditd), for scripts that were written for that client. adit does more, and says more.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if asked, _ := cmd.Flags().GetBool("version"); asked {
				_, err := fmt.Fprintf(a.out, "aws-vpn-client %s (Adit)\n", version)
				return err
			}
			if len(args) > 0 {
				return fmt.Errorf("unrecognized subcommand '%s'", args[0])
			}
			return fmt.Errorf("a subcommand is needed")
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.Flags().BoolP("version", "V", false, "print version")
	root.AddCommand(
		newConnect(a), newDisconnect(a), newDeleteProfile(a), newImportProfile(a), newListProfiles(a), newGetConfig(a),
		newPutPreference(a), newListPreferences(a), newGetConnectionStatus(a), newListConnections(a), newSendDiagnosticLogs(a),
	)
	return root
}

// command makes a subcommand without arguments. What do returns is a failure, anything before it wrong usage.
func command(name, short string, do func(ctx context.Context) error) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unexpected argument '%s' found", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := do(cmd.Context()); err != nil {
				return &failed{err}
			}
			return nil
		},
	}
}

// required gives a command a flag that must be there.
func required(cmd *cobra.Command, name, meaning string) *string {
	value := cmd.Flags().String(name, "", meaning)
	if err := cmd.MarkFlagRequired(name); err != nil {
		panic(err) // the flag is defined in the line before
	}
	return value
}
