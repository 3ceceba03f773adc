//go:build linux

package lab

import (
	"strings"
	"syscall"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// TestKill ends the service in the hardest way while connected, once followed by a
// clean-up and once by a restart.
func TestKill(t *testing.T) {
	t.Parallel()
	needs(t)
	w := newWorld(t)
	w.endpointUp(w.worldYAML(true, []string{"0.0.0.0/0"}, []string{"0.0.0.0/0", "10.1.0.0/16"}, "dns_servers: [10.1.0.2]"))
	service := w.aditd()
	w.importOwn()
	before := w.system()
	kill := func(p *Proc) {
		t.Helper()
		p.Stop(syscall.SIGKILL, soon) // the error is that it was killed
		if w.system() == before {
			t.Fatal("the killed service has left nothing to undo: this test proves nothing")
		}
	}

	w.adit("connect", "lab", "--timeout", "20s")
	w.seen(webAddr, endpointSeen)
	if conf := w.resolvConf(w.client); !strings.Contains(conf, "nameserver 10.1.0.2") {
		t.Errorf("resolv.conf while connected: %s", conf)
	}
	kill(service)
	out := w.run(w.client, bin(t, "aditd"), "cleanup", "--state", w.stateDir())
	if !strings.Contains(out, "undid 3 changes") {
		t.Errorf("cleanup: %s", out)
	}
	w.same("after kill -9 and cleanup", before, w.system())
	if out := w.run(w.client, bin(t, "aditd"), "cleanup", "--state", w.stateDir()); !strings.Contains(out, "nothing to undo") {
		t.Errorf("second cleanup: %s", out)
	}
	w.seen(webAddr, clientSeen)

	// The wish is still there: the next start resumes it.
	resumed := func(p *Proc) {
		t.Helper()
		w.until(soon, "the service resumed its wish", func() bool {
			return w.statusOf("lab").State == api.Connected
		})
		w.seen(webAddr, endpointSeen)
	}
	service = w.aditd()
	resumed(service)
	kill(service)
	service = w.aditd()
	w.ok(service.WaitFor("leftovers are undone", soon))
	resumed(service)

	// A clean end undoes everything, and a restart resumes again; disconnect ends the wish.
	w.terminate(service)
	w.same("after SIGTERM", before, w.system())
	service = w.aditd()
	resumed(service)
	w.adit("disconnect", "lab")
	w.same("after disconnect", before, w.system())
	w.terminate(service)
	service = w.aditd()
	if out := w.adit("status"); strings.Contains(out, "lab") && !strings.Contains(out, "disconnected") {
		t.Errorf("a tunnel after disconnect and restart: %s", out)
	}
}
