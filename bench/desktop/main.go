//go:build linux

// Command desktop measures what the desktop app costs: how long it takes to show its first picture, beside an empty
// window of the same toolkit; how often it draws and what it needs of the processor while its window is open, and
// while it is hidden; and what it keeps of memory and goroutines over many connections. The app, the service and the
// bundled server are the shipped ones, the display is one in memory without a graphics card.
//
// It needs root: all of it stands on a host of its own, a network namespace that ends with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/lab"
	"github.com/adit-vpn/adit/lab/seat"
)

// options are the command line's.
type options struct {
	starts int
	rest   time.Duration
	hold   time.Duration
	pause  time.Duration
	bin    string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "desktop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, w io.Writer) error {
	var o options
	f := flag.NewFlagSet("desktop", flag.ContinueOnError)
	f.IntVar(&o.starts, "starts", 15, "starts of the app and of an empty window; 0: none")
	f.DurationVar(&o.rest, "rest", time.Minute, "how long it is watched while nothing happens, open and hidden; 0: not at all")
	f.DurationVar(&o.hold, "connect", 4*time.Minute, "how long it connects and disconnects, such as an hour; 0: not at all")
	f.DurationVar(&o.pause, "pause", 0, "how long it stays connected, and then disconnected, each time; a person takes seconds")
	f.StringVar(&o.bin, "bin", "bin", "`directory` of what make build and make gui make")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || o.starts < 0 || o.rest < 0 || o.hold < 0 || o.pause < 0 {
		return errors.New("wrong arguments; see -help")
	}
	if os.Geteuid() != 0 {
		return lab.ErrRoot
	}
	dir, err := os.MkdirTemp("", "adit-desk-") // short: sockets are in it
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	b := &bench{options: o, ctx: ctx, out: w, dir: dir}
	defer b.close()
	if err := b.prepare(); err != nil {
		return err
	}
	if o.starts > 0 {
		if err := b.measureStarts(); err != nil {
			return err
		}
	}
	if o.rest > 0 {
		if err := b.measureRest(); err != nil {
			return err
		}
	}
	if o.hold > 0 {
		return b.measureCycles()
	}
	return nil
}

// bench is the host with the service and the server on it.
type bench struct {
	options
	ctx     context.Context
	out     io.Writer
	dir     string
	net     *lab.Net
	node    *lab.Node
	daemon  *lab.Proc
	service *api.Client // of daemon
	seats   int
}

func (b *bench) close() {
	if b.service != nil {
		b.service.Close()
	}
	if b.net != nil {
		b.net.Close()
	}
}

// readyTime bounds the start of a program.
const readyTime = 20 * time.Second

func (b *bench) prepare() error {
	build := exec.CommandContext(b.ctx, "go", "build", "-tags", "gui,gles", "-o", filepath.Join(b.dir, "empty"), "./bench/desktop/empty")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the empty window (in the directory of the Makefile): %w\n%s", err, out)
	}
	var err error
	if b.net, err = lab.NewNet(b.dir); err != nil {
		return err
	}
	if b.node, err = b.net.Node("n"); err != nil {
		return err
	}
	data := filepath.Join(b.dir, "data")
	if _, err := b.run("profile: ", "adit-endpoint", "up", "--data", data); err != nil {
		return err
	}
	if err := b.serve(); err != nil {
		return err
	}
	b.service = api.NewClient(b.socket())
	text, err := os.ReadFile(filepath.Join(data, "client.ovpn"))
	if err != nil {
		return err
	}
	_, err = b.service.Import(b.ctx, api.ImportRequest{Name: "work", Text: string(text)})
	return err
}

func (b *bench) socket() string { return filepath.Join(b.dir, "s") }

// serve starts the service.
func (b *bench) serve() (err error) {
	b.daemon, err = b.run("listening", "aditd", "--state", filepath.Join(b.dir, "state"), "--socket", b.socket())
	return err
}

// run starts one of the programs, and returns when it has said that it is ready.
func (b *bench) run(ready, program string, args ...string) (*lab.Proc, error) {
	p, err := b.node.Start(slices.Concat([]string{filepath.Join(b.bin, program)}, args)...)
	if err != nil {
		return nil, err
	}
	return p, p.WaitFor(ready, readyTime)
}

// seat makes a desktop.
func (b *bench) seat(tray, managed bool) (*seat.Seat, error) {
	b.seats++
	s, err := seat.Start(seat.Config{Dir: filepath.Join(b.dir, fmt.Sprint("d", b.seats)), Width: 1000, Height: 720, Tray: tray, Managed: managed,
		Run: func(argv ...string) (func(), error) {
			p, err := b.node.Start(argv...)
			if err != nil {
				return nil, err
			}
			return func() { _ = p.Stop(syscall.SIGTERM, 5*time.Second) }, nil // how it ends does not matter
		}})
	if err != nil {
		return nil, err
	}
	config := filepath.Join(s.Home, ".config", "adit")
	err = os.MkdirAll(config, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(config, "gui.json"), []byte(`{"version": 1, "theme": "light", "language": "en"}`), 0o600)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// app is what runs the desktop app.
func (b *bench) app() []string {
	return []string{filepath.Join(b.bin, "adit-gui"), "--socket", b.socket()}
}

// start starts a program at a seat.
func (b *bench) start(s *seat.Seat, argv ...string) (*lab.Proc, error) {
	return b.node.Start(slices.Concat([]string{"env"}, s.Env, argv)...)
}

// until asks again and again.
func (b *bench) until(what string, wait time.Duration, f func() bool) error {
	for end := time.Now().Add(wait); !f(); time.Sleep(5 * time.Millisecond) {
		switch {
		case b.ctx.Err() != nil:
			return b.ctx.Err()
		case time.Now().After(end):
			return fmt.Errorf("not within %s: %s", wait, what)
		}
	}
	return nil
}

// state waits until the service says this of the profile.
func (b *bench) state(want api.State) error {
	return b.until("work is "+string(want), readyTime, func() bool {
		st, err := b.service.Status(b.ctx)
		if err != nil {
			return false
		}
		is := api.Disconnected
		for _, c := range st.Connections {
			is = c.State
		}
		return is == want
	})
}

// press presses a line of the tray's menu as soon as it is there.
func (b *bench) press(s *seat.Seat, label string) error {
	return b.until("the tray's menu has "+label, readyTime, func() bool {
		i, err := s.Panel.Item()
		if err != nil {
			return false
		}
		pressed, err := i.Press(label)
		return err == nil && pressed
	})
}

// median of some.
func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}
