package ovpn_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
)

// last is the newest event of one type.
func last[E ovpn.Event](t *testing.T, s *ovpntest.Side) (e E) {
	t.Helper()
	found := false
	for _, ev := range s.Events {
		if x, ok := ev.(E); ok {
			e, found = x, true
		}
	}
	if !found {
		t.Fatalf("no %T among %d events; %v", e, len(s.Events), s.Err)
	}
	return e
}

// flow checks that packets pass both ways.
func flow(t *testing.T, p *ovpntest.Pair) {
	t.Helper()
	for _, dir := range []struct{ from, to *ovpntest.Side }{{p.Client, p.Server}, {p.Server, p.Client}} {
		dir.to.Inside = nil
		if !p.Inject(dir.from, inner(7)) {
			t.Fatalf("no key to seal with: client %v, server %v", p.Client.Err, p.Server.Err)
		}
		p.Run(time.Second, nil)
		if len(dir.to.Inside) != 1 {
			t.Fatalf("got %d packets", len(dir.to.Inside))
		}
	}
}

func TestPointToPoint(t *testing.T) {
	for _, tc := range []struct {
		name   string
		edit   func(c, s *ovpn.Config)
		cipher string
	}{
		{"defaults", func(c, s *ovpn.Config) {}, "AES-256-GCM"},
		{"the TLS server's order decides", func(c, s *ovpn.Config) {
			s.Ciphers = []string{"CHACHA20-POLY1305", "AES-128-GCM"}
		}, "CHACHA20-POLY1305"},
		{"classic", func(c, s *ovpn.Config) { c.Classic = true }, "AES-256-GCM"},
		{"without the exporter", func(c, s *ovpn.Config) { s.PRF = true }, "AES-256-GCM"},
		{"no common cipher, but a fallback", func(c, s *ovpn.Config) {
			c.Ciphers, s.Ciphers, c.Fallback, s.Fallback = []string{"AES-128-GCM"}, []string{"AES-256-GCM"}, "AES-192-GCM", "AES-192-GCM"
		}, "AES-192-GCM"},
		{"tcp", func(c, s *ovpn.Config) { c.Stream, s.Stream = true, true }, "AES-256-GCM"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			c.PointToPoint, s.PointToPoint = true, true
			tc.edit(&c, &s)
			p := ovpntest.NewPair(t, c, s, quiet, 1)
			up := func() bool {
				return ovpntest.Count[ovpn.PushReply](p.Client) == 1 && ovpntest.Count[ovpn.PushReply](p.Server) == 1
			}
			if !p.Run(20*time.Second, up) {
				t.Fatalf("client %v, server %v", p.Client.Err, p.Server.Err)
			}
			for _, side := range []*ovpntest.Side{p.Client, p.Server} {
				if got := last[ovpn.PushReply](t, side); got.Cipher != tc.cipher || len(got.Reply.Options()) != 0 {
					t.Errorf("cipher %s, pushed %q", got.Cipher, got.Reply.Options())
				}
			}
			p.Run(time.Second, nil)
			flow(t, p)
			p.Server.Session.Renegotiate(p.Now)
			p.Run(30*time.Second, nil)
			if n := ovpntest.Count[ovpn.Established](p.Client); n != 2 {
				t.Errorf("%d keys", n)
			}
			flow(t, p)
			if ovpntest.Count[ovpn.PushRequest](p.Server) != 0 {
				t.Error("a push was asked for")
			}
			p.Client.Session.Close(p.Now)
			p.Run(3*time.Second, func() bool { return p.Server.Err != nil })
			if ovpntest.Count[ovpn.PeerExit](p.Server) != 1 {
				t.Errorf("no farewell: %v", p.Server.Err)
			}
		})
	}
}

// What two ends agree on, packets pass in.
func TestFormats(t *testing.T) {
	for _, tc := range []struct {
		name   string
		edit   func(c, s *ovpn.Config)
		cipher string
		flags  string // protocol-flags that are pushed
		frame  string // compression framing that is pushed
	}{
		{"the best of both", func(c, s *ovpn.Config) {}, "AES-256-GCM", "cc-exit tls-ekm dyn-tls-crypt aead-epoch", ""},
		{"classic client", func(c, s *ovpn.Config) { c.Classic = true }, "AES-256-GCM", "cc-exit tls-ekm", ""},
		{"classic server", func(c, s *ovpn.Config) { s.Classic = true }, "AES-256-GCM", "cc-exit tls-ekm", ""},
		{"no AEAD, no epochs", func(c, s *ovpn.Config) {
			c.Ciphers, s.Ciphers, c.Auth, s.Auth = []string{"AES-256-CBC"}, []string{"AES-256-CBC"}, "SHA256", "SHA256"
		}, "AES-256-CBC", "cc-exit tls-ekm dyn-tls-crypt", ""},
		{"stub-v2", func(c, s *ovpn.Config) { s.Compress = "stub-v2" }, "AES-256-GCM", "cc-exit tls-ekm dyn-tls-crypt aead-epoch", "stub-v2"},
		{"stub", func(c, s *ovpn.Config) { s.Compress, s.Classic = "stub", true }, "AES-256-GCM", "cc-exit tls-ekm", "stub"},
		{"a client that compresses moves on", func(c, s *ovpn.Config) { c.Compress, s.Compress = "lzo", "migrate" }, "AES-256-GCM", "cc-exit tls-ekm dyn-tls-crypt aead-epoch", "stub-v2"},
		{"others stay as they are", func(c, s *ovpn.Config) { s.Compress = "migrate" }, "AES-256-GCM", "cc-exit tls-ekm dyn-tls-crypt aead-epoch", ""},
		{"fragments", func(c, s *ovpn.Config) { c.Fragment, s.Fragment, c.Classic = 90, 90, true }, "AES-256-GCM", "cc-exit tls-ekm", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			tc.edit(&c, &s)
			p := up(t, c, s, quiet, 1)
			got := last[ovpn.PushReply](t, p.Client)
			if flags := strings.Join(got.Reply.Flags, " "); got.Cipher != tc.cipher || flags != tc.flags || got.Reply.Compress != tc.frame {
				t.Errorf("cipher %s, flags %q, framing %q", got.Cipher, flags, got.Reply.Compress)
			}
			flow(t, p)
			p.Client.Session.Renegotiate(p.Now)
			p.Run(30*time.Second, nil)
			flow(t, p)
		})
	}
}

func TestPointToPointWithoutCommonCipher(t *testing.T) {
	c, s := setup(t)
	c.PointToPoint, s.PointToPoint, c.Ciphers, s.Ciphers = true, true, []string{"AES-128-GCM"}, []string{"AES-256-GCM"}
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	p.Run(20*time.Second, nil)
	var pe *ovpn.ProtocolError
	if !errors.As(p.Client.Err, &pe) || pe.Cause != ovpn.CauseCipher {
		t.Errorf("%v", p.Client.Err)
	}
}

// Each end says which peer id it wants to receive; then none is pushed.
func TestAsymmetricPeerIDs(t *testing.T) {
	for _, classic := range []string{"neither", "client", "server"} {
		t.Run("classic "+classic, func(t *testing.T) {
			c, s := setup(t)
			c.Classic, s.Classic = classic == "client", classic == "server"
			s.PeerID = 0 // the first one of a server
			p := up(t, c, s, quiet, 1)
			ids := map[*ovpntest.Side]uint32{}
			p.Watch = func(from *ovpntest.Side, b []byte) {
				if wire.IsData(b[0]) {
					ids[from] = wire.PeerID(b)
				}
			}
			flow(t, p)
			pushed, asymmetric := last[ovpn.PushReply](t, p.Client).Reply.PeerID, classic == "neither"
			if ids[p.Client] != 0 || (pushed < 0) != asymmetric || (ids[p.Server] != 0) != asymmetric {
				t.Errorf("client sends %x, server %x, pushed %d", ids[p.Client], ids[p.Server], pushed)
			}
		})
	}
}

func TestPushUpdate(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, noisy, 4)
	p.Run(5*time.Second, nil)
	server := p.Server.Session
	if !server.CanUpdate() || p.Client.Session.CanUpdate() {
		t.Fatal("CanUpdate is wrong")
	}
	reply := p.Reply
	for i := range 200 { // several messages
		reply.Routes = append(reply.Routes, push.Route{Destination: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i), 0}), 24)})
	}
	reply.BlockIPv6 = true
	check := func(n int) {
		t.Helper()
		if !p.Run(20*time.Second, func() bool { return ovpntest.Count[ovpn.PushUpdate](p.Client) == n }) {
			t.Fatalf("%d updates: client %v, server %v", ovpntest.Count[ovpn.PushUpdate](p.Client), p.Client.Err, p.Server.Err)
		}
		got := last[ovpn.PushUpdate](t, p.Client).Reply
		if !slices.Equal(got.Routes, reply.Routes) || got.BlockIPv6 != reply.BlockIPv6 || got.Address != reply.Address || got.Cipher == "" {
			t.Errorf("update %d: %d routes, block-ipv6 %v, address %v, cipher %q", n, len(got.Routes), got.BlockIPv6, got.Address, got.Cipher)
		}
	}
	if err := server.Update(p.Now, reply); err != nil {
		t.Fatal(err)
	}
	check(1)
	if err := server.Update(p.Now, reply); err != nil {
		t.Fatal(err)
	}
	p.Run(5*time.Second, nil)
	if n := ovpntest.Count[ovpn.PushUpdate](p.Client); n != 1 {
		t.Errorf("%d updates although nothing differs", n)
	}
	reply.Routes, reply.BlockIPv6 = reply.Routes[:1], false
	if err := server.Update(p.Now, reply); err != nil {
		t.Fatal(err)
	}
	check(2)
	other := reply
	other.Inactive = time.Hour
	if err := server.Update(p.Now, other); err == nil {
		t.Error("an update of what cannot be updated")
	}
	flow(t, p)
}

func TestPushUpdateThatCannotBe(t *testing.T) {
	for _, tc := range []struct {
		text   string
		filter push.Filter
		cause  ovpn.Cause // 0: the session lives on
		events int
	}{
		{"PUSH_UPDATE,?compress lzo,route 10.1.0.0 255.255.0.0", nil, 0, 1},
		{"PUSH_UPDATE,route 10.1.0.0 255.255.0.0,push-continuation 2", nil, 0, 0},
		{"PUSH_UPDATE,inactive 10", nil, ovpn.CauseUpdate, 0},
		{"PUSH_UPDATE,-ifconfig,ifconfig 1 2", nil, ovpn.CauseUpdate, 0},
		{"PUSH_UPDATE,route 10.1.0.0 255.255.0.0", push.Filter{{Action: push.Reject, Prefix: "route 10.1"}}, ovpn.CauseRefusedPush, 0},
		{"PUSH_UPDATE,route 10.1.0.0\x01 255.255.0.0", nil, 0, 0},
	} {
		t.Run(fmt.Sprintf("%q", tc.text), func(t *testing.T) {
			c, s := setup(t)
			c.Filter = tc.filter
			p := up(t, c, s, quiet, 1)
			p.Server.Session.Send(p.Now, tc.text)
			p.Run(time.Second, nil)
			var pe *ovpn.ProtocolError
			switch {
			case tc.cause == 0 && p.Client.Err != nil:
				t.Errorf("%v", p.Client.Err)
			case tc.cause != 0 && (!errors.As(p.Client.Err, &pe) || pe.Cause != tc.cause):
				t.Errorf("%v, want cause %d", p.Client.Err, tc.cause)
			}
			if n := ovpntest.Count[ovpn.PushUpdate](p.Client); n != tc.events {
				t.Errorf("%d updates", n)
			}
		})
	}
}

// The token that the server gives is what a client says at a renegotiation.
func TestAuthTokens(t *testing.T) {
	c, s := setup(t)
	c.Username, c.Password = "alice", "first"
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	p.Reply.AuthToken, p.Reply.TokenUser = "token-1", "alice@example.com"
	if !p.Run(20*time.Second, p.Up) {
		t.Fatal(p.Client.Err)
	}
	p.Run(time.Second, nil)
	renegotiate := func(user, password string) {
		t.Helper()
		n := ovpntest.Count[ovpn.Credentials](p.Server)
		p.Client.Session.Renegotiate(p.Now)
		p.Run(2*time.Minute, nil)
		got := last[ovpn.Credentials](t, p.Server)
		if ovpntest.Count[ovpn.Credentials](p.Server) != n+1 || got.Username != user || got.Password.Reveal() != password || !got.Renegotiation {
			t.Errorf("%s %s, renegotiation %v", got.Username, got.Password.Reveal(), got.Renegotiation)
		}
		flow(t, p)
	}
	renegotiate("alice@example.com", "token-1")
	if err := p.Server.Session.PushToken(p.Now, "token-2"); err != nil {
		t.Fatal(err)
	}
	p.Run(time.Second, nil)
	if got := last[ovpn.AuthToken](t, p.Client); got.Token.Reveal() != "token-2" || got.User != "alice@example.com" {
		t.Errorf("%s %s", got.User, got.Token.Reveal())
	}
	if ovpntest.Count[ovpn.PushReply](p.Client) != 1 {
		t.Error("a token is a second configuration")
	}
	renegotiate("alice@example.com", "token-2")
	if p.Server.Session.PushToken(p.Now, "a,b") == nil || p.Server.Session.PushToken(p.Now, "") == nil {
		t.Error("a token that breaks the message")
	}
}

func TestTrafficRenegotiates(t *testing.T) {
	for _, tc := range []struct {
		name           string
		bytes, packets int64
	}{{"bytes", 10 * 100, 0}, {"packets", 0, 10}} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			c.RenegotiateBytes, c.RenegotiatePackets = tc.bytes, tc.packets
			p := up(t, c, s, quiet, 1)
			p.Run(time.Minute, nil)
			if n := ovpntest.Count[ovpn.Established](p.Client); n != 1 {
				t.Fatalf("%d keys without traffic", n)
			}
			for range 5 {
				p.Inject(p.Client, inner(1))
				p.Inject(p.Server, inner(1))
			}
			p.Run(20*time.Second, nil)
			if n := ovpntest.Count[ovpn.Established](p.Client); n != 2 {
				t.Errorf("%d keys", n)
			}
			flow(t, p)
		})
	}
}

// A server's sign-in takes longer than any handshake: the client waits as long as
// it is told to, and no configuration goes out before the answer.
func TestCVE_2020_15078_PendingAuthentication(t *testing.T) {
	c, s := setup(t)
	c.Renegotiate, s.Renegotiate = time.Hour, time.Hour
	c.SSO = []string{"webauth", "crtext"}
	p := ovpntest.NewPair(t, c, s, noisy, 1)
	asked := false
	p.OnServer = func(ev ovpn.Event) bool {
		if cred, ok := ev.(ovpn.Credentials); ok {
			asked = true
			if got := cred.PeerInfo["IV_SSO"]; got != "webauth,crtext" {
				t.Errorf("IV_SSO %q", got)
			}
			if err := p.Server.Session.Pending(p.Now, 10*time.Minute, "WEB_AUTH::https://example.com/?x=1,2"); err != nil {
				t.Error(err)
			}
			return true
		}
		return false
	}
	p.Run(9*time.Minute, nil)
	if !asked || p.Client.Err != nil || p.Server.Err != nil {
		t.Fatalf("asked %v; client %v, server %v", asked, p.Client.Err, p.Server.Err)
	}
	if got := last[ovpn.AuthPending](t, p.Client); got.Timeout != 10*time.Minute {
		t.Errorf("timeout %v", got.Timeout)
	}
	if got := last[ovpn.Message](t, p.Client); got.Text != "INFO_PRE,WEB_AUTH::https://example.com/?x=1,2" {
		t.Errorf("%q", got.Text)
	}
	if ovpntest.Count[ovpn.PushReply](p.Client) != 0 || ovpntest.Count[ovpn.PushRequest](p.Server) != 0 {
		t.Error("configured before the authentication ended (CVE-2020-15078)")
	}
	if err := p.Server.Session.Accept(p.Now, 0); err != nil {
		t.Fatal(err)
	}
	if !p.Run(20*time.Second, p.Up) {
		t.Fatalf("client %v, server %v", p.Client.Err, p.Server.Err)
	}
	p.Run(10*time.Second, nil)
	p.Noise = quiet
	flow(t, p)
}

func TestPendingEnds(t *testing.T) {
	c, s := setup(t)
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	p.OnServer = func(ev ovpn.Event) bool {
		if _, ok := ev.(ovpn.Credentials); ok {
			// Over the bound: half the renegotiation interval, at least the hand window.
			if err := p.Server.Session.Pending(p.Now, time.Hour, ""); err != nil {
				t.Error(err)
			}
			return true
		}
		return false
	}
	p.Run(3*time.Minute, func() bool { return p.Client.Err != nil && p.Server.Err != nil })
	if p.Client.Err == nil || p.Server.Err == nil || ovpntest.Count[ovpn.PushRequest](p.Server) != 0 {
		t.Errorf("client %v, server %v", p.Client.Err, p.Server.Err)
	}
	if d := p.Now.Sub(ovpntest.Epoch()); d < 60*time.Second || d > 65*time.Second {
		t.Errorf("ended after %v", d)
	}
}

// CVE-2022-0547, CVE-2020-15078: an answer authorizes its own key and no other,
// and until it comes the client's new key opens nothing.
func TestCVE_2022_0547_LateAnswers(t *testing.T) {
	c, s := setup(t)
	c.Username, c.Password = "alice", "secret" // the client waits with its new key
	p := up(t, c, s, quiet, 1)
	var open []uint8
	p.OnServer = func(ev ovpn.Event) bool {
		cred, ok := ev.(ovpn.Credentials)
		if ok {
			open = append(open, cred.KeyID)
		}
		return ok
	}
	p.Client.Session.Renegotiate(p.Now)
	p.Run(10*time.Second, nil)
	for _, id := range []uint8{0, 2, 3, 255} {
		if err := p.Server.Session.Accept(p.Now, id); err != nil {
			t.Errorf("answer for key %d: %v", id, err)
		}
	}
	used := map[uint8]bool{}
	p.Watch = func(_ *ovpntest.Side, b []byte) {
		if wire.IsData(b[0]) {
			_, id := wire.SplitHeader(b[0])
			used[id] = true
		}
	}
	p.Run(30*time.Second, nil) // longer than a server waits before it moves to a new key
	flow(t, p)
	if used[1] || !slices.Equal(open, []uint8{1}) {
		t.Errorf("key 1 is used without an answer; asked for %v", open)
	}
	if err := p.Server.Session.Accept(p.Now, 1); err != nil {
		t.Errorf("%v", err)
	}
	p.Run(30*time.Second, nil)
	clear(used)
	flow(t, p)
	if used[0] || !used[1] {
		t.Errorf("keys in use: %v", used)
	}
	// No answer in time is a no.
	p.Client.Session.Renegotiate(p.Now)
	p.Run(70*time.Second, nil)
	if ovpntest.Count[ovpn.AuthFailed](p.Client) != 1 || p.Server.Err == nil {
		t.Errorf("client %v, server %v", p.Client.Err, p.Server.Err)
	}
}

// CVE-2024-28882: the end of a denied session is scheduled once; a client that
// goes on does not prolong it.
func TestCVE_2024_28882_DeniedClientCannotStay(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	start := p.Now
	p.Server.Session.Deny(p.Now, "go")
	for range 100 {
		p.Server.Session.Deny(p.Now, "go")
		p.Server.Session.Close(p.Now)
		p.Client.Session.Send(p.Now, "EXIT")
		p.Client.Session.Renegotiate(p.Now)
		p.Run(50*time.Millisecond, nil)
	}
	if !errors.Is(p.Server.Err, ovpn.ErrClosed) || p.Now.Sub(start) > 6*time.Second {
		t.Errorf("server %v", p.Server.Err)
	}
}

// CVE-2024-5594: a message with control characters is dropped as a whole.
func TestCVE_2024_5594_ControlCharacters(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	for _, text := range []string{"PUSH_REPLY,auth-token a\x1bb", "AUTH_FAILED,\x07", "RESTART,\x7f", "HALT\n\x08", "INFO,\x00\x1b[2J"} {
		if p.Server.Session.Send(p.Now, text) == nil {
			t.Errorf("sent %q", text)
		}
		if err := p.Server.Session.SendRecord(p.Now, text+"\x00"); err != nil {
			t.Fatal(err)
		}
	}
	p.Run(time.Second, nil)
	if p.Client.Err != nil || ovpntest.Count[ovpn.AuthToken](p.Client) != 0 {
		t.Errorf("%v", p.Client.Err)
	}
	for _, ev := range p.Client.Events {
		if m, ok := ev.(ovpn.Message); ok && strings.ContainsFunc(m.Text, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%q", m.Text)
		}
	}
	flow(t, p)
}

func TestRestartFlags(t *testing.T) {
	for text, want := range map[string]ovpn.PeerExit{
		"RESTART":             {Kind: "restart"},
		"RESTART,[P,N]:later": {Kind: "restart", Reason: "later", KeepCredentials: true, NextRemote: true},
		"HALT,[N]bye":         {Kind: "halt", Reason: "bye", NextRemote: true},
		"EXIT":                {Kind: "exit"},
	} {
		c, s := setup(t)
		p := up(t, c, s, quiet, 1)
		p.Server.Session.Send(p.Now, text)
		p.Run(time.Second, nil)
		if got := last[ovpn.PeerExit](t, p.Client); got != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

// A pushed tun-mtu may be as large as was announced; clients that announce none get none.
func TestPushedMTU(t *testing.T) {
	for _, tc := range []struct{ client, server, want int }{{1500, 1600, 1600}, {1500, 9000, 1600}, {9000, 9000, 9000}, {0, 1400, 1400}} {
		c, s := setup(t)
		c.MTU = tc.client
		p := ovpntest.NewPair(t, c, s, quiet, 1)
		p.Reply.TunMTU = tc.server
		if !p.Run(20*time.Second, p.Up) {
			t.Fatal(p.Client.Err)
		}
		if got := last[ovpn.PushReply](t, p.Client).Reply.TunMTU; got != tc.want {
			t.Errorf("%+v: %d", tc, got)
		}
	}
}

// A server spreads the renegotiations of its clients over the last tenth.
func TestServersSpreadRenegotiations(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 5 {
		c, s := setup(t)
		s.Renegotiate = 100 * time.Second
		p := up(t, c, s, quiet, 1)
		start := p.Now
		if !p.Run(102*time.Second, func() bool { return ovpntest.Count[ovpn.Established](p.Server) == 2 }) {
			t.Fatal("no new key")
		}
		d := p.Now.Sub(start)
		if d < 88*time.Second {
			t.Errorf("after %v", d)
		}
		seen[d.Round(time.Millisecond)] = true
	}
	if len(seen) < 2 {
		t.Errorf("always after the same time: %v", seen)
	}
}

// A server without the EXIT message may ask for openvpn's older farewell.
func TestPushedExitNotify(t *testing.T) {
	for pushed, want := range []int{0, 1} {
		c, s := setup(t)
		c.Classic, c.PRF, s.PRF = true, true, true
		c.Filter = push.Filter{{Action: push.Ignore, Prefix: "protocol-flags"}}
		p := ovpntest.NewPair(t, c, s, quiet, 1)
		p.Reply.ExitNotify = pushed
		if !p.Run(20*time.Second, func() bool { return ovpntest.Count[ovpn.PushReply](p.Client) == 1 }) {
			t.Fatalf("client %v, server %v", p.Client.Err, p.Server.Err)
		}
		p.Client.Session.Close(p.Now)
		p.Run(20*time.Second, func() bool { return p.Server.Err != nil }) // it looks when it pings
		if got := ovpntest.Count[ovpn.PeerExit](p.Server); got != want {
			t.Errorf("explicit-exit-notify %d: %d farewells", pushed, got)
		}
	}
}

// Peers that do not number their reset 0 (MikroTik).
func TestResetWithAnotherID(t *testing.T) {
	s, err := ovpn.New(ovpntest.Epoch(), ovpn.Config{Role: ovpn.Server, TLS: &tls.Config{}, Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	reset := wire.AppendControl(nil, wire.Control{Op: wire.HardResetClientV2, Session: wire.SessionID{1}, ID: 1})
	if err := s.Handle(ovpntest.Epoch(), reset); err != nil {
		t.Fatal(err)
	}
	c, err := wire.ParseControl(s.NextPacket(ovpntest.Epoch()))
	if err != nil || c.Op != wire.HardResetServerV2 || !slices.Equal(c.Acks, []uint32{1}) {
		t.Errorf("%+v, %v", c, err)
	}
}
