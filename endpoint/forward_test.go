package endpoint

import (
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
