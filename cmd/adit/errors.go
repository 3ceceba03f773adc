package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
)

// usageError is a command line that cannot be meant: exit code 2.
type usageError struct {
	text  string
	hints []string
}

func (e *usageError) Error() string { return e.text }

// hintedError is a failure with advice.
type hintedError struct {
	err   error
	hints []string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

func hinted(err error, hints ...string) error { return &hintedError{err, hints} }

// usage makes the error for a wrong command line of cmd; the hints show the right one.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...), []string{"usage: " + cmd.UseLine(), "see: " + cmd.CommandPath() + " --help"}}
}

// asUsage makes a wrong command line of a Problem.
func asUsage(err error) error {
	p := api.AsProblem(err)
	return &usageError{p.Message, strings.Split(p.Hint, "\n")}
}

func unknownCommand(root *cobra.Command, name string) error {
	e := &usageError{text: fmt.Sprintf("unknown command %q", name)}
	for _, s := range root.SuggestionsFor(name) {
		e.hints = append(e.hints, "did you mean: adit "+s)
	}
	e.hints = append(e.hints, "see all commands with: adit --help")
	return e
}

// wants checks the number of arguments; names says what they are ("NAME").
func wants(min, max int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case max == 0 && len(args) > 0:
			return usage(cmd, "%s takes no argument, but got %q", cmd.Name(), args[0])
		case len(args) < min:
			return usage(cmd, "%s needs %s", cmd.Name(), names)
		case max >= 0 && len(args) > max:
			return usage(cmd, "%s takes %s, but got also %q", cmd.Name(), names, args[max])
		}
		return nil
	}
}
