package endpoint

import (
	"testing"
	"time"
)

// TestClientComesBack: a session that fell silent gives its address to the next one from the same
// machine, and ends.
func TestClientComesBack(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			r := start(t, transport)
			r.peerInfo = []string{"IV_HWADDR=02:00:00:00:00:01"}
			d, first := r.connect(t, "ann")
			d.ping(t, first.Address.Addr())
			other, bobs := r.connect(t, "bob")
			d.mute.Store(true)
			again, second := r.connect(t, "ann")
			if second.Address != first.Address || second.Address6 != first.Address6 || bobs.Address == first.Address {
				t.Errorf("given %s, had %s", second.Address, first.Address)
			}
			again.ping(t, second.Address.Addr())
			other.ping(t, bobs.Address.Addr())
			r.until(t, func() bool { return len(r.peers.all()) == 2 })
			again.ping(t, second.Address.Addr()) // the end of the old session takes nothing away
		})
	}
}

// TestClientsShareACertificate: several clients with one certificate keep their sessions and addresses,
// also while one of them hears and says nothing, whatever they say about their machines.
func TestClientsShareACertificate(t *testing.T) {
	const one, two = "UV_ID=one", "UV_ID=two"
	for _, tt := range []struct {
		name       string
		old, young []string
		stalled    bool
	}{
		{"nobody says anything", nil, nil, true},
		{"the new one says", nil, []string{one}, true},
		{"the old one says", []string{one}, nil, true},
		{"two machines", []string{one}, []string{two}, true},
		{"one hardware address, two names", []string{"IV_HWADDR=02::1", one}, []string{"IV_HWADDR=02::1", two}, true},
		{"one machine, two tunnels", []string{one}, []string{one}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, "udp")
			r.peerInfo = tt.old
			a, first := r.connect(t, "ann")
			a.ping(t, first.Address.Addr())
			a.mute.Store(tt.stalled)
			r.peerInfo = tt.young
			b, second := r.connect(t, "ann")
			if first.Address == second.Address {
				t.Errorf("both have %s", first.Address)
			}
			b.ping(t, second.Address.Addr())
			a.mute.Store(false)
			a.ping(t, first.Address.Addr())
			if n := len(r.Connections()); n != 2 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestRivals: who is asked for a sign of life, after which silence.
func TestRivals(t *testing.T) {
	r := start(t, "udp")
	var last *peer
	join := func(info ...string) *peer {
		t.Helper()
		r.peerInfo = info
		d, reply := r.connect(t, "ann")
		d.ping(t, reply.Address.Addr())
		d.mute.Store(true)
		for _, p := range r.peers.all() {
			if p.lease.Addr == reply.Address {
				return p
			}
		}
		t.Fatal("no such peer")
		return nil
	}
	nameless, one, two := join(), join("UV_ID=one"), join("UV_ID=two")
	r.peerInfo = nil
	r.connect(t, "bob")
	last = join("UV_ID=three")
	long := last.heard().Add(pingRestart)
	for _, tt := range []struct {
		name    string
		machine string
		now     time.Time
		want    []*peer
	}{
		{"nameless, soon", "", nameless.heard().Add(pingRestart - 1), nil},
		{"nameless, late", "", long, []*peer{nameless, one, two}},
		{"one, soon", one.status.Load().machine, one.heard().Add(1), []*peer{one}},
		{"one, late", one.status.Load().machine, long, []*peer{one, nameless}},
		{"another, late", "UV_ID=four", long, []*peer{nameless}},
	} {
		st := *last.status.Load()
		st.machine = tt.machine
		last.status.Store(&st)
		got := r.peers.rivals(tt.now, last)
		if len(got) != len(tt.want) {
			t.Errorf("%s: %d sessions, want %d", tt.name, len(got), len(tt.want))
			continue
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("%s: session %d is that of %q", tt.name, i, got[i].status.Load().machine)
			}
		}
	}
}

// TestAddressIsRemembered: who left and returns has the address that it had.
func TestAddressIsRemembered(t *testing.T) {
	r := start(t, "tcp")
	d, first := r.connect(t, "ann")
	r.connect(t, "bob")
	d.cancel()
	<-d.done
	r.until(t, func() bool { return len(r.peers.all()) == 1 })
	if _, again := r.connect(t, "ann"); again.Address != first.Address {
		t.Errorf("given %s, had %s", again.Address, first.Address)
	}
}
