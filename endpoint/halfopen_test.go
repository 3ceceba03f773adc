package endpoint

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/wire"
)

// room is a halfOpen, and who made room in it.
type room struct {
	halfOpen
	gone []*peer
}

func newRoom() *room { return &room{halfOpen: newHalfOpen()} }

func (r *room) evict(p *peer) { r.gone = append(r.gone, p) }

// arrive adds a handshake of a source.
func (r *room) arrive(t *testing.T, now time.Time, source netip.Prefix) *peer {
	t.Helper()
	p := &peer{source: source}
	if err := r.add(now, p, r.evict); err != nil {
		t.Fatal(err)
	}
	return p
}

// ipv4 is one of many sources.
func ipv4(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}), 32)
}

// check compares what is counted with what is there.
func (r *room) check(t *testing.T) {
	t.Helper()
	all, quiet, idling, most, mostQuiet := 0, 0, 0, 0, 0
	for source, o := range r.origins {
		n := 0
		for s := range o.peers {
			n += o.peers[s].Len()
		}
		q := o.peers[stateSilent].Len()
		if o.source != source || n == 0 || o.all.n != n || o.silent.n != q {
			t.Fatalf("%v has %d, %d silent: %+v", source, n, q, o)
		}
		all, quiet, idling = all+n, quiet+q, idling+o.peers[stateIdle].Len()
		most, mostQuiet = max(most, n), max(mostQuiet, q)
	}
	if r.all.total != all || r.silent.total != quiet || r.idle.Len() != idling {
		t.Fatalf("counted %d, %d silent, %d idle, want %d, %d and %d", r.all.total, r.silent.total, r.idle.Len(), all, quiet, idling)
	}
	for _, c := range []struct {
		t    *tally
		most int
	}{{&r.all, most}, {&r.silent, mostQuiet}} {
		o := c.t.top()
		if c.t.most != c.most || (o == nil) != (c.most == 0) {
			t.Fatalf("most is %d of %v, want %d", c.t.most, o, c.most)
		}
		if o != nil && (c.t == &r.all && o.all.n != most || c.t == &r.silent && o.silent.n != mostQuiet) {
			t.Fatalf("%+v has not most: %d", o, c.most)
		}
	}
	if all > maxHalfOpen || quiet > maxSilent || mostQuiet > maxSilentSource {
		t.Fatalf("%d handshakes, %d silent, %d of one source", all, quiet, mostQuiet)
	}
}

// TestHalfOpenCounts: whatever happens in whatever order, the source that has most is known.
func TestHalfOpenCounts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r, now := newRoom(), time.Unix(1000, 0)
	var there []*peer
	for i := range 60000 {
		now = now.Add(time.Duration(rng.IntN(3)) * time.Millisecond)
		k := 0
		if len(there) > 0 {
			k = rng.IntN(len(there))
		}
		switch what := rng.IntN(100); {
		case what < 50 || len(there) == 0:
			source := int(rng.ExpFloat64() * 40)
			p := &peer{source: ipv4(source)}
			if err := r.add(now, p, r.evict); err == nil {
				there = append(there, p)
			}
		case what < 65:
			r.work(now, there[k])
		case what < 90:
			r.wait(now, there[k], what%2 == 0, r.evict)
		default: // it may have made room before: that is no second time
			r.remove(there[k])
			there[k] = there[len(there)-1]
			there = there[:len(there)-1]
		}
		if i%500 == 0 {
			r.check(t)
		}
	}
	if len(r.gone) == 0 || r.silent.total == 0 {
		t.Errorf("%d made room, %d are silent: the test is too tame", len(r.gone), r.silent.total)
	}
	for _, p := range there {
		r.remove(p)
	}
	r.check(t)
	if r.len()+len(r.origins)+len(r.all.by)+len(r.silent.by) != 0 {
		t.Errorf("left: %+v", r.halfOpen)
	}
}

// TestHalfOpenWork: one more handshake is a bounded amount of work, also when the table is full of distinct sources that all
// have become silent: packets of all clients wait meanwhile.
func TestHalfOpenWork(t *testing.T) {
	for _, c := range []struct {
		name    string
		sources int
	}{{"distinct sources", maxHalfOpen}, {"few sources", 2}, {"sources of several sizes", 90}} {
		t.Run(c.name, func(t *testing.T) {
			r, now := newRoom(), time.Unix(1000, 0)
			for i := range maxHalfOpen {
				r.arrive(t, now, ipv4(i%c.sources*i%c.sources))
			}
			now = now.Add(time.Hour)
			for n := 0; r.idle.Len() > 1000; n++ {
				idling, gone := r.idle.Len(), len(r.gone)
				r.arrive(t, now, netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)}), 32))
				// The new one is idle, and one more may have made room for it.
				if swept, evicted := idling+1-r.idle.Len(), len(r.gone)-gone; swept > maxSwept+1 || evicted > maxSwept+1 {
					t.Fatalf("number %d: %d were looked at, %d made room", n, swept, evicted)
				}
			}
			r.check(t)
		})
	}
}

// TestOfficeComesBack: thousands of clients behind one address are let in at once, and none of
// them makes room for another, however long the endpoint needs for them. Others are let in beside them.
func TestOfficeComesBack(t *testing.T) {
	r, now := newRoom(), time.Unix(1000, 0)
	source := netip.MustParsePrefix("192.0.2.1/32")
	var office []*peer
	for range maxHalfOpenSource {
		p := r.arrive(t, now, source)
		r.work(now, p)
		office = append(office, p)
	}
	if err := r.add(now, &peer{source: source}, r.evict); !errors.Is(err, errCrowd) {
		t.Errorf("one more of the office: %v", err)
	}
	if err := r.add(now, &peer{source: source}, r.evict); !errors.Is(err, errStillCrowd) {
		t.Errorf("and another one: %v", err)
	}
	now = now.Add(10 * silentAfter) // all wait for the endpoint
	for i := range maxHalfOpen - maxHalfOpenSource {
		r.arrive(t, now, ipv4(i))
	}
	if len(r.gone) != 0 {
		t.Errorf("%d made room", len(r.gone))
	}
	// The table is full: the source that has most makes room, those who keep us waiting first.
	r.wait(now, office[7], true, r.evict)
	for range 2 {
		r.arrive(t, now, netip.MustParsePrefix("203.0.113.1/32"))
	}
	if len(r.gone) != 2 || r.gone[0] != office[7] || r.gone[1] != office[0] {
		t.Errorf("%d made room", len(r.gone))
	}
	if r.len() != maxHalfOpen {
		t.Errorf("%d handshakes", r.len())
	}
	for _, p := range office {
		r.wait(now, p, true, r.evict)
	}
	for r.idle.Len() > 0 {
		r.sweep(now.Add(silentAfter), r.evict)
	}
	if n := r.origins[source].silent.n; n > maxSilentSource || r.silent.total != maxSilent {
		t.Errorf("%d of the office are silent, %d in all", n, r.silent.total)
	}
	r.check(t)
}

// TestFullTableTakesFromTheLargest: who fills the table loses its own places, the silent ones first.
func TestFullTableTakesFromTheLargest(t *testing.T) {
	r, now := newRoom(), time.Unix(1000, 0)
	evil, large, small := ipv4(1), ipv4(2), ipv4(3)
	var all []*peer
	for range maxHalfOpenSource {
		all = append(all, r.arrive(t, now, evil))
	}
	for range maxHalfOpen - maxHalfOpenSource - 1 {
		r.arrive(t, now, large)
	}
	r.arrive(t, now, small)
	r.work(now, all[0])
	for i := range 10 {
		r.arrive(t, now, ipv4(10+i))
		if got := r.gone[i]; got != all[i+1] {
			t.Fatalf("number %d: %v made room, not the oldest of %v that waits for its client", i, got.source, evil)
		}
	}
	if err := r.add(now, &peer{source: evil}, r.evict); !errors.Is(err, errCrowd) {
		t.Errorf("one more of the source that fills the table: %v", err)
	}
	r.check(t)
}

// TestJunkDoesNotKeepHandshakes: a client that sends packets but does not go on becomes silent; one
// that goes on does not, however late the endpoint is.
func TestJunkDoesNotKeepHandshakes(t *testing.T) {
	r, start := newRoom(), time.Unix(1000, 0)
	junk, honest, slow := r.arrive(t, start, ipv4(1)), r.arrive(t, start, ipv4(2)), r.arrive(t, start, ipv4(3))
	for now := start.Add(3 * time.Second); now.Before(start.Add(time.Minute)); now = now.Add(3 * time.Second) {
		for _, p := range []*peer{junk, honest} {
			r.work(now, p)
			r.wait(now.Add(time.Millisecond), p, p == honest, r.evict)
		}
		// The endpoint takes its time for this one, with packets that bring nothing new.
		r.work(now, slow)
		r.wait(now.Add(2900*time.Millisecond), slow, false, r.evict)
		r.sweep(now, r.evict)
		if want := now.Sub(start) > silentAfter; (junk.waiting.state == stateSilent) != want {
			t.Fatalf("after %v the state is %d", now.Sub(start), junk.waiting.state)
		}
	}
	if honest.waiting.state != stateIdle || slow.waiting.state != stateIdle {
		t.Errorf("states %d and %d of those that go on, or have to wait for the endpoint", honest.waiting.state, slow.waiting.state)
	}
	r.work(start.Add(time.Minute), junk)
	if junk.waiting.state != stateSilent {
		t.Error("a packet that nobody has looked at yet made it one that is not silent")
	}
	r.wait(start.Add(time.Minute), junk, true, r.evict)
	if junk.waiting.state != stateIdle || junk.waiting.waited != 0 {
		t.Errorf("it goes on, state %d after %v", junk.waiting.state, junk.waiting.waited)
	}
	r.check(t)
}

// TestProgressOfAPeer: only messages that are new keep a real session from becoming silent.
func TestProgressOfAPeer(t *testing.T) {
	s, now := unwired(netip.MustParsePrefix("10.64.0.0/27")), ovpntest.Epoch()
	s.leave.Now = func() time.Time { return now }
	s.turns = newTurns(1)
	s.gen.Load().cfg.ConnectFreq = Freq{Sessions: 10, Seconds: 10}
	pki := ovpntest.NewPKI(t)
	begin := func(cfg ovpn.Config) *ovpn.Session {
		session, err := ovpn.New(now, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(session.Abort)
		return session
	}
	server := begin(ovpn.Config{Role: ovpn.Server, TLS: pki.ServerTLS(), HandWindow: time.Hour})
	client := begin(ovpn.Config{Role: ovpn.Client, TLS: pki.ClientTLS("ann"), HandWindow: time.Hour})
	p, _ := s.newPeer(sessionKey{from: netip.MustParseAddrPort("192.0.2.1:1000")}, netip.Addr{}, nil)
	defer p.cancel(nil)
	if err := s.peers.add(now, p); err != nil {
		t.Fatal(err)
	}
	defer s.peers.remove(p)

	hear := func(b []byte) {
		t.Helper()
		p.inTurn(server, func() {
			if err := server.Handle(now, b); err != nil && !errors.Is(err, ovpn.ErrDropped) {
				t.Fatal(err)
			}
			for answer := server.NextPacket(now); answer != nil; answer = server.NextPacket(now) {
				client.Handle(now, answer)
			}
		})
	}
	reset := client.NextPacket(now)
	hear(reset)
	hello := client.NextPacket(now)
	c, err := wire.ParseControl(hello)
	if err != nil || c.Op == wire.AckV1 {
		t.Fatalf("the client sent opcode %d, %v", c.Op, err)
	}
	ack := c
	ack.Op, ack.ID, ack.Payload = wire.AckV1, 0, nil
	bad := append([]byte{hello[0]}, make([]byte, len(hello)-1)...)

	for _, junk := range [][]byte{wire.AppendControl(nil, ack), reset, bad, hello[:5]} {
		p.waiting.waited = 0
		for range 3 {
			now = now.Add(3 * time.Second)
			if p.waiting.state == stateSilent {
				t.Fatalf("silent too early, by %x", junk)
			}
			hear(junk)
		}
		if p.waiting.state != stateSilent {
			t.Errorf("%x keeps the handshake in state %d", junk, p.waiting.state)
		}
		s.peers.waits(now, p, true)
	}
	for range 3 {
		now = now.Add(3 * time.Second)
	}
	hear(wire.AppendControl(nil, ack))
	if p.waiting.state != stateSilent {
		t.Fatalf("state %d after 9 seconds", p.waiting.state)
	}
	before := server.Received()
	hear(hello)
	if p.waiting.state != stateIdle || server.Received() != before+1 {
		t.Errorf("the client goes on: state %d, %d messages, %d before", p.waiting.state, server.Received(), before)
	}
	hear(hello)
	if server.Received() != before+1 {
		t.Error("a repeated message counts")
	}
}
