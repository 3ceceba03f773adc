package endpoint

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/adit-vpn/adit/endpoint/network"
)

// SecurityGroup is one of a VPC: what its members may begin (Egress), and what may be begun with them (Ingress). Of an
// endpoint's associations Egress alone counts: nothing in the network begins anything with their addresses.
type SecurityGroup struct {
	ID, Description string
	Ingress, Egress []SecurityRule
}

// SecurityRule allows something. Exactly one of CIDR and Group is set.
type SecurityRule struct {
	Protocol    string // "tcp", "udp", "icmp", "icmpv6" or "all"
	First, Last uint16 // destination ports of tcp and udp, both included
	CIDR        netip.Prefix
	Group       string // id in the same VPC: the addresses of the associations that carry it
	Description string
}

// AWS's limits, but for maxVPCGroups, which is ours.
const (
	maxVPCGroups    = 500
	maxGroups       = 5  // of an association
	maxGroupRules   = 60 // of a group and direction
	maxGroupComment = 255
)

// movedGroups says where security groups are declared.
func (p *parsing) movedGroups(n *yaml.Node, path string) {
	if !isNull(n) && (n.Kind != yaml.SequenceNode || len(n.Content) > 0) {
		p.fail(n, path, "belongs into its VPC: networks: [{vpc: …, security_groups: […]}]")
	}
}

func (p *parsing) securityGroup(n *yaml.Node, path string) SecurityGroup {
	var g SecurityGroup
	rules := func(into *[]SecurityRule) func(*yaml.Node, string) {
		return p.set(func(n *yaml.Node, at string) {
			p.list(n, at, func(n *yaml.Node, at string) { *into = append(*into, p.securityRule(n, at)) })
			if len(*into) > maxGroupRules {
				p.fail(n, at, "%d rules, %d are the most", len(*into), maxGroupRules)
			}
		})
	}
	p.mapping(n, path, fields{
		"id":          p.set(func(n *yaml.Node, at string) { p.id(n, at, &g.ID) }),
		"description": func(n *yaml.Node, at string) { p.comment(n, at, &g.Description) },
		"ingress":     rules(&g.Ingress),
		"egress":      rules(&g.Egress),
	})
	p.need(n, path, "id")
	return g
}

// comment is text for people.
func (p *parsing) comment(n *yaml.Node, path string, into *string) {
	if p.text(n, path, into); utf8.RuneCountInString(*into) > maxGroupComment {
		p.fail(n, path, "is longer than %d characters", maxGroupComment)
	}
}

func (p *parsing) securityRule(n *yaml.Node, path string) SecurityRule {
	r := SecurityRule{Last: 65535}
	p.mapping(n, path, fields{
		"protocol":    p.set(func(n *yaml.Node, at string) { p.word(n, at, &r.Protocol, "tcp", "udp", "icmp", "icmpv6", "all") }),
		"ports":       p.set(func(n *yaml.Node, at string) { p.ports(n, at, &r) }),
		"cidr":        p.set(func(n *yaml.Node, at string) { p.prefix(n, at, &r.CIDR) }),
		"group":       p.set(func(n *yaml.Node, at string) { p.id(n, at, &r.Group) }),
		"description": func(n *yaml.Node, at string) { p.comment(n, at, &r.Description) },
	})
	p.need(n, path, "protocol")
	if !isMapping(n) {
		return r
	}
	switch cidr, group := p.at[path+".cidr"], p.at[path+".group"]; {
	case cidr == nil && group == nil:
		p.fail(n, path, "needs a cidr or a group")
	case cidr != nil && group != nil:
		p.fail(n, path, "is for a cidr or for a group, not both")
	}
	if at := path + ".ports"; p.at[at] != nil && r.Protocol != "tcp" && r.Protocol != "udp" && r.Protocol != "" {
		p.fail(p.at[at], at, "%s has no ports", r.Protocol)
	}
	if r.CIDR.IsValid() && (r.Protocol == "icmp" && r.CIDR.Addr().Is6() || r.Protocol == "icmpv6" && r.CIDR.Addr().Is4()) {
		p.fail(p.at[path+".cidr"], path+".cidr", "%s is not for %s", r.Protocol, r.CIDR)
	}
	return r
}

// ports reads 443 or 8000-8100.
func (p *parsing) ports(n *yaml.Node, path string, r *SecurityRule) {
	low, high, several := strings.Cut(n.Value, "-")
	if !several {
		high = low
	}
	first, err1 := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	if n.Kind != yaml.ScalarNode || err1 != nil || err2 != nil || first > last {
		p.fail(n, path, "%q is neither a port nor a range like 8000-8100", n.Value)
		return
	}
	r.First, r.Last = uint16(first), uint16(last)
}

// checkGroups is what concerns more than one security group.
func (p *parsing) checkGroups() {
	defined := map[string]bool{}
	for i, v := range p.c.Networks {
		for j, g := range v.SecurityGroups {
			at := "networks[" + strconv.Itoa(i) + "].security_groups[" + strconv.Itoa(j) + "]"
			if defined[g.ID] {
				p.fail(p.at[at+".id"], at+".id", "%s is defined twice", g.ID)
			}
			defined[g.ID] = true
			for _, direction := range []struct {
				name  string
				rules []SecurityRule
			}{{"ingress", g.Ingress}, {"egress", g.Egress}} {
				for k, r := range direction.rules {
					at := at + "." + direction.name + "[" + strconv.Itoa(k) + "].group"
					if _, ok := v.securityGroup(r.Group); r.Group != "" && !ok {
						p.fail(p.at[at], at, "%s is not a security group of %s", r.Group, v.ID)
					}
				}
			}
		}
	}
	for i, a := range p.c.Associations {
		at := "associations[" + strconv.Itoa(i) + "].security_groups"
		v, _, ok := p.c.subnet(a.Subnet)
		if !ok {
			continue // said already
		}
		if len(a.SecurityGroups) > maxGroups {
			p.fail(p.at[at], at, "%d groups, %d are the most", len(a.SecurityGroups), maxGroups)
		}
		for j, id := range a.SecurityGroups {
			at := at + "[" + strconv.Itoa(j) + "]"
			if _, ok := v.securityGroup(id); !ok {
				p.fail(p.at[at], at, "%s is not a security group of %s", id, v.ID)
			} else if slices.Contains(a.SecurityGroups[:j], id) {
				p.fail(p.at[at], at, "%s is listed twice", id)
			}
		}
	}
}

func (v VPC) securityGroup(id string) (SecurityGroup, bool) {
	i := slices.IndexFunc(v.SecurityGroups, func(g SecurityGroup) bool { return g.ID == id })
	if i < 0 {
		return SecurityGroup{}, false
	}
	return v.SecurityGroups[i], true
}

// permits are the egress rules of the groups that a carries, with groups as the addresses of their members.
func (c *Config) permits(a Association) []network.Permit {
	protocols := map[string]uint8{"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58} // IANA
	v, _, _ := c.subnet(a.Subnet)
	var out []network.Permit
	for _, id := range a.SecurityGroups {
		g, _ := v.securityGroup(id)
		for _, r := range g.Egress {
			to := []netip.Prefix{r.CIDR}
			if r.Group != "" {
				to = c.members(r.Group)
			}
			for _, p := range to {
				out = append(out, network.Permit{Protocol: protocols[r.Protocol], First: r.First, Last: r.Last, To: p})
			}
		}
	}
	return out
}

// members are the addresses of the associations that carry a group.
func (c *Config) members(group string) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range c.Associations {
		_, s, _ := c.subnet(a.Subnet)
		for _, addr := range []netip.Addr{s.Address, s.Address6} {
			if slices.Contains(a.SecurityGroups, group) && addr.IsValid() {
				out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
			}
		}
	}
	return out
}
