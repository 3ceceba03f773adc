//go:build linux

// Command sidebyside measures a tunnel of Adit (adit, aditd and adit-endpoint with its
// kernel network) beside one of openvpn: throughput of one TCP stream in both
// directions, processor time per gigabyte, and the time from the wish to connect to
// the first answered ping. Both tunnels stand side by side on wires of their own,
// alike in everything, and take turns, so that a noisy machine disturbs both.
//
// It needs root, openvpn and iperf3. Everything happens in network namespaces
// that end with it.
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
	"strings"
	"syscall"
	"time"

	"github.com/adit-vpn/adit/lab"
)

// options are the command line's.
type options struct {
	bin        string
	rounds     int
	seconds    int
	connects   int
	cipher     string
	transports []string
	min        float64
	verbose    bool
}

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
	var transports string
	f := flag.NewFlagSet("sidebyside", flag.ContinueOnError)
	f.StringVar(&o.bin, "bin", "bin", "`directory` of adit, aditd and adit-endpoint")
	f.IntVar(&o.rounds, "rounds", 5, "how often each measurement is repeated")
	f.IntVar(&o.seconds, "seconds", 4, "length of one stream")
	f.IntVar(&o.connects, "connects", 31, "how often each side connects; 0 leaves that out")
	f.StringVar(&o.cipher, "cipher", "AES-256-GCM", "data cipher")
	f.StringVar(&transports, "transports", "udp,tcp", "what carries the tunnels; the first one counts for -min")
	f.Float64Var(&o.min, "min", 0, "fail when the ratio is below this in either direction, or our time to the first ping is longer")
	f.BoolVar(&o.verbose, "v", false, "show at the end what the tunnels' programs said")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.transports = strings.Split(transports, ",")
	for _, t := range o.transports {
		if t != "udp" && t != "tcp" {
			return o, fmt.Errorf("transport %q is not udp or tcp", t)
		}
	}
	if f.NArg() > 0 || o.rounds < 1 || o.seconds < 1 || o.connects < 0 {
		return o, errors.New("wrong arguments; see -help")
	}
	return o, nil
}

func run(ctx context.Context, args []string, w io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if err := ready(&o); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "adit-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(w, "one TCP stream, %d rounds of %d s each way, %s, wire with MTU 1500; openvpn is %s\n",
		o.rounds, o.seconds, o.cipher, openvpnVersion(ctx))
	var failed []string
	for i, transport := range o.transports {
		r, err := measure(ctx, o, transport, filepath.Join(dir, transport))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%s\n%s", strings.ToUpper(transport), r.table())
		if i == 0 && o.min > 0 {
			failed = r.below(o.min)
		}
	}
	if len(failed) > 0 {
		return errors.New(strings.Join(failed, "; "))
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
	for _, name := range []string{"openvpn", "iperf3"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s is missing: apt-get install %s", name, name)
		}
	}
	return nil
}

// openvpnVersion is the second word of "OpenVPN 2.6.14 x86_64…".
func openvpnVersion(ctx context.Context) string {
	out, _ := exec.CommandContext(ctx, "openvpn", "--version").Output() // its exit code is 1
	if f := strings.Fields(string(out)); len(f) > 1 {
		return f[1]
	}
	return "of unknown version"
}

// measure builds both tunnels over one transport and lets them take turns.
func measure(ctx context.Context, o options, transport, dir string) (r *result, err error) {
	keys, err := newKeys(dir, transport, o.cipher)
	if err != nil {
		return nil, err
	}
	r = &result{transport: transport}
	var sides [2]*side
	for i, name := range []string{openvpnName, aditName} {
		s, err := newSide(name, filepath.Join(dir, name), o.bin, keys)
		if err != nil {
			return nil, err
		}
		defer s.net.Close()
		sides[i] = s
	}
	defer func() {
		switch {
		case err != nil && ctx.Err() == nil:
			err = fmt.Errorf("%w\n%s%s", err, sides[0].said(), sides[1].said())
		case o.verbose:
			fmt.Fprint(os.Stderr, sides[0].said(), sides[1].said())
		}
	}()
	for range o.connects {
		for i, s := range sides {
			for _, way := range s.ways() {
				took, err := s.connectOnce(ctx, way)
				if err != nil {
					return nil, err
				}
				r.connects[i].add(way, took)
			}
		}
	}
	for _, s := range sides {
		if err := s.up(ctx); err != nil {
			return nil, err
		}
	}
	for range o.rounds {
		for d := range directions {
			for i, s := range sides {
				f, err := s.stream(ctx, d, time.Duration(o.seconds)*time.Second)
				if err != nil {
					return nil, err
				}
				r.flows[i][d] = append(r.flows[i][d], f)
			}
		}
	}
	return r, nil
}
