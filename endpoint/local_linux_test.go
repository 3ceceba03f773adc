package endpoint

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/network"
)

// TestAnswersFromTheAddressAsked: on a listener for all addresses, a client hears from
// the one that it sends to, and goes on when it sends to another one. The system would answer
// from 127.0.0.1, which clients do not listen to.
func TestAnswersFromTheAddressAsked(t *testing.T) {
	r := startOn(t, netip.MustParseAddrPort("0.0.0.0:1194"), "udp", "mssfix: 0\n") // and so nothing is sent unasked
	at := func(host string) net.Addr {
		port := r.Addrs()[0].(*net.UDPAddr).Port
		return &net.UDPAddr{IP: net.ParseIP(host).To4(), Port: port}
	}
	r.via = at("127.0.0.2")
	d, reply := r.connect(t, "ann") // from a connected socket
	me := reply.Address.Addr()
	d.ping(t, me)
	for i := range uint16(8) { // at once, so that answers go out together
		d.tunnel(t, echo(me, network.DemoAddress(), 100+i))
	}
	for range 8 {
		select {
		case <-d.inner:
		case <-time.After(patience):
			t.Fatal("an answer is missing")
		}
	}

	n := newNAT(t, r)
	move := func(host string) {
		n.mu.Lock()
		n.server = at(host)
		n.mu.Unlock()
	}
	// What was on its way when the client moved, such as an acknowledgement, came from where it had sent to.
	heard := func() {
		d.ping(t, me)
		n.mu.Lock()
		n.strange = 0
		n.mu.Unlock()
		d.ping(t, me)
	}
	move("127.0.0.3")
	d, reply = r.connect(t, "bob")
	me = reply.Address.Addr()
	d.ping(t, me)
	n.mu.Lock()
	if n.strange != 0 {
		t.Errorf("%d packets came from another address before it moved", n.strange)
	}
	n.mu.Unlock()
	move("127.0.0.4")
	heard()
	move("127.0.0.5")
	n.rebind()
	heard()
	for _, p := range r.peers.all() {
		if p.status.Load().identity.Name() == "bob" {
			if err := p.checkControl(t, d); err != nil {
				t.Error(err)
			}
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.strange != 0 {
		t.Errorf("%d packets came from another address", n.strange)
	}
}
