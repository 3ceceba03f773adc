package routes

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/adit-vpn/adit/ovpn/push"
)

// ErrNoAddress is returned by Build when neither the server nor the profile gives
// the tunnel an address.
var ErrNoAddress = errors.New("no tunnel address given by the server")

// The reasons that Build writes; Explain and the screens show them as they are.
const (
	reasonAll       = "all traffic is redirected"
	reasonAllHalves = "all traffic is redirected (as two halves, so that the old default route stays)"
	reasonServer    = "the server's own address"
	reasonPushed    = "pushed by the server"
	reasonOwn       = "named in the profile"
	reasonSetting   = "added by a setting of this profile"
	reasonBlock6    = "IPv6 is blocked by the server's block-ipv6"
	reasonNo6       = "IPv6 is blocked: all traffic is redirected, and the server carries no IPv6"
	reasonNo4       = "IPv4 is blocked: all traffic is redirected, and the server carries no IPv4"
	reasonPeer      = "the tunnel's other end"
	reasonLocal     = "local networks are blocked by block-local"
	reasonEnforced  = "the server enforces its routes over those of this machine"
	reasonGateway   = "the gateway of the local network"
	reasonResolver  = "the system's own resolver (bypass-dns)"
	reasonCut       = "the server's own address, which has no way outside the tunnel now"

	// What may follow one of them.
	reasonPast     = " to go past the tunnel"
	reasonGateways = " with its own gateway"
	reasonFamily   = ", which gives no address of this family: blocked"

	// Explain's own.
	reasonSelf    = "an address of this machine"
	reasonNet     = "the tunnel's own network"
	reasonOutside = "no more specific route leads into the tunnel"
)

// Reasons are all texts that a Route's or an Explanation's Reason may be made of, for those who have words in
// other languages: each is one of phrases, followed by none or one of endings.
func Reasons() (phrases, endings []string) {
	return []string{reasonAll, reasonAllHalves, reasonServer, reasonPushed, reasonOwn, reasonSetting, reasonBlock6, reasonNo6,
			reasonNo4, reasonPeer, reasonLocal, reasonEnforced, reasonGateway, reasonResolver, reasonCut, reasonSelf, reasonNet, reasonOutside},
		[]string{reasonPast, reasonGateways, reasonFamily}
}

var (
	halves4 = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")}
	halves6 = []netip.Prefix{netip.MustParsePrefix("::/1"), netip.MustParsePrefix("8000::/1")}

	// refused are ranges that never belong into a tunnel: a route equal to one or
	// inside it is dropped. 255.255.255.255 is the limited broadcast.
	refused = []struct {
		prefix netip.Prefix
		what   string
	}{
		{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
		{netip.MustParsePrefix("::1/128"), "loopback"},
		{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
		{netip.MustParsePrefix("fe80::/10"), "link-local"},
		{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
		{netip.MustParsePrefix("ff00::/8"), "multicast"},
		{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	}
)

// Build turns a push reply into the wanted OS state. The profile's own options
// (policy.Own) come before the pushed ones; settings of the user come last and win.
// Full tunnels use two half routes per family, so that the machine's own default
// route stays as it is. A family that the server does not carry is made unreachable
// in a full tunnel, because it would leave beside the tunnel otherwise. What Build
// refuses or changes is said in Plan.Notes; it returns an error only when no
// working tunnel can come of it.
func Build(reply push.Reply, facts Facts, policy Policy) (Plan, error) {
	b := builder{facts: facts, policy: policy, server: policy.Server.Unmap().WithZone("")}
	b.obey(reply)
	b.merge(reply)
	if err := b.addresses(); err != nil {
		return Plan{}, err
	}
	b.mtu()
	for _, r := range b.own.Routes {
		b.route(r, reasonOwn)
	}
	for _, r := range b.pushed.Routes {
		b.route(r, reasonPushed)
	}
	b.redirect()
	b.settings()
	b.blockUncarried()
	b.blockLocal()
	b.enforce()
	b.bypassDNS()
	b.aroundServer()
	b.dns()
	b.guard()
	return b.plan, nil
}

// builder is the scratch state of one Build.
type builder struct {
	facts       Facts
	policy      Policy
	server      netip.Addr
	own, pushed push.Reply // pushed is already without what NoPull ignores
	all         push.Reply // the scalars of both, merged
	gateway     netip.Addr // the tunnel's gateway, 4 and 6
	gateway6    netip.Addr
	plan        Plan
}

func (b *builder) note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	if !slices.Contains(b.plan.Notes, n) {
		b.plan.Notes = append(b.plan.Notes, n)
	}
}

// merge fills own, pushed and the scalars of all. Of two scalars the pushed one
// wins, as the later line of a file does.
func (b *builder) merge(reply push.Reply) {
	b.own, b.pushed = b.policy.Own, reply
	if b.policy.NoPull {
		if len(reply.Routes) > 0 || reply.Redirect != nil || len(reply.DNS.Servers) > 0 {
			b.note("pushed routes and DNS are ignored: the profile says route-nopull")
		}
		b.pushed.Routes, b.pushed.Redirect, b.pushed.DNS = nil, nil, push.DNS{}
		b.pushed.BlockIPv6, b.pushed.BlockDNS, b.pushed.RouteMetric = false, false, 0
	}
	o, p := b.own, b.pushed
	a := push.Reply{
		Topology: o.Topology, Address: o.Address, Peer: o.Peer, Address6: o.Address6, Peer6: o.Peer6,
		RouteGateway: o.RouteGateway, RouteMetric: o.RouteMetric, TunMTU: o.TunMTU,
		BlockIPv6: o.BlockIPv6 || p.BlockIPv6, BlockDNS: o.BlockDNS || p.BlockDNS,
	}
	if p.Topology != "" {
		a.Topology = p.Topology
	}
	if p.Address.IsValid() {
		a.Address, a.Peer = p.Address, p.Peer
	}
	if p.Address6.IsValid() {
		a.Address6, a.Peer6 = p.Address6, p.Peer6
	}
	if p.RouteGateway.IsValid() {
		a.RouteGateway = p.RouteGateway
	}
	if p.RouteMetric != 0 {
		a.RouteMetric = p.RouteMetric
	}
	if p.TunMTU != 0 {
		a.TunMTU = p.TunMTU
	}
	switch {
	case o.Redirect == nil:
		a.Redirect = p.Redirect
	case p.Redirect == nil:
		a.Redirect = o.Redirect
	default:
		x, y := *o.Redirect, *p.Redirect
		a.Redirect = &push.Redirect{
			Private: x.Private && y.Private, Def1: x.Def1 || y.Def1, Local: x.Local || y.Local,
			AutoLocal: x.AutoLocal || y.AutoLocal, BypassDHCP: x.BypassDHCP || y.BypassDHCP,
			BypassDNS: x.BypassDNS || y.BypassDNS, BlockLocal: x.BlockLocal || y.BlockLocal,
			IPv6: x.IPv6 || y.IPv6, NoIPv4: x.NoIPv4 || y.NoIPv4,
		}
	}
	a.DNS = mergeDNS(o.DNS, p.DNS)
	b.all = a
}

// addresses checks ifconfig and ifconfig-ipv6 and puts them on the device.
func (b *builder) addresses() error {
	a := b.all
	if !a.Address.IsValid() && !a.Address6.IsValid() {
		return ErrNoAddress
	}
	if a.Address.IsValid() {
		if err := b.checkAddress(a.Address, 8, "IPv4"); err != nil {
			return err
		}
		b.gateway = a.RouteGateway
		if a.Topology != "subnet" && a.Peer.Is4() && a.Peer != a.Address.Addr() {
			// net30 and p2p: a single address, and the peer behind it.
			b.all.Address = netip.PrefixFrom(a.Address.Addr(), 32)
			b.plan.Addresses = append(b.plan.Addresses, b.all.Address)
			b.add(netip.PrefixFrom(a.Peer, 32), 0, reasonPeer)
			if !b.gateway.IsValid() {
				b.gateway = a.Peer
			}
		} else {
			b.plan.Addresses = append(b.plan.Addresses, a.Address)
			if !b.gateway.IsValid() {
				b.gateway = a.Address.Masked().Addr().Next()
			}
		}
	}
	if !a.Address6.IsValid() {
		return nil
	}
	if err := b.checkAddress(a.Address6, 16, "IPv6"); err != nil {
		return err
	}
	switch {
	case a.BlockIPv6:
		b.all.Address6 = netip.Prefix{}
	case a.TunMTU >= 68 && a.TunMTU < 1280:
		b.note("IPv6 is not used in the tunnel: it needs an MTU of 1280, and the server says %d", a.TunMTU)
		b.all.Address6 = netip.Prefix{}
	default:
		b.plan.Addresses = append(b.plan.Addresses, a.Address6)
		b.gateway6 = a.Peer6
		if !b.gateway6.IsValid() {
			b.gateway6 = a.Address6.Masked().Addr().Next()
		}
	}
	if len(b.plan.Addresses) == 0 {
		return ErrNoAddress
	}
	return nil
}

func (b *builder) checkAddress(p netip.Prefix, least int, family string) error {
	a := p.Addr()
	switch {
	case (family == "IPv4") != a.Is4() || a.Is4In6():
		return fmt.Errorf("tunnel address %s is not an %s address", p, family)
	case a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("tunnel address %s given by the server cannot be used", p)
	case p.Bits() < least:
		return fmt.Errorf("tunnel network %s given by the server is too wide", p)
	case a == b.server:
		return fmt.Errorf("tunnel address %s given by the server is the server's own outer address", a)
	}
	for _, own := range b.facts.Addresses {
		if own.Addr() == a {
			b.note("%s is also an address of this machine outside the tunnel", a)
		} else if own.Bits() > 0 && own.Bits() < own.Addr().BitLen() && own.Masked() == p.Masked() {
			b.note("the tunnel's network %s is also the local network: hosts there are reached one way only", p.Masked())
		}
	}
	return nil
}

func (b *builder) mtu() {
	m := b.all.TunMTU
	if m != 0 && (m < 68 || m > 65535) {
		b.note("tun-mtu %d is out of range and ignored", m)
		m = 0
	}
	if m == 0 {
		m = b.policy.DefaultMTU // a server before this one may have said something
	}
	if most := b.policy.MTU; most > 0 {
		if slices.ContainsFunc(b.plan.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
			most = max(most, 1280) // with less, systems take the addresses away
		}
		if m == 0 || most < m {
			m = most
		}
	}
	b.plan.MTU = m
}

// route adds one pushed or own route.
func (b *builder) route(r push.Route, reason string) {
	dst, ok := b.destination(r)
	if !ok {
		return
	}
	metric := r.Metric
	if metric == 0 {
		metric = b.all.RouteMetric
	}
	if r.GatewayWord == "net_gateway" {
		b.past(dst, metric, reason+reasonPast)
		return
	}
	if gw := r.Gateway.Unmap(); gw.IsValid() && !b.inTunnel(gw) {
		if dev, ok := b.facts.onLink(gw); ok && gw.Is4() == dst.Addr().Is4() {
			b.addAround(Route{Destination: dst, Gateway: gw, Device: dev, Metric: metric, Reason: reason + reasonGateways})
			return
		}
		b.note("route %s: its gateway %s is in no known network; it goes into the tunnel", dst, gw)
	}
	b.add(dst, metric, reason)
}

// destination resolves a route's words and masks its host bits.
func (b *builder) destination(r push.Route) (netip.Prefix, bool) {
	var a netip.Addr
	switch r.Word {
	case "":
		if !r.Destination.IsValid() {
			return netip.Prefix{}, false
		}
		d := r.Destination
		if d.Addr().Is4In6() {
			if d.Bits() < 96 {
				b.note("route %s is refused: IPv4-mapped addresses are no network", d)
				return netip.Prefix{}, false
			}
			d = netip.PrefixFrom(d.Addr().Unmap(), d.Bits()-96)
		}
		return d.Masked(), true
	case "vpn_gateway":
		a = b.gateway
	case "net_gateway":
		if d, ok := b.facts.defaultRoute(true); ok {
			a = d.Gateway
		}
	case "remote_host":
		a = b.server
	default:
		b.note("route %s is left out: this name was not found", r.Word)
		return netip.Prefix{}, false
	}
	if !a.IsValid() {
		b.note("route %s is left out: it has no address here", r.Word)
		return netip.Prefix{}, false
	}
	bits := r.Bits
	if bits <= 0 || bits > a.BitLen() {
		bits = a.BitLen()
	}
	return netip.PrefixFrom(a, bits).Masked(), true
}

// add puts dst into the tunnel; a default route becomes two halves. A family
// without a tunnel address is made unreachable, since it would leave in plain.
func (b *builder) add(dst netip.Prefix, metric int, reason string) {
	for _, r := range refused {
		if r.prefix.Bits() <= dst.Bits() && r.prefix.Contains(dst.Addr()) {
			b.note("route %s is refused: %s addresses do not belong into a tunnel", dst, r.what)
			return
		}
	}
	if dst.IsSingleIP() && dst.Addr() == b.server {
		b.note("route %s is refused: it is the server's own address", dst)
		return
	}
	if dst.Bits() == 0 {
		halves := halves4
		if dst.Addr().Is6() {
			halves = halves6
		}
		for _, h := range halves {
			b.add(h, metric, reason)
		}
		return
	}
	r := Route{Destination: dst, Metric: metric, Reason: reason}
	v4 := dst.Addr().Is4()
	switch {
	case !v4 && b.all.BlockIPv6:
		b.note("route %s is left out: block-ipv6 is in force", dst)
		return
	case v4 && !b.all.Address.IsValid(), !v4 && !b.all.Address6.IsValid():
		r.Unreachable = true
		r.Reason += reasonFamily
	}
	b.addRoute(r)
}

// addRoute merges r into the routes of the tunnel: one route per destination, the first
// reason, the lowest metric.
func (b *builder) addRoute(r Route) {
	if i := indexOf(b.plan.Around, r.Destination); i >= 0 {
		b.note("route %s is left out: %s", r.Destination, b.plan.Around[i].Reason)
		return
	}
	if i := indexOf(b.plan.Routes, r.Destination); i >= 0 {
		old := &b.plan.Routes[i]
		old.Metric = min(old.Metric, r.Metric)
		return
	}
	b.plan.Routes = append(b.plan.Routes, r)
}

// past sends dst through the underlay's default gateway.
func (b *builder) past(dst netip.Prefix, metric int, reason string) {
	def, ok := b.facts.defaultRoute(dst.Addr().Is4())
	if !ok {
		b.note("route %s is left out: there is no gateway outside the tunnel for it", dst)
		return
	}
	b.addAround(Route{Destination: dst, Gateway: def.Gateway, Device: def.Device, Metric: metric, Reason: reason})
}

func (b *builder) addAround(r Route) {
	for _, x := range refused {
		if x.prefix.Bits() <= r.Destination.Bits() && x.prefix.Contains(r.Destination.Addr()) {
			b.note("route %s is refused: it is a %s address", r.Destination, x.what)
			return
		}
	}
	if r.Destination.Bits() == 0 {
		b.note("route %s past the tunnel is refused: it would replace the default route", r.Destination)
		return
	}
	if i := indexOf(b.plan.Routes, r.Destination); i >= 0 {
		b.note("route %s past the tunnel is left out: it is in the tunnel already", r.Destination)
		return
	}
	if indexOf(b.plan.Around, r.Destination) < 0 {
		b.plan.Around = append(b.plan.Around, r)
	}
}

// FullTunnel reports whether the plan leaves nothing to the underlay's default
// routes: each family goes into the tunnel or is closed, and at least one goes in.
func FullTunnel(p Plan) bool {
	in := func(hs []netip.Prefix) bool {
		return covers(slices.DeleteFunc(slices.Clone(p.Routes), func(r Route) bool { return r.Unreachable }), hs)
	}
	return covers(p.Routes, halves4) && covers(p.Routes, halves6) && (in(halves4) || in(halves6))
}

// covers reports whether all of ps are destinations of rs.
func covers(rs []Route, ps []netip.Prefix) bool {
	for _, p := range ps {
		if indexOf(rs, p) < 0 {
			return false
		}
	}
	return true
}

func indexOf(rs []Route, dst netip.Prefix) int {
	return slices.IndexFunc(rs, func(r Route) bool { return r.Destination == dst })
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// upper is the other half of the network that low begins.
func upper(low netip.Prefix) netip.Prefix {
	b := low.Addr().AsSlice()
	i := low.Bits() - 1
	b[i/8] |= 0x80 >> (i % 8)
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, low.Bits())
}
