package platform

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/routes"
)

// enforced is the plan of a full tunnel whose server enforces its routes, on what h finds.
func enforced(t *testing.T, h Host) routes.Plan {
	t.Helper()
	facts, err := h.Facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := routes.Build(push.Reply{Address: prefix("10.8.0.2/24"), Redirect: &push.Redirect{Def1: true}, EnforceRoutes: true}, facts,
		routes.Policy{Server: netip.MustParseAddr("203.0.113.5")})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestWindowsEnforced: the local network and a host's route are overruled and stay as they are; what somebody deletes comes back.
func TestWindowsEnforced(t *testing.T) {
	f, dir := newFakeWindows(), t.TempDir()
	theirs := winRoute{destination: prefix("10.1.2.3/32"), gateway: netip.MustParseAddr("192.168.1.1"), luid: luidEthernet, metric: 1}
	f.table = append(f.table, theirs)
	before := slices.Clone(f.table)
	h, _ := f.host(t, dir, "one")
	tun := open(t, h, "")
	f.note("connect")
	plan := enforced(t, h)
	apply(t, h, plan)
	f.note("somebody deletes our rows to the local network")
	f.table = slices.DeleteFunc(f.table, func(r winRoute) bool {
		return r.luid != luidEthernet && (r.destination == prefix("192.168.1.0/25") || r.destination == theirs.destination)
	})
	if again := enforced(t, h); !again.Equal(plan) {
		t.Errorf("planned\n%v\nat first\n%v", again, plan)
	}
	apply(t, h, plan)
	f.note("disconnect")
	if err := errors.Join(h.Close(), tun.Close()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.table, before) {
		t.Errorf("routes %v, before %v", f.table, before)
	}
	f.compare(t, "enforced")
}

// TestMacEnforced: the same, where a host's route cannot have another one beside it, and stays.
func TestMacEnforced(t *testing.T) {
	f, dir := newFakeMac(), t.TempDir()
	f.rows = slices.DeleteFunc(f.rows, func(r macRoute) bool { return r.Flags&rtfCloned != 0 }) // the kernel makes way with those itself
	f.rows = append(f.rows, macRoute{prefix("10.1.2.3/32"), netip.MustParseAddr("192.168.1.9"), 4, rtfUp | rtfGateway | rtfHost | rtfStatic})
	before := f.state()
	h, _ := f.macHost(t, dir, "one")
	tun := open(t, h, "")
	f.note("connect")
	plan := enforced(t, h)
	if !slices.ContainsFunc(plan.Notes, func(n string) bool { return strings.HasPrefix(n, "the route to 10.1.2.3 outside the tunnel stays") }) {
		t.Errorf("notes %q", plan.Notes)
	}
	apply(t, h, plan)
	f.note("somebody deletes one of our rows to the local network")
	f.rows = slices.DeleteFunc(f.rows, func(r macRoute) bool { return r.Destination == prefix("192.168.1.0/25") })
	apply(t, h, enforced(t, h))
	f.note("disconnect")
	if err := errors.Join(tun.Close(), h.Close()); err != nil {
		t.Fatal(err)
	}
	if after := f.state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	noJournal(t, dir)
	f.golden(t, "enforced")
}
