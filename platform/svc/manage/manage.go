// Package manage has the system's service manager install, start and stop Adit's service: systemd, launchd, or Windows' service control
// manager. It is for a command that an administrator gives, not for the service itself. A unit that it has not written, of a package or of the
// administrator, it starts, stops, enables and disables, but never changes; launchd and Windows do not tell who has installed a service, so that there
// Uninstall removes also what a package has installed. It starts no goroutine.
package manage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/adit-vpn/adit/platform/trusted"
)

// Errors of this package are of one of these kinds, or the system's own.
var (
	ErrRights       = errors.New("only an administrator may do that")
	ErrNotInstalled = errors.New("the service is not installed")
	ErrNoManager    = errors.New("there is no service manager that Adit knows")
	ErrUntrusted    = errors.New("others than the administrator could replace the program")
	ErrPlace        = errors.New("the service could not start a program there")
	ErrGone         = errors.New("the service's program, which undoes what it did, is gone")
)

// The states of a service.
const (
	NotInstalled = "not_installed"
	Stopped      = "stopped"
	Starting     = "starting"
	Running      = "running"
	Stopping     = "stopping"
	Failed       = "failed" // it ended with an error, and does not run
)

// Status is what the manager says of the service: the form of adit service status --json.
type Status struct {
	Manager string `json:"manager"` // systemd, launchd, Windows
	State   string `json:"state"`
	// Automatic says that it starts with the machine.
	Automatic bool `json:"automatic"`
	// Packaged says that another than Install has installed it: a package, or an administrator with a unit of his own. launchd and Windows
	// do not tell.
	Packaged bool   `json:"packaged"`
	Unit     string `json:"unit,omitempty"` // the file of such a unit
	Program  string `json:"program,omitempty"`
	PID      int    `json:"pid,omitempty"`
	// Result is the manager's word for how it ended last, where it failed.
	Result string `json:"result,omitempty"`

	obstacle error // why it can neither be installed nor uninstalled
}

// Service is what this package manages.
type Service struct {
	// Name is its name for the manager: a unit, a label, a service.
	Name string
	// Definition is what the manager reads for a program: a unit, a property list; Windows needs none.
	Definition func(program string) (string, error)
	// Restart is a file whose presence tells a service that is stopped to be started again at once. Empty where the manager itself tells.
	Restart string
	// Logs are files that the service writes, and that go when it is uninstalled. Empty where the manager keeps them.
	Logs []string
}

// system is one service manager. Its methods return when what they do is done.
type system interface {
	// look needs no rights.
	look(ctx context.Context) (Status, error)
	// define makes the service, or makes it what it should be, and has it start with the machine; changed says that what
	// runs is not what is defined.
	define(ctx context.Context, program string) (changed bool, err error)
	// undefine has it no longer start with the machine, and removes it unless a package owns it.
	undefine(ctx context.Context) error
	start(ctx context.Context) error
	stop(ctx context.Context) error
	// restart is stop and start in one, so that the service may know that it ends for a moment only.
	restart(ctx context.Context) error
}

// Manager is the system's service manager. Not safe for concurrent use.
type Manager struct {
	sys system
	// allowed says whether this process may change services.
	allowed func() bool
	// check says why the service must not be this program.
	check func(program string) error
	// replaced says that a process of the service runs another file than the one that is at program now.
	replaced func(pid int, program string) bool
	// run runs the service's program for a moment, and returns what it said.
	run func(ctx context.Context, program string, args ...string) (string, error)
}

// wait is how long a service may take to start, or to undo everything.
const wait = 90 * time.Second

// Status asks what the service does. It needs no rights.
func (m *Manager) Status(ctx context.Context) (Status, error) { return m.sys.look(ctx) }

// Install makes the service run the program, an absolute path, now and from each start of the machine on. It may be there already: then it is made what
// it should be, and started again where its program was replaced; already says that nothing was to do.
func (m *Manager) Install(ctx context.Context, program string) (now Status, already bool, err error) {
	before, err := m.may(ctx)
	if err != nil {
		return before, false, err
	}
	if !before.Packaged {
		if err := m.check(program); err != nil {
			return before, false, err
		}
	}
	changed, err := m.sys.define(ctx, program)
	if err != nil {
		return before, false, fmt.Errorf("install the service: %w", err)
	}
	if before.State == Running && !changed {
		changed = m.replaced(before.PID, before.Program)
	}
	start := m.sys.start
	if changed && before.State == Running {
		start = m.sys.restart
	}
	if changed || before.State != Running {
		if err := start(ctx); err != nil {
			return before, false, fmt.Errorf("start the service: %w", err)
		}
	}
	now, err = m.sys.look(ctx)
	return now, before.State == Running && before.Automatic && !changed, err
}

// Uninstall stops the service, has it undo what it may have left behind, and removes it from the manager; with purge also its
// profiles, settings and wishes. The programs stay. It returns what undoing said. spare is the path of a program that undoes the same where the
// service's own is gone, or where only the state of one that is not installed is to be purged; empty: there is none.
func (m *Manager) Uninstall(ctx context.Context, purge bool, spare string) (before Status, said string, err error) {
	before, err = m.installed(ctx)
	alone := errors.Is(err, ErrNotInstalled) && purge && spare != ""
	if err != nil && !alone {
		return before, "", err
	}
	if before.obstacle != nil {
		return before, "", fmt.Errorf("uninstall the service: %w", before.obstacle)
	}
	// Before anything is changed: a service that is stopped and not undone is worse than one that runs.
	program, err := m.undoing(before.Program, spare)
	if err != nil {
		return before, "", fmt.Errorf("clean up: %w", err)
	}
	if before.State != NotInstalled && before.State != Stopped && before.State != Failed {
		if err := m.sys.stop(ctx); err != nil {
			return before, "", fmt.Errorf("stop the service: %w", err)
		}
	}
	args := []string{"cleanup"}
	if purge {
		args = append(args, "--purge")
	}
	// While the service is still known: whoever has to repeat this can.
	if said, err = m.run(ctx, program, args...); err != nil {
		return before, said, fmt.Errorf("clean up: %w", err)
	}
	if alone {
		return before, said, nil
	}
	if err := m.sys.undefine(ctx); err != nil {
		return before, said, fmt.Errorf("remove the service: %w", err)
	}
	return before, said, nil
}

// undoing is the program that undoes: the service's own, or the spare one where that is gone.
func (m *Manager) undoing(own, spare string) (program string, err error) {
	err = fs.ErrNotExist
	if own != "" {
		err = m.check(own)
	}
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return own, err
	case spare != "":
		return spare, m.check(spare)
	}
	return "", fmt.Errorf("%w: %s", ErrGone, own)
}

// Start starts it; already says that it ran.
func (m *Manager) Start(ctx context.Context) (now Status, already bool, err error) {
	before, err := m.installed(ctx)
	if err != nil || before.State == Running {
		return before, err == nil, err
	}
	if err := m.sys.start(ctx); err != nil {
		return before, false, fmt.Errorf("start the service: %w", err)
	}
	now, err = m.sys.look(ctx)
	return now, false, err
}

// Stop stops it until the next start of the machine; already says that it did not run.
func (m *Manager) Stop(ctx context.Context) (already bool, err error) {
	before, err := m.installed(ctx)
	switch {
	case err != nil:
		return false, err
	case before.State == Stopped, before.State == Failed:
		return true, nil
	}
	if err := m.sys.stop(ctx); err != nil {
		return false, fmt.Errorf("stop the service: %w", err)
	}
	return false, nil
}

// may is the state now, for one who may change it.
func (m *Manager) may(ctx context.Context) (Status, error) {
	now, err := m.sys.look(ctx)
	if err == nil && !m.allowed() {
		err = ErrRights
	}
	return now, err
}

// installed is may for a service that must be there.
func (m *Manager) installed(ctx context.Context) (Status, error) {
	now, err := m.may(ctx)
	if err == nil && now.State == NotInstalled {
		err = ErrNotInstalled
	}
	return now, err
}

// sound says why the program at path must not run as a service: it is missing, or somebody else could replace it.
func sound(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%w: %q is no absolute path", ErrUntrusted, path)
	}
	f, err := trusted.Dir(filepath.Dir(path)).Open(filepath.Base(path))
	if errors.Is(err, trusted.ErrUntrusted) {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is no file", ErrUntrusted, path)
	}
	return nil
}

// command runs a program by its absolute path, with an empty environment but for what Windows' programs cannot start without.
func command(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.WaitDelay = []string{}, time.Second
	if root := os.Getenv("SystemRoot"); root != "" {
		cmd.Env = append(cmd.Env, "SystemRoot="+root, "SystemDrive="+os.Getenv("SystemDrive"), "ProgramData="+os.Getenv("ProgramData"))
	}
	out, err := cmd.CombinedOutput()
	said := strings.TrimSpace(string(out[:min(len(out), 64<<10)]))
	if err != nil {
		return said, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, said)
	}
	return said, nil
}
