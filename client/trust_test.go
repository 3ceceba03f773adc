package client

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/routes"
)

// office is the network that the tests trust.
const (
	officeURL = "https://office.example.test"
	officeAt  = "tcp 192.168.1.5:443"
)

// tlsHost answers handshakes with cert, over connections out of nothing.
func (s *server) tlsHost(cert tls.Certificate) func(string) net.Conn {
	return func(string) net.Conn {
		ours, theirs := s.stream()
		s.wg.Go(func() {
			defer theirs.Close()
			c := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{cert}})
			if c.Handshake() == nil {
				_, _ = c.Read(make([]byte, 1)) // until the client leaves
			}
		})
		return ours
	}
}

// stream is a connection whose ends need not wait for each other, as those of a network.
func (s *server) stream() (a, b net.Conn) {
	a, farA := net.Pipe()
	b, farB := net.Pipe()
	carry := func(from, to net.Conn) {
		queue := make(chan []byte, 64)
		s.wg.Go(func() {
			defer close(queue)
			for {
				buf := make([]byte, 1<<14)
				n, err := from.Read(buf)
				if err != nil {
					return
				}
				queue <- buf[:n]
			}
		})
		s.wg.Go(func() {
			defer to.Close()
			for p := range queue {
				_, _ = to.Write(p) // after the other end has left, nobody reads
			}
		})
	}
	carry(farA, farB)
	carry(farB, farA)
	return a, b
}

func sumOf(cert tls.Certificate) string {
	sum := sha256.Sum256(cert.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// inOffice is a server whose trusted network's certificate is good; go says which one answers, nil for none.
type inOffice struct {
	*server
	good, evil tls.Certificate
}

func newOffice(t *testing.T) *inOffice {
	s := newServer(t)
	o := &inOffice{server: s, good: s.pki.Issue("office", x509.ExtKeyUsageServerAuth, nil), evil: s.pki.Issue("office", x509.ExtKeyUsageServerAuth, nil)}
	s.names["office.example.test"] = []netip.Addr{netip.MustParseAddr("192.168.1.5")}
	return o
}

func (o *inOffice) answers(cert *tls.Certificate) {
	o.set(func() {
		delete(o.outside, officeAt)
		if cert != nil {
			o.outside[officeAt] = o.tlsHost(*cert)
		}
	})
}

// policy is one with the office, and more keys.
func (o *inOffice) policy(more string) string {
	return fmt.Sprintf(`{"TrustedNetworks": [{"url": "https://nowhere.example.test", "cert_sha256": %q}, {"url": %q, "cert_sha256": %q}]%s}`,
		someSum, officeURL, sumOf(o.good), more)
}

// network moves the machine.
func (st *stage) network(address string) {
	f := underlay()
	f.Addresses = []netip.Prefix{netip.MustParsePrefix(address)}
	st.hostCalled(trustHost).SetFacts(f)
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

func (st *stage) connections() []string {
	var out []string
	for _, c := range st.Status(alice).Connections {
		out = append(out, c.Profile+" "+string(c.State))
	}
	return out
}

// TestTrustedNetwork: nothing connects by itself where the office's certificate answers, and what did ends there; only
// that very certificate counts. A person's connection stays.
func TestTrustedNetwork(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := newOffice(t)
		o.answers(&o.good)
		st := newManaged(t, o.server, o.policy(`, "AutoConnect": "corp", "AlwaysOn": true`), map[string]string{"corp": o.profile(remoteUDP)})
		time.Sleep(2 * alwaysInterval)
		if got := st.connections(); len(got) != 0 {
			t.Errorf("in the office %q", got)
		}
		if p := st.Status(bob).Policy; p.TrustedNetwork != officeURL || p.AlwaysOn != "" {
			t.Errorf("%+v", p)
		}

		o.answers(nil)
		st.network("192.168.1.21/24")
		st.untilState(bob, "corp", api.Connected, 5*time.Second)
		if p := st.Status(bob).Policy; p.TrustedNetwork != "" || p.AlwaysOn != "corp" {
			t.Errorf("elsewhere %+v", p)
		}

		o.answers(&o.evil) // the right name and issuer, and not that certificate
		st.network("192.168.1.22/24")
		st.untilState(bob, "corp", api.Connected, 5*time.Second)

		o.answers(&o.good)
		st.network("192.168.1.23/24")
		if got := st.connections(); len(got) != 0 || st.Status(bob).Policy.TrustedNetwork != officeURL {
			t.Errorf("back in the office %q", got)
		}
		if plan := st.host(0).Current(); !plan.IsZero() {
			t.Errorf("left of it: %+v", plan)
		}
		if w := st.store.wanted(); len(w) != 0 {
			t.Errorf("wishes: %+v", w)
		}

		// A server that does not answer once is no other network; one that stays away is.
		o.answers(nil)
		time.Sleep(trustRest + time.Second)
		if st.Status(bob).Policy.TrustedNetwork == "" {
			t.Error("it is not trusted any more after one silence")
		}
		o.answers(&o.good)
		time.Sleep(2 * trustRest)
		if got := st.connections(); len(got) != 0 {
			t.Errorf("after one silence %q", got)
		}
		o.answers(nil)
		time.Sleep(2 * trustRest)
		st.untilState(bob, "corp", api.Connected, time.Second)
		o.answers(&o.good)
		st.network("192.168.1.24/24")

		// What a person wants stays, and may be ended there.
		st.connect(bob, "corp")
		st.untilState(bob, "corp", api.Connected, 5*time.Second)
		st.network("192.168.1.25/24")
		time.Sleep(2 * alwaysInterval)
		st.untilState(bob, "corp", api.Connected, 0)
		if err := st.Disconnect(t.Context(), bob, "corp"); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * alwaysInterval)
		if got := st.connections(); len(got) != 0 {
			t.Errorf("after bob left %q", got)
		}

		// Without the key it connects, and without any policy the office is nobody's business.
		st.decide(`{"AutoConnect": "corp"}`)
		st.untilState(bob, "corp", api.Connected, 5*time.Second)
		st.decide(o.policy(`, "AutoConnect": "corp"`))
		time.Sleep(2 * time.Second)
		if got := st.connections(); len(got) != 0 {
			t.Errorf("with the key again %q", got)
		}
		if h := st.hostCalled(trustHost); slices.ContainsFunc(h.Plans(), func(p routes.Plan) bool { return len(p.Guard.Closed) > 0 }) {
			t.Error("looking for it closed something")
		}
	})
}

// TestTrustedNetworkOwn: people's own profiles with auto_connect heed it, too, and what the last run had begun by itself is not begun
// again, nor its guard left closed. Without any network nothing is decided.
func TestTrustedNetworkOwn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := newOffice(t)
		st := newManaged(t, o.server, o.policy(""), nil)
		st.add(alice, "own", o.profile(remoteUDP))
		st.setting(alice, "own", "auto_connect=true")
		st.add(alice, "asked", o.profile(remoteUDP))
		st.connect(alice, "asked")
		st.stop()
		st.start()
		st.untilState(alice, "own", api.Connected, 5*time.Second)
		st.untilState(alice, "asked", api.Connected, 5*time.Second)
		own := hostOf(key{"1000", "own"})
		st.stop()
		o.answers(&o.good)
		st.left = map[string]routes.Guard{own: routes.Everything()} // as after kill -9
		st.start()
		st.untilState(alice, "asked", api.Connected, 5*time.Second)
		time.Sleep(2 * time.Second)
		if got := st.connections(); !slices.Equal(got, []string{"asked connected"}) {
			t.Errorf("in the office %q", got)
		}
		if h := st.hostCalled(own); !h.Guard().IsZero() || !h.IsClosed() {
			t.Error("the last run's guard stays closed")
		}
		// The look goes past the guard of the tunnel that is up.
		var outer []routes.Endpoint
		h := st.hostCalled(trustHost)
		for _, p := range h.Plans() {
			outer = append(outer, p.Guard.Outer...)
		}
		if want := (routes.Endpoint{Address: netip.MustParseAddr("192.168.1.5"), Port: 443, Transport: "tcp"}); !slices.Contains(outer, want) || !h.Current().IsZero() {
			t.Errorf("it was let through to %v, and is %+v", outer, h.Current())
		}
		h.SetFacts(routes.Facts{})
		o.answers(nil)
		time.Sleep(time.Minute)
		if got := st.connections(); !slices.Equal(got, []string{"asked connected"}) {
			t.Errorf("without a network %q", got)
		}
		st.network("192.168.1.21/24")
		st.untilState(alice, "own", api.Connected, 5*time.Second)

		// A Host that says nothing proves nothing.
		o.answers(&o.good)
		h.Fail("Facts", fmt.Errorf("no"))
		st.network("192.168.1.22/24")
		st.untilState(alice, "own", api.Connected, 0)
		h.Fail("Facts", nil)
	})
}

// TestTrustedNetworksChange: other trusted networks, or none any more, bring nothing back that somebody has ended; what has waited for the look
// begins.
func TestTrustedNetworksChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := newOffice(t)
		st := newManaged(t, o.server, `{}`, map[string]string{"corp": o.profile(remoteUDP)})
		st.add(alice, "own", o.profile(remoteUDP))
		st.setting(alice, "own", "auto_connect=true")
		c := st.withSignIns()
		is := func(when string, want ...string) {
			t.Helper()
			time.Sleep(10 * time.Second)
			if got := st.connections(); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		c.are("1000", "1001")
		is("at first", "own connected")
		if err := st.Disconnect(t.Context(), alice, "own"); err != nil {
			t.Fatal(err)
		}
		st.decide(o.policy(""))
		is("networks are trusted")
		st.decide(`{}`)
		is("none is any more")
		st.decide(o.policy(`, "AllowLocalNetwork": true`))
		is("again")
		c.are("1001")
		c.are("1000", "1001")
		is("alice comes back", "own connected")
		if err := st.Disconnect(t.Context(), alice, "own"); err != nil {
			t.Fatal(err)
		}

		// In the office, and then nobody cares where that is.
		o.answers(&o.good)
		st.network("192.168.1.23/24")
		is("in the office")
		st.decide(`{}`)
		is("it is trusted no more", "own connected")
		if err := st.Disconnect(t.Context(), alice, "own"); err != nil {
			t.Fatal(err)
		}

		// Without any network nobody knows, and who comes meanwhile waits.
		st.mu.Lock()
		st.facts = routes.Facts{}
		st.mu.Unlock()
		st.decide(o.policy(`, "AutoConnect": "corp"`))
		is("without a network")
		st.decide(`{"AutoConnect": "corp"}`)
		st.until(bob, "corp", "on its way", 10*time.Second, func(c api.Connection) bool { return true })
	})
}

// TestTrustedNetworkLockdown: lockdown is one everywhere.
func TestTrustedNetworkLockdown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := newOffice(t)
		st := newManaged(t, o.server, o.policy(`, "AutoConnect": "corp", "BlockWhenDisconnected": true`), map[string]string{"corp": o.profile(remoteUDP)})
		st.untilState(bob, "corp", api.Connected, 5*time.Second)
		o.answers(&o.good)
		st.network("192.168.1.23/24")
		if got := st.untilState(bob, "corp", api.Blocked, 5*time.Second); got.Problem != nil || closed(st.host(0)) != everything {
			t.Errorf("%+v, closed %s", got, closed(st.host(0)))
		}
		if err := st.Disconnect(t.Context(), bob, "corp"); err != nil {
			t.Error(err)
		}
		if closed(st.host(0)) != everything {
			t.Error("it opened")
		}
		o.answers(nil)
		st.network("192.168.1.24/24")
		st.untilState(bob, "corp", api.Connected, 5*time.Second)
	})
}

// TestTrustedNetworkAtBoot: where the office is there from the beginning, lockdown closes first, the look goes past it, and
// nothing connects.
func TestTrustedNetworkAtBoot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := newOffice(t)
		o.answers(&o.good)
		st := newManaged(t, o.server, o.policy(`, "AutoConnect": "corp", "AlwaysOn": true, "BlockWhenDisconnected": true`), map[string]string{"corp": o.profile(remoteUDP)})
		st.stop()
		st.slow = time.Second
		st.start()
		if p := st.hostCalled(trustHost).Plans(); len(p) > 0 || st.Status(bob).Policy.TrustedNetwork != "" {
			t.Errorf("it was looked for before the guard was closed, with %+v", p)
		}
		time.Sleep(2 * time.Second)
		var outer []routes.Endpoint
		for _, p := range st.hostCalled(trustHost).Plans() {
			outer = append(outer, p.Guard.Outer...)
		}
		if want := (routes.Endpoint{Address: netip.MustParseAddr("192.168.1.5"), Port: 443, Transport: "tcp"}); !slices.Contains(outer, want) {
			t.Errorf("it was let through to %v", outer)
		}
		if got := st.connections(); !slices.Equal(got, []string{"corp blocked"}) || closed(st.host(0)) != everything || st.Status(bob).Policy.TrustedNetwork != officeURL {
			t.Errorf("%q, closed %s", got, closed(st.host(0)))
		}
	})
}

// TestTrustedNetworkWithoutWay: a bridge is no network, unless a resolver is behind it.
func TestTrustedNetworkWithoutWay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := newOffice(t)
		o.answers(&o.good)
		st := newManaged(t, o.server, o.policy(`, "AutoConnect": "corp", "AlwaysOn": true`), map[string]string{"corp": o.profile(remoteUDP)})
		docker := routes.Facts{
			Routes:    []routes.UnderlayRoute{{Destination: netip.MustParsePrefix("172.17.0.0/16"), Device: "docker0"}},
			Addresses: []netip.Prefix{netip.MustParsePrefix("172.17.0.1/16")},
		}
		st.facts = docker
		st.stop()
		st.start()
		time.Sleep(2 * trustRest)
		if got := st.connections(); len(got) != 0 || st.Status(bob).Policy.TrustedNetwork != "" {
			t.Errorf("without a network %q", got)
		}
		docker.DNS = []netip.Addr{netip.MustParseAddr("172.17.0.9")} // a network from which nothing leads out
		o.answers(nil)
		st.hostCalled(trustHost).SetFacts(docker)
		st.untilState(bob, "corp", api.Connected, 10*time.Second)
	})
}

// TestBeginsTooLate: what was asked for before the network was found to be trusted, and has waited since, does not begin.
func TestBeginsTooLate(t *testing.T) {
	for _, lockdown := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			o := newOffice(t)
			o.answers(&o.good)
			st := newManaged(t, o.server, o.policy(fmt.Sprintf(`, "AutoConnect": "corp", "BlockWhenDisconnected": %t`, lockdown)), map[string]string{"corp": o.profile(remoteUDP)})
			time.Sleep(time.Minute)
			before := st.connections()
			if want := map[bool][]string{true: {"corp blocked"}}[lockdown]; !slices.Equal(before, want) {
				t.Errorf("in the office %q", before)
			}
			st.arouse(wish{Owner: managedOwner, Profile: "corp", Auto: true})
			time.Sleep(time.Minute)
			if got := st.connections(); !slices.Equal(got, before) {
				t.Errorf("too late %q", got)
			}
			st.connect(bob, "corp") // a person may
			st.untilState(bob, "corp", api.Connected, 5*time.Second)
		})
	}
}
