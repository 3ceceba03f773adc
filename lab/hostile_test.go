//go:build linux

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// trapNames are programs that a careless client would look up in PATH.
func trapNames() []string {
	return []string{"sh", "bash", "ip", "ifconfig", "route", "iptables", "nft", "resolvconf", "resolvectl", "systemd-resolve", "busctl",
		"sysctl", "modprobe", "python3", "perl", "curl", "openvpn", "xdg-open", "update-resolv-conf", "systemd-ask-password"}
}

// TestNothingRuns connects, for real, with a profile that names a program wherever
// openvpn takes one, while the server pushes more of them. openvpn runs them; we
// run nothing, as the kernel's list of executed files says: neither the service,
// which is root, nor the command of an ordinary user.
func TestNothingRuns(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn", "setpriv")
	s := newSite(t)
	p, c := newPKI(t), cell{Transport: "udp", Wrap: "tls-crypt", Cipher: "AES-256-GCM"}
	key := staticKey()
	s.ok(os.Chmod(filepath.Dir(s.client.Dir), 0o755))

	ran := filepath.Join(s.client.Dir, "ran")
	s.ok(os.Mkdir(ran, 0o777))
	s.ok(os.Chmod(ran, 0o777)) // whatever the umask
	trap := func(name string) string {
		file := s.write(s.client, name, "#!/bin/sh\n: >"+ran+"/${0##*/}\nexit 0\n")
		s.ok(os.Chmod(file, 0o755))
		return file
	}
	s.ok(os.Mkdir(filepath.Join(s.client.Dir, "path"), 0o755))
	for _, name := range trapNames() {
		trap("path/" + name)
	}
	var lines []string
	for _, d := range []string{"up", "down", "route-up", "route-pre-down", "ipchange", "tls-verify"} {
		lines = append(lines, d+" "+trap("evil-"+d))
	}
	lines = append(lines, "script-security 3", "up-restart", "down-pre", "setenv opt dns-updown "+trap("evil-dns-updown"),
		"setenv opt iproute "+trap("evil-iproute"), "setenv LD_PRELOAD "+trap("evil.so"), "setenv PATH "+s.client.Dir+"/path")
	ours := append([]string{"plugin " + trap("evil-plugin.so"), "engine " + trap("evil-engine.so"), "management-client",
		"auth-user-pass-verify " + trap("evil-verify") + " via-env", "learn-address " + trap("evil-learn")}, lines...)
	var push []string
	for _, d := range []string{"up", "down", "route-up", "plugin", "script-security 3", "setenv-safe", "dns-updown", "ipchange"} {
		push = append(push, fmt.Sprintf("push \"%s %s\"", d, trap("evil-pushed")))
	}
	server := s.openvpn(s.server, openvpnServer(s, p, key, c, append(push, "push \"dhcp-option DOMAIN $(evil)\"")...))
	s.ok(server.WaitFor("Initialization Sequence Completed", soon))
	touched := func() (names []string) {
		entries, err := os.ReadDir(ran)
		s.ok(err)
		for _, e := range entries {
			names = append(names, e.Name())
			s.ok(os.Remove(filepath.Join(ran, e.Name())))
		}
		return names
	}

	// The traps work: openvpn steps into them.
	seen := s.watchExec(s.client, "/", s.client.Dir)
	client := s.openvpn(s.client, clientProfile(p, c.Transport, c.Wrap, key, append(lines, "setenv opt disable-dco")...))
	s.ok(client.WaitFor("Initialization Sequence Completed", soon))
	s.terminate(client)
	names, files := touched(), seen.end()
	for _, name := range []string{"evil-up", "evil-down", "evil-route-up", "evil-tls-verify"} {
		if !slices.Contains(names, name) || !slices.Contains(files, filepath.Join(s.client.Dir, name)) {
			t.Fatalf("openvpn did not run %s: this test proves nothing (%q, %q)", name, names, files)
		}
	}

	// The service, with traps in its PATH.
	quiet := func(what string, watch *execWatch, allowed ...string) {
		t.Helper()
		if names := touched(); len(names) > 0 {
			t.Errorf("%s ran %q", what, names)
		}
		for _, f := range watch.end() {
			if !slices.Contains(allowed, f) && !strings.Contains(f, "/ld-linux") { // the loader of env and setpriv
				t.Errorf("%s executed %s", what, f)
			}
		}
	}
	adit, aditd := bin(t, "adit"), bin(t, "aditd")
	path := "PATH=" + s.client.Dir + "/path:" + os.Getenv("PATH")
	profile := s.write(s.client, "evil.ovpn", clientProfile(p, c.Transport, c.Wrap, key, ours...))
	seen = s.watchExec(s.client, "/", s.client.Dir)
	service := s.start(s.client, "aditd", "/usr/bin/env", path, aditd, "--state", s.stateDir())
	s.ok(service.WaitFor("listening", soon))
	s.run(s.client, adit, "import", profile)
	s.run(s.client, adit, "connect", "evil", "--timeout", "20s")
	s.reaches(s.client, none, hostAddr)
	s.run(s.client, adit, "disconnect", "evil")
	if st := s.statusOf("evil"); st.State != api.Disconnected {
		t.Errorf("it is %s", st.State)
	}
	s.terminate(service)
	quiet("the service", seen, "/usr/bin/env", adit, aditd)

	// An ordinary user: every command that reads the file, and a tunnel in user space.
	nobody := func(args ...string) []string {
		return append([]string{"/usr/bin/env", path, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", adit}, args...)
	}
	s.ok(os.Chmod(profile, 0o644))
	evil := s.write(s.client, "refused.ovpn", clientProfile(p, c.Transport, c.Wrap, key, append(ours, "config "+trap("evil-config"))...))
	s.ok(os.Chmod(evil, 0o644))
	seen = s.watchExec(s.client, "/", s.client.Dir)
	if out := s.run(s.client, nobody("check", profile)...); strings.Count(out, "no program named by a profile is ever run") < 6 {
		t.Errorf("check does not speak of all programs:\n%s", out)
	}
	if out, err := s.try(s.client, nobody("check", evil)...); err == nil || !strings.Contains(out, "config") {
		t.Errorf("check of a file that includes another: %v %s", err, out)
	}
	user := s.start(s.client, "adit", nobody("connect", profile, "--userspace", "--socks5", "127.0.0.1:1080")...)
	s.ok(user.WaitFor("127.0.0.1:1080", soon))
	s.terminate(user)
	quiet("the user's command", seen, "/usr/bin/env", "/usr/bin/setpriv", adit, bin(t, "adit-userspace"))
}
