package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/platform/durable"
)

// Files that up leaves in the data directory.
const (
	builtinName = "adit-endpoint.yaml"
	profileName = "client.ovpn"
	clientName  = "client"
)

// upFlags are the flags of up.
type upFlags struct {
	config, listen, proto, network, auth, users, idp, api, metrics string
	verbose                                                        bool
}

func (a *app) up() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the endpoint in the foreground",
		Long: `Run the endpoint in the foreground until SIGINT or SIGTERM. Without --config it
makes a CA, a server and a client certificate in the data directory, listens on
127.0.0.1:1194/udp, and says where the ready-to-import profile is.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runUp(cmd, f) },
	}
	s := cmd.Flags()
	s.StringVar(&f.config, "config", "", "YAML `file`")
	s.StringVar(&f.listen, "listen", "", "`address` and port to listen on")
	s.StringVar(&f.proto, "proto", "", "udp or tcp")
	s.StringVar(&f.network, "network", "", "userspace or kernel")
	s.StringVar(&f.auth, "auth", "", "mutual (the default), directory or federated")
	s.StringVar(&f.users, "users", "", "`file` of test users, for --auth directory and --idp demo")
	s.StringVar(&f.idp, "idp", "", "demo, or a `file` of metadata, for --auth federated")
	s.StringVar(&f.api, "api", "", "`address` and port of this machine that answer the EC2 API")
	s.StringVar(&f.metrics, "metrics", "", "`address` and port of this machine that answer Prometheus")
	s.BoolVarP(&f.verbose, "verbose", "v", false, "log every detail")
	return cmd
}

// check refuses flags that this version does not serve, and wrong values.
func (f *upFlags) check() error {
	if f.api != "" {
		if a, err := netip.ParseAddrPort(f.api); err != nil || a.Port() == 0 {
			return usagef("write it like 127.0.0.1:8700 or [::1]:8700", "--api %q is not an address with a port", f.api)
		}
	}
	if f.metrics != "" {
		a, err := netip.ParseAddrPort(f.metrics)
		if err != nil || a.Port() == 0 {
			return usagef("write it like 127.0.0.1:9180 or [::1]:9180", "--metrics %q is not an address with a port", f.metrics)
		}
		if !a.Addr().IsLoopback() {
			return usagef("use 127.0.0.1 or [::1], or name it in a file: metrics: {listen: ...}", "anybody could read the metrics at %s", a)
		}
	}
	if err := f.checkAuth(); err != nil {
		return err
	}
	if f.proto != "" && f.proto != "udp" && f.proto != "tcp" {
		return usagef("use --proto udp or --proto tcp", "--proto %q is not udp or tcp", f.proto)
	}
	if f.network != "" && f.network != "userspace" && f.network != "kernel" {
		return usagef("use --network userspace or --network kernel", "--network %q is not userspace or kernel", f.network)
	}
	if f.listen != "" {
		a, err := netip.ParseAddrPort(f.listen)
		if err != nil || a.Port() == 0 {
			return usagef("write it like 127.0.0.1:1194 or [::1]:1194", "--listen %q is not an address with a port", f.listen)
		}
		if !a.Addr().IsLoopback() && (f.auth == "directory" || f.idp == "demo") {
			return usagef("listen on 127.0.0.1 or [::1], or name a directory server or an identity provider", "test users and --idp demo are not for the network, and --listen is %s", f.listen)
		}
	}
	return nil
}

// load reads the configuration and puts the flags over it.
func (a *app) load(cmd *cobra.Command, f upFlags) (endpoint.Config, error) {
	var cfg endpoint.Config
	var err error
	if f.config != "" {
		cfg, err = endpoint.LoadConfig(f.config)
	} else {
		cfg, err = a.builtin(f)
	}
	if err != nil {
		return cfg, err
	}
	if f.config != "" {
		if cmd.Flags().Changed("data") {
			if cfg.Data, err = filepath.Abs(a.data); err != nil {
				return cfg, err
			}
		}
		if f.listen != "" {
			cfg.Listen = []netip.AddrPort{netip.MustParseAddrPort(f.listen)}
		}
		if f.proto != "" {
			cfg.Transport = f.proto
		}
		if f.network != "" {
			cfg.Network = f.network
		}
	}
	if f.metrics != "" {
		cfg.Metrics = netip.MustParseAddrPort(f.metrics)
	}
	if f.api != "" {
		at := endpoint.DefaultAPI(netip.MustParseAddrPort(f.api))
		if cfg.API != nil {
			*at = *cfg.API
			at.Listen = netip.MustParseAddrPort(f.api)
		}
		if at.Exposed() != nil {
			return cfg, usagef("listen on 127.0.0.1 or [::1], or name both in a file: api: {keys: [{id: …, secret_file: …}], tls: {cert: …, key: …}}", "--api %s is not loopback, and there are not both keys and tls: others could change everything", f.api)
		}
		cfg.API = at
	}
	return cfg, cfg.CompleteAPI()
}

// builtin is the configuration of an endpoint that has no file.
func (a *app) builtin(f upFlags) (endpoint.Config, error) {
	listen := endpoint.DefaultListen()
	if f.listen != "" {
		listen = netip.MustParseAddrPort(f.listen)
	}
	if f.network == "kernel" {
		return endpoint.Config{}, usagef("name its networks in a file: --config FILE",
			"--network kernel has no demo network: it needs --config")
	}
	methods, err := f.methods()
	if err != nil {
		return endpoint.Config{}, err
	}
	return endpoint.ParseConfig(filepath.Join(a.data, builtinName), []byte(endpoint.BuiltinText(listen, orElse(f.proto, "udp"), "userspace", methods...)))
}

func orElse(v, other string) string {
	if v == "" {
		return other
	}
	return v
}

func (a *app) runUp(cmd *cobra.Command, f upFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.users != "" {
		password, err := makeUsers(f.users)
		if err != nil {
			return err
		}
		if password != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "users: %s\nsign in as: %s with the password %s\n", f.users, firstUser, password)
		}
	}
	cfg, err := a.load(cmd, f)
	if err != nil {
		return err
	}
	dir := cfg.DataDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	control, err := endpoint.OpenControl(dir)
	if err != nil {
		return err
	}
	defer control.Close() // the last of all: the next run finds what this one leaves, and nothing that is still in use
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	made, err := preparePKI(&cfg, log)
	if err != nil {
		return err
	}
	if f.config == "" {
		if err := writeBuiltin(cfg); err != nil {
			return err
		}
	}
	figures, err := openFigures(cmd.Context(), cfg, log)
	if err != nil {
		return err
	}
	defer figures.close()
	door, err := openDoor(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer door.close()
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	p, err := newProcess(cmd, cfg, made, log, func() (endpoint.Config, error) { return a.load(cmd, f) }, cancel)
	if err != nil {
		return err
	}
	return p.serve(ctx, cmd.OutOrStdout(), control, figures, door, log)
}

// serve answers the control socket, Prometheus, the API and signals until ctx ends or the endpoint fails; then it ends all
// endpoints.
func (p *process) serve(ctx context.Context, out io.Writer, control *endpoint.Control, figures *figures, door *door, log *slog.Logger) error {
	p.door = door
	door.open(p.model, log)
	side, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if err := control.Serve(side, endpoint.ControlHandler(p)); err != nil {
			log.Error("control socket", "error", err)
		}
	})
	running.Go(func() { watchMemory(side) })
	running.Go(func() { p.reloadOnHangup(side, log) })
	running.Go(func() { figures.serve(side, p.sources, log) })
	running.Go(func() { door.serve(side, log) })
	figures.greet(out)
	door.greet(out)
	if err := answers(); err != nil {
		log.Warn("systemd does not know that the endpoint is up", "error", err)
	}
	<-ctx.Done()
	err := p.close()
	stop()
	running.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// reloadOnHangup reads the configuration again at each SIGHUP.
func (p *process) reloadOnHangup(ctx context.Context, log *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			_, err := p.Reload(ctx)
			var partly *partlyError
			switch {
			case errors.As(err, &partly):
				log.Error("configuration reloaded in part", "error", err)
			case err != nil:
				log.Error("configuration not reloaded, the old one stays", "error", err)
			}
		}
	}
}

// greet says that the endpoint is up, and what to do next.
func greet(w io.Writer, cfg endpoint.Config, ownClient bool) {
	for _, l := range cfg.Listen {
		fmt.Fprintf(w, "listening on %s/%s\n", l, cfg.Transport)
	}
	if ownClient {
		profile := filepath.Join(cfg.DataDir(), profileName)
		fmt.Fprintf(w, "profile: %s\n", profile)
		fmt.Fprintf(w, "connect: adit connect %s --userspace --socks5 127.0.0.1:1080\n", profile)
	}
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// writeBuiltin leaves the configuration in the data directory, for people to
// start from. One that people changed is kept.
func writeBuiltin(cfg endpoint.Config) error {
	text := []byte(endpoint.BuiltinText(cfg.Listen[0], cfg.Transport, cfg.Network, cfg.Authentication...))
	if fileExists(cfg.File) {
		there, err := endpoint.LoadConfig(cfg.File)
		if err != nil {
			return nil
		}
		ours := endpoint.BuiltinText(there.Listen[0], there.Transport, there.Network, there.Authentication...)
		if old, err := os.ReadFile(cfg.File); err != nil || string(old) != ours || string(old) == string(text) {
			return err
		}
	}
	return durable.Write(cfg.File, text, 0o600)
}

// openNetwork makes the target network that cfg names. own is what clients do not reach through it.
func openNetwork(cfg endpoint.Config, own []netip.AddrPort, log *slog.Logger) (network.Network, error) {
	if cfg.Network == "kernel" {
		return openKernel(cfg, own, log)
	}
	return network.NewUserspace(network.UserspaceConfig{MTU: cfg.TunMTU, Own: own, Log: log})
}
