package endpoint

import (
	"testing"
	"time"
)

// TestClientComesBack: a session that fell silent gives its address to the next one of
// the same identity, and ends.
func TestClientComesBack(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			r := start(t, transport)
			d, first := r.connect(t, "ann")
			d.ping(t, first.Address.Addr())
			other, bobs := r.connect(t, "bob")
			d.mute.Store(true)
			began := time.Now()
			again, second := r.connect(t, "ann")
			if took := time.Since(began); took > claimTime+2*time.Second {
				t.Errorf("it took %v", took)
			}
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

// TestClientsShareACertificate: who answers keeps its address, and delays the next one
// by a round trip only.
func TestClientsShareACertificate(t *testing.T) {
	r := start(t, "udp")
	a, first := r.connect(t, "ann")
	began := time.Now()
	b, second := r.connect(t, "ann")
	if took := time.Since(began); took > claimTime-claimPoll {
		t.Errorf("it took %v", took)
	}
	if first.Address == second.Address {
		t.Errorf("both have %s", first.Address)
	}
	a.ping(t, first.Address.Addr())
	b.ping(t, second.Address.Addr())
	if n := len(r.Connections()); n != 2 {
		t.Errorf("%d connections", n)
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
