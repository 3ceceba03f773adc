package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/diagnose"
)

func newSendDiagnosticLogs(a *app) *cobra.Command {
	return command("send-diagnostic-logs", "Write the diagnostic logs to a file; nothing is sent", func(ctx context.Context) error {
		now := time.Now()
		path, err := filepath.Abs(now.Format("adit-diagnose-20060102-150405.zip"))
		if err != nil {
			return err
		}
		c := a.service()
		defer c.Close()
		own := api.Version{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
		entries, err := diagnose.Collect(ctx, diagnose.Source{Client: c, Socket: a.socket, Own: own, Now: now})
		if err != nil {
			return err
		}
		var archive bytes.Buffer
		if err := diagnose.Write(&archive, entries, now); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(archive.Bytes())
		if err = errors.Join(err, f.Close()); err != nil {
			return errors.Join(err, os.Remove(path))
		}
		a.note("nothing was sent: the file is on this machine")
		return a.json(map[string]string{"reference-id": path})
	})
}
