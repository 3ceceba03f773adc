package manage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"
)

// System is the manager of this system, for the service of this name. It needs no definition.
func System(_ context.Context, name string, _ func(program string) (string, error)) (m *Manager, done func() error, err error) {
	return &Manager{
		sys:     &scm{name: name},
		allowed: func() bool { return windows.GetCurrentProcessToken().IsElevated() },
		check:   sound, run: command,
	}, func() error { return nil }, nil
}

// scm is Windows' service control manager.
type scm struct{ name string }

// config is the service as it should be. It starts after the filtering engine, which keeps the guard, and the DNS client; its SID is what the guard knows
// its packets by.
func (s *scm) config(program string) mgr.Config {
	return mgr.Config{
		ServiceType: windows.SERVICE_WIN32_OWN_PROCESS, StartType: mgr.StartAutomatic, ErrorControl: mgr.ErrorNormal,
		BinaryPathName: windows.EscapeArg(program), DisplayName: "Adit VPN service",
		Description:  "Opens VPN tunnels, and keeps what belongs into them from leaving any other way.",
		Dependencies: []string{"BFE", "Dnscache"}, SidType: windows.SERVICE_SID_TYPE_UNRESTRICTED,
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
	config, err := service.Config()
	if err != nil {
		return now, err
	}
	status, err := service.Query()
	if err != nil {
		return now, err
	}
	now.Automatic = config.StartType == mgr.StartAutomatic
	now.PID = int(status.ProcessId)
	if args, err := windows.DecomposeCommandLine(config.BinaryPathName); err == nil && len(args) > 0 {
		now.Program = args[0]
	}
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
		if service, err = manager.CreateService(s.name, program, want); err != nil {
			return false, err
		}
		changed = true
	}
	defer service.Close()
	if !changed {
		have, err := service.Config()
		if err != nil {
			return false, err
		}
		args, _ := windows.DecomposeCommandLine(have.BinaryPathName)
		if len(args) == 0 || !strings.EqualFold(args[0], program) {
			return false, fmt.Errorf("a service %s is there already, of another program: %s", s.name, have.BinaryPathName)
		}
		// Arguments that an administrator gave it stay.
		want.BinaryPathName, want.ServiceStartName = have.BinaryPathName, have.ServiceStartName
		if err := service.UpdateConfig(want); err != nil {
			return false, err
		}
	}
	if err := service.SetRecoveryActions([]mgr.RecoveryAction{
		{Type: mgr.ServiceRestart, Delay: time.Second}, {Type: mgr.ServiceRestart, Delay: 5 * time.Second}, {Type: mgr.ServiceRestart, Delay: 30 * time.Second},
	}, 24*60*60); err != nil {
		return changed, fmt.Errorf("recovery actions: %w", err)
	}
	if err := service.SetRecoveryActionsOnNonCrashFailures(true); err != nil {
		return changed, fmt.Errorf("recovery actions: %w", err)
	}
	// The service sees to it itself when it starts, too.
	_ = eventlog.InstallAsEventCreate(s.name, eventlog.Info|eventlog.Warning|eventlog.Error) // it may be there already
	return changed, nil
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
