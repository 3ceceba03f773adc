package endpoint

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/mss"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
)

const plainText = "listen: 0.0.0.0:443\nclient_cidr: 10.64.0.0/22\n"

func TestParseLegacy(t *testing.T) {
	c, err := ParseConfig("f.yaml", []byte(plainText+`data_ciphers_fallback: aes-128-gcm
auth: sha256
compress: stub-v2
fragment: 1300
topology: net30
tls_version_min: "1.0"
floating: false
connect_freq: {sessions: 7, seconds: 8}
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Legacy != (Legacy{Fallback: "AES-128-GCM", Auth: "SHA256", Compress: "stub-v2", Fragment: 1300}) || c.Topology != "net30" ||
		c.TLSVersionMin != tls.VersionTLS10 || c.Floating || c.ConnectFreq != (Freq{7, 8}) || c.Mssfix != 1300 {
		t.Errorf("%+v", c)
	}
	for _, tt := range []struct{ name, more, want string }{
		{"cipher", "data_ciphers_fallback: BF-CBC-X", "f.yaml:3: data_ciphers_fallback: unknown cipher"},
		{"broken cipher", "ciphers: [AES-256-GCM, bf-cbc]", "f.yaml:3: ciphers[1]: BF-CBC is broken"},
		{"broken fallback", "data_ciphers_fallback: DES-EDE3-CBC\nlegacy: {insecure: false}", "f.yaml:3: data_ciphers_fallback: DES-EDE3-CBC is broken"},
		{"no cipher", "legacy: {insecure: true}\ndata_ciphers_fallback: none", "f.yaml:4: data_ciphers_fallback: none protects nothing"},
		{"no digest", "legacy: {insecure: true}\nauth: none", `f.yaml:4: auth: "none" is not one of SHA1`},
		{"insecure", "legacy: {insecure: perhaps}", "f.yaml:3: legacy.insecure: must be true or false"},
		{"legacy", "legacy: {unsafe: true}", "f.yaml:3: legacy.unsafe: unknown key"},
		{"digest", "auth: none", `f.yaml:3: auth: "none" is not one of SHA1`},
		{"compress", "compress: lzo", `f.yaml:3: compress: "lzo" is not one of none, lzo-no`},
		{"fragment", "fragment: 10", "f.yaml:3: fragment: must be a number from 68 to"},
		{"fragment on TCP", "fragment: 1300\ntransport: tcp", "f.yaml:3: fragment: is for transport udp"},
		{"mssfix", "mssfix: 100", "f.yaml:3: mssfix: must be a number from 576"},
		{"topology", "topology: star", `f.yaml:3: topology: "star" is not one of subnet, net30, p2p`},
		{"TLS", "tls_version_min: 1.4", `f.yaml:3: tls_version_min: "1.4" is not one of 1.0`},
		{"floating", "floating: often", "f.yaml:3: floating: must be true or false"},
		{"frequency", "connect_freq: {sessions: 0}", "f.yaml:3: connect_freq.sessions: must be a number from 1"},
		{"tokens without passwords", "auth_token: {lifetime: 3600}", "f.yaml:3: auth_token: takes the place of passwords"},
		{"token time", "auth_token: {renewal: 119}", "f.yaml:3: auth_token.renewal: must be a number from 120"},
	} {
		if _, err := ParseConfig("f.yaml", []byte(plainText+tt.more+"\n")); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	for more, want := range map[string]int{"": 1492, "mssfix: 0": 0, "mssfix: 1400": 1400, "tun_mtu: 1400": 0, "tun_mtu: 1400\nmssfix: 1300": 1300} {
		if c, err := ParseConfig("f.yaml", []byte(plainText+more+"\n")); err != nil || c.Mssfix != want {
			t.Errorf("%q: mssfix %d %v, want %d", more, c.Mssfix, err, want)
		}
	}
}

// TestPoolNet30: every client has a /30 of its own, and none touches the gateway's.
func TestPoolNet30(t *testing.T) {
	cidr := netip.MustParsePrefix("10.64.0.0/22")
	p := newPool(cidr, netip.Prefix{}, "net30")
	all := p.deal(nil, []string{"a"})
	seen := map[netip.Prefix]bool{}
	for {
		l, err := p.lease(all, nil, "")
		if err != nil {
			break
		}
		pair, _ := l.Addr.Addr().Prefix(30)
		if l.Peer != pair.Addr().Next() || l.Addr.Addr() != l.Peer.Next() || seen[pair] || pair.Contains(l.Gateway.Addr()) || !cidr.Contains(l.Addr.Addr()) {
			t.Fatalf("lease %+v", l)
		}
		seen[pair] = true
	}
	if len(seen) != 32*slicePairs {
		t.Errorf("%d clients in a /22, want %d", len(seen), 32*slicePairs)
	}
}

// TestTopologies: what the client is told, and that it works.
func TestTopologies(t *testing.T) {
	for topology, want := range map[string][3]string{
		"net30": {"10.64.0.6/32", "10.64.0.5", "10.64.0.5"},
		"p2p":   {"10.64.0.2/32", "10.64.0.1", "10.64.0.1"},
	} {
		t.Run(topology, func(t *testing.T) {
			r := startWith(t, "udp", "topology: "+topology+"\n")
			d, reply := r.connect(t, "ann")
			if got := [3]string{reply.Address.String(), reply.Peer.String(), reply.RouteGateway.String()}; got != want || reply.Topology != topology {
				t.Errorf("given %v %s, want %v", got, reply.Topology, want)
			}
			d.ping(t, reply.Address.Addr())
		})
	}
}

// TestClientMTU: nobody is given more than it can take.
func TestClientMTU(t *testing.T) {
	r := startWith(t, "udp", "tun_mtu: 9000\n")
	_, reply := r.connect(t, "ann") // takes 1600
	if reply.TunMTU != 1600 {
		t.Errorf("given an MTU of %d", reply.TunMTU)
	}
	if !containsLog(r, "below tun_mtu") {
		t.Error("no warning")
	}
	g := r.gen.Load()
	if got := g.replyFor(lease{}, 0).TunMTU; got != 0 {
		t.Errorf("a client that says nothing is given %d", got)
	}
}

// TestMssfix: a TCP handshake through the tunnel announces segments that fit outside.
func TestMssfix(t *testing.T) {
	r := start(t, "udp")
	d, reply := r.connect(t, "ann")
	me := reply.Address.Addr()
	d.ping(t, me)
	// Until it is known what the path carries, segments are smaller.
	r.until(t, func() bool { return r.peers.all()[0].packets.Load() == 1492 })
	syn := append(echo(me, network.DemoAddress(), 0)[:20], make([]byte, 24)...)
	binary.BigEndian.PutUint16(syn[2:], uint16(len(syn)))
	syn[9], syn[10], syn[11] = 6, 0, 0
	binary.BigEndian.PutUint16(syn[10:], checksum(syn[:20]))
	segment := syn[20:]
	binary.BigEndian.PutUint16(segment, 4000)
	binary.BigEndian.PutUint16(segment[2:], 80)
	segment[12], segment[13] = 6<<4, 2
	binary.BigEndian.PutUint16(segment[14:], 65535)
	copy(segment[20:], []byte{2, 4, 1460 >> 8, 1460 & 255})
	pseudo := append(append([]byte(nil), syn[12:20]...), 0, 6, 0, byte(len(segment)))
	binary.BigEndian.PutUint16(segment[16:], checksum(append(pseudo, segment...)))
	d.tunnel(t, syn)
	late := time.After(patience)
	for {
		select {
		case p := <-d.inner:
			if p[9] != 6 || p[33]&0x12 != 0x12 || len(p) < 44 || p[40] != 2 {
				continue
			}
			most := 1492 - mss.Headers(r.Addrs()[0].(interface{ AddrPort() netip.AddrPort }).AddrPort().Addr(), false) - 40
			if got := int(binary.BigEndian.Uint16(p[42:])); got >= most || got < most-64 {
				t.Errorf("the answer announces %d bytes, outside there is room for less than %d", got, most)
			}
			return
		case <-late:
			t.Fatal("no answer to the SYN")
		}
	}
}

// onePassword is a Method that the tests add.
type onePassword struct{ user, password string }

func (o onePassword) Check(_ context.Context, c auth.Credentials) (auth.Outcome, error) {
	if c.Username == o.user && c.Password == push.Secret(o.password) {
		return auth.Accepted{Identity: auth.Identity{Username: o.user}}, nil
	}
	return auth.Denied{Reason: "wrong password", Tell: "wrong password"}, nil
}

// TestAuthTokens signs in with a password, then renegotiates and comes back with what
// the endpoint gave for it.
func TestAuthTokens(t *testing.T) {
	r := start(t, "udp")
	cfg := r.config(t, r.text)
	cfg.AuthToken = AuthToken{Renewal: 2 * time.Second}
	g := r.withMethod(t, cfg, onePassword{"ann", "secret"})
	r.gen.Store(g)
	ann := r.tlsConfig(t, "ann")

	r.user, r.password = "ann", "wrong"
	if ev := wait[ovpn.AuthFailed](t, r.dial(t, ann)); ev.Reason != "wrong password" {
		t.Errorf("told %+v", ev)
	}
	r.password = "secret"
	d, reply := r.connect(t, "ann")
	first := reply.AuthToken
	if !auth.IsToken(first) {
		t.Fatalf("given %+v", reply)
	}
	d.ping(t, reply.Address.Addr())

	// The client uses it by itself when the endpoint wants a new key, and is given another.
	// The session that was denied may still wait for its client to have heard it.
	connected := slices.DeleteFunc(r.peers.all(), func(p *peer) bool { return p.status.Load() == nil })
	connected[0].do <- func(now time.Time, s *ovpn.Session) error { return s.Renegotiate(now) }
	next := wait[ovpn.AuthToken](t, d).Token
	if !auth.SameSession(first, next) {
		t.Errorf("the new token is of another sign-in")
	}
	d.cancel()
	<-d.done

	// It serves for a new session, and is renewed there.
	r.password = next
	d, reply = r.connect(t, "ann")
	if !auth.SameSession(first, reply.AuthToken) {
		t.Errorf("the token of the new session is of another sign-in")
	}
	d.cancel()
	<-d.done

	// Not for another user.
	r.user = "bob"
	if ev := wait[ovpn.AuthFailed](t, r.dial(t, ann)); ev.Kind != ovpn.Denied {
		t.Errorf("told %+v", ev)
	}
	// And not for ever: the client is told to ask for the password again.
	r.user = "ann"
	late := time.Now().Add(patience)
	for g.tokens.Verify("ann", next) == nil && time.Now().Before(late) {
		time.Sleep(50 * time.Millisecond)
	}
	if ev := wait[ovpn.AuthFailed](t, r.dial(t, ann)); ev.Kind != ovpn.SessionExpired {
		t.Errorf("told %+v", ev)
	}
}

// TestTokenIsRenewed: where tokens are to be renewed before the next key comes, they are, so that none is too old for it, or for
// coming back.
func TestTokenIsRenewed(t *testing.T) {
	for _, tt := range []struct {
		renewal time.Duration
		renews  bool
	}{{10 * time.Minute, true}, {renegotiate, false}, {0, false}} {
		t.Run(tt.renewal.String(), func(t *testing.T) {
			r := start(t, "udp")
			cfg := r.config(t, r.text)
			cfg.AuthToken = AuthToken{Renewal: tt.renewal}
			r.gen.Store(r.withMethod(t, cfg, onePassword{"ann", "secret"}))
			r.user, r.password = "ann", "secret"
			d, reply := r.connect(t, "ann")
			d.ping(t, reply.Address.Addr())
			p := r.established(t)
			fire := func() bool {
				p.adopting.Lock()
				defer p.adopting.Unlock()
				return p.renew != nil && p.renew.Reset(0)
			}
			if !tt.renews {
				if fire() {
					t.Error("tokens are renewed beside keys")
				}
				return
			}
			for range 2 {
				if !fire() {
					t.Fatal("nothing renews the token")
				}
				next := wait[ovpn.AuthToken](t, d).Token
				if !auth.SameSession(reply.AuthToken, next) {
					t.Error("the new token is of another sign-in")
				}
				r.password = next
			}
			d.cancel()
			<-d.done
			r.until(t, func() bool { return len(r.Connections()) == 0 })
			d, again := r.connect(t, "ann")
			d.ping(t, again.Address.Addr())
			if again.Address != reply.Address {
				t.Errorf("came back as %s, was %s", again.Address, reply.Address)
			}
			// A reload that renews them less often.
			p = r.established(t)
			cfg.AuthToken.Renewal = renegotiate
			if !p.adopt(r.withMethod(t, cfg, onePassword{"ann", "secret"})) {
				t.Fatal("reset")
			}
			if fire() {
				t.Error("tokens are renewed beside keys after the reload")
			}
		})
	}
}

// TestOldFormat: clients that know no peer ids (OpenVPN 2.3, or 2.4 and later without IV_PROTO) send and
// get DATA_V1, where the address alone says whose a packet is: several work side by side, and none can move.
func TestOldFormat(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			r := start(t, transport)
			r.peerInfo = []string{"IV_PROTO=0"}
			ann, anns := r.connect(t, "ann")
			bob, bobs := r.connect(t, "bob")
			if anns.PeerID >= 0 || anns.TLSExport || len(anns.Flags) != 0 {
				t.Errorf("pushed %+v", anns)
			}
			for range 3 { // there and back, in turns
				ann.ping(t, anns.Address.Addr())
				bob.ping(t, bobs.Address.Addr())
			}
			sealed, _ := sealOne(ann, echo(anns.Address.Addr(), anns.RouteGateway, 1))
			if op, _ := wire.SplitHeader(sealed[0]); op != wire.DataV1 {
				t.Errorf("a client without peer ids sends opcode %d", op)
			}
			if err := r.peers.all()[0].data.Counters(); err.Dropped != 0 {
				t.Errorf("%+v", err)
			}
			if transport == "tcp" {
				return
			}
			// From elsewhere nobody knows whose it is, keys or not.
			was := r.peers.at(addrPort(ann.conn.LocalAddr()))
			if was == nil {
				t.Fatal("the client is not where it is")
			}
			unknown, evil := r.drops.unknown.Load(), stranger(t)
			for range 5 {
				if _, err := evil.WriteTo(sealed, r.Addrs()[0]); err != nil {
					t.Fatal(err)
				}
			}
			r.until(t, func() bool { return r.drops.unknown.Load() >= unknown+5 })
			if got := was.from(); got != addrPort(ann.conn.LocalAddr()) || was.moves.Load() != 0 || was.tries.used.Load() != 0 {
				t.Errorf("the client was moved to %s (%d tries)", got, was.tries.used.Load())
			}
			// Another client's address does not make it that one's packet.
			dropped := r.peers.at(addrPort(bob.conn.LocalAddr())).data.Counters().Dropped
			bob.send(sealed)
			r.until(t, func() bool { return r.peers.at(addrPort(bob.conn.LocalAddr())).data.Counters().Dropped > dropped })
			ann.ping(t, anns.Address.Addr())
			bob.ping(t, bobs.Address.Addr())
		})
	}
}

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.UDPAddr).AddrPort() }
