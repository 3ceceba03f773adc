package client

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/portal"
	"github.com/adit-vpn/adit/platform/udp"
	"github.com/adit-vpn/adit/routes"
)

// OnceConfig is one connection without a service (adit connect --userspace).
type OnceConfig struct {
	Profile  *profile.Profile
	Host     platform.Host // Run closes it
	Log      *slog.Logger
	Settings api.Settings
	// Given is what the person gave in advance, and the time for the first connection.
	Given    api.ConnectRequest
	Dialer   Dialer                             // nil = SystemDialer
	Resolver Resolver                           // required
	Portal   func(context.Context) portal.State // as of ServiceConfig
	Version  string                             // of this build
	// OnStatus is called at every change, on Run's goroutine: it must not block for long. May be nil.
	OnStatus func(api.Connection)
}

// Once is one connection in the caller's own process. It implements api.Viewer for
// whoever asks; the process and its status belong to one user. Safe for concurrent use, but Run
// may be called once.
type Once struct {
	cfg   OnceConfig
	key   key
	board *board
	conn  *connection
}

// NewOnce checks the profile; its errors are *api.Problem. It starts nothing, and leaves
// the Host to Run.
func NewOnce(cfg OnceConfig) (*Once, error) {
	if cfg.Dialer == nil {
		cfg.Dialer = SystemDialer{}
	}
	sp, err := specOf(cfg.Profile, cfg.Settings, false) // never: nobody but the user decides here
	if err != nil {
		return nil, err
	}
	cfg.Settings.Guard = guardOff // nothing of the machine goes into this tunnel
	o := &Once{cfg: cfg, key: key{name: cfg.Profile.Name}, board: newBoard()}
	o.conn = newConnection(wiring{
		spec: sp, settings: cfg.Settings, timeout: cfg.Given.Timeout, given: cfg.Given,
		host:   func() (platform.Host, error) { return cfg.Host, nil },
		dialer: cfg.Dialer, resolver: cfg.Resolver, log: cfg.Log, asleep: platform.Asleep, offline: udp.Offline, portal: cfg.Portal,
		publish: o.show,
		status: api.Connection{Profile: cfg.Profile.Name, CertificateExpires: sp.expires,
			State: api.Connecting, Since: time.Now()},
	})
	return o, nil
}

// Run keeps the connection, with its retries, until ctx ends (nil) or it failed for good (an
// *api.Problem). Everything is undone and the Host closed when it returns.
func (o *Once) Run(ctx context.Context) error { return o.conn.run(ctx) }

func (o *Once) show(c api.Connection) {
	o.board.put(o.key, c, o.conn.present, nil)
	if o.cfg.OnStatus != nil {
		o.conn.present(&c)
		o.cfg.OnStatus(complete(c))
	}
}

// Answer answers the question that the newest status asks.
func (o *Once) Answer(_ context.Context, a api.Answer) error { return o.conn.desk.answer(a) }

// self is the caller for whom nothing is hidden.
func self() api.Caller { return api.Caller{Root: true} }

// Status is the snapshot of now.
func (o *Once) Status(api.Caller) api.Status {
	s, _ := o.board.snapshot(self())
	return s
}

// Watch sends snapshots until ctx ends or send fails.
func (o *Once) Watch(ctx context.Context, _ api.Caller, send func(api.Status) error) error {
	return o.board.watch(ctx, self(), send)
}

// Explain says which way a packet that enters the userspace stack would go. Before the
// tunnel is up there is no way.
func (o *Once) Explain(ctx context.Context, _ api.Caller, destination string) (routes.Explanation, error) {
	dest, err := destinationOf(ctx, o.cfg.Resolver, destination)
	if err != nil {
		return routes.Explanation{}, err
	}
	return explainOver([]applied{{key: o.key, explainable: o.conn.explain()}}, dest), nil
}

// Version is what runs.
func (o *Once) Version() api.Version { return version(o.cfg.Version) }

func version(v string) api.Version {
	return api.Version{Version: v, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
}
