package network

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"
)

func permit(proto uint8, first, last uint16, to string) Permit {
	return Permit{Protocol: proto, First: first, Last: last, To: netip.MustParsePrefix(to)}
}

func TestEgress(t *testing.T) {
	slice, six := netip.MustParsePrefix("10.64.0.0/27"), netip.MustParsePrefix("fd64::/123")
	e := newEgress([]Association{
		{Subnet: "a", Slices: []netip.Prefix{slice, six}, Restricted: true, Permits: []Permit{
			permit(protoTCP, 443, 443, "10.0.0.0/16"), permit(protoTCP, 8000, 8100, "fd00::/64"), permit(protoUDP, 0, 65535, "10.0.0.2/32"),
			permit(protoICMP, 0, 0, "0.0.0.0/0"), permit(0, 0, 0, "192.0.2.0/24")}},
		{Subnet: "b", Slices: []netip.Prefix{netip.MustParsePrefix("10.64.0.32/27")}, Restricted: true},
		{Subnet: "c", Slices: []netip.Prefix{netip.MustParsePrefix("10.64.0.64/27")}},
	})
	for _, c := range []struct {
		proto      uint8
		client, to string
		want       bool
	}{
		{protoTCP, "10.64.0.2", "10.0.9.9:443", true},
		{protoTCP, "10.64.0.2", "10.0.9.9:444", false},
		{protoTCP, "10.64.0.2", "10.1.0.9:443", false},
		{protoUDP, "10.64.0.2", "10.0.9.9:443", false},
		{protoUDP, "10.64.0.2", "10.0.0.2:53", true},
		{protoUDP, "10.64.0.2", "10.0.0.2:0", true},
		{protoTCP, "fd64::2", "[fd00::9]:8000", true},
		{protoTCP, "fd64::2", "[fd00::9]:8100", true},
		{protoTCP, "fd64::2", "[fd00::9]:8101", false},
		{protoTCP, "fd64::2", "[fd00:1::9]:8000", false},
		{protoICMP, "10.64.0.2", "203.0.113.1:0", true},
		{protoICMPv6, "fd64::2", "[fd00::9]:0", false},
		{protoTCP, "10.64.0.2", "192.0.2.1:1", true},
		{132, "10.64.0.2", "192.0.2.1:0", true},
		{132, "10.64.0.2", "10.0.9.9:0", false},
		{protoTCP, "10.64.0.34", "10.0.9.9:443", false},
		{protoTCP, "10.64.0.66", "10.0.9.9:443", true},
		{protoTCP, "10.64.0.98", "10.0.9.9:443", true}, // nobody's
	} {
		if got := e.allows(c.proto, netip.MustParseAddr(c.client), netip.MustParseAddrPort(c.to)); got != c.want {
			t.Errorf("%d %s to %s: %v", c.proto, c.client, c.to, got)
		}
	}
}

// restricted is wanted with one permit list for the client's slice.
func restricted(permits []Permit, networks ...string) Wanted {
	w := wanted(networks...)
	w.Associations[0].Restricted, w.Associations[0].Permits = true, permits
	w.Associations[1].Restricted = true
	return w
}

// TestEgressUserspace: what is not permitted is dropped in silence, what is open goes on without its permit.
func TestEgressUserspace(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	open := restricted([]Permit{permit(protoTCP, port, port, "127.0.0.1/32")}, "127.0.0.1/32")
	p := newPair(t, UserspaceConfig{}, open)
	c := p.mustDial("tcp", l.Addr().String())
	says := func(word string) {
		t.Helper()
		buf := make([]byte, len(word))
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != word {
			t.Fatalf("got %q, %v", buf, err)
		}
	}
	says("one")
	if err := p.net.Apply(t.Context(), restricted([]Permit{permit(protoUDP, 0, 65535, "0.0.0.0/0")}, "127.0.0.1/32")); err != nil {
		t.Fatal(err)
	}
	says("two")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := p.dial(ctx, "tcp", l.Addr().String()); err == nil || ctx.Err() == nil {
		t.Errorf("what no group permits: %v", err)
	}
	if err := p.ping("127.0.0.1", nil, 100*time.Millisecond); err == nil {
		t.Error("a ping that no group permits is answered")
	}
	// The gateway is the endpoint itself.
	if err := p.ping("10.64.0.1", nil, 2*time.Second); err != nil {
		t.Error(err)
	}
	if err := p.net.Apply(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	says("three")
	p.mustDial("tcp", l.Addr().String())
}

// TestEgressSilence: UDP that no group permits meets no lock, no log and no answer, however much of it comes.
func TestEgressSilence(t *testing.T) {
	var log bytes.Buffer
	p := newPair(t, UserspaceConfig{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))},
		restricted([]Permit{permit(protoTCP, 0, 65535, "0.0.0.0/0")}, "127.0.0.1/32"))
	c := p.mustDial("udp", "127.0.0.1:9")
	p.net.mu.Lock()
	_, err := c.Write([]byte("x"))
	if err == nil {
		err = p.ping("10.64.0.1", nil, 5*time.Second) // what comes behind it
	}
	p.net.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	var timeout net.Error
	if _, err := c.Read(make([]byte, 10)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("answered: %v", err)
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", log.String())
	}
}

// TestEgressCost: a flow's look-up takes no memory.
func TestEgressCost(t *testing.T) {
	e, client, to := crowdedEgress()
	if n := testing.AllocsPerRun(100, func() {
		if e.allows(protoTCP, client, to) {
			t.Error("allowed")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// crowdedEgress has as many rules as five groups may have, none of them for the flow.
func crowdedEgress() (*egress, netip.Addr, netip.AddrPort) {
	a := Association{Subnet: "a", Restricted: true}
	for i := range 1024 {
		a.Slices = append(a.Slices, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64, byte(i >> 3), byte(i << 5)}), 27))
	}
	for i := range 300 {
		a.Permits = append(a.Permits, Permit{protoTCP, uint16(i), uint16(i), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24)})
	}
	return newEgress([]Association{a}), netip.MustParseAddr("10.64.99.7"), netip.MustParseAddrPort("10.0.7.9:443")
}

func BenchmarkEgress(b *testing.B) {
	e, client, to := crowdedEgress()
	b.ReportAllocs()
	for b.Loop() {
		e.allows(protoTCP, client, to)
	}
}
