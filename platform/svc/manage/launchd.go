package manage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/platform/durable"
)

// launchd is macOS' manager. It keeps the service running while it is loaded, so that to stop it is to unload it.
type launchd struct {
	label string
	plist string // where its property list is
	text  func(program string) (string, error)
	// ctl runs launchctl(1).
	ctl   func(ctx context.Context, args ...string) (said string, err error)
	pause time.Duration // between two looks
	word  string        // Service.Restart
	logs  []string
}

func (l *launchd) target() string { return "system/" + l.label }

func (l *launchd) look(ctx context.Context) (Status, error) {
	now := Status{Manager: "launchd", State: NotInstalled}
	text, err := os.ReadFile(l.plist)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return now, err
	default:
		now.State, now.Automatic, now.Program = Stopped, true, plistProgram(text)
	}
	// An error says that it is not loaded, or that launchctl itself is in trouble, which the next call shows.
	said, err := l.ctl(ctx, "print", l.target())
	if err != nil {
		return now, nil
	}
	loaded := parsePrint(said)
	now.PID, now.State = loaded.PID, loaded.State
	if loaded.Program != "" {
		now.Program = loaded.Program
	}
	return now, nil
}

func (l *launchd) define(ctx context.Context, program string) (changed bool, err error) {
	text, err := l.text(program)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrPlace, err)
	}
	old, err := os.ReadFile(l.plist)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if changed = !bytes.Equal(old, []byte(text)); changed {
		if err := durable.Write(l.plist, []byte(text), 0o644); err != nil {
			return false, err
		}
	}
	_, err = l.ctl(ctx, "enable", l.target()) // whoever has disabled it
	return changed, err
}

func (l *launchd) undefine(context.Context) error {
	var errs []error
	for _, file := range append([]string{l.plist}, l.logs...) {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// start loads it, which starts it; loaded and not running it is started.
func (l *launchd) start(ctx context.Context) error {
	if _, err := l.ctl(ctx, "print", l.target()); err == nil {
		_, err := l.ctl(ctx, "kickstart", l.target())
		return err
	}
	_, err := l.ctl(ctx, "bootstrap", "system", l.plist)
	return err
}

// stop unloads it, and waits until launchd knows it no longer: it may answer before the service has ended.
func (l *launchd) stop(ctx context.Context) error {
	if _, err := l.ctl(ctx, "bootout", l.target()); err != nil {
		if _, e := l.ctl(ctx, "print", l.target()); e == nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		if _, err := l.ctl(ctx, "print", l.target()); err != nil {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("launchd does not let go of it: %w", ctx.Err())
		case <-time.After(l.pause):
		}
	}
}

func (l *launchd) restart(ctx context.Context) error {
	// In the directory of the service's socket, which is there while it runs, and in which only root can write.
	if os.WriteFile(l.word, nil, 0o600) == nil {
		defer os.Remove(l.word)
	}
	if err := l.stop(ctx); err != nil {
		return err
	}
	return l.start(ctx)
}

// parsePrint reads what launchctl print says of a service. Apple calls that no interface: only lines of the first
// level are read, and what is missing stays empty.
func parsePrint(said string) Status {
	s := Status{State: Starting}
	for line := range strings.Lines(said) {
		rest, first := strings.CutPrefix(line, "\t")
		name, value, found := strings.Cut(strings.TrimSpace(rest), " = ")
		if !first || !found || strings.HasPrefix(rest, "\t") {
			continue
		}
		switch name {
		case "state":
			if value == "running" {
				s.State = Running
			}
		case "pid":
			if pid, err := strconv.Atoi(value); err == nil && pid > 0 {
				s.PID = pid
			}
		case "program":
			s.Program = value
		}
	}
	return s
}

// plistProgram is the first of a property list's strings that is a path: the program, in a list of ours.
func plistProgram(text []byte) string {
	for line := range strings.Lines(string(text)) {
		value, found := strings.CutPrefix(strings.TrimSpace(line), "<string>/")
		if value, closed := strings.CutSuffix(value, "</string>"); found && closed {
			return unescape.Replace("/" + value)
		}
	}
	return ""
}

var unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&#34;", `"`, "&apos;", "'", "&#39;", "'", "&amp;", "&")
