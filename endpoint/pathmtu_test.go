package endpoint

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/mss"
	"github.com/adit-vpn/adit/ovpn/pmtud"
)

// onDiscovery runs f on the goroutine that owns what p knows of its path.
func (p *peer) onDiscovery(f func(*discovery)) {
	done := make(chan struct{})
	p.do <- func(time.Time, *ovpn.Session) error {
		defer close(done)
		f(&p.discovery)
		return nil
	}
	<-done
}

// elapse lets the time to the next search be over, and waits until that has ended.
func (r *running) elapse(t *testing.T, p *peer) {
	t.Helper()
	p.onDiscovery(func(d *discovery) {
		if !d.again.Stop() {
			t.Error("nothing is planned")
		}
		d.again.Reset(0)
	})
	r.until(t, func() (over bool) {
		p.onDiscovery(func(d *discovery) {
			if over = !d.running && d.due.IsZero() && d.again.Stop(); over { // it was set anew
				d.again.Reset(pmtud.Again)
			}
		})
		return over
	})
}

// TestDiscoverAgain: a path that becomes narrow under way, and wide again, is followed; a moment without
// answers changes nothing, and who is idle is left alone.
func TestDiscoverAgain(t *testing.T) {
	r := start(t, "udp")
	n := newNAT(t, r)
	d, reply := r.connect(t, "ann")
	p := r.peers.all()[0]
	r.until(t, func() bool { return p.packets.Load() > pmtud.Base })
	first := p.packets.Load()
	headers := mss.Headers(netip.IPv4Unspecified(), false)
	n.narrow(1400 - headers)
	r.elapse(t, p)
	if got := p.packets.Load(); got != first {
		t.Errorf("found %d while nothing passed", got)
	}
	for _, c := range []struct {
		path, want int
		says       string
	}{
		{1400, 1400, "largest=1400 wanted=1492"},
		{1300, 1280, "largest=1280 wanted=1492"},
		{1500, 1492, "carries large packets again"},
	} {
		n.narrow(c.path - headers)
		r.until(t, func() bool { // answers may be late on a busy machine
			d.ping(t, reply.Address.Addr())
			r.elapse(t, p)
			return int(p.packets.Load()) == c.want
		})
		if !containsLog(r, c.says) {
			t.Errorf("with %d bytes, the log does not say %q", c.path, c.says)
		}
	}
	p.onDiscovery(func(*discovery) { p.discovered(0, 1492) })
	if got := p.packets.Load(); got != 1492 {
		t.Errorf("without an answer, TCP is fitted to %d", got)
	}
	n.narrow(1400 - headers)
	to := n.rebind()
	d.ping(t, reply.Address.Addr())
	r.until(t, func() (found bool) { // from elsewhere it begins at once, without the timer
		p.onDiscovery(func(d *discovery) { found = d.at.from == to && !d.running })
		return found
	})
	if got := p.packets.Load(); got <= 0 || got > 1400 {
		t.Errorf("from elsewhere, found %d", got)
	}
}

// TestDiscoverLater: while handshakes wait for their turn no search begins, but for one that has waited too long.
func TestDiscoverLater(t *testing.T) {
	r := start(t, "udp")
	r.connect(t, "ann")
	p := r.peers.all()[0]
	r.until(t, func() bool { return p.packets.Load() > pmtud.Base })
	for range handshakeWorkers() {
		r.turns.take(t.Context(), p.source, true)
	}
	defer r.turns.give()
	ctx, cancel := context.WithCancel(t.Context())
	other := make(chan struct{})
	go func() {
		defer close(other)
		if r.turns.take(ctx, p.source, false) {
			r.turns.give()
		}
	}()
	r.until(t, r.turns.wanted)
	begin := func(edit func(*discovery)) (began bool) {
		p.onDiscovery(func(d *discovery) {
			edit(d)
			p.discoverPath(p.data)
			began = d.running
		})
		return began
	}
	if begin(func(*discovery) {}) {
		t.Error("the search did not wait")
	}
	if !begin(func(d *discovery) { d.due = d.due.Add(-2 * searchPatience) }) {
		t.Error("the search waits for ever")
	}
	r.until(t, func() (over bool) {
		p.onDiscovery(func(d *discovery) { over = !d.running })
		return over
	})
	if begin(func(*discovery) {}) {
		t.Error("the second search did not wait")
	}
	cancel()
	<-other
	r.until(t, func() (over bool) { // by the timer
		p.onDiscovery(func(d *discovery) { over = !d.running && d.due.IsZero() })
		return over
	})
}
