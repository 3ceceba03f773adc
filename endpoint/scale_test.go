package endpoint

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
)

// manyRules are n rules and half as many routes, as many as an endpoint may have, the last of which are for anywhere.
func manyRules(n int) (rules []Rule, routes []netip.Prefix) {
	for i := range n - 1 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(20 + i%7), byte(i), byte(3 * i), 0}), 12+i%13).Masked()
		rules = append(rules, Rule{CIDR: p, All: true})
		if i%2 == 0 {
			routes = append(routes, p)
		}
	}
	return append(rules, Rule{CIDR: anywhere, All: true}), append(routes, anywhere)
}

// BenchmarkRules is what a packet costs from a client to the network, opened, checked and handed on, under few rules and under many. valgrind
// counts the instructions of flush: see docs/performance.md.
func BenchmarkRules(b *testing.B) {
	const batch, size = 64, 1400
	for _, n := range []int{1, maxRules} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, sink := unwired(netip.MustParsePrefix("10.64.0.0/27")), &nowhere{}
			s.queues = []*queue{{tun: sink}}
			end := inPlace(b, s, ovpntest.NewPKI(b), 0, ovpn.Config{}, nowhereConn{nowhere: sink})
			rules, routes := manyRules(n)
			p := s.peers.byID(0)
			p.access.Store(newAccess(rules, nil, routes, nil, nil))
			var packets ovpn.List
			for i := range batch { // to as many destinations, of which many have a rule of their own
				packet := append(ipPacket(addrAt(s.gen.Load().cfg.ClientCIDR, 0), netip.AddrFrom4([4]byte{byte(20 + i%14), byte(i), byte(3 * i), 1})), make([]byte, size-100)...)
				packets = append(packets, packet)
			}
			in := newInBatch(s, 0)
			var train []byte
			var sizes []int
			now := time.Now()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				list := packets
				train, sizes = end.Seal(now, train[:0], 0, &list, sizes)
				for rest, k := train, 0; len(rest) > 0; k++ {
					in.add(now, p, rest[:sizes[k]])
					rest = rest[sizes[k]:]
				}
				b.StartTimer()
				in.flush(now)
			}
			if sink.packets != batch*b.N {
				b.Fatalf("%d of %d packets passed", sink.packets, batch*b.N)
			}
		})
	}
}

// TestRulesHoldWhenReloadReturns: with 200 rules and 100 routes, each packet that a client sends after a reload meets the new rules.
func TestRulesHoldWhenReloadReturns(t *testing.T) {
	const clients = 40
	r := start(t, "udp")
	text := func(open bool) string {
		out := twoSubnets(r.text, "demo", "other") + "routes:\n"
		for i := range maxRoutes {
			out += fmt.Sprintf("  - {destination: 172.16.%d.0/24, target: %s}\n", i, []string{"demo", "other"}[i%2])
		}
		rules := "authorization_rules:\n"
		for i := range maxRules - 1 {
			rules += fmt.Sprintf("  - {cidr: 172.16.%d.0/24, all: true}\n", i)
		}
		last := "  - {cidr: 10.98.0.0/24, group: nobody}\n"
		if open {
			last = "  - {cidr: 10.98.0.0/24, all: true}\n"
		}
		return strings.Replace(out, "authorization_rules:\n  - {cidr: 10.98.0.0/24, all: true}\n", "", 1) + rules + last
	}
	reload := func(open bool) {
		t.Helper()
		if n, err := r.Reload(t.Context(), r.config(t, text(open))); err != nil || n != 0 {
			t.Fatalf("reset %d, %v", n, err)
		}
	}
	reload(true)
	type client struct {
		*dialer
		addr netip.Addr
	}
	var all []client
	for range clients {
		d, reply := r.connect(t, "ann")
		d.ping(t, reply.Address.Addr()) // keys are there at both ends
		all = append(all, client{d, reply.Address.Addr()})
	}
	for round := range 5 {
		reload(false)
		denied := r.drops.denied.Load()
		for _, c := range all {
			c.tunnel(t, echo(c.addr, netip.MustParseAddr("10.98.0.1"), uint16(2000+round)))
		}
		r.until(t, func() bool { return r.drops.denied.Load() == denied+clients })
		reload(true)
		denied = r.drops.denied.Load()
		for _, c := range all {
			c.tunnel(t, echo(c.addr, netip.MustParseAddr("10.98.0.1"), uint16(3000+round)))
		}
		for _, c := range all {
			for got := []byte(nil); len(got) < 28 || got[27] != byte((3000+round)&0xff) || got[26] != byte((3000+round)>>8); {
				select {
				case got = <-c.inner:
				case <-time.After(patience):
					t.Fatal("no answer after the rule is there")
				}
			}
		}
		if n := r.drops.denied.Load(); n != denied {
			t.Errorf("%d packets were denied after the reload", n-denied)
		}
	}
}
