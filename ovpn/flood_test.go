package ovpn_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// strangers gives another source address each time.
func strangers(i int) netip.AddrPort {
	var a [16]byte
	a[0] = 0x20
	binary.BigEndian.PutUint32(a[3:], uint32(i)*2654435761)
	return netip.AddrPortFrom(netip.AddrFrom16(a), uint16(i))
}

// firstPacket is a client's reset.
func firstPacket(t testing.TB, m wrap.Method) []byte {
	t.Helper()
	pki := ovpntest.NewPKI(t)
	s, err := ovpn.New(ovpntest.Epoch(), ovpn.Config{Role: ovpn.Client, TLS: pki.ClientTLS("alice"), Wrap: m})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	return s.NextPacket(ovpntest.Epoch())
}

// A flood from forged addresses gets few answers and leaves no memory behind,
// whether its packets are good, replayed, or carry keys that nobody made.
func TestFloodOfFirstPackets(t *testing.T) {
	v2Client, v2Server := cryptV2(t, nil, nil)
	bad := firstPacket(t, v2Client)
	bad[len(bad)-40] ^= 1
	for _, tc := range []struct {
		name    string
		method  wrap.Method
		packet  []byte
		answers int // in each window
		hellos  int
	}{
		{"plain", nil, firstPacket(t, nil), 100, 0},
		{"tls-crypt-v2, recorded", v2Server, firstPacket(t, v2Client), 100, 0},
		{"tls-crypt-v2 without the mark, recorded", v2Server, firstPacket(t, unmarked{v2Client}), 0, 100},
		{"CVE-2026-13698: keys that nobody made", v2Server, bad, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			gate := ovpn.NewGate(ovpn.GateConfig{Wrap: tc.method})
			now, windows, n := ovpntest.Epoch(), 4, 10_000
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			for w := range windows {
				answers, hellos := 0, 0
				for i := range n {
					at := now.Add(time.Duration(i) * 9 * time.Second / time.Duration(n))
					reply, hello, err := gate.Handle(at, strangers(w*n+i), tc.packet)
					if reply != nil {
						answers++
					}
					if hello != nil {
						hellos++
					}
					if (err == nil) != (reply != nil || hello != nil) || err != nil && !errors.Is(err, ovpn.ErrDropped) {
						t.Fatalf("packet %d: %v", i, err)
					}
				}
				if answers != tc.answers || hellos != tc.hellos {
					t.Errorf("window %d: %d answers, %d sessions, want %d and %d", w, answers, hellos, tc.answers, tc.hellos)
				}
				now = now.Add(10 * time.Second)
			}
			if after := heap(); after > before+256<<10 {
				t.Errorf("%d bytes stay behind", after-before)
			}
			runtime.KeepAlive(gate)
		})
	}
}

// The sockets of one port share a gate: the limit counts for all together, whichever of them is a
// moment behind, and each knows the cookies that went out through another one.
func TestGateIsShared(t *testing.T) {
	const sockets, window = 4, 10 * time.Second
	gate := ovpn.NewGate(ovpn.GateConfig{Window: window})
	c, _ := setup(t)
	c.Role = ovpn.Client
	from, now := netip.MustParseAddrPort("192.0.2.1:1000"), ovpntest.Epoch()
	s, err := ovpn.New(now, c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	reply, _, err := gate.Handle(now, from, s.NextPacket(now))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Handle(now, reply); err != nil {
		t.Fatal(err)
	}
	third, reset := s.NextPacket(now), firstPacket(t, nil)
	for w := range 3 {
		start := now.Add(time.Duration(1+w) * window)
		var answers, hellos atomic.Int64
		var all sync.WaitGroup
		for k := range sockets {
			all.Go(func() {
				for i := range 1000 {
					at := start.Add(time.Duration(i*10+(k*7)%10) * time.Microsecond)
					if reply, _, _ := gate.Handle(at, strangers(k*1000+i), reset); reply != nil {
						answers.Add(1)
					}
				}
				if _, hello, _ := gate.Handle(now, from, third); hello != nil {
					hellos.Add(1)
				}
			})
		}
		all.Wait()
		if answers.Load() != 100 || hellos.Load() != sockets {
			t.Errorf("window %d: %d answers, want 100; %d cookies taken, want %d", w, answers.Load(), hellos.Load(), sockets)
		}
	}
}

// One address gets half of the answers at most; who goes on with the handshake
// gives his answer back, and nobody else's.
func TestLimitOfOneSource(t *testing.T) {
	c, _ := setup(t)
	c.Role = ovpn.Client
	gate := ovpn.NewGate(ovpn.GateConfig{})
	now := ovpntest.Epoch()
	one := netip.MustParseAddrPort("192.0.2.1:1000")
	two := netip.MustParseAddrPort("192.0.2.2:1000")
	reset := firstPacket(t, nil)
	answers := func(from netip.AddrPort, n int) (got int) {
		for range n {
			reply, _, err := gate.Handle(now, from, reset)
			if reply != nil {
				got++
			} else if !errors.Is(err, ovpn.ErrFlood) {
				t.Fatal(err)
			}
		}
		return got
	}
	third := func(from netip.AddrPort) []byte {
		s, err := ovpn.New(now, c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Abort()
		reply, _, err := gate.Handle(now, from, s.NextPacket(now))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Handle(now, reply); err != nil {
			t.Fatal(err)
		}
		return s.NextPacket(now)
	}
	if n := answers(one, 1000); n != 50 {
		t.Errorf("one address got %d answers", n)
	}
	if n := answers(netip.AddrPortFrom(netip.MustParseAddr("::ffff:192.0.2.1"), 9), 10); n != 0 {
		t.Error("the same address in IPv6's clothes got an answer")
	}
	good := third(two)
	for range 5 { // only the first one has something to give back
		if _, hello, err := gate.Handle(now, two, good); hello == nil {
			t.Fatal(err)
		}
	}
	if n := answers(two, 1000); n != 50 {
		t.Errorf("the other address got %d answers", n)
	}
	now = now.Add(10 * time.Second)
	six := netip.MustParseAddr("2001:db8:7:8::").As16()
	total := 0
	for i := range 1000 { // all of one /64
		binary.BigEndian.PutUint64(six[8:], uint64(i)*7919)
		total += answers(netip.AddrPortFrom(netip.AddrFrom16(six), uint16(i)), 1)
	}
	if total != 50 {
		t.Errorf("one /64 got %d answers", total)
	}
	// A thousand clients that go on are all let in.
	now = now.Add(10 * time.Second)
	for i := range 1000 {
		if _, hello, err := gate.Handle(now, one, third(one)); hello == nil {
			t.Fatalf("client %d: %v", i, err)
		}
	}
}

// A client of OpenVPN 2.5 with tls-crypt-v2 gets a session at once: it gives its answer
// back when that is established, in the same window only.
func TestProvedClientGivesItsAnswerBack(t *testing.T) {
	client, server := cryptV2(t, nil, nil)
	now := ovpntest.Epoch()
	one, two := netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("192.0.2.2:1000")
	gate := ovpn.NewGate(ovpn.GateConfig{Wrap: server, Begun: 4, BegunSource: 2})
	reset := firstPacket(t, unmarked{client})
	let := func(from netip.AddrPort, n int) (got int) {
		for range n {
			if _, hello, err := gate.Handle(now, from, reset); hello != nil {
				got++
			} else if !errors.Is(err, ovpn.ErrFlood) {
				t.Fatal(err)
			}
		}
		return got
	}
	for i, tc := range []struct {
		after  time.Duration
		proved time.Duration // ago
		times  int
		from   netip.AddrPort
		want   int
	}{
		{0, 0, 0, one, 2},
		{0, 0, 1, one, 1},
		{0, 0, 10, one, 2}, // never more than it was given
		{0, 0, 0, two, 2},
		{time.Second, time.Second, 1, one, 1},
		{time.Second, 0, 0, one, 0},
		{10 * time.Second, 0, 0, one, 2},
		{time.Second, 10 * time.Second, 2, one, 0}, // of the window before: it owes nothing any more
		{0, time.Second, 2, one, 2},
	} {
		now = now.Add(tc.after)
		for range tc.times {
			gate.Proved(now.Add(-tc.proved), tc.from.Addr())
		}
		if got := let(tc.from, 100); got != tc.want {
			t.Errorf("step %d: %d were let in, want %d", i, got, tc.want)
		}
	}
}

func TestForceCookie(t *testing.T) {
	client, server := cryptV2(t, nil, nil)
	from := netip.MustParseAddrPort("192.0.2.1:1000")
	now := ovpntest.Epoch()
	for _, force := range []bool{false, true} {
		gate := ovpn.NewGate(ovpn.GateConfig{Wrap: server, ForceCookie: force})
		if reply, hello, err := gate.Handle(now, from, firstPacket(t, client)); reply == nil || hello != nil {
			t.Errorf("force %v: a client with the mark: %v %v", force, hello, err)
		}
		reply, hello, err := gate.Handle(now, from, firstPacket(t, unmarked{client}))
		if reply != nil || (hello != nil) == force || force && !errors.Is(err, ovpn.ErrDropped) {
			t.Errorf("force %v: a client without: %x %v %v", force, reply, hello, err)
		}
	}
}

// Every control packet that was on the wire once is refused the second time, with
// the first key and with dynamic tls-crypt's; none of them changes anything.
func TestControlReplay(t *testing.T) {
	static := crypt(t)
	v2Client, v2Server := cryptV2(t, nil, nil)
	for name, m := range map[string][2]wrap.Method{"tls-crypt": {static, static}, "tls-crypt-v2": {v2Client, v2Server}} {
		t.Run(name, func(t *testing.T) {
			c, s := setup(t)
			c.Wrap, s.Wrap = m[0], m[1]
			p := ovpntest.NewPair(t, c, s, quiet, 1)
			wired := map[*ovpntest.Side][][]byte{}
			p.Watch = func(from *ovpntest.Side, b []byte) {
				if !wire.IsData(b[0]) {
					wired[from] = append(wired[from], bytes.Clone(b))
				}
			}
			if !p.Run(10*time.Second, p.Up) {
				t.Fatalf("not up: %v %v", p.Client.Err, p.Server.Err)
			}
			renegotiates(t, p)
			if n := len(wired[p.Client]); n < 10 {
				t.Fatalf("%d packets", n)
			}
			for _, to := range []*ovpntest.Side{p.Server, p.Client} {
				from := p.Client
				if to == p.Client {
					from = p.Server
				}
				for i, b := range wired[from] {
					if to == p.Server && i == 0 {
						continue // the gate had it; the session does not know its number
					}
					if err := to.Session.Handle(p.Now, b); !errors.Is(err, wrap.ErrReplay) {
						t.Errorf("packet %d (%x): %v", i, b[0], err)
					}
				}
			}
			renegotiates(t, p)
		})
	}
}

// A second reset with a key, or the same key from another session, does not touch
// a live session (CVE-2025-2704, CVE-2026-13698).
func TestCVE_2026_13698_SecondKeyOnALiveSession(t *testing.T) {
	for _, stream := range []bool{false, true} {
		key, err := wrap.GenerateServerKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		mine, other := clientOf(t, key, nil), clientOf(t, key, nil)
		c, s := setup(t)
		c.Wrap, s.Wrap, c.Stream, s.Stream = mine, wrap.TLSCryptV2Server(key, nil), stream, stream
		p := up(t, c, s, quiet, 1)
		id := p.Server.Session.Peer()
		for _, op := range []wire.Opcode{wire.HardResetClientV3, wire.ControlWKCV1, wire.HardResetClientV2} {
			for keyID := range uint8(3) {
				for _, tc := range []struct {
					name    string
					method  wrap.Method
					session wire.SessionID
				}{{"other key", other, id}, {"other session", mine, wire.SessionID{9}}, {"both", other, wire.SessionID{9}}} {
					b := tc.method.New(false, 1<<20).Wrap(nil, p.Now, wire.AppendControl(nil, wire.Control{Op: op, KeyID: keyID, Session: tc.session}))
					if err := p.Server.Session.Handle(p.Now, b); !errors.Is(err, ovpn.ErrDropped) {
						t.Errorf("%s, opcode %d, key %d: %v", tc.name, op, keyID, err)
					}
				}
			}
		}
		renegotiates(t, p)
	}
}

// What NextPacket returned stays as it was, whatever becomes of the session: keys
// change, the dynamic protection begins, the session dies (CVE-2026-40215,
// CVE-2026-12996, CVE-2026-13117).
func TestCVE_2026_40215_2026_12996_2026_13117_QueuedPacketsOutliveTheSession(t *testing.T) {
	v2Client, v2Server := cryptV2(t, nil, nil)
	for round := range 6 {
		c, s := setup(t)
		c.Wrap, s.Wrap = v2Client, v2Server
		p := ovpntest.NewPair(t, c, s, quiet, uint64(round))
		var held, want [][]byte
		p.Watch = func(_ *ovpntest.Side, b []byte) { held, want = append(held, b), append(want, bytes.Clone(b)) }
		if !p.Run(10*time.Second, p.Up) {
			t.Fatalf("not up: %v %v", p.Client.Err, p.Server.Err)
		}
		p.Run(15*time.Second, nil)
		p.Client.Session.Renegotiate(p.Now)
		steps := 0
		p.Run(time.Minute, func() bool { steps++; return steps > 3+4*round })
		for _, side := range []*ovpntest.Side{p.Server, p.Client} {
			for b := side.Session.NextPacket(p.Now); b != nil; b = side.Session.NextPacket(p.Now) {
				held, want = append(held, b), append(want, bytes.Clone(b))
			}
			side.Session.Abort()
			for range 10 {
				if b := side.Session.NextPacket(p.Now); b != nil {
					held, want = append(held, b), append(want, bytes.Clone(b))
				}
				side.Session.Handle(p.Now, held[len(held)/2])
			}
			if err := side.Session.Tick(p.Now); err == nil {
				t.Error("an aborted session lives on")
			}
		}
		if !slices.EqualFunc(held, want, bytes.Equal) {
			t.Error("a packet changed after it was handed over")
		}
	}
}

func TestManyRenegotiationsUnderDynamicTLSCrypt(t *testing.T) {
	v2Client, v2Server := cryptV2(t, nil, nil)
	c, s := setup(t)
	c.Wrap, s.Wrap, c.Renegotiate = v2Client, v2Server, 20*time.Second
	p := up(t, c, s, noisy, 5)
	const rounds = 50 // more than seven turns of the key ids
	if !p.Run((rounds+10)*25*time.Second, func() bool { return ovpntest.Count[ovpn.Established](p.Client) > rounds }) {
		t.Fatalf("%d negotiations: client %v, server %v", ovpntest.Count[ovpn.Established](p.Client), p.Client.Err, p.Server.Err)
	}
	if ovpntest.Count[ovpn.Credentials](p.Server) < rounds {
		t.Error("the server saw fewer of them")
	}
}

// Packets of a client that has a key, in any order and with anything in them.
func FuzzKeyedSession(f *testing.F) {
	server, err := wrap.GenerateServerKey(bytes.NewReader(make([]byte, 256)))
	if err != nil {
		f.Fatal(err)
	}
	own, err := server.NewClient(bytes.NewReader(make([]byte, 256)), wrap.TimeMetadata(ovpntest.Epoch()))
	if err != nil {
		f.Fatal(err)
	}
	method, client := wrap.TLSCryptV2Server(server, nil), wrap.TLSCryptV2(own)
	f.Add([]byte{10 << 3, 0, 0, 0, 4 << 3, 1, 0, 5, 22, 3, 1, 0, 1})
	f.Add([]byte{10 << 3, 0, 0, 0, 11 << 3, 1, 0, 0, 10 << 3, 1, 0, 0, 7 << 3, 2, 1, 0})
	pki := ovpntest.NewPKI(f)
	tlsConfig := pki.ServerTLS()
	now := ovpntest.Epoch()
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ovpn.New(now, ovpn.Config{Role: ovpn.Server, TLS: tlsConfig, Wrap: method, Stream: true, KeyAge: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Abort()
		gate := ovpn.NewGate(ovpn.GateConfig{Wrap: method})
		w := client.New(false, 1)
		for len(b) >= 4 { // opcode and key id, message id, what to spoil, payload length
			h, id, spoil, n := b[0], b[1], int(b[2]), int(b[3])
			b = b[4:]
			n = min(n, len(b))
			op, keyID := wire.SplitHeader(h)
			packet := w.Wrap(nil, now, wire.AppendControl(nil, wire.Control{Op: op, KeyID: keyID, Session: wire.SessionID{1}, ID: uint32(id), Payload: b[:n]}))
			b = b[n:]
			if spoil > 0 {
				packet[len(packet)-1-spoil%len(packet)] ^= byte(spoil)
			}
			gate.Handle(now, netip.MustParseAddrPort("192.0.2.1:1"), packet)
			s.Handle(now, packet)
			for s.NextPacket(now) != nil {
			}
			for ev := s.NextEvent(); ev != nil; ev = s.NextEvent() {
				if _, ok := ev.(ovpn.Credentials); ok {
					t.Error("a key exchange without TLS")
				}
			}
		}
		if m, ok := s.ClientKey(); ok && !bytes.Equal(m, wrap.TimeMetadata(now)) {
			t.Errorf("metadata %x", m)
		}
	})
}
