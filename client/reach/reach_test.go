package reach

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/probe"
	"github.com/adit-vpn/adit/routes"
)

func TestParse(t *testing.T) {
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
		got, err := Parse(c.text)
		host := got.Name
		if got.Address.IsValid() {
			host = got.Address.String()
		}
		switch {
		case c.wrong != "":
			if err == nil || err.Error() != c.wrong {
				t.Errorf("%q: %v, want %s", c.text, err, c.wrong)
			}
		case err != nil || host != c.host || got.Port != c.port:
			t.Errorf("%q: %q %d %v", c.text, host, got.Port, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"10.0.0.5:443", "[2001:db8::1]:22", "host", "[::1", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse(text)
		if err != nil {
			return
		}
		if got.Address.IsValid() == (got.Name != "") || len(got.Name) > 253 {
			t.Fatalf("%q: %+v", text, got)
		}
		host := got.Name
		if host == "" {
			host = got.Address.String()
		}
		again, err := Parse(net.JoinHostPort(host, "1"))
		if err != nil || again.Name != got.Name || again.Address != got.Address || again.Port != 1 {
			t.Fatalf("%q: %+v, then %+v %v", text, got, again, err)
		}
	})
}

func TestJudge(t *testing.T) {
	tunnel := routes.Explanation{Way: routes.WayTunnel, Profile: "work", Device: "tun0"}
	outside := routes.Explanation{Way: routes.WayUnderlay}
	blocked := routes.Explanation{Way: routes.WayUnderlay, Blocked: true}
	nowhere := routes.Explanation{Way: routes.WayUnreachable}
	foreign := routes.Explanation{Way: routes.WayTunnel}
	for _, c := range []struct {
		x       routes.Explanation
		o       probe.Outcome
		entered bool
		want    Verdict
	}{
		{tunnel, probe.Answered, true, Answered},
		{tunnel, probe.Refused, true, Refused},
		{tunnel, probe.NoAnswer, true, Lost},
		{tunnel, probe.NoAnswer, false, Outside},
		{foreign, probe.NoAnswer, false, Silent},
		{outside, probe.NoAnswer, true, Silent},
		{outside, probe.NoRoute, false, NoRoute},
		{outside, probe.Unreachable, false, Unreachable},
		{nowhere, probe.Unreachable, false, Closed},
		{blocked, probe.Blocked, false, Guarded},
		{blocked, probe.NoAnswer, false, Guarded},
		{outside, probe.Blocked, false, Firewall},
	} {
		if got := judge(c.x, c.o, c.entered); got != c.want {
			t.Errorf("%s, %s, entered %t: %s, want %s", c.x.Way, c.o, c.entered, got, c.want)
		}
	}
}

// service is one whose tunnel sends a packet between two looks at it.
type service struct {
	way  routes.Explanation
	sent uint64
}

func (s *service) Explain(_ context.Context, destination string) (routes.Explanation, error) {
	x := s.way
	x.Destination = netip.MustParseAddr(destination)
	return x, nil
}

func (s *service) Status(context.Context) (api.Status, error) {
	s.sent++
	return api.Status{Connections: []api.Connection{{Profile: "work", Tunnel: api.Tunnel{Device: "tun0"}, Counters: api.Counters{TxPackets: s.sent}}}}, nil
}

// TestDo: what listens here answers, and what does not is refused; no other way is probed than the one that is explained.
func TestDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target, err := Parse(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := &service{way: routes.Explanation{Way: routes.WayTunnel, Profile: "work", Device: "tun0"}}
	r, err := Do(t.Context(), s, target)
	if err != nil || r.Verdict != Answered || !r.Entered || r.Explanation.Destination != target.Address || r.Probe.Port != target.Port {
		t.Errorf("%+v %v", r, err)
	}
	l.Close()
	if r, err := Do(t.Context(), s, target); err != nil || r.Verdict != Refused {
		t.Errorf("%+v %v", r, err)
	}
	s.way.Device = ""
	if _, err := Do(t.Context(), s, target); !errors.Is(err, ErrNoDevice) {
		t.Errorf("a tunnel without a device: %v", err)
	}
}

// TestResolve: names are the system's to resolve; a number needs nobody.
func TestResolve(t *testing.T) {
	got, err := Target{Name: "localhost", Port: 80}.Resolve(t.Context())
	if err != nil || !got.Address.IsLoopback() || got.Name != "localhost" || got.Port != 80 {
		t.Errorf("localhost is %+v, %v", got, err)
	}
	there := Target{Address: netip.MustParseAddr("127.0.0.1")}
	if got, err := there.Resolve(t.Context()); err != nil || got != there {
		t.Errorf("%+v %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var wrong *LookupError
	if _, err := (Target{Name: "localhost.invalid"}).Resolve(ctx); !errors.As(err, &wrong) || wrong.Name != "localhost.invalid" {
		t.Errorf("a name that nobody resolves: %v", err)
	}
}
