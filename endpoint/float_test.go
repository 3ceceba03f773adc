package endpoint

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/pmtud"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/platform/udp"
)

// nat stands between a client and the endpoint and changes the client's outer port.
type nat struct {
	t      *testing.T
	server net.Addr
	inside *net.UDPConn
	done   sync.WaitGroup

	mu      sync.Mutex
	client  net.Addr
	outside []*net.UDPConn // the last one sends
	last    []byte         // data packet of the client
	most    int            // the longest datagram that passes, bytes; 0: any
	strange int            // packets from where the client sent nothing, which are dropped
}

// newNAT puts a NAT in front of r's clients from now on.
func newNAT(t *testing.T, r *running) *nat {
	t.Helper()
	inside, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	n := &nat{t: t, server: r.Addrs()[0], inside: inside}
	r.via = inside.LocalAddr()
	n.rebind()
	n.done.Go(n.out)
	t.Cleanup(func() {
		inside.Close()
		n.mu.Lock()
		for _, c := range n.outside {
			c.Close()
		}
		n.mu.Unlock()
		n.done.Wait()
	})
	return n
}

// rebind gives the client another outer port; the old one keeps receiving.
func (n *nat) rebind() netip.AddrPort {
	n.t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		n.t.Fatal(err)
	}
	n.mu.Lock()
	n.outside = append(n.outside, c)
	n.mu.Unlock()
	n.done.Go(func() {
		b := make([]byte, 64<<10)
		for {
			size, from, err := c.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			n.mu.Lock()
			if from.String() != n.server.String() {
				n.strange++
				n.mu.Unlock()
				continue
			}
			if n.passes(size) && n.client != nil && n.outside[len(n.outside)-1] == c { // a client that moved hears nothing there
				n.inside.WriteTo(b[:size], n.client)
			}
			n.mu.Unlock()
		}
	})
	return addrOf(c)
}

func (n *nat) out() {
	b := make([]byte, 64<<10)
	for {
		size, from, err := n.inside.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		n.mu.Lock()
		n.client = from
		if wire.IsData(b[0]) {
			n.last = append(n.last[:0], b[:size]...)
		}
		if n.passes(size) {
			n.outside[len(n.outside)-1].WriteTo(b[:size], n.server)
		}
		n.mu.Unlock()
	}
}

func (n *nat) passes(size int) bool { return n.most == 0 || size <= n.most }

// narrow lets datagrams of so many bytes pass; 0: any.
func (n *nat) narrow(most int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.most = most
}

// replay is the last data packet that the client sent.
func (n *nat) replay() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]byte(nil), n.last...)
}

func addrOf(c net.PacketConn) netip.AddrPort {
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

// stranger is a socket that nobody knows.
func stranger(t *testing.T) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (r *running) from(t *testing.T) string {
	t.Helper()
	list := r.Connections()
	if len(list) != 1 {
		t.Fatalf("%d connections", len(list))
	}
	return list[0].From
}

// TestFloat moves a client while it talks: packets follow in both directions, and so
// does the control channel.
func TestFloat(t *testing.T) {
	r := start(t, "udp")
	n := newNAT(t, r)
	d, reply := r.connect(t, "ann")
	me := reply.Address.Addr()
	d.ping(t, me)
	first := r.from(t)
	var now string
	shards := map[udp.Conn]bool{}
	for range 20 {
		now = n.rebind().String()
		d.ping(t, me) // the answer comes to the new port only
		shards[shardOf(r.peers.all()[0])] = true
	}
	if len(shards) < 2 {
		t.Error("it never moved to another socket")
	}
	if got := r.from(t); got == first || got != now {
		t.Errorf("the client is at %s, was at %s, should be at %s", got, first, now)
	}
	if err := r.peers.all()[0].checkControl(t, d); err != nil {
		t.Error(err)
	}
	d.cancel() // says goodbye on the control channel, from the new port
	<-d.done
	r.until(t, func() bool { return len(r.peers.all()) == 0 }) // the log says it after the list
	if !strings.Contains(r.log.String(), "reason=\"the client left\"") {
		t.Error("the goodbye was not heard")
	}
	r.until(t, func() bool { return len(r.peers.all()) == 0 })
	if a, s := r.peers.byAddr.len(), r.peers.sessions.len(); a != 0 || s != 0 {
		t.Errorf("left behind: %d addresses, %d sessions", a, s)
	}
}

// checkControl sends the client something over the control channel.
func (p *peer) checkControl(t *testing.T, d *dialer) error {
	p.do <- func(now time.Time, s *ovpn.Session) error { return s.Send(now, "INFO,here you are") }
	if ev := wait[ovpn.Message](t, d); ev.Text != "INFO,here you are" {
		return errors.New(ev.Text)
	}
	return nil
}

// TestFloatOff: it is a choice.
func TestFloatOff(t *testing.T) {
	r := start(t, "udp")
	n := newNAT(t, r)
	d, reply := r.connect(t, "ann")
	d.ping(t, reply.Address.Addr())
	if _, err := r.Reload(t.Context(), r.config(t, r.text+"floating: false\n")); err != nil {
		t.Fatal(err)
	}
	was, unknown := r.from(t), r.drops.unknown.Load()
	n.rebind()
	d.tunnel(t, echo(reply.Address.Addr(), reply.RouteGateway, 1))
	r.until(t, func() bool { return r.drops.unknown.Load() > unknown })
	if got := r.from(t); got != was {
		t.Errorf("moved from %s to %s", was, got)
	}
}

// TestFloatAttacks: who lacks the keys moves nobody, whatever was overheard.
func TestFloatAttacks(t *testing.T) {
	r := start(t, "udp")
	n := newNAT(t, r)
	d, reply := r.connect(t, "ann")
	me := reply.Address.Addr()
	d.ping(t, me)
	was := r.from(t)
	victim := r.peers.all()[0]
	evil := stranger(t)
	send := func(b []byte) {
		t.Helper()
		dropped, unknown := victim.data.Counters().Dropped, r.drops.unknown.Load()
		if _, err := evil.WriteTo(b, r.Addrs()[0]); err != nil {
			t.Fatal(err)
		}
		r.until(t, func() bool { return victim.data.Counters().Dropped+r.drops.unknown.Load() > dropped+unknown })
	}
	replay := n.replay()
	send(replay)                                    // a true packet, once more
	send(append(replay[:8:8], make([]byte, 60)...)) // the peer id alone
	for i := range replay {                         // and with any byte changed
		b := append([]byte(nil), replay...)
		b[i] ^= 0x80
		if wire.IsData(b[0]) {
			send(b)
		}
	}
	if got := r.from(t); got != was {
		t.Fatalf("the client was moved from %s to %s", was, got)
	}

	// A flood costs a bounded number of decryptions, and the victim goes on.
	opened := victim.data.Counters().Dropped
	began := time.Now()
	unknown := r.drops.unknown.Load()
	for range 3000 {
		evil.WriteTo(replay, r.Addrs()[0])
	}
	r.until(t, func() bool { return r.drops.unknown.Load() > unknown })
	d.ping(t, me)
	seconds := uint64(time.Since(began)/time.Second) + 2
	if got := victim.data.Counters().Dropped - opened; got > seconds*triesPerPeer {
		t.Errorf("%d packets were opened in %d seconds", got, seconds)
	}
	if got := r.from(t); got != was {
		t.Fatalf("the client was moved from %s to %s", was, got)
	}
}

// TestFloatOntoAnother: nobody takes another client's address, whatever the certificate; who is silent there is replaced by the same name.
func TestFloatOntoAnother(t *testing.T) {
	r := start(t, "udp")
	bob, bobs := r.connect(t, "bob")
	bob.ping(t, bobs.Address.Addr())
	ann, anns := r.connect(t, "ann")
	ann.ping(t, anns.Address.Addr())
	at := map[string]string{}
	for _, c := range r.Connections() {
		at[c.Client] = c.From
	}

	// Ann's packet from Bob's socket is authentic, and yet she does not move.
	sealed, _ := sealOne(ann, echo(anns.Address.Addr(), anns.RouteGateway, 1))
	bob.send(sealed)
	r.until(t, func() bool { return strings.Contains(r.log.String(), errElse.Error()) })
	for _, c := range r.Connections() {
		if c.From != at[c.Client] {
			t.Errorf("%s moved from %s to %s", c.Client, at[c.Client], c.From)
		}
	}
	bob.ping(t, bobs.Address.Addr())
	ann.ping(t, anns.Address.Addr())

	// A second session of Bob at another address moves onto the first.
	again, agains := r.connect(t, "bob")
	again.ping(t, agains.Address.Addr())
	for _, p := range r.peers.all() { // an answer to a search under way would move it back
		r.until(t, func() bool { return p.packets.Load() > pmtud.Base })
	}
	said := strings.Count(r.log.String(), errElse.Error())
	sealed, _ = sealOne(again, echo(agains.Address.Addr(), agains.RouteGateway, 1))
	bob.send(sealed)
	r.until(t, func() bool { return strings.Count(r.log.String(), errElse.Error()) > said })
	bob.ping(t, bobs.Address.Addr())
	again.ping(t, agains.Address.Addr())
	bob.mute.Store(true)
	r.until(t, func() bool {
		sealed, _ := sealOne(again, echo(agains.Address.Addr(), agains.RouteGateway, 1))
		bob.conn.Write(sealed) // past the muteness
		select {
		case <-again.inner: // the answers, for which there is little room
		default:
		}
		return len(r.Connections()) == 2
	})
	for _, c := range r.Connections() {
		if c.Client == "bob" && (c.From != at["bob"] || c.Address != agains.Address.Addr()) {
			t.Errorf("bob is %+v", c)
		}
	}
}

// TestFloatIsNotUndone: a socket that is behind the others with its reading does not take a client back to where it was.
func TestFloatIsNotUndone(t *testing.T) {
	r := start(t, "udp")
	ann, anns := r.connect(t, "ann")
	ann.ping(t, anns.Address.Addr())
	p := r.peers.all()[0]
	conn, now := shardOf(p), time.Now()
	for _, step := range []struct {
		to    string
		since time.Duration
		want  error
		at    string
	}{
		{"192.0.2.1:1", 2, nil, "192.0.2.1:1"},
		{"192.0.2.2:2", 1, errLate, "192.0.2.1:1"},
		{"192.0.2.3:3", 2, nil, "192.0.2.3:3"},
		{"192.0.2.1:1", 3, nil, "192.0.2.1:1"},
	} {
		to := p.fit(path{from: netip.MustParseAddrPort(step.to), conn: conn, since: now.Add(step.since * time.Second)})
		if _, err := r.peers.move(p, to); !errors.Is(err, step.want) || p.from().String() != step.at {
			t.Errorf("to %s: %v, it is at %s", step.to, err, p.from())
		}
	}
}

// TestCVE_2020_11810_FloatTooEarly is CVE-2020-11810: a client that is not established has no place
// to be moved from, and one that ended neither.
func TestCVE_2020_11810_FloatTooEarly(t *testing.T) {
	r := start(t, "udp")
	key := sessionKey{from: netip.MustParseAddrPort("192.0.2.1:1"), client: wire.SessionID{1}}
	p, _ := r.newPeer(key, netip.Addr{}, nil)
	defer p.cancel(nil)
	if err := r.peers.add(time.Now(), p); err != nil {
		t.Fatal(err)
	}
	defer r.peers.remove(p)
	to := &path{from: netip.MustParseAddrPort("192.0.2.2:2")}
	if _, err := r.peers.move(p, to); !errors.Is(err, errGone) {
		t.Errorf("before: %v", err)
	}
	p.status.Store(&status{})
	r.peers.publish(p)
	r.peers.withdraw(p)
	if _, err := r.peers.move(p, to); !errors.Is(err, errGone) {
		t.Errorf("after: %v", err)
	}
	if p.from() != key.from || r.peers.session(key) != p {
		t.Errorf("it is at %s", p.from())
	}
}

func sealOne(d *dialer, packet []byte) ([]byte, []int) {
	return d.data.Seal(time.Now(), nil, 0, &ovpn.List{packet}, nil)
}
