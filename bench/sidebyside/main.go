//go:build linux

// Command sidebyside measures tunnels of Adit beside those of openvpn and wireguard-go, and
// beside a wire without a tunnel. Every contender stands on wires of its own in network
// namespaces of its own, all alike, and they take turns, so that a noisy machine disturbs all of
// them: what counts are ratios.
//
// It needs root, openvpn and iperf3, and the module's source with Go; valgrind and perf for parts that
// are left out without them. Everything happens in namespaces that end with it; only the limit of inotify
// instances is raised for the whole machine until it ends.
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
	"strings"
	"syscall"
	"time"

	"github.com/adit-vpn/adit/bench/report"
	"github.com/adit-vpn/adit/lab"
)

// options are the command line's.
type options struct {
	bin        string
	rounds     int
	length     time.Duration // of one stream
	connects   int
	peers      int
	clients    int      // of clients20000
	storm      int      // clients of storm
	only       []string // names of measurements
	contenders []string
	write      string // directory; empty: nothing
	check      bool
	verbose    bool
	quick      bool
}

// What -quick does: three rounds of short streams, and only what is told apart soon.
const (
	quickLength   = time.Second
	quickConnects = 5
	quickOnly     = "stream,tcp,chacha,idleping,connect"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	var only, contenders string
	var seconds int
	f := flag.NewFlagSet("sidebyside", flag.ContinueOnError)
	f.StringVar(&o.bin, "bin", "bin", "`directory` of adit, adit-userspace, aditd and adit-endpoint")
	f.IntVar(&o.rounds, "rounds", 3, "how often each measurement is repeated")
	f.IntVar(&seconds, "seconds", 4, "length of one stream")
	f.IntVar(&o.connects, "connects", 15, "how often each contender connects")
	f.IntVar(&o.peers, "peers", 100, "clients of peers100")
	f.IntVar(&o.clients, "clients", 20000, "clients of clients20000")
	f.IntVar(&o.storm, "storm", 5000, "clients of storm")
	f.StringVar(&only, "only", "", "measurements, of "+strings.Join(names(), ",")+" (default all)")
	f.StringVar(&contenders, "contenders", strings.Join(contenderNames, ","), "who takes part")
	f.StringVar(&o.write, "write", "", "write performance.md and performance.svg into this `directory`")
	f.BoolVar(&o.quick, "quick", false, "two minutes: short streams, and only "+quickOnly)
	f.BoolVar(&o.check, "check", false, "fail when a goal is measured and not met")
	f.BoolVar(&o.verbose, "v", false, "show at the end what the tunnels' programs said")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	set := map[string]bool{}
	f.Visit(func(f *flag.Flag) { set[f.Name] = true })
	o.length = time.Duration(seconds) * time.Second
	if o.quick {
		if !set["only"] {
			only = quickOnly
		}
		if !set["seconds"] {
			o.length = quickLength
		}
		if !set["connects"] {
			o.connects = quickConnects
		}
	}
	if only == "" {
		o.only = names()
	} else {
		o.only = strings.Split(only, ",")
	}
	o.contenders = strings.Split(contenders, ",")
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			return o, fmt.Errorf("there is no measurement %q", name)
		}
	}
	for _, name := range o.contenders {
		if !slices.Contains(contenderNames, name) {
			return o, fmt.Errorf("there is no contender %q", name)
		}
	}
	if f.NArg() > 0 || o.rounds < 1 || seconds < 1 || o.connects < 1 || o.clients < 1 || o.storm < 1 || o.peers < 2 || o.peers > maxClients {
		return o, errors.New("wrong arguments; see -help")
	}
	return o, nil
}

func run(ctx context.Context, args []string, w io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if err := ready(&o); err != nil {
		return err
	}
	restore, err := makeRoom(o.peers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	dir, err := os.MkdirTemp("", "adit-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // the userspace contender is nobody
		return err
	}
	b := &bench{o: o, dir: dir, out: w, load: loadBefore(), ticks: readTicks()}
	if err := b.build(ctx); err != nil {
		return err
	}
	start := time.Now()
	if err := b.all(ctx); err != nil {
		return err
	}
	verdicts := b.figures.Judge(goals())
	fmt.Fprintf(w, "\n%s", report.GoalText(verdicts))
	if o.write != "" {
		if err := b.write(ctx, o.write, start, verdicts); err != nil {
			return err
		}
	}
	if short := report.Short(verdicts); o.check && len(short) > 0 {
		return fmt.Errorf("%d goals are not met:\n%s", len(short), strings.Join(short, "\n"))
	}
	return nil
}

// ready says what is missing.
func ready(o *options) error {
	if os.Geteuid() != 0 {
		return lab.ErrRoot
	}
	var err error
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	for _, name := range []string{"adit", "aditd", "adit-endpoint"} {
		if _, err := os.Stat(filepath.Join(o.bin, name)); err != nil {
			return fmt.Errorf("%w: build it first: make build", err)
		}
	}
	for _, name := range []string{"openvpn", "iperf3", "go", "setpriv"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s is missing", name)
		}
	}
	return nil
}
