package manage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/adit-vpn/adit/platform/bus"
)

// Group is the group whose members may have profiles and tunnels of their own.
const Group = "adit"

// System is the manager of this system. done ends its use.
func System(ctx context.Context, s Service) (m *Manager, done func() error, err error) {
	if _, err := os.Stat("/run/systemd/system"); errors.Is(err, fs.ErrNotExist) { // sd_booted(3)
		return nil, nil, fmt.Errorf("%w: systemd does not run here", ErrNoManager)
	}
	conn, err := bus.Dial(ctx, "")
	if err != nil {
		return nil, nil, fmt.Errorf("%w: systemd is asked over D-Bus, which does not answer: %w", ErrNoManager, err)
	}
	return &Manager{
		sys: &systemd{
			bus: systemdConn{conn}, dir: "/etc/systemd/system", name: s.Name, text: s.Definition, pause: 50 * time.Millisecond,
			group: func(ctx context.Context) error { return makeGroup(ctx, user.LookupGroup, command) },
		},
		allowed: func() bool { return os.Geteuid() == 0 },
		check:   sound, run: command, replaced: replaced,
	}, conn.Close, nil
}

// replaced compares with the file that the kernel has open for the process (proc(5)). What cannot be told was not replaced.
func replaced(pid int, program string) bool {
	runs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return false
	}
	is, err := os.Stat(program)
	return err == nil && !os.SameFile(runs, is)
}

// makeGroup makes the group, where it is missing. lookup reads /etc/group alone, as the service does; a group of the same name may
// be in a directory.
func makeGroup(ctx context.Context, lookup func(name string) (*user.Group, error), run func(ctx context.Context, program string, args ...string) (string, error)) error {
	_, err := lookup(Group)
	var unknown user.UnknownGroupError
	if !errors.As(err, &unknown) {
		return err
	}
	if line, err := run(ctx, "/usr/bin/getent", "group", Group); err == nil { // name:password:number:members, as group(5)
		if parts := strings.Split(line, ":"); len(parts) == 4 && parts[0] == Group {
			return fmt.Errorf("the group %s is in a directory, and the service reads /etc/group: add this line to it, and its members count: %s:x:%s:", Group, Group, parts[2])
		}
	}
	for _, program := range []string{"/usr/sbin/groupadd", "/sbin/groupadd"} {
		if _, err := os.Stat(program); err == nil {
			_, err = run(ctx, program, "--system", Group)
			return err
		}
	}
	return fmt.Errorf("there is no group %s, and no groupadd to make it with: make it first", Group)
}

// systemdConn is systemd on the system's bus.
type systemdConn struct{ conn *dbus.Conn }

const systemdName = "org.freedesktop.systemd1"

func (s systemdConn) call(ctx context.Context, method string, args ...any) *dbus.Call {
	return s.conn.Object(systemdName, "/org/freedesktop/systemd1").CallWithContext(ctx, systemdName+".Manager."+method, 0, args...)
}

func (s systemdConn) Start(ctx context.Context, name string) error {
	return s.call(ctx, "StartUnit", name, "replace").Err
}

func (s systemdConn) Stop(ctx context.Context, name string) error {
	return s.call(ctx, "StopUnit", name, "replace").Err
}

func (s systemdConn) Restart(ctx context.Context, name string) error {
	return s.call(ctx, "RestartUnit", name, "replace").Err
}

func (s systemdConn) Enable(ctx context.Context, name string) error {
	if err := s.call(ctx, "EnableUnitFiles", []string{name}, false, true).Err; err != nil {
		return err
	}
	return s.Reload(ctx)
}

func (s systemdConn) Disable(ctx context.Context, name string) error {
	return s.call(ctx, "DisableUnitFiles", []string{name}, false).Err
}

func (s systemdConn) Reload(ctx context.Context) error { return s.call(ctx, "Reload").Err }

func (s systemdConn) Unit(ctx context.Context, name string) (u systemdUnit, err error) {
	var path dbus.ObjectPath
	if err := s.call(ctx, "LoadUnit", name).Store(&path); err != nil {
		return u, err
	}
	all := func(kind string) (values map[string]dbus.Variant, err error) {
		err = s.conn.Object(systemdName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.GetAll", 0, systemdName+"."+kind).Store(&values)
		return values, err
	}
	unit, err := all("Unit")
	if err != nil {
		return u, err
	}
	service, err := all("Service")
	if err != nil {
		return u, err
	}
	text := func(from map[string]dbus.Variant, name string) string { s, _ := from[name].Value().(string); return s }
	u = systemdUnit{
		Load: text(unit, "LoadState"), Active: text(unit, "ActiveState"), Sub: text(unit, "SubState"), File: text(unit, "UnitFileState"),
		Fragment: text(unit, "FragmentPath"), Result: text(service, "Result"),
	}
	if pid, ok := service["MainPID"].Value().(uint32); ok {
		u.PID = int(pid)
	}
	if job, ok := unit["Job"].Value().([]any); ok && len(job) == 2 { // its number, 0 for none, and path
		u.Busy = job[0] != any(uint32(0))
	}
	if starts, ok := service["ExecStart"].Value().([][]any); ok && len(starts) > 0 && len(starts[0]) > 0 {
		u.Program, _ = starts[0][0].(string)
	}
	return u, nil
}
