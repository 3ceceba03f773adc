//go:build linux

package lab

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

const (
	awsHost = "cvpn-endpoint-0123456789abcdef0.prod.clientvpn.us-east-1.amazonaws.com"
	awsName = "server.example.com"
)

// awsProfile is a profile as AWS exports it for certificate authentication, with
// the certificate and key that the administrator adds to it.
func awsProfile(p pki) string {
	return `client
dev tun
proto udp
remote ` + awsHost + ` 443
remote-random-hostname
resolv-retry infinite
nobind
remote-cert-tls server
cipher AES-256-GCM
verb 3
<ca>
` + p.ca + `
</ca>

<cert>
` + p.client.Cert + `</cert>
<key>
` + p.client.Key + `</key>

reneg-sec 0

verify-x509-name ` + awsName + ` name
`
}

// TestAWSProfile imports a profile that AWS exported and connects with it, under
// a name that only exists with a random label in front.
func TestAWSProfile(t *testing.T) {
	t.Parallel()
	needs(t, "dnsmasq")
	s := newSite(t)
	ca := newAuthority(t, "lab CA")
	p := pki{ca.PEM, ca.server(awsName), ca.client("alice")}
	s.endpointUp(s.yaml(p, "", endpointConfig{Listen: "0.0.0.0:443", Rules: vpcRules(), Full: true}))
	dns := s.start(s.server, "dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv", "--no-hosts",
		"--listen-address="+serverOuter.String(), "--bind-interfaces", "--log-queries", "--log-facility=-",
		fmt.Sprintf("--address=/*.%s/%s", awsHost, serverOuter))
	s.ok(dns.WaitFor("started", soon))
	s.ok(s.client.Do(func() error {
		return os.WriteFile("/etc/resolv.conf", []byte("nameserver "+serverOuter.String()+"\n"), 0o644)
	}))
	file := s.write(s.client, "aws.ovpn", awsProfile(p))
	if out := s.adit("check", file); !strings.Contains(out, "is usable") {
		t.Errorf("check: %s", out)
	}
	s.aditd()
	before := s.system()
	s.adit("import", file)
	s.adit("connect", "aws", "--timeout", "20s")
	s.reaches(s.client, none, hostAddr)
	st := s.status()
	if st.Server.Name != awsHost || st.Server.Address != serverOuter.String() || st.Server.Port != 443 || !st.FullTunnel {
		t.Errorf("status: %+v", st.Server)
	}
	if asked := dns.Out.String(); !regexp.MustCompile(`query\[A+\] [0-9a-f]{12}\.`+regexp.QuoteMeta(awsHost)).MatchString(asked) ||
		strings.Contains(asked, "] "+awsHost) {
		t.Errorf("the resolver was asked:\n%s", asked)
	}
	s.adit("disconnect", "aws")
	s.same("after the connection", before, s.system())
}
