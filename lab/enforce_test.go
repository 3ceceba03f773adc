//go:build linux

package lab

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// TestRouteEnforcement: the endpoint's routes win over more specific ones of the client's machine, in the local network too,
// whatever the profile's settings say; somebody who adds or deletes routes meanwhile changes nothing, and in the end all is as before.
func TestRouteEnforcement(t *testing.T) {
	t.Parallel()
	needs(t, "ip", "nft")
	w := newWorld(t)
	const lan = "192.168.10.77"
	neighbour := netip.MustParseAddr(lan)
	w.run(w.router, "ip", "address", "add", lan+"/24", "dev", "eth0")
	for _, dst := range []string{"10.1.0.0/24", "10.1.0.10/32", "10.1.128.0/17"} {
		w.run(w.client, "ip", "route", "add", dst, "via", "192.168.10.1")
	}
	yaml := func(full, enforced bool) string {
		text := w.worldYAML(full, []string{"192.0.2.0/24"}, []string{"10.1.0.0/16", "192.0.2.0/24"})
		if enforced {
			text += "client_route_enforcement: true\n"
		}
		return text
	}
	w.endpointUp(yaml(false, false))
	w.aditd()
	w.importOwn()
	before := w.system()
	through := func(dst string) (string, bool) {
		out := w.adit("explain", dst)
		return out, strings.Contains(out, "goes through the tunnel")
	}

	// Not enforced: the machine's own routes win.
	w.adit("connect", "lab", "--timeout", "20s")
	w.cannotReach(w.client, worldHost)
	if out, ok := through("10.1.0.10"); ok {
		t.Errorf("not enforced: %s", out)
	}

	// Enforced: a new session, since clients learn it when one begins.
	if out := w.reload(yaml(false, true)); !strings.Contains(out, "1 sessions reset") {
		t.Errorf("reload: %s", out)
	}
	enforced := func(dst string) {
		t.Helper()
		w.until(soon, dst+" goes into the tunnel", func() bool { _, ok := through(dst); return ok })
	}
	enforced("10.1.0.10")
	w.reaches(w.client, none, worldHost)
	w.seen(worldHost, endpointSeen)
	if out, _ := through("10.1.0.77"); !strings.Contains(out, "the server enforces its routes") {
		t.Errorf("explain: %s", out)
	}
	w.reaches(w.client, none, neighbour) // no route of the endpoint holds it

	// What comes later is overruled, and what is deleted comes back.
	w.run(w.client, "ip", "route", "add", "192.0.2.80/32", "via", "192.168.10.1")
	w.until(soon, "the new route is overruled", func() bool { return w.seenAs(webAddr) == endpointSeen })
	enforced("192.0.2.80")
	device := w.status().Tunnel.Device
	w.run(w.client, "ip", "route", "delete", "10.1.0.0/25", "dev", device)
	w.run(w.client, "ip", "route", "delete", "10.1.0.10/32", "dev", device)
	w.until(2*soon, "the deleted routes are back", func() bool {
		table := w.routesOf(w.client)
		return strings.Contains(table, "10.1.0.0/25") && strings.Count(table, "10.1.0.10/32") == 2
	})
	w.seen(worldHost, endpointSeen)
	w.run(w.client, "ip", "route", "delete", "192.0.2.80/32", "via", "192.168.10.1")

	// Settings do not take it back.
	w.adit("disconnect", "lab")
	w.same("after the disconnect", before, w.system())
	w.adit("set", "lab", "route-=10.1.0.0/16")
	w.adit("connect", "lab", "--timeout", "20s")
	w.seen(worldHost, endpointSeen)
	w.adit("disconnect", "lab")
	w.same("after the second disconnect", before, w.system())

	// A full tunnel leaves nobody of the local network but the router.
	w.reaches(w.client, none, neighbour)
	w.reload(yaml(true, true))
	w.adit("connect", "lab", "--timeout", "20s")
	w.cannotReach(w.client, neighbour)
	if out, ok := through(lan); !ok {
		t.Errorf("the local network: %s", out)
	}
	w.seen(worldHost, endpointSeen)
	if st := w.status(); st.State != api.Connected || !st.FullTunnel {
		t.Errorf("status %+v", st)
	}
	w.adit("disconnect", "lab")
	w.same("after the full tunnel", before, w.system())
	w.reaches(w.client, none, neighbour)
}
