package manage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/platform/durable"
)

// systemdUnit is what systemd says of a unit, in its own words (org.freedesktop.systemd1(5)).
type systemdUnit struct {
	Load, Active, Sub string // LoadState, ActiveState, SubState
	File              string // UnitFileState
	Fragment          string // FragmentPath: where the unit's file is
	Program           string // of its first ExecStart
	PID               int
	Result            string
	Busy              bool // a job of it is waiting or running
}

// systemdBus are the calls to systemd.
type systemdBus interface {
	Unit(ctx context.Context, name string) (systemdUnit, error)
	Start(ctx context.Context, name string) error   // begins it
	Stop(ctx context.Context, name string) error    // begins it
	Restart(ctx context.Context, name string) error // begins it
	Enable(ctx context.Context, name string) error
	Disable(ctx context.Context, name string) error
	Reload(ctx context.Context) error // reads the files of all units
}

// systemd is the manager of most Linux systems. Units of the administrator's are in dir, those of packages elsewhere.
type systemd struct {
	bus  systemdBus
	dir  string // /etc/systemd/system
	name string
	// text is the unit for a program.
	text func(program string) (string, error)
	// group makes the group whose members may have tunnels of their own.
	group func(ctx context.Context) error
	pause time.Duration // between two looks
}

func (s *systemd) path() string { return filepath.Join(s.dir, s.name) }

// mark is the first line of units that this package writes.
const mark = "# Written by: adit service install. Change it with: systemctl edit\n"

// ours says whether the unit's file in dir is there, and is one of ours.
func (s *systemd) ours() (bool, error) {
	text, err := os.ReadFile(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return strings.HasPrefix(string(text), mark), err
}

// again says that systemd waits before it starts the unit once more: what it was asked for has failed.
func (u systemdUnit) again() bool { return u.Sub == "auto-restart" && !u.Busy }

func (s *systemd) look(ctx context.Context) (Status, error) {
	u, err := s.bus.Unit(ctx, s.name)
	if err != nil {
		return Status{}, err
	}
	now := Status{Manager: "systemd", Automatic: u.File == "enabled", Program: u.Program, PID: u.PID}
	switch u.Load {
	case "loaded":
		ours, err := s.ours()
		if err != nil {
			return now, err
		}
		if now.Packaged = u.Fragment != s.path() || !ours; now.Packaged {
			now.Unit = u.Fragment
		}
	case "masked":
		now.obstacle = fmt.Errorf("the unit is masked: systemctl unmask %s lets it start again", s.name)
	}
	switch u.Active {
	case "active", "reloading":
		now.State = Running
	case "activating":
		now.State = Starting
		if u.again() {
			now.Result = u.Result
		}
	case "deactivating":
		now.State = Stopping
	case "failed":
		now.State, now.Result = Failed, u.Result
	default:
		now.State = Stopped
	}
	if u.Load == "not-found" && (u.Active == "" || u.Active == "inactive" || u.Active == "failed") {
		now = Status{Manager: "systemd", State: NotInstalled}
	}
	return now, nil
}

func (s *systemd) define(ctx context.Context, program string) (changed bool, err error) {
	now, err := s.look(ctx)
	switch {
	case err != nil:
		return false, err
	case now.obstacle != nil:
		return false, now.obstacle
	case now.Packaged:
		return false, s.bus.Enable(ctx, s.name)
	}
	text, err := s.text(program)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrPlace, err)
	}
	text = mark + text
	// What the unit takes from the service (ProtectHome, PrivateTmp).
	if i := slices.IndexFunc([]string{"/home/", "/root/", "/run/", "/tmp/", "/var/tmp/"}, func(d string) bool { return strings.HasPrefix(program, d) }); i >= 0 {
		return false, fmt.Errorf("%w: the service sees nothing below homes, /run and /tmp: %s", ErrPlace, program)
	}
	if err := s.group(ctx); err != nil {
		return false, err
	}
	old, err := os.ReadFile(s.path())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if len(old) > 0 && !strings.HasPrefix(string(old), mark) { // systemd has not read it yet, or could not
		return false, fmt.Errorf("%s is there, and not of adit service install: remove it first", s.path())
	}
	if !bytes.Equal(old, []byte(text)) {
		changed = true
		if err := durable.Write(s.path(), []byte(text), 0o644); err != nil {
			return false, err
		}
		if err := s.bus.Reload(ctx); err != nil {
			return changed, err
		}
	}
	return changed, s.bus.Enable(ctx, s.name)
}

func (s *systemd) undefine(ctx context.Context) error {
	if err := s.bus.Disable(ctx, s.name); err != nil {
		return err
	}
	ours, err := s.ours()
	if err == nil && ours {
		err = os.Remove(s.path())
	}
	return errors.Join(err, s.bus.Reload(ctx))
}

func (s *systemd) start(ctx context.Context) error { return s.begin(ctx, s.bus.Start) }

func (s *systemd) restart(ctx context.Context) error { return s.begin(ctx, s.bus.Restart) }

func (s *systemd) begin(ctx context.Context, job func(ctx context.Context, name string) error) error {
	if err := job(ctx, s.name); err != nil {
		return err
	}
	u, err := s.settled(ctx)
	switch {
	case err != nil:
		return err
	case u.again():
		return fmt.Errorf("it has ended (%s), and systemd tries again; journalctl -u %s says why", u.Result, s.name)
	case u.Active != "active":
		return fmt.Errorf("it is %s (%s); journalctl -u %s says why", u.Active, u.Result, s.name)
	}
	return nil
}

func (s *systemd) stop(ctx context.Context) error {
	if err := s.bus.Stop(ctx, s.name); err != nil {
		return err
	}
	u, err := s.settled(ctx)
	if err == nil && u.Active != "inactive" && u.Active != "failed" {
		err = fmt.Errorf("it is still %s", u.Active)
	}
	return err
}

// settled waits until systemd is done with the unit.
func (s *systemd) settled(ctx context.Context) (systemdUnit, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		u, err := s.bus.Unit(ctx, s.name)
		if err != nil || u.again() || !u.Busy && u.Active != "activating" && u.Active != "deactivating" {
			return u, err
		}
		select {
		case <-ctx.Done():
			return u, fmt.Errorf("it is %s: %w", u.Active, ctx.Err())
		case <-time.After(s.pause):
		}
	}
}
