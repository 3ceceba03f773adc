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
			a := newAccess(tt.rules, nil, prefixes(tt.routes...), prefixes("10.64.0.0/22"))
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

// TestGroups: of AWS's scenarios those with groups. The rules of the longest range that matches decide
// alone; who is in none of their groups is denied, though a wider range is open to all.
func TestGroups(t *testing.T) {
	rule := func(cidr, group string) Rule {
		return Rule{CIDR: netip.MustParsePrefix(cidr), Group: group, All: group == ""}
	}
	rules := []Rule{
		rule("0.0.0.0/0", "S-1-5-21-1-2-3-1001"), rule("10.0.0.0/16", ""), rule("10.0.1.0/24", "S-1-5-21-1-2-3-1002"), rule("10.0.1.0/24", "admins"),
		rule("10.0.1.9/32", "S-1-5-21-1-2-3-1001"),
	}
	g := newGrants(rules)
	g.reachable, g.closed = [][]netip.Prefix{prefixes("0.0.0.0/0"), prefixes("10.0.0.0/8")}, prefixes("10.64.0.0/22")
	for _, tt := range []struct {
		name        string
		association int
		groups      []string
		yes, no     []string
	}{
		{"none", 0, nil, []string{"10.0.0.1"}, []string{"10.0.1.1", "10.0.1.9", "192.0.2.1", "10.64.0.1"}},
		{"unknown", 0, []string{"", "others", "S-1-5-21-1-2-3-100"}, []string{"10.0.0.1"}, []string{"10.0.1.1", "10.0.1.9", "192.0.2.1"}},
		{"internet", 0, []string{"S-1-5-21-1-2-3-1001"}, []string{"10.0.0.1", "10.0.1.9", "192.0.2.1"}, []string{"10.0.1.1", "10.64.0.1"}},
		{"internet without a route", 1, []string{"S-1-5-21-1-2-3-1001"}, []string{"10.0.0.1", "10.0.1.9"}, []string{"10.0.1.1", "192.0.2.1"}},
		{"second rule of a range", 0, []string{"x", "admins"}, []string{"10.0.0.1", "10.0.1.1"}, []string{"10.0.1.9", "192.0.2.1"}},
		{"both", 0, []string{"S-1-5-21-1-2-3-1002", "S-1-5-21-1-2-3-1001", "x"}, []string{"10.0.1.1", "10.0.1.9", "192.0.2.1"}, []string{"10.64.0.1"}},
		{"case", 0, []string{"Admins"}, []string{"10.0.0.1"}, []string{"10.0.1.1"}},
	} {
		a := g.of(tt.association, tt.groups)
		for _, s := range tt.yes {
			if !a.allowed(netip.MustParseAddr(s)) {
				t.Errorf("%s: %s must pass", tt.name, s)
			}
		}
		for _, s := range tt.no {
			if a.allowed(netip.MustParseAddr(s)) {
				t.Errorf("%s: %s must not pass", tt.name, s)
			}
		}
	}
	if g.of(0, []string{"x", "admins"}) != g.of(0, []string{"admins", "admins", "y"}) || g.of(0, nil) == g.of(1, nil) {
		t.Error("clients that have the same groups share one access, and others none")
	}
	for i := range 2 * maxGrants {
		g.reachable = append(g.reachable, nil)
		g.of(i, nil)
	}
	if len(g.made) > maxGrants {
		t.Errorf("%d are kept", len(g.made))
	}
}
