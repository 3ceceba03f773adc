package push

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
)

var errFamily = errors.New("wrong address family")

// ParseMask reads a dotted netmask as a prefix length.
func ParseMask(s string) (int, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return 0, fmt.Errorf("%q is not a netmask", shorten(s))
	}
	b := a.As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	bits := 0
	for v&(1<<31) != 0 {
		v <<= 1
		bits++
	}
	if v != 0 {
		return 0, fmt.Errorf("netmask %s has holes", a)
	}
	return bits, nil
}

// FormatMask is the inverse of ParseMask; bits is 0 to 32.
func FormatMask(bits int) string {
	v := ^uint32(0) << (32 - bits)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
}

func address4(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an address", shorten(s))
	}
	if !a.Is4() {
		return netip.Addr{}, errFamily
	}
	return a, nil
}

func address6(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an address", shorten(s))
	}
	if !a.Is6() || a.Is4In6() || a.Zone() != "" {
		return netip.Addr{}, errFamily
	}
	return a, nil
}

// oneAddress reads the argument of route-gateway.
func oneAddress(args []string) (netip.Addr, error) {
	if len(args) != 1 {
		return netip.Addr{}, errors.New("want one address")
	}
	a, err := address4(args[0])
	if err == nil && !assignable(a) {
		return netip.Addr{}, fmt.Errorf("%s cannot be a gateway", a)
	}
	return a, err
}

// assignable reports that a device may have this address.
func assignable(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// finishIfconfig reads ifconfig, whose second argument is a mask with topology
// subnet and the peer's address otherwise.
func (p *parser) finishIfconfig() error {
	if p.ifconfig == nil {
		return nil
	}
	fail := func(err error) error { return &OptionError{"ifconfig", err.Error()} }
	local, err := address4(p.ifconfig[0])
	if err != nil {
		return fail(err)
	}
	if !assignable(local) {
		return fail(fmt.Errorf("%s cannot be a device's address", local))
	}
	second := p.ifconfig[1]
	bits, maskErr := ParseMask(second)
	switch {
	case p.r.Topology == "subnet":
		if maskErr != nil {
			return fail(maskErr)
		}
	case maskErr == nil && bits >= 8:
		// No peer has such an address: the server means subnet but does not say so.
		if p.r.Topology != "" {
			return fail(fmt.Errorf("topology %s wants the peer's address, not the netmask %s", p.r.Topology, second))
		}
	default:
		peer, err := address4(second)
		if err != nil {
			return fail(err)
		}
		if !assignable(peer) || peer == local {
			return fail(fmt.Errorf("%s cannot be the peer's address", peer))
		}
		p.r.Peer, bits = peer, 32
	}
	if bits == 0 {
		return fail(errors.New("netmask 0.0.0.0"))
	}
	p.r.Address = netip.PrefixFrom(local, bits)
	return nil
}

func (p *parser) ifconfig6(args []string) error {
	fail := func(err error) error { return &OptionError{"ifconfig-ipv6", err.Error()} }
	if len(args) < 1 || len(args) > 2 {
		return fail(errors.New("want address/bits and the peer's address"))
	}
	prefix, err := prefix6(args[0])
	if err != nil {
		return fail(err)
	}
	if !assignable(prefix.Addr()) || prefix.Bits() == 0 {
		return fail(fmt.Errorf("%s cannot be a device's address", prefix))
	}
	p.r.Address6 = prefix
	p.r.Peer6 = netip.Addr{}
	if len(args) == 2 {
		peer, err := address6(args[1])
		if err != nil {
			return fail(err)
		}
		p.r.Peer6 = peer
	}
	return nil
}

// prefix6 reads address/bits; without bits it is one host.
func prefix6(s string) (netip.Prefix, error) {
	addr, bits, found := strings.Cut(s, "/")
	a, err := address6(addr)
	if err != nil {
		return netip.Prefix{}, err
	}
	if !found {
		return netip.PrefixFrom(a, 128), nil
	}
	n, err := oneNumber([]string{bits}, 0, 128)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, n), nil
}

// route reads: route network [netmask|default [gateway|default [metric]]].
func (p *parser) route(args []string) error {
	if len(args) < 1 || len(args) > 4 {
		return errors.New("want network, mask, gateway and metric")
	}
	var route Route
	bits, err := 32, error(nil)
	if len(args) > 1 && args[1] != "default" {
		if bits, err = ParseMask(args[1]); err != nil {
			return err
		}
	}
	switch dest := args[0]; {
	case dest == "vpn_gateway" || dest == "net_gateway" || dest == "remote_host":
		route.Word, route.Bits = dest, bits
	default:
		a, err := address4(dest)
		switch {
		case err == nil:
			if a.IsLoopback() {
				return fmt.Errorf("%s is this machine itself", a)
			}
			route.Destination = netip.PrefixFrom(a, bits).Masked()
			if route.Destination.Addr() != a {
				p.note("route", fmt.Sprintf("%s has bits beyond its mask; taken as %s", a, route.Destination))
			}
		case !errors.Is(err, errFamily) && p.own && IsDomain(dest):
			route.Word, route.Bits = dest, bits
		default:
			return err
		}
	}
	if len(args) > 2 {
		if err := route.setGateway(args[2], address4); err != nil {
			return err
		}
	}
	return p.addRoute(route, args, 3)
}

// route6 reads: route-ipv6 network/bits [gateway [metric]].
func (p *parser) route6(args []string) error {
	if len(args) < 1 || len(args) > 3 {
		return errors.New("want network/bits, gateway and metric")
	}
	prefix, err := prefix6(args[0])
	if err != nil {
		return err
	}
	if prefix.Addr().IsLoopback() {
		return fmt.Errorf("%s is this machine itself", prefix)
	}
	route := Route{Destination: prefix.Masked()}
	if route.Destination != prefix {
		p.note("route-ipv6", fmt.Sprintf("%s has bits beyond its mask; taken as %s", prefix, route.Destination))
	}
	if len(args) > 1 {
		if err := route.setGateway(strings.TrimSuffix(args[1], "_ipv6"), address6); err != nil {
			return err
		}
	}
	return p.addRoute(route, args, 2)
}

func (r *Route) setGateway(s string, address func(string) (netip.Addr, error)) error {
	switch s {
	case "default":
		return nil
	case "vpn_gateway", "net_gateway":
		r.GatewayWord = s
		return nil
	}
	gateway, err := address(s)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	if !assignable(gateway) {
		return fmt.Errorf("%s cannot be a gateway", gateway)
	}
	r.Gateway = gateway
	return nil
}

func (p *parser) addRoute(route Route, args []string, metric int) (err error) {
	if len(args) > metric && args[metric] != "default" {
		if route.Metric, err = oneNumber(args[metric:], 0, math.MaxInt32); err != nil {
			return fmt.Errorf("metric: %w", err)
		}
	}
	p.r.Routes = append(p.r.Routes, route)
	return nil
}

func (p *parser) redirect(name string, flags []string) {
	r := p.r.Redirect
	if r == nil {
		r = &Redirect{Private: name == "redirect-private"}
		p.r.Redirect = r
	}
	if name == "redirect-gateway" {
		r.Private = false
	}
	for _, flag := range flags {
		if set := r.flag(flag); set != nil {
			*set = true
		} else {
			p.note(name, fmt.Sprintf("unknown flag %q; ignored", shorten(flag)))
		}
	}
}

// redirectFlags are the words of redirect-gateway in the manual's order.
func redirectFlags() []string {
	return []string{"local", "autolocal", "def1", "bypass-dhcp", "bypass-dns", "block-local", "ipv6", "!ipv4"}
}

func (r *Redirect) flag(word string) *bool {
	switch word {
	case "local":
		return &r.Local
	case "autolocal":
		return &r.AutoLocal
	case "def1":
		return &r.Def1
	case "bypass-dhcp":
		return &r.BypassDHCP
	case "bypass-dns":
		return &r.BypassDNS
	case "block-local":
		return &r.BlockLocal
	case "ipv6":
		return &r.IPv6
	case "!ipv4":
		return &r.NoIPv4
	}
	return nil
}

const maxNAT = 64 // openvpn's MAX_CLIENT_NAT

// clientNAT reads: client-nat snat|dnat network mask alias.
func (p *parser) clientNAT(args []string) error {
	if len(args) != 4 || args[0] != "snat" && args[0] != "dnat" {
		return errors.New("want snat or dnat, network, mask and alias")
	}
	network, err := address4(args[1])
	if err != nil {
		return err
	}
	bits, err := ParseMask(args[2])
	if err != nil {
		return err
	}
	alias, err := address4(args[3])
	if err != nil {
		return err
	}
	nat := NAT{args[0], netip.PrefixFrom(network, bits), alias}
	switch {
	case bits == 0 || nat.Network.Masked() != nat.Network || netip.PrefixFrom(alias, bits).Masked().Addr() != alias:
		return errors.New("network and alias must begin at their mask")
	case len(p.r.ClientNAT) == maxNAT:
		return fmt.Errorf("more than %d translations", maxNAT)
	}
	p.r.ClientNAT = append(p.r.ClientNAT, nat)
	return nil
}
