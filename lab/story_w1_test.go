//go:build linux

package lab

import (
	"fmt"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/lab/peers"
)

// TestW1 is the article "Remote access with AD + MFA" by its page: certificate, password of a real Active Directory and
// code of a RADIUS server; what is wrong is said; a rule for a group's SID; the client's and the server's
// certificates renewed, and the CA replaced; and a connect handler that admits by source address.
func TestW1(t *testing.T) {
	t.Parallel()
	needs(t, "/usr/share/easy-rsa/easyrsa", "openssl", "ping", "dnsmasq", "getent")
	o := newOffice(t)
	o.data = "adit-endpoint-data"
	p := o.page("directory-mfa.md", map[string]*Node{"client": o.client, "endpoint": o.server})
	p.Stays = []string{"adit-endpoint up"}
	p.Swap = [][2]string{{"scp ", "cp "}, {"client:", o.client.Dir + "/"}, {"S-1-5-21-1-2-3-1104", o.ad.SIDs["VPN-Users"]}}
	o.write(o.server, "ad-ca.pem", string(o.ad.CA))
	o.write(o.server, "radius.secret", peers.RADIUSSecret+"\n")
	o.write(o.client, "password", peers.ADPassword+"\n")
	dns := o.start(o.host, "dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv", "--no-hosts",
		"--listen-address="+hostAddr.String(), "--bind-interfaces", "--log-facility=-", fmt.Sprintf("--address=/%s/%s", o.ad.Host, hostAddr))
	o.ok(dns.WaitFor("started", soon))
	o.aditd()
	before := o.system()

	p.section("1. The certificates")
	p.section("2. The endpoint")
	p.Swap = append(p.Swap, [2]string{"--otp 123456", "--otp " + o.rad.FreshCode()})
	p.section("3. Sign in with all three")
	o.same("after the first connections", before, o.system())
	p.section("4. What is wrong is said")
	log := p.running["adit-endpoint up"].Out
	for _, cause := range []string{"certificate", "wrong user name or password (52e)", "refuses the code"} {
		if !strings.Contains(log.String(), cause) {
			t.Errorf("the endpoint's log does not say %q", cause)
		}
	}
	p.section("5. A rule for a group")
	p.section("6. Renew the client's certificate")
	if list := o.connections(); len(list) != 1 || list[0].Username != "alice@corp.example.test" || list[0].Cert != "alice" {
		t.Errorf("connections: %+v", list)
	}
	session := o.connections()[0].ID
	p.section("7. Renew the server's certificate")
	if s := log.String(); strings.Count(s, session) != 2 { // connected and, by the client, disconnected
		t.Errorf("the session %s did not outlive the renewal", session)
	}
	p.section("8. Replace the CA")
	p.section("9. Admit by source address")
	o.same("at the end", before, o.system())
}
