package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/fleet"
	"github.com/adit-vpn/adit/endpoint/metrics"
	"github.com/adit-vpn/adit/endpoint/model"
	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/platform/udp"
)

// stateName is the file with what the API has made, in the data directory.
const stateName = "api.db"

// process is what one up runs: the endpoint of the file, if it declares one, and those of the API.
type process struct {
	fleet *fleet.Fleet
	model *model.Model // nil: there is no API
	own   string       // id of the file's endpoint; empty: none
	load  func() (endpoint.Config, error)
	door  *door // of the API; serve sets it before anybody can ask for a Reload

	mu  sync.Mutex
	cfg endpoint.Config // the file's, with the flags over it
}

// newProcess starts the endpoint of the file, and those of the API. ownClient says that there is a profile for the first; failed
// hears when that ends by itself.
func newProcess(cmd *cobra.Command, cfg endpoint.Config, ownClient bool, log *slog.Logger, load func() (endpoint.Config, error), failed func(error)) (*process, error) {
	whole, err := filepath.Abs(cfg.DataDir())
	if err != nil {
		return nil, err
	}
	p := &process{cfg: cfg, load: load}
	if len(cfg.Listen) > 0 {
		p.own = endpoint.EndpointID(whole)
	}
	p.fleet = fleet.New(fleet.Leaves{
		Log:     log,
		Open:    opener{out: cmd.OutOrStdout(), log: log, own: p.own, ownClient: ownClient, doors: doors(cfg)}.open,
		History: func() *endpoint.History { return endpoint.NewHistory(time.Now) },
		Export: func(cfg endpoint.Config, client string) ([]byte, error) {
			return profileText(&cfg, cfg.DataDir(), client)
		},
		Failed: func(id string, err error) (again bool) {
			if id != p.own {
				log.Error("an endpoint of the API has ended, and is started again", "endpoint", id, "error", err)
				return true
			}
			failed(err)
			return false
		},
	})
	if err := clearCrashed(whole); err != nil {
		return nil, err
	}
	if p.own != "" {
		if err := p.fleet.Apply(cmd.Context(), p.own, cfg); err != nil {
			return nil, err
		}
	}
	if cfg.API == nil {
		return p, nil
	}
	p.model, err = model.Open(filepath.Join(whole, stateName), p.declared(cfg), p.fleet, model.Options{Log: log, Now: time.Now, ReadFile: os.ReadFile, Free: free})
	if err != nil {
		p.fleet.Close()
		return nil, err
	}
	return p, nil
}

// clearCrashed undoes what a run that was killed has left of the API's endpoints: one may have been started for a request that
// was never acknowledged, and nobody would start it again.
func clearCrashed(dir string) error {
	dir = filepath.Join(dir, model.Endpoints)
	all, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, d := range all {
		if err := network.CleanUp(filepath.Join(dir, d.Name())); err != nil {
			return err
		}
	}
	return nil
}

// close ends all endpoints and waits for them.
func (p *process) close() error {
	p.fleet.Close()
	if p.model == nil {
		return nil
	}
	return p.model.Close()
}

func (p *process) declared(cfg endpoint.Config) model.Declared {
	return model.Declared{Config: cfg, Endpoint: p.own}
}

// free says whether nobody listens at an address.
func free(addr netip.AddrPort, transport string) bool {
	if transport == "tcp" {
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
		if err == nil {
			l.Close()
		}
		return err == nil
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err == nil {
		c.Close()
	}
	return err == nil
}

// AllConnections implements endpoint.Controlled. Without the API there is one endpoint, which need not be named.
func (p *process) AllConnections() []endpoint.Connection {
	list := p.fleet.AllConnections()
	if p.model == nil {
		for i := range list {
			list[i].Endpoint = ""
		}
	}
	return list
}

// TerminateAll implements endpoint.Controlled.
func (p *process) TerminateAll(connection, user string) (connections []string, signIns int) {
	return p.fleet.TerminateAll(connection, user)
}

// ConfigOf implements endpoint.Controlled.
func (p *process) ConfigOf(id string) (endpoint.Config, error) {
	if id == "" || id == p.own {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.cfg, nil
	}
	cfg, ok := p.fleet.Config(id)
	if !ok {
		return cfg, fmt.Errorf("no endpoint %s runs here: one without a target network does not", id)
	}
	return cfg, nil
}

// doors are where the process itself answers, beside its endpoints. They stay as long as it runs.
func doors(cfg endpoint.Config) (at []netip.AddrPort) {
	if cfg.Metrics.IsValid() {
		at = append(at, cfg.Metrics)
	}
	if cfg.API != nil {
		at = append(at, cfg.API.Listen)
	}
	return at
}

// partlyError is that of a reload after which a part of the new file is in force.
type partlyError struct {
	in  string // what follows
	err error
}

func (e *partlyError) Error() string { return e.in + " the new file, but " + e.err.Error() }
func (e *partlyError) Unwrap() error { return e.err }

// Reload implements endpoint.Controlled. Keys of the API come first, so that one can be taken away whatever else is wrong. Then
// what the API's endpoints need of the file is looked at, and the file's own endpoint follows, or all is as before; after that an endpoint
// of the API that cannot follow runs as before, and the error names it. A partlyError says that something follows, and what.
func (p *process) Reload(ctx context.Context) (reset int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fleet.Reopen() // also when the file is not to be followed: who rotates logs does not care
	cfg, err := p.load()
	if err != nil {
		return 0, err
	}
	if key := p.fixed(cfg); key != "" {
		return 0, fmt.Errorf("%s cannot change while the endpoint runs: stop it and start it again", key)
	}
	keys, err := p.door.follow(cfg)
	if err != nil {
		return 0, err
	}
	own := func() error {
		if p.own != "" {
			reset, err = p.fleet.Reload(ctx, p.own, cfg)
		}
		if err == nil {
			p.cfg = cfg
		}
		return err
	}
	followed := false
	if p.model != nil {
		followed, err = p.model.Redeclare(ctx, p.declared(cfg), own)
	} else {
		err = own()
	}
	switch {
	case err == nil:
		return reset, nil
	case followed:
		return reset, &partlyError{"all else follows", err}
	case keys:
		return 0, &partlyError{"the API's access keys follow", err}
	}
	return 0, err
}

// fixed names what of the file cannot change while the process runs, beside endpoint.Config.Fixed, or "". Under mu.
func (p *process) fixed(next endpoint.Config) string {
	switch {
	case p.cfg.Metrics != next.Metrics:
		return "metrics"
	case p.model != nil && p.cfg.DataDir() != next.DataDir():
		return "data"
	case (p.own != "") != (len(next.Listen) > 0):
		return "listen"
	}
	return fixedAPI(p.cfg.API, next.API)
}

// fixedAPI names what of the API cannot change while it is served, or "".
func fixedAPI(was, now *endpoint.API) string {
	switch {
	case was == nil && now == nil:
		return ""
	case was == nil || now == nil:
		return "api"
	case was.Listen != now.Listen:
		return "api.listen"
	case was.Region != now.Region:
		return "api.region"
	case was.Account != now.Account:
		return "api.account"
	case (was.TLS.Cert == "") != (now.TLS.Cert == ""):
		return "api.tls"
	case !slices.Equal(was.Hosts, now.Hosts):
		return "api.hosts"
	}
	return ""
}

// sources are the endpoints whose figures are shown.
func (p *process) sources() []metrics.Source {
	var out []metrics.Source
	for _, s := range p.fleet.Servers() {
		out = append(out, s)
	}
	return out
}

// opener makes endpoints for the fleet.
type opener struct {
	out       io.Writer // the standard output
	log       *slog.Logger
	own       string // id of the file's endpoint; empty: none
	ownClient bool   // there is a profile for it
	doors     []netip.AddrPort
}

// open makes an endpoint with all that belongs to it: its connection log, target network and test identity provider.
func (o opener) open(ctx context.Context, id string, cfg endpoint.Config, history *endpoint.History) (fleet.Opened, error) {
	ctx = context.WithoutCancel(ctx) // of the start; sockets last
	log := o.log
	if id != o.own {
		log = log.With("endpoint", id)
	}
	dir := cfg.DataDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fleet.Opened{}, err
	}
	journal, err := openJournal(ctx, cfg, id, o.out, log)
	if err != nil {
		return fleet.Opened{}, err
	}
	provider, err := openIdP(ctx, &cfg)
	if err != nil {
		journal.close()
		return fleet.Opened{}, err
	}
	nw, err := openNetwork(cfg, slices.Concat(cfg.Listen, o.doors, provider.at()), log)
	if err != nil {
		provider.close()
		journal.close()
		return fleet.Opened{}, err
	}
	kept, err := takeSignIns(dir)
	if err != nil {
		log.Warn("people must sign in again", "error", err)
	}
	srv, err := endpoint.New(cfg, endpoint.Leaves{
		Log: log, Now: time.Now, ReadFile: os.ReadFile, Network: nw, TestIdP: provider.metadata(), SignIns: kept,
		ConnectionLog: journal, EndpointID: id, History: history,
		ListenUDP: func(addr netip.AddrPort) ([]udp.Conn, error) {
			return udp.ListenShared(ctx, addr, endpoint.Shards(), udp.Options{})
		},
		ListenTCP: func(addr netip.AddrPort) (net.Listener, error) {
			var lc net.ListenConfig
			return lc.Listen(ctx, "tcp", addr.String())
		},
	})
	if err != nil {
		if e := leaveSignIns(dir, kept); e != nil { // nobody has seen them
			log.Warn("people must sign in again at the next start", "error", e)
		}
		nw.Close()
		provider.close()
		journal.close()
		return fleet.Opened{}, err
	}
	return fleet.Opened{
		Server: srv, Follow: journal.follow,
		Beside: func(ctx context.Context) { provider.serve(ctx, log) },
		Ready: func() {
			if id == o.own {
				greet(o.out, cfg, o.ownClient)
			} else {
				log.Info("an endpoint of the API runs", "listen", cfg.Listen, "transport", cfg.Transport)
			}
			provider.greet(o.out)
		},
		Close: func() {
			provider.close()
			kept, err := srv.SignIns()
			if err == nil {
				err = leaveSignIns(dir, kept)
			}
			if err != nil {
				log.Warn("people must sign in again at the next start", "error", err)
			}
			journal.close()
		},
	}, nil
}
