package main

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/platform/probe"
	"github.com/adit-vpn/adit/routes"
)

func TestDestination(t *testing.T) {
	for _, c := range []struct {
		text, host string
		port       uint16
		wrong      string
	}{
		{text: "10.0.0.5", host: "10.0.0.5"},
		{text: "10.0.0.5:443", host: "10.0.0.5", port: 443},
		{text: "2001:db8::1", host: "2001:db8::1"},
		{text: "[2001:db8::1]", host: "2001:db8::1"},
		{text: "[2001:db8::1]:22", host: "2001:db8::1", port: 22},
		{text: "fe80::1%eth0", host: "fe80::1%eth0"},
		{text: "[fe80::1%eth0]:22", host: "fe80::1%eth0", port: 22},
		{text: "host", host: "host"},
		{text: "intranet.corp.example:8443", host: "intranet.corp.example", port: 8443},
		{text: "host:", wrong: `"" is not a port`},
		{text: "host:0", wrong: `"0" is not a port`},
		{text: "host:65536", wrong: `"65536" is not a port`},
		{text: "host:http", wrong: `"http" is not a port`},
		{text: "", wrong: `"" is neither an address nor a name`},
		{text: ":80", wrong: `"" is neither an address nor a name`},
		{text: "https://host/", wrong: `"//host/" is not a port`},
		{text: "10.0.0.0/8", wrong: `"10.0.0.0/8" is neither an address nor a name`},
		{text: "a:b:c", wrong: `"a:b:c" is neither DEST nor DEST:PORT`},
	} {
		host, port, err := destination(c.text)
		switch {
		case c.wrong != "":
			if err == nil || err.Error() != c.wrong {
				t.Errorf("%q: %v, want %s", c.text, err, c.wrong)
			}
		case err != nil || host != c.host || port != c.port:
			t.Errorf("%q: %q %d %v", c.text, host, port, err)
		}
	}
}

func FuzzDestination(f *testing.F) {
	for _, s := range []string{"10.0.0.5:443", "[2001:db8::1]:22", "host", "[::1", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		host, port, err := destination(text)
		if err != nil {
			return
		}
		if host == "" || len(host) > 253 && !strings.Contains(host, "%") {
			t.Fatalf("%q: host %q", text, host)
		}
		if port == 0 {
			return
		}
		again, p, err := destination(net.JoinHostPort(host, "1"))
		if err != nil || again != host || p != 1 {
			t.Fatalf("%q: %q, then %q %d %v", text, host, again, p, err)
		}
	})
}

func TestVerdict(t *testing.T) {
	tunnel := routes.Explanation{Way: routes.WayTunnel, Profile: "work", Device: "tun0", Guard: "the guard lets it pass: it goes through the tunnel"}
	outside := routes.Explanation{Way: routes.WayUnderlay, Guard: routes.GuardOpen}
	blocked := routes.Explanation{Way: routes.WayUnderlay, Blocked: true, Guard: "the guard blocks it: it belongs into the tunnel, and may not leave beside it"}
	nowhere := routes.Explanation{Way: routes.WayUnreachable, Text: "10.0.0.5 is not reachable by 10.0.0.0/8: IPv4 is blocked"}
	icmp := func(o probe.Outcome) probe.Result { return probe.Result{Method: "icmp", Sent: 3, Outcome: o} }
	tcp := func(o probe.Outcome) probe.Result {
		return probe.Result{Method: "tcp", Port: 22, Sent: 3, Outcome: o, RTT: 12345 * time.Microsecond}
	}
	for _, c := range []struct {
		x       routes.Explanation
		r       probe.Result
		entered bool
		want    string
	}{
		{tunnel, tcp(probe.Answered), true, "answered in 12 ms (TCP port 22)"},
		{tunnel, tcp(probe.Refused), true, "refused: the host is there, nothing listens on that port (TCP port 22)"},
		{tunnel, icmp(probe.NoAnswer), true, "entered the tunnel, no answer: ask for a route and an authorization rule for it (ping)"},
		{tunnel, icmp(probe.NoAnswer), false, "no answer to 3 probes (ping), and nothing entered the tunnel"},
		{outside, icmp(probe.NoAnswer), true, "no answer to 3 probes (ping)"},
		{outside, icmp(probe.NoRoute), false, "no route: this machine knows no way to it"},
		{outside, icmp(probe.Unreachable), false, "unreachable: the network or a router on the way says that the host cannot be reached (ping)"},
		{nowhere, icmp(probe.Unreachable), false, "no route: 10.0.0.5 is not reachable by 10.0.0.0/8: IPv4 is blocked"},
		{blocked, icmp(probe.Blocked), false, "the guard blocked it: it belongs into the tunnel, and may not leave beside it"},
		{blocked, tcp(probe.NoAnswer), false, "the guard blocked it: it belongs into the tunnel, and may not leave beside it"},
		{outside, icmp(probe.Blocked), false, "this machine's own firewall blocked it (ping)"},
	} {
		got, hint := verdict(probed{Explanation: c.x, Probe: c.r, Entered: c.entered})
		if got != c.want {
			t.Errorf("%s %s %s: %q, want %q", c.x.Way, c.r.Method, c.r.Outcome, got, c.want)
		}
		if (hint == "") != (c.r.Outcome == probe.Answered) {
			t.Errorf("%s: hint %q", got, hint)
		}
	}
}

// TestLookup: names are the system's to resolve; a number needs nobody.
func TestLookup(t *testing.T) {
	a, err := lookup(t.Context(), "localhost")
	if err != nil || !a.IsLoopback() {
		t.Errorf("localhost is %v, %v", a, err)
	}
	if a, err := lookup(t.Context(), "127.0.0.1"); err != nil || a != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("%v %v", a, err)
	}
}
