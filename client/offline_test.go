package client

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

const (
	nowhere     = "remote nowhere.example.test 1194 udp"
	nowhereElse = "remote elsewhere.example.test 443 tcp"
)

// TestWhoWaitsIsToldAtOnce: without a network, and with names that do not exist, a first connection
// that somebody waits for ends after one round over all servers, not after the whole time limit.
func TestWhoWaitsIsToldAtOnce(t *testing.T) {
	for _, c := range []struct {
		name, remotes string
		offline       bool // the machine, for look-ups
		noRoute       bool // dialing fails
		noDNS         bool
		late          bool // the time limit ends it
		code          string
		asked, dialed int // least
	}{
		{name: "unknown name", remotes: nowhere, code: api.CodeServerNameUnknown, asked: 1},
		{name: "two unknown names", remotes: nowhere + "\n" + nowhereElse, code: api.CodeServerNameUnknown, asked: 2},
		{name: "wrong family", remotes: "remote 192.0.2.1 1194 udp6", code: api.CodeServerNameUnknown},
		{name: "unknown name without a way out", remotes: nowhere, offline: true, code: api.CodeServerNameUnknown, asked: 1},
		{name: "a resolver that may answer yet", remotes: nowhere, noDNS: true, late: true, code: api.CodeServerNameUnknown, asked: 2},
		{name: "offline, a name", remotes: nowhere, offline: true, noDNS: true, code: api.CodeOffline, asked: 1},
		{name: "offline, an address over UDP", remotes: remoteUDP, offline: true, noRoute: true, code: api.CodeOffline, dialed: 1},
		{name: "offline, an address over TCP", remotes: "remote 192.0.2.1 443 tcp", noRoute: true, code: api.CodeOffline, dialed: 1},
		{name: "offline, a proxy", remotes: "remote 192.0.2.1 443 tcp\nhttp-proxy 192.0.2.9 8080", noRoute: true, code: api.CodeOffline, dialed: 1},
		{name: "one that may answer yet", remotes: nowhere + "\n" + remoteUDP, late: true, asked: 2, dialed: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				s.silent, s.noRoute, s.noDNS = true, c.noRoute, c.noDNS
				st := newStage(t, s, t.TempDir())
				st.offline = c.offline
				st.add(alice, "work", s.profile(c.remotes))
				const limit = time.Minute
				began := time.Now()
				if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Timeout: limit}); err != nil {
					t.Fatal(err)
				}
				got := st.untilState(alice, "work", api.Disconnected, limit+2*time.Second)
				took := time.Since(began)
				if got.Problem == nil || c.code != "" && got.Problem.Code != c.code {
					t.Errorf("problem %+v, want %s", got.Problem, c.code)
				}
				if late := took >= limit; late != c.late || !late && took > 5*time.Second {
					t.Errorf("it took %v", took)
				}
				s.set(func() {
					if len(s.asked) < c.asked || len(s.dialed) < c.dialed {
						t.Errorf("asked for %v, dialed %v", s.asked, s.dialed)
					}
				})
			})
		})
	}
}

// TestWithoutAnybodyWaiting: the same failures end nothing where nobody waits, nor where a wish is
// resumed: the network may come later, as it does at boot.
func TestWithoutAnybodyWaiting(t *testing.T) {
	for _, resumed := range []bool{false, true} {
		t.Run(fmt.Sprintf("resumed %t", resumed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				st := newStage(t, s, t.TempDir())
				st.offline, s.noDNS = true, true
				st.add(alice, "work", s.profile(nowhere))
				st.connect(alice, "work")
				if resumed {
					st.stop()
					st.start()
				}
				time.Sleep(5 * time.Minute)
				c := st.Status(alice).Connections
				if len(c) != 1 || c[0].State != api.Connecting || c[0].Problem == nil || c[0].Problem.Code != api.CodeOffline {
					t.Fatalf("status %+v", c)
				}
				st.mu.Lock()
				st.offline = false
				st.mu.Unlock()
				s.set(func() {
					s.noDNS = false
					s.names["nowhere.example.test"] = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
				})
				st.untilState(alice, "work", api.Connected, 2*time.Minute)
			})
		})
	}
}
