package userspace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/routes"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const nicID = 1

// ErrNoRoute is wrapped by errors about a destination that the plan does not send
// into the tunnel. Nothing has left this process then.
var ErrNoRoute = errors.New("no route into the tunnel")

// Host is a platform.Host whose TUN is a userspace IP stack, with means to use
// that stack: DialContext, Ping, LookupHost and the fronts.
//
// As for any platform.Host, OpenTUN, Apply and Close are one goroutine's;
// everything else may be called from any, at any time.
type Host struct {
	log     *slog.Logger
	changes chan struct{} // never sent to

	mu     sync.Mutex
	net    *network // nil while there is no TUN
	plan   routes.Plan
	closed bool
}

var _ platform.Host = (*Host)(nil)

// NewHost returns a host without a TUN and without routes.
func NewHost(log *slog.Logger) *Host {
	return &Host{log: log, changes: make(chan struct{})}
}

// network is one TUN's stack.
type network struct {
	stack *stack.Stack
	link  *Link
}

// tun is a Link that takes its stack along when it closes.
type tun struct {
	*Link
	host  *Host
	net   *network
	close sync.Once
}

// OpenTUN makes the IP stack. The name is ignored.
func (h *Host) OpenTUN(_ string, mtu int) (platform.TUN, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, errors.New("open userspace tunnel: host is closed")
	case h.net != nil:
		return nil, errors.New("open userspace tunnel: one is open already")
	case mtu < 576 || mtu > 65535:
		return nil, fmt.Errorf("open userspace tunnel: MTU %d is not within 576 to 65535", mtu)
	}
	n, err := newNetwork(mtu)
	if err != nil {
		return nil, fmt.Errorf("open userspace tunnel: %w", err)
	}
	h.net = n
	return &tun{Link: n.link, host: h, net: n}, nil
}

// Close ends the stack: open connections fail, and Read wakes with os.ErrClosed.
func (t *tun) Close() error {
	t.close.Do(func() {
		t.host.mu.Lock()
		t.host.net, t.host.plan = nil, routes.Plan{}
		t.host.mu.Unlock()
		t.net.stack.Close() // resets go out as long as somebody reads
		_ = t.Link.Close()
		t.net.stack.Wait()
	})
	return nil
}

func newNetwork(mtu int) (*network, error) {
	n := &network{
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
			HandleLocal:        true,
		}),
		link: NewLink(mtu),
	}
	err := TuneTCP(n.stack)
	if err == nil {
		if e := n.stack.CreateNIC(nicID, n.link.Endpoint()); e != nil {
			err = fmt.Errorf("attach the link: %s", e)
		}
	}
	if err != nil {
		n.stack.Destroy()
		return nil, err
	}
	return n, nil
}

// TuneTCP sets what a stack behind a tunnel needs: selective acknowledgements,
// CUBIC, and buffers for a long fat path (1 MiB at first, up to 8 MiB each way).
func TuneTCP(s *stack.Stack) error {
	sack := tcpip.TCPSACKEnabled(true)
	cubic := tcpip.CongestionControlOption("cubic")
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: 1 << 20, Max: 8 << 20}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: 1 << 20, Max: 8 << 20}
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &cubic, &moderate, &send, &receive} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("set TCP option %T: %s", option, err)
		}
	}
	return nil
}

// Facts is empty: a userspace tunnel lies beside the machine's network, and
// needs no way around itself.
func (h *Host) Facts(context.Context) (routes.Facts, error) { return routes.Facts{}, nil }

// Changes never signals.
func (h *Host) Changes() <-chan struct{} { return h.changes }

// Apply gives the stack plan's addresses, MTU and routes, and the resolver its
// servers. What is open from an address that plan has no more fails. Routes around the tunnel are refused destinations here, as are those
// that no route covers. A split DNS is asked for every name: the machine's own
// resolver is never used.
func (h *Host) Apply(_ context.Context, plan routes.Plan) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return errors.New("apply plan: host is closed")
	case h.net == nil:
		if len(plan.Addresses) > 0 || len(plan.Routes) > 0 {
			return errors.New("apply plan: no tunnel is open")
		}
		h.plan = plan
		return nil
	}
	err := h.net.setAddresses(plan.Addresses)
	if plan.MTU > 0 {
		h.net.link.SetMTU(plan.MTU)
	}
	var table []tcpip.Route
	for _, prefix := range intoTunnel(plan) {
		subnet, e := tcpip.NewSubnet(tcpip.AddrFromSlice(prefix.Masked().Addr().AsSlice()), tcpip.MaskFromBytes(mask(prefix)))
		if e != nil {
			err = errors.Join(err, fmt.Errorf("route %s: %w", prefix, e))
			continue
		}
		table = append(table, tcpip.Route{Destination: subnet, NIC: nicID})
	}
	h.net.stack.SetRouteTable(table)
	h.plan = plan
	if err != nil {
		return fmt.Errorf("apply plan: %w", err)
	}
	h.log.Debug("userspace stack configured", "addresses", plan.Addresses, "routes", len(table), "dns", plan.DNS.Servers)
	return nil
}

// Close forgets the plan and refuses further use. An open TUN stays open.
func (h *Host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	h.plan = routes.Plan{}
	if h.net != nil {
		h.net.stack.SetRouteTable(nil)
		return h.net.setAddresses(nil)
	}
	return nil
}

// Guard stops nothing: the machine's own packets do not pass here.
func (h *Host) Guard() routes.Guard { return routes.Guard{} }

// Leave is Close: there is nothing to leave behind.
func (h *Host) Leave() error { return h.Close() }

// setAddresses makes the stack's addresses equal to want, and ends what uses another one.
func (n *network) setAddresses(want []netip.Prefix) error {
	var failed []error
	var have []netip.Prefix
	for _, a := range n.stack.AllAddresses()[nicID] {
		addr, ok := netip.AddrFromSlice(a.AddressWithPrefix.Address.AsSlice())
		if !ok {
			continue
		}
		prefix := netip.PrefixFrom(addr, a.AddressWithPrefix.PrefixLen)
		if slices.Contains(want, prefix) {
			have = append(have, prefix)
			continue
		}
		if err := n.stack.RemoveAddress(nicID, a.AddressWithPrefix.Address); err != nil {
			failed = append(failed, fmt.Errorf("remove address %s: %s", prefix, err))
		}
	}
	for _, prefix := range want {
		if slices.Contains(have, prefix) {
			continue
		}
		if !prefix.IsValid() {
			failed = append(failed, fmt.Errorf("bad address %s", prefix))
			continue
		}
		address := tcpip.ProtocolAddress{
			Protocol: protocolOf(prefix.Addr()),
			AddressWithPrefix: tcpip.AddressWithPrefix{
				Address:   tcpip.AddrFromSlice(prefix.Addr().AsSlice()),
				PrefixLen: prefix.Bits(),
			},
		}
		if err := n.stack.AddProtocolAddress(nicID, address, stack.AddressProperties{}); err != nil {
			failed = append(failed, fmt.Errorf("add address %s: %s", prefix, err))
		}
	}
	n.endStrays(want)
	return errors.Join(failed...)
}

// endStrays ends what was opened from an address that is none of have. No packet of it passes any more, and whoever waits
// for one would wait forever.
func (n *network) endStrays(have []netip.Prefix) {
	for _, e := range n.stack.RegisteredEndpoints() {
		socket, ok := e.(tcpip.Endpoint)
		if !ok {
			continue
		}
		info, ok := socket.Info().(*stack.TransportEndpointInfo)
		if !ok {
			continue
		}
		local, ok := netip.AddrFromSlice(info.ID.LocalAddress.AsSlice())
		if ok && !slices.ContainsFunc(have, func(p netip.Prefix) bool { return p.Addr() == local }) {
			e.Abort()
		}
	}
}

// intoTunnel lists what plan sends into the tunnel: its routes, and the networks
// of its addresses, which an operating system adds by itself.
func intoTunnel(plan routes.Plan) []netip.Prefix {
	var in []netip.Prefix
	for _, route := range plan.Routes {
		if route.Destination.IsValid() && !route.Unreachable {
			in = append(in, route.Destination)
		}
	}
	for _, address := range plan.Addresses {
		if address.IsValid() {
			in = append(in, address.Masked())
		}
	}
	return in
}

// admit reports why plan does not send a packet to addr into the tunnel, if so.
func admit(plan routes.Plan, addr netip.Addr) error {
	if addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() {
		return fmt.Errorf("%s: %w: no unicast address of another machine", addr, ErrNoRoute)
	}
	best, why := -1, "no pushed route covers it"
	consider := func(prefix netip.Prefix, verdict string) {
		// Of equal prefixes the later considered decides: a refusal.
		if prefix.IsValid() && prefix.Contains(addr) && prefix.Bits() >= best {
			best, why = prefix.Bits(), verdict
		}
	}
	for _, prefix := range intoTunnel(plan) {
		consider(prefix, "")
	}
	for _, route := range plan.Routes {
		if route.Unreachable {
			consider(route.Destination, fmt.Sprintf("%s is unreachable (%s)", route.Destination, route.Reason))
		}
	}
	for _, route := range plan.Around {
		consider(route.Destination, fmt.Sprintf("%s goes around the tunnel (%s)", route.Destination, route.Reason))
	}
	if why != "" {
		return fmt.Errorf("%s: %w: %s", addr, ErrNoRoute, why)
	}
	return nil
}

// protocolOf is the stack's number for an address's family.
func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// mask is prefix's network mask as bytes.
func mask(prefix netip.Prefix) []byte {
	m := make([]byte, prefix.Addr().BitLen()/8)
	for i := range prefix.Bits() {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}
