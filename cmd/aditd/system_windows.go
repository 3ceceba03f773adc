package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"

	"github.com/adit-vpn/adit/client"
	"github.com/adit-vpn/adit/platform/lock"
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

// policyKey is the group policies' key below HKEY_LOCAL_MACHINE.
const policyKey = `SOFTWARE\Policies\Adit`

// systemPolicy is where the administrator decides by default: group policies, which only administrators can write.
func systemPolicy() (decisions, error) {
	dir, err := stateDir()
	if err != nil {
		return decisions{}, err
	}
	return decisions{
		policy:   client.PolicyValues(registry.Registry{Path: policyKey}, `HKLM\`+policyKey),
		profiles: trusted.Dir(filepath.Join(dir, "Profiles")),
	}, nil
}

// provisioning puts what an installer was given where systemPolicy looks. The state directory is made as the service makes it: what
// lies in a folder that somebody else has made would not be believed.
func provisioning(state string) (target, error) {
	return target{
		folder: func() (string, error) {
			if err := lock.Folder(state); err != nil {
				return "", err
			}
			dir := filepath.Join(state, "Profiles")
			return dir, os.MkdirAll(dir, 0o700)
		},
		policy: func(p client.Policy) error {
			if err := lock.Folder(state); err != nil {
				return err
			}
			return give(registry.Registry{Path: policyKey}, state, p)
		},
	}, nil
}

// forgetPolicy removes the policy if provision wrote it.
func forgetPolicy(state string) (stays bool, err error) {
	return takeBack(registry.Registry{Path: policyKey}, state)
}

// managed runs this as a service where the service control manager has started it.
func managed(args []string) (code int, was bool) {
	return svc.Run(func(ctx context.Context, events *svc.Events, ready func()) int {
		return execute(ctx, args, surroundings{io.Discard, events, slog.New(events.Handler()), ready})
	})
}

// answers tells nobody that a program in a terminal does.
func answers() error { return nil }

// ownLog is the terminal: a service has the event log.
func ownLog(stderr *os.File) io.Writer { return stderr }

// handoverFile is in the state directory, which only the system and administrators can read; it is sealed, too.
func handoverFile(state string) string { return filepath.Join(state, "handover") }

// restarting says that nobody starts the service again at once: the service control manager does not tell. Its packages announce it.
func restarting(context.Context) bool { return false }
