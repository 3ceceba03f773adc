package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/routes"
)

const named = "remote vpn.example.test 1194 udp"

// cache is a server for names on this machine: it gets no answer while everything is closed.
type cache struct {
	st   *stage
	last error // what it says then
}

func (c cache) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	c.st.mu.Lock()
	defer c.st.mu.Unlock()
	for _, h := range c.st.hosts {
		if h.Guard().DNS && !h.IsClosed() {
			if c.last != nil {
				return nil, c.last
			}
			c.st.mu.Unlock()
			<-ctx.Done()
			c.st.mu.Lock()
			return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
		}
	}
	return addrs("192.0.2.1"), nil
}

// TestServerFoundBehindAClosedGuard: where the only server for names is on this machine, a service that starts anew behind the closed
// guard goes to where the tunnel was.
func TestServerFoundBehindAClosedGuard(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.full = true
		st := newStage(t, s, t.TempDir())
		st.cfg.Resolver = cache{st: st}
		st.add(alice, "work", s.profile(named))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		name := st.nameOf(0)
		st.stop() // the wish stays, as after a crash
		st.hosts[name].LeaveGuard(routes.Guard{})
		st.left = map[string]routes.Guard{name: routes.Everything()}
		s.set(func() { s.noDNS = true })
		st.start()
		st.untilState(alice, "work", api.Connected, 10*time.Second)
	})
}

// TestServerFoundBeforeTheGuardCloses: a profile that closes everything before its first attempt finds its servers before that.
func TestServerFoundBeforeTheGuardCloses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.cfg.Resolver = cache{st: st}
		s.set(func() { s.silent = true })
		st.add(alice, "work", s.profile("remote a.example.test 1194 udp\nremote b.example.test 1194 udp\nconnect-timeout 5\nredirect-gateway def1"))
		st.connect(alice, "work")
		time.Sleep(time.Second)
		if got := closed(st.host(0)); got != everything {
			t.Errorf("%q is closed", got)
		}
		time.Sleep(10 * time.Second) // both were tried
		s.set(func() { s.silent = false })
		st.untilState(alice, "work", api.Connected, 30*time.Second)
	})
}

// TestServerNotFoundBehindAClosedGuard: where nobody knows its address, the problem says why, and a name that is not there any more stays
// unknown.
func TestServerNotFoundBehindAClosedGuard(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.cfg.Resolver = cache{st: st}
		st.add(alice, "work", s.profile(named))
		st.setting(alice, "work", "guard=lockdown")
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Timeout: 15 * time.Second}); err != nil {
			t.Fatal(err)
		}
		p := st.blocked(alice, "work", api.CodeServerNameUnknown).Problem
		if !strings.Contains(p.Hint, "the guard of work is closed") {
			t.Errorf("%q", p.Hint)
		}
		// Once it was there, it is known.
		st.setting(alice, "work", "guard=auto")
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
			t.Fatal(err)
		}
		st.setting(alice, "work", "guard=lockdown")
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 10*time.Second)
	})
}

// TestServerNamesAreAsked: what is known from former times is no answer to a name that is found, or that is not there any more.
func TestServerNamesAreAsked(t *testing.T) {
	gone := &net.DNSError{Err: "no such host", IsNotFound: true}
	timeout := &net.DNSError{Err: "i/o timeout", IsTimeout: true}
	for _, c := range []struct {
		name    string
		answer  []netip.Addr
		err     error
		family  int
		offline bool
		want    string
	}{
		{"found", addrs("192.0.2.9"), nil, 0, false, "192.0.2.9"},
		{"gone", nil, gone, 0, false, "error"},
		{"no answer", nil, timeout, 0, false, "192.0.2.1"},
		{"no answer, of the other family", nil, timeout, 6, false, "2001:db8::1"},
		{"nobody can be asked", addrs("192.0.2.9"), nil, 0, true, "192.0.2.1"},
	} {
		known := func(string) []netip.Addr { return addrs("192.0.2.1", "2001:db8::1") }
		r := newRemotes([]remote{{host: "vpn.example.test", port: 1, family: c.family}}, false, false, answering{c.answer, c.err}, known)
		got := "error"
		if a, err := r.resolve(t.Context(), c.offline); err == nil {
			got = a.Addr().String()
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// answering is a Resolver with one answer.
type answering struct {
	addrs []netip.Addr
	err   error
}

func (a answering) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return a.addrs, a.err
}

func TestStoreKeepsServers(t *testing.T) {
	dir := t.TempDir()
	open := func() *store {
		t.Helper()
		s, err := openStore(dir, nil, quiet())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	work, home := key{"1000", "work"}, key{"1000", "home"}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.put("1000", record{Name: "work"}, false)
	ok(err)
	ok(s.reached(work, "vpn.example.test", addrs("192.0.2.1", "192.0.2.2")))
	ok(s.reached(key{managedOwner, "work"}, "vpn.example.test", addrs("192.0.2.7")))
	before, err := os.ReadFile(s.serversPath())
	ok(err)
	ok(s.reached(work, "vpn.example.test", addrs("192.0.2.2", "192.0.2.1")))
	if after, _ := os.ReadFile(s.serversPath()); string(after) != string(before) {
		t.Error("it is written for another order alone")
	}
	ok(s.copy(work, "home"))
	ok(s.remove(home))
	if got := s.addressesOf(work, "vpn.example.test"); !slices.Equal(got, addrs("192.0.2.1", "192.0.2.2")) {
		t.Errorf("after a copy has gone %v", got)
	}
	ok(s.copy(work, "home"))
	ok(s.reached(home, "vpn.example.test", addrs("192.0.2.3"))) // since
	ok(os.Rename(s.path(work), s.path(work)+".away"))
	ok(os.MkdirAll(filepath.Join(s.path(work), "in the way"), 0o700))
	if s.bequeath(work, "home") == nil || s.addressesOf(work, "vpn.example.test") == nil {
		t.Error("a profile that cannot go has lost its servers")
	}
	ok(os.RemoveAll(s.path(work)))
	ok(s.bequeath(work, "home"))
	if got := s.addressesOf(home, "vpn.example.test"); !slices.Equal(got, addrs("192.0.2.3")) {
		t.Errorf("what the copy knows better is %v", got)
	}
	ok(s.remove(home))
	_, err = s.put("1000", record{Name: "work"}, false)
	ok(err)
	ok(s.reached(work, "vpn.example.test", addrs("192.0.2.1", "192.0.2.2")))
	ok(s.copy(work, "home"))
	ok(s.bequeath(work, "home"))
	s = open()
	if got := s.addressesOf(home, "vpn.example.test"); !slices.Equal(got, addrs("192.0.2.1", "192.0.2.2")) {
		t.Errorf("after the next start %v", got)
	}
	if s.addressesOf(work, "vpn.example.test") != nil || s.addressesOf(home, "other.example.test") != nil {
		t.Error("another profile's, or another name's")
	}
	for i := range 2 * maxServers {
		ok(s.reached(home, fmt.Sprint("s", i), slices.Repeat(addrs("192.0.2.1"), 2*maxAddresses)))
	}
	s = open()
	if n := len(s.servers); n != maxServers+1 || s.addressesOf(home, "s0") != nil || len(s.addressesOf(home, fmt.Sprint("s", 2*maxServers-1))) != maxAddresses {
		t.Errorf("%d are kept", n)
	}
	ok(s.remove(home))
	if s = open(); len(s.servers) != 1 || s.addressesOf(key{managedOwner, "work"}, "vpn.example.test") == nil {
		t.Errorf("after the profile has gone %v", s.servers)
	}
	// A power cut has emptied it; a later version has written it; it is damaged.
	for i, text := range []string{"", "\x00\x00", `{"version":2,"servers":"x"}`, `{"servers":[{"addresses":["x"]}]}`} {
		ok(os.WriteFile(s.serversPath(), []byte(text), 0o600))
		s = open()
		err := s.reached(home, "vpn.example.test", addrs("192.0.2.1"))
		if later := i == 2; errors.Is(err, errLater) != later || (err != nil) != later {
			t.Errorf("%q: %v", text, err)
		}
		aside, _ := os.ReadDir(dir)
		if moved := i == 3; moved != slices.ContainsFunc(aside, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "servers.json.broken-") }) {
			t.Errorf("%q: %v", text, aside)
		}
	}
}

func FuzzParseServers(f *testing.F) {
	f.Add([]byte(`{"version":1,"servers":[{"owner":"1000","profile":"work","name":"vpn.example.test","addresses":["192.0.2.1","2001:db8::1%eth0",""]}],"more":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, kept, err := parseServers(text)
		if err != nil {
			return
		}
		of := map[string]int{}
		for _, r := range list {
			if of[r.Owner]++; of[r.Owner] > maxServers || len(r.Addresses) == 0 || len(r.Addresses) > maxAddresses {
				t.Fatalf("%d addresses, %d names", len(r.Addresses), of[r.Owner])
			}
		}
		out, err := encode(reachedServers{list}, kept)
		if err != nil {
			t.Fatal(err)
		}
		if again, _, err := parseServers(out); err != nil || len(again) != len(list) {
			t.Fatalf("read back %v, %v", again, err)
		}
	})
}
