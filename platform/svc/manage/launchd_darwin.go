package manage

import (
	"context"
	"os"
	"time"
)

// System is the manager of this system. done ends its use.
func System(_ context.Context, s Service) (m *Manager, done func() error, err error) {
	return &Manager{
		sys: &launchd{
			label: s.Name, plist: "/Library/LaunchDaemons/" + s.Name + ".plist", text: s.Definition, word: s.Restart, pause: 100 * time.Millisecond,
			ctl: func(ctx context.Context, args ...string) (string, error) {
				return command(ctx, "/bin/launchctl", args...)
			},
		},
		allowed: func() bool { return os.Geteuid() == 0 },
		check:   sound, run: command,
	}, func() error { return nil }, nil
}
