package ovpntest

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
)

// Noise is what a wire does to packets. Probabilities are 0 to 1.
type Noise struct {
	Loss, Duplicate, Corrupt float64
	Delay, Jitter            time.Duration // one way; jitter reorders
}

// Side is one end of a Pair.
type Side struct {
	Session *ovpn.Session
	Events  []ovpn.Event
	Inside  [][]byte // packets that came out of the tunnel
	Err     error    // why the session died
	Sent    int      // packets put on the wire
	name    string
}

// Pair is a client and a server on a noisy wire with a fake clock. Not safe for
// concurrent use. The server answers Credentials and PushRequest by itself
// unless OnServer says that it has.
type Pair struct {
	T              testing.TB
	Now            time.Time
	Client, Server *Side
	Noise          Noise
	Reply          push.Reply
	// OnServer may take an event of the server's; true means handled.
	OnServer func(ev ovpn.Event) bool
	// Watch may look at each packet that is put on the wire, in order.
	Watch func(from *Side, b []byte)

	serverCfg ovpn.Config
	gate      *ovpn.Gate
	rng       *rand.Rand
	flying    []packet
	order     uint64
}

type packet struct {
	at       time.Time
	order    uint64
	toServer bool
	b        []byte
}

// NewPair starts a client; the server's session begins when its packets arrive.
func NewPair(t testing.TB, client, server ovpn.Config, noise Noise, seed uint64) *Pair {
	t.Helper()
	client.Role, server.Role = ovpn.Client, ovpn.Server
	p := &Pair{
		T: t, Now: Epoch(), Noise: noise, serverCfg: server,
		Client: &Side{name: "client"}, Server: &Side{name: "server"},
		Reply: push.Reply{
			Topology: "subnet", Address: netip.MustParsePrefix("10.8.0.2/24"), RouteGateway: netip.MustParseAddr("10.8.0.1"),
			Ping: 10 * time.Second, PingRestart: 60 * time.Second,
		},
		rng: rand.New(rand.NewPCG(seed, 7)),
	}
	if !server.Stream {
		p.gate = ovpn.NewGate(ovpn.GateConfig{Wrap: server.Wrap})
	}
	s, err := ovpn.New(p.Now, client)
	if err != nil {
		t.Fatal(err)
	}
	p.Client.Session = s
	t.Cleanup(func() {
		p.Noise = Noise{}
		for _, side := range []*Side{p.Client, p.Server} {
			if side.Session != nil {
				side.Session.Close(p.Now)
				side.Session.Tick(p.Now.Add(time.Hour))
			}
		}
	})
	return p
}

// addr is the client's address as the server sees it.
var addr = netip.MustParseAddrPort("192.0.2.7:40000")

// Run turns the clock for d, or until stop (may be nil) says so; it says whether stop did.
func (p *Pair) Run(d time.Duration, stop func() bool) bool {
	end := p.Now.Add(d)
	for {
		p.exchange()
		if stop != nil && stop() {
			return true
		}
		next := end
		for _, side := range []*Side{p.Client, p.Server} {
			if side.Session != nil && side.Err == nil {
				if at := side.Session.Deadline(); !at.IsZero() && at.Before(next) {
					next = at
				}
			}
		}
		for _, f := range p.flying {
			if f.at.Before(next) {
				next = f.at
			}
		}
		if next.Equal(end) {
			p.Now = end
			for _, f := range p.due(end) {
				p.arrive(f)
			}
			p.tick()
			p.exchange()
			return stop != nil && stop()
		}
		// The clock moves at least a little, whatever the deadlines say.
		if next.After(p.Now) {
			p.Now = next
		} else {
			p.Now = p.Now.Add(time.Microsecond)
		}
		for _, f := range p.due(p.Now) {
			p.arrive(f)
		}
		p.tick()
	}
}

// due removes and returns what has arrived by now, in order of arrival.
func (p *Pair) due(now time.Time) []packet {
	var out []packet
	p.flying = slices.DeleteFunc(p.flying, func(f packet) bool {
		if f.at.After(now) {
			return false
		}
		out = append(out, f)
		return true
	})
	slices.SortFunc(out, func(a, b packet) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return int(a.order) - int(b.order)
	})
	return out
}

func (p *Pair) tick() {
	for _, side := range []*Side{p.Client, p.Server} {
		if side.Session != nil && side.Err == nil {
			if at := side.Session.Deadline(); !at.IsZero() && !at.After(p.Now) {
				p.note(side, side.Session.Tick(p.Now))
			}
		}
	}
}

// note records the death of a side.
func (p *Pair) note(side *Side, err error) {
	if err == nil || errors.Is(err, ovpn.ErrDropped) {
		return
	}
	p.collect(side)
	if side.Err == nil {
		side.Err = err
	}
}

// exchange moves packets and events out of both sessions.
func (p *Pair) exchange() {
	for _, side := range []*Side{p.Client, p.Server} {
		if side.Session != nil {
			p.collect(side)
		}
	}
}

func (p *Pair) collect(side *Side) {
	for b := side.Session.NextPacket(p.Now); b != nil; b = side.Session.NextPacket(p.Now) {
		p.put(side, b)
	}
	for ev := side.Session.NextEvent(); ev != nil; ev = side.Session.NextEvent() {
		side.Events = append(side.Events, ev)
		if side == p.Server {
			p.answer(ev)
			p.collect(side)
		}
	}
}

func (p *Pair) answer(ev ovpn.Event) {
	if p.OnServer != nil && p.OnServer(ev) {
		return
	}
	switch ev := ev.(type) {
	case ovpn.Credentials:
		p.note(p.Server, p.Server.Session.Accept(p.Now, ev.KeyID))
	case ovpn.PushRequest:
		p.note(p.Server, p.Server.Session.Push(p.Now, p.Reply))
	}
}

// put gives one packet to the wire.
func (p *Pair) put(from *Side, b []byte) {
	from.Sent++
	if p.Watch != nil {
		p.Watch(from, b)
	}
	copies := 1
	if p.rng.Float64() < p.Noise.Loss {
		copies = 0
	} else if p.rng.Float64() < p.Noise.Duplicate {
		copies = 2
	}
	for range copies {
		c := slices.Clone(b)
		if p.rng.Float64() < p.Noise.Corrupt {
			c[p.rng.IntN(len(c))] ^= 1 << p.rng.IntN(8)
		}
		delay := p.Noise.Delay
		if p.Noise.Jitter > 0 {
			delay += time.Duration(p.rng.Int64N(int64(p.Noise.Jitter)))
		}
		p.order++
		p.flying = append(p.flying, packet{p.Now.Add(delay), p.order, from == p.Client, c})
	}
}

func (p *Pair) arrive(f packet) {
	side := p.Client
	if f.toServer {
		side = p.Server
		if side.Session == nil && !p.accept(f.b) {
			return
		}
	}
	if side.Err != nil || len(f.b) == 0 {
		return
	}
	if wire.IsData(f.b[0]) {
		packet := [][]byte{append([]byte(nil), f.b...)}
		if delivered, _ := side.Session.Data().Open(p.Now, packet); delivered > 0 {
			side.Inside = append(side.Inside, append([]byte(nil), packet[0]...))
		}
		return
	}
	p.note(side, side.Session.Handle(p.Now, f.b))
}

// accept makes the server's session out of its first packets.
func (p *Pair) accept(b []byte) bool {
	cfg := p.serverCfg
	if p.gate != nil {
		reply, hello, err := p.gate.Handle(p.Now, addr, b)
		if err == nil && reply != nil {
			p.put(p.Server, reply)
		}
		if hello == nil {
			return false
		}
		cfg.Hello = hello
	}
	s, err := ovpn.New(p.Now, cfg)
	if err != nil {
		p.T.Fatal(err)
	}
	p.Server.Session = s
	return true
}

// Inject seals one inner packet on a side and puts its datagrams on the wire; false when
// there is no key yet.
func (p *Pair) Inject(side *Side, inner []byte) bool {
	b, sizes := side.Session.Data().Seal(p.Now, nil, 0, &ovpn.List{inner}, nil)
	for _, size := range sizes {
		p.put(side, b[:size])
		b = b[size:]
	}
	return len(sizes) > 0
}

// Up says that the tunnel is up on both sides.
func (p *Pair) Up() bool {
	return has[ovpn.PushReply](p.Client) && p.Server.Session != nil && has[ovpn.PushRequest](p.Server)
}

func has[E ovpn.Event](s *Side) bool {
	return slices.ContainsFunc(s.Events, func(ev ovpn.Event) bool { _, ok := ev.(E); return ok })
}

// Count says how many events of one type a side has seen.
func Count[E ovpn.Event](s *Side) (n int) {
	for _, ev := range s.Events {
		if _, ok := ev.(E); ok {
			n++
		}
	}
	return n
}
