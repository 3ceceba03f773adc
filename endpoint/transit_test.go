package endpoint

import (
	"net/netip"
	"slices"
	"testing"
)

// TestTransit: behind a transit gateway only routes lead, through each zone, and clients reach nothing else.
func TestTransit(t *testing.T) {
	r := start(t, "udp")
	cfg := r.config(t, r.text)
	p := netip.MustParsePrefix
	cfg.Networks = []VPC{{ID: "tgw-0", CIDR: p("10.99.0.0/24"), CIDR6: p("fd99::/64"), Transit: true,
		Subnets: []Subnet{{ID: "tgw-0.a", CIDR: p("10.99.0.0/27"), Zone: "a"}, {ID: "tgw-0.b", CIDR: p("10.99.0.32/27"), Zone: "b", Plain4: true}}}}
	cfg.Associations = []Association{{Subnet: "tgw-0.a"}, {Subnet: "tgw-0.b"}}
	cfg.Routes = []Route{{p("10.1.0.0/16"), "tgw-0.a"}, {p("10.1.0.0/16"), "tgw-0.b"}, {p("10.99.0.0/24"), "tgw-0.a"}} // its own range, too, wants a route
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	g, err := newGeneration(cfg, nil, r.leave)
	if err != nil {
		t.Fatal(err)
	}
	a := g.wanted.Associations
	if len(a) != 2 || len(a[0].Networks)+len(a[1].Networks) != 0 || a[0].Plain4 || !a[1].Plain4 || len(g.wanted.Routes) != 3 {
		t.Errorf("%+v, %+v", a, g.wanted.Routes)
	}
	if got := g.routes(); !slices.Equal(got, []netip.Prefix{p("10.1.0.0/16"), p("10.99.0.0/24")}) {
		t.Errorf("pushed %v", got)
	}
	if got := g.access.reachable["tgw-0.b"]; !slices.Equal(got, []netip.Prefix{p("10.1.0.0/16")}) {
		t.Errorf("reachable %v", got)
	}
}
