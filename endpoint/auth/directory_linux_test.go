package auth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth/radius"
	"github.com/adit-vpn/adit/lab/peers"
	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
)

// startReal starts the real servers, or skips the test where they cannot run; not in CI.
func startReal(t *testing.T, start func() error) {
	t.Helper()
	err := start()
	if err != nil && os.Getenv("CI") != "true" && (errors.Is(err, peers.ErrMissing) || os.Geteuid() != 0) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// adConfig is how an endpoint is told about ad.
func adConfig(ad *peers.AD) DirectoryConfig {
	return DirectoryConfig{Servers: []string{ad.TLS()}, CA: ad.CA, BaseDN: ad.BaseDN, Realm: ad.Realm, Now: time.Now}
}

func newDirectory(t *testing.T, cfg DirectoryConfig) *Directory {
	t.Helper()
	d, err := NewDirectory(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestActiveDirectory signs in at Samba as a domain controller, and with FreeRADIUS for codes.
func TestActiveDirectory(t *testing.T) {
	var ad *peers.AD
	var rad *peers.RADIUS
	dir := t.TempDir()
	startReal(t, func() error {
		addr, err := peers.Loopback(peers.ADPlainPort, peers.ADTLSPort)
		if err == nil {
			rad, err = peers.StartRADIUS(filepath.Join(dir, "radius"), addr, peers.Here())
		}
		if err == nil {
			t.Cleanup(rad.Stop)
			ad, err = peers.NewAD(filepath.Join(dir, "ad"), addr)
		}
		if err == nil {
			err = ad.Start(peers.Here())
		}
		return err
	})
	t.Cleanup(ad.Stop)
	t.Run("Names", func(t *testing.T) { testNames(t, ad) })
	t.Run("Refused", func(t *testing.T) { testRefused(t, ad) })
	t.Run("TLS", func(t *testing.T) { testTLS(t, ad) })
	t.Run("Chain", func(t *testing.T) { testChain(t, ad) })
	t.Run("Lock", func(t *testing.T) { testLock(t, ad) })
	t.Run("Codes", func(t *testing.T) { testCodes(t, ad, rad) })
	t.Run("Protocols", func(t *testing.T) { testProtocols(t, ad, rad) })
	t.Run("Question", func(t *testing.T) { testQuestion(t, ad, rad) })
	t.Run("Silence", func(t *testing.T) { testSilence(t, ad, rad) })
}

// Every form of a name leads to the same user with the same groups; what would mean
// something in a filter is a part of the name.
func testNames(t *testing.T, ad *peers.AD) {
	plain := newDirectory(t, adConfig(ad))
	other := adConfig(ad)
	other.StartTLS, other.Servers = true, []string{ad.StartTLS()}
	starting := newDirectory(t, other)
	alice := []string{ad.SIDs["Domain Users"], ad.SIDs["VPN-Users"], ad.SIDs["VPN-Admins"], ad.SIDs["Engineering"]}
	for _, tc := range []struct {
		name, want string
		groups     []string
	}{
		{"alice", "alice@corp.example.test", alice},
		{"ALICE", "alice@corp.example.test", alice},
		{"alice@corp.example.test", "alice@corp.example.test", alice},
		{"Alice@CORP.example.TEST", "alice@corp.example.test", alice},
		{`CORP\alice`, "alice@corp.example.test", alice},
		{"bob", "bob@corp.example.test", []string{ad.SIDs["Domain Users"], ad.SIDs["VPN-Users"]}},
		{"o'hara (it)", "o'hara (it)@corp.example.test", []string{ad.SIDs["Domain Users"], ad.SIDs["VPN-Users"]}},
		{`CORP\o'hara (it)`, "o'hara (it)@corp.example.test", []string{ad.SIDs["Domain Users"], ad.SIDs["VPN-Users"]}},
	} {
		for _, d := range []*Directory{plain, starting} {
			o, err := d.Check(t.Context(), Credentials{Username: tc.name, Password: peers.ADPassword})
			a, ok := o.(Accepted)
			if err != nil || !ok {
				t.Errorf("%s: %+v %v", tc.name, o, err)
				continue
			}
			if a.Identity.Username != tc.want {
				t.Errorf("%s is %s", tc.name, a.Identity.Username)
			}
			for _, g := range tc.groups {
				if g == "" || !slices.Contains(a.Identity.Groups, g) {
					t.Errorf("%s is not in %q, only in %v", tc.name, g, a.Identity.Groups)
				}
			}
			if tc.want == "bob@corp.example.test" && slices.Contains(a.Identity.Groups, ad.SIDs["VPN-Admins"]) {
				t.Errorf("bob is an administrator")
			}
			if slices.Contains(a.Identity.Groups, "S-1-1-0") || slices.Contains(a.Identity.Groups, ad.SIDs["alice"]) {
				t.Errorf("%s: not groups: %v", tc.name, a.Identity.Groups)
			}
		}
	}
}

func denied(t *testing.T, d *Directory, name string, password push.Secret, reason string) {
	t.Helper()
	o, err := d.Check(t.Context(), Credentials{Username: name, Password: password})
	got, ok := o.(Denied)
	if err != nil || !ok || !strings.Contains(got.Reason, reason) || got.Tell != "Invalid username or password" {
		t.Errorf("%q: %#v %v, want %q", name, o, err, reason)
	}
	if strings.ContainsAny(got.Reason, "\n\r\x00\x1b") || len(password) > 3 && strings.Contains(got.Reason, string(password)) {
		t.Errorf("the reason is %q", got.Reason)
	}
}

// The log tells the cause, the client always the same.
func testRefused(t *testing.T, ad *peers.AD) {
	d := newDirectory(t, adConfig(ad))
	for _, tc := range []struct {
		name     string
		password push.Secret
		reason   string
	}{
		{"alice", "not it 9", "(52e)"},
		{"alice", "", "empty password"},
		{"nobody", peers.ADPassword, "(52"}, // Samba: 52e; Windows: 525
		{"alice@another.test", peers.ADPassword, "(52"},
		{`OTHER\alice`, peers.ADPassword, "(52"},
		{"carol", peers.ADPassword, "disabled (533)"},
		{"erin", peers.ADPassword, "account has expired (701)"},
		{"frank", peers.ADPassword, "must be changed first (773)"},
		{"grace", peers.ADPassword, "password has expired (532)"},
		{"", peers.ADPassword, "not a user name"},
		{"alice\x00", peers.ADPassword, "not a user name"},
		{"alice\n", peers.ADPassword, "not a user name"},
		{strings.Repeat("a", 300), peers.ADPassword, "not a user name"},
		{"alice\xff", peers.ADPassword, "not a user name"},
		{`CORP\`, peers.ADPassword, "not a user name"},
		{`\alice`, peers.ADPassword, "not a user name"},
		{"@corp.example.test", peers.ADPassword, "has no user"},
		{"alice", challenge.Static(peers.ADPassword, "123456"), "no RADIUS server"},
		{"alice", "SCRV1:x", "malformed"},
		{"alice", "CRV1::id::123456", "nothing was asked"},
	} {
		denied(t, d, tc.name, tc.password, tc.reason)
	}
	// Whatever a filter or a distinguished name makes of these, nobody signs in as another.
	for _, name := range []string{
		"*", "a*", "alice*", "*)(objectClass=*", "alice)(|(sAMAccountName=*", "alice))(|(sAMAccountName=bob", `alice\2a`, `\2a`, "(alice)", "alice)(&",
		"*)(uid=*))(|(uid=*", "CN=alice,CN=Users,DC=corp,DC=example,DC=test", "CN=alice,CN=Users,DC=corp,DC=example,DC=test@corp.example.test",
		"alice@corp.example.test)(objectClass=*", "S-1-5-21-1-2-3-1102", "corp.example.test/Users/alice", "ldap/dc1", "alice@corp.example.test@",
		"alice;bob", "alice bob", "alice\u2028", "{alice}", `CORP\*`, `CORP\alice)(objectClass=*`, `CORP\CN=alice`,
	} {
		denied(t, d, name, peers.ADPassword, "")
	}
	elsewhere := adConfig(ad)
	elsewhere.BaseDN = "CN=Computers," + ad.BaseDN
	denied(t, newDirectory(t, elsewhere), "alice", peers.ADPassword, "not found under CN=Computers")
}

// No server is asked anything before its certificate is known to be right.
func testTLS(t *testing.T, ad *peers.AD) {
	wrong := newCA(t, "another CA")
	for _, tc := range []struct {
		name   string
		change func(*DirectoryConfig)
		want   string
	}{
		{"another CA", func(c *DirectoryConfig) { c.CA = wrong.pem }, "unknown authority"},
		{"another CA, StartTLS", func(c *DirectoryConfig) {
			c.CA, c.StartTLS, c.Servers = wrong.pem, true, []string{ad.StartTLS()}
		}, "unknown authority"},
		{"the system's CAs", func(c *DirectoryConfig) { c.CA = nil }, "unknown authority"},
		{"another name", func(c *DirectoryConfig) { c.Servers = []string{"ldaps://localhost:636"} }, ""},
		{"TLS at the plain port", func(c *DirectoryConfig) {
			c.Servers = []string{strings.Replace(ad.StartTLS(), "ldap:", "ldaps:", 1)}
		}, ""},
		{"nobody there", func(c *DirectoryConfig) { c.Servers = []string{"ldaps://" + ad.Addr.String() + ":1"} }, "refused"},
	} {
		cfg := adConfig(ad)
		tc.change(&cfg)
		o, err := newDirectory(t, cfg).Check(t.Context(), Credentials{Username: "alice", Password: peers.ADPassword})
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %+v %v", tc.name, o, err)
		}
	}
	later := adConfig(ad)
	later.Servers = append([]string{"ldaps://" + ad.Addr.String() + ":1"}, later.Servers...)
	d := newDirectory(t, later)
	for range 2 {
		if o, err := d.Check(t.Context(), Credentials{Username: "alice", Password: peers.ADPassword}); err != nil {
			t.Errorf("the second server: %+v %v", o, err)
		}
	}
	if d.last.Load() != 1 {
		t.Error("the dead server is asked first again")
	}
}

// Both ways to the groups say the same about those that were made for people.
func testChain(t *testing.T, ad *peers.AD) {
	d := newDirectory(t, adConfig(ad))
	conn, err := d.servers[0].dial(t.Context(), d.tls)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l := connect(conn)
	defer l.Close()
	if err := l.Bind("alice@corp.example.test", peers.ADPassword); err != nil {
		t.Fatal(err)
	}
	found, err := search(l, ad.BaseDN, 2, "(sAMAccountName=alice)", 1, "objectSid", "primaryGroupID")
	if err != nil || len(found) != 1 {
		t.Fatalf("%v %v", found, err)
	}
	var got [2][]string
	for i, f := range []func() ([][]byte, error){
		func() ([][]byte, error) { return tokenGroups(l, found[0]) },
		func() ([][]byte, error) { return chain(l, ad.BaseDN, found[0]) },
	} {
		sids, err := f()
		if err != nil {
			t.Fatal(err)
		}
		ids, err := groupIDs(sids)
		if err != nil {
			t.Fatal(err)
		}
		got[i] = slices.DeleteFunc(ids, func(s string) bool { return strings.HasPrefix(s, "S-1-5-32-") })
	}
	want := []string{ad.SIDs["Domain Users"], ad.SIDs["VPN-Users"], ad.SIDs["VPN-Admins"], ad.SIDs["Engineering"]}
	slices.Sort(want)
	if !slices.Equal(got[0], want) || !slices.Equal(got[1], want) {
		t.Errorf("tokenGroups %v\nchain %v\nwant %v", got[0], got[1], want)
	}
}

// A wrong password counts once, so that the account is locked after as many as the directory says.
func testLock(t *testing.T, ad *peers.AD) {
	cfg := adConfig(ad)
	cfg.Servers = append(cfg.Servers, cfg.Servers[0], cfg.Servers[0])
	d := newDirectory(t, cfg)
	for range peers.ADThreshold - 1 {
		denied(t, d, "dave", "not it 9", "(52e)")
	}
	o, err := d.Check(t.Context(), Credentials{Username: "dave", Password: peers.ADPassword})
	if a, ok := o.(Accepted); err != nil || !ok || a.Identity.Username != "dave@corp.example.test" {
		t.Fatalf("before the last try: %+v %v", o, err)
	}
	for range peers.ADThreshold {
		denied(t, d, "dave", "not it 9", "(52e)")
	}
	denied(t, d, "dave", peers.ADPassword, "the account is locked (775)")
}

func radiusConfig(servers ...string) *radius.Config {
	return &radius.Config{Servers: servers, Secret: peers.RADIUSSecret, Protocol: radius.PAP, Timeout: 5 * time.Second, Retries: 1}
}

func testCodes(t *testing.T, ad *peers.AD, rad *peers.RADIUS) {
	cfg := adConfig(ad)
	cfg.Radius = radiusConfig(rad.OneShot.String())
	clk := &clock{time.Now()}
	cfg.Now = clk.now
	d := newDirectory(t, cfg)
	code := push.Secret(rad.FreshCode())
	denied(t, d, "alice", peers.ADPassword, "no one-time code")
	denied(t, d, "alice", challenge.Static(peers.ADPassword, ""), "empty one-time code")
	denied(t, d, "alice", challenge.Static(peers.ADPassword, code+"\x00"), "control characters")
	denied(t, d, "alice", challenge.Static("", code), "empty password")
	denied(t, d, "alice", challenge.Static("not it 9", code), "(52e)")
	denied(t, d, "alice", challenge.Static(peers.ADPassword, "000000"), "refuses the code")
	denied(t, d, "alice", challenge.Static(peers.ADPassword, push.Secret(rad.Code(time.Now().Add(-5*time.Minute)))), "refuses the code")
	denied(t, d, "bob", challenge.Static(peers.ADPassword, code), "refuses the code") // alice's
	denied(t, d, "alice", "CRV1::0123456789abcdef::"+code, "no question")

	check := func(name string, code push.Secret) (Outcome, error) {
		return d.Check(t.Context(), Credentials{Username: name, Password: challenge.Static(peers.ADPassword, code)})
	}
	code = push.Secret(rad.FreshCode())
	o, err := check("alice", code[:3]+" "+code[3:])
	if a, ok := o.(Accepted); err != nil || !ok || !slices.Contains(a.Identity.Groups, ad.SIDs["VPN-Users"]) {
		t.Fatalf("%+v %v", o, err)
	}
	// FreeRADIUS would take the code again; whatever the name looks like, the endpoint does not.
	for _, name := range []string{"alice", "ALICE", `CORP\alice`, "alice@corp.example.test"} {
		denied(t, d, name, challenge.Static(peers.ADPassword, code), "used before")
	}
	denied(t, d, "alice", challenge.Static(peers.ADPassword, " "+code), "used before")
	cfg.Memory = d.memory // a reload
	denied(t, newDirectory(t, cfg), "alice", challenge.Static(peers.ADPassword, code), "used before")
	o, err = check("o'hara (it)", code)
	if a, ok := o.(Accepted); err != nil || !ok || a.Identity.Username == "" {
		t.Errorf("the same code of another user: %+v %v", o, err)
	}
	clk.t = clk.t.Add(reuse)
	o, err = check("alice", push.Secret(rad.FreshCode()))
	if _, ok := o.(Accepted); err != nil || !ok {
		t.Errorf("90 s later: %+v %v", o, err)
	}
}

func testProtocols(t *testing.T, ad *peers.AD, rad *peers.RADIUS) {
	for _, p := range []radius.Protocol{radius.PAP, radius.CHAP, radius.MSCHAPv1, radius.MSCHAPv2} {
		cfg := adConfig(ad)
		cfg.Radius = radiusConfig(rad.OneShot.String())
		cfg.Radius.Protocol = p
		d := newDirectory(t, cfg)
		denied(t, d, "bob", challenge.Static(peers.ADPassword, "654321"), "refuses the code")
		o, err := d.Check(t.Context(), Credentials{Username: "bob", Password: challenge.Static(peers.ADPassword, peers.RADIUSFixed)})
		if a, ok := o.(Accepted); err != nil || !ok || a.Identity.Username != "bob@corp.example.test" {
			t.Errorf("%s: %+v %v", p, o, err)
		}
	}
}

// The RADIUS server's own question goes to the client, and its answer back with the State.
func testQuestion(t *testing.T, ad *peers.AD, rad *peers.RADIUS) {
	cfg := adConfig(ad)
	clk := &clock{time.Now()}
	cfg.Now = clk.now
	cfg.Radius = radiusConfig(rad.Challenge.String())
	d := newDirectory(t, cfg)
	ask := func() challenge.Dynamic {
		t.Helper()
		o, err := d.Check(t.Context(), Credentials{Username: "alice", Password: challenge.Static(peers.ADPassword, peers.RADIUSFirst)})
		c, ok := o.(Challenge)
		if err != nil || !ok {
			t.Fatalf("%+v %v", o, err)
		}
		q, err := challenge.ParseDynamic(c.Text)
		if err != nil || !q.Response || q.Echo || q.Username != "alice" || q.Text != peers.RADIUSQuestion {
			t.Fatalf("%+v %v", q, err)
		}
		return q
	}
	code := push.Secret(rad.FreshCode())
	q := ask()
	denied(t, d, "bob", q.Answer(code), "no question of this user") // and it stays alice's
	o, err := d.Check(t.Context(), Credentials{Username: "alice", Password: q.Answer(code)})
	if a, ok := o.(Accepted); err != nil || !ok || a.Identity.Username != "alice@corp.example.test" || !slices.Contains(a.Identity.Groups, ad.SIDs["VPN-Users"]) {
		t.Fatalf("%+v %v", o, err)
	}
	denied(t, d, "alice", q.Answer(code), "no question")
	denied(t, d, "alice", ask().Answer(code), "used before")
	denied(t, d, "alice", ask().Answer("000000"), "refuses the code")
	denied(t, d, "alice", challenge.Static(peers.ADPassword, "000000"), "refuses the code")
	q = ask()
	clk.t = clk.t.Add(61 * time.Second) // it said 60
	denied(t, d, "alice", q.Answer("1"), "too late")
}

// A server that says nothing, or nothing that counts, is an error of its own, in time.
func testSilence(t *testing.T, ad *peers.AD, rad *peers.RADIUS) {
	for _, tc := range []struct {
		name, server, want string
	}{
		{"mute", rad.Mute.String(), "no answer from a RADIUS server"},
		{"unsigned", rad.Unsigned.String(), "CVE-2024-3596"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := adConfig(ad)
			cfg.Radius = radiusConfig(tc.server)
			cfg.Radius.Timeout = time.Second
			began := time.Now()
			o, err := newDirectory(t, cfg).Check(t.Context(), Credentials{Username: "bob", Password: challenge.Static(peers.ADPassword, peers.RADIUSFixed)})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), tc.server) {
				t.Errorf("%+v %v", o, err)
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		cfg := adConfig(ad)
		cfg.Radius = radiusConfig(rad.Slow.String())
		if o, err := newDirectory(t, cfg).Check(t.Context(), Credentials{Username: "bob", Password: challenge.Static(peers.ADPassword, "1")}); err != nil {
			t.Errorf("%+v %v", o, err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		cfg := adConfig(ad)
		cfg.Radius = radiusConfig(rad.Mute.String())
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		if o, err := newDirectory(t, cfg).Check(ctx, Credentials{Username: "bob", Password: challenge.Static(peers.ADPassword, "1")}); err == nil || time.Since(began) > 8*time.Second {
			t.Errorf("%+v %v after %v", o, err, time.Since(began))
		}
	})
}
