//go:build linux

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// TestPolicy: the administrator's files in /etc/adit decide for two users without rights: a managed profile that both may
// connect and neither change, taken and left while the service runs, and not from who is not the administrator.
func TestPolicy(t *testing.T) {
	t.Parallel()
	needs(t, "setpriv", "nft")
	s := newSite(t)
	p := newPKI(t)
	s.endpointUp(s.yaml(p, "", endpointConfig{Rules: vpcRules()}))
	s.ok(os.Chmod(filepath.Dir(s.client.Dir), 0o755))
	in := func(f func() error) { t.Helper(); s.ok(s.client.Do(f)) }
	put := func(name, text string) func() error {
		return func() error {
			return errors.Join(os.WriteFile("/etc/adit/"+name+".new", []byte(text), 0o644), os.Rename("/etc/adit/"+name+".new", "/etc/adit/"+name))
		}
	}
	profile := clientProfile(p, "udp", "plain", "")
	in(func() error { return os.MkdirAll("/etc/adit/profiles", 0o755) })
	in(put("profiles/corp.ovpn", profile))
	in(put("policy.json", `{"AllowUserProfiles": false}`))
	s.aditd()
	as := func(uid int, args ...string) []string {
		id := fmt.Sprint(uid)
		return append([]string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups", bin(t, "adit")}, args...)
	}
	const ann, bea, program = 61001, 61002, 150
	status := func(uid int) (st api.Status) {
		t.Helper()
		s.ok(json.Unmarshal([]byte(s.run(s.client, as(uid, "status", "--json")...)), &st))
		return st
	}
	policy := func() api.Policy {
		t.Helper()
		if st := status(bea); st.Policy != nil {
			return *st.Policy
		}
		return api.Policy{}
	}
	before := s.system()

	if out := s.run(s.client, as(bea, "profiles")...); !strings.Contains(out, "corp (managed)") {
		t.Errorf("profiles: %s", out)
	}
	if out := s.run(s.client, as(bea, "show", "corp")...); strings.Contains(out, "PRIVATE KEY") {
		t.Error("the key is shown")
	}
	s.fails(s.client, "", as(ann, "export", "corp")...)
	s.fails(s.client, "", as(ann, "remove", "corp")...)
	s.fails(s.client, "is managed", as(ann, "set", "corp", "guard=off")...)
	s.fails(s.client, "you may not", as(program, "connect", "corp")...)
	s.fails(s.client, "AllowUserProfiles in /etc/adit/policy.json", bin(t, "adit"), "import", s.write(s.client, "own.ovpn", profile))

	s.run(s.client, as(ann, "connect", "corp", "--timeout", "20s")...)
	s.reaches(s.client, none, hostAddr)
	if st := status(bea); len(st.Connections) != 1 || st.Connections[0].State != api.Connected || len(st.Connections[0].Tunnel.Addresses) != 0 {
		t.Errorf("the other user sees %+v", st.Connections)
	}
	s.fails(s.client, "belongs to another user", as(bea, "disconnect", "corp")...)
	s.reaches(s.client, none, hostAddr)

	// A server that is not allowed any more.
	in(put("policy.json", `{"AllowedServers": ["*.example.com"]}`))
	s.until(soon, "the policy ends it", func() bool { return len(status(ann).Connections) == 0 })
	s.cannotReach(s.client, hostAddr)
	s.same("after the policy ended it", before, s.system())
	s.fails(s.client, "does not allow", as(ann, "connect", "corp", "--timeout", "20s")...)

	// Not the administrator's: each is refused, and the policy of before stays.
	for _, spoil := range []struct {
		what, says string
		do, undo   func() error
	}{
		{"somebody's file", "belongs to user 61001",
			func() error { return os.Chown("/etc/adit/policy.json", ann, ann) }, func() error { return os.Chown("/etc/adit/policy.json", 0, 0) }},
		{"a folder that a group can write", "others than root can write it",
			func() error { return os.Chmod("/etc/adit", 0o775) }, func() error { return os.Chmod("/etc/adit", 0o755) }},
		{"a link", "symbolic link",
			func() error {
				return errors.Join(os.Rename("/etc/adit/policy.json", "/etc/adit/real"), os.Symlink("real", "/etc/adit/policy.json"))
			}, func() error { return os.Rename("/etc/adit/real", "/etc/adit/policy.json") }},
		{"a profile that is a link", "profiles/linked.ovpn: it is a symbolic link",
			func() error { return os.Symlink("/etc/shadow", "/etc/adit/profiles/linked.ovpn") }, func() error { return os.Remove("/etc/adit/profiles/linked.ovpn") }},
		{"a profile whose key is a link", "profiles/refers.ovpn",
			func() error {
				return errors.Join(os.Symlink("/etc/shadow", "/etc/adit/profiles/key.pem"), os.WriteFile("/etc/adit/profiles/refers.ovpn", []byte("client\nremote 192.0.2.1\nca key.pem\n"), 0o644))
			}, func() error {
				return errors.Join(os.Remove("/etc/adit/profiles/refers.ovpn"), os.Remove("/etc/adit/profiles/key.pem"))
			}},
		{"an unknown key", "there is no such key", put("policy.json", `{"Allow": []}`), put("policy.json", `{"AllowedServers": ["*.example.com"]}`)},
	} {
		in(spoil.do)
		s.until(soon, spoil.what+" is refused", func() bool { return strings.Contains(strings.Join(policy().Problems, "\n"), spoil.says) })
		s.fails(s.client, "does not allow", as(ann, "connect", "corp", "--timeout", "20s")...)
		if out := s.run(s.client, as(bea, "profiles")...); strings.Contains(out, "linked") || strings.Contains(out, "refers") {
			t.Errorf("%s: profiles: %s", spoil.what, out)
		}
		in(spoil.undo)
		s.until(soon, spoil.what+" is mended", func() bool { return len(policy().Problems) == 0 })
	}

	// Always on, from the moment that it is written.
	in(put("policy.json", `{"AutoConnect": "corp", "AlwaysOn": true, "Guard": "auto"}`))
	s.until(soon, "it connects by itself", func() bool {
		st := status(bea)
		return len(st.Connections) == 1 && st.Connections[0].State == api.Connected
	})
	s.reaches(s.client, none, hostAddr)
	s.fails(s.client, "keeps corp connected", as(bea, "disconnect", "corp")...)
	s.fails(s.client, "keeps corp connected", bin(t, "adit"), "disconnect", "corp")
	if out := s.run(s.client, as(bea, "status")...); !strings.Contains(out, "managed by /etc/adit/policy.json") || !strings.Contains(out, "AlwaysOn true") {
		t.Errorf("status: %s", out)
	}
	in(func() error { return os.Remove("/etc/adit/policy.json") })
	s.until(soon, "nothing is decided", func() bool { return policy().Source == "" })
	s.run(s.client, as(bea, "disconnect", "corp")...)
	s.settled("after disconnect", before)

	// Its file goes, and the profile with it.
	in(func() error { return os.Remove("/etc/adit/profiles/corp.ovpn") })
	s.until(soon, "the profile is gone", func() bool { return status(ann).Policy == nil })
	time.Sleep(100 * time.Millisecond)
	s.same("at the end", before, s.system())
}

// TestPolicyLockdown: a policy closes the machine before anybody has connected, keeps it closed when the service is killed,
// and opens it when it goes.
func TestPolicyLockdown(t *testing.T) {
	t.Parallel()
	needs(t, "nft")
	g := fullGuarded(t)
	s, l := g.site, g.l
	put := func(name, text string) {
		t.Helper()
		s.ok(s.client.Do(func() error {
			return errors.Join(os.MkdirAll("/etc/adit/profiles", 0o755), os.WriteFile("/etc/adit/"+name, []byte(text), 0o644))
		}))
	}
	put("profiles/corp.ovpn", s.read(filepath.Join(s.client.Dir, "lab.ovpn")))
	before := s.system()
	service := s.aditd()
	l.all("without a policy")
	put("policy.json", `{"BlockWhenDisconnected": true}`)
	s.until(soon, "it is blocked", func() bool { return s.statusOf("corp").State == api.Blocked })
	l.forget()
	step := func(when string) {
		t.Helper()
		time.Sleep(300 * time.Millisecond)
		l.none(when)
	}
	step("before the first connection")
	s.fails(s.client, "is managed", bin(t, "adit"), "set", "corp", "route+=10.1.0.0/16")
	s.fails(s.client, "BlockWhenDisconnected", bin(t, "adit"), "set", "corp", "guard=off")
	s.adit("connect", "corp", "--timeout", "20s")
	s.reaches(s.client, none, hostAddr)
	step("connected")
	s.adit("disconnect", "corp")
	step("disconnected")
	// Who holds the guard changes.
	for i := range 6 {
		names := []string{"corp", "other"}
		s.ok(s.client.Do(func() error {
			return os.Rename("/etc/adit/profiles/"+names[i%2]+".ovpn", "/etc/adit/profiles/"+names[1-i%2]+".ovpn")
		}))
		s.until(soon, "the other one holds the guard", func() bool { return !strings.Contains(s.adit("profiles"), names[i%2]) })
		step("while a profile is replaced")
	}
	own := filepath.Join(s.client.Dir, "lab.ovpn")
	s.adit("import", own, "--name", "own")
	s.adit("connect", "own", "--timeout", "20s")
	s.adit("disconnect", "own")
	s.adit("import", own, "--name", "own", "--replace")
	s.adit("rename", "own", "mine")
	s.adit("connect", "mine", "--timeout", "20s")
	s.reaches(s.client, none, hostAddr)
	s.adit("disconnect", "mine")
	s.adit("remove", "mine")
	step("after changes of an own profile")
	service.Stop(syscall.SIGKILL, soon)
	step("after the service was killed")
	service = s.aditd()
	s.until(soon, "it is blocked again", func() bool { return s.statusOf("corp").State == api.Blocked })
	step("in the next run")
	for i, end := range []func(){func() { s.terminate(service) }, func() { service.Stop(syscall.SIGKILL, soon) }} {
		names := []string{"corp", "other"}
		end()
		s.ok(s.client.Do(func() error {
			return os.Rename("/etc/adit/profiles/"+names[i]+".ovpn", "/etc/adit/profiles/"+names[1-i]+".ovpn")
		}))
		service = s.aditd()
		s.until(soon, "the other one holds the guard, alone", func() bool {
			return s.statusOf(names[1-i]).State == api.Blocked && strings.Count(s.run(s.client, "nft", "list", "tables"), "adit_guard_") == 1
		})
		step("in a run that finds another profile")
	}
	put("policy.json", `{`)
	s.until(soon, "the broken one is said", func() bool { return strings.Contains(s.adit("status"), "policy problem: ") })
	step("with a broken policy")
	s.terminate(service)
	step("after the service ended")
	service = s.aditd()
	step("in a run that cannot read its policy")
	s.ok(s.client.Do(func() error { return os.Remove("/etc/adit/policy.json") }))
	s.until(soon, "nothing is decided", func() bool { return !strings.Contains(s.adit("status"), "policy.json") })
	l.all("without the policy again")
	s.settled("at the end", before)
	s.terminate(service)
}
