package client

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
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

// TestAddressOfAGoneSession: a server that was started anew gives a second tunnel the address of the first, whose session is gone
// without knowing. Both are up soon, and nothing of the first is left at that address.
func TestAddressOfAGoneSession(t *testing.T) {
	twoTunnels := func(t *testing.T, f func(t *testing.T, s *server, st *stage)) {
		t.Helper()
		inBubble(t, func(t *testing.T) {
			s := newServer(t)
			st := newStage(t, s, t.TempDir())
			for _, name := range []string{"one", "two"} {
				st.add(alice, name, s.profile(remoteUDP))
			}
			st.connect(alice, "one")
			st.untilState(alice, "one", api.Connected, 5*time.Second)
			f(t, s, st)
		})
	}
	bothUp := func(t *testing.T, st *stage, within time.Duration) {
		t.Helper()
		st.connect(alice, "two")
		two := st.untilState(alice, "two", api.Connected, within)
		one := st.untilState(alice, "one", api.Connected, time.Second)
		if a, b := two.Tunnel.Addresses[0], one.Tunnel.Addresses[0]; a != netip.MustParsePrefix("10.8.0.2/24") || b != netip.MustParsePrefix("10.8.1.2/24") {
			t.Errorf("two has %s, one has %s", a, b)
		}
		for i, want := range []string{"10.8.1.2/24", "10.8.0.2/24"} {
			if got := st.host(i).Current().Addresses; len(got) != 1 || got[0].String() != want {
				t.Errorf("tunnel %d has %v, want %s", i, got, want)
			}
		}
	}
	t.Run("not noticed", func(t *testing.T) {
		twoTunnels(t, func(t *testing.T, s *server, st *stage) {
			s.crash()
			synctest.Wait()
			bothUp(t, st, 3*time.Second)
		})
	})
	t.Run("waits for the server", func(t *testing.T) {
		twoTunnels(t, func(t *testing.T, s *server, st *stage) {
			s.crash()
			synctest.Wait()
			s.set(func() { s.silent = true })
			time.Sleep(time.Hour)
			st.until(alice, "one", "waiting", 10*time.Minute, func(c api.Connection) bool { return c.State == api.Reconnecting })
			s.set(func() { s.silent = false })
			bothUp(t, st, 5*time.Second)
		})
	})
	// Both have noticed, and each gets the other's.
	t.Run("swapped", func(t *testing.T) {
		twoTunnels(t, func(t *testing.T, s *server, st *stage) {
			certificate := func(o *ovpn.Session, ev ovpn.Event) (raw string, ok bool) {
				c, ok := ev.(ovpn.Credentials)
				if ok {
					raw = string(c.TLS.PeerCertificates[0].Raw)
				}
				return raw, ok
			}
			second := ""
			s.set(func() {
				s.answer = func(o *ovpn.Session, ev ovpn.Event) error {
					if raw, ok := certificate(o, ev); ok {
						second = raw
					}
					return nil
				}
			})
			st.connect(alice, "two")
			st.untilState(alice, "two", api.Connected, 5*time.Second)
			s.crash()
			synctest.Wait()
			s.set(func() {
				s.answer = func(o *ovpn.Session, ev ovpn.Event) error {
					if raw, ok := certificate(o, ev); ok {
						s.set(func() {
							if s.numbers[o] = 1; raw == second {
								s.numbers[o] = 0
							}
						})
					}
					return nil
				}
			})
			for _, name := range []string{"one", "two"} {
				st.until(alice, name, "lost", 3*time.Minute, func(c api.Connection) bool { return c.State == api.Reconnecting })
			}
			for i, name := range []string{"one", "two"} {
				c := st.untilState(alice, name, api.Connected, 15*time.Second)
				if want := fmt.Sprintf("10.8.%d.2/24", 1-i); c.Tunnel.Addresses[0].String() != want || st.host(i).Current().Addresses[0].String() != want {
					t.Errorf("%s has %v, want %s", name, c.Tunnel.Addresses, want)
				}
			}
		})
	})
	t.Run("the first has ended", func(t *testing.T) {
		twoTunnels(t, func(t *testing.T, s *server, st *stage) {
			s.crash()
			synctest.Wait()
			st.connect(alice, "two")
			time.Sleep(time.Second)
			if err := st.Disconnect(t.Context(), alice, "one"); err != nil {
				t.Fatal(err)
			}
			st.untilState(alice, "two", api.Connected, time.Millisecond)
		})
	})
	// A server that gives one address twice, with both sessions alive: the first stays as it is.
	t.Run("alive", func(t *testing.T) {
		twoTunnels(t, func(t *testing.T, s *server, st *stage) {
			s.set(func() {
				s.answer = func(o *ovpn.Session, ev ovpn.Event) error {
					if _, ok := ev.(ovpn.PushRequest); ok {
						_ = o.Push(time.Now(), reply())
						return errHandled
					}
					return nil
				}
			})
			before := st.untilState(alice, "one", api.Connected, 0)
			st.connect(alice, "two")
			got := st.until(alice, "two", "refused", 2*time.Second, func(c api.Connection) bool { return c.Problem != nil })
			if got.State != api.Disconnected || !strings.Contains(got.Problem.Message, "both have the address 10.8.0.2") {
				t.Errorf("%s, %+v", got.State, got.Problem)
			}
			time.Sleep(time.Minute)
			if after := st.untilState(alice, "one", api.Connected, 0); !after.Since.Equal(before.Since) || len(s.dialed) != 2 {
				t.Errorf("the first was up since %s, now since %s; %d attempts", before.Since, after.Since, len(s.dialed))
			}
		})
	})
	// Another server's address is no sign of anything: it is refused at once, and nobody is asked.
	t.Run("another server", func(t *testing.T) {
		twoTunnels(t, func(t *testing.T, s *server, st *stage) {
			s.crash()
			synctest.Wait()
			st.add(alice, "far", s.profile("remote 198.51.100.7 443 udp"))
			st.connect(alice, "far")
			got := st.until(alice, "far", "refused", 100*time.Millisecond, func(c api.Connection) bool { return c.Problem != nil })
			if !strings.Contains(got.Problem.Message, "both have the address 10.8.0.2") {
				t.Errorf("%+v", got.Problem)
			}
			st.untilState(alice, "one", api.Connected, 0)
		})
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
