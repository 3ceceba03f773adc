// Command adit is Adit's command line. It asks the service (aditd) over its local socket, or
// runs a tunnel in its own process (connect --userspace). It never needs root.
//
// Here are flags, wiring and exit codes, one file per subcommand; everything that
// is printed is in out.go.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/platform/secrets"
)

// run is main (start.go) with its exit code as a value.
func run() int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signals = append(signals, syscall.SIGHUP) // the terminal's window was closed
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	// A second Ctrl-C ends what the first one cannot, such as opening a pipe that nobody writes.
	context.AfterFunc(ctx, stop)
	return execute(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
}

// execute runs one command line until it is done or ctx ends.
func execute(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	out := &watched{to: stdout}
	a := &app{env: env, stdout: out, out: printer{out: out, err: stderr}, keyboard: sync.OnceValue(newKeyboard)}
	root := newRoot(a, env)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = out.failed // what nobody could read was not done
	}
	return a.out.failure(err)
}

// app is what the subcommands share.
type app struct {
	socket string
	env    func(string) string
	stdout *watched // to which out prints
	out    printer
	// keyboard is the terminal's; it returns nil where there is none. A process has one: two would
	// take each other's keys.
	keyboard func() *keyboard
	vault    secrets.Keychain
}

// service returns a client of the service; the caller closes it.
func (a *app) service() *api.Client { return api.NewClient(a.socket) }

func newRoot(a *app, env func(string) string) *cobra.Command {
	root := &cobra.Command{
		Use:   "adit",
		Short: "Open VPN tunnels to OpenVPN and AWS Client VPN servers",
		Long: `adit imports OpenVPN profiles, connects with them, and says which way packets go.

Most commands ask the service, aditd, which owns the tunnels of this machine.
"adit connect FILE --userspace" needs neither the service nor root: the tunnel
ends in the command itself, and programs use it through a proxy.

Exit codes: 0 done, 1 failed, 2 wrong usage.`,
		Example: `  adit check work.ovpn
  adit import work.ovpn
  adit connect work
  adit status
  adit disconnect work`,
		Version:       version,
		Args:          cobra.ArbitraryArgs, // so that RunE words the error
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.SetVersionTemplate("adit {{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%v", err) })
	socket := env("ADIT_SOCKET")
	if socket == "" {
		socket = ipc.DefaultPath
	}
	root.PersistentFlags().StringVar(&a.socket, "socket", socket, "where the service listens; ADIT_SOCKET sets it too")
	root.AddCommand(
		newImport(a), newProfiles(a), newShow(a), newRename(a), newRemove(a), newExport(a), newCheck(a), newSet(a),
		newConnect(a), newDisconnect(a), newStatus(a), newRoutes(a), newExplain(a), newLogs(a),
		newDiagnose(a), newService(a), newVersion(a), newCompletion(a),
	)
	return root
}

// jsonFlag gives a read command its --json.
func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON")
}
