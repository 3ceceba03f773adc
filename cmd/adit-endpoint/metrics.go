package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/metrics"
)

// figures is the port at which Prometheus asks. Nil: there is none.
type figures struct {
	listener net.Listener
	local    bool
}

// openFigures listens where cfg says.
func openFigures(ctx context.Context, cfg endpoint.Config, log *slog.Logger) (*figures, error) {
	if !cfg.Metrics.IsValid() {
		return nil, nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Metrics.String())
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	local := cfg.Metrics.Addr().IsLoopback()
	if !local {
		log.Warn("the metrics are for everybody who reaches their address: nobody is asked who he is", "address", cfg.Metrics)
	}
	return &figures{listener: l, local: local}, nil
}

// close gives the port back, if serve has not.
func (f *figures) close() {
	if f != nil {
		f.listener.Close()
	}
}

// serve answers until ctx ends, about the endpoints that there are then.
func (f *figures) serve(ctx context.Context, sources func() []metrics.Source, log *slog.Logger) {
	if f == nil {
		return
	}
	if err := metrics.Serve(ctx, f.listener, metrics.Handler(sources, time.Now, log, f.local), log); err != nil {
		log.Error("metrics", "error", err)
	}
}

func (f *figures) greet(w io.Writer) {
	if f != nil {
		fmt.Fprintf(w, "metrics: http://%s/metrics\n", f.listener.Addr())
	}
}
