package svc

import (
	"context"
	"errors"
	"log/slog"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// event is the number of our events: with EventCreate's messages, which Windows has for whoever has none of its own, it
// shows the text alone.
const event = 1

// stopWait is how long the manager is asked to wait for the end, in milliseconds: tunnels are taken down in it.
const stopWait = 60_000

// Run answers the service control manager while run runs, and returns its exit code. The context ends when the service is to
// stop or the machine shuts down. The service counts as started when run calls ready. Where the manager has not started
// this process, as it says when it is asked, nothing runs, and was is false.
func Run(run func(ctx context.Context, events *Events, ready func()) int) (code int, was bool) {
	if is, err := svc.IsWindowsService(); (err != nil || !is) && hasOutput() {
		return 0, false
	}
	s := &service{run: run}
	err := svc.Run(Name, s)
	if !s.ran && errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
		return 0, false
	}
	if err != nil && s.code == 0 {
		s.code = 1 // the manager does not listen
	}
	return s.code, true
}

// hasOutput says whether somebody reads what this process writes, which is so for no service. It is asked where no service
// manager is seen above this process: wine has services, but not in the session where Windows has them.
func hasOutput() bool {
	h, err := windows.GetStdHandle(windows.STD_ERROR_HANDLE)
	if err != nil || h == 0 || h == windows.InvalidHandle {
		return false
	}
	kind, err := windows.GetFileType(h)
	return err == nil && kind != windows.FILE_TYPE_UNKNOWN
}

// open opens the event log. What cannot be logged is lost; there is nobody to tell.
func open() (events *Events, done func()) {
	_ = eventlog.InstallAsEventCreate(Name, eventlog.Info|eventlog.Warning|eventlog.Error) // it may be there already
	log, err := eventlog.Open(Name)
	if err != nil {
		return NewEvents(func(slog.Level, string) error { return nil }), func() {}
	}
	return NewEvents(func(level slog.Level, text string) error {
		switch {
		case level >= slog.LevelError:
			return log.Error(event, text)
		case level >= slog.LevelWarn:
			return log.Warning(event, text)
		}
		return log.Info(event, text)
	}), func() { log.Close() }
}

// service is what the manager talks to.
type service struct {
	run  func(context.Context, *Events, func()) int
	ran  bool
	code int
}

// Execute implements svc.Handler.
func (s *service) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (specific bool, code uint32) {
	s.ran = true
	status <- svc.Status{State: svc.StartPending, WaitHint: stopWait}
	events, closeLog := open()
	defer closeLog()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ready, done := make(chan struct{}, 1), make(chan int, 1)
	go func() {
		done <- s.run(ctx, events, func() {
			select {
			case ready <- struct{}{}:
			default: // it was ready before
			}
		})
	}()
	for {
		select {
		case <-ready:
			status <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				status <- r.CurrentStatus
			case svc.Stop, svc.Shutdown:
				status <- svc.Status{State: svc.StopPending, WaitHint: stopWait}
				stop()
			}
		case s.code = <-done:
			return s.code != 0, uint32(s.code)
		}
	}
}
