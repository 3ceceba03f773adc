package main

import (
	"context"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"

	"golang.org/x/sys/windows"

	"github.com/adit-vpn/adit/client"
	registry "github.com/adit-vpn/adit/platform/managed"
	"github.com/adit-vpn/adit/platform/svc"
	"github.com/adit-vpn/adit/platform/trusted"
)

// stateDir is where profiles, wishes and the journal are by default. It is asked of the system: a variable of the
// environment could be somebody's choice.
func stateDir() (string, error) {
	dir, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, 0)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "Adit"), nil
}

// systemPolicy is where the administrator decides by default: group policies, which only administrators can write.
func systemPolicy() (client.PolicySource, fs.FS, error) {
	const key = `SOFTWARE\Policies\Adit`
	dir, err := stateDir()
	if err != nil {
		return nil, nil, err
	}
	return client.PolicyValues(registry.Registry{Path: key}, `HKLM\`+key), trusted.Dir(filepath.Join(dir, "Profiles")), nil
}

// managed runs this as a service where the service control manager has started it.
func managed(args []string) (code int, was bool) {
	return svc.Run(func(ctx context.Context, events *svc.Events, ready func()) int {
		return execute(ctx, args, surroundings{io.Discard, events, slog.New(events.Handler()), ready})
	})
}

// answers tells nobody that a program in a terminal does.
func answers() error { return nil }
