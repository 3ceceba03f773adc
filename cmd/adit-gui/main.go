//go:build gui

// Command adit-gui is Adit's desktop app: a window and a tray icon over the service (aditd). It needs no
// privileges. The tag gui keeps its toolkit, which is slow to compile, out of what is built with ./...
//
// Here are flags and wiring; what is shown and what a click does is in gui/view, how it is drawn in gui.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"fyne.io/fyne/v2/app"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/diagnose"
	"github.com/adit-vpn/adit/client/reach"
	"github.com/adit-vpn/adit/client/source"
	"github.com/adit-vpn/adit/gui"
	"github.com/adit-vpn/adit/gui/demo"
	"github.com/adit-vpn/adit/gui/instance"
	"github.com/adit-vpn/adit/gui/tray"
	"github.com/adit-vpn/adit/gui/view"
	"github.com/adit-vpn/adit/installer/darwin"
	"github.com/adit-vpn/adit/platform/autostart"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/platform/secrets"
	"github.com/adit-vpn/adit/saml/signin"
)

// version is set by the linker.
var version = "devel"

// appID is the program's name among all of a desktop.
const appID = "io.github.adit_vpn.Adit"

func main() {
	err := run(os.Args[1:], os.Stdout)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "adit-gui:", err)
	show(err)
	if errors.As(err, new(*usageError)) {
		os.Exit(2)
	}
	os.Exit(1)
}

// usageError is a wrong command line.
type usageError struct{ error }

type options struct {
	socket string
	hidden bool
	show   bool // the version
	open   []string
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("adit-gui", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprint(f.Output(), "Usage: adit-gui [flags] [FILE | openvpn://import-profile/https://…]\n\n"+
			"Opens the window, and offers to add the profile. If the app runs already, its window comes to the front.\n\n")
		f.PrintDefaults()
	}
	socket := os.Getenv("ADIT_SOCKET")
	if socket == "" {
		socket = ipc.DefaultPath
	}
	f.StringVar(&o.socket, "socket", socket, "where the service listens; ADIT_SOCKET sets it too")
	f.BoolVar(&o.hidden, "hidden", false, "start without the window, in the tray")
	f.BoolVar(&o.show, "version", false, "print the version")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, &usageError{err}
	}
	for _, arg := range f.Args() {
		what, err := instance.ToOpen(arg)
		if err != nil {
			return o, &usageError{err}
		}
		o.open = append(o.open, what)
	}
	return o, nil
}

func run(args []string, w io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.show {
		_, err := fmt.Fprintln(w, "adit-gui", version)
		return err
	}
	dir, err := instance.Dir()
	if err != nil {
		return err
	}
	first, err := instance.First(dir, instance.Request{Open: o.open, Hidden: o.hidden})
	if err != nil || first == nil {
		return err // or another one has taken over what was asked
	}
	defer first.Close()
	return serve(o, first)
}

// bundledServer is the one beside this program, self, or where macOS has programs that are in no app, and what ends it; nil
// when it is not there.
func bundledServer(self string) (view.Demo, func()) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, func() {}
	}
	data := filepath.Join(cache, "adit", "demo")
	s := demo.Find(self, data)
	if s == nil && runtime.GOOS == "darwin" {
		s = demo.Find(darwin.Programs+"/adit-gui", data)
	}
	if s == nil {
		return nil, func() {}
	}
	return s, s.Close
}

func ownVersion() api.Version {
	return api.Version{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
}

// report is what adit diagnose writes.
func report(ctx context.Context, c *api.Client, socket string) ([]byte, error) {
	now := time.Now()
	entries, err := diagnose.Collect(ctx, diagnose.Source{Client: c, Socket: socket, Own: ownVersion(), Now: now})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = diagnose.Write(&b, entries, now)
	return b.Bytes(), err
}

// garbage is how much memory may be waiting for the collector, percent of what is in use: half of what is usual, as the app
// lies in the background all day, and makes little.
const garbage = 50

// serve runs the app until the person quits.
func serve(o options, first *instance.Instance) error {
	collect := func() { debug.SetGCPercent(garbage) }
	if debug.SetGCPercent(-1); o.hidden { // it would run a dozen times before the first picture
		collect()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	backend := api.NewClient(o.socket)
	defer backend.Close()
	var preferences string
	if dir, err := os.UserConfigDir(); err == nil {
		preferences = filepath.Join(dir, "adit", "gui.json")
	}
	var starter view.Autostart
	var bundled view.Demo
	if self, err := os.Executable(); err == nil { // else the app does without both
		starter = autostart.Entry{ID: appID, Name: "Adit", Program: self, Args: []string{"--hidden"}}
		var done func()
		bundled, done = bundledServer(self)
		defer done()
	}
	var desk *gui.Desktop
	made := make(chan struct{}) // closed when desk is
	model := view.New(view.Config{
		Backend: backend, Vault: secrets.Keychain{}, Open: signin.NewBrowser(), Browse: signin.Run,
		Read: func(ctx context.Context, arg string) (source.Source, error) {
			return source.Read(ctx, http.DefaultClient, arg)
		},
		Reach: func(ctx context.Context, target reach.Target) (reach.Report, error) {
			return reach.Do(ctx, backend, target)
		},
		Report:    func(ctx context.Context) ([]byte, error) { return report(ctx, backend, o.socket) },
		Autostart: starter, Demo: bundled, Preferences: preferences, Locales: locales(), Hidden: o.hidden,
		Version: ownVersion(),
		Publish: func(s view.Screen) { <-made; desk.Publish(s) },
		Notify:  func(n view.Notification) { <-made; desk.Do(func() { desk.Notify(n) }) },
		Raise:   func() { <-made; desk.Do(desk.Open) },
	})
	// The toolkit must not be asked to draw when it has ended: what draws ends first. It begins before the toolkit, so
	// that there is something to draw.
	ran := make(chan struct{})
	var drawing, ending sync.WaitGroup
	drawing.Go(func() { _ = model.Run(ctx) }) // it ends with ctx
	a := app.NewWithID(appID)
	panel := tray.New("Adit")
	defer panel.Close()
	desk = gui.NewDesktop(a, model, panel, runtime.GOOS == "darwin", tray.There)
	desk.OnQuit(stop)
	desk.OnOpened(collect)
	close(made)
	a.Lifecycle().SetOnStarted(func() {
		drawing.Go(func() {
			first.Serve(ctx, func(r instance.Request) {
				for _, what := range r.Open {
					model.ImportFile(what)
				}
				if !r.Hidden {
					desk.Do(desk.Open)
				}
			})
		})
		ending.Go(func() {
			<-ctx.Done()
			drawing.Wait()
			select {
			case <-ran: // the system ended the toolkit
			default:
				desk.Do(a.Quit)
			}
		})
		for _, what := range o.open {
			model.ImportFile(what)
		}
		desk.Start(!o.hidden)
	})
	a.Run()
	close(ran)
	stop()
	drawing.Wait()
	ending.Wait()
	return nil
}
