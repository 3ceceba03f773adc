package endpoint

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/network"
)

const grouped = `listen: 127.0.0.1:1194
client_cidr: 172.20.0.0/22
networks:
  - vpc: vpc-a
    cidr: 10.0.0.0/16
    cidr_v6: fd00:a::/48
    security_groups:
      - id: web
        description: Pages
        egress:
          - {protocol: tcp, ports: 443, cidr: 10.0.0.0/16}
          - {protocol: tcp, ports: 8000-8100, cidr: "fd00:a::/48", description: test machines}
          - {protocol: icmp, cidr: 0.0.0.0/0}
      - id: ends
        ingress: [{protocol: all, group: web}]
        egress: [{protocol: udp, group: ends}, {protocol: icmpv6, cidr: "::/0"}]
      - {id: nothing}
    subnets:
      - {id: subnet-a, cidr: 10.0.0.0/24, zone: a, address: 10.0.0.5}
      - {id: subnet-b, cidr: 10.0.1.0/24, zone: b, address: 10.0.1.5, cidr_v6: "fd00:a:0:1::/64", address_v6: "fd00:a:0:1::5"}
      - {id: subnet-c, cidr: 10.0.2.0/24, zone: c}
associations: [{subnet: subnet-a, security_groups: [web, ends]}, {subnet: subnet-b, security_groups: [ends, nothing]}, {subnet: subnet-c}]
`

func TestSecurityGroups(t *testing.T) {
	c, err := ParseConfig("f.yaml", []byte(grouped))
	if err != nil {
		t.Fatal(err)
	}
	p := netip.MustParsePrefix
	ends := []network.Permit{{Protocol: 17, Last: 65535, To: p("10.0.0.5/32")}, {Protocol: 17, Last: 65535, To: p("10.0.1.5/32")}, {Protocol: 17, Last: 65535, To: p("fd00:a:0:1::5/128")}, {Protocol: 58, Last: 65535, To: p("::/0")}}
	want := [][]network.Permit{
		append([]network.Permit{{Protocol: 6, First: 443, Last: 443, To: p("10.0.0.0/16")}, {Protocol: 6, First: 8000, Last: 8100, To: p("fd00:a::/48")}, {Protocol: 1, Last: 65535, To: p("0.0.0.0/0")}}, ends...),
		ends, nil,
	}
	for i, a := range c.Associations {
		if got := c.permits(a); !slices.Equal(got, want[i]) {
			t.Errorf("%s: %v, want %v", a.Subnet, got, want[i])
		}
	}
	if g := c.Networks[0].SecurityGroups; g[0].Description != "Pages" || g[1].Ingress[0] != (SecurityRule{Protocol: "all", Last: 65535, Group: "web"}) ||
		g[0].Egress[1].Description != "test machines" || len(g[2].Egress) != 0 {
		t.Errorf("%+v", g)
	}
}

func TestBadSecurityGroups(t *testing.T) {
	const rule = "{protocol: tcp, ports: 443, cidr: 10.0.0.0/16}"
	for _, tt := range []struct{ name, old, new, want string }{
		{"no id", "{id: nothing}", "{description: x}", "f.yaml:17: networks[0].security_groups[2].id: is missing"},
		{"twice", "{id: nothing}", "{id: web}", "f.yaml:17: networks[0].security_groups[2].id: web is defined twice"},
		{"long description", "Pages", strings.Repeat("x", 256), "f.yaml:9: networks[0].security_groups[0].description: is longer than 255 characters"},
		{"protocol", rule, "{protocol: sctp, cidr: 10.0.0.0/16}", `f.yaml:11: networks[0].security_groups[0].egress[0].protocol: "sctp" is not one of tcp, udp, icmp, icmpv6, all`},
		{"no protocol", rule, "{cidr: 10.0.0.0/16}", "f.yaml:11: networks[0].security_groups[0].egress[0].protocol: is missing"},
		{"port", rule, "{protocol: tcp, ports: https, cidr: 10.0.0.0/16}", `f.yaml:11: networks[0].security_groups[0].egress[0].ports: "https" is neither a port nor a range like 8000-8100`},
		{"ports turned", rule, "{protocol: tcp, ports: 9-8, cidr: 10.0.0.0/16}", `f.yaml:11: networks[0].security_groups[0].egress[0].ports: "9-8" is neither`},
		{"port large", rule, "{protocol: tcp, ports: 65536, cidr: 10.0.0.0/16}", `f.yaml:11: networks[0].security_groups[0].egress[0].ports: "65536" is neither`},
		{"ports of ping", rule, "{protocol: icmp, ports: 8, cidr: 10.0.0.0/16}", "f.yaml:11: networks[0].security_groups[0].egress[0].ports: icmp has no ports"},
		{"ping of another family", rule, "{protocol: icmpv6, cidr: 10.0.0.0/16}", "f.yaml:11: networks[0].security_groups[0].egress[0].cidr: icmpv6 is not for 10.0.0.0/16"},
		{"nowhere", rule, "{protocol: tcp}", "f.yaml:11: networks[0].security_groups[0].egress[0]: needs a cidr or a group"},
		{"two places", rule, "{protocol: tcp, cidr: 10.0.0.0/16, group: web}", "f.yaml:11: networks[0].security_groups[0].egress[0]: is for a cidr or for a group, not both"},
		{"host bits", rule, "{protocol: tcp, cidr: 10.0.0.1/16}", "f.yaml:11: networks[0].security_groups[0].egress[0].cidr: 10.0.0.1/16 has host bits"},
		{"unknown peer", "group: web}]", "group: wed}]", "f.yaml:15: networks[0].security_groups[1].ingress[0].group: wed is not a security group of vpc-a"},
		{"many rules", "ingress: [", "ingress: [" + strings.Repeat("{protocol: all, group: web}, ", 60), "f.yaml:15: networks[0].security_groups[1].ingress: 61 rules, 60 are the most"},
		{"many groups", "      - {id: nothing}\n", strings.Repeat("      - {id: nothing}\n", 499), "f.yaml:8: networks[0].security_groups: 501 groups, 500 are the most"},
		{"unknown group", "[ends, nothing]", "[ends, something]", "f.yaml:22: associations[1].security_groups[1]: something is not a security group of vpc-a"},
		{"group twice", "[ends, nothing]", "[ends, ends]", "f.yaml:22: associations[1].security_groups[1]: ends is listed twice"},
		{"six groups", "[ends, nothing]", "[a, b, c, d, e, f]", "f.yaml:22: associations[1].security_groups: 6 groups, 5 are the most"},
		{"no list", "[ends, nothing]", "ends", "f.yaml:22: associations[1].security_groups: must be a list"},
		{"clients' own addresses", `"fd00:a:0:1::5"`, "client", "f.yaml:20: networks[0].subnets[1].address_v6: client needs network: kernel"},
		{"outside its network", "associations:", "security_groups: [{id: x}]\nassociations:", "f.yaml:22: security_groups: belongs into its VPC"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(grouped, tt.old, tt.new, 1)
			if text == grouped {
				t.Fatalf("%q is not in the file", tt.old)
			}
			_, err := ParseConfig("f.yaml", []byte(text))
			var list ConfigErrors
			if !errors.As(err, &list) {
				t.Fatalf("got %v", err)
			}
			if !slices.ContainsFunc(list, func(e *ConfigError) bool { return strings.HasPrefix(e.Error(), tt.want) }) {
				t.Errorf("got %q, want %q", list.Error(), tt.want)
			}
		})
	}
}

// TestGroupsChange: another set of groups holds for what begins after the reload, and resets nobody.
func TestGroupsChange(t *testing.T) {
	r := start(t, "udp")
	with := func(egress string) string {
		text := strings.Replace(r.text, "    subnets:\n", "    security_groups: [{id: web, egress: ["+egress+"]}]\n    subnets:\n", 1)
		return strings.Replace(text, "  - subnet: demo\n", "  - {subnet: demo, security_groups: [web]}\n", 1)
	}
	d, reply := r.connect(t, "ann")
	me := reply.Address.Addr()
	d.ping(t, me)
	for _, egress := range []string{"", "{protocol: tcp, cidr: 0.0.0.0/0}"} {
		if n, err := r.Reload(t.Context(), r.config(t, with(egress))); err != nil || n != 0 {
			t.Fatalf("reset %d, %v", n, err)
		}
		d.tunnel(t, echo(me, network.DemoAddress(), 7))
		select {
		case b := <-d.inner:
			t.Fatalf("with %q there is an answer: %x", egress, b)
		case <-time.After(200 * time.Millisecond):
		}
	}
	if n, err := r.Reload(t.Context(), r.config(t, with("{protocol: icmp, cidr: 10.98.0.0/24}"))); err != nil || n != 0 {
		t.Fatalf("reset %d, %v", n, err)
	}
	d.ping(t, me)
	if len(r.Connections()) != 1 {
		t.Error("the session is another one")
	}
}
