package client

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/routes"
)

// logged is the service's log so far.
func (st *stage) logged() string {
	var b strings.Builder
	st.Logs(st.t.Context(), alice, false, func(l api.LogLine) error { b.WriteString(l.Text + "\n"); return nil })
	return b.String()
}

// TestPushUpdate: routes, DNS, address and MTU change under a tunnel that stays up.
func TestPushUpdate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := roaming(t, s, remoteUDP)
		next := reply()
		next.Address = netip.MustParsePrefix("10.8.0.77/24")
		next.Routes = append(next.Routes, push.Route{Destination: netip.MustParsePrefix("10.97.0.0/16")})
		next.TunMTU = 1400
		s.each(func(o *ovpn.Session) {
			if err := o.Update(time.Now(), next); err != nil {
				t.Error(err)
			}
		})
		st.stays(2 * time.Second)
		plan := st.host(0).Current()
		if len(plan.Routes) != 2 || plan.MTU != 1400 || len(plan.Addresses) != 1 || plan.Addresses[0] != next.Address {
			t.Errorf("the plan is %+v", plan)
		}
		if dialed, opened := st.reconnects(); dialed != 1 || opened != 1 {
			t.Errorf("%d sockets, %d TUNs", dialed, opened)
		}
		if log := st.logged(); !strings.Contains(log, "+10.97.0.0/16 address +10.8.0.77/24 address -10.8.0.2/24 mtu 1400") {
			t.Errorf("the log: %s", log)
		}
		if c := st.Status(alice).Connections[0]; len(c.Routes) != 2 || c.Tunnel.MTU != 1400 {
			t.Errorf("status %+v", c)
		}
		if !ping(t, st.host(0), "an inner packet after the update of everything") {
			t.Error("the packet did not come back")
		}
		// The next change of the network builds on the new configuration.
		f := underlay()
		f.Routes[0].Gateway = netip.MustParseAddr("192.168.1.254")
		st.host(0).SetFacts(f)
		st.stays(2 * time.Second)
		if plan := st.host(0).Current(); len(plan.Routes) != 2 {
			t.Errorf("after a change of the network: %+v", plan)
		}
	})
}

// TestBadUpdate: an update that no working tunnel can come of leads to a new connection.
func TestBadUpdate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := roaming(t, s, remoteUDP)
		next := reply()
		next.Address = netip.MustParsePrefix("10.0.0.1/2") // too wide
		s.each(func(o *ovpn.Session) {
			if err := o.Update(time.Now(), next); err != nil {
				t.Error(err)
			}
		})
		c := st.untilState(alice, "work", api.Reconnecting, 2*time.Second)
		if c.Problem == nil || c.Problem.Code != api.CodePushRejected || !strings.Contains(c.Problem.Message, "too wide") {
			t.Errorf("problem %+v", c.Problem)
		}
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		if _, opened := st.reconnects(); opened != 1 {
			t.Errorf("%d TUNs", opened)
		}
	})
}

// Diff says in one line what an update changes.
func TestChangeInWords(t *testing.T) {
	old := routes.Plan{Routes: []routes.Route{{Destination: netip.MustParsePrefix("10.1.0.0/16")}}}
	next := routes.Plan{
		MTU: 1400, Around: []routes.Route{{Destination: netip.MustParsePrefix("192.0.2.1/32")}},
		DNS: routes.DNS{Search: []string{"example.test"}},
	}
	if got := routes.Diff(old, next).String(); got != "-10.1.0.0/16 around +192.0.2.1/32 mtu 1400 dns" {
		t.Error(got)
	}
	if d := routes.Diff(next, next); !d.IsZero() || d.String() != "" {
		t.Error(d)
	}
}
