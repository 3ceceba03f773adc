package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/routes"
)

// passerby is a person who is not in the group; daemon is no person.
var (
	passerby = api.Caller{Account: "1002", Name: "carol", Person: true}
	daemon   = api.Caller{Account: "33", Name: "www-data"}
)

// write puts a file of the administrator's in place, whole.
func (st *stage) write(name, text string) {
	st.t.Helper()
	path := filepath.Join(st.etc, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		st.t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		st.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		st.t.Fatal(err)
	}
}

// decide writes a policy and waits until the service has seen it.
func (st *stage) decide(text string) {
	st.t.Helper()
	st.write("policy.json", text)
	time.Sleep(2 * managedInterval)
}

// newManaged is a stage whose administrator has written a policy (empty: none) and managed profiles by name.
func newManaged(t *testing.T, s *server, policy string, profiles map[string]string) *stage {
	t.Helper()
	dir := t.TempDir()
	first := &stage{t: t, etc: dir}
	if policy != "" {
		first.write("policy.json", policy)
	}
	for name, text := range profiles {
		first.write("profiles/"+name+".ovpn", text)
	}
	return newStageWith(t, s, t.TempDir(), dir)
}

// refusal fails the test unless err has the code.
func refused(t *testing.T, what string, err error, code string) {
	t.Helper()
	if !api.IsCode(err, code) {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// TestManagedProfile: everybody sees it, persons connect it, nobody changes it or sees its keys, and whoever connected it
// is the only one to steer it.
func TestManagedProfile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		text := s.profile(remoteUDP)
		key := text[strings.Index(text, "<key>\n")+6 : strings.Index(text, "</key>")]
		st := newManaged(t, s, "", map[string]string{"corp": strings.Replace(text, "<key>\n"+key+"</key>", "key corp.key", 1)})
		if list, _ := st.Profiles(alice); len(list) != 0 {
			t.Errorf("without its key it is there: %+v", list)
		}
		if p := st.Status(alice).Policy; p == nil || len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "corp.key") {
			t.Errorf("the missing key is not said: %+v", p)
		}
		st.write("profiles/corp.key", key)
		time.Sleep(2 * managedInterval)
		for _, c := range []api.Caller{alice, bob, passerby, daemon, root} {
			list, err := st.Profiles(c)
			if err != nil || len(list) != 1 || !list[0].Managed || list[0].Name != "corp" || list[0].Owner != "" || list[0].Auth != "certificate" {
				t.Fatalf("%s sees %+v, %v", c.Name, list, err)
			}
			shown, err := st.Show(c, "corp")
			if err != nil || strings.Contains(shown.Text, "PRIVATE KEY") || !strings.Contains(shown.Text, "remote ") {
				t.Errorf("%s is shown %v, %v", c.Name, shown, err)
			}
			_, err = st.Export(c, "corp")
			refused(t, "export", err, api.CodeProfileManaged)
			refused(t, "rename", st.Rename(c, "corp", "mine"), api.CodeProfileManaged)
			refused(t, "remove", st.Remove(c, "corp"), api.CodeProfileManaged)
			for _, change := range []string{"guard=off", "route+=10.0.0.0/8", "auto_connect=true", "pull_filter=ignore route"} {
				_, err = st.Set(c, "corp", []string{change})
				refused(t, "set "+change, err, api.CodeProfileManaged)
			}
		}
		_, err := st.Import(alice, api.ImportRequest{Name: "corp", Text: s.profile(remoteUDP), Replace: true})
		refused(t, "import over it", err, api.CodeProfileExists)
		st.add(alice, "own", s.profile(remoteUDP))
		refused(t, "rename to it", st.Rename(alice, "own", "corp"), api.CodeProfileExists)
		refused(t, "a daemon connects", st.Connect(daemon, api.ConnectRequest{Profile: "corp"}), api.CodeNotPermitted)
		refused(t, "who is not in the group sets an own profile", func() error { _, err := st.Set(passerby, "own", []string{"guard=off"}); return err }(), api.CodeNotPermitted)

		st.connect(passerby, "corp")
		st.untilState(passerby, "corp", api.Connected, 5*time.Second)
		if got := st.Status(bob).Connections; len(got) != 1 || got[0].State != api.Connected || !got[0].Managed || got[0].Profile != "corp" || len(got[0].Tunnel.Addresses) != 0 || got[0].Server.Name != "" {
			t.Errorf("bob sees of it: %+v", got)
		}
		for who, says := range map[*api.Caller]string{&passerby: "corp", &bob: "", &root: "corp"} {
			if x, err := st.Explain(t.Context(), *who, "10.98.0.1"); err != nil || x.Profile != says || x.Way != routes.WayTunnel {
				t.Errorf("%s is told of the way: %+v, %v", who.Name, x, err)
			}
		}
		refused(t, "bob connects", st.Connect(bob, api.ConnectRequest{Profile: "corp"}), api.CodeAlreadyConnected)
		refused(t, "bob disconnects", st.Disconnect(t.Context(), bob, "corp"), api.CodeNotOwner)
		refused(t, "bob answers", st.Answer(bob, api.Answer{Profile: "corp", ID: "x"}), api.CodeNotOwner)
		refused(t, "a daemon disconnects", st.Disconnect(t.Context(), daemon, "corp"), api.CodeNotOwner)
		if err := st.Disconnect(t.Context(), bob, ""); err != nil {
			t.Errorf("bob's all: %v", err)
		}
		for who, sees := range map[*api.Caller]bool{&passerby: true, &bob: false, &root: true} {
			seen := false
			if err := st.Logs(t.Context(), *who, false, func(l api.LogLine) error {
				seen = seen || l.Profile == "corp" && strings.Contains(l.Text, "connected")
				return nil
			}); err != nil || seen != sees {
				t.Errorf("%s reads its log: %t, %v", who.Name, seen, err)
			}
		}
		st.untilState(passerby, "corp", api.Connected, 0)
		if err := st.Disconnect(t.Context(), passerby, "corp"); err != nil {
			t.Error(err)
		}
		// save_password is each person's own, and survives the service.
		if got, err := st.Set(passerby, "corp", []string{"save_password=true"}); err != nil || !got.SavePassword {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := st.Settings(bob, "corp"); err != nil || got.SavePassword {
			t.Errorf("bob's: %+v, %v", got, err)
		}
		st.stop()
		st.start()
		if got, err := st.Settings(passerby, "corp"); err != nil || !got.SavePassword {
			t.Errorf("after a restart: %+v, %v", got, err)
		}
		// Blocked, it takes the text of the moment when it is roused.
		st.connect(bob, "corp")
		st.untilState(bob, "corp", api.Connected, 5*time.Second)
		s.each(func(o *ovpn.Session) { o.Send(time.Now(), "HALT,go away") })
		st.untilState(bob, "corp", api.Blocked, 5*time.Second)
		st.write("profiles/corp.ovpn", s.profile("remote 192.0.2.3 1194 udp"))
		time.Sleep(2 * managedInterval)
		s.dialedSince()
		st.connect(bob, "corp")
		st.untilState(bob, "corp", api.Connected, 5*time.Second)
		if got := s.dialedSince(); !slices.Equal(got, []string{"192.0.2.3"}) {
			t.Errorf("with another text it dials %q", got)
		}
		if err := st.Disconnect(t.Context(), bob, "corp"); err != nil {
			t.Error(err)
		}
		// The file goes, and with it the profile.
		st.connect(bob, "corp")
		st.untilState(bob, "corp", api.Connected, 5*time.Second)
		if err := os.Remove(filepath.Join(st.etc, "profiles/corp.ovpn")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * managedInterval)
		if list, err := st.Profiles(bob); err != nil || len(list) != 0 || len(st.Status(bob).Connections) != 0 {
			t.Errorf("removed: %+v, %+v, %v", list, st.Status(bob).Connections, err)
		}
		if _, err := st.Settings(alice, "own"); err != nil {
			t.Error(err)
		}
	})
}

// TestManagedHidden: whoever else is at the machine learns what becomes of everybody's traffic, and that the rest is not told: never that there is none.
func TestManagedHidden(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, "", map[string]string{"corp": s.profile(remoteUDP + "\nredirect-gateway def1"), "part": s.profile(remoteUDP)})
		for name, all := range map[string]bool{"corp": true, "part": false} {
			st.connect(alice, name)
			own := st.untilState(alice, name, api.Connected, 5*time.Second)
			if own.Hidden || own.FullTunnel != all || !own.GuardClosed || len(own.Routes) == 0 {
				t.Fatalf("alice sees of it: %+v", own)
			}
			got := st.untilState(bob, name, api.Connected, 0)
			want := complete(api.Connection{Profile: name, Managed: true, Hidden: true, State: own.State, Since: own.Since, FullTunnel: all, Guard: own.Guard, GuardClosed: true})
			if !reflect.DeepEqual(got, want) {
				t.Errorf("bob sees of it:\n%+v, want\n%+v", got, want)
			}
			if got := st.untilState(root, name, api.Connected, 0); got.Hidden || len(got.Routes) == 0 {
				t.Errorf("root sees of it: %+v", got)
			}
			if err := st.Disconnect(t.Context(), alice, name); err != nil {
				t.Fatal(err)
			}
		}
		st.add(alice, "own", s.profile(remoteUDP))
		st.connect(alice, "own")
		st.untilState(alice, "own", api.Connected, 5*time.Second)
		if got := st.Status(bob).Connections; len(got) != 1 || !got[0].Hidden || got[0].Profile != "" || got[0].GuardClosed {
			t.Errorf("bob sees of alice's own: %+v", got)
		}
	})
}

// TestPolicyChanges: what the administrator writes counts within seconds; what cannot be read changes nothing.
func TestPolicyChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, "", nil)
		if st.Status(alice).Policy != nil {
			t.Error("something is managed")
		}
		st.add(alice, "own", s.profile(remoteUDP))
		st.connect(alice, "own")
		st.untilState(alice, "own", api.Connected, 5*time.Second)

		st.decide(`{"Guard": "lockdown", "MaxConnections": 1}`)
		p := st.Status(bob).Policy
		if p == nil || p.Text("Guard") != "lockdown" || len(p.Keys) != 2 || p.Source == "" || len(p.Problems) != 0 {
			t.Fatalf("%+v", p)
		}
		if got := st.untilState(alice, "own", api.Connected, 0); got.Guard != guardLockdown || closed(st.host(0)) != everything {
			t.Errorf("guard %s, closed %s", got.Guard, closed(st.host(0)))
		}
		_, err := st.Set(alice, "own", []string{"guard=off"})
		refused(t, "guard=off", err, api.CodeManaged)
		st.add(alice, "second", s.profile(remoteUDP))
		refused(t, "one too many", st.Connect(alice, api.ConnectRequest{Profile: "second"}), api.CodeTooManyConnections)

		st.decide(`{"Guard": "lockdown", "MaxConnections": 1, "Oops": 1}`)
		p = st.Status(bob).Policy
		if len(p.Problems) != 2 || !strings.Contains(p.Problems[0], "line 1: Oops: there is no such key") || p.Text("Guard") != "lockdown" || p.Broken {
			t.Errorf("a broken one: %+v", p)
		}
		st.decide(`{"AllowUserProfiles": false}`)
		if got := st.untilState(alice, "own", api.Disconnected, 10*time.Second); got.Problem == nil || got.Problem.Code != api.CodeManaged || got.Problem.Args["key"] != "AllowUserProfiles" {
			t.Errorf("it goes on: %+v", got.Problem)
		}
		if closed(st.host(0)) != "" {
			t.Errorf("closed: %s", closed(st.host(0)))
		}
		refused(t, "connect", st.Connect(alice, api.ConnectRequest{Profile: "own"}), api.CodeManaged)
		_, err = st.Import(alice, api.ImportRequest{Name: "third", Text: s.profile(remoteUDP)})
		refused(t, "import", err, api.CodeManaged)
		if _, err := st.Export(alice, "own"); err != nil {
			t.Errorf("one's own is still one's own: %v", err)
		}
		if err := os.Remove(filepath.Join(st.etc, "policy.json")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * managedInterval)
		if p := st.Status(alice).Policy; p != nil {
			t.Errorf("%+v", p)
		}
		st.connect(alice, "own")
		st.untilState(alice, "own", api.Connected, 5*time.Second)
	})
}

// TestPolicyBrokenAtStart: nothing connects, what was closed stays so, and all is resumed once it can be read.
func TestPolicyBrokenAtStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, "", map[string]string{"corp": s.profile(remoteUDP)})
		st.connect(alice, "corp")
		st.untilState(alice, "corp", api.Connected, 5*time.Second)
		name := st.nameOf(0)
		st.stop()
		st.write("policy.json", `{`)
		st.start()
		if p := st.Status(alice).Policy; p == nil || !p.Broken || len(p.Problems) == 0 {
			t.Fatalf("%+v", p)
		}
		if !st.Keeps(name) || !st.Keeps("tunnel-0") {
			t.Error("what the last run closed would open")
		}
		st.untilState(alice, "corp", api.Disconnected, 0)
		refused(t, "connect", st.Connect(alice, api.ConnectRequest{Profile: "corp"}), api.CodePolicyUnreadable)
		_, err := st.Import(alice, api.ImportRequest{Name: "own", Text: s.profile(remoteUDP)})
		refused(t, "import", err, api.CodePolicyUnreadable)
		st.decide(`{}`)
		if got := st.untilState(alice, "corp", api.Connected, 10*time.Second); !got.Managed {
			t.Errorf("%+v", got)
		}
		// The guard of one that nobody wants any more opens.
		st.stop()
		st.store.want(wish{Owner: managedOwner, Profile: "corp"}, false)
		st.write("policy.json", `{`)
		st.mu.Lock()
		delete(st.hosts, name)
		st.mu.Unlock()
		gone := hostOf(key{managedOwner, "gone"})
		st.left = map[string]routes.Guard{name: routes.Everything(), gone: routes.Everything()}
		st.start()
		if st.hostCalled(name) != nil || st.hostCalled(gone) != nil {
			t.Error("it opens before the policy can be read")
		}
		st.decide(`{}`)
		for _, name := range []string{name, gone} {
			if h := st.hostCalled(name); h == nil || !h.IsClosed() || closed(h) != "" {
				t.Error("it stays closed")
			}
		}
		st.left = nil
		st.connect(alice, "corp")
		st.untilState(alice, "corp", api.Connected, 10*time.Second)
		refused(t, "bob ends alice's", st.Disconnect(t.Context(), bob, "corp"), api.CodeNotOwner)
	})
}

// TestPolicyAutoConnect: it connects by itself, belongs to nobody, and with AlwaysOn nobody ends it.
func TestPolicyAutoConnect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, `{"AutoConnect": "corp"}`, map[string]string{"corp": s.profile(remoteUDP), "pass": s.profile(remoteUDP + "\nauth-user-pass")})
		st.untilState(alice, "corp", api.Connected, 5*time.Second)
		st.untilState(passerby, "corp", api.Connected, 0)
		refused(t, "a daemon ends it", st.Disconnect(t.Context(), daemon, "corp"), api.CodeNotOwner)
		if err := st.Disconnect(t.Context(), passerby, "corp"); err != nil {
			t.Fatal(err)
		}
		st.decide(`{"AutoConnect": "corp", "AlwaysOn": true}`)
		st.untilState(alice, "corp", api.Connected, 5*time.Second)
		for _, c := range []api.Caller{alice, passerby, root} {
			refused(t, c.Name, st.Disconnect(t.Context(), c, "corp"), api.CodeAlwaysOn)
		}
		if err := st.Disconnect(t.Context(), alice, ""); err != nil {
			t.Errorf("alice's all: %v", err)
		}
		// Ended by the server for good, it comes back.
		s.each(func(o *ovpn.Session) { o.Send(time.Now(), "HALT,go away") })
		st.untilState(alice, "corp", api.Blocked, 5*time.Second)
		st.untilState(alice, "corp", api.Connected, 2*alwaysInterval)

		st.decide(`{"AutoConnect": "pass", "AlwaysOn": true}`)
		if p := st.Status(alice).Policy; len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "AlwaysOn has no effect: pass needs a person") {
			t.Errorf("%+v", p)
		}
		st.untilState(alice, "pass", api.NeedsLogin, 5*time.Second)
		if err := st.Disconnect(t.Context(), alice, "corp"); err != nil {
			t.Errorf("no longer always on: %v", err)
		}
		st.decide(`{"AutoConnect": "gone"}`)
		if p := st.Status(alice).Policy; len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "no managed profile gone") {
			t.Errorf("%+v", p)
		}
	})
}

// TestPolicyAutoConnectLater: the policy may name a profile that comes later, or a file of it.
func TestPolicyAutoConnectLater(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		text := s.profile(remoteUDP)
		ca := text[strings.Index(text, "<ca>\n")+5 : strings.Index(text, "</ca>")]
		st := newManaged(t, s, `{"AutoConnect": "corp"}`, nil)
		st.write("profiles/corp.ovpn", strings.Replace(text, "<ca>\n"+ca+"</ca>", "ca corp.ca", 1))
		time.Sleep(2 * managedInterval)
		if got := st.connections(); len(got) != 0 {
			t.Errorf("without its file: %q", got)
		}
		st.write("profiles/corp.ca", ca)
		st.untilState(alice, "corp", api.Connected, 10*time.Second)
		if p := st.Status(alice).Policy; len(p.Problems) != 0 {
			t.Errorf("%q", p.Problems)
		}
		// What somebody ended another text does not begin.
		if err := st.Disconnect(t.Context(), alice, "corp"); err != nil {
			t.Fatal(err)
		}
		st.write("profiles/corp.ovpn", text)
		time.Sleep(2 * managedInterval)
		if got := st.connections(); len(got) != 0 {
			t.Errorf("with another text: %q", got)
		}
	})
}

// TestPolicyLockdown: the machine is closed before anybody connects, through profile changes, and open when the policy goes.
func TestPolicyLockdown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, `{"BlockWhenDisconnected": true, "AllowLocalNetwork": false}`, map[string]string{"a": s.profile(remoteUDP), "b": s.profile(remoteUDP)})
		st.untilState(alice, "a", api.Blocked, 5*time.Second)
		h := st.host(0)
		if closed(h) != everything || len(h.Guard().Local) != 0 {
			t.Errorf("%+v", h.Guard())
		}
		st.decide(`{"BlockWhenDisconnected": true}`)
		if closed(h) != everything || len(h.Guard().Local) == 0 {
			t.Errorf("the local network: %+v", h.Guard())
		}
		st.connect(alice, "b")
		st.untilState(alice, "b", api.Connected, 5*time.Second)
		if err := st.Disconnect(t.Context(), alice, "b"); err != nil {
			t.Fatal(err)
		}
		st.untilState(alice, "b", api.Blocked, time.Second)
		if err := os.Remove(filepath.Join(st.etc, "profiles/a.ovpn")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * managedInterval)
		if closed(h) != "" || closed(st.host(1)) != everything {
			t.Errorf("a: %s, b: %s", closed(h), closed(st.host(1)))
		}
		st.decide(`{}`)
		if closed(st.host(1)) != "" {
			t.Errorf("b: %s", closed(st.host(1)))
		}
	})
}

// TestPolicyLockdownOwn: where there is no managed profile, a user's holds the guard, as soon as there is one.
func TestPolicyLockdownOwn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, `{"Guard": "lockdown"}`, nil)
		st.add(alice, "own", s.profile(remoteUDP))
		st.untilState(alice, "own", api.Blocked, time.Second)
		if closed(st.host(0)) != everything || !st.Keeps(st.nameOf(0)) {
			t.Errorf("closed: %s", closed(st.host(0)))
		}
		st.decide(`{"Guard": "off"}`)
		if closed(st.host(0)) != "" || len(st.Status(alice).Connections) != 0 {
			t.Errorf("closed: %s, %+v", closed(st.host(0)), st.Status(alice).Connections)
		}
	})
}

// alwaysClosed watches for d whether a guard of the machine is full at each instant.
func (st *stage) alwaysClosed(d time.Duration) {
	st.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		synctest.Wait()
		st.mu.Lock()
		open := true
		for _, h := range st.hosts {
			open = open && closed(h) != everything
		}
		st.mu.Unlock()
		if open {
			st.t.Fatalf("at %s nothing is closed", time.Now().Format(time.StampMilli))
		}
	}
}

// TestPolicyLockdownReplaced: the profile that holds the guard goes only when the next one's is closed.
func TestPolicyLockdownReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, `{"BlockWhenDisconnected": true}`, nil)
		st.stop()
		st.slow = time.Second // to make one
		st.start()
		st.add(alice, "own", s.profile(remoteUDP))
		st.untilState(alice, "own", api.Blocked, time.Second)
		time.Sleep(time.Second)
		st.decide(`{"BlockWhenDisconnected": true, "AllowUserProfiles": false}`)
		old := ""
		for _, name := range []string{"b", "a", "b", "a", "b", "a", "b"} { // in whatever order they are looked at
			st.write("profiles/"+name+".ovpn", s.profile(remoteUDP))
			if old != "" {
				if err := os.Remove(filepath.Join(st.etc, "profiles", old+".ovpn")); err != nil {
					t.Fatal(err)
				}
			}
			old = name
			st.alwaysClosed(3 * managedInterval)
			if got := st.connections(); !slices.Equal(got, []string{name + " blocked", "own disconnected"}) {
				t.Errorf("%q", got)
			}
		}
		// One that cannot close its guard takes over later.
		st.mu.Lock()
		st.failed["Apply"] = errors.New("no space left on device")
		st.mu.Unlock()
		st.write("profiles/a.ovpn", s.profile(remoteUDP))
		if err := os.Remove(filepath.Join(st.etc, "profiles/b.ovpn")); err != nil {
			t.Fatal(err)
		}
		st.alwaysClosed(time.Minute)
		st.mu.Lock()
		delete(st.failed, "Apply")
		st.mu.Unlock()
		st.alwaysClosed(time.Minute)
		if got := st.connections(); !slices.Equal(got, []string{"a blocked", "own disconnected"}) {
			t.Errorf("%q", got)
		}
	})
}

// TestPolicyLockdownLater: a guard that cannot be closed as the service starts, or as the first profile comes, is closed later.
func TestPolicyLockdownLater(t *testing.T) {
	for name, managed := range map[string]bool{"managed": true, "of people's own": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				st := newManaged(t, s, `{"BlockWhenDisconnected": true}`, nil)
				fails := func(call string, err error) {
					st.mu.Lock()
					defer st.mu.Unlock()
					st.failed[call] = err
				}
				closes := func(when string) {
					t.Helper()
					time.Sleep(2 * alwaysInterval)
					if h := st.host(0); !h.Guard().IsZero() {
						t.Fatalf("%s: it is closed before", when)
					}
					fails("Apply", nil)
					time.Sleep(alwaysInterval + lockdownTime)
					if h := st.host(0); closed(h) != everything {
						t.Errorf("%s: %q is closed", when, closed(h))
					}
					st.untilState(alice, "work", api.Blocked, time.Second)
				}
				fails("Apply", errors.New("no space left on device"))
				if managed {
					st.write("profiles/work.ovpn", s.profile(remoteUDP))
					time.Sleep(2 * managedInterval)
				} else {
					st.add(alice, "work", s.profile(remoteUDP))
				}
				closes("the first profile")
				st.stop()
				fails("Apply", errors.New("no space left on device"))
				st.start()
				closes("a start")
			})
		})
	}
}

// TestPolicyLockdownReplacedWhileStopped: what the last run has left closed stays so until that is closed which always is, whatever profile it
// belongs to: one that is gone, or whose wish cannot be gone on with. Then it opens.
func TestPolicyLockdownReplacedWhileStopped(t *testing.T) {
	for name, c := range map[string]struct {
		wanted, own bool
		policy      string // after the stop
	}{
		"the file is another one":              {policy: `{"BlockWhenDisconnected": true}`},
		"it was connected":                     {policy: `{"BlockWhenDisconnected": true}`, wanted: true},
		"a managed one in place of a person's": {policy: `{"BlockWhenDisconnected": true}`, own: true},
		"a person's when the policy goes":      {policy: `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				managed := map[string]string{"b": s.profile(remoteUDP)}
				old := key{managedOwner, "b"}
				if c.own {
					managed, old = nil, key{"1000", "own"}
				}
				st := newManaged(t, s, `{"BlockWhenDisconnected": true}`, managed)
				st.add(alice, "own", s.profile(remoteUDP))
				if c.policy == `{}` {
					st.setting(alice, "own", "guard=lockdown")
				}
				if c.wanted {
					st.connect(alice, "b")
					st.untilState(alice, "b", api.Connected, 5*time.Second)
				}
				st.stop()
				if !c.own {
					if err := os.Remove(filepath.Join(st.etc, "profiles/b.ovpn")); err != nil {
						t.Fatal(err)
					}
				}
				st.write("profiles/c.ovpn", s.profile(remoteUDP))
				st.write("policy.json", c.policy)
				host := hostOf(old)
				st.mu.Lock()
				clear(st.hosts)
				st.mu.Unlock()
				st.left = map[string]routes.Guard{host: routes.Everything()}
				st.failed["Apply"] = errFull
				st.start()
				if len(st.left) == 0 {
					t.Fatal("it is opened before the service runs")
				}
				shut := func() (is bool) {
					st.mu.Lock()
					defer st.mu.Unlock()
					for name, h := range st.hosts {
						is = is || name != host && closed(h) == everything
					}
					return is
				}
				for end := time.Now().Add(3 * alwaysInterval); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
					synctest.Wait()
					if last := st.hostCalled(host); last != nil && closed(last) != everything && !shut() {
						t.Fatal("it is opened, and no other one closed")
					}
					if time.Until(end) < 2*alwaysInterval {
						st.mu.Lock()
						delete(st.failed, "Apply")
						for _, h := range st.hosts {
							h.Fail("Apply", nil)
						}
						st.mu.Unlock()
					}
				}
				if !shut() {
					t.Error("nothing is closed in its place")
				}
				if h := st.hostCalled(host); h == nil || closed(h) != "" || !h.IsClosed() {
					t.Error("it stays closed")
				}
			})
		})
	}
}

// TestLeftBesideTheUnfit: what the last run has left closed for one person opens as that one wants, whatever another one's profile in lockdown is like: it
// closes its guard, or cannot be read at all.
func TestLeftBesideTheUnfit(t *testing.T) {
	for name, text := range map[string]func(s *server) string{
		"expired": func(s *server) string {
			return s.profileWith(remoteUDP, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
		},
		"unreadable": func(*server) string { return "client\n<ca>\n" },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				st := newStage(t, s, t.TempDir())
				st.add(bob, "lab", s.profile(remoteUDP))
				st.add(alice, "work", s.profile(remoteUDP))
				mine, lab := key{"1000", "work"}, key{"1001", "lab"}
				if err := st.store.want(wish{Owner: mine.owner, Profile: mine.name}, true); err != nil {
					t.Fatal(err)
				}
				for k, change := range map[key]func(r *record){
					lab:  func(r *record) { r.Text, r.Settings.Guard = text(s), guardLockdown },
					mine: func(r *record) { r.Text = "client\n<ca>\n" }, // it cannot be gone on with
				} {
					if _, err := st.store.update(k, func(r *record) error { change(r); return nil }); err != nil {
						t.Fatal(err)
					}
				}
				st.stop()
				st.left = map[string]routes.Guard{hostOf(mine): routes.Everything()}
				st.start()
				time.Sleep(managedInterval)
				if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
					t.Error(err)
				}
				time.Sleep(alwaysInterval)
				if h := st.hostCalled(hostOf(mine)); h == nil || closed(h) != "" || !h.IsClosed() {
					t.Error("it stays closed")
				}
			})
		})
	}
}

// TestLeftOfNoTunnel: what a Host that is no tunnel's has left is undone before the service runs, whatever else stays closed.
func TestLeftOfNoTunnel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, `{"BlockWhenDisconnected": true}`, map[string]string{"b": s.profile(remoteUDP)})
		for host, keeps := range map[string]bool{trustHost: false, explainHost: false, hostOf(key{managedOwner, "b"}): true, hostOf(key{"1000", "gone"}): true} {
			if st.Keeps(host) != keeps {
				t.Errorf("%s: it is to be %v", host, keeps)
			}
		}
	})
}

// TestLeftWhileTheSystemRefuses: what the last run has left closed opens as soon as the system lets it, once nobody wants it: its profile cannot be gone on
// with, or somebody has disconnected before its place in the system could be made.
func TestLeftWhileTheSystemRefuses(t *testing.T) {
	for name, unfit := range map[string]bool{"the profile cannot be read": true, "disconnected": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				st := newStage(t, s, t.TempDir())
				st.add(alice, "work", s.profile(remoteUDP))
				k := key{"1000", "work"}
				if err := st.store.want(wish{Owner: k.owner, Profile: k.name}, true); err != nil {
					t.Fatal(err)
				}
				if unfit {
					if _, err := st.store.update(k, func(r *record) error { r.Text = "client\n<ca>\n"; return nil }); err != nil {
						t.Fatal(err)
					}
				}
				st.stop()
				st.left = map[string]routes.Guard{hostOf(k): routes.Everything()}
				fails := func(err error) {
					st.mu.Lock()
					defer st.mu.Unlock()
					st.failed["Hosts"] = err
				}
				fails(errFull)
				st.start()
				time.Sleep(alwaysInterval)
				if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
					t.Error(err)
				}
				time.Sleep(alwaysInterval)
				fails(nil)
				time.Sleep(alwaysInterval + time.Second)
				if h := st.hostCalled(hostOf(k)); h == nil || closed(h) != "" || !h.IsClosed() {
					t.Error("it stays closed")
				}
			})
		})
	}
}

// TestManagedHides: an own profile with the name of a managed one does nothing as long as that is there: it does not connect, and closes nothing. Then it
// is as it was.
func TestManagedHides(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, "", map[string]string{"first": s.profile(remoteUDP)})
		c := st.withSignIns()
		c.are("1000")
		st.add(alice, "corp", s.profile(remoteUDP))
		st.setting(alice, "corp", "guard=lockdown")
		st.add(alice, "auto", s.profile(remoteUDP+"\nauth-user-pass"))
		st.setting(alice, "auto", "auto_connect=true")
		c.are()
		c.are("1000")
		st.untilState(alice, "auto", api.NeedsLogin, 5*time.Second)
		name := hostOf(key{"1000", "corp"})
		hidden := func(when string) {
			t.Helper()
			if got := st.connections(); len(got) != 0 {
				t.Errorf("%s: %q", when, got)
			}
			if got := st.store.wanted(); len(got) != 0 || st.Keeps(name) || st.Keeps(hostOf(key{"1000", "auto"})) {
				t.Errorf("%s: wanted %+v, kept closed %t", when, got, st.Keeps(name))
			}
		}
		opened := func(when string) {
			t.Helper()
			if h := st.hostCalled(name); closed(h) != "" {
				t.Errorf("%s: closed %s", when, closed(h))
			}
		}
		hide := func() {
			st.write("profiles/corp.ovpn", s.profile(remoteUDP))
			st.write("profiles/auto.ovpn", s.profile(remoteUDP))
		}
		appear := func() {
			for _, file := range []string{"corp", "auto"} {
				if err := os.Remove(filepath.Join(st.etc, "profiles", file+".ovpn")); err != nil {
					t.Fatal(err)
				}
			}
		}
		locked := func(when string) {
			t.Helper()
			st.untilState(alice, "corp", api.Blocked, 5*time.Second)
			if h := st.hostCalled(name); closed(h) != everything {
				t.Errorf("%s: closed %q", when, closed(h))
			}
		}
		locked("before")

		hide()
		time.Sleep(3 * managedInterval)
		hidden("hidden")
		opened("hidden")
		c.are()
		c.are("1000")
		hidden("alice has come")
		st.connect(alice, "corp")
		if got := st.untilState(alice, "corp", api.Connected, 5*time.Second); !got.Managed {
			t.Errorf("%+v", got)
		}
		if err := st.Disconnect(t.Context(), alice, "corp"); err != nil {
			t.Error(err)
		}
		st.stop()
		st.start()
		c.are("1000")
		hidden("another service")
		opened("another service")

		appear()
		time.Sleep(3 * managedInterval)
		locked("again")
		c.are()
		c.are("1000")
		st.untilState(alice, "auto", api.NeedsLogin, 5*time.Second)

		// While the service does not run.
		st.stop()
		hide()
		st.start()
		c.are("1000")
		hidden("hidden before the start")
	})
}

// during watches that everything is closed while f runs and for a while after.
func (st *stage) during(what string, f func() error) {
	st.t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	st.alwaysClosed(5 * time.Second)
	if err := <-done; err != nil {
		st.t.Errorf("%s: %v", what, err)
	}
}

// dialedSince are the hosts to which something was sent since the last call.
func (s *server) dialedSince() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, a := range s.dialed {
		out = append(out, a.Addr().String())
	}
	s.dialed = nil
	return out
}

// TestPolicyLockdownRenew: where the policy keeps all closed, people renew, rename and remove profiles of their own, whichever holds the guard, and nothing opens
// by that; only the last one cannot go.
func TestPolicyLockdownRenew(t *testing.T) {
	for name, managed := range map[string]map[string]string{"of people's own": nil, "managed": {"corp": ""}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				for name := range managed {
					managed[name] = s.profile(remoteUDP)
				}
				st := newManaged(t, s, `{"BlockWhenDisconnected": true}`, managed)
				st.stop()
				st.slow = time.Second
				st.start()
				replace := func(remote string) func() error {
					return func() error {
						_, err := st.Import(alice, api.ImportRequest{Name: "work", Text: s.profile(remote), Replace: true})
						return err
					}
				}
				st.add(alice, "work", s.profile("remote 192.0.2.1 1194 udp"))
				time.Sleep(3 * time.Second)
				connected := func(to string) {
					t.Helper()
					s.dialedSince()
					st.during("connect", func() error { return st.Connect(alice, api.ConnectRequest{Profile: "work"}) })
					st.untilState(alice, "work", api.Connected, 5*time.Second)
					if got := s.dialedSince(); !slices.Equal(got, []string{to}) {
						t.Errorf("dialed %q, want %s", got, to)
					}
				}
				connected("192.0.2.1")
				refused(t, "replace what is connected", replace("remote 192.0.2.2 1194 udp")(), api.CodeProfileInUse)
				refused(t, "remove what is connected", st.Remove(alice, "work"), api.CodeProfileInUse)
				st.during("disconnect", func() error { return st.Disconnect(t.Context(), alice, "work") })
				st.during("replace", replace("remote 192.0.2.2 1194 udp"))
				connected("192.0.2.2")
				st.during("disconnect", func() error { return st.Disconnect(t.Context(), alice, "work") })
				st.during("rename", func() error { return st.Rename(alice, "work", "home") })
				st.during("rename", func() error { return st.Rename(alice, "home", "work") })
				connected("192.0.2.2")
				st.during("disconnect", func() error { return st.Disconnect(t.Context(), alice, "work") })
				if managed == nil {
					err := st.Remove(alice, "work")
					refused(t, "remove the last", err, api.CodeManaged)
					if p := api.AsProblem(err); p.Args["key"] != "BlockWhenDisconnected" {
						t.Errorf("%+v", p)
					}
					st.add(bob, "other", s.profile(remoteUDP))
				}
				st.during("remove", func() error { return st.Remove(alice, "work") })
				if got, err := st.Profiles(alice); err != nil || len(got) != len(managed) || len(st.store.wanted()) > 0 {
					t.Errorf("left %+v, %v", got, err)
				}
				if got := st.connections(); slices.Contains(got, "work blocked") {
					t.Errorf("left %q", got)
				}
			})
		})
	}
}

// TestPolicyLockdownRenameFails: a profile whose copy cannot close its guard in time keeps its name, and nothing of the copy stays. What is closed
// opens when the policy goes, also where the profile is gone by then.
func TestPolicyLockdownRenameFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, `{"BlockWhenDisconnected": true}`, nil)
		st.add(alice, "work", s.profile(remoteUDP))
		work := key{"1000", "work"}
		if err := st.store.reached(work, "vpn.example.test", addrs("192.0.2.1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		const slow = lockdownTime + 2*time.Second
		st.delay(slow)
		done := make(chan error, 1)
		go func() { done <- st.Rename(alice, "work", "home") }()
		st.alwaysClosed(3 * slow)
		refused(t, "rename", <-done, api.CodeGuardFailed)
		if got := st.connections(); !slices.Equal(got, []string{"work blocked"}) {
			t.Errorf("after it: %q", got)
		}
		if got, err := st.Profiles(alice); err != nil || len(got) != 1 || got[0].Name != "work" {
			t.Errorf("after it: %+v, %v", got, err)
		}
		if got := st.store.addressesOf(work, "vpn.example.test"); !slices.Equal(got, addrs("192.0.2.1")) {
			t.Errorf("after it the server is known at %v", got)
		}
		opens := func(when string) {
			t.Helper()
			st.decide(`{}`)
			time.Sleep(time.Minute)
			st.mu.Lock()
			defer st.mu.Unlock()
			for name, h := range st.hosts {
				if closed(h) != "" {
					t.Errorf("%s: %s closes %s", when, name, closed(h))
				}
			}
		}
		opens("the policy is gone")
		st.delay(0)
		st.decide(`{"BlockWhenDisconnected": true}`)
		st.untilState(alice, "work", api.Blocked, time.Second)
		if err := st.store.remove(work); err != nil { // as where somebody connects it while it goes
			t.Fatal(err)
		}
		opens("the policy is gone, and the profile")
		if got := st.connections(); len(got) != 0 {
			t.Errorf("left %q", got)
		}
	})
}

// TestPolicyLockdownGoes: what a person has wanted closed always, while the policy wanted the same of all, is closed before the policy's opens.
func TestPolicyLockdownGoes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, `{"BlockWhenDisconnected": true}`, map[string]string{"corp": s.profile(remoteUDP)})
		st.stop()
		st.slow = time.Second
		st.start()
		time.Sleep(2 * time.Second)
		st.add(alice, "work", s.profile(remoteUDP))
		st.setting(alice, "work", "guard=lockdown")
		st.write("policy.json", `{}`)
		st.alwaysClosed(3 * managedInterval)
		if got := st.connections(); !slices.Equal(got, []string{"work blocked"}) {
			t.Errorf("%q", got)
		}
		st.setting(alice, "work", "guard=auto")
		if got := st.connections(); len(got) > 0 {
			t.Errorf("%q", got)
		}
	})
}

// TestPolicyServers: name, root certificate and TLS are those that the policy allows, from the first packet on.
func TestPolicyServers(t *testing.T) {
	sum := func(s *server) string {
		block, _ := pem.Decode([]byte(s.pki.CA()))
		got := sha256.Sum256(block.Bytes)
		return hex.EncodeToString(got[:])
	}
	for _, c := range []struct {
		name   string
		policy func(s *server) string
		extra  string
		code   string // empty: it connects
		dials  bool
	}{
		{"both match", func(s *server) string { return `{"AllowedServers": ["192.0.2.1"], "AllowedCAs": ["` + sum(s) + `"]}` }, "", "", true},
		{"another server", func(*server) string { return `{"AllowedServers": ["*.example.com"]}` }, "", api.CodeServerNotAllowed, false},
		{"no server at all", func(*server) string { return `{"AllowedServers": []}` }, "", api.CodeServerNotAllowed, false},
		{"another CA", func(s *server) string { return `{"AllowedServers": ["192.0.2.1"], "AllowedCAs": ["` + someSum + `"]}` }, "", api.CodeServerNotAllowed, true},
		{"TLS 1.3", func(*server) string { return `{"MinimumTLS": "1.3"}` }, "", "", true},
		{"TLS 1.2 in the profile", func(*server) string { return `{"MinimumTLS": "1.3"}` }, "\ntls-version-max 1.2", api.CodeServerNotAllowed, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				st := newManaged(t, s, c.policy(s), map[string]string{"corp": s.profile(remoteUDP + c.extra)})
				err := st.Connect(alice, api.ConnectRequest{Profile: "corp", Timeout: 10 * time.Second})
				if err == nil {
					got := st.until(alice, "corp", "ended or connected", time.Minute, func(x api.Connection) bool { return x.State == api.Connected || x.State == api.Disconnected })
					if got.Problem != nil {
						err = got.Problem
					}
				}
				if c.code != "" {
					refused(t, "connect", err, c.code)
				} else if err != nil {
					t.Fatal(err)
				}
				s.mu.Lock()
				dialed := len(s.dialed) > 0
				s.mu.Unlock()
				if dialed != c.dials {
					t.Errorf("dialed: %t", dialed)
				}
			})
		})
	}
}

// TestPolicyServersLater: of several servers only allowed ones are tried, and a policy that comes later ends the tunnel.
func TestPolicyServersLater(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, `{"AllowedServers": ["192.0.2.2"]}`, nil)
		st.add(alice, "work", s.profile("remote 192.0.2.1 1194 udp\nremote 192.0.2.2 1194 udp"))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		s.mu.Lock()
		if slices.ContainsFunc(s.dialed, func(a netip.AddrPort) bool { return a.Addr() != netip.MustParseAddr("192.0.2.2") }) {
			t.Errorf("dialed %v", s.dialed)
		}
		s.mu.Unlock()
		st.decide(`{"AllowedServers": ["*.example.com"]}`)
		if got := st.untilState(alice, "work", api.Disconnected, 10*time.Second); got.Problem == nil || got.Problem.Code != api.CodeServerNotAllowed {
			t.Errorf("%+v", got.Problem)
		}
	})
}

// TestPolicyOldTLS: a server that speaks only TLS 1.2 is refused.
func TestPolicyOldTLS(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.config = func(c *ovpn.Config) { c.TLS.MaxVersion = tls.VersionTLS12 }
		st := newManaged(t, s, `{"MinimumTLS": "1.3"}`, map[string]string{"corp": s.profile(remoteUDP)})
		st.connect(alice, "corp")
		if got := st.untilState(alice, "corp", api.Disconnected, 5*time.Minute); got.Problem == nil || got.Problem.Code != api.CodeTLSFailed {
			t.Errorf("%+v", got.Problem)
		}
	})
}

// TestPolicyPasswords: AllowSavedPasswords decides at once what programs may keep.
func TestPolicyPasswords(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newManaged(t, s, "", map[string]string{"corp": s.profile(remoteUDP + "\nauth-user-pass")})
		st.setting(alice, "corp", "save_password=true")
		st.connect(alice, "corp")
		if got := st.untilState(alice, "corp", api.NeedsLogin, 5*time.Second); !got.SavePassword {
			t.Error("not saved")
		}
		st.decide(`{"AllowSavedPasswords": false}`)
		if got := st.untilState(alice, "corp", api.NeedsLogin, time.Second); got.SavePassword {
			t.Error("still saved")
		}
		_, err := st.Set(alice, "corp", []string{"save_password=true"})
		refused(t, "set", err, api.CodeManaged)
		if _, err := st.Set(alice, "corp", []string{"save_password=false"}); err != nil {
			t.Error(err)
		}
	})
}

// TestPolicyEnforcement: where the policy forbids it, no server overrules routes of the machine and settings of a profile.
func TestPolicyEnforcement(t *testing.T) {
	for policy, enforced := range map[string]bool{`{}`: true, `{"AllowRouteEnforcement": true}`: true, `{"AllowRouteEnforcement": false}`: false} {
		inBubble(t, func(t *testing.T) {
			s := newServer(t)
			s.answer = func(o *ovpn.Session, ev ovpn.Event) error {
				if _, ok := ev.(ovpn.PushRequest); !ok {
					return nil
				}
				r := reply()
				r.EnforceRoutes = true
				r.Routes = []push.Route{{Destination: netip.MustParsePrefix("10.98.0.0/16")}}
				o.Push(time.Now(), r)
				return errHandled
			}
			st := newManaged(t, s, policy, map[string]string{"corp": s.profile(remoteUDP + "\nroute-nopull")})
			if err := st.Connect(alice, api.ConnectRequest{Profile: "corp"}); err != nil {
				t.Fatal(err)
			}
			st.untilState(alice, "corp", api.Connected, 10*time.Second)
			in := slices.ContainsFunc(st.host(0).Current().Routes, func(r routes.Route) bool { return r.Destination == netip.MustParsePrefix("10.98.0.0/16") })
			if in != enforced {
				t.Errorf("%s: routes %v", policy, st.host(0).Current().Routes)
			}
		})
	}
}

// TestManagedChanges: what is told of is taken at once, each time and also while more of it comes; who tells nothing any more is
// looked after, and what nobody tells of is found all the same.
func TestManagedChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		first := newManaged(t, s, "", nil)
		first.stop()
		told := make(chan func())
		gone := make(chan error)
		st := &stage{t: t, server: s, dir: first.dir, etc: first.etc, facts: first.facts, hosts: first.hosts, failed: first.failed}
		st.changes = func(ctx context.Context, changed func()) error {
			for {
				select {
				case told <- changed:
				case err := <-gone:
					return err
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		}
		st.start()
		defer st.stop()
		n := 0
		another := func() {
			n++
			st.write(fmt.Sprintf("profiles/p%d.ovpn", n), s.profile(remoteUDP))
		}
		seen := func(what string) {
			t.Helper()
			list, err := st.Profiles(alice)
			if err != nil || len(list) != n {
				t.Errorf("%s: %d of %d profiles are seen, %v", what, len(list), n, err)
			}
		}
		(<-told)() // it watches
		time.Sleep(managedInterval)
		for range 3 {
			another()
			(<-told)()
			time.Sleep(2 * settleQuiet)
			seen("told")
		}
		another()
		for end := time.Now().Add(4 * settleQuiet); time.Now().Before(end); time.Sleep(settleQuiet / 5) {
			(<-told)() // and never is it quiet
		}
		seen("told all the time")
		another()
		time.Sleep(alwaysInterval + settleQuiet)
		seen("not told")
		gone <- errors.New("no more watches")
		another()
		time.Sleep(2 * managedInterval)
		seen("when nobody tells any more")
	})
}
