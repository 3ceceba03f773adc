package endpoint

import (
	"net/netip"
	"testing"
)

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// TestAccess follows AWS's worked scenarios: the longest prefix of any rule
// decides alone, and a route must exist besides.
func TestAccess(t *testing.T) {
	everyone := func(list ...string) (rules []Rule) {
		for _, p := range prefixes(list...) {
			rules = append(rules, Rule{CIDR: p, All: true})
		}
		return rules
	}
	for _, tt := range []struct {
		name    string
		rules   []Rule
		routes  []string
		yes, no []string
	}{
		{"no rule, nothing passes", nil, []string{"10.0.0.0/16"}, nil, []string{"10.0.0.1", "8.8.8.8"}},
		{"one network", everyone("10.0.0.0/16"), []string{"10.0.0.0/16", "0.0.0.0/0"}, []string{"10.0.255.255"}, []string{"10.1.0.0", "8.8.8.8", "fd00::1"}},
		{"rule without a route", everyone("0.0.0.0/0"), []string{"10.0.0.0/16"}, []string{"10.0.0.1"}, []string{"10.1.0.1", "8.8.8.8"}},
		{"route without a rule", everyone("10.0.0.0/24"), []string{"10.0.0.0/16"}, []string{"10.0.0.1"}, []string{"10.0.1.1"}},
		{"full tunnel", everyone("0.0.0.0/0"), []string{"10.0.0.0/16", "0.0.0.0/0"}, []string{"10.0.0.1", "8.8.8.8"}, []string{"10.64.0.5"}},
		{"a rule inside the closed range opens nothing", everyone("0.0.0.0/0", "10.64.0.0/22", "10.64.0.0/24", "10.64.0.5/32"), []string{"0.0.0.0/0"}, []string{"8.8.8.8"}, []string{"10.64.0.5", "10.64.0.6", "10.64.3.1"}},
		{
			"the longest prefix decides, though a shorter one would allow",
			[]Rule{{CIDR: netip.MustParsePrefix("0.0.0.0/0"), All: true}, {CIDR: netip.MustParsePrefix("10.0.1.0/24")}},
			[]string{"0.0.0.0/0"},
			[]string{"10.0.0.1", "10.0.2.1"},
			[]string{"10.0.1.1"},
		},
		{
			"a longer rule inside a closed one opens it again",
			[]Rule{{CIDR: netip.MustParsePrefix("10.0.0.0/8")}, {CIDR: netip.MustParsePrefix("10.0.1.0/24"), All: true}},
			[]string{"10.0.0.0/16"},
			[]string{"10.0.1.7"},
			[]string{"10.0.0.1", "10.9.0.1"},
		},
		{"IPv6", everyone("fd00:a::/48"), []string{"fd00:a::/32"}, []string{"fd00:a::1"}, []string{"fd00:a:1::1", "10.0.0.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccess(tt.rules, prefixes(tt.routes...), prefixes("10.64.0.0/22"))
			for _, s := range tt.yes {
				if !a.allowed(netip.MustParseAddr(s)) {
					t.Errorf("%s must pass", s)
				}
			}
			for _, s := range tt.no {
				if a.allowed(netip.MustParseAddr(s)) {
					t.Errorf("%s must not pass", s)
				}
			}
		})
	}
}
