//go:build linux

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/lab/peers"
	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
)

// office is a site whose host is the company's server: an Active Directory, and RADIUS servers for
// one-time codes. Only the endpoint can reach them.
type office struct {
	*site
	ad  *peers.AD
	rad *peers.RADIUS
	pki pki
	log *Proc // of the endpoint
}

// in runs a peer in a node.
func in(n *Node) peers.Place {
	return peers.Place{Dial: n.Dial, Run: func(argv ...string) (func(), error) {
		p, err := n.Start(argv...)
		if err != nil {
			return nil, err
		}
		return func() {
			p.Stop(syscall.SIGTERM, 5*time.Second)
			syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL) // what it left of its group
		}, nil
	}}
}

// newOffice skips the test where the peers are not installed, but not in CI.
func newOffice(t *testing.T) *office {
	t.Helper()
	needs(t, "curl", "openvpn")
	o := &office{site: newSite(t), pki: newPKI(t)}
	var err error
	if o.ad, err = peers.NewAD(filepath.Join(o.host.Dir, "ad"), hostAddr); err == nil {
		o.rad, err = peers.StartRADIUS(filepath.Join(o.host.Dir, "radius"), hostAddr, in(o.host))
	}
	if errors.Is(err, peers.ErrMissing) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	o.ok(err)
	t.Cleanup(o.rad.Stop)
	o.ok(o.ad.Start(in(o.host)))
	t.Cleanup(o.ad.Stop)
	return o
}

// config is an endpoint with certificates, the directory and, unless server is empty, this RADIUS server.
func (o *office) config(transport, server string) string {
	o.t.Helper()
	o.write(o.server, "ad-ca.pem", string(o.ad.CA))
	o.write(o.server, "radius.secret", peers.RADIUSSecret+"\n")
	code := ""
	if server != "" {
		code = fmt.Sprintf(", radius: {server: %q, secret_file: radius.secret, timeout: 2s, retries: 2}", server)
	}
	directory := fmt.Sprintf("authentication: [{mutual: {ca: ca.crt}}, {directory: {url: %q, ca: ad-ca.pem, base_dn: %q, realm: %s%s}}]",
		o.ad.TLS(), o.ad.BaseDN, o.ad.Realm, code)
	text := o.yaml(o.pki, "", endpointConfig{Transport: transport, Rules: vpcRules()})
	return strings.Replace(text, "authentication: [{mutual: {ca: ca.crt}}]", directory, 1)
}

func (o *office) reload(config string) {
	o.t.Helper()
	o.write(o.server, "endpoint.yaml", config)
	o.endpointCmd("reload")
}

// signIn connects as a person without a terminal does, and returns what was said.
func (o *office) signIn(user, password, code string) (string, error) {
	o.t.Helper()
	argv := []string{bin(o.t, "adit"), "connect", "lab", "--timeout", "40s", "--user", user, "--password-file", o.write(o.client, "password", password+"\n")}
	if code != "" {
		argv = append(argv, "--otp", code)
	}
	return o.try(o.client, argv...)
}

// in demands a tunnel for this user, as the endpoint knows it.
func (o *office) in(user, password, code, as string) {
	o.t.Helper()
	if out, err := o.signIn(user, password, code); err != nil {
		o.t.Fatalf("%s: %v: %s", user, err, out)
	}
	o.reaches(o.client, none, hostAddr)
	list := o.connections()
	if len(list) != 1 || list[0].Client != as {
		o.t.Fatalf("connections: %+v, want %s", list, as)
	}
	o.leave()
}

func (o *office) leave() {
	o.t.Helper()
	o.adit("disconnect", "lab")
	o.until(soon, "the endpoint has no client", func() bool { return len(o.connections()) == 0 })
}

// out demands a refusal: in these words to the client, for this reason in the endpoint's log.
func (o *office) out(user, password, code, words, reason string) {
	o.t.Helper()
	before := len(o.log.Out.String())
	began := time.Now()
	text, err := o.signIn(user, password, code)
	if err == nil {
		o.t.Fatalf("%s was let in", user)
	}
	if took := time.Since(began); took > 15*time.Second {
		o.t.Errorf("%s waited %v", user, took)
	}
	if !strings.Contains(text, words) {
		o.t.Errorf("%s: the client says %q, not %q", user, text, words)
	}
	// The client may know before the endpoint has written its line.
	o.until(soon, fmt.Sprintf("the endpoint's log says of %s: %s", user, reason), func() bool { return strings.Contains(o.log.Out.String()[before:], reason) })
	if strings.Contains(o.log.Out.String(), password) || code != "" && len(code) == 6 && strings.Contains(o.log.Out.String(), code) {
		o.t.Error("a password or code is in the log")
	}
	if st := o.statusOf("lab"); st.State != api.Disconnected {
		o.t.Errorf("%s: the client is %s", user, st.State)
	}
	o.cannotReach(o.client, hostAddr)
}

// What clients are told: AWS's words for whatever was wrong with what they showed, and ours for what is not
// their fault.
const (
	refused = "Invalid username or password"
	unable  = "cannot check who you are"
)

// TestDirectory signs in at a real Active Directory: certificate, name and password.
func TestDirectory(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			o.log = o.endpointUp(o.config(transport, ""))
			o.aditd()
			o.adit("import", o.write(o.client, "lab.ovpn", clientProfile(o.pki, transport, "plain", "", "auth-user-pass")))
			for _, name := range []string{"alice", `CORP\alice`, "ALICE@corp.example.test"} {
				o.in(name, peers.ADPassword, "", "alice@corp.example.test")
			}
			o.out("alice", "not it 9", "", refused, "wrong user name or password (52e)")
			o.out("nobody", peers.ADPassword, "", refused, "wrong user name or password (52e)")
			o.out("alice)(objectClass=*", peers.ADPassword, "", refused, "(52e)")
			o.out("carol", peers.ADPassword, "", refused, "the account is disabled (533)")
			o.out("erin", peers.ADPassword, "", refused, "the account has expired (701)")
			o.out("frank", peers.ADPassword, "", refused, "the password must be changed first (773)")
			o.out("grace", peers.ADPassword, "", refused, "the password has expired (532)")
			for range peers.ADThreshold {
				o.out("dave", "not it 9", "", refused, "(52e)")
			}
			o.out("dave", peers.ADPassword, "", refused, "the account is locked (775)")
			o.ad.Stop()
			o.out("bob", peers.ADPassword, "", unable, "10.0.0.10:636")
		})
	}
}

// TestW1Step2 is step 2 of the article "Remote access with AD + MFA": certificate, directory and
// one-time code; wrong certificate, password and code; three tries lock nobody out.
func TestW1Step2(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			o.log = o.endpointUp(o.config(transport, o.rad.OneShot.String()))
			o.aditd()
			profile := func(p pki) string {
				return clientProfile(p, transport, "plain", "", "auth-user-pass", `static-challenge "Enter MFA code " 1`, "auth-retry none")
			}
			// The profile that the endpoint exports asks for all of it.
			exported := o.endpointCmd("export", "--config", filepath.Join(o.server.Dir, "endpoint.yaml"))
			for _, line := range []string{"auth-user-pass\n", `static-challenge "Enter MFA code " 1` + "\n"} {
				if !strings.Contains(exported, line) {
					t.Errorf("the exported profile has no %q:\n%s", line, exported)
				}
			}
			wrong := o.pki
			wrong.client = newAuthority(t, "another CA").client("alice")
			o.adit("import", o.write(o.client, "lab.ovpn", profile(wrong)))
			o.out("alice", peers.ADPassword, o.rad.FreshCode(), "certificate", "certificate")

			o.adit("import", o.write(o.client, "lab.ovpn", profile(o.pki)), "--replace")
			for range 3 {
				o.out("alice", "not it 9", o.rad.FreshCode(), refused, "wrong user name or password (52e)")
			}
			for range 3 {
				o.out("alice", peers.ADPassword, "000000", refused, "refuses the code")
			}
			o.out("alice", peers.ADPassword, o.rad.Code(time.Now().Add(-5*time.Minute)), refused, "refuses the code")
			o.in("bob", peers.ADPassword, peers.RADIUSFixed, "bob@corp.example.test")
			o.reload(o.config(transport, o.rad.OneShot.String())) // which forgets no code
			o.out("bob", peers.ADPassword, peers.RADIUSFixed, refused, "used before")
			o.in("alice", peers.ADPassword, o.rad.FreshCode(), "alice@corp.example.test")

			// Stock openvpn, as its static-challenge line makes the password.
			both := string(challenge.Static(peers.ADPassword, push.Secret(o.rad.FreshCode())))
			stock := o.openvpn(o.client, clientProfile(o.pki, transport, "plain", "", "auth-user-pass "+o.write(o.client, "openvpn-login", "dave\n"+both+"\n")))
			o.ok(stock.WaitFor("Initialization Sequence Completed", soon))
			o.reaches(o.client, none, hostAddr)
			stock.Stop(syscall.SIGTERM, soon)
			o.until(soon, "the endpoint has no client", func() bool { return len(o.connections()) == 0 })

			// A server that says nothing; out checks the time.
			o.reload(o.config(transport, o.rad.Mute.String()))
			o.out("bob", peers.ADPassword, "654321", unable, "no answer from a RADIUS server: "+o.rad.Mute.String())

			// A server that asks for more: without a person that ends at once, with one its question
			// is asked and the answer goes back to it.
			o.reload(o.config(transport, o.rad.Challenge.String()))
			const hara = "o'hara (it)" // whose code was not used yet
			if text, err := o.signIn(hara, peers.ADPassword, peers.RADIUSFirst); err == nil || !strings.Contains(text, "--otp") {
				t.Errorf("the server's question without a person: %v: %s", err, text)
			}
			o.post("/v1/connect", map[string]string{"profile": "lab", "username": hara, "password": peers.ADPassword, "otp": peers.RADIUSFirst})
			o.until(soon, "the server's question is asked", func() bool { l := o.statusOf("lab").Login; return l != nil && l.Prompt == peers.RADIUSQuestion })
			o.post("/v1/answer", map[string]string{"profile": "lab", "id": o.statusOf("lab").Login.ID, "response": o.rad.FreshCode()})
			o.until(soon, "the answer opened the tunnel", func() bool { return o.statusOf("lab").State == api.Connected })
			o.reaches(o.client, none, hostAddr)
			o.leave()
		})
	}
}

// post asks the service as a graphical program does.
func (o *office) post(path string, body map[string]string) {
	o.t.Helper()
	b, err := json.Marshal(body)
	o.ok(err)
	o.run(o.client, "curl", "--silent", "--show-error", "--fail-with-body", "--unix-socket", aditService, "-d", string(b), "http://adit"+path)
}

// TestW1Step3 is step 3 of the article: a rule for a group's security identifier lets its members in, those of
// groups inside it, too, and nobody else; the directory's own network is reached by rule.
func TestW1Step3(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	rules := fmt.Sprintf("authorization_rules:\n  - {cidr: 10.0.0.0/16, group: %s}\n  - {cidr: 10.0.0.5/32, all: true}\n", o.ad.SIDs["VPN-Users"])
	config, _, _ := strings.Cut(o.config("udp", ""), "authorization_rules:")
	o.log = o.endpointUp(config + rules)
	o.aditd()
	o.adit("import", o.write(o.client, "lab.ovpn", clientProfile(o.pki, "udp", "plain", "", "auth-user-pass")))

	o.in("alice", peers.ADPassword, "", "alice@corp.example.test") // in Engineering, which is in VPN-Users
	o.in("bob", peers.ADPassword, "", "bob@corp.example.test")
	if out, err := o.signIn("dave", peers.ADPassword, ""); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	o.reaches(o.client, none, serverInner)
	o.cannotReach(o.client, hostAddr)
	// A reload that lets Domain Users in reaches his session, too.
	o.reload(config + strings.Replace(rules, o.ad.SIDs["VPN-Users"], o.ad.SIDs["Domain Users"], 1))
	o.reaches(o.client, none, hostAddr)
	c, err := o.client.Dial("tcp", netip.AddrPortFrom(hostAddr, peers.ADTLSPort).String(), soon)
	o.ok(err)
	c.Close()
	o.reload(config + rules)
	o.cannotReach(o.client, hostAddr)
	o.leave()
}
