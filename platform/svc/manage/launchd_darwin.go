package manage

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// System is the manager of this system. done ends its use.
func System(_ context.Context, s Service) (m *Manager, done func() error, err error) {
	return &Manager{
		sys: &launchd{
			label: s.Name, plist: "/Library/LaunchDaemons/" + s.Name + ".plist", text: s.Definition, word: s.Restart, logs: s.Logs, pause: 100 * time.Millisecond,
			ctl: func(ctx context.Context, args ...string) (string, error) {
				return command(ctx, "/bin/launchctl", args...)
			},
		},
		allowed: func() bool { return os.Geteuid() == 0 },
		check:   sound, run: command, replaced: replaced,
	}, func() error { return nil }, nil
}

// replaced says that the file has changed since the process began. What cannot be told was not replaced.
func replaced(pid int, program string) bool {
	process, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return false
	}
	var file unix.Stat_t
	if err := unix.Stat(program, &file); err != nil {
		return false
	}
	began := process.Proc.P_starttime
	return time.Unix(file.Ctim.Unix()).After(time.Unix(began.Unix()))
}
