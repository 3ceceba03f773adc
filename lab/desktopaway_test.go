//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// hotel makes the client's second network, 192.168.11.0/24, one that lets nothing through before somebody has signed in on its
// page; the first one, and the second once signIn was called, lead everywhere. NetworkManager in the client asks it.
func (w *world) hotel() (signIn func()) {
	w.t.Helper()
	w.ok(w.router.Do(func() error { return configure("eth0", []string{"192.168.11.1/24"}) }))
	w.run(w.router, "nft", "add table ip hotel; add chain ip hotel out { type filter hook forward priority 0; }; add rule ip hotel out ip saddr 192.168.11.0/24 drop")
	var signedIn atomic.Bool
	l, err := w.router.Listen("tcp", "192.168.10.1:8081")
	w.ok(err)
	page := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.RemoteAddr, "192.168.11.") && !signedIn.Load() {
			http.Redirect(rw, r, "https://hotel.example.test/sign-in", http.StatusFound)
			return
		}
		fmt.Fprint(rw, "NetworkManager is online\n")
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = page.Serve(l) }()
	w.t.Cleanup(func() { page.Close(); <-done })
	w.install(w.client, "networkmanager")
	w.bus(w.client)
	w.ok(w.client.Do(func() error { return w.link("../run/NetworkManager/resolv.conf") }))
	w.startNM("\n[connectivity]\nuri=http://192.168.10.1:8081/check\ninterval=300\n")
	w.run(w.client, "/usr/bin/nmcli", "con", "add", "type", "ethernet", "ifname", "eth0", "con-name", "hotel", "autoconnect", "no", "ipv4.method", "manual",
		"ipv4.addresses", "192.168.11.2/24", "ipv4.gateway", "192.168.11.1", "ipv6.method", "ignore")
	return func() {
		signedIn.Store(true)
		w.run(w.router, "nft", "delete table ip hotel")
	}
}

// connectivity is what NetworkManager's check finds now.
func (w *world) connectivity() string {
	return strings.TrimSpace(w.run(w.client, "/usr/bin/nmcli", "networking", "connectivity", "check"))
}

// TestDesktopAway: the app in a network that the organization trusts, where nothing connects by itself, and then in a hotel that
// wants a sign-in first: it says so, and connects once that is done.
func TestDesktopAway(t *testing.T) {
	t.Parallel()
	needsDesktop(t)
	needs(t, "dbus-daemon", "unshare", "nft")
	needsManagers(t)
	w := newWorld(t)
	signIn := w.hotel()
	w.between = w.router
	w.ok(w.router.Do(func() error { return configure("lo", []string{"198.51.100.254/32"}) }))
	w.endpointUp(w.worldYAML(false, nil, []string{"10.1.0.0/16"}))
	profile, policy := w.read(w.dataDir()+"/client.ovpn")+"connect-timeout 4\n", `{"AutoConnect": "corp", "TrustedNetworks": [`+w.site.office()+`]}`
	w.ok(w.client.Do(func() error {
		return errors.Join(os.MkdirAll("/etc/adit/profiles", 0o755), os.WriteFile("/etc/adit/profiles/corp.ovpn", []byte(profile), 0o644),
			os.WriteFile("/etc/adit/policy.json", []byte(policy), 0o644))
	}))
	w.aditd()
	d := w.desktopSeat(true)
	w.until(soon, "the office is known", func() bool { return strings.Contains(w.adit("status"), "trusted network: ") })
	d.open()
	d.tells("Adit: not connected")
	d.shot("trusted")

	w.run(w.client, "/usr/bin/nmcli", "-w", "10", "con", "up", "hotel")
	w.until(soon, "NetworkManager sees the portal", func() bool { return w.connectivity() == "portal" })
	w.until(6*soon, "the service sees the portal", func() bool {
		p := w.statusOf("corp").Problem
		return p != nil && p.Code == api.CodeCaptivePortal
	})
	d.sees("that the network wants a sign-in", d.amber)
	d.glance("portal")
	signIn()
	w.until(soon, "NetworkManager sees the internet", func() bool { return w.connectivity() == "full" })
	w.until(4*soon, "it connects", func() bool { return w.statusOf("corp").State == api.Connected })
	d.sees("that the tunnel is up", d.green)
	w.seen(worldHost, endpointSeen)
	d.key(keyMain)
	d.ends("corp")
	d.key(keyQuit)
	d.ended()
}
