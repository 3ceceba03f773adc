//go:build linux && nouserspace

package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// connectUserspace becomes adit-userspace, which is adit built without the tag nouserspace: same process, same
// command line. The IP stack of such a tunnel would cost every other command a millisecond at its start.
func (a *app) connectUserspace(cmd *cobra.Command, _ string, _ connectFlags) error {
	program, err := beside("adit-userspace", "runs tunnels without root")
	if err != nil {
		return err
	}
	signal.Reset() // a signal from here on ends the process; one that came before shall not be lost
	if err := cmd.Context().Err(); err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", program, syscall.Exec(program, os.Args, os.Environ()))
}
