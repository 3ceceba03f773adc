package endpoint

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
)

// A train that fits into a batch is not cut; a longer one still passes.
func TestTrainsStayTogether(t *testing.T) {
	pki := ovpntest.NewPKI(t)
	pair := ovpntest.NewPair(t, ovpn.Config{TLS: pki.ClientTLS("c")}, ovpn.Config{TLS: pki.ServerTLS()}, ovpntest.Noise{}, 1)
	if !pair.Run(time.Minute, pair.Up) {
		t.Fatal("the pair did not come up")
	}
	now := time.Now()
	s := &Server{queues: []*queue{nil}}
	p := &peer{server: s, data: pair.Server.Session.Data(), lease: lease{Addr: netip.MustParsePrefix("10.64.0.2/27")}}
	p.access.Store(&access{})
	p.path.Store(&path{})
	b := newInBatch(s, 0)
	var held []int // by the batch, after each train
	var opened uint64
	for _, length := range []int{50, 50, 50, 78, 1, 2 * runSize} {
		pkts := make(ovpn.List, length)
		for i := range pkts {
			pkts[i] = append([]byte{0x45}, make([]byte, 99)...) // from nobody: refused after it was opened
		}
		train, sizes := pair.Client.Session.Data().Seal(now, nil, 0, &pkts, nil)
		b.together(now, len(sizes))
		for _, size := range sizes {
			b.add(now, p, train[:size])
			train = train[size:]
		}
		held = append(held, len(b.in))
		opened += uint64(length)
	}
	b.flush(now)
	if want := []int{50, 100, 50, 128, 1, 128}; !slices.Equal(held, want) {
		t.Errorf("the batch held %v, want %v", held, want)
	}
	if got := s.drops.spoofed.Load(); got != opened {
		t.Errorf("%d packets were opened, want %d", got, opened)
	}
}

// TestPings: what passes without a rule is an echo request in one piece to the own gateway.
func TestPings(t *testing.T) {
	gateway, gateway6 := netip.MustParsePrefix("10.64.0.1/27"), netip.MustParsePrefix("fd64::1/123")
	four := lease{Addr: netip.MustParsePrefix("10.64.0.2/27"), Gateway: gateway}
	both := four
	both.Addr6, both.Gateway6 = netip.MustParsePrefix("fd64::2/123"), gateway6
	six := func(next, kind byte, n int) []byte {
		b := append(make([]byte, 40), kind, 0, 0, 0, 0, 1, 0, 1)[:n]
		b[0], b[6] = 0x60, next
		copy(b[24:], gateway6.Addr().AsSlice())
		return b
	}
	options := slices.Insert(echo(four.Addr.Addr(), gateway.Addr(), 1), 20, make([]byte, 4)...)
	options[0] = 0x46
	long := bytes.Clone(options)
	long[0] = 0x4f
	short := bytes.Clone(options)
	short[0], short[16] = 0x44, 8
	for _, c := range []struct {
		name   string
		lease  lease
		packet []byte
		want   bool
	}{
		{"echo request", four, echo(four.Addr.Addr(), gateway.Addr(), 1), true},
		{"elsewhere", four, echo(four.Addr.Addr(), four.Addr.Addr(), 1), false},
		{"options", four, options, true},
		{"a header longer than the packet", four, long, false},
		{"a header shorter than there is", lease{Gateway: netip.MustParsePrefix("8.64.0.1/27")}, short, false},
		{"the header alone", four, echo(four.Addr.Addr(), gateway.Addr(), 1)[:20], false},
		{"IPv6", both, six(58, 128, 48), true},
		{"IPv6, an answer", both, six(58, 129, 48), false},
		{"IPv6, UDP", both, six(17, 128, 48), false},
		{"IPv6, the header alone", both, six(58, 128, 40), false},
		{"no IPv6", four, six(58, 128, 48), false},
	} {
		_, dst, ok := addresses(c.packet)
		if got := c.lease.pings(dst, c.packet); !ok || got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
