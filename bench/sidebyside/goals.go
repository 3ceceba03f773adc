//go:build linux

package main

import (
	"fmt"

	"github.com/adit-vpn/adit/bench/report"
)

// goals are what Adit is to reach.
func goals() []report.Goal {
	var list []report.Goal
	ref := func(metric, who string) report.Ref { return report.Ref{Metric: metric, Contender: who} }
	least := func(line, text, metric, ours, theirs string, bound, aim float64) {
		list = append(list, report.Goal{Line: line, Text: text, Ours: ref(metric, ours), Theirs: ref(metric, theirs), Bound: bound, Aim: aim})
	}
	most := func(line, text, metric, theirs string, bound float64) {
		list = append(list, report.Goal{Line: line, Text: text, Ours: ref(metric, aditName), Theirs: ref(metric, theirs), Bound: bound, Most: true})
	}
	alone := func(line, text, metric string, bound float64, unit string, mostly bool) {
		list = append(list, report.Goal{Line: line, Text: text, Ours: ref(metric, aditName), Bound: bound, Unit: unit, Most: mostly})
	}
	both := []string{"up", "down"}
	for _, d := range both {
		least("1", "one stream, UDP, AES-256-GCM, "+d+", to openvpn", "stream "+d, aditName, openvpnName, 6, 8)
	}
	for _, d := range both {
		least("1", "one stream, UDP, AES-256-GCM, "+d+", to wireguard-go", "stream "+d, aditName, wireguardName, 1.5, 2)
	}
	for _, d := range both {
		least("1", "classic data format, "+d+", to epoch keys", "stream "+d, classicName, aditName, 0.9, 0)
	}
	for _, d := range both {
		least("2", "TCP transport, "+d+", to openvpn", "tcp "+d, aditName, openvpnName, 6, 0)
	}
	for _, d := range both {
		least("2", "CHACHA20-POLY1305, "+d+", to wireguard-go", "chacha "+d, aditName, wireguardName, 1, 0)
	}
	for _, d := range both {
		list = append(list, report.Goal{Line: "3", Text: "8 streams, " + d + ", to one stream", Ours: ref("streams8 "+d, aditName), Theirs: ref("stream "+d, aditName), Bound: 0.9})
	}
	list = append(list, report.Goal{Line: "3", Text: "both directions at once, sum, to one stream up", Ours: ref("bidir", aditName), Theirs: ref("stream up", aditName), Bound: 0.9})
	for _, d := range both {
		list = append(list, report.Goal{Line: "3", Text: "all clients at once, " + d + ", to one alone", Ours: ref("peers together "+d, aditName), Theirs: ref("peers alone "+d, aditName), Bound: 0.9})
	}
	for _, d := range both {
		alone("3", "slowest of all clients, "+d+", share of the mean", "peers fairness "+d, 0.5, "", false)
	}
	for _, d := range both {
		least("4", "userspace at both ends, no root, "+d+", to openvpn's kernel device", "stream "+d, userspaceName, openvpnName, 1, 2)
	}
	for _, d := range both {
		least("5", "64-byte UDP packets per second, "+d+", to openvpn", "packets "+d, aditName, openvpnName, 3, 0)
	}
	most("5", "ping on an idle tunnel, to openvpn", "ping idle", openvpnName, 1)
	for _, d := range both {
		most("5", "ping p99 beside a full stream, "+d+", to openvpn", "ping loaded p99 "+d, openvpnName, 1)
	}
	for _, d := range both {
		most("6", "processor time at 200 Mbit/s, "+d+", to openvpn", "cpu200 "+d, openvpnName, 0.5)
	}
	alone("6", "processor of an idle tunnel, aditd", "idle processor client", 0.1, "%", true)
	alone("6", "processor of an idle tunnel, adit-endpoint", "idle processor server", 0.1, "%", true)
	alone("6", "resident memory of aditd", "memory client", 25, "MB", true)
	alone("7", "20,000 clients at one endpoint, memory of each", "clients memory", 50, "kB", true)
	alone("7", "a storm of 5,000 clients", "storm rate", 400, "handshakes/s", false)
	alone("7", "the longest handshake of the storm", "storm longest", 15, "s", true)
	alone("7", "clients of the storm that did not connect", "storm failed", 0, "", true)
	alone("7", "datagrams that a session at 100 Mbit/s loses in the storm", "storm lost", 0, "", true)
	alone("7", "its ping p99, to that before the storm", "storm ping", 3, "×", true)
	most("8", "connect to first answered ping, UDP, to openvpn", "connect udp", openvpnName, 0.6)
	for _, t := range []string{"udp", "tcp"} {
		n := leastTrips(t)
		alone("8", fmt.Sprintf("connect with %v more a round trip, %s (the protocol needs %v)", farAway, t, n), "connect far "+t, 1.2*n, "round trips", true)
	}
	return list
}
