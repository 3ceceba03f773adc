//go:build linux

package lab

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// TestProbe: explain --probe says what comes of a packet in the tunnel, beside it, against the guard and nowhere.
func TestProbe(t *testing.T) {
	t.Parallel()
	needs(t, "nft")
	s := newSite(t)
	s.ok(s.client.Route("", serverOuter.String()))
	p := newPKI(t)
	// The tunnel leads to 172.31.0.0/16, but nobody is authorized there.
	s.endpointUp(s.yaml(p, "", endpointConfig{Rules: vpcRules(), Routes: []string{"172.31.0.0/16"}}))
	s.aditd()
	probe := func(good bool, dest string, says ...string) {
		t.Helper()
		out, err := s.try(s.client, bin(t, "adit"), "explain", "--probe", dest)
		if (err == nil) != good {
			t.Errorf("%s: %v", dest, err)
		}
		for _, want := range says {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in\n%s", dest, want, out)
			}
		}
	}
	// Who may not ping knocks: a host without a web server refuses, and is there.
	probe(true, serverOuter.String(), "goes outside the tunnel (eth0)", "\nprobe: answered in ", " ms (TCP port 443)\n")
	s.ok(s.client.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0) }))
	probe(true, serverOuter.String(), " ms (ping)\n")
	probe(true, serverOuter6.String(), " ms (ping)\n")
	probe(false, "2001:db8:77::1", "no route leads to it", "\nprobe: no route: this machine knows no way to it\n")

	s.connect(clientProfile(p, "udp", "plain", ""))
	s.reaches(s.client, none, hostAddr)
	s.mirror(s.host, hostAddr)
	probe(true, hostAddr.String(), "goes through the tunnel", "\nprobe: answered in ", " ms (ping)\n")
	probe(true, netip.AddrPortFrom(hostAddr, mirrorPort).String(), " ms (TCP port 80)\n")
	probe(false, hostAddr.String()+":81", "\nprobe: refused: the host is there, nothing listens on that port (TCP port 81)\n")
	probe(false, "172.31.0.1", "goes through the tunnel", "\nprobe: entered the tunnel, no answer: ask for a route and an authorization rule for it (ping)\n")

	list := s.connections()
	if len(list) != 1 {
		t.Fatalf("connections: %+v", list)
	}
	s.endpointCmd("terminate", list[0].ID)
	s.until(soon, "it is blocked", func() bool { return s.statusOf("lab").State == api.Blocked })
	probe(false, hostAddr.String(), "\nprobe: the guard blocked it: it belongs into the tunnel, and may not leave beside it\n")
	probe(false, hostAddr.String()+":80", "\nprobe: the guard blocked it: ")
	s.adit("disconnect", "lab")
	var got struct {
		Probe struct{ Method, Outcome string }
		RTT   float64 `json:"rtt_ms"`
	}
	s.ok(json.Unmarshal([]byte(s.adit("explain", "--probe", serverOuter.String(), "--json")), &got))
	if got.Probe.Method != "icmp" || got.Probe.Outcome != "answered" || got.RTT <= 0 || got.RTT > float64(time.Minute.Milliseconds()) {
		t.Errorf("JSON: %+v", got)
	}
}
