//go:build linux

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/adit-vpn/adit/lab"
)

// The contenders.
const (
	openvpnName   = "openvpn"
	aditName      = "adit"
	classicName   = "adit-classic"   // data format of openvpn 2.6: no epoch keys
	userspaceName = "adit-userspace" // no root and no device at either end
	wireguardName = "wireguard-go"
	plainName     = "veth" // no tunnel
)

var contenderNames = []string{openvpnName, aditName, classicName, userspaceName, wireguardName, plainName}

// tunnel is one implementation on a side's hosts.
type tunnel interface {
	// serve starts the server's end.
	serve(s *side) error
	// attach starts what always runs at a client.
	attach(s *side, c *host) error
	// ways are those to ask for a tunnel; the first one is compared.
	ways() []string
	// begin asks for a tunnel. The channel says how the asking ended.
	begin(ctx context.Context, c *host, way string) (<-chan error, error)
	// end takes the tunnel down and waits until it is gone.
	end(ctx context.Context, c *host) error
	// check says whether a tunnel that is up is what its name says.
	check(ctx context.Context, c *host) error
}

func (b *bench) tunnel(name string, k *keys) tunnel {
	switch name {
	case openvpnName:
		return &openvpnTunnel{keys: k}
	case aditName:
		return &aditTunnel{keys: k, bin: b.o.bin, service: filepath.Join(b.o.bin, "aditd"), data: k.Cipher + " epoch keys"}
	case classicName:
		return &aditTunnel{keys: k, bin: b.o.bin, service: b.programs.classic, data: k.Cipher}
	case userspaceName:
		return &userspaceTunnel{keys: k, bin: b.programs.open}
	case wireguardName:
		return &wireguardTunnel{program: b.programs.wireguard}
	}
	return noTunnel{}
}

// byProcess is openvpn's and wireguard-go's only way.
const byProcess = "from its start"

// openvpnTunnel is a process at each end.
type openvpnTunnel struct{ keys *keys }

func (t *openvpnTunnel) serve(s *side) error {
	config, err := t.keys.fill(s.server.Dir, "openvpn.conf", openvpnServer, "")
	if err != nil {
		return err
	}
	p, err := s.daemon(s.server, "Initialization Sequence Completed", "openvpn", "--config", config)
	s.carriers = append(s.carriers, p)
	return err
}

func (t *openvpnTunnel) attach(_ *side, c *host) (err error) {
	c.profile, err = t.keys.fill(c.node.Dir, profileName+".ovpn", clientProfile, c.remote)
	return err
}

func (t *openvpnTunnel) ways() []string { return []string{byProcess} }

func (t *openvpnTunnel) begin(_ context.Context, c *host, _ string) (<-chan error, error) {
	p, err := c.node.Start("openvpn", "--config", c.profile)
	if err != nil {
		return nil, err
	}
	c.process, c.carriers = p, []*lab.Proc{p}
	return ended(nil), nil
}

func (t *openvpnTunnel) end(_ context.Context, c *host) error { return c.stop() }

// check trusts the configuration: there is one cipher in it.
func (t *openvpnTunnel) check(context.Context, *host) error { return nil }

// noTunnel is the wire itself.
type noTunnel struct{}

func (noTunnel) serve(*side) error { return nil }
func (noTunnel) attach(_ *side, c *host) error {
	return c.node.Route(behind, c.remote)
}
func (noTunnel) ways() []string                                             { return []string{"nothing"} }
func (noTunnel) begin(context.Context, *host, string) (<-chan error, error) { return ended(nil), nil }
func (noTunnel) check(context.Context, *host) error                         { return nil }
func (noTunnel) end(context.Context, *host) error                           { return nil }

// ended is how an asking ended that is over at once.
func ended(err error) <-chan error {
	done := make(chan error, 1)
	done <- err
	return done
}

// asking waits in the background until a program has ended.
func asking(p *lab.Proc) <-chan error {
	done := make(chan error, 1)
	go func() {
		<-p.Done()
		if p.Err() != nil {
			done <- fmt.Errorf("%s: %w: %s", filepath.Base(p.Cmd.Path), p.Err(), p.Out)
			return
		}
		done <- nil
	}()
	return done
}

// stop ends the client's process.
func (c *host) stop() error {
	p := c.process
	c.process, c.carriers = nil, nil
	return p.Stop(syscall.SIGTERM, soon)
}
