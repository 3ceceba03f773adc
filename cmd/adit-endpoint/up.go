package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/metrics"
	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/platform/udp"
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
	s.StringVar(&f.api, "api", "", "`address` of the EC2 API (not supported yet)")
	s.StringVar(&f.metrics, "metrics", "", "`address` and port of this machine that answer Prometheus")
	s.BoolVarP(&f.verbose, "verbose", "v", false, "log every detail")
	return cmd
}

// check refuses flags that this version does not serve, and wrong values.
func (f *upFlags) check() error {
	if f.api != "" {
		return usagef("leave it out", "--api is not supported yet")
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
	if cfg.API != nil {
		return cfg, usagef("leave api out of "+f.config, "the EC2 API (api) is not served yet")
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
	return cfg, nil
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
	whole, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	control, err := endpoint.OpenControl(dir)
	if err != nil {
		return err
	}
	serving := false
	defer func() {
		if !serving {
			control.Close()
		}
	}()
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
	journal, err := openConnectionLog(cfg, cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer journal.close()
	nw, err := openNetwork(cfg, log)
	if err != nil {
		return err
	}
	provider, err := openIdP(cmd.Context(), &cfg)
	if err != nil {
		nw.Close()
		return err
	}
	kept, err := takeSignIns(dir)
	if err != nil {
		log.Warn("people must sign in again", "error", err)
	}
	srv, err := endpoint.New(cfg, endpoint.Leaves{
		Log: log, Now: time.Now, ReadFile: os.ReadFile, Network: nw, TestIdP: provider.metadata(), SignIns: kept,
		ConnectionLog: journal.to, EndpointID: endpoint.EndpointID(whole),
		ListenUDP: func(addr netip.AddrPort) ([]udp.Conn, error) {
			return udp.ListenShared(cmd.Context(), addr, endpoint.Shards(), udp.Options{})
		},
		ListenTCP: func(addr netip.AddrPort) (net.Listener, error) {
			var lc net.ListenConfig
			return lc.Listen(cmd.Context(), "tcp", addr.String())
		},
	})
	if err != nil {
		provider.close()
		nw.Close()
		return err
	}
	figures, err := openFigures(cmd.Context(), cfg, log)
	if err != nil {
		provider.close()
		nw.Close()
		return err
	}
	serving = true
	return a.serve(cmd, srv, control, cfg, made, provider, figures, log, func() (endpoint.Config, error) {
		if err := journal.reopen(); err != nil {
			log.Error("the connection log cannot be opened again", "error", err)
		}
		return a.load(cmd, f)
	})
}

// serve runs endpoint, control socket, identity provider and signals until the context ends.
func (a *app) serve(cmd *cobra.Command, srv *endpoint.Server, control *endpoint.Control, cfg endpoint.Config,
	ownClient bool, provider *testIdP, figures *figures, log *slog.Logger, load func() (endpoint.Config, error)) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	var side sync.WaitGroup
	defer side.Wait()
	defer cancel()
	side.Go(func() {
		if err := control.Serve(ctx, srv.ControlHandler(load)); err != nil {
			log.Error("control socket", "error", err)
		}
	})
	side.Go(func() { watchMemory(ctx) })
	side.Go(func() { reloadOnHangup(ctx, srv, load, log) })
	side.Go(func() { provider.serve(ctx, log) })
	side.Go(func() { figures.serve(ctx, func() []metrics.Source { return []metrics.Source{srv} }, log) })
	side.Go(func() {
		select {
		case <-srv.Ready():
			greet(cmd.OutOrStdout(), cfg, ownClient)
			provider.greet(cmd.OutOrStdout())
			figures.greet(cmd.OutOrStdout())
		case <-ctx.Done():
		}
	})
	err := srv.Run(ctx)
	kept, lost := srv.SignIns()
	if lost == nil {
		lost = leaveSignIns(cfg.DataDir(), kept)
	}
	if lost != nil {
		log.Warn("people must sign in again at the next start", "error", lost)
	}
	return err
}

// reloadOnHangup reads the configuration again at each SIGHUP.
func reloadOnHangup(ctx context.Context, srv *endpoint.Server, load func() (endpoint.Config, error), log *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			cfg, err := load()
			if err == nil {
				_, err = srv.Reload(ctx, cfg)
			}
			if err != nil {
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
		fmt.Fprintf(w, "connect: adit connect %s --userspace\n", profile)
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

// openNetwork makes the target network that cfg names.
func openNetwork(cfg endpoint.Config, log *slog.Logger) (network.Network, error) {
	if cfg.Network == "kernel" {
		return openKernel(cfg, log)
	}
	return network.NewUserspace(network.UserspaceConfig{MTU: cfg.TunMTU, Own: cfg.Listen, Log: log})
}
