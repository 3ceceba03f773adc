package main

import (
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/reach"
	"github.com/adit-vpn/adit/platform/probe"
	"github.com/adit-vpn/adit/routes"
)

func TestVerdict(t *testing.T) {
	nowhere := routes.Explanation{Way: routes.WayUnreachable, Text: "10.0.0.5 is not reachable by 10.0.0.0/8: IPv4 is blocked"}
	blocked := routes.Explanation{Way: routes.WayUnderlay, Blocked: true, Guard: "the guard blocks it: it belongs into the tunnel, and may not leave beside it"}
	ping := probe.Result{Method: "icmp", Sent: 3}
	tcp := probe.Result{Method: "tcp", Port: 22, Sent: 3, RTT: 12345 * time.Microsecond}
	for _, c := range []struct {
		verdict reach.Verdict
		x       routes.Explanation
		r       probe.Result
		want    string
	}{
		{reach.Answered, routes.Explanation{}, tcp, "answered in 12 ms (TCP port 22)"},
		{reach.Refused, routes.Explanation{}, tcp, "refused: the host is there, nothing listens on that port (TCP port 22)"},
		{reach.Lost, routes.Explanation{}, ping, "entered the tunnel, no answer: ask for a route and an authorization rule for it (ping)"},
		{reach.Outside, routes.Explanation{}, ping, "no answer to 3 probes (ping), and nothing entered the tunnel"},
		{reach.Silent, routes.Explanation{}, ping, "no answer to 3 probes (ping)"},
		{reach.NoRoute, routes.Explanation{}, ping, "no route: this machine knows no way to it"},
		{reach.Unreachable, routes.Explanation{}, ping, "unreachable: the network or a router on the way says that the host cannot be reached (ping)"},
		{reach.Closed, nowhere, ping, "no route: 10.0.0.5 is not reachable by 10.0.0.0/8: IPv4 is blocked"},
		{reach.Guarded, blocked, tcp, "the guard blocked it: it belongs into the tunnel, and may not leave beside it"},
		{reach.Firewall, routes.Explanation{}, ping, "this machine's own firewall blocked it (ping)"},
	} {
		got, hint := verdict(reach.Report{Verdict: c.verdict, Explanation: c.x, Probe: c.r})
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.verdict, got, c.want)
		}
		if (hint == "") != (c.verdict == reach.Answered) {
			t.Errorf("%s: hint %q", got, hint)
		}
	}
}
