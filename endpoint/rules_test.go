package endpoint

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
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
			a := newAccess(tt.rules, nil, prefixes(tt.routes...), prefixes("10.64.0.0/22"), nil)
			for _, s := range tt.yes {
				if a.way(netip.MustParseAddr(s)) != toNetwork {
					t.Errorf("%s must pass", s)
				}
			}
			for _, s := range tt.no {
				if a.way(netip.MustParseAddr(s)) != dropped {
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
	g.reachable, g.clients = map[string][]netip.Prefix{"a": prefixes("0.0.0.0/0"), "b": prefixes("10.0.0.0/8")}, prefixes("10.64.0.0/22")
	for _, tt := range []struct {
		name        string
		association string
		groups      []string
		yes, no     []string
	}{
		{"none", "a", nil, []string{"10.0.0.1"}, []string{"10.0.1.1", "10.0.1.9", "192.0.2.1", "10.64.0.1"}},
		{"unknown", "a", []string{"", "others", "S-1-5-21-1-2-3-100"}, []string{"10.0.0.1"}, []string{"10.0.1.1", "10.0.1.9", "192.0.2.1"}},
		{"internet", "a", []string{"S-1-5-21-1-2-3-1001"}, []string{"10.0.0.1", "10.0.1.9", "192.0.2.1"}, []string{"10.0.1.1", "10.64.0.1"}},
		{"internet without a route", "b", []string{"S-1-5-21-1-2-3-1001"}, []string{"10.0.0.1", "10.0.1.9"}, []string{"10.0.1.1", "192.0.2.1"}},
		{"second rule of a range", "a", []string{"x", "admins"}, []string{"10.0.0.1", "10.0.1.1"}, []string{"10.0.1.9", "192.0.2.1"}},
		{"both", "a", []string{"S-1-5-21-1-2-3-1002", "S-1-5-21-1-2-3-1001", "x"}, []string{"10.0.1.1", "10.0.1.9", "192.0.2.1"}, []string{"10.64.0.1"}},
		{"case", "a", []string{"Admins"}, []string{"10.0.0.1"}, []string{"10.0.1.1"}},
	} {
		a := g.of(tt.association, tt.groups)
		for _, s := range tt.yes {
			if a.way(netip.MustParseAddr(s)) != toNetwork {
				t.Errorf("%s: %s must pass", tt.name, s)
			}
		}
		for _, s := range tt.no {
			if a.way(netip.MustParseAddr(s)) != dropped {
				t.Errorf("%s: %s must not pass", tt.name, s)
			}
		}
	}
	if g.of("a", []string{"x", "admins"}) != g.of("a", []string{"admins", "admins", "y"}) || g.of("a", nil) == g.of("b", nil) {
		t.Error("clients that have the same groups share one access, and others none")
	}
	for i := range 2 * maxGrants {
		g.of(strconv.Itoa(i), nil)
	}
	if len(g.made) > maxGrants {
		t.Errorf("%d are kept", len(g.made))
	}
}

// TestAWSScenarios are the seven worked scenarios of AWS's administrator guide ("Example scenarios for authorization
// rules"): who may reach what, with rules that each scenario adds to or changes from the one before.
func TestAWSScenarios(t *testing.T) {
	const engineering, development, manager, admin = "S-xxxxx14", "S-xxxxx15", "S-xxxxx16", "S-xxxxx17"
	rule := func(cidr, group string) Rule {
		return Rule{CIDR: netip.MustParsePrefix(cidr), Group: group, All: group == ""}
	}
	office, officePart, vpc, host, own := "172.16.0.0/24", "172.16.0.128/25", "10.0.0.0/16", "10.0.2.119/32", "192.168.0.0/24"
	anywhere := "0.0.0.0/0"
	two := []Rule{rule(office, engineering), rule(vpc, development), rule(anywhere, manager)}
	three := append(two[:3:3], rule(host, manager))
	four := append(three[:4:4], rule(officePart, engineering))
	five := append(four[:5:5], rule(anywhere, engineering))
	six := append(five[:6:6], rule(own, manager))
	seven := append(six[:7:7], rule(anywhere, ""))
	destinations := map[string]string{"office": "172.16.0.7", "part": "172.16.0.200", "vpc": "10.0.2.118", "host": "10.0.2.119", "own": "192.168.0.9", "internet": "198.51.100.7"}
	for i, tt := range []struct {
		rules []Rule
		may   map[string][]string // group → destinations
	}{
		{[]Rule{rule(office, engineering), rule(vpc, development), rule(own, manager)}, map[string][]string{
			engineering: {"office", "part"}, development: {"vpc", "host"}, manager: {"own"}, admin: nil}},
		{two, map[string][]string{engineering: {"office", "part"}, development: {"vpc", "host"}, manager: {"own", "internet"}, admin: nil}},
		{three, map[string][]string{engineering: {"office", "part"}, development: {"vpc"}, manager: {"own", "internet", "host"}, admin: nil}},
		{four, map[string][]string{engineering: {"office", "part"}, development: {"vpc"}, manager: {"own", "internet", "host"}, admin: nil}},
		{five, map[string][]string{engineering: {"office", "part", "own", "internet"}, development: {"vpc"}, manager: {"own", "internet", "host"}, admin: nil}},
		{six, map[string][]string{engineering: {"office", "part", "internet"}, development: {"vpc"}, manager: {"own", "internet", "host"}, admin: nil}},
		// All others "can access the public internet, but not any other destination networks defined in the other rules"; so may development.
		{seven, map[string][]string{engineering: {"office", "part", "internet"}, development: {"vpc", "internet"}, manager: {"own", "internet", "host"}, admin: {"internet"}}},
	} {
		for group, may := range tt.may {
			a := newAccess(tt.rules, []string{group}, prefixes(anywhere, own), prefixes("10.64.0.0/22"), nil)
			for name, addr := range destinations {
				want := dropped
				for _, m := range may {
					if m == name {
						want = toNetwork
					}
				}
				if got := a.way(netip.MustParseAddr(addr)); got != want {
					t.Errorf("scenario %d: group %s to %s (%s): %d, want %d", i+1, group, name, addr, got, want)
				}
			}
		}
	}
}

// oracle is access in the slowest and plainest way: look at all rules, then at all routes.
func oracle(rules []Rule, groups []string, reachable, clients, local []netip.Prefix, dst netip.Addr) way {
	longest, allowed := -1, false
	for _, r := range rules {
		if !r.CIDR.Contains(dst) || r.CIDR.Bits() < longest {
			continue
		}
		if r.CIDR.Bits() > longest {
			longest, allowed = r.CIDR.Bits(), false
		}
		if r.All {
			allowed = true
		}
		for _, g := range groups {
			if g == r.Group && g != "" {
				allowed = true
			}
		}
	}
	if !allowed {
		return dropped
	}
	for _, p := range local {
		if p.Contains(dst) {
			return toClients
		}
	}
	for _, p := range clients {
		if p.Contains(dst) {
			return dropped
		}
	}
	for _, p := range reachable {
		if p.Contains(dst) {
			return toNetwork
		}
	}
	return dropped
}

// TestRulesAgainstOracle compares random rules, routes, groups and destinations, in ranges so narrow that they overlap.
func TestRulesAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	addr := func(six bool) netip.Addr {
		if six {
			b := netip.MustParseAddr("fd00::").As16()
			b[7], b[15] = byte(r.UintN(4)), byte(r.UintN(256))
			return netip.AddrFrom16(b)
		}
		return netip.AddrFrom4([4]byte{10, byte(r.UintN(2)) * 64, byte(r.UintN(4)), byte(r.UintN(256))})
	}
	prefix := func() netip.Prefix {
		a := addr(r.UintN(4) == 0)
		bits := []int{0, 8, 9, 16, 21, 22, 23, 24, 25, 28, 31, 32}[r.UintN(12)]
		if a.Is6() {
			bits = []int{0, 32, 56, 62, 63, 64, 120, 124, 127, 128}[r.UintN(10)]
		}
		p, err := a.Prefix(bits)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	list := func(most uint) (out []netip.Prefix) {
		for range r.UintN(most + 1) {
			out = append(out, prefix())
		}
		return out
	}
	clients := prefixes("10.64.0.0/22", "fd00:0:0:2::/64")
	names := []string{"a", "b", "c", "d"}
	seen := map[way]int{}
	for set := range 10_000 {
		var rules []Rule
		for range r.UintN(25) {
			rule := Rule{CIDR: prefix(), All: r.UintN(4) == 0}
			if !rule.All {
				rule.Group = names[r.UintN(4)]
			}
			rules = append(rules, rule)
		}
		var groups []string
		for _, n := range names {
			if r.UintN(3) == 0 {
				groups = append(groups, n)
			}
		}
		reachable := list(6)
		if r.UintN(2) == 0 {
			reachable = append(reachable, prefixes("0.0.0.0/0", "::/0")...)
		}
		var local []netip.Prefix
		for _, p := range list(6) {
			if within(p, clients[0]) || within(p, clients[1]) {
				local = append(local, p)
			}
		}
		if r.UintN(3) == 0 {
			local = append(local, clients...)
		}
		g := newGrants(rules)
		g.reachable["s"], g.clients, g.local = reachable, clients, local
		a := g.of("s", groups)
		for range 40 {
			dst := addr(r.UintN(4) == 0)
			want := oracle(rules, groups, reachable, clients, local, dst)
			seen[want]++
			if got := a.way(dst); got != want {
				t.Fatalf("set %d: %s: %d, want %d\nrules %v\ngroups %v\nroutes %v\nlocal %v", set, dst, got, want, rules, groups, reachable, local)
			}
		}
	}
	for _, w := range []way{dropped, toNetwork, toClients} {
		if seen[w] < 10_000 {
			t.Errorf("only %d of 400000 destinations have the outcome %d: the sets say too little", seen[w], w)
		}
	}
}
