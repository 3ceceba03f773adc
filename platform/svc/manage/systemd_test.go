package manage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fakeSystemd is systemd with one unit, as far as this package asks it.
type fakeSystemd struct {
	unit systemdUnit
	path string // where the administrator's unit is read
	// fails says that the service ends at its start, after which systemd waits to try again.
	fails bool
	asked []string
}

func (f *fakeSystemd) Unit(ctx context.Context, _ string) (systemdUnit, error) {
	return f.unit, ctx.Err()
}

func (f *fakeSystemd) did(what string) error {
	f.asked = append(f.asked, what)
	return nil
}

func (f *fakeSystemd) Start(context.Context, string) error {
	f.unit.Active, f.unit.Sub, f.unit.PID = "active", "running", 7
	if f.fails {
		f.unit.Active, f.unit.Sub, f.unit.PID, f.unit.Result = "activating", "auto-restart", 0, "exit-code"
	}
	return f.did("start")
}

func (f *fakeSystemd) Restart(ctx context.Context, name string) error { return f.Start(ctx, name) }

func (f *fakeSystemd) Stop(context.Context, string) error {
	f.unit.Active, f.unit.Sub, f.unit.PID = "inactive", "dead", 0
	return f.did("stop")
}

func (f *fakeSystemd) Enable(context.Context, string) error {
	f.unit.File = "enabled"
	return f.did("enable")
}

func (f *fakeSystemd) Disable(context.Context, string) error {
	f.unit.File = "disabled"
	return f.did("disable")
}

func (f *fakeSystemd) Reload(context.Context) error {
	text, err := os.ReadFile(f.path)
	switch {
	case err == nil:
		program, _, _ := strings.Cut(string(text[strings.Index(string(text), "ExecStart=")+len("ExecStart="):]), "\n")
		f.unit.Load, f.unit.Fragment, f.unit.Program = "loaded", f.path, program
	case f.unit.Fragment == f.path:
		f.unit = systemdUnit{Load: "not-found", Active: "inactive"}
	}
	return f.did("reload")
}

// someUnit is a text of which fakeSystemd understands the program.
func someUnit(program string) (string, error) { return "[Service]\nExecStart=" + program + "\n", nil }

// managedBy is a manager of it, with what was run and the programs that are there.
func managedBy(t *testing.T, f *fakeSystemd, programs ...string) (m *Manager, ran *[]string) {
	f.path = filepath.Join(t.TempDir(), "aditd.service")
	if f.unit.Load == "" {
		f.unit = systemdUnit{Load: "not-found", Active: "inactive"}
	}
	ran = &[]string{}
	return &Manager{
		sys: &systemd{bus: f, dir: filepath.Dir(f.path), name: filepath.Base(f.path), text: someUnit, pause: time.Millisecond,
			group: func(context.Context) error { return nil }},
		allowed:  func() bool { return true },
		replaced: func(int, string) bool { return false },
		check: func(program string) error {
			for _, p := range programs {
				if p == program {
					return nil
				}
			}
			return &fs.PathError{Op: "open", Path: program, Err: fs.ErrNotExist}
		},
		run: func(_ context.Context, program string, args ...string) (string, error) {
			*ran = append(*ran, program+" "+strings.Join(args, " "))
			return "undone", nil
		},
	}, ran
}

// TestSystemdFailedStart: a service that ends at its start is told of at once, though systemd goes on trying.
func TestSystemdFailedStart(t *testing.T) {
	f := &fakeSystemd{fails: true}
	m, _ := managedBy(t, f, "/opt/aditd")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, _, err := m.Install(ctx, "/opt/aditd"); err == nil || !strings.Contains(err.Error(), "it has ended (exit-code), and systemd tries again; journalctl -u aditd.service") {
		t.Errorf("install: %v", err)
	}
	if _, _, err := m.Start(ctx); err == nil || !strings.Contains(err.Error(), "journalctl -u aditd.service") {
		t.Errorf("start: %v", err)
	}
	if s, err := m.Status(ctx); err != nil || s.State != Starting || s.Result != "exit-code" {
		t.Errorf("%+v %v", s, err)
	}
	// Stopped, it is left alone.
	if already, err := m.Stop(ctx); err != nil || already {
		t.Errorf("stop: %v %v", already, err)
	}
}

// TestSystemdOthersUnit: a unit that an administrator has written is neither replaced nor removed.
func TestSystemdOthersUnit(t *testing.T) {
	ctx := context.Background()
	f := &fakeSystemd{}
	m, ran := managedBy(t, f, "/opt/aditd", "/opt/2/aditd")
	const theirs = "# mine\n[Service]\nExecStart=/opt/aditd\n"
	write := func() {
		t.Helper()
		if err := os.WriteFile(f.path, []byte(theirs), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stays := func() {
		t.Helper()
		if text, err := os.ReadFile(f.path); err != nil || string(text) != theirs {
			t.Errorf("the unit: %v %q", err, text)
		}
	}
	write()
	if _, _, err := m.Install(ctx, "/opt/2/aditd"); err == nil || !strings.Contains(err.Error(), f.path+" is there") { // systemd has not read it
		t.Errorf("install: %v", err)
	}
	stays()
	f.Reload(ctx)
	s, _, err := m.Install(ctx, "/opt/2/aditd")
	if want := (Status{Manager: "systemd", State: Running, Automatic: true, Packaged: true, Unit: f.path, Program: "/opt/aditd", PID: 7}); err != nil || s != want {
		t.Errorf("%+v %v", s, err)
	}
	stays()
	if _, _, err := m.Uninstall(ctx, false, "/opt/2/aditd"); err != nil || !reflect.DeepEqual(*ran, []string{"/opt/aditd cleanup"}) {
		t.Errorf("uninstall: %v, ran %q", err, *ran)
	}
	stays()
	if s, err := m.Status(ctx); err != nil || s.State != Stopped || s.Automatic {
		t.Errorf("%+v %v", s, err)
	}

	// One of ours is.
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.Reload(ctx)
	if s, _, err := m.Install(ctx, "/opt/aditd"); err != nil || s.Packaged || s.Program != "/opt/aditd" {
		t.Errorf("%+v %v", s, err)
	}
	if s, _, err := m.Install(ctx, "/opt/2/aditd"); err != nil || s.Program != "/opt/2/aditd" {
		t.Errorf("%+v %v", s, err)
	}
	if _, _, err := m.Uninstall(ctx, false, ""); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(f.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("our unit is left: %v", err)
	}
}

// TestUninstallFirst: what makes an uninstallation fail is found before the service is stopped.
func TestUninstallFirst(t *testing.T) {
	ctx := context.Background()
	running := func(load string) *fakeSystemd {
		return &fakeSystemd{unit: systemdUnit{Load: load, Active: "active", Sub: "running", Fragment: "/usr/lib/aditd.service", Program: "/gone/aditd", PID: 7}}
	}
	f := running("loaded")
	m, ran := managedBy(t, f, "/opt/aditd")
	if _, _, err := m.Uninstall(ctx, false, ""); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "/gone/aditd") {
		t.Errorf("without its program: %v", err)
	}
	if _, _, err := m.Uninstall(ctx, false, "/also/gone"); err == nil || f.asked != nil {
		t.Errorf("without any program: %v, asked %q", err, f.asked)
	}
	if _, _, err := m.Uninstall(ctx, false, "/opt/aditd"); err != nil || !reflect.DeepEqual(*ran, []string{"/opt/aditd cleanup"}) || f.unit.Active != "inactive" {
		t.Errorf("with another program: %v, ran %q", err, *ran)
	}

	f = running("masked")
	m, ran = managedBy(t, f, "/gone/aditd")
	if _, _, err := m.Uninstall(ctx, false, ""); err == nil || !strings.Contains(err.Error(), "systemctl unmask aditd.service") || f.asked != nil || len(*ran) > 0 {
		t.Errorf("masked: %v, asked %q, ran %q", err, f.asked, *ran)
	}

	// The state that a service has left goes without it.
	f = &fakeSystemd{}
	m, ran = managedBy(t, f, "/opt/aditd")
	if _, _, err := m.Uninstall(ctx, true, ""); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("purge without a program: %v", err)
	}
	if before, said, err := m.Uninstall(ctx, true, "/opt/aditd"); err != nil || said != "undone" || before.State != NotInstalled || !reflect.DeepEqual(*ran, []string{"/opt/aditd cleanup --purge"}) || f.asked != nil {
		t.Errorf("purge: %+v %q %v, ran %q, asked %q", before, said, err, *ran, f.asked)
	}
}
