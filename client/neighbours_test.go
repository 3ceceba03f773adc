package client

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/push"
)

// TestConflictingNetworks: a second tunnel that wants the first one's network, all traffic as well, or its address, is
// refused by name, and the first one stays as it is. Inside a wider network of another tunnel there is room.
func TestConflictingNetworks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		pushed := make(chan push.Reply, 1)
		s.answer = func(o *ovpn.Session, ev ovpn.Event) error {
			if _, ok := ev.(ovpn.PushRequest); ok {
				_ = o.Push(time.Now(), <-pushed)
				return errHandled
			}
			return nil
		}
		n := byte(1)
		with := func(full bool, networks ...string) push.Reply {
			r := reply()
			n++
			r.Address = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 8, 0, n}), 24)
			r.Routes = nil
			for _, x := range networks {
				r.Routes = append(r.Routes, push.Route{Destination: netip.MustParsePrefix(x)})
			}
			if full {
				r.Redirect = &push.Redirect{Def1: true}
			}
			return r
		}
		up := func(who api.Caller, name string, r push.Reply) {
			t.Helper()
			pushed <- r
			st.connect(who, name)
			st.untilState(who, name, api.Connected, 5*time.Second)
		}
		refusedBy := func(who api.Caller, name string, r push.Reply, says string) {
			t.Helper()
			pushed <- r
			st.connect(who, name)
			got := st.until(who, name, "refused", 5*time.Second, func(c api.Connection) bool { return c.Problem != nil })
			if got.State != api.Disconnected || got.Problem.Code != api.CodeNetworkConflict || !strings.Contains(got.Problem.Message, says) {
				t.Errorf("%s: %s, %+v, want %q", name, got.State, got.Problem, says)
			}
		}
		for _, name := range []string{"corp", "lab", "all", "more"} {
			st.add(alice, name, s.profile(remoteUDP))
		}
		st.add(bob, "his", s.profile(remoteUDP))
		first := with(false, "10.0.0.0/8", "172.20.0.0/16")
		up(alice, "corp", first)
		refusedBy(alice, "lab", with(false, "10.7.0.0/16", "172.20.0.0/16"), "lab and corp cannot be connected at once: both take 172.20.0.0/16")
		same := with(false, "192.168.77.0/24")
		same.Address = first.Address
		refusedBy(alice, "lab", same, "both have the address 10.8.0.2")
		refusedBy(bob, "his", with(false, "10.0.0.0/8"), "his and another user's tunnel cannot be connected at once: both take 10.0.0.0/8")
		st.untilState(alice, "corp", api.Connected, 0)

		// More specific, and wider than all of them.
		up(alice, "lab", with(false, "10.7.0.0/16"))
		up(alice, "all", with(true))
		refusedBy(alice, "more", with(true), "both take 0.0.0.0/0")
		if err := st.Disconnect(t.Context(), alice, "all"); err != nil {
			t.Fatal(err)
		}
		up(alice, "more", with(true))

		// A setting makes room, and who ended has left it.
		st.setting(bob, "his", "route-=10.0.0.0/8")
		up(bob, "his", with(false, "10.0.0.0/8", "10.9.0.0/16"))
		if err := st.Disconnect(t.Context(), alice, ""); err != nil {
			t.Fatal(err)
		}
		up(alice, "corp", first)
	})
}

// TestWaitingDNS: status says whose servers are asked in place of a tunnel's.
func TestWaitingDNS(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.facts = underlay()
		st.facts.DNSManager = "NetworkManager"
		for _, name := range []string{"one", "two"} {
			st.add(alice, name, s.profile(remoteUDP))
			st.connect(alice, name)
			st.untilState(alice, name, api.Connected, 5*time.Second)
		}
		st.add(bob, "his", s.profile(remoteUDP))
		st.connect(bob, "his")
		st.untilState(bob, "his", api.Connected, 5*time.Second)
		waits := func(name, want string) {
			t.Helper()
			if got := st.untilState(alice, name, api.Connected, time.Second); got.DNS.Waits != want {
				t.Errorf("%s waits for %q, want %q", name, got.DNS.Waits, want)
			}
		}
		waits("one", "another user's tunnel")
		waits("two", "another user's tunnel")
		if err := st.Disconnect(t.Context(), bob, "his"); err != nil {
			t.Fatal(err)
		}
		waits("one", "two")
		waits("two", "")
		if err := st.Disconnect(t.Context(), alice, "two"); err != nil {
			t.Fatal(err)
		}
		waits("one", "")
	})
}

// TestAlwaysOnGoesFirst: what is always on gets the network that another tunnel has, which ends and does not get it back;
// and it begins first.
func TestAlwaysOnGoesFirst(t *testing.T) {
	for _, guard := range []string{"off", "auto"} {
		inBubble(t, func(t *testing.T) {
			s := newServer(t)
			s.answer = func(o *ovpn.Session, ev ovpn.Event) error {
				if _, ok := ev.(ovpn.PushRequest); ok {
					r := s.replyTo(o)
					r.Routes[0].Destination = netip.MustParsePrefix("10.0.0.0/8")
					_ = o.Push(time.Now(), r)
					return errHandled
				}
				return nil
			}
			st := newManaged(t, s, "", map[string]string{"corp": s.profile(remoteUDP)})
			st.add(alice, "own", s.profile(remoteUDP))
			st.setting(alice, "own", "guard="+guard)
			st.connect(alice, "own")
			st.untilState(alice, "own", api.Connected, 5*time.Second)
			own := st.hostCalled(hostOf(key{"1000", "own"}))
			ended := func() {
				t.Helper()
				got := st.until(alice, "own", "ended", 5*time.Second, func(c api.Connection) bool { return c.Problem != nil })
				want := api.Disconnected
				if guard == "auto" && got.GuardClosed {
					want = api.Blocked
				}
				if got.State != want || got.Problem.Code != api.CodeNetworkConflict || !strings.Contains(got.Problem.Message, "own and corp cannot be connected at once: both take 10.0.0.0/8") {
					t.Errorf("guard %s: %s, %+v", guard, got.State, got.Problem)
				}
				if p := own.Current(); len(p.Routes)+len(p.Addresses) > 0 {
					t.Errorf("guard %s: left of it: %+v", guard, p)
				}
			}
			const policy = `{"AutoConnect": "corp", "AlwaysOn": true`
			st.decide(policy + "}")
			st.untilState(alice, "corp", api.Connected, 5*time.Second)
			ended()
			st.connect(alice, "own")
			ended()
			st.untilState(alice, "corp", api.Connected, 0)

			// Where there is room for one, it is not the wish of the last run.
			st.decide("{}")
			if err := st.Disconnect(t.Context(), alice, ""); err != nil {
				t.Fatal(err)
			}
			if err := st.Disconnect(t.Context(), root, "corp"); err != nil {
				t.Fatal(err)
			}
			st.connect(alice, "own")
			st.untilState(alice, "own", api.Connected, 5*time.Second)
			st.stop()
			st.write("policy.json", policy+`, "MaxConnections": 1}`)
			st.start()
			st.untilState(alice, "corp", api.Connected, 5*time.Second)
			if got := st.until(alice, "own", "refused", 5*time.Second, func(c api.Connection) bool { return c.Problem != nil }); got.Problem.Code != api.CodeTooManyConnections {
				t.Errorf("%s, %+v", got.State, got.Problem)
			}
		})
	}
}

// TestAlwaysOnHasRoom: as many tunnels as may be do not keep away what is always on, parked in lockdown or not begun.
func TestAlwaysOnHasRoom(t *testing.T) {
	for _, more := range []string{"", `, "BlockWhenDisconnected": true`} {
		inBubble(t, func(t *testing.T) {
			s := newServer(t)
			policy := `{"AutoConnect": "corp", "MaxConnections": 1` + more
			st := newManaged(t, s, policy+"}", map[string]string{"corp": s.profile(remoteUDP)})
			st.untilState(alice, "corp", api.Connected, 5*time.Second)
			if err := st.Disconnect(t.Context(), root, "corp"); err != nil {
				t.Fatal(err)
			}
			st.add(alice, "own", s.profile(remoteUDP))
			st.connect(alice, "own")
			st.untilState(alice, "own", api.Connected, 5*time.Second)
			refused(t, "one too many", st.Connect(bob, api.ConnectRequest{Profile: "corp"}), api.CodeTooManyConnections)
			st.decide(policy + `, "AlwaysOn": true}`)
			st.untilState(alice, "corp", api.Connected, 5*time.Second)
			st.untilState(alice, "own", api.Connected, 0)
		})
	}
}
