//go:build linux

// Command crowd measures how many clients one endpoint bears: its resident memory with all of them
// connected, how fast it takes a storm of them, and what the storm does to a session that is busy
// meanwhile. The clients are real ones (ovpn.Session), thousands in one process, each with a socket and a
// certificate of its own. The server is adit-endpoint, or openvpn for comparison, as a process of its own.
//
// It needs root: server, crowd and the busy session stand on hosts of their own, network namespaces that
// end with it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/adit-vpn/adit/lab"
)

// options are the command line's.
type options struct {
	clients int // that connect one after the other, and stay
	storm   int // that connect all at once after that
	sources int // addresses that clients come from; 0: one for each
	atOnce  int // handshakes of clients under way at a time
	hold    time.Duration
	quiet   time.Duration
	server  string // aditName or openvpnName
	bin     string
	json    bool
	verbose bool
	load    string // socket of the parent: this process is the crowd
}

// The servers.
const (
	aditName    = "adit"
	openvpnName = "openvpn"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("crowd", flag.ContinueOnError)
	f.IntVar(&o.clients, "clients", 0, "clients that connect and stay connected")
	f.IntVar(&o.storm, "storm", 0, "clients that connect all at once after that")
	f.IntVar(&o.sources, "sources", 0, "source addresses of the crowd; 0: one for each client, 1: all are behind one address")
	f.IntVar(&o.atOnce, "at-once", 200, "handshakes of -clients under way at a time")
	f.DurationVar(&o.hold, "hold", 20*time.Second, "how long all stay connected before memory is read")
	f.DurationVar(&o.quiet, "quiet", 5*time.Second, "how long the busy session is measured before a storm; 0: there is none")
	f.StringVar(&o.server, "server", aditName, aditName+" or "+openvpnName)
	f.StringVar(&o.bin, "bin", "bin", "`directory` of adit-endpoint")
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	f.BoolVar(&o.verbose, "v", false, "show at the end what the server said")
	f.StringVar(&o.load, "load", "", "be the crowd of the process that listens on `socket`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0 || o.clients < 0 || o.storm < 0 || o.sources < 0 || o.atOnce < 1:
		return o, errors.New("wrong arguments; see -help")
	case o.load == "" && o.clients+o.storm == 0:
		return o, errors.New("nobody connects: give -clients or -storm")
	case o.clients+o.storm > maxClients:
		return o, fmt.Errorf("more than %d clients", maxClients)
	case o.server != aditName && o.server != openvpnName:
		return o, fmt.Errorf("there is no server %q", o.server)
	}
	return o, nil
}

func run(ctx context.Context, args []string, w io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.load != "" {
		return serveLoad(ctx, o.load)
	}
	if os.Geteuid() != 0 {
		return lab.ErrRoot
	}
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	program := filepath.Join(o.bin, "adit-endpoint")
	if o.server == openvpnName {
		program = openvpnName
	}
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("%w: build it first (make build), or install it", err)
	}
	result, err := measure(ctx, o, program)
	if err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(w).Encode(result)
	}
	_, err = io.WriteString(w, result.String())
	return err
}
