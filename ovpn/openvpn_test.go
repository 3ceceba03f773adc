package ovpn_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/platform/outputtest"
)

// TestAgainstOpenVPN runs a Session against the real openvpn without a device,
// in both roles: where the format is worked out by each end alone, only the other
// implementation shows that both come to the same one. Pings cross both ways;
// openvpn's log must show no complaint about our options.
func TestAgainstOpenVPN(t *testing.T) {
	ref := newReference(t)
	for _, tc := range []struct {
		name    string
		openvpn string // its options beside the usual ones
		edit    func(c *ovpn.Config)
		role    ovpn.Role // ours
		cipher  string
		log     string // what openvpn must have said
	}{
		{"point to point, we are the TLS client", "--tls-server --ping 1", func(c *ovpn.Config) { c.PointToPoint = true }, ovpn.Client,
			"AES-256-GCM", "P2P mode NCP negotiation result: TLS_export=1, DATA_v2=1"},
		{"point to point, we are the TLS server", "--tls-client --ping 1", func(c *ovpn.Config) { c.PointToPoint = true }, ovpn.Server,
			"AES-256-GCM", "P2P mode NCP negotiation result: TLS_export=1, DATA_v2=1"},
		{"point to point, its order", "--tls-server --ping 1 --data-ciphers CHACHA20-POLY1305:AES-128-GCM", func(c *ovpn.Config) { c.PointToPoint = true }, ovpn.Client,
			"CHACHA20-POLY1305", "cipher=CHACHA20-POLY1305"},
		{"point to point, our order", "--tls-client --ping 1", func(c *ovpn.Config) {
			c.PointToPoint, c.Ciphers = true, []string{"AES-128-GCM", "AES-256-GCM"}
		}, ovpn.Server, "AES-128-GCM", "cipher=AES-128-GCM"},
		{"point to point, CBC", "--tls-server --ping 1 --data-ciphers AES-256-CBC --data-ciphers-fallback AES-256-CBC --auth SHA256", func(c *ovpn.Config) {
			c.PointToPoint, c.Ciphers, c.Auth = true, []string{"AES-256-CBC"}, "SHA256"
		}, ovpn.Client, "AES-256-CBC", "cipher=AES-256-CBC"},
		{"point to point, much that stands in the options string", "--tls-server --ping 1 --data-ciphers AES-256-CBC --data-ciphers-fallback AES-256-CBC --auth SHA256 " +
			"--comp-lzo no --fragment 1300", func(c *ovpn.Config) {
			c.PointToPoint, c.Ciphers, c.Fallback, c.Auth, c.Compress, c.Fragment = true, []string{"AES-256-CBC"}, "AES-256-CBC", "SHA256", "lzo-no", 1300
		}, ovpn.Client, "AES-256-CBC", "Initialization Sequence Completed"},
		{"point to point, it reads a long key exchange", "--tls-server --ping 1", func(c *ovpn.Config) {
			c.PointToPoint = true
			for i := range 8 {
				c.PeerInfo = append(c.PeerInfo, fmt.Sprintf("UV_%d=%s", i, strings.Repeat("x", 150)))
			}
		}, ovpn.Client, "AES-256-GCM", "peer info: UV_7="},
		{"its client", "--client --ifconfig-noexec --ping 1", func(c *ovpn.Config) {}, ovpn.Server, "AES-256-GCM", "Initialization Sequence Completed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := ovpn.Config{Role: tc.role}
			tc.edit(&cfg)
			r, end := ref.start(t, cfg, tc.openvpn)
			err := r.run(20*time.Second, func() bool { return r.pings >= 2 })
			log := end()
			switch {
			case err != nil || r.pings < 2:
				t.Errorf("%v, %d packets from openvpn", err, r.pings)
			case r.cipher != tc.cipher:
				t.Errorf("cipher %s", r.cipher)
			case !strings.Contains(log, tc.log):
				t.Errorf("openvpn did not say %q", tc.log)
			case inconsistent.MatchString(log), strings.Contains(log, "Decrypt packet error"), strings.Contains(log, "Inactivity timeout"):
				t.Error("openvpn complains")
			}
		})
	}
}

// openvpn takes messages on the newest key only, in either role: those that an owner sends
// while a key is being negotiated must not go on the old one.
func TestOpenVPNReadsWhatIsSaidDuringRenegotiation(t *testing.T) {
	ref := newReference(t)
	equal := func(c *ovpn.Config) { c.PointToPoint = true }
	for _, tc := range []struct {
		name    string
		openvpn string
		edit    func(c *ovpn.Config)
		role    ovpn.Role // ours
		weStart bool
	}{
		{"to its client, we start", "--client --ifconfig-noexec --ping 1", func(c *ovpn.Config) {}, ovpn.Server, true},
		{"to its client, it starts", "--client --ifconfig-noexec --ping 1 --reneg-sec 2", func(c *ovpn.Config) {}, ovpn.Server, false},
		{"to its server, we start", "--tls-server --ping 1", equal, ovpn.Client, true},
		{"to its server, it starts", "--tls-server --ping 1 --reneg-sec 2", equal, ovpn.Client, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := ovpn.Config{Role: tc.role}
			tc.edit(&cfg)
			r, end := ref.start(t, cfg, tc.openvpn)
			said := false
			r.heard = func(b []byte) {
				if _, keyID := wire.SplitHeader(b[0]); keyID == 0 || said {
					return
				}
				said = true
				for _, message := range []string{"FIRST", "SECOND"} {
					if err := r.s.Send(time.Now(), message); err != nil {
						t.Error(err)
					}
				}
				if tc.role == ovpn.Server {
					r.s.Send(time.Now(), "RESTART,THIRD")
				}
			}
			asked := false
			err := r.run(20*time.Second, func() bool {
				if r.pings >= 2 && tc.weStart && !asked {
					asked = true
					r.s.Renegotiate(time.Now())
				}
				return strings.Contains(r.log(), "SECOND")
			})
			if err == nil && tc.role == ovpn.Server {
				r.s.Close(time.Now())
				err = r.run(5*time.Second, func() bool { return strings.Contains(r.log(), "THIRD") })
			}
			log := end()
			first, second := strings.Index(log, "unknown control message: FIRST"), strings.Index(log, "unknown control message: SECOND")
			switch {
			case err != nil || first < 0 || second < first:
				t.Errorf("%v; said %v; FIRST at %d, SECOND at %d of openvpn's log", err, said, first, second)
			case tc.role == ovpn.Server && !strings.Contains(log, "Connection reset command was pushed by server ('THIRD')"):
				t.Error("openvpn was not told to restart")
			case strings.Contains(log, "key IDs out of sync"):
				t.Error("openvpn dropped what came on the old key")
			}
		})
	}
}

// reference is what runs of the real openvpn have in common.
type reference struct {
	program            string
	pki                *ovpntest.PKI
	asServer, asClient []string
}

func newReference(t *testing.T) *reference {
	t.Helper()
	program, err := exec.LookPath("openvpn")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	pki := ovpntest.NewPKI(t)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca", pki.CA())
	leaf := func(name string, usage x509.ExtKeyUsage) []string {
		cert, key := ovpntest.PEM(t, pki.Issue(name, usage, nil))
		return []string{"--ca", ca, "--cert", write(name+".crt", cert), "--key", write(name+".key", key)}
	}
	return &reference{
		program: program, pki: pki,
		asServer: append(leaf("openvpn-server", x509.ExtKeyUsageServerAuth), "--dh", "none"),
		asClient: leaf("openvpn-client", x509.ExtKeyUsageClientAuth),
	}
}

// start runs openvpn with options beside the usual ones, and prepares our side. end stops it and
// returns its log, which a failed test shows.
func (ref *reference) start(t *testing.T, cfg ovpn.Config, options string) (r *realPeer, end func() string) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	probe, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	theirs := probe.LocalAddr().(*net.UDPAddr).AddrPort()
	probe.Close()

	args := []string{"--dev", "null", "--proto", "udp4", "--verb", "7", "--local", "127.0.0.1", "--lport", strconv.Itoa(int(theirs.Port()))}
	cfg.Ping, cfg.PingRestart = time.Second, 5*time.Second
	cfg.TLSTimeout = 100 * time.Millisecond // our first packets come before openvpn listens
	if cfg.Role == ovpn.Client {
		cfg.TLS = ref.pki.ClientTLS("adit")
		args = append(args, ref.asServer...)
	} else {
		cfg.TLS = ref.pki.ServerTLS()
		args = append(append(args, ref.asClient...), "--remote", "127.0.0.1", strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port))
	}
	out := &outputtest.Output{}
	cmd := exec.Command(ref.program, append(args, strings.Fields(options)...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r = &realPeer{t: t, conn: conn, to: theirs, cfg: cfg, gate: ovpn.NewGate(ovpn.GateConfig{}), log: out.String}
	end = sync.OnceValue(func() string {
		cmd.Process.Kill()
		cmd.Wait()
		conn.Close()
		if r.s != nil {
			r.s.Abort()
		}
		return out.String()
	})
	t.Cleanup(func() {
		log := end()
		if !t.Failed() {
			return
		}
		for line := range strings.Lines(log) {
			if !strings.Contains(line, " = ") { // the list of options
				t.Log(line)
			}
		}
	})
	return r, end
}

// inconsistent matches openvpn's complaint about an option that its peer has otherwise: from verb 7 on,
// and here always about the type of its device, which is none.
var inconsistent = regexp.MustCompile(`WARNING: '([^d]|d[^e]|de[^v])[^']*' is (used inconsistently|present in)`)

// realPeer is a Session on a real socket, driven by hand.
type realPeer struct {
	t      *testing.T
	conn   *net.UDPConn
	to     netip.AddrPort
	cfg    ovpn.Config
	gate   *ovpn.Gate
	s      *ovpn.Session
	cipher string
	pings  int // authentic data packets that came
	log    func() string
	heard  func(b []byte) // after each control packet; may be nil
}

// run goes on until stop says so, or the session ends, or limit.
func (r *realPeer) run(limit time.Duration, stop func() bool) error {
	end := time.Now().Add(limit)
	if r.cfg.Role == ovpn.Client && r.s == nil {
		var err error
		if r.s, err = ovpn.New(time.Now(), r.cfg); err != nil {
			return err
		}
	}
	b := make([]byte, 4096)
	for time.Now().Before(end) && !stop() {
		wait := time.Now().Add(200 * time.Millisecond)
		if r.s != nil {
			if err := r.drain(); err != nil {
				return err
			}
			if d := r.s.Deadline(); !d.IsZero() && d.Before(wait) {
				wait = d
			}
		}
		r.conn.SetReadDeadline(wait)
		size, from, err := r.conn.ReadFromUDPAddrPort(b[:2048])
		if err == nil && size > 0 {
			err = r.take(from, b[:size])
		} else if err = nil; r.s != nil && !r.s.Deadline().After(time.Now()) {
			err = r.s.Tick(time.Now())
		}
		if err != nil && !isDropped(err) {
			return err
		}
	}
	return nil
}

func (r *realPeer) drain() error {
	now := time.Now()
	for p := r.s.NextPacket(now); p != nil; p = r.s.NextPacket(now) {
		r.conn.WriteToUDPAddrPort(p, r.to)
	}
	for ev := r.s.NextEvent(); ev != nil; ev = r.s.NextEvent() {
		var err error
		switch ev := ev.(type) {
		case ovpn.Credentials:
			err = r.s.Accept(now, ev.KeyID)
		case ovpn.PushRequest:
			r.cipher = "AES-256-GCM"
			if len(r.cfg.Ciphers) > 0 {
				r.cipher = r.cfg.Ciphers[0]
			}
			err = r.s.Push(now, push.Reply{Topology: "subnet", Address: netip.MustParsePrefix("10.8.0.2/24"), RouteGateway: netip.MustParseAddr("10.8.0.1"), Ping: time.Second})
		case ovpn.PushReply:
			r.cipher = ev.Cipher
		}
		if err != nil {
			return err
		}
	}
	for p := r.s.NextPacket(now); p != nil; p = r.s.NextPacket(now) {
		r.conn.WriteToUDPAddrPort(p, r.to)
	}
	return nil
}

func (r *realPeer) take(from netip.AddrPort, b []byte) error {
	now := time.Now()
	if r.s == nil {
		reply, hello, err := r.gate.Handle(now, from, b)
		if reply != nil {
			r.conn.WriteToUDPAddrPort(reply, from)
		}
		if hello == nil {
			return err
		}
		r.cfg.Hello = hello
		if r.s, err = ovpn.New(now, r.cfg); err != nil {
			return err
		}
	}
	if wire.IsData(b[0]) {
		before := r.s.LastHeard()
		r.s.Data().Open(now, [][]byte{b})
		if r.s.LastHeard().After(before) {
			r.pings++
		}
		return nil
	}
	err := r.s.Handle(now, b)
	if r.heard != nil {
		r.heard(b)
	}
	return err
}

func isDropped(err error) bool { return errors.Is(err, ovpn.ErrDropped) }
