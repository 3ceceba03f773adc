package push

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

const (
	maxServers = 8 // per dns server id, and in all
	maxDomains = 256
	dnsPort    = 53
)

// dnsServer is one group of "dns server ID …" options.
type dnsServer struct {
	addresses []netip.AddrPort
	domains   []string
	dnssec    string
	transport string
	sni       string
}

// IsDomain reports a host or domain name of letters, digits, - and _ that is
// safe to hand to any resolver configuration (CVE-2025-10680). A final dot is allowed.
func IsDomain(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isToken(label) || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

func domain(s string) (string, error) {
	if !IsDomain(s) {
		return "", fmt.Errorf("%q is not a domain name", shorten(s))
	}
	return strings.TrimSuffix(s, "."), nil
}

// dhcpOption reports whether this dhcp-option is one that we act on.
func (p *parser) dhcpOption(args []string) (known bool, err error) {
	if len(args) == 0 {
		return true, errors.New("want a type and a value")
	}
	value := ""
	if len(args) == 2 {
		value = args[1]
	}
	kind := args[0]
	if p.own { // openvpn wants capitals, and so do the rules of a pull-filter
		kind = strings.ToUpper(kind)
	}
	var list *[]string
	switch kind {
	case "DNS", "DNS6":
		address := address4
		if a, err := netip.ParseAddr(value); err == nil && a.Is6() { // openvpn takes both under DNS
			address = address6
		}
		if kind == "DNS6" {
			address = address6
		}
		a, err := address(value)
		if err != nil {
			return true, err
		}
		return true, p.addServer(&p.dhcp, netip.AddrPortFrom(a, dnsPort))
	case "DOMAIN", "ADAPTER_DOMAIN_SUFFIX":
		list = &p.domains
	case "DOMAIN-SEARCH":
		list = &p.search
	case "DOMAIN-ROUTE":
		if value == "." {
			p.routeAll = true
			return true, nil
		}
		list = &p.split
	default:
		return false, nil
	}
	return true, addDomains(list, args[1:])
}

func addDomains(list *[]string, names []string) error {
	if len(names) == 0 {
		return errors.New("want a domain name")
	}
	for _, name := range names {
		d, err := domain(name)
		if err != nil {
			return err
		}
		if len(*list) == maxDomains {
			return fmt.Errorf("more than %d domains", maxDomains)
		}
		if !slices.Contains(*list, d) {
			*list = append(*list, d)
		}
	}
	return nil
}

func (p *parser) addServer(list *[]netip.AddrPort, server netip.AddrPort) error {
	if a := server.Addr(); !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
		return fmt.Errorf("%s cannot be a DNS server", a)
	}
	if slices.Contains(*list, server) {
		return nil
	}
	if len(*list) == maxServers {
		return fmt.Errorf("more than %d servers", maxServers)
	}
	*list = append(*list, server)
	return nil
}

// dns reads: dns search-domains D…; dns server ID address|resolve-domains|dnssec|transport|sni V….
func (p *parser) dns(args []string) error {
	switch {
	case len(args) >= 2 && args[0] == "search-domains":
		return addDomains(&p.dnsSearch, args[1:])
	case len(args) < 4 || args[0] != "server":
		return errors.New("want search-domains, or server with id, property and value")
	}
	low := 0
	if p.own {
		low = -128
	}
	id, err := oneNumber(args[1:2], low, 127)
	if err != nil {
		return fmt.Errorf("server id: %w", err)
	}
	server := p.dnsServers[id]
	if server == nil {
		server = &dnsServer{}
		p.dnsServers[id] = server
	}
	property, values := args[2], args[3:]
	switch property {
	case "address":
		for _, value := range values {
			a, err := serverAddress(value)
			if err != nil {
				return err
			}
			if err := p.addServer(&server.addresses, a); err != nil {
				return err
			}
		}
		return nil
	case "resolve-domains":
		return addDomains(&server.domains, values)
	case "dnssec":
		return word(&server.dnssec, values, "yes", "optional", "no")
	case "transport":
		return word(&server.transport, values, "plain", "DoT", "DoH")
	case "sni":
		if len(values) != 1 {
			return errors.New("sni wants one name")
		}
		server.sni, err = domain(values[0])
		return err
	}
	return fmt.Errorf("unknown property %q", shorten(property))
}

func word(into *string, values []string, allowed ...string) error {
	if len(values) == 1 {
		for _, w := range allowed {
			if strings.EqualFold(w, values[0]) {
				*into = w
				return nil
			}
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(allowed, ", "))
}

// serverAddress reads an address with an optional port: 192.0.2.1, 192.0.2.1:53, 2001:db8::1, [2001:db8::1]:53.
func serverAddress(s string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	server := netip.AddrPortFrom(a, dnsPort)
	if err != nil {
		if server, err = netip.ParseAddrPort(s); err != nil || server.Port() == 0 {
			return netip.AddrPort{}, fmt.Errorf("%q is not an address with an optional port", shorten(s))
		}
	}
	if a := server.Addr(); a.Zone() != "" || a.Is4In6() {
		return netip.AddrPort{}, errFamily
	}
	return server, nil
}

// finishDNS merges: the dns server group with the lowest id that has an address
// replaces the servers of dhcp-option; search domains add up.
func (p *parser) finishDNS() {
	d := &p.r.DNS
	d.Servers, d.Split = p.dhcp, p.split
	if p.routeAll {
		d.Split = nil
	}
	ids := make([]int, 0, len(p.dnsServers))
	for id := range p.dnsServers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	used := false
	for _, id := range ids {
		s := p.dnsServers[id]
		switch {
		case len(s.addresses) == 0:
			p.note("dns", fmt.Sprintf("server %d has no address; ignored", id))
		case used:
			p.note("dns", fmt.Sprintf("server %d: only the lowest id applies; ignored", id))
		default:
			used = true
			if len(p.dhcp) > 0 && !slices.Equal(p.dhcp, s.addresses) {
				p.note("dhcp-option", "dns server options replace its servers")
			}
			d.Servers, d.Split, d.DNSSEC, d.Transport, d.SNI = s.addresses, s.domains, s.dnssec, s.transport, s.sni
		}
	}
	for _, name := range slices.Concat(p.domains, p.search, p.dnsSearch) {
		if !slices.Contains(d.Search, name) {
			d.Search = append(d.Search, name)
		}
	}
}
