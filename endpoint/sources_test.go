package endpoint

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/framing"
	"github.com/adit-vpn/adit/ovpn/wire"
)

// waitingPeer lets a client in whose handshake goes no further.
func (r *running) waitingPeer(t *testing.T, now time.Time, addr string, sid byte) (*peer, context.Context, error) {
	t.Helper()
	p, ctx := r.newPeer(sessionKey{from: netip.MustParseAddrPort(addr), client: wire.SessionID{sid}}, netip.Addr{}, nil)
	err := r.peers.add(now, p)
	t.Cleanup(func() { p.cancel(nil) })
	if err == nil {
		t.Cleanup(func() { r.peers.remove(p) })
	}
	return p, ctx, err
}

func evicted(all []context.Context) (n int) {
	for _, ctx := range all {
		if errors.Is(context.Cause(ctx), errEvicted) {
			n++
		}
	}
	return n
}

// TestSilentHandshakes: handshakes that an attacker leaves behind make room for each other, never
// for those of others. Those of clients that are just slow are left alone.
func TestSilentHandshakes(t *testing.T) {
	r := start(t, "udp")
	now := time.Now()
	_, honest, err := r.waitingPeer(t, now, "192.0.2.9:1000", 1) // the oldest of all
	if err != nil {
		t.Fatal(err)
	}
	var evil []context.Context
	// Several addresses, each within its own limit.
	for i := range 6 * maxSilentSource {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i % 6)}), uint16(1000+i))
		_, ctx, err := r.waitingPeer(t, now, addr.String(), 2)
		if err != nil {
			t.Fatal(err)
		}
		evil = append(evil, ctx)
	}
	if n := evicted(evil); n != 0 {
		t.Errorf("%d were evicted at once", n)
	}
	now = now.Add(silentAfter)
	for i := range 6*maxSilentSource/maxSwept + 1 { // each new one finds some of them
		addr := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.8"), uint16(1000+i))
		if _, _, err := r.waitingPeer(t, now, addr.String(), 3); err != nil {
			t.Fatal(err)
		}
	}
	if n, want := evicted(evil), 6*maxSilentSource+1-maxSilent; n != want {
		t.Errorf("%d evicted, want %d", n, want)
	}
	if honest.Err() != nil {
		t.Error("the honest client was evicted")
	}
}

// TestSilentHandshakesOfOneSource: the whole of an IPv6 network is one source, and each has
// its limit.
func TestSilentHandshakesOfOneSource(t *testing.T) {
	r := start(t, "udp")
	now := time.Now()
	_, honest, err := r.waitingPeer(t, now, "192.0.2.9:1000", 1)
	if err != nil {
		t.Fatal(err)
	}
	var six []context.Context
	for i := range maxSilentSource + 1 {
		addr := netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)}), 1000)
		_, ctx, err := r.waitingPeer(t, now, addr.String(), 3)
		if err != nil {
			t.Fatal(err)
		}
		six = append(six, ctx)
	}
	for i := range maxSilentSource/maxSwept + 1 {
		addr := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.8"), uint16(1000+i))
		if _, _, err := r.waitingPeer(t, now.Add(silentAfter), addr.String(), 3); err != nil {
			t.Fatal(err)
		}
	}
	if !errors.Is(context.Cause(six[0]), errEvicted) || six[1].Err() != nil {
		t.Error("the oldest handshake of the source did not make room")
	}
	if honest.Err() != nil {
		t.Error("the honest client was evicted")
	}
}

func TestConnectFreq(t *testing.T) {
	s := newSources()
	limit := Freq{Sessions: 3, Seconds: 10}
	now := time.Unix(1000, 0)
	evil, good := sourceOf(netip.MustParseAddr("192.0.2.1")), sourceOf(netip.MustParseAddr("192.0.2.2"))
	for i, want := range []error{nil, nil, nil, errTooOften, errStillTooOften, errStillTooOften} {
		if err := s.arrive(now, evil, limit); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("session %d: %v, want %v", i, err, want)
		}
	}
	if err := s.arrive(now, good, limit); err != nil {
		t.Errorf("another source: %v", err)
	}
	if err := s.arrive(now.Add(10*time.Second), evil, limit); err != nil {
		t.Errorf("later: %v", err)
	}
	for i := range 3 * maxSources {
		s.arrive(now, sourceOf(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})), limit)
	}
	if len(s.arrivals) > maxSources {
		t.Errorf("%d sources are remembered", len(s.arrivals))
	}
}

// TestManyOldClients: clients of OpenVPN 2.5 with tls-crypt-v2 get a session for their first
// packet. Those that go on do not use up the limit on first packets, which is 50 for a source.
func TestManyOldClients(t *testing.T) {
	r := startWith(t, "udp", "connect_freq: {sessions: 1000, seconds: 10}\n")
	r.unmarked = true
	ann := r.tlsConfig(t, "ann")
	for range 60 {
		d := r.dial(t, ann)
		wait[ovpn.PushReply](t, d)
		d.cancel()
		<-d.done
	}
	if containsLog(r, "some are not answered") {
		t.Error("the limit on first packets was reached")
	}
}

// TestConnectFreqConfigured: the limit of the file holds for real clients.
func TestConnectFreqConfigured(t *testing.T) {
	r := start(t, "udp")
	if _, err := r.Reload(t.Context(), r.config(t, r.text+"connect_freq: {sessions: 1, seconds: 3600}\n")); err != nil {
		t.Fatal(err)
	}
	r.connect(t, "ann")
	r.dial(t, r.tlsConfig(t, "bob"))
	r.until(t, func() bool { return containsLog(r, errTooOften.Error()) })
	if n := len(r.peers.all()); n != 1 {
		t.Errorf("%d peers", n)
	}
}

// TestStreamBeforeAuthentication: who has proved nothing may not send much at once.
func TestStreamBeforeAuthentication(t *testing.T) {
	r := start(t, "tcp")
	c, err := net.Dial("tcp", r.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(framing.Append(nil, make([]byte, handshakeBuffer)))
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want a closed connection", err)
	}
	r.until(t, func() bool { return len(r.peers.all()) == 0 })

	// An established client sends packets of any length.
	d, reply := r.connect(t, "ann")
	d.ping(t, reply.Address.Addr())
	large := echo(reply.Address.Addr(), reply.RouteGateway, 1)
	before := r.Connections()[0].RxBytes
	d.tunnel(t, append(large, make([]byte, 40000)...))
	r.until(t, func() bool { return r.Connections()[0].RxBytes > before+40000 })
}
