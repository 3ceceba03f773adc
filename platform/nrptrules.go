package platform

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/routes"
)

// nrptRule is one rule: the key's name and its values.
type nrptRule struct {
	key    string
	values map[string]any
}

// rules are those that the tunnels want, in their order.
func (s nrptState) rules() []nrptRule {
	var out []nrptRule
	taken := map[string]bool{}
	for _, t := range s.Tunnels.ordered() {
		if len(t.DNS.Servers) == 0 {
			continue
		}
		var names []string
		add := func(name string) {
			if !taken[name] {
				taken[name] = true
				names = append(names, name)
			}
		}
		domains := t.DNS.Split
		if t.all() && !taken["."] {
			add(".")
		} else if t.all() { // another one has them all: what is named as its own stays
			domains = t.DNS.Search
		}
		for _, d := range domains {
			// With a dot in front it is all names in the domain, without it the domain's own.
			d = strings.ToLower(strings.TrimSuffix(d, "."))
			add("." + d)
			add(d)
		}
		for i, part := range slices.Collect(slices.Chunk(names, nrptMost)) {
			out = append(out, t.nrptRule(i, part))
		}
	}
	return out
}

// nrptRule is the tunnel's rule number i, for names.
func (t tunnelDNS) nrptRule(i int, names []string) nrptRule {
	servers := make([]string, 0, len(t.DNS.Servers))
	for _, s := range t.DNS.Servers {
		servers = append(servers, s.Addr().Unmap().String())
	}
	v := map[string]any{
		"Version": uint32(2), "Name": names, "GenericDNSServers": strings.Join(servers, ";"), "ConfigOptions": uint32(nrptServers),
		"Comment": nrptComment + t.Name, "DisplayName": "Adit", "IPSECCARestriction": "",
	}
	if t.DNS.DNSSEC == "yes" {
		v["ConfigOptions"] = uint32(nrptServers | nrptDNSSEC)
		v["DNSSECValidationRequired"], v["DNSSECQueryIPSECRequired"], v["DNSSECQueryIPSECEncryption"] = uint32(1), uint32(0), uint32(0)
	}
	return nrptRule{key: guidOf("nrpt", t.Name, fmt.Sprint(i)), values: v}
}

// expressible refuses what Windows' DNS client cannot do.
func expressible(d routes.DNS) error {
	for _, s := range d.Servers {
		if s.Port() != 53 {
			return fmt.Errorf("a DNS port other than 53 (%s) cannot be set on Windows", s)
		}
		if s.Addr().Zone() != "" {
			return fmt.Errorf("a DNS server of a local network (%s) cannot be set on Windows", s.Addr())
		}
	}
	if d.Transport == "DoT" {
		return errors.New("DNS over TLS cannot be set on Windows")
	}
	return nil
}
