// Command adit-endpoint is the server that adit and every OpenVPN client can
// connect to; it behaves as an AWS Client VPN endpoint does. Here are only flags,
// wiring and words; the work is in package endpoint.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/endpoint"
)

// version is set when a release is linked (-ldflags "-X main.version=1.2.3").
var version = "dev"

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// run is the whole program but for signals and exit (start.go).
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root, a := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "adit-endpoint: %s\n", oneLine(err))
	for _, h := range hints(err) {
		fmt.Fprintf(stderr, "hint: %s\n", a.here(h))
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", " ") }

// usageError is a wrong command line: exit code 2.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(hint, format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...), hint: hint}
}

// app is what the subcommands share.
type app struct{ data string }

// here makes the commands of a hint act on the data directory of this call.
func (a *app) here(hint string) string {
	if a.data == endpoint.DefaultData || strings.Contains(hint, "--data") {
		return hint
	}
	data := a.data
	if !regexp.MustCompile(`^[\w./:@%+~-]+$`).MatchString(data) {
		data = "'" + strings.ReplaceAll(data, "'", `'\''`) + "'"
	}
	return regexp.MustCompile(`adit-endpoint (pki|up|connections|reload|terminate|export|arns)\b`).ReplaceAllStringFunc(hint, func(command string) string {
		return command + " --data " + data
	})
}

func newRoot() (*cobra.Command, *app) {
	a := &app{}
	root := &cobra.Command{
		Use:           "adit-endpoint",
		Short:         "A VPN endpoint that behaves like AWS Client VPN",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("see adit-endpoint --help", "unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("adit-endpoint up starts an endpoint; adit-endpoint --help lists the commands", "no command given")
		},
	}
	root.PersistentFlags().StringVar(&a.data, "data", endpoint.DefaultData, "directory of PKI, state and control socket")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("see "+cmd.CommandPath()+" --help", "%v", err)
	})
	root.AddCommand(a.up(), a.export(), a.connections(), a.terminate(), a.reload(), a.arns(), a.check(), a.pki(), &cobra.Command{
		Use: "version", Short: "Print the version", Args: exactly(0),
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "adit-endpoint", version) },
	})
	root.SetVersionTemplate("adit-endpoint {{.Version}}\n")
	return root, a
}

// exactly is cobra.ExactArgs with our kind of error.
func exactly(n int) cobra.PositionalArgs { return between(n, n) }

func between(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			return usagef("usage: "+cmd.UseLine(), "%s got %d arguments", cmd.CommandPath(), len(args))
		}
		return nil
	}
}
