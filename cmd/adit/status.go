package main

import (
	"bytes"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
)

func newStatus(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the tunnels do",
		Long: `Show every tunnel that you may see: its state, server, addresses, what goes
through it, and what is wrong; and what the administrator of the machine has decided
(managed profiles and policy). With --watch, show it again at every change until
Ctrl-C; with --watch --json, one JSON object per line.`,
		Example: `  adit status
  adit status --json
  adit status --watch`,
		Args: wants(0, 0, ""),
	}
	asJSON := jsonFlag(cmd)
	watch := cmd.Flags().BoolP("watch", "w", false, "show every change until Ctrl-C")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := a.service()
		defer c.Close()
		if *watch {
			return a.watchStatus(cmd.Context(), c, *asJSON)
		}
		s, err := c.Status(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return a.out.json(s)
		}
		a.out.status(s, true)
		return nil
	}
	return cmd
}

// watchStatus prints snapshots until ctx ends, which is no failure. As text it leaves
// out what changes all the time, and prints only what differs.
func (a *app) watchStatus(ctx context.Context, c *api.Client, asJSON bool) error {
	var shown []byte
	err := c.Watch(ctx, func(s api.Status) error {
		if asJSON {
			return a.out.jsonLine(s)
		}
		var text bytes.Buffer
		printer{out: &text}.status(s, false)
		if bytes.Equal(text.Bytes(), shown) {
			return nil
		}
		if shown != nil {
			a.out.line("")
		}
		shown = text.Bytes()
		return a.out.text(text.String())
	})
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

func isNotConnected(err error) bool { return api.IsCode(err, api.CodeNotConnected) }
