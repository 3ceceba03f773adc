package manage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"

	adit "github.com/adit-vpn/adit/platform/svc"
)

// System is the manager of this system. done ends its use.
func System(_ context.Context, s Service) (m *Manager, done func() error, err error) {
	return &Manager{
		sys:     &scm{name: s.Name, run: command},
		allowed: func() bool { return windows.GetCurrentProcessToken().IsElevated() },
		check:   sound, run: command, replaced: replaced,
	}, func() error { return nil }, nil
}

// fileBasicInfo is FILE_BASIC_INFO (winbase.h).
type fileBasicInfo struct {
	Created, Accessed, Written, Changed int64 // 100 ns since 1601
	Attributes                          uint32
}

// replaced says that the file has changed since the process began: while it runs, another can only be put in its place. What cannot be
// told was not replaced.
func replaced(pid int, program string) bool {
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return false
	}
	defer windows.CloseHandle(process)
	var began, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(process, &began, &exited, &kernel, &user); err != nil {
		return false
	}
	f, err := os.Open(program)
	if err != nil {
		return false
	}
	defer f.Close()
	var info fileBasicInfo
	if err := windows.GetFileInformationByHandleEx(windows.Handle(f.Fd()), windows.FileBasicInfo, (*byte)(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info))); err != nil {
		return false
	}
	return info.Changed > int64(began.HighDateTime)<<32|int64(began.LowDateTime)
}

// scm is Windows' service control manager.
type scm struct {
	name string
	// run is as Manager.run.
	run func(ctx context.Context, program string, args ...string) (string, error)
	// lacks is the error of a setting that the system may do without; nil: it must take all. Wine lacks some.
	lacks error
}

// config is the service as it should be.
func (s *scm) config(program string) mgr.Config {
	return mgr.Config{
		ServiceType: windows.SERVICE_WIN32_OWN_PROCESS, StartType: mgr.StartAutomatic, ErrorControl: mgr.ErrorNormal,
		BinaryPathName: windows.EscapeArg(program), DisplayName: adit.Title, Description: adit.Text,
		Dependencies: adit.Needs(), SidType: windows.SERVICE_SID_TYPE_UNRESTRICTED,
	}
}

// open opens the service with these rights; nil where it is not there.
func (s *scm) open(rights uint32) (*mgr.Service, error) {
	manager, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return nil, err
	}
	defer windows.CloseServiceHandle(manager)
	name, err := windows.UTF16PtrFromString(s.name)
	if err != nil {
		return nil, err
	}
	h, err := windows.OpenService(manager, name, rights)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return &mgr.Service{Name: s.name, Handle: h}, nil
}

func (s *scm) look(context.Context) (Status, error) {
	now := Status{Manager: "Windows", State: NotInstalled}
	service, err := s.open(windows.SERVICE_QUERY_CONFIG | windows.SERVICE_QUERY_STATUS)
	if err != nil || service == nil {
		return now, err
	}
	defer service.Close()
	automatic, command, err := configured(service)
	if err != nil {
		return now, err
	}
	status, err := service.Query()
	if err != nil {
		return now, err
	}
	now.Automatic, now.PID = automatic, int(status.ProcessId)
	now.Program = programOf(command)
	switch status.State {
	case svc.Running, svc.Paused, svc.PausePending, svc.ContinuePending:
		now.State = Running
	case svc.StartPending:
		now.State = Starting
	case svc.StopPending:
		now.State = Stopping
	default:
		now.State = Stopped
		if code := windows.Errno(status.Win32ExitCode); code != 0 && code != windows.ERROR_SERVICE_NEVER_STARTED {
			now.State, now.Result = Failed, code.Error()
			if code == windows.ERROR_SERVICE_SPECIFIC_ERROR {
				now.Result = fmt.Sprintf("exit code %d", status.ServiceSpecificExitCode)
			}
		}
	}
	return now, nil
}

func (s *scm) define(_ context.Context, program string) (changed bool, err error) {
	want := s.config(program)
	service, err := s.open(windows.SERVICE_ALL_ACCESS)
	if err != nil {
		return false, err
	}
	if service == nil {
		manager, err := mgr.Connect()
		if err != nil {
			return false, err
		}
		defer manager.Disconnect()
		first := want
		first.SidType = windows.SERVICE_SID_TYPE_NONE // below, as all that may be missing
		if service, err = manager.CreateService(s.name, program, first); err != nil {
			return false, err
		}
		changed = true
	}
	defer service.Close()
	_, have, err := configured(service)
	if err != nil {
		return changed, err
	}
	if !strings.EqualFold(programOf(have), program) {
		return changed, fmt.Errorf("a service %s is there already, of another program: %s", s.name, have)
	}
	if have != program { // else it lacks its quotes, and Windows would look for C:\Program.exe first
		want.BinaryPathName = have // with the arguments that an administrator gave it
	}
	if err := s.needed(service.UpdateConfig(want)); err != nil {
		return changed, err
	}
	var recovery []mgr.RecoveryAction
	for _, pause := range adit.Restarts() {
		recovery = append(recovery, mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: pause})
	}
	if err := s.needed(service.SetRecoveryActions(recovery, uint32(adit.Calm/time.Second))); err != nil {
		return changed, fmt.Errorf("recovery actions: %w", err)
	}
	if err := s.needed(service.SetRecoveryActionsOnNonCrashFailures(true)); err != nil {
		return changed, fmt.Errorf("recovery actions: %w", err)
	}
	// The service sees to it itself when it starts, too.
	_ = eventlog.InstallAsEventCreate(s.name, eventlog.Info|eventlog.Warning|eventlog.Error) // it may be there already
	return changed, nil
}

// programOf is the program of a service's command line.
func programOf(command string) string {
	if !strings.Contains(command, `"`) && strings.HasSuffix(strings.ToLower(command), ".exe") {
		return command // "sc create" puts no quotes around a path with spaces
	}
	args, err := windows.DecomposeCommandLine(command)
	if err != nil || len(args) == 0 {
		return ""
	}
	return args[0]
}

// needed is nil for the error of a setting that may be missing.
func (s *scm) needed(err error) error {
	if s.lacks != nil && errors.Is(err, s.lacks) {
		return nil
	}
	return err
}

// configured says whether a service starts with the machine, and its command line. Package mgr asks for more, which wine does not know.
func configured(service *mgr.Service) (automatic bool, command string, err error) {
	for size := uint32(1 << 10); ; {
		buf := make([]byte, size)
		c := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buf[0]))
		err := windows.QueryServiceConfig(service.Handle, c, size, &size)
		switch {
		case err == nil:
			return c.StartType == mgr.StartAutomatic, windows.UTF16PtrToString(c.BinaryPathName), nil
		case !errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) || int(size) <= len(buf):
			return false, "", err
		}
	}
}

func (s *scm) undefine(context.Context) error {
	service, err := s.open(windows.DELETE)
	if err != nil || service == nil {
		return err
	}
	defer service.Close()
	if err := service.Delete(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE) {
		return err
	}
	_ = eventlog.Remove(s.name) // what it has said stays readable
	return nil
}

func (s *scm) start(ctx context.Context) error {
	service, err := s.open(windows.SERVICE_START | windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return err
	}
	if service == nil {
		return ErrNotInstalled
	}
	defer service.Close()
	if err := service.Start(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
		return err
	}
	return s.until(ctx, service, svc.Running)
}

func (s *scm) stop(ctx context.Context) error {
	service, err := s.open(windows.SERVICE_STOP | windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return err
	}
	if service == nil {
		return ErrNotInstalled
	}
	defer service.Close()
	if _, err := service.Control(svc.Stop); err != nil && !errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) && !errors.Is(err, windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL) {
		return err
	}
	return s.until(ctx, service, svc.Stopped)
}

func (s *scm) restart(ctx context.Context) error {
	// The service's own program tells it. An older one has no such command, and opens its guards for a moment.
	if now, err := s.look(ctx); err == nil && now.State == Running {
		_, _ = s.run(ctx, now.Program, "restarting")
	}
	if err := s.stop(ctx); err != nil {
		return err
	}
	return s.start(ctx)
}

// until waits for a state of the service. One that has stopped instead has failed.
func (s *scm) until(ctx context.Context, service *mgr.Service, want svc.State) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		status, err := service.Query()
		switch {
		case err != nil:
			return err
		case status.State == want:
			return nil
		case status.State == svc.Stopped:
			return errors.New("it has ended; the event log says why (source " + s.name + ")")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
