package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/platform/userspace"
)

// Limits bound what clients can make the endpoint do. Zero values take the defaults.
type Limits struct {
	TCP       int // connections at once, 4096
	UDP       int // flows at once, 4096
	Echo      int // ping flows at once, 256
	PerClient int // of all three for one client address, 1024

	Dial     time.Duration // until a target answers, 10 s
	TCPIdle  time.Duration // without a byte in either direction, 1 h
	UDPIdle  time.Duration // since the last packet, 2 min (RFC 4787, REQ-5)
	UDPOnce  time.Duration // the same for a flow of one question, or without an answer, 30 s
	DNSIdle  time.Duration // the same for questions to port 53 that are answered, 10 s
	EchoIdle time.Duration // 10 s
}

func (l Limits) withDefaults() Limits {
	n := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	t := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	n(&l.TCP, 4096)
	n(&l.UDP, 4096)
	n(&l.Echo, 256)
	n(&l.PerClient, 1024)
	t(&l.Dial, 10*time.Second)
	t(&l.TCPIdle, time.Hour)
	t(&l.UDPIdle, 2*time.Minute)
	t(&l.UDPOnce, 30*time.Second)
	t(&l.DNSIdle, 10*time.Second)
	t(&l.EchoIdle, 10*time.Second)
	return l
}

// UserspaceConfig is what NewUserspace needs.
type UserspaceConfig struct {
	MTU int // inside the tunnel, 1500 if 0
	// Own is where the endpoint itself answers: its tunnels' listeners, and what its process has beside them, such as the
	// metrics. No client gets there, unless an association's range names that one address.
	Own    []netip.AddrPort
	Limits Limits
	Log    *slog.Logger
}

// nic is the number of the stack's one interface.
const nic = 1

// Userspace is a Network without rights: an IP stack in this process answers
// for every destination and carries TCP, UDP and ping on through the process's
// own sockets. Other protocols, ping in fragments and traceroute do not pass.
type Userspace struct {
	log    *slog.Logger
	limits Limits
	link   *userspace.Link
	stack  *stack.Stack
	policy atomic.Pointer[policy]
	local  *locals
	demo   *demo
	ping   pinger

	wanted Wanted // of the last Apply; under mu, as the next
	losses losses

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	buffers sync.Pool

	mu     sync.Mutex
	closed bool
	flows  map[*flow]struct{}
	echos  map[echoKey]*flow
	count  map[string]int     // flows by kind
	byPeer map[netip.Addr]int // flows by client
	warned time.Time          // of a limit
	wg     sync.WaitGroup     // a flow's goroutines; Add only under mu while open
}

// flow is one connection through the endpoint.
type flow struct {
	kind   string // "tcp", "udp", "echo"
	client netip.AddrPort
	dst    netip.AddrPort
	cancel context.CancelFunc
	conn   net.Conn // echo only: the socket
}

var _ Network = (*Userspace)(nil)

// NewUserspace makes the stack. It serves nobody until Apply.
func NewUserspace(c UserspaceConfig) (*Userspace, error) {
	if c.MTU == 0 {
		c.MTU = 1500
	}
	if c.MTU < 576 || c.MTU > 65535 {
		return nil, fmt.Errorf("network: mtu %d is not between 576 and 65535", c.MTU)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	u := &Userspace{log: c.Log, limits: c.Limits.withDefaults(), link: userspace.NewLink(c.MTU),
		local: &locals{list: net.InterfaceAddrs}, flows: map[*flow]struct{}{}, echos: map[echoKey]*flow{},
		count: map[string]int{}, byPeer: map[netip.Addr]int{}, losses: newLosses()}
	u.buffers.New = func() any { b := make([]byte, 64<<10); return &b }
	u.ctx, u.cancel = context.WithCancel(context.Background())
	own := make([]netip.AddrPort, 0, len(c.Own))
	for _, a := range c.Own {
		own = append(own, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	}
	u.policy.Store(newPolicy(Wanted{}, own))
	// Loopback may be named by an association, so the stack must not drop it first.
	u.stack = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv4.NewProtocolWithOptions(ipv4.Options{AllowExternalLoopbackTraffic: true}),
			ipv6.NewProtocolWithOptions(ipv6.Options{AllowExternalLoopbackTraffic: true})},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	if err := u.setUp(); err != nil {
		u.cancel()
		u.stack.Destroy()
		return nil, err
	}
	u.demo = newDemo(c.Log)
	u.ping = newPinger()
	u.wg.Go(u.watch)
	return u, nil
}

func (u *Userspace) setUp() error {
	step := func(what string, err tcpip.Error) error {
		if err != nil {
			return fmt.Errorf("network: userspace stack: %s: %s", what, err)
		}
		return nil
	}
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 512 << 10, Max: 4 << 20}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 512 << 10, Max: 4 << 20}
	u.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	if err := errors.Join(
		step("create interface", u.stack.CreateNIC(nic, u.link.Endpoint())),
		step("accept all destinations", u.stack.SetPromiscuousMode(nic, true)),
		step("answer for all destinations", u.stack.SetSpoofing(nic, true)),
		step("selective acknowledgement", u.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)),
		step("receive buffer tuning", u.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &moderate)),
		step("receive buffer", u.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &receive)),
		step("send buffer", u.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &send)),
	); err != nil {
		return err
	}
	u.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(u.stack, 0, u.limits.TCP, u.forwardTCP).HandlePacket)
	forwardUDP := udp.NewForwarder(u.stack, u.forwardUDP)
	u.stack.SetTransportProtocolHandler(udp.ProtocolNumber, func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
		dst := dstOf(id)
		switch {
		case !u.permits(dst):
			return false // then the stack answers with port unreachable
		case !u.policy.Load().egress.allows(protoUDP, clientOf(id).Addr(), dst):
			return true // in silence, and before begin's lock: nothing bounds how many such packets come
		}
		return forwardUDP.HandlePacket(id, pkt)
	})
	return nil
}

// permits is the policy's answer, demo network included.
func (u *Userspace) permits(dst netip.AddrPort) bool {
	p := u.policy.Load()
	if p.inDemo(dst.Addr()) {
		return dst.Addr() == DemoAddress() && (dst.Port() == 80 || dst.Port() == 53)
	}
	return p.allows(dst, u.local)
}

// Queues implements Network: there is one.
func (u *Userspace) Queues() []platform.TUN { return []platform.TUN{(*door)(u)} }

// Apply implements Network. Connections to what is no longer served are cut; those that a security group would not let
// begin any more go on.
func (u *Userspace) Apply(_ context.Context, w Wanted) error {
	if err := w.Check(); err != nil {
		return err
	}
	w = w.clone()
	for _, a := range w.Associations {
		if a.Plain4 || a.Plain6 {
			return fmt.Errorf("%w: subnet %s: the userspace network has sockets of its own, and sends nothing from clients' addresses", ErrWanted, a.Subnet)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return os.ErrClosed
	}
	u.policy.Store(newPolicy(w, u.policy.Load().own))
	u.wanted = w
	u.look()
	for f := range u.flows {
		if !u.permits(f.dst) {
			f.cancel()
		}
	}
	return nil
}

// Losses implements Network.
func (u *Userspace) Losses() <-chan map[string]string { return u.losses.ch }

// lookTime is how often the machine's addresses are compared with the associations'.
const lookTime = 5 * time.Second

// watch looks until Close.
func (u *Userspace) watch() {
	again := time.NewTicker(lookTime)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-u.ctx.Done():
			return
		}
		u.mu.Lock()
		if !u.closed {
			u.look()
		}
		u.mu.Unlock()
	}
}

// look finds which associations have lost their address. Under mu.
func (u *Userspace) look() {
	mine := map[netip.Addr]bool{}
	for _, a := range u.wanted.Associations {
		for _, s := range []netip.Addr{a.Source, a.Source6} {
			if s.IsValid() {
				mine[s], _ = u.local.has(s)
			}
		}
	}
	u.losses.tell(u.wanted, mine, func(Association) string { return "" }, time.Now()) // watch looks again in any case
}

// Forget implements Network.
func (u *Userspace) Forget(clients ...netip.Addr) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for f := range u.flows {
		if slices.Contains(clients, f.client.Addr()) {
			f.cancel()
		}
	}
}

// Close implements Network.
func (u *Userspace) Close() error {
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		return nil
	}
	u.closed = true
	u.mu.Unlock()
	u.cancel()
	u.link.Close()
	u.demo.close()
	u.stack.Close() // ends handshakes of clients that have gone, which wg waits for
	u.wg.Wait()
	u.stack.Wait()
	close(u.losses.ch)
	return nil
}

// begin registers a flow, or refuses it: closed, not permitted any more, or one
// too many. The caller calls end once, when the flow's goroutines are through.
func (u *Userspace) begin(kind string, client, dst netip.AddrPort) (context.Context, *flow, error) {
	limit := map[string]int{"tcp": u.limits.TCP, "udp": u.limits.UDP, "echo": u.limits.Echo}[kind]
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.closed:
		return nil, nil, os.ErrClosed
	case !u.permits(dst):
		return nil, nil, fmt.Errorf("no association or route names %s", dst.Addr())
	case !u.policy.Load().egress.allows(protocolOf(kind, dst.Addr()), client.Addr(), dst):
		return nil, nil, errGroups
	case u.count[kind] >= limit:
		return nil, nil, u.tooMany(client, fmt.Errorf("%d %s flows are open", limit, kind))
	case u.byPeer[client.Addr()] >= u.limits.PerClient:
		return nil, nil, u.tooMany(client, fmt.Errorf("the client has %d flows open", u.limits.PerClient))
	}
	f := &flow{kind: kind, client: client, dst: dst}
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(u.ctx)
	u.flows[f] = struct{}{}
	u.count[kind]++
	u.byPeer[client.Addr()]++
	u.wg.Add(1)
	return ctx, f, nil
}

// warnEvery is how often limits that refuse something are told of, at most.
const warnEvery = time.Minute

// tooMany tells the administrator of a limit that refuses a flow: the client hears nothing that says why. Under mu.
func (u *Userspace) tooMany(client netip.AddrPort, why error) error {
	if now := time.Now(); now.Sub(u.warned) >= warnEvery {
		u.warned = now
		u.log.Warn("clients have too much open: what they begin is refused", "client", client.Addr(), "why", why)
	}
	return why
}

// errGroups: such a packet is dropped, without a word to the client.
var errGroups = errors.New("no security group of the association permits it")

// protocolOf is IANA's number for a kind of flow.
func protocolOf(kind string, dst netip.Addr) uint8 {
	switch {
	case kind == "tcp":
		return protoTCP
	case kind == "udp":
		return protoUDP
	case dst.Is4():
		return protoICMP
	}
	return protoICMPv6
}

func (u *Userspace) end(f *flow) {
	f.cancel()
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.flows, f)
	u.count[f.kind]--
	if u.byPeer[f.client.Addr()]--; u.byPeer[f.client.Addr()] == 0 {
		delete(u.byPeer, f.client.Addr())
	}
	u.wg.Done()
}

// Flows is how many connections are open, for status and tests.
func (u *Userspace) Flows() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.flows)
}

func dstOf(id stack.TransportEndpointID) netip.AddrPort {
	return addrPort(id.LocalAddress, id.LocalPort)
}

func clientOf(id stack.TransportEndpointID) netip.AddrPort {
	return addrPort(id.RemoteAddress, id.RemotePort)
}

func addrPort(a tcpip.Address, port uint16) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(a.AsSlice())
	return netip.AddrPortFrom(ip, port)
}

// door is the TUN: the link, with a look at each packet on the way in.
type door Userspace

func (d *door) Read(pkts []offload.Packet) (int, error) { return d.link.Read(pkts) }

// Write passes runs of packets that the stack may see, and answers pings itself:
// the stack would answer for hosts that are not there.
func (d *door) Write(pkts [][]byte) (int, error) {
	start := 0
	for i, p := range pkts {
		verdict := classify(p)
		if verdict == passes {
			continue
		}
		if start < i {
			if _, err := d.link.Write(pkts[start:i]); err != nil {
				return start, err
			}
		}
		start = i + 1
		if verdict == isEcho {
			(*Userspace)(d).echo(p)
		}
	}
	if start < len(pkts) {
		if _, err := d.link.Write(pkts[start:]); err != nil {
			return start, err
		}
	}
	return len(pkts), nil
}

func (d *door) BatchSize() int { return d.link.BatchSize() }
func (d *door) Name() string   { return "" }
func (d *door) MTU() int       { return d.link.MTU() }

// Close closes the packet door alone; Network.Close does the rest.
func (d *door) Close() error { return d.link.Close() }

type verdict int

const (
	drops verdict = iota
	passes
	isEcho
)

// classify sorts a packet from a client: TCP, UDP and ICMP errors are for the
// stack, an unfragmented echo request is for us, the rest is dropped.
func classify(b []byte) verdict {
	const protoFragment = 44
	if len(b) < header.IPv4MinimumSize {
		return drops
	}
	switch b[0] >> 4 {
	case 4:
		ip := header.IPv4(b)
		n := int(ip.HeaderLength())
		if n < header.IPv4MinimumSize || n > len(b) {
			return drops
		}
		switch ip.Protocol() {
		case protoTCP, protoUDP:
			return passes
		case protoICMP:
			switch {
			case ip.More() || ip.FragmentOffset() != 0 || len(b) < n+header.ICMPv4MinimumSize:
			case b[n] == byte(header.ICMPv4Echo):
				return isEcho
			case b[n] == byte(header.ICMPv4DstUnreachable):
				return passes
			}
		}
	case 6:
		if len(b) < header.IPv6MinimumSize {
			return drops
		}
		switch b[6] {
		case protoTCP, protoUDP:
			return passes
		case protoFragment:
			if len(b) >= header.IPv6MinimumSize+8 && (b[header.IPv6MinimumSize] == protoTCP || b[header.IPv6MinimumSize] == protoUDP) {
				return passes
			}
		case protoICMPv6:
			if len(b) < header.IPv6MinimumSize+header.ICMPv6MinimumSize {
				return drops
			}
			switch t := b[header.IPv6MinimumSize]; {
			case t == byte(header.ICMPv6EchoRequest):
				return isEcho
			case t <= byte(header.ICMPv6PacketTooBig) && t > 0:
				return passes
			}
		}
	}
	return drops
}
