package svc

import (
	"context"
	"log/slog"

	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// event is the number of our events: with EventCreate's messages, which Windows has for whoever has none of its own, it
// shows the text alone.
const event = 1

// stopWait is how long the manager is asked to wait for the end, in milliseconds: tunnels are taken down in it.
const stopWait = 60_000

// Managed says whether the service control manager has started this process.
func Managed() bool {
	is, err := svc.IsWindowsService()
	return err == nil && is
}

// Run answers the manager while run runs, and returns its exit code. The context ends when the service is to stop or the machine
// shuts down. The service counts as started when run calls ready.
func Run(run func(ctx context.Context, events *Events, ready func()) int) (code int, err error) {
	// What cannot be logged is lost; there is nobody to tell.
	_ = eventlog.InstallAsEventCreate(Name, eventlog.Info|eventlog.Warning|eventlog.Error) // it may be there already
	report := func(slog.Level, string) error { return nil }
	if log, err := eventlog.Open(Name); err == nil {
		defer log.Close()
		report = func(level slog.Level, text string) error {
			switch {
			case level >= slog.LevelError:
				return log.Error(event, text)
			case level >= slog.LevelWarn:
				return log.Warning(event, text)
			}
			return log.Info(event, text)
		}
	}
	s := &service{run: run, events: NewEvents(report)}
	err = svc.Run(Name, s)
	return s.code, err
}

// service is what the manager talks to.
type service struct {
	run    func(context.Context, *Events, func()) int
	events *Events
	code   int
}

// Execute implements svc.Handler.
func (s *service) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (specific bool, code uint32) {
	status <- svc.Status{State: svc.StartPending, WaitHint: stopWait}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ready, done := make(chan struct{}, 1), make(chan int, 1)
	go func() {
		done <- s.run(ctx, s.events, func() {
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
