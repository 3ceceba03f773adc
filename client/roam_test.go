package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/platformtest"
	"github.com/adit-vpn/adit/platform/udp"
	"github.com/adit-vpn/adit/routes"
)

// elsewhere is the machine in another network.
func elsewhere() routes.Facts {
	return routes.Facts{
		Routes: []routes.UnderlayRoute{
			{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("172.16.0.1"), Device: "wlan0"},
			{Destination: netip.MustParsePrefix("172.16.0.0/24"), Device: "wlan0"},
		},
		Addresses: []netip.Prefix{netip.MustParsePrefix("172.16.0.9/24")},
	}
}

// move brings the machine there.
func (st *stage) move(f routes.Facts) {
	st.server.set(func() { st.server.source = netip.Addr{} })
	if len(f.Addresses) > 0 {
		st.server.set(func() { st.server.source = f.Addresses[0].Addr() })
	}
	st.host(0).SetFacts(f)
}

// reconnects is how often the server has been dialed and the TUN opened.
func (st *stage) reconnects() (dialed, opened int) {
	st.server.set(func() { dialed = len(st.server.dialed) })
	for _, call := range st.host(0).Calls() {
		if call == "OpenTUN" {
			opened++
		}
	}
	return dialed, opened
}

// roaming is a connected stage.
func roaming(t *testing.T, s *server, extra string) *stage {
	t.Helper()
	st := newStage(t, s, t.TempDir())
	st.add(alice, "work", s.profile(extra))
	st.connect(alice, "work")
	st.untilState(alice, "work", api.Connected, 5*time.Second)
	return st
}

// stays demands that the tunnel is never seen down for d.
func (st *stage) stays(d time.Duration) {
	st.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if c := st.Status(alice).Connections; len(c) != 1 || c[0].State != api.Connected {
			st.t.Fatalf("the tunnel went down: %+v", c)
		}
	}
}

// TestFloat: the machine moves to another network; the session goes on from the new address.
func TestFloat(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.float = true
		st := roaming(t, s, remoteUDP+"\nredirect-gateway def1")
		st.move(elsewhere())
		st.stays(6 * time.Second)
		if dialed, opened := st.reconnects(); dialed != 2 || opened != 1 {
			t.Errorf("%d sockets, %d TUNs", dialed, opened)
		}
		if !ping(t, st.host(0), "from the other address, through the same session") {
			t.Error("the packet did not come back")
		}
		around := st.host(0).Current().Around
		if len(around) != 1 || around[0].Gateway != netip.MustParseAddr("172.16.0.1") {
			t.Errorf("the way around: %+v", around)
		}
		// What does not change the way to the server changes no socket.
		f := elsewhere()
		f.Addresses = append(f.Addresses, netip.MustParsePrefix("10.99.0.1/24"))
		st.host(0).SetFacts(f)
		st.stays(6 * time.Second)
		if dialed, _ := st.reconnects(); dialed != 2 {
			t.Errorf("%d sockets after a change elsewhere", dialed)
		}
		for i, p := range st.host(0).Plans() {
			if p.IsZero() {
				t.Errorf("plan %d is zero: a gap", i)
			}
		}
	})
}

// TestNewSessionAfterMoving: where the server does not follow, a new session comes after a few seconds,
// to the server's newest address.
func TestNewSessionAfterMoving(t *testing.T) {
	for _, c := range []struct {
		name, extra string
		within      time.Duration
	}{
		{"udp", "remote vpn.example.test 1194 udp", 3 * time.Second},
		{"tcp", "remote vpn.example.test 443 tcp", time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				s.names["*"] = []netip.Addr{netip.MustParseAddr("192.0.2.7")}
				st := roaming(t, s, c.extra)
				s.set(func() {
					s.names["*"] = []netip.Addr{netip.MustParseAddr("192.0.2.8")}
				})
				if c.name == "tcp" {
					// net.Pipe has no address: TCP asks for a sign of life like UDP without float, and gets it.
					st.move(elsewhere())
					st.stays(6 * time.Second)
					return
				}
				st.move(elsewhere())
				// In memory the new session takes no time: its server shows that there is one.
				st.until(alice, "work", "with the new address", c.within, func(c api.Connection) bool {
					return c.State == api.Connected && c.Server.Address == "192.0.2.8"
				})
				var log []string
				st.Logs(t.Context(), alice, false, func(l api.LogLine) error { log = append(log, l.Text); return nil })
				if !strings.Contains(strings.Join(log, "\n"), api.CodeNetworkChanged) {
					t.Errorf("the log does not say why: %q", log)
				}
				if _, opened := st.reconnects(); opened != 1 {
					t.Errorf("%d TUNs", opened)
				}
			})
		})
	}
}

// TestBeside: the address of a link that is down is one of the machine's, and leads nowhere.
func TestBeside(t *testing.T) {
	up, down := underlay(), elsewhere()
	own := netip.MustParseAddr("192.168.1.20")
	down.Addresses = append(down.Addresses, up.Addresses...)
	if !beside(up, own) || beside(down, own) || lostAddress(down, own) {
		t.Errorf("up %t, down %t, lost %t", beside(up, own), beside(down, own), lostAddress(down, own))
	}
	if beside(up, netip.Addr{}) || beside(up, netip.MustParseAddr("203.0.113.9")) {
		t.Error("every address is beside")
	}
}

// TestNoNetworkForAWhile: without a way to the server nothing is tried, and afterwards the session goes on.
func TestNoNetworkForAWhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.float = true
		st := roaming(t, s, remoteUDP)
		st.host(0).SetFacts(routes.Facts{})
		st.stays(20 * time.Second)
		if dialed, _ := st.reconnects(); dialed != 1 {
			t.Errorf("%d sockets without a network", dialed)
		}
		st.move(elsewhere())
		st.stays(6 * time.Second)
		if dialed, _ := st.reconnects(); dialed != 2 || !ping(t, st.host(0), "and on it goes, at last") {
			t.Errorf("it does not go on: %d sockets", dialed)
		}
	})
}

// vanishing is a machine whose network goes between the look at it and the change: routes by its device are refused then.
type vanishing struct {
	*platformtest.Host
	next *atomic.Pointer[routes.Facts] // nil: it stays
}

func (h vanishing) Apply(ctx context.Context, plan routes.Plan) error {
	if len(plan.Around) > 0 {
		if f := h.next.Swap(nil); f != nil {
			h.SetFacts(*f)
			return fmt.Errorf("add route: %w", syscall.ENETDOWN)
		}
	}
	return h.Host.Apply(ctx, plan)
}

// TestNetworkGoesMeanwhile: a route that cannot be set because its device has just gone ends neither a tunnel nor an attempt,
// and one that cannot be set for another reason is told.
func TestNetworkGoesMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.float = true
		st := newStage(t, s, t.TempDir())
		h := vanishing{platformtest.NewHost(underlay()), &atomic.Pointer[routes.Facts]{}}
		st.cfg.Hosts = func(string, *slog.Logger) (platform.Host, error) { return h, nil }
		st.add(alice, "work", s.profile(remoteUDP+"\nredirect-gateway def1"))
		lan := underlay()
		lan.Addresses = append(lan.Addresses, netip.MustParsePrefix("10.99.0.1/24"))
		h.next.Store(&lan)
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)

		h.next.Store(&routes.Facts{})
		h.SetFacts(underlay())
		st.stays(6 * time.Second)
		s.set(func() { s.source = elsewhere().Addresses[0].Addr() })
		h.SetFacts(elsewhere())
		st.stays(6 * time.Second)
		if around := h.Current().Around; len(around) != 1 || around[0].Gateway != netip.MustParseAddr("172.16.0.1") {
			t.Errorf("the way around: %+v", around)
		}

		h.Fail("Apply", errors.New("no more routes"))
		h.SetFacts(underlay())
		st.until(alice, "work", "the status says so", 5*time.Second, func(c api.Connection) bool {
			return c.State == api.Connected && c.Problem != nil && c.Problem.Code == api.CodeRoutesFailed
		})
		h.Fail("Apply", nil)
	})
}

// TestSleep: on waking, a session that the server still has goes on, and another is replaced at once.
func TestSleep(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			s := newServer(t)
			s.float = true
			st := roaming(t, s, remoteUDP)
			if forgotten {
				s.crash()
				synctest.Wait()
			}
			st.mu.Lock()
			st.asleep += time.Hour
			st.mu.Unlock()
			if !forgotten {
				st.stays(10 * time.Second)
				if dialed, _ := st.reconnects(); dialed != 1 {
					t.Errorf("%d sockets", dialed)
				}
				return
			}
			time.Sleep(napCheck + settleQuiet + floatWait + time.Second)
			st.untilState(alice, "work", api.Connected, 0)
			if dialed, _ := st.reconnects(); dialed != 2 {
				t.Errorf("%d sockets", dialed)
			}
		})
	}
}

// TestNetworkEndsThePause: who waits for the next attempt does not wait on when the network comes.
func TestNetworkEndsThePause(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.refused = true
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP+"\nconnect-retry 300 300"))
		st.connect(alice, "work")
		time.Sleep(10 * time.Second)
		s.set(func() { s.refused = false })
		time.Sleep(10 * time.Second)
		if c := st.Status(alice).Connections[0]; c.State == api.Connected {
			t.Fatal("connected: there was no pause")
		}
		st.host(0).SetFacts(underlay())
		st.untilState(alice, "work", api.Connected, time.Second)
	})
}

// TestNetworkComesDuringTheHandshake: a handshake that nobody has answered begins again.
func TestNetworkComesDuringTheHandshake(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.silent = true
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile(remoteUDP))
		st.connect(alice, "work")
		time.Sleep(10 * time.Second)
		s.set(func() { s.silent = false })
		st.host(0).SetFacts(elsewhere())
		st.untilState(alice, "work", api.Connected, time.Second)
	})
}

// TestFailover: a server whose UDP is blocked is left for the next one, over TCP, without a person.
func TestFailover(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.noUDP = true
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile("remote 192.0.2.1 1194 udp\nremote 192.0.2.1 443 tcp"))
		st.connect(alice, "work")
		c := st.untilState(alice, "work", api.Connected, pollSeveral+2*time.Second)
		if c.Server.Transport != "tcp" {
			t.Errorf("connected over %s", c.Server.Transport)
		}
	})
}

func TestPollTimeoutOfTheProfile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.noUDP = true
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile("remote 192.0.2.1 1194 udp\nremote 192.0.2.1 443 tcp\nserver-poll-timeout 4"))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 6*time.Second)
	})
}

// TestLimits: each ends the tunnel for good, with its reason, at its time.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		extra, word   string
		after, before time.Duration
		prepare       func(st *stage)
	}{
		{"session-timeout 100", "session-timeout", 100 * time.Second, 104 * time.Second, nil},
		{"inactive 100", "inactive", 130 * time.Second, 134 * time.Second, func(st *stage) {
			time.Sleep(30 * time.Second)
			ping(st.t, st.host(0), "something passes, and the time begins anew")
		}},
		{"pull-filter ignore ping\nping-exit 40", "ping-exit", 40 * time.Second, 60 * time.Second, func(st *stage) {
			st.server.set(func() { st.server.silent = true })
			st.server.crash()
		}},
	} {
		t.Run(c.word, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				st := roaming(t, s, remoteUDP+"\n"+c.extra)
				begin := time.Now()
				if c.prepare != nil {
					c.prepare(st)
				}
				got := st.untilState(alice, "work", api.Blocked, 5*time.Minute)
				d := time.Since(begin)
				if d < c.after-time.Second || d > c.before {
					t.Errorf("it ended after %v", d)
				}
				if got.Problem == nil || got.Problem.Code != api.CodeSessionEnded || !strings.Contains(got.Problem.Message, c.word) {
					t.Errorf("problem %+v", got.Problem)
				}
				st.blocked(alice, "work", api.CodeSessionEnded)
			})
		})
	}
}

func TestRemotesLearn(t *testing.T) {
	a := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")}
	s := newServer(t)
	s.names["vpn.example.test"] = a[:2]
	r := newRemotes([]remote{{host: "vpn.example.test", port: 1}, {host: "192.0.2.9", port: 2}}, false, false, s, nil)
	first := func(offline bool) netip.Addr {
		t.Helper()
		got, err := r.resolve(t.Context(), offline)
		if err != nil {
			t.Fatal(err)
		}
		return got.Addr()
	}
	if first(false) != a[0] || !r.several() {
		t.Fatal(r.addrs)
	}
	r.learn([]netip.Addr{a[2], a[0]}, a[0])
	r.forget()
	if first(true) != a[0] || len(s.asked) != 1 {
		t.Errorf("after learning: %v, asked %v", r.addrs, s.asked)
	}
	r.fail()
	if first(true) != a[2] {
		t.Errorf("the second address: %v", r.addrs)
	}
	if r.fail(); first(true) != netip.MustParseAddr("192.0.2.9") {
		t.Errorf("the second server: %v", r.addrs)
	}
	if !r.fail() || first(true) != a[0] || len(s.asked) != 2 {
		t.Errorf("a new round with addresses that have failed asks again: %v, asked %v", r.addrs, s.asked)
	}
	if !r.current().named() || (remote{host: "2001:db8::1"}).named() {
		t.Error("names")
	}
}

// TestRemotesInherit: a profile with another list of servers keeps what was found of those that it still has.
func TestRemotesInherit(t *testing.T) {
	a := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	s := newServer(t)
	s.names["a.example.test"], s.names["b.example.test"] = a[:1], a[1:]
	old := newRemotes([]remote{{host: "a.example.test"}, {host: "b.example.test"}}, false, false, s, nil)
	old.lookUpAll(t.Context())
	s.noDNS = true
	r := newRemotes([]remote{{host: "c.example.test"}, {host: "b.example.test", port: 443}, {host: "a.example.test", family: 6}}, false, false, s, nil)
	r.inherit(old)
	for i, want := range []netip.Addr{{}, a[1], {}} {
		if got, _ := r.resolve(t.Context(), true); got.Addr() != want {
			t.Errorf("server %d: %v, want %v", i, got, want)
		}
		r.next()
	}

	// A server that the list has twice, of which one was never asked for.
	twice := []remote{{host: "b.example.test", port: 1194}, {host: "b.example.test", port: 443, stream: true}}
	s.noDNS = false
	old = newRemotes(twice, false, false, s, nil)
	if _, err := old.resolve(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	s.noDNS = true
	r = newRemotes(twice, false, false, s, nil)
	r.inherit(old)
	for range twice {
		if got, err := r.resolve(t.Context(), true); got.Addr() != a[1] {
			t.Errorf("%v, %v, want %v", got, err, a[1])
		}
		r.next()
	}
}

// TestReachedKeepsTheOthers: where names cannot be asked, the addresses of former times that are not in use stay known.
func TestReachedKeepsTheOthers(t *testing.T) {
	all := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	s := newServer(t)
	s.noDNS = true
	r := newRemotes([]remote{{host: "a.example.test"}}, false, false, s, func(string) []netip.Addr { return slices.Clone(all) })
	if got, err := r.resolve(t.Context(), true); err != nil || got.Addr() != all[0] {
		t.Fatalf("%v, %v", got, err)
	}
	if name, addrs := r.reached(all[1]); name != "a.example.test" || !slices.Equal(addrs, []netip.Addr{all[1], all[0]}) {
		t.Errorf("%s %v", name, addrs)
	}
}

func TestLoopGuard(t *testing.T) {
	four := func(proto byte, dst string, port byte) []byte {
		p := append(make([]byte, 20), 0x30, 0x39, 0x04, port, 0, 8, 0, 0)
		p[0], p[9] = 0x45, proto
		copy(p[16:], netip.MustParseAddr(dst).AsSlice())
		return p
	}
	six := func(proto byte, dst string, port byte) []byte {
		p := append(make([]byte, 40), 0x30, 0x39, 0x04, port, 0, 8, 0, 0)
		p[0], p[6] = 0x60, proto
		copy(p[24:], netip.MustParseAddr(dst).AsSlice())
		return p
	}
	fragment := four(protoUDP, "192.0.2.1", 0xaa)
	fragment[7] = 1
	g4 := newLoopGuard(netip.MustParseAddrPort("192.0.2.1:1194"), false) // 1194 is 0x04aa
	g6 := newLoopGuard(netip.MustParseAddrPort("[2001:db8::1]:1194"), true)
	for i, c := range []struct {
		g    loopGuard
		p    []byte
		want bool
	}{
		{g4, four(protoUDP, "192.0.2.1", 0xaa), true},
		{g4, four(protoUDP, "192.0.2.1", 0xab), false},
		{g4, four(protoTCP, "192.0.2.1", 0xaa), false},
		{g4, four(protoUDP, "192.0.2.2", 0xaa), false},
		{g4, six(protoUDP, "2001:db8::1", 0xaa), false},
		{g4, fragment, false},
		{g4, four(protoUDP, "192.0.2.1", 0xaa)[:22], false},
		{g6, six(protoTCP, "2001:db8::1", 0xaa), true},
		{g6, six(protoUDP, "2001:db8::1", 0xaa), false},
		{g6, six(protoTCP, "2001:db8::2", 0xaa), false},
		{g6, six(protoTCP, "2001:db8::1", 0xaa)[:41], false},
		{g6, nil, false},
		{loopGuard{}, four(protoUDP, "192.0.2.1", 0xaa), false},
	} {
		if got := c.g.catches(c.p); got != c.want {
			t.Errorf("case %d: %t", i, got)
		}
	}
}

// stuckConn is a TCP connection into a network that can go away: it then takes nothing, and nothing comes.
type stuckConn struct {
	net.Conn
	stuck   atomic.Bool
	nowhere net.Conn
}

func newStuckConn(c net.Conn) *stuckConn {
	nowhere, _ := net.Pipe() // that nobody reads from
	return &stuckConn{Conn: c, nowhere: nowhere}
}

func (c *stuckConn) Write(b []byte) (int, error) {
	if c.stuck.Load() {
		return c.nowhere.Write(b)
	}
	return c.Conn.Write(b)
}

func (c *stuckConn) SetWriteDeadline(t time.Time) error {
	return errors.Join(c.Conn.SetWriteDeadline(t), c.nowhere.SetWriteDeadline(t))
}

func (c *stuckConn) Close() error { return errors.Join(c.Conn.Close(), c.nowhere.Close()) }

// stuckDialer makes one of its connections.
type stuckDialer struct {
	*server
	last *stuckConn
}

func (d *stuckDialer) DialTCP(ctx context.Context, addr netip.AddrPort, o udp.Options) (net.Conn, error) {
	c, err := d.server.DialTCP(ctx, addr, o)
	if err != nil {
		return nil, err
	}
	d.last = newStuckConn(c)
	return d.last, nil
}

// TestFullTCP: the session's goroutine hangs in a connection that takes nothing, and is brought out of
// there: at once when the network changes, after a while when nobody says so, and when a person wants.
func TestFullTCP(t *testing.T) {
	for name, then := range map[string]func(st *stage){
		"move": func(st *stage) { st.move(elsewhere()); time.Sleep(settleMost + floatWait + 2*time.Second) },
		"wait": func(st *stage) { time.Sleep(writeTimeout + 3*time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				st := fullTCP(t)
				then(st)
				st.untilState(alice, "work", api.Connected, 0)
				if dialed, opened := st.reconnects(); dialed != 2 || opened != 1 {
					t.Errorf("%d connections, %d TUNs", dialed, opened)
				}
			})
		})
	}
	t.Run("disconnect", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			st := fullTCP(t)
			began := time.Now()
			if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("that took %v", took)
			}
		})
	})
}

// fullTCP is a connected stage whose TCP connection takes nothing since a second ago.
func fullTCP(t *testing.T) *stage {
	s := newServer(t)
	d := &stuckDialer{server: s}
	st := newStage(t, s, t.TempDir())
	st.Service.cfg.Dialer = d
	st.add(alice, "work", s.profile("remote 192.0.2.1 443 tcp"))
	st.connect(alice, "work")
	st.untilState(alice, "work", api.Connected, 5*time.Second)
	d.last.stuck.Store(true)
	s.each(func(o *ovpn.Session) { o.Renegotiate(time.Now()) }) // the client must answer that
	time.Sleep(time.Second)
	return st
}

// TestEnforcedRoutes: where the server enforces its routes, they are looked after without any change of the network, and the
// underlay's routes inside them are overruled as soon as they come.
func TestEnforcedRoutes(t *testing.T) {
	for _, enforced := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			d := newDoor(t, only("alice", "pw"))
			judge := d.answer
			d.answer = func(o *ovpn.Session, ev ovpn.Event) error {
				if _, ok := ev.(ovpn.PushRequest); !ok {
					return judge(o, ev)
				}
				r := reply()
				r.EnforceRoutes = enforced
				o.Push(time.Now(), r)
				return errHandled
			}
			st := newStage(t, d.server, t.TempDir())
			st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass"))
			st.connect(alice, "work")
			st.say(st.asked(api.LoginPassword), api.Answer{Username: "alice", Password: "pw"})
			st.untilState(alice, "work", api.Connected, 10*time.Second)
			had := len(st.host(0).Plans())
			time.Sleep(10*enforceCheck + time.Second)
			if n := len(st.host(0).Plans()) - had; enforced != (n >= 10) || !enforced && n > 0 {
				t.Errorf("enforced %v: applied %d times", enforced, n)
			}
			facts := elsewhere()
			facts.Routes = append(facts.Routes, routes.UnderlayRoute{Destination: netip.MustParsePrefix("10.98.0.64/26"), Device: "eth0"})
			st.move(facts)
			time.Sleep(2 * settleMost)
			over := slices.ContainsFunc(st.host(0).Current().Routes, func(r routes.Route) bool { return r.Destination == netip.MustParsePrefix("10.98.0.64/27") })
			if over != enforced {
				t.Errorf("enforced %v: routes %v", enforced, st.host(0).Current().Routes)
			}
		})
	}
}
