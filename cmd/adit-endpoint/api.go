package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"strings"
	"time"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/ec2"
	"github.com/adit-vpn/adit/endpoint/model"
)

// door is the port at which the EC2 API answers. Nil: there is none, and all of its methods do nothing.
type door struct {
	listener net.Listener
	api      *endpoint.API
	secrets  ec2.Secrets // in force
	server   *ec2.Server // once open was called
}

// openDoor reads the keys, and listens where cfg says.
func openDoor(ctx context.Context, cfg endpoint.Config) (*door, error) {
	if cfg.API == nil {
		return nil, nil
	}
	secrets, err := readSecrets(cfg)
	if err != nil {
		return nil, err
	}
	d := &door{api: cfg.API, secrets: secrets}
	var lc net.ListenConfig
	if d.listener, err = lc.Listen(ctx, "tcp", cfg.API.Listen.String()); err != nil {
		return nil, fmt.Errorf("EC2 API: %w", err)
	}
	return d, nil
}

// readSecrets reads the keys of the API, and the certificate of its listener.
func readSecrets(cfg endpoint.Config) (ec2.Secrets, error) {
	out := ec2.Secrets{Keys: map[string]string{}}
	for _, k := range cfg.API.Keys {
		text, err := os.ReadFile(cfg.Path(k.SecretFile))
		if err != nil {
			return out, fmt.Errorf("secret of the access key %s: %w", k.ID, err)
		}
		secret := strings.TrimRight(string(text), "\r\n")
		if secret == "" {
			return out, fmt.Errorf("secret of the access key %s: %s is empty", k.ID, cfg.Path(k.SecretFile))
		}
		out.Keys[k.ID] = secret
	}
	if cfg.API.TLS.Cert == "" {
		return out, nil
	}
	pair, err := tls.LoadX509KeyPair(cfg.Path(cfg.API.TLS.Cert), cfg.Path(cfg.API.TLS.Key))
	if err != nil {
		return out, fmt.Errorf("certificate of the EC2 API: %w", err)
	}
	out.Certificate = &pair
	return out, nil
}

// follow reads keys and certificate anew, and puts them in force; changed says whether the keys are others. After an error they are as
// before.
func (d *door) follow(cfg endpoint.Config) (changed bool, err error) {
	if d == nil {
		return false, nil
	}
	next, err := readSecrets(cfg)
	if err != nil {
		return false, err
	}
	changed = !maps.Equal(d.secrets.Keys, next.Keys)
	d.secrets = next
	d.server.SetSecrets(next)
	return changed, nil
}

// close gives the port back, if serve has not.
func (d *door) close() {
	if d != nil {
		d.listener.Close()
	}
}

// open is before serve: from then on there is a model to ask.
func (d *door) open(m *model.Model, log *slog.Logger) {
	if d != nil {
		d.server = ec2.New(m, ec2.Options{Region: d.api.Region, Account: d.api.Account, Secrets: d.secrets, Hosts: d.api.Hosts, Now: time.Now, Log: log})
	}
}

// serve answers until ctx ends.
func (d *door) serve(ctx context.Context, log *slog.Logger) {
	if d == nil {
		return
	}
	if err := d.server.Serve(ctx, d.listener); err != nil {
		log.Error("EC2 API", "error", err)
	}
}

func (d *door) greet(w io.Writer) {
	if d != nil {
		scheme := "http"
		if d.secrets.Certificate != nil {
			scheme = "https"
		}
		fmt.Fprintf(w, "EC2 API: %s://%s (region %s; adit-endpoint arns lists its names)\n", scheme, d.listener.Addr(), d.api.Region)
	}
}
