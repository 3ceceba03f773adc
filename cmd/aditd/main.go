// Command aditd is Adit's service. It owns TUN devices, routes and DNS, keeps profiles and
// wishes, and answers the local API. It runs in the foreground until SIGINT or SIGTERM, or as a service of Windows until the
// service control manager stops it; then it undoes everything. Wishes stay, and are resumed at the next start.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/adit-vpn/adit/client"
	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/confine"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/platform/lock"
	"github.com/adit-vpn/adit/platform/portal"
	"github.com/adit-vpn/adit/platform/seal"
	"github.com/adit-vpn/adit/platform/sessions"
	"github.com/adit-vpn/adit/platform/trusted"
	"github.com/adit-vpn/adit/platform/watch"
)

const usage = `usage: aditd [--socket PATH] [--state DIR] [--policy FILE]   run the service
             [--allow-insecure-ciphers]                      let profiles use BF-CBC and DES
       aditd cleanup [--state DIR | --purge]                 undo what a crashed run left behind; --purge also removes profiles and settings
       aditd restarting [--state DIR]                        who stops the service next starts it again at once: closed guards stay closed
       aditd provision [--profile FILE|DIR] [--policy FILE] [--check]   take over what an installer was given (Windows)
       aditd version
`

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 64 // EX_USAGE (sysexits.h); 2 is that of a crash, after which the unit starts it again
)

// version is set when a release is linked (-ldflags "-X main.version=1.2.3").
var version = "dev"

func main() {
	if err := confine.Process(); err != nil {
		fmt.Fprintln(os.Stderr, "aditd: runs with more rights than it needs:", err)
	}
	if code, was := managed(os.Args[1:]); was {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], terminal(os.Stdout, ownLog(os.Stderr), answers))
	stop()
	os.Exit(code)
}

// surroundings are where a run's words go, and who wants to know that the service answers.
type surroundings struct {
	stdout, stderr io.Writer
	log            *slog.Logger
	ready          func()
}

// terminal are those of a program that somebody started, or systemd or launchd.
func terminal(stdout, stderr io.Writer, ready func() error) surroundings {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	return surroundings{stdout, stderr, log, func() {
		if err := ready(); err != nil {
			log.Error("cannot tell the service manager that the service answers", "error", err)
		}
	}}
}

// hinted is an error with what to do about it.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// wrongUsage is an error in the command line.
type wrongUsage struct{ error }

// options are the command line's.
type options struct {
	socket, state, policy string
	insecure              bool // --allow-insecure-ciphers
	purge                 bool
	profile               string // of provision, as policy
	check                 bool
}

// execute runs one command line until it is done or ctx ends, and returns the exit code.
func execute(ctx context.Context, args []string, to surroundings) int {
	err := command(ctx, args, to)
	var (
		wrong wrongUsage
		h     *hinted
		p     *api.Problem
	)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(to.stdout, usage)
		return exitDone
	case errors.As(err, &wrong):
		fmt.Fprintf(to.stderr, "aditd: %v\nhint: %s", err, strings.Replace(usage, "\n", "\nhint:", strings.Count(usage, "\n")-1))
		return exitUsage
	case errors.As(err, &h):
		fmt.Fprintf(to.stderr, "aditd: %v\nhint: %s\n", err, h.hint)
	case errors.As(err, &p):
		fmt.Fprintf(to.stderr, "aditd: %v\nhint: %s\n", p.Message, strings.ReplaceAll(p.Hint, "\n", "\nhint: "))
	default:
		fmt.Fprintf(to.stderr, "aditd: %v\n", err)
	}
	return exitFailed
}

func command(ctx context.Context, args []string, to surroundings) error {
	name := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	var o options
	flags := flag.NewFlagSet("aditd "+name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	switch name {
	case "run", "cleanup", "restarting":
		flags.StringVar(&o.state, "state", "", "")
	case "version", "provision":
	default:
		return wrongUsage{fmt.Errorf("there is no command %q", name)}
	}
	switch name {
	case "cleanup":
		flags.BoolVar(&o.purge, "purge", false, "")
	case "provision":
		flags.StringVar(&o.profile, "profile", "", "")
		flags.StringVar(&o.policy, "policy", "", "")
		flags.BoolVar(&o.check, "check", false, "")
	case "run":
		flags.StringVar(&o.socket, "socket", ipc.DefaultPath, "")
		flags.StringVar(&o.policy, "policy", "", "")
		flags.BoolVar(&o.insecure, "allow-insecure-ciphers", false, "")
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return wrongUsage{err}
	}
	if flags.NArg() > 0 {
		return wrongUsage{fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	}
	if o.purge && o.state != "" { // whatever else is in it would be removed, too
		return wrongUsage{errors.New("--purge is for the service's own state directory, not for another --state")}
	}
	if o.state == "" && name != "version" {
		var err error
		if o.state, err = stateDir(); err != nil {
			return fmt.Errorf("state directory: %w", err)
		}
	}
	switch name {
	case "version":
		fmt.Fprintf(to.stdout, "aditd %s\n", version)
		return nil
	case "cleanup":
		return cleanup(ctx, o, to)
	case "restarting":
		return announce(o.state, to.stdout)
	case "provision":
		if o.profile == "" && o.policy == "" {
			return wrongUsage{errors.New("provision: nothing to take over is named")}
		}
		at, err := provisioning(o.state)
		if err != nil && !o.check {
			return err
		}
		return provision(at, o.profile, o.policy, o.check, to.stdout)
	}
	return serve(ctx, o, to)
}

// cleanup undoes what a crashed run left behind. Profiles and wishes stay, unless all is to go.
func cleanup(ctx context.Context, o options, to surroundings) error {
	held, err := take(o.state)
	if err != nil {
		return err
	}
	defer held.Close()
	n, err := platform.CleanUp(ctx, journalDir(o.state), to.log)
	if err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	announced(o.state)
	if file := handoverFile(o.state); file != "" {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) { // nobody takes it over any more
			return fmt.Errorf("clean up: %w", err)
		}
	}
	switch n {
	case 0:
		fmt.Fprintln(to.stdout, "nothing to undo")
	case 1:
		fmt.Fprintln(to.stdout, "undid 1 change that a crashed run left behind")
	default:
		fmt.Fprintf(to.stdout, "undid %d changes that a crashed run left behind\n", n)
	}
	if !o.purge {
		return nil
	}
	held.Close() // Windows removes no file that is open
	stays, err := purge(o.state, forgetPolicy)
	if err != nil {
		return err
	}
	if stays {
		fmt.Fprintln(to.stdout, "the policy stays: it is not, or no longer, what was given with the installation")
	}
	fmt.Fprintf(to.stdout, "removed %s\n", o.state)
	return nil
}

// serve is the service: clean up, listen, resume the wishes, and answer until told ends.
func serve(told context.Context, o options, to surroundings) error {
	ctx := told
	written, err := systemPolicy()
	if o.policy != "" {
		written, err = policyIn(o.policy)
	}
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	log := to.log
	held, err := take(o.state)
	if err != nil {
		return err
	}
	defer held.Close()
	announced(o.state) // what the last service was told and did not hear
	service, err := client.NewService(client.ServiceConfig{
		StateDir: o.state,
		Sealer:   seal.System(),
		Hosts: func(name string, log *slog.Logger) (platform.Host, error) {
			return platform.NewHost(platform.HostConfig{JournalDir: journalDir(o.state), Name: name, Log: log})
		},
		Log:             log,
		Dialer:          client.SystemDialer{Mark: mark()},
		Resolver:        net.DefaultResolver,
		Version:         version,
		InsecureCiphers: o.insecure,
		Handover:        handoverFile(o.state),
		Policy:          written.policy,
		ManagedProfiles: written.profiles,
		ManagedChanges:  written.changes,
		PolicyRequired:  o.policy != "",
		Portal:          func(ctx context.Context) portal.State { return portal.Look(ctx, portal.Config{}) },
		Sessions: func(ctx context.Context, changed func([]sessions.User)) error {
			return sessions.Watch(ctx, "", changed)
		},
	})
	if err != nil {
		return err
	}
	n, err := platform.CleanUpBut(ctx, journalDir(o.state), service.Keeps, log)
	if err != nil {
		return &hinted{fmt.Errorf("clean up after the last run: %w", err), "see what could not be undone with: aditd cleanup"}
	}
	if n > 0 {
		log.Warn("the last run did not end cleanly; its leftovers are undone", "changes", n)
	}
	// The door opens before wishes are resumed, so that a second service cannot
	// bring up tunnels that nobody can reach.
	l, err := ipc.Listen(o.socket, 0o666)
	switch {
	case errors.Is(err, ipc.ErrInUse):
		return &hinted{err, "another aditd runs; stop it first, or give this one another --socket and --state"}
	case errors.Is(err, os.ErrPermission):
		return &hinted{err, "run aditd as root or administrator, or give a --socket where you may write"}
	case err != nil:
		return &hinted{err, "give a --socket PATH where nothing else is"}
	}
	ctx, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	defer context.AfterFunc(told, func() {
		if noted := announced(o.state); restarting(ctx) || noted {
			log.Info("ending to be started again: closed guards stay closed")
			end(client.ErrRestart)
		}
		end(context.Cause(told))
	})()
	return both(ctx, service.Run, func(ctx context.Context) error {
		log.Info("listening", "socket", o.socket, "version", version)
		to.ready()
		return api.NewServer(service, api.SystemMembers, log).Serve(ctx, l)
	})
}

// mark is by what a guard knows our packets. Without root nothing of the system can be changed anyway.
func mark() int {
	if os.Geteuid() != 0 {
		return 0
	}
	return platform.Mark
}

// both runs two functions until both ended; the end of one ends the other.
func both(ctx context.Context, a, b func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- b(ctx)
	}()
	err := a(ctx)
	cancel()
	return errors.Join(err, <-done)
}

// take makes the state directory and keeps other services out of it.
func take(state string) (*lock.File, error) {
	err := lock.Folder(state)
	var held *lock.File
	if err == nil {
		held, err = lock.Take(filepath.Join(state, "lock"))
	}
	switch {
	case errors.Is(err, lock.ErrHeld):
		return nil, &hinted{fmt.Errorf("another aditd uses %s", state), "stop it first, or give this one another --state and --socket"}
	case errors.Is(err, lock.ErrShared):
		return nil, &hinted{fmt.Errorf("state directory: %w", err), "give a --state of this service alone; a missing one is made"}
	case errors.Is(err, os.ErrPermission):
		return nil, &hinted{fmt.Errorf("state directory: %w", err), "run aditd as root or administrator, or give a --state where you may write"}
	case err != nil:
		return nil, &hinted{fmt.Errorf("state directory: %w", err), "give a --state DIR where files can be made"}
	}
	return held, nil
}

func journalDir(state string) string { return filepath.Join(state, "journal") }

// decisions are what the administrator writes.
type decisions struct {
	policy   client.PolicySource
	profiles fs.FS
	changes  func(ctx context.Context, changed func()) error // nil: nobody tells
}

// policyIn is the policy in a file; managed profiles are in the folder "profiles" beside it.
func policyIn(file string) (decisions, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return decisions{}, err
	}
	dir := filepath.Dir(path)
	profiles := filepath.Join(dir, "profiles")
	return decisions{
		policy:   client.PolicyFile(trusted.Dir(dir), filepath.Base(path), path),
		profiles: trusted.Dir(profiles),
		changes: func(ctx context.Context, changed func()) error {
			return watch.Folders(ctx, []string{dir, profiles}, changed)
		},
	}, nil
}
