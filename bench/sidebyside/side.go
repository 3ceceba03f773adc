//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"text/template"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/endpoint/pki"
	"github.com/adit-vpn/adit/lab"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

//go:embed openvpn-server.conf
var openvpnServer string

//go:embed endpoint.yaml
var endpointConfig string

//go:embed client.ovpn
var clientProfile string

const (
	openvpnName = "openvpn"
	aditName    = "adit"

	target      = "10.0.0.5" // the server's own address behind the tunnel
	profileName = "bench"
	soon        = 15 * time.Second
	settle      = 30 * time.Millisecond // after the tunnel before, whose end is nobody's fault here
)

// keys is what fills the configurations of one transport.
type keys struct {
	Transport, ServerProto, Cipher                     string
	CA, ServerCert, ServerKey, WrapKey                 string // files
	CAText, ClientCertText, ClientKeyText, WrapKeyText string
	Dir                                                string // of the node that reads it
}

// newKeys makes certificates and a tls-crypt key below dir.
func newKeys(dir, transport, cipher string) (*keys, error) {
	p, err := pki.Open(filepath.Join(dir, "pki"))
	if err != nil {
		return nil, err
	}
	if err := p.Init(pki.Options{}); err != nil {
		return nil, err
	}
	if _, err := p.Server("server", pki.Options{}); err != nil {
		return nil, err
	}
	if _, err := p.Client("client", pki.Options{}); err != nil {
		return nil, err
	}
	b, err := p.Bundle("client")
	if err != nil {
		return nil, err
	}
	k := &keys{
		Transport: transport, ServerProto: "udp", Cipher: cipher,
		CA: p.CAFile(), ServerCert: p.CertFile("server"), ServerKey: p.KeyFile("server"), WrapKey: filepath.Join(dir, "wrap.key"),
		CAText: string(b.CA), ClientCertText: string(b.Cert), ClientKeyText: string(b.Key),
	}
	if transport == "tcp" {
		k.ServerProto = "tcp-server"
	}
	static, err := wrap.GenerateStaticKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	k.WrapKeyText = string(static.Text())
	return k, os.WriteFile(k.WrapKey, []byte(k.WrapKeyText), 0o600)
}

// fill writes a configuration into dir and returns its path.
func (k keys) fill(dir, name, text string) (string, error) {
	k.Dir = dir
	t, err := template.New(name).Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, k); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, b.Bytes(), 0o600)
}

// side is one implementation on its own two hosts and one wire:
//
//	client ------------ server
//	198.51.100.2        .1, and 10.0.0.5 on its loopback device
type side struct {
	name           string
	bin            string
	net            *lab.Net
	client, server *lab.Node
	profile        string // file

	daemons []*lab.Proc // what always runs: the tunnel's server, aditd, iperf3
	tunnel  []*lab.Proc // those of the above that move the tunnel's packets
	process *lab.Proc   // openvpn's client while it is connected
	api     *api.Client // adit's service
}

// newSide builds the network and starts everything but the tunnel itself.
func newSide(name, dir, bin string, k *keys) (s *side, err error) {
	n, err := lab.NewNet(dir)
	if err != nil {
		return nil, err
	}
	s = &side{name: name, bin: bin, net: n}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if s.client, err = n.Node("client"); err != nil {
		return nil, err
	}
	if s.server, err = n.Node("server"); err != nil {
		return nil, err
	}
	if err = n.Wire(s.client, "eth0", []string{"198.51.100.2/24"}, s.server, "eth0", []string{"198.51.100.1/24"}); err != nil {
		return nil, err
	}
	if err = s.server.Do(addTarget); err != nil {
		return nil, err
	}
	if s.profile, err = k.fill(s.client.Dir, profileName+".ovpn", clientProfile); err != nil {
		return nil, err
	}
	if name == openvpnName {
		err = s.startOpenVPN(k)
	} else {
		err = s.startAdit(k)
	}
	if err != nil {
		return nil, err
	}
	_, err = s.daemon(s.server, "Server listening", "iperf3", "--server", "--bind", target, "--forceflush")
	return s, err
}

// addTarget gives the server the address that streams and pings go to.
func addTarget() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(target + "/32")
	if err != nil {
		return err
	}
	return netlink.AddrAdd(lo, addr)
}

// daemon starts a program that runs as long as the side, and waits for a word of it.
func (s *side) daemon(n *lab.Node, word string, argv ...string) (*lab.Proc, error) {
	p, err := n.Start(argv...)
	if err != nil {
		return nil, err
	}
	s.daemons = append(s.daemons, p)
	return p, p.WaitFor(word, soon)
}

func (s *side) startOpenVPN(k *keys) error {
	config, err := k.fill(s.server.Dir, "openvpn.conf", openvpnServer)
	if err != nil {
		return err
	}
	p, err := s.daemon(s.server, "Initialization Sequence Completed", "openvpn", "--config", config)
	s.tunnel = append(s.tunnel, p)
	return err
}

func (s *side) startAdit(k *keys) error {
	config, err := k.fill(s.server.Dir, "endpoint.yaml", endpointConfig)
	if err != nil {
		return err
	}
	p, err := s.daemon(s.server, "listening on", filepath.Join(s.bin, "adit-endpoint"), "up", "--config", config)
	if err != nil {
		return err
	}
	s.tunnel = append(s.tunnel, p)
	p, err = s.daemon(s.client, "listening", filepath.Join(s.bin, "aditd"), "--state", filepath.Join(s.client.Dir, "state"), "--socket", s.socket())
	if err != nil {
		return err
	}
	s.tunnel = append(s.tunnel, p)
	s.api = api.NewClient(s.socket())
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	text, err := os.ReadFile(s.profile)
	if err != nil {
		return err
	}
	_, err = s.api.Import(ctx, api.ImportRequest{Name: profileName, Text: string(text)})
	return err
}

func (s *side) socket() string { return filepath.Join(s.client.Dir, "aditd.sock") }

// The ways to ask for a tunnel.
const (
	byProcess = "openvpn, from its start"
	byCommand = "adit connect, from its start"
	byAPI     = "adit's API, from the request"
)

// ways are those of this side; the first one is compared.
func (s *side) ways() []string {
	if s.name == openvpnName {
		return []string{byProcess}
	}
	return []string{byCommand, byAPI}
}

// begin asks for the tunnel. The channel says how the asking ended.
func (s *side) begin(ctx context.Context, way string) (<-chan error, error) {
	done := make(chan error, 1)
	switch way {
	case byAPI:
		go func() { done <- s.api.Connect(ctx, api.ConnectRequest{Profile: profileName, Timeout: soon}) }()
		return done, nil
	case byCommand:
		p, err := s.client.Start(filepath.Join(s.bin, "adit"), "--socket", s.socket(), "connect", profileName)
		if err != nil {
			return nil, err
		}
		go func() {
			<-p.Done()
			if p.Err() != nil {
				done <- fmt.Errorf("adit connect: %w: %s", p.Err(), p.Out)
				return
			}
			done <- nil
		}()
		return done, nil
	}
	p, err := s.client.Start("openvpn", "--config", s.profile)
	s.process = p
	done <- nil
	return done, err
}

// end takes the tunnel down and waits until it is gone.
func (s *side) end(ctx context.Context) error {
	if s.name == openvpnName {
		p := s.process
		s.process = nil
		return p.Stop(syscall.SIGTERM, soon)
	}
	return s.api.Disconnect(ctx, profileName)
}

// connectOnce measures one way from the wish to the first answered ping.
func (s *side) connectOnce(ctx context.Context, way string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	pinger, err := newPinger(s.client)
	if err != nil {
		return 0, err
	}
	defer pinger.close()
	time.Sleep(settle)
	start := time.Now()
	done, err := s.begin(ctx, way)
	if err != nil {
		return 0, err
	}
	answered, err := pinger.first(ctx, target)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", way, err)
	}
	if err := <-done; err != nil {
		return 0, err
	}
	return answered.Sub(start), s.end(ctx)
}

// up brings the tunnel up for the streams.
func (s *side) up(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	pinger, err := newPinger(s.client)
	if err != nil {
		return err
	}
	defer pinger.close()
	done, err := s.begin(ctx, s.ways()[0])
	if err != nil {
		return err
	}
	if s.process != nil {
		s.tunnel = append(s.tunnel, s.process)
	}
	if _, err := pinger.first(ctx, target); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return <-done
}

// said is the end of what the side's programs printed.
func (s *side) said() string {
	var b bytes.Buffer
	procs := s.daemons
	if s.process != nil {
		procs = append(procs[:len(procs):len(procs)], s.process)
	}
	for _, p := range procs {
		out := p.Out.String()
		fmt.Fprintf(&b, "--- %s's %s said:\n%s\n", s.name, filepath.Base(p.Cmd.Path), out[max(0, len(out)-4000):])
	}
	return b.String()
}
