package endpoint

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/platform/udp"
)

// shardOf is the socket that p's client is heard by.
func shardOf(p *peer) udp.Conn { return p.path.Load().conn }

// TestShards: clients are spread over the sockets of the port, and each has the same network behind it.
func TestShards(t *testing.T) {
	r := start(t, "udp")
	used := map[udp.Conn]bool{}
	for n := 0; len(used) < 2; n++ {
		if n == 30 {
			t.Fatal("all clients are heard by one socket")
		}
		d, reply := r.connect(t, "ann")
		d.ping(t, reply.Address.Addr())
		for _, p := range r.peers.all() {
			used[shardOf(p)] = true
		}
	}
	if len(r.Addrs()) != 1 {
		t.Errorf("it listens on %v", r.Addrs())
	}
}

// TestPortIsTaken: a second endpoint on the same port ends, though it would share the port with itself, and the
// first one keeps its clients.
func TestPortIsTaken(t *testing.T) {
	r := start(t, "udp")
	d, reply := r.connect(t, "ann")
	cfg := r.config(t, r.text)
	nw, err := network.NewUserspace(network.UserspaceConfig{MTU: cfg.TunMTU})
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(cfg, Leaves{Now: time.Now, ReadFile: os.ReadFile, Network: nw,
		ListenUDP: func(netip.AddrPort) ([]udp.Conn, error) {
			return udp.ListenShared(t.Context(), addrPort(r.Addrs()[0]), 2, udp.Options{})
		},
		ListenTCP: func(netip.AddrPort) (net.Listener, error) { return nil, errors.ErrUnsupported },
	})
	if err != nil {
		t.Fatal(err)
	}
	var refused *ListenError
	if err := second.Run(t.Context()); !errors.As(err, &refused) || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the second endpoint: %v", err)
	}
	d.ping(t, reply.Address.Addr())
}

// source is a queue that gives batches of packets, and is closed behind the last one.
type source struct {
	platform.TUN
	batches [][]offload.Packet
}

func (s *source) BatchSize() int { return 64 }

func (s *source) Read(pkts []offload.Packet) (int, error) {
	if len(s.batches) == 0 {
		return 0, os.ErrClosed
	}
	n := copy(pkts, s.batches[0])
	s.batches = s.batches[1:]
	return n, nil
}

// slowConn is a socket that others write to at the same time; each takes his time.
type slowConn struct {
	udp.Conn
	mu   sync.Mutex
	sent map[netip.AddrPort][][]byte
}

func (w *slowConn) WriteBatch(ms []udp.Message) error {
	for range rand.N(5) {
		runtime.Gosched()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range ms {
		step := m.Segment
		if step == 0 {
			step = m.N
		}
		for b := m.Buf[:m.N]; len(b) > 0; b = b[min(step, len(b)):] {
			w.sent[m.Addr] = append(w.sent[m.Addr], append(make([]byte, 0, 200), b[:min(step, len(b))]...))
		}
	}
	return nil
}

// unwired is a server without sockets and network.
func unwired(cidr netip.Prefix) *Server {
	s := &Server{log: slog.New(slog.DiscardHandler), leave: Leaves{Now: time.Now}, peers: newPeers(cidr)}
	s.gen.Store(&generation{cfg: Config{ClientCIDR: cidr}})
	return s
}

// placeOf is the outer address of the client with an id.
func placeOf(id int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(1000+id))
}

// inPlace gives s an established client, with the tunnel address at offset id, and returns the client's end.
func inPlace(t testing.TB, s *Server, pki *ovpntest.PKI, id int, client ovpn.Config, conn udp.Conn) *ovpn.Data {
	t.Helper()
	client.TLS = pki.ClientTLS("c")
	pair := ovpntest.NewPair(t, client, ovpn.Config{TLS: pki.ServerTLS(), PeerID: uint32(id)}, ovpntest.Noise{}, uint64(id))
	if !pair.Run(time.Minute, pair.Up) {
		t.Fatal("the pair did not come up")
	}
	end := pair.Client.Session.Data()
	// The endpoint uses its keys once it has heard that the client has them.
	first, _ := end.Seal(time.Now(), nil, 0, &ovpn.List{make([]byte, 20)}, nil)
	p := &peer{server: s, id: uint32(id), data: pair.Server.Session.Data()}
	p.data.Open(time.Now(), [][]byte{first})
	g := s.gen.Load()
	p.lease = lease{Addr: netip.PrefixFrom(addrAt(g.cfg.ClientCIDR, id), 27), offset: uint32(id)}
	p.access.Store(newAccess([]Rule{{CIDR: anywhere, All: true}}, nil, []netip.Prefix{anywhere}, nil, nil))
	p.gen.Store(g)
	p.path.Store(&path{from: placeOf(id), conn: conn})
	s.peers.publish(p)
	return end
}

var anywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// addrAt is an IPv4 address of a range.
func addrAt(cidr netip.Prefix, offset int) netip.Addr {
	b := cidr.Addr().As4()
	b[3] += byte(offset)
	return netip.AddrFrom4(b)
}

// ipPacket is as much of one as the endpoint looks at.
func ipPacket(src, dst netip.Addr) []byte {
	b := append([]byte{0x45}, make([]byte, 99)...)
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	return b
}

// TestQueuesKeepTheOrderOfAPeer: packets of a client that come from several queues at once leave in the order of
// their ids, whichever socket is its own: the clients here take no packet that is late.
func TestQueuesKeepTheOrderOfAPeer(t *testing.T) {
	const queues, clients, batches, size = 3, 3, 200, 20
	cidr := netip.MustParsePrefix("10.64.0.0/27")
	s := unwired(cidr)
	pki := ovpntest.NewPKI(t)
	wires := []*slowConn{{sent: map[netip.AddrPort][][]byte{}}, {sent: map[netip.AddrPort][][]byte{}}}
	var ends []*ovpn.Data
	for i := range clients {
		ends = append(ends, inPlace(t, s, pki, i, ovpn.Config{ReplayWindow: -1}, wires[i%len(wires)]))
	}
	var readers sync.WaitGroup
	for range queues {
		src := &source{}
		for range batches {
			batch := make([]offload.Packet, size)
			for i := range batch {
				b := ipPacket(netip.IPv4Unspecified(), addrAt(cidr, rand.N(clients)))
				batch[i] = offload.Packet{Bytes: b}
			}
			src.batches = append(src.batches, batch)
		}
		q := &queue{tun: src}
		readers.Go(func() {
			if err := s.fromNetwork(q); err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	total := 0
	for i, end := range ends {
		at := placeOf(i)
		sent := wires[i%len(wires)].sent[at]
		for k, datagram := range sent {
			if _, authentic := end.Open(time.Now(), [][]byte{datagram}); authentic != 1 {
				t.Fatalf("client %d refuses packet %d of %d", i, k, len(sent))
			}
		}
		total += len(sent)
		if other := wires[(i+1)%len(wires)].sent[at]; len(other) > 0 {
			t.Errorf("client %d: %d packets by a socket that is not its own", i, len(other))
		}
	}
	if total != queues*batches*size {
		t.Errorf("%d packets arrived, want %d", total, queues*batches*size)
	}
}

// nowhere is a network and a socket that count what they take.
type nowhere struct {
	platform.TUN
	packets, datagrams int
}

func (n *nowhere) Write(pkts [][]byte) (int, error) {
	n.packets += len(pkts)
	return len(pkts), nil
}

type nowhereConn struct {
	udp.Conn
	*nowhere
}

func (c nowhereConn) WriteBatch(ms []udp.Message) error {
	for _, m := range ms {
		step := m.Segment
		if step == 0 {
			step = m.N
		}
		c.datagrams += (m.N + step - 1) / step
	}
	return nil
}

// TestNoAllocations: packets pass both ways without one, also from one client to the next.
func TestNoAllocations(t *testing.T) {
	const each = 10
	s, pki, sink := unwired(netip.MustParsePrefix("10.64.0.0/27")), ovpntest.NewPKI(t), &nowhere{}
	s.queues = []*queue{{tun: sink}}
	target := netip.MustParseAddr("203.0.113.1")
	var ends []*ovpn.Data
	var in [2][][]byte
	var out []offload.Packet
	for i := range in {
		ends = append(ends, inPlace(t, s, pki, i, ovpn.Config{}, nowhereConn{nowhere: sink}))
		me := addrAt(s.gen.Load().cfg.ClientCIDR, i)
		for range each {
			in[i] = append(in[i], ipPacket(me, target))
			out = append(out, offload.Packet{Bytes: ipPacket(target, me)})
		}
	}
	l := newUDPListener(s, []udp.Conn{nil})
	shard, batch := l.shards[0], &outBatch{server: s}
	var trains [2][]byte
	var lists [2]ovpn.List
	var sizes []int
	now, runs := time.Now(), 0
	allocs := testing.AllocsPerRun(100, func() {
		runs++
		for i, end := range ends {
			lists[i] = in[i]
			trains[i], sizes = end.Seal(now, trains[i][:0], 0, &lists[i], sizes)
			for rest := trains[i]; len(rest) > 0; rest = rest[sizes[0]:] {
				shard.packet(now, placeOf(i), netip.Addr{}, rest[:sizes[0]])
			}
		}
		shard.batch.flush(now)
		for i := range ends {
			batch.add(now, s.peers.byInner(netip.Prefix{}, addrAt(s.gen.Load().cfg.ClientCIDR, i)), out[i*each:][:each])
		}
		batch.flush()
	})
	if want := runs * each * len(ends); sink.packets != want || sink.datagrams != want {
		t.Errorf("%d packets in and %d out, want %d; refused: %d unknown, %d spoofed, %d denied", sink.packets, sink.datagrams, want,
			s.drops.unknown.Load(), s.drops.spoofed.Load(), s.drops.denied.Load())
	}
	if allocs != 0 {
		t.Errorf("%v allocations for %d packets each way", allocs, each*len(ends))
	}
}

// TestBudgetIsShared: all who take from a budget get together what is in it, also at the turn of a second.
func TestBudgetIsShared(t *testing.T) {
	const limit, takers = 100, 4
	var b budget
	var all sync.WaitGroup
	var mu sync.Mutex
	got := 0
	start := time.Unix(1_000_000, 0)
	for k := range takers {
		all.Go(func() {
			for i := range 1000 {
				at := start.Add(time.Duration((i+k)%2) * -time.Nanosecond) // half of them are a moment behind
				if b.take(at, limit) {
					mu.Lock()
					got++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	if got < limit || got > 2*limit { // those of the second before, and of the next one
		t.Errorf("%d were let pass, want %d to %d", got, limit, 2*limit)
	}
	if b.take(start, limit) || !b.take(start.Add(time.Second), limit) || !b.take(start.Add(-time.Hour), limit) {
		t.Error("a new second must begin anew, and no other")
	}
}
