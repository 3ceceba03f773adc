package manage

import (
	"context"
	"os"
	"time"
)

// System is the manager of this system, for the service that has this label there. Definition is its property list for a program, kept where launchd looks for
// daemons.
func System(_ context.Context, label string, definition func(program string) (string, error)) (m *Manager, done func() error, err error) {
	return &Manager{
		sys: &launchd{
			label: label, plist: "/Library/LaunchDaemons/" + label + ".plist", text: definition, pause: 100 * time.Millisecond,
			ctl: func(ctx context.Context, args ...string) (string, error) {
				return command(ctx, "/bin/launchctl", args...)
			},
		},
		allowed: func() bool { return os.Geteuid() == 0 },
		check:   sound, run: command,
	}, func() error { return nil }, nil
}
