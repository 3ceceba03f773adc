package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/ec2"
	"github.com/adit-vpn/adit/endpoint/model"
)

// door is the port at which the EC2 API answers. Nil: there is none.
type door struct {
	listener net.Listener
	api      *endpoint.API
	keys     map[string]string
}

// openDoor reads the keys, and listens where cfg says.
func openDoor(ctx context.Context, cfg endpoint.Config) (*door, error) {
	if cfg.API == nil {
		return nil, nil
	}
	d := &door{api: cfg.API, keys: map[string]string{}}
	for _, k := range cfg.API.Keys {
		text, err := os.ReadFile(cfg.Path(k.SecretFile))
		if err != nil {
			return nil, fmt.Errorf("secret of the access key %s: %w", k.ID, err)
		}
		secret := strings.TrimRight(string(text), "\r\n")
		if secret == "" {
			return nil, fmt.Errorf("secret of the access key %s: %s is empty", k.ID, cfg.Path(k.SecretFile))
		}
		d.keys[k.ID] = secret
	}
	var lc net.ListenConfig
	var err error
	if d.listener, err = lc.Listen(ctx, "tcp", cfg.API.Listen.String()); err != nil {
		return nil, fmt.Errorf("EC2 API: %w", err)
	}
	return d, nil
}

// close gives the port back, if serve has not.
func (d *door) close() {
	if d != nil {
		d.listener.Close()
	}
}

// serve answers until ctx ends.
func (d *door) serve(ctx context.Context, m *model.Model, log *slog.Logger) {
	if d == nil {
		return
	}
	s := ec2.New(m, ec2.Options{Region: d.api.Region, Account: d.api.Account, Keys: d.keys, Hosts: d.api.Hosts, Now: time.Now, Log: log})
	if err := s.Serve(ctx, d.listener); err != nil {
		log.Error("EC2 API", "error", err)
	}
}

func (d *door) greet(w io.Writer) {
	if d != nil {
		fmt.Fprintf(w, "EC2 API: http://%s (region %s; adit-endpoint arns lists its names)\n", d.listener.Addr(), d.api.Region)
	}
}
