package userspace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/adit-vpn/adit/routes"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// ErrDown is returned while no tunnel is open.
var ErrDown = errors.New("the tunnel is down")

// current is the stack and the plan in force.
func (h *Host) current() (*network, routes.Plan, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.net == nil || h.closed {
		return nil, routes.Plan{}, ErrDown
	}
	return h.net, h.plan, nil
}

// DialContext connects through the tunnel. The network is "tcp" or "udp", either
// with 4 or 6 behind it; a host name is looked up with LookupHost, and its
// addresses are tried one after another, IPv4 first. A destination that the plan does not
// route is an error that wraps ErrNoRoute.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %s %q: %w", network, address, err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("dial %s %q: bad port %q", network, address, service)
	}
	addrs, err := h.LookupHost(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("dial %s %s: %w", network, address, err)
	}
	var failed error
	for i, addr := range addrs {
		conn, err := h.dialShare(ctx, network, netip.AddrPortFrom(addr, uint16(port)), len(addrs)-i)
		if err == nil {
			return conn, nil
		}
		if failed == nil || errors.Is(failed, ErrNoRoute) {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("dial %s %s: %w", network, address, failed)
}

// dialShare dials with its share of the time left for so many candidates.
func (h *Host) dialShare(ctx context.Context, network string, to netip.AddrPort, candidates int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && candidates > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(candidates))
		defer cancel()
	}
	return h.dialAddr(ctx, network, to)
}

func (h *Host) dialAddr(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	n, plan, err := h.current()
	if err != nil {
		return nil, err
	}
	if err := admit(plan, to.Addr()); err != nil {
		return nil, err
	}
	switch last := network[len(network)-1]; {
	case last == '4' && !to.Addr().Is4(), last == '6' && !to.Addr().Is6():
		return nil, fmt.Errorf("%s is not an address for %s", to.Addr(), network)
	}
	full := fullAddress(to)
	switch network {
	case "tcp", "tcp4", "tcp6":
		conn, err := gonet.DialContextTCP(ctx, n.stack, full, protocolOf(to.Addr()))
		if err != nil {
			return nil, err
		}
		return conn, nil
	case "udp", "udp4", "udp6":
		conn, err := gonet.DialUDP(n.stack, nil, &full, protocolOf(to.Addr()))
		if err != nil {
			return nil, err
		}
		return conn, nil
	}
	return nil, net.UnknownNetworkError(network)
}

// listenUDP opens an unconnected socket on the tunnel's address of one family.
func (h *Host) listenUDP(inet4 bool) (*gonet.UDPConn, error) {
	n, plan, err := h.current()
	if err != nil {
		return nil, err
	}
	for _, prefix := range plan.Addresses {
		if prefix.Addr().Is4() == inet4 {
			local := fullAddress(netip.AddrPortFrom(prefix.Addr(), 0))
			return gonet.DialUDP(n.stack, &local, nil, protocolOf(prefix.Addr()))
		}
	}
	if inet4 {
		return nil, fmt.Errorf("%w: the tunnel has no IPv4 address", ErrNoRoute)
	}
	return nil, fmt.Errorf("%w: the tunnel has no IPv6 address", ErrNoRoute)
}

// admits reports whether the plan in force sends packets to addr into the tunnel.
func (h *Host) admits(addr netip.Addr) error {
	_, plan, err := h.current()
	if err != nil {
		return err
	}
	return admit(plan, addr)
}

// Ping sends one ICMP echo request and returns how long its answer took.
func (h *Host) Ping(ctx context.Context, addr netip.Addr) (time.Duration, error) {
	addr = addr.Unmap()
	n, plan, err := h.current()
	if err != nil {
		return 0, fmt.Errorf("ping %s: %w", addr, err)
	}
	if err := admit(plan, addr); err != nil {
		return 0, fmt.Errorf("ping: %w", err)
	}
	protocol, request, reply := icmp.ProtocolNumber4, byte(header.ICMPv4Echo), byte(header.ICMPv4EchoReply)
	if addr.Is6() {
		protocol, request, reply = icmp.ProtocolNumber6, byte(header.ICMPv6EchoRequest), byte(header.ICMPv6EchoReply)
	}
	var queue waiter.Queue
	ep, e := n.stack.NewEndpoint(protocol, protocolOf(addr), &queue)
	if e != nil {
		return 0, fmt.Errorf("ping %s: %s", addr, e)
	}
	conn := gonet.NewUDPConn(&queue, ep) // any datagram endpoint will do
	defer conn.Close()
	if e := ep.Connect(fullAddress(netip.AddrPortFrom(addr, 0))); e != nil {
		return 0, fmt.Errorf("ping %s: %s", addr, e)
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()

	// The stack fills in the identifier and the checksum.
	packet := [64]byte{0: request, 7: 1}
	start := time.Now()
	if _, err := conn.Write(packet[:]); err != nil {
		return 0, fmt.Errorf("ping %s: %w", addr, err)
	}
	var answer [1500]byte
	for {
		size, err := conn.Read(answer[:])
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return 0, fmt.Errorf("ping %s: %w", addr, err)
		}
		if size == len(packet) && answer[0] == reply && answer[7] == 1 {
			return time.Since(start), nil
		}
	}
}

func fullAddress(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}
}
