//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/lab"
)

// The ways to ask the service for a tunnel.
const (
	byCommand = "adit connect"
	byAPI     = "the API"
)

// aditTunnel is the service and the endpoint with kernel devices.
type aditTunnel struct {
	keys    *keys
	bin     string
	service string // aditd
	data    string // what the service must say about data packets
}

func (t *aditTunnel) serve(s *side) error {
	p, err := startEndpoint(s, t.keys, filepath.Join(t.bin, "adit-endpoint"))
	s.carriers = append(s.carriers, p)
	return err
}

// startEndpoint runs the endpoint's program, given with what starts it.
func startEndpoint(s *side, k *keys, program ...string) (*lab.Proc, error) {
	config, err := k.fill(s.server.Dir, "endpoint.yaml", endpointConfig, s.clients[0].remote)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(config, 0o644); err != nil {
		return nil, err
	}
	return s.daemon(s.server, "listening on", append(program, "up", "--config", config)...)
}

func (t *aditTunnel) attach(s *side, c *host) error {
	p, err := s.daemon(c.node, "listening", t.service, "--state", filepath.Join(c.node.Dir, "state"), "--socket", socket(c))
	if err != nil {
		return err
	}
	c.carriers = []*lab.Proc{p}
	c.api = api.NewClient(socket(c))
	if c.profile, err = t.keys.fill(c.node.Dir, profileName+".ovpn", clientProfile, c.remote); err != nil {
		return err
	}
	text, err := os.ReadFile(c.profile)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	_, err = c.api.Import(ctx, api.ImportRequest{Name: profileName, Text: string(text)})
	return err
}

func socket(c *host) string { return filepath.Join(c.node.Dir, "aditd.sock") }

func (t *aditTunnel) ways() []string { return []string{byCommand, byAPI} }

func (t *aditTunnel) begin(ctx context.Context, c *host, way string) (<-chan error, error) {
	if way == byAPI {
		done := make(chan error, 1)
		go func() { done <- c.api.Connect(ctx, api.ConnectRequest{Profile: profileName, Timeout: soon}) }()
		return done, nil
	}
	p, err := c.node.Start(filepath.Join(t.bin, "adit"), "--socket", socket(c), "connect", profileName)
	if err != nil {
		return nil, err
	}
	return asking(p), nil
}

func (t *aditTunnel) end(ctx context.Context, c *host) error {
	return c.api.Disconnect(ctx, profileName)
}

// check says whether the tunnel is what is to be measured.
func (t *aditTunnel) check(ctx context.Context, c *host) error {
	status, err := c.api.Status(ctx)
	if err != nil {
		return err
	}
	for _, conn := range status.Connections {
		if conn.Protection.Data == t.data {
			return nil
		}
	}
	return fmt.Errorf("the tunnel's data channel is not %q: %+v", t.data, status.Connections)
}

// nobody is the user of the contender without root.
const nobody = 65534

// asNobody runs a program without any right.
func asNobody(argv ...string) []string {
	id := fmt.Sprint(nobody)
	return append([]string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--pdeathsig=KILL"}, argv...)
}

// userspaceTunnel ends in IP stacks inside the programs, at both ends. Programs beside the client
// reach the target through a forward.
type userspaceTunnel struct {
	keys *keys
	bin  string // where nobody may read
}

func (t *userspaceTunnel) serve(s *side) error {
	if err := os.Chown(s.server.Dir, nobody, nobody); err != nil {
		return err
	}
	k, err := t.keys.copyTo(s.server.Dir)
	if err != nil {
		return err
	}
	k.Network = "userspace"
	p, err := startEndpoint(s, k, asNobody(filepath.Join(t.bin, "adit-endpoint"))...)
	s.carriers = append(s.carriers, p)
	return err
}

func (t *userspaceTunnel) attach(_ *side, c *host) (err error) {
	if err = os.Chown(c.node.Dir, nobody, nobody); err != nil {
		return err
	}
	if c.profile, err = t.keys.fill(c.node.Dir, profileName+".ovpn", clientProfile, c.remote); err != nil {
		return err
	}
	return os.Chown(c.profile, nobody, nobody)
}

func (t *userspaceTunnel) ways() []string { return []string{byProcess} }

func (t *userspaceTunnel) begin(_ context.Context, c *host, _ string) (<-chan error, error) {
	p, err := c.node.Start(asNobody(filepath.Join(t.bin, "adit"), "connect", c.profile, "--userspace",
		"--status-socket", socket(c), "--forward", fmt.Sprintf("127.0.0.1:%d=%s:%d", iperfPort, target, iperfPort))...)
	if err != nil {
		return nil, err
	}
	c.process, c.carriers = p, []*lab.Proc{p}
	done := make(chan error, 1)
	go func() { done <- p.WaitFor("connected", soon) }()
	return done, nil
}

func (t *userspaceTunnel) end(_ context.Context, c *host) error { return c.stop() }

func (t *userspaceTunnel) check(context.Context, *host) error { return nil }
