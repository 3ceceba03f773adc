package endpoint

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/adit-vpn/adit/endpoint/network"
)

func (p *parsing) vpc(n *yaml.Node, path string) {
	var v VPC
	p.mapping(n, path, fields{
		"vpc":     p.set(func(n *yaml.Node, at string) { p.id(n, at, &v.ID) }),
		"cidr":    p.set(func(n *yaml.Node, at string) { p.prefix(n, at, &v.CIDR) }),
		"cidr_v6": p.set(func(n *yaml.Node, at string) { p.prefix(n, at, &v.CIDR6) }),
		"security_groups": func(n *yaml.Node, at string) {
			p.list(n, at, func(n *yaml.Node, path string) { v.SecurityGroups = append(v.SecurityGroups, p.securityGroup(n, path)) })
			if len(v.SecurityGroups) > maxVPCGroups {
				p.fail(n, at, "%d groups, %d are the most", len(v.SecurityGroups), maxVPCGroups)
			}
		},
		"subnets": func(n *yaml.Node, at string) {
			p.list(n, at, func(n *yaml.Node, path string) { v.Subnets = append(v.Subnets, p.subnet(n, path, "id", "cidr")) })
		},
	})
	p.need(n, path, "vpc", "cidr")
	p.c.Networks = append(p.c.Networks, v)
}

// subnet reads a part of a network; needed are the keys that it cannot be without.
func (p *parsing) subnet(n *yaml.Node, path string, needed ...string) Subnet {
	var s Subnet
	p.mapping(n, path, fields{
		"id":      p.set(func(n *yaml.Node, at string) { p.id(n, at, &s.ID) }),
		"cidr":    p.set(func(n *yaml.Node, at string) { p.prefix(n, at, &s.CIDR) }),
		"zone":    p.set(func(n *yaml.Node, at string) { p.id(n, at, &s.Zone) }),
		"address": p.set(func(n *yaml.Node, at string) { p.addr(n, at, &s.Address) }),
		"cidr_v6": p.set(func(n *yaml.Node, at string) { p.prefix(n, at, &s.CIDR6) }),
		"address_v6": p.set(func(n *yaml.Node, at string) {
			if s.Plain6 = n.Value == plainIPv6; !s.Plain6 {
				p.addr(n, at, &s.Address6)
			}
		}),
		"gateway":    p.set(func(n *yaml.Node, at string) { p.addr(n, at, &s.Gateway) }),
		"gateway_v6": p.set(func(n *yaml.Node, at string) { p.addr(n, at, &s.Gateway6) }),
		"interface": p.set(func(n *yaml.Node, at string) {
			p.text(n, at, &s.Interface)
			if len(s.Interface) > 15 || strings.ContainsAny(s.Interface, "/ \t:") {
				p.fail(n, at, "%q is not an interface name", s.Interface)
			}
		}),
	})
	p.need(n, path, needed...)
	return s
}

func (p *parsing) association(n *yaml.Node, path string) {
	var a Association
	p.mapping(n, path, fields{
		"subnet": p.set(func(n *yaml.Node, at string) { p.id(n, at, &a.Subnet) }),
		"security_groups": p.set(func(n *yaml.Node, at string) {
			p.list(n, at, p.set(func(n *yaml.Node, at string) {
				var id string
				p.id(n, at, &id)
				a.SecurityGroups = append(a.SecurityGroups, id)
			}))
		}),
	})
	p.need(n, path, "subnet")
	p.c.Associations = append(p.c.Associations, a)
}

func (p *parsing) route(n *yaml.Node, path string) {
	var r Route
	p.mapping(n, path, fields{
		"destination": p.set(func(n *yaml.Node, at string) { p.prefix(n, at, &r.Destination) }),
		"target":      p.set(func(n *yaml.Node, at string) { p.id(n, at, &r.Target) }),
	})
	p.need(n, path, "destination", "target")
	p.c.Routes = append(p.c.Routes, r)
}

func (p *parsing) rule(n *yaml.Node, path string) {
	var r Rule
	p.mapping(n, path, fields{
		"cidr": p.set(func(n *yaml.Node, at string) { p.prefix(n, at, &r.CIDR) }),
		"all":  p.set(func(n *yaml.Node, at string) { p.boolean(n, at, &r.All) }),
		"group": p.set(func(n *yaml.Node, at string) {
			if p.text(n, at, &r.Group); len(r.Group) > maxGroupID {
				p.fail(n, at, "is longer than %d bytes", maxGroupID)
			}
		}),
	})
	p.need(n, path, "cidr")
	switch _, group := p.at[path+".group"]; {
	case isMapping(n) && !group && !r.All:
		p.fail(n, path, "needs all: true or a group")
	case group && r.All:
		p.fail(n, path, "is for everyone or for a group, not both")
	}
	p.c.Rules = append(p.c.Rules, r)
}

// unusable says whether a client range touches addresses that no host may have.
func unusable(r netip.Prefix) bool {
	for _, bad := range []string{"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::1/128", "::/128", "fe80::/10", "ff00::/8"} {
		if netip.MustParsePrefix(bad).Overlaps(r) {
			return true
		}
	}
	return false
}

// overlap reports a range that shares addresses with the clients'. A range
// without limits (0.0.0.0/0) is a default route and always overlaps.
func (p *parsing) overlap(path, what string, r netip.Prefix) {
	if !r.IsValid() || r.Bits() == 0 {
		return
	}
	for _, own := range []netip.Prefix{p.c.ClientCIDR, p.c.ClientCIDR6} {
		if own.IsValid() && own.Overlaps(r) {
			p.fail(p.at[path], path, "%s %s overlaps the client range %s", what, r, own)
		}
	}
}

func (p *parsing) checkNetworks() {
	vpcs, subnets := map[string]bool{}, map[string]bool{}
	for i, v := range p.c.Networks {
		at := "networks[" + strconv.Itoa(i) + "]"
		if vpcs[v.ID] {
			p.fail(p.at[at+".vpc"], at+".vpc", "%s is defined twice", v.ID)
		}
		vpcs[v.ID] = true
		if v.CIDR6.IsValid() && !v.CIDR6.Addr().Is6() {
			p.fail(p.at[at+".cidr_v6"], at+".cidr_v6", "%s is not IPv6", v.CIDR6)
		}
		p.overlap(at+".cidr", "network", v.CIDR)
		p.overlap(at+".cidr_v6", "network", v.CIDR6)
		for j, s := range v.Subnets {
			at := at + ".subnets[" + strconv.Itoa(j) + "]"
			switch {
			case subnets[s.ID]:
				p.fail(p.at[at+".id"], at+".id", "%s is defined twice", s.ID)
			case s.ID == LocalTarget:
				p.fail(p.at[at+".id"], at+".id", "%s is the target of routes from client to client", s.ID)
			case s.ID == network.DemoSubnet && p.c.Network != "userspace":
				p.fail(p.at[at+".id"], at+".id", "the built-in network %s exists in userspace only", s.ID)
			case s.ID == network.DemoSubnet && s.CIDR != network.Demo():
				p.fail(p.at[at+".cidr"], at+".cidr", "the built-in network %s is %s", s.ID, network.Demo())
			}
			subnets[s.ID] = true
			p.checkSubnet(at, v, s)
		}
	}
}

// checkSubnet checks what a subnet says of itself.
func (p *parsing) checkSubnet(at string, v VPC, s Subnet) {
	if !within(s.CIDR, v.CIDR) && !within(s.CIDR, v.CIDR6) {
		p.fail(p.at[at+".cidr"], at+".cidr", "%s is not inside %s of %s", s.CIDR, v.CIDR, v.ID)
	}
	p.checkSubnet6(at, v, s)
	if s.Address.IsValid() && !s.CIDR.Contains(s.Address) {
		p.fail(p.at[at+".address"], at+".address", "%s is not inside %s", s.Address, s.CIDR)
	}
	p.checkGateway(at+".gateway", s, s.Gateway, s.CIDR)
	p.checkGateway(at+".gateway_v6", s, s.Gateway6, s.CIDR6)
}

// plainIPv6 is the address_v6 of a network that sees the clients' own addresses.
const plainIPv6 = "client"

// checkSubnet6 is checkNetworks for what a subnet has of IPv6 beside its IPv4.
func (p *parsing) checkSubnet6(at string, v VPC, s Subnet) {
	fail := func(key, format string, args ...any) { p.fail(p.at[at+key], at+key, format, args...) }
	switch {
	case !s.CIDR6.IsValid():
	case s.CIDR.Addr().Is6():
		fail(".cidr_v6", "cidr is IPv6 already")
	case !within(s.CIDR6, v.CIDR6):
		fail(".cidr_v6", "%s is not inside cidr_v6 of %s", s.CIDR6, v.ID)
	}
	switch {
	case s.Plain6 && p.c.Network != "kernel":
		fail(".address_v6", "%s needs network: kernel, the userspace network has sockets of its own", plainIPv6)
	case s.Address6.IsValid() && !(s.CIDR6.IsValid() && s.CIDR6.Contains(s.Address6)):
		fail(".address_v6", "%s is not inside cidr_v6 of the subnet", s.Address6)
	}
}

// checkGateway checks what leads beyond a part of a subnet.
func (p *parsing) checkGateway(path string, s Subnet, gateway netip.Addr, in netip.Prefix) {
	switch {
	case !gateway.IsValid():
	case !in.IsValid() || !in.Contains(gateway):
		p.fail(p.at[path], path, "%s is not inside the subnet's range of that family", gateway)
	case s.Interface == "" || p.c.Network != "kernel":
		p.fail(p.at[path], path, "needs an interface, and network: kernel")
	}
}

func (p *parsing) checkRoutes() {
	c := &p.c
	zones := map[string]string{} // VPC and zone → subnet
	vpc := ""
	associated := map[string]bool{}
	for i, a := range c.Associations {
		at := "associations[" + strconv.Itoa(i) + "].subnet"
		v, s, ok := c.subnet(a.Subnet)
		switch {
		case !ok:
			p.fail(p.at[at], at, "%s is not a subnet of networks", a.Subnet)
			continue
		case associated[a.Subnet]:
			p.fail(p.at[at], at, "%s is associated twice", a.Subnet)
			continue
		case vpc != "" && vpc != v.ID:
			p.fail(p.at[at], at, "%s is in %s, but the endpoint is in %s: all associations must be in one", a.Subnet, v.ID, vpc)
			continue
		}
		if s.CIDR.Addr().Is4() && s.CIDR.Bits() > sliceBits && !s.CIDR.IsSingleIP() {
			p.fail(p.at[at], at, "%s is smaller than /%d, which a target network must have at least (or be a single address)", s.CIDR, sliceBits)
		}
		if other := zones[s.Zone]; s.Zone != "" && other != "" {
			p.fail(p.at[at], at, "zone %s has an association already, with %s", s.Zone, other)
		}
		vpc, associated[a.Subnet], zones[s.Zone] = v.ID, true, a.Subnet
	}
	perTarget := map[string]int{}
	limit := func(at, target string) {
		if perTarget[target]++; perTarget[target] == maxRoutes+1 {
			p.fail(p.at[at+".target"], at+".target", "more than %d routes to %s", maxRoutes, target)
		}
	}
	type key struct {
		dst    netip.Prefix
		target string
	}
	seen := map[key]bool{}
	for i, r := range c.Routes {
		at := "routes[" + strconv.Itoa(i) + "]"
		k := key{r.Destination, r.Target}
		if seen[k] {
			p.fail(p.at[at+".destination"], at+".destination", "%s to %s is listed twice", r.Destination, r.Target)
		}
		seen[k] = true
		if r.Target == LocalTarget {
			if !within(r.Destination, c.ClientCIDR) && !within(r.Destination, c.ClientCIDR6) {
				p.fail(p.at[at+".destination"], at+".destination", "%s is not inside the client range: target local leads from client to client", r.Destination)
			}
			limit(at, r.Target)
			continue
		}
		p.overlap(at+".destination", "route", r.Destination)
		if !associated[r.Target] {
			p.fail(p.at[at+".target"], at+".target", "%s is not associated", r.Target)
		}
		if v, _, _ := c.subnet(r.Target); associated[r.Target] && slices.Contains(v.ranges(), r.Destination) {
			p.fail(p.at[at+".destination"], at+".destination", "the association with %s adds the route to %s itself", r.Target, r.Destination)
		}
		limit(at, r.Target)
	}
	if len(c.Rules) > maxRules {
		p.fail(p.at["authorization_rules"], "authorization_rules", "more than %d rules", maxRules)
	}
	rules := map[Rule]bool{}
	for i, r := range c.Rules {
		at := "authorization_rules[" + strconv.Itoa(i) + "].cidr"
		switch {
		case rules[r] && r.All:
			p.fail(p.at[at], at, "%s is listed twice", r.CIDR)
		case rules[r]:
			p.fail(p.at[at], at, "%s is listed twice for %s", r.CIDR, r.Group)
		}
		rules[r] = true
	}
}

// within says whether all of p is in r, which may be invalid: nothing is.
func within(p, r netip.Prefix) bool {
	return r.IsValid() && r.Bits() <= p.Bits() && r.Contains(p.Addr())
}
