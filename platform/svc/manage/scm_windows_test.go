package manage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

// pretender is the name of this test as the program of a service.
const pretender = "adit-manage-test.exe"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != pretender {
		os.Exit(m.Run())
	}
	if len(os.Args) > 1 && os.Args[1] == "restarting" {
		if os.WriteFile(os.Args[0]+".told", nil, 0o600) != nil {
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "cleanup" {
		os.Stdout.WriteString("nothing to undo\r\n")
		return
	}
	if svc.Run("AditManageTest", obedient{}) != nil {
		os.Exit(1)
	}
}

// obedient is a service that runs until it is stopped.
type obedient struct{}

func (obedient) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (bool, uint32) {
	status <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop}
	for r := range requests {
		if r.Cmd == svc.Stop {
			break
		}
		status <- r.CurrentStatus
	}
	status <- svc.Status{State: svc.StopPending}
	return false, 0
}

// TestSCM: a service of another name through its whole life.
func TestSCM(t *testing.T) {
	if !windows.GetCurrentProcessToken().IsElevated() {
		t.Skip("needs an administrator")
	}
	dir, err := os.MkdirTemp("", "adit-scm-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) // wine removes no files for Go
	program := filepath.Join(dir, "a folder", pretender)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err == nil {
		err = errors.Join(os.Mkdir(filepath.Dir(program), 0o755), os.WriteFile(program, content, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	manager := &scm{name: "AditManageTest", run: command, lacks: windows.ERROR_INVALID_LEVEL}
	m := &Manager{sys: manager, allowed: func() bool { return true }, check: func(string) error { return nil }, run: command, replaced: replaced}
	t.Cleanup(func() { manager.stop(ctx); manager.undefine(ctx) })

	if s, err := m.Status(ctx); err != nil || s != (Status{Manager: "Windows", State: NotInstalled}) {
		t.Fatalf("at first: %+v %v", s, err)
	}
	if _, _, err := m.Start(ctx); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("start: %v", err)
	}
	s, already, err := m.Install(ctx, program)
	if err != nil || already || s.State != Running || !s.Automatic || s.Program != program || s.PID == 0 {
		t.Fatalf("install: %+v %v %v", s, already, err)
	}
	service, err := manager.open(windows.SERVICE_QUERY_CONFIG)
	if err != nil {
		t.Fatal(err)
	}
	if config, err := service.Config(); errors.Is(err, manager.lacks) {
		t.Log("this system keeps no SID of services")
	} else if err != nil || config.SidType != windows.SERVICE_SID_TYPE_UNRESTRICTED || config.StartType != mgr.StartAutomatic || strings.Join(config.Dependencies, " ") != "BFE Dnscache" {
		t.Errorf("configuration %+v %v", config, err)
	}
	if actions, err := service.RecoveryActions(); errors.Is(err, manager.lacks) {
		t.Log("this system does not start services again")
	} else if err != nil || len(actions) != 3 || actions[0] != (mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: time.Second}) || actions[2].Delay != 30*time.Second {
		t.Errorf("recovery %+v %v", actions, err)
	}
	service.Close()
	if _, already, err := m.Install(ctx, program); err != nil || !already {
		t.Errorf("install again: %v %v", already, err)
	}
	// A program that is put in its place is not what runs.
	if err := errors.Join(os.Rename(program, program+".old"), os.WriteFile(program, content, 0o755)); err != nil {
		t.Fatal(err)
	}
	told := func() bool { return os.Remove(program+".told") == nil }
	if told() {
		t.Error("the service was told of a restart, and there was none")
	}
	if again, already, err := m.Install(ctx, program); err != nil || already || again.State != Running || again.PID == s.PID {
		t.Errorf("install of a replaced program: %+v %v %v", again, already, err)
	}
	if !told() {
		t.Error("the service was not told that it is started again")
	}
	if _, already, err := m.Install(ctx, program); err != nil || !already {
		t.Errorf("install after that: %v %v", already, err)
	}
	if _, _, err := m.Install(ctx, filepath.Join(dir, "other.exe")); err == nil || !strings.Contains(err.Error(), "of another program") {
		t.Errorf("install of another: %v", err)
	}
	if already, err := m.Stop(ctx); err != nil || already {
		t.Errorf("stop: %v %v", already, err)
	}
	if already, err := m.Stop(ctx); err != nil || !already {
		t.Errorf("stop again: %v %v", already, err)
	}
	if s, already, err := m.Start(ctx); err != nil || already || s.State != Running {
		t.Errorf("start: %+v %v %v", s, already, err)
	}
	if err := manager.restart(ctx); err != nil {
		t.Errorf("restart: %v", err)
	}
	for command, want := range map[string]string{
		`C:\Program Files\Adit\aditd.exe`: `C:\Program Files\Adit\aditd.exe`, `"C:\Program Files\Adit\aditd.exe" --policy x`: `C:\Program Files\Adit\aditd.exe`,
		`C:\adit\aditd.exe --policy x`: `C:\adit\aditd.exe`, "": "",
	} {
		if got := programOf(command); got != want {
			t.Errorf("the program of %s: %s", command, got)
		}
	}
	if !told() {
		t.Error("the service was not told of the restart")
	}
	if before, said, err := m.Uninstall(ctx, true, ""); err != nil || said != "nothing to undo" || before.State != Running || told() {
		t.Errorf("uninstall: %+v %q %v", before, said, err)
	}
	if s, err := m.Status(ctx); err != nil || s.State != NotInstalled {
		t.Errorf("uninstalled: %+v %v", s, err)
	}
}
