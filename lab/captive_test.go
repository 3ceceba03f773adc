//go:build linux

package lab

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// TestCaptivePortal: NetworkManager's own check meets a redirection, as in a hotel, and says so over D-Bus; a server that does
// not answer is then explained by it. Once somebody has signed in the
// connection comes up by itself.
func TestCaptivePortal(t *testing.T) {
	t.Parallel()
	needs(t, "dbus-daemon", "unshare")
	needsManagers(t)
	w := newWorld(t)
	var signedIn atomic.Bool
	l, err := w.router.Listen("tcp", "192.168.10.1:8081")
	w.ok(err)
	hotel := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if signedIn.Load() {
			fmt.Fprint(rw, "NetworkManager is online\n")
			return
		}
		http.Redirect(rw, r, "https://hotel.example.test/sign-in", http.StatusFound)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = hotel.Serve(l) }()
	t.Cleanup(func() { hotel.Close(); <-done })
	w.install(w.client, "networkmanager")
	w.bus(w.client)
	w.ok(w.client.Do(func() error { return w.link("../run/NetworkManager/resolv.conf") }))
	w.startNM("\n[connectivity]\nuri=http://192.168.10.1:8081/check\ninterval=300\n")
	w.until(soon, "NetworkManager sees the portal", func() bool { return w.connectivity() == "portal" })

	w.aditd()
	e := w.endpointUp(w.worldYAML(false, nil, []string{"10.1.0.0/16"}))
	w.importOwn()
	w.terminate(e)
	out, err := w.try(w.client, bin(t, "adit"), "connect", "lab", "--timeout", "3s")
	if err == nil || !strings.Contains(out, "this network seems to want you to sign in to it first") {
		t.Errorf("connect says: %v %s", err, out)
	}
	c := w.start(w.client, "adit connect", bin(t, "adit"), "connect", "lab", "--timeout", "0")
	w.until(6*soon, "status says so", func() bool {
		st := w.statusOf("lab")
		return st.Problem != nil && st.Problem.Code == api.CodeCaptivePortal
	})
	signedIn.Store(true)
	w.endpointUp(w.worldYAML(false, nil, []string{"10.1.0.0/16"}))
	w.until(soon, "NetworkManager sees the internet", func() bool { return w.connectivity() == "full" })
	w.until(4*soon, "it connects", func() bool { return w.statusOf("lab").State == api.Connected })
	<-c.Done()
	w.ok(c.Err())
}
