package client

import (
	"cmp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/pmtud"
)

// TestPathMTU: the tunnel follows what the path carries, and without an answer the profile.
func TestPathMTU(t *testing.T) {
	for _, c := range []struct {
		name, lines     string
		most, deviceMTU int
		known, mtu      int
	}{
		{"wide", "", 0, 1500, 1492, 1500},
		{"narrow", "", 1400 - 28, 1500, 1400, 1400 - 28 - 28},
		{"narrow device", "", 0, 1420, 1420, 1420 - 28 - 28},
		{"a router complained", "", 1200, 1240, 1200, 1200 - 28 - 28},
		{"nobody answers", "", 1, 1500, 0, 1500},
		{"small wish", "mssfix 1300 mtu\n", 1372, 1500, 1300, 1500},
		{"no wish", "mssfix 0\n", 1372, 1500, 0, 1500},
		{"fixed", "mssfix 1500 fixed\n", 0, 1500, 1500, 1500},
		{"a system that knows nothing", "", 1372, 0, 1400, 1400 - 28 - 28},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				s.most, s.deviceMTU = c.most, c.deviceMTU
				st := roaming(t, s, "remote 203.0.113.5\n"+c.lines)
				time.Sleep(20 * time.Second)
				got := st.untilState(alice, "work", api.Connected, 0)
				if got.Tunnel.PathMTU != c.known || got.Tunnel.MTU != c.mtu {
					t.Errorf("%+v, want a path of %d bytes and an MTU of %d", got.Tunnel, c.known, c.mtu)
				}
				if !ping(t, st.host(0), "an inner packet, long enough to look like one") {
					t.Error("the packet did not come back")
				}
			})
		})
	}
}

// TestPathMTUChanges: a path that becomes narrow under way, and wide again, is followed; a moment without
// answers changes nothing, and a server that is idle is left alone.
func TestPathMTUChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.deviceMTU = 1500
		st := roaming(t, s, "remote 203.0.113.5\n")
		for _, c := range []struct {
			most       int
			idle       bool
			known, mtu int
		}{{most: 0, known: 1492, mtu: 1500}, {most: 1372, idle: true, known: 1492, mtu: 1500}, {most: 1372, known: 1400, mtu: 1344},
			{most: 1, known: 1400, mtu: 1344}, {most: 0, idle: true, known: 1400, mtu: 1344}, {most: 0, known: 1492, mtu: 1500}} {
			s.set(func() {
				for theirs := range s.sessions {
					theirs.peer.Load().most.Store(int64(c.most))
				}
			})
			if !c.idle && !ping(t, st.host(0), "an inner packet, long enough to look like one") {
				t.Error("the packet did not come back")
			}
			time.Sleep(pmtud.Again + 20*time.Second)
			synctest.Wait()
			got := st.untilState(alice, "work", api.Connected, 0)
			if got.Tunnel.PathMTU != c.known || got.Tunnel.MTU != c.mtu {
				t.Errorf("%+v: %+v", c, got.Tunnel)
			}
		}
	})
}

// TestPathMTUOfNextSession: neither a path that was narrow for a while nor a server's word outlives its session.
func TestPathMTUOfNextSession(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.deviceMTU = 1500
		var st *stage
		for _, c := range []struct{ pushed, most, mtu int }{{0, 0, 1500}, {0, 1372, 1344}, {1600, 0, 1600}, {1600, 1372, 1344}, {0, 0, 1500}, {1400, 0, 1400}, {0, 0, 1500}} {
			s.set(func() {
				s.most = c.most
				s.answer = func(session *ovpn.Session, ev ovpn.Event) error {
					if _, ok := ev.(ovpn.PushRequest); !ok {
						return nil
					}
					r := reply()
					r.TunMTU = c.pushed
					return cmp.Or(session.Push(time.Now(), r), errHandled)
				}
			})
			if st == nil {
				st = roaming(t, s, "remote 203.0.113.5\n")
			} else {
				s.crash()
			}
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			got := st.untilState(alice, "work", api.Connected, 0)
			if plan := st.host(0).Current().MTU; got.Tunnel.MTU != c.mtu || plan != c.mtu {
				t.Errorf("%+v: %+v and a plan of %d bytes", c, got.Tunnel, plan)
			}
		}
		if _, opened := st.reconnects(); opened != 1 {
			t.Errorf("%d TUNs", opened)
		}
	})
}

// TestMTUOfOneServer: what stands in a <connection> block counts before the profile's line, and the server's
// word before both.
func TestMTUOfOneServer(t *testing.T) {
	for _, c := range []struct {
		name, lines string
		pushed, mtu int
	}{
		{"block", "<connection>\nremote 203.0.113.5\ntun-mtu 1380\n</connection>\n", 0, 1380},
		{"block and profile", "tun-mtu 1450\n<connection>\nremote 203.0.113.5\ntun-mtu 1380\n</connection>\n", 0, 1380},
		{"another block", "tun-mtu 1450\n<connection>\nremote 203.0.113.5\n</connection>\n<connection>\nremote 203.0.113.6\ntun-mtu 1380\n</connection>\n", 0, 1450},
		{"pushed", "<connection>\nremote 203.0.113.5\ntun-mtu 1380\n</connection>\n", 1420, 1420},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				s.answer = func(session *ovpn.Session, ev ovpn.Event) error {
					if _, ok := ev.(ovpn.PushRequest); !ok {
						return nil
					}
					r := reply()
					r.TunMTU = c.pushed
					return cmp.Or(session.Push(time.Now(), r), errHandled)
				}
				st := roaming(t, s, c.lines)
				if got := st.host(0).Current().MTU; got != c.mtu {
					t.Errorf("an MTU of %d, want %d", got, c.mtu)
				}
			})
		})
	}
}
