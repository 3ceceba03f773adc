//go:build linux

// Package seat is a person's desktop without a person: a display in memory with a window manager, a session's bus
// with notifications and, if wanted, a tray, and a home. What is on the display can be read, and keys be pressed.
package seat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/jezek/xgb"
)

// Programs are what a seat is made of, beside dbus-daemon.
func Programs() []string { return []string{"Xvfb", "openbox", "xdotool", "dbus-daemon"} }

// upTime is how long each part may take to be there on a busy machine.
const upTime = 30 * time.Second

// Config is what a seat is made of.
type Config struct {
	Dir           string // is made, and has short names: sockets are in it
	Width, Height int    // of the display, pixels
	Tray          bool   // GNOME has none by itself
	Managed       bool   // by a window manager
	// Run starts a program where the seat is to be; stop ends it and waits.
	Run func(argv ...string) (stop func(), err error)
}

// Seat is one such desktop. Safe for concurrent use.
type Seat struct {
	Home, Runtime string   // directories of the person's
	Env           []string // what programs need to know of the seat, "NAME=value"
	Notes         *Notes
	Panel         *Panel

	bus    *dbus.Conn
	x      *xgb.Conn
	screen string // the display's memory, an XWD file
	stops  []func()
}

// Start starts a seat.
func Start(c Config) (s *Seat, err error) {
	s = &Seat{Home: filepath.Join(c.Dir, "home"), Runtime: filepath.Join(c.Dir, "run"), Notes: &Notes{}, Panel: &Panel{}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	display := filepath.Join(c.Dir, "display")
	s.screen = filepath.Join(display, "Xvfb_screen0")
	for _, dir := range []string{s.Home, s.Runtime, display} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return s, err
		}
	}
	run := func(argv ...string) error {
		stop, err := c.Run(argv...)
		if err == nil {
			s.stops = append(s.stops, stop)
		}
		return err
	}
	address := "unix:path=" + filepath.Join(c.Dir, "bus")
	if err := s.startBus(run, c, address); err != nil {
		return s, err
	}
	number, held, err := freeDisplay()
	if err != nil {
		return s, err
	}
	s.stops = append(s.stops, func() { held.Close() })
	if err := run("Xvfb", ":"+number, "-screen", "0", fmt.Sprintf("%dx%dx24", c.Width, c.Height), "-fbdir", display, "-nolisten", "tcp", "-noreset", "-nocursor"); err != nil {
		return s, err
	}
	xgb.Logger.SetOutput(io.Discard) // it tells of each try
	if err := await("the display", func() (up bool) {
		s.x, err = xgb.NewConnDisplay(":" + number)
		return err == nil
	}); err != nil {
		return s, err
	}
	s.Env = []string{"HOME=" + s.Home, "XDG_RUNTIME_DIR=" + s.Runtime, "DBUS_SESSION_BUS_ADDRESS=" + address, "DISPLAY=:" + number,
		"LIBGL_ALWAYS_SOFTWARE=1", "LC_ALL=en_US.UTF-8"}
	if !c.Managed {
		return s, nil
	}
	if err := run(append(append([]string{"env"}, s.Env...), "openbox", "--sm-disable")...); err != nil {
		return s, err
	}
	return s, await("the window manager", func() bool { _, err := s.xdotool("get_num_desktops"); return err == nil }) // which it tells
}

// freeDisplay finds a number for a display that nobody uses, and keeps it until held is closed. Xvfb's own search
// (-displayfd) takes a number twice, in two network namespaces with one /tmp.
func freeDisplay() (number string, held io.Closer, err error) {
	for n := 40; n < 400; n++ {
		if _, err := os.Lstat(fmt.Sprintf("/tmp/.X%d-lock", n)); err == nil {
			continue
		}
		if held, err = net.Listen("unix", fmt.Sprintf("@adit-seat-%d", n)); err == nil {
			return strconv.Itoa(n), held, nil
		}
	}
	return "", nil, fmt.Errorf("no display is free: %w", err)
}

// startBus starts the session's bus, without services that the machine has and it would start: keychains, portals.
func (s *Seat) startBus(run func(argv ...string) error, c Config, address string) error {
	config := filepath.Join(c.Dir, "bus.conf")
	text := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>` + address + `</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	if err := run("dbus-daemon", "--config-file="+config, "--nofork", "--nopidfile"); err != nil {
		return err
	}
	if err := await("the session's bus", func() (up bool) {
		var err error
		s.bus, err = dbus.Connect(address)
		return err == nil
	}); err != nil {
		return err
	}
	if err := s.Notes.serve(s.bus); err != nil || !c.Tray {
		return err
	}
	return s.Panel.serve(s.bus)
}

// Close ends all of it.
func (s *Seat) Close() {
	if s.bus != nil {
		s.bus.Close()
	}
	if s.x != nil {
		s.x.Close()
	}
	for i := range s.stops {
		s.stops[len(s.stops)-1-i]()
	}
}

func await(what string, there func() bool) error {
	for end := time.Now().Add(upTime); !there(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%s is not there after %s", what, upTime)
		}
	}
	return nil
}

func (s *Seat) xdotool(args ...string) (string, error) {
	cmd := exec.Command("xdotool", args...)
	cmd.Env = append(os.Environ(), s.Env...)
	out, err := cmd.Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) && len(failed.Stderr) > 0 {
		err = fmt.Errorf("xdotool %s: %s", args[0], bytes.TrimSpace(failed.Stderr))
	}
	return strings.TrimSpace(string(out)), err
}

// keyPause is between two keys, milliseconds.
const keyPause = "40"

// Key presses keys, one after the other, as X names them: "Tab", "ctrl+o".
func (s *Seat) Key(keys ...string) error {
	_, err := s.xdotool(append([]string{"key", "--delay", keyPause}, keys...)...)
	return err
}

// Type types a text.
func (s *Seat) Type(text string) error {
	_, err := s.xdotool("type", "--delay", keyPause, text)
	return err
}

// Click presses the mouse at a place of the display.
func (s *Seat) Click(x, y int) error {
	_, err := s.xdotool("mousemove", strconv.Itoa(x), strconv.Itoa(y), "click", "1")
	return err
}

// Window finds the window of this title on the display, by its number; false: there is none.
func (s *Seat) Window(title string) (id uint32, ok bool) {
	out, err := s.xdotool("search", "--onlyvisible", "--name", "^"+title+"$")
	if err != nil {
		return 0, false // it says so when it finds nothing
	}
	n, err := strconv.ParseUint(strings.Fields(out + " x")[0], 10, 32)
	return uint32(n), err == nil
}

// Active is the title of the window that has the keyboard.
func (s *Seat) Active() string {
	out, err := s.xdotool("getactivewindow", "getwindowname")
	if err != nil {
		return ""
	}
	return out
}
