package profile

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// handshake runs TLS over a pipe and returns the client's error.
func handshake(t *testing.T, cfg *tls.Config, srv issued, clients *x509.CertPool) error {
	t.Helper()
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer b.Close()
		conn := tls.Server(b, &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{srv.cert.Raw}, PrivateKey: srv.key}},
			ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients, Time: testNow,
		})
		done <- conn.Handshake()
	}()
	err := tls.Client(a, cfg).Handshake()
	if err == nil {
		if serverErr := <-done; serverErr != nil {
			t.Errorf("server: %v", serverErr)
		}
		a.Close()
		return nil
	}
	a.Close()
	<-done
	return err
}

func fingerprintOf(sum []byte) string { return strings.Trim(fmt.Sprintf("% X", sum), " ") }

func TestServerVerification(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	me := issue(t, &ca, "me", client)
	good := issue(t, &ca, "vpn.example", server)
	revoked := issue(t, &ca, "gone.example", server)
	crl := func(next time.Time) string {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: testNow().AddDate(0, -1, 0), NextUpdate: next,
			RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: revoked.cert.SerialNumber, RevocationTime: testNow().AddDate(0, -1, 0)}},
		}, ca.cert, ca.key)
		if err != nil {
			t.Fatal(err)
		}
		return "<crl-verify>\n" + toPEM("X509 CRL", der) + "</crl-verify>\n"
	}
	sum := sha256.Sum256(good.cert.Raw)
	caSum := sha1.Sum(ca.cert.Raw)
	colons := func(b []byte) string { return strings.ReplaceAll(fingerprintOf(b), " ", ":") }
	for _, c := range []struct {
		name   string
		extra  string
		server issued
		kind   Kind // "" = accepted
		text   string
	}{
		{"plain", "", good, "", ""},
		{"remote-cert-tls", "remote-cert-tls server\n", good, "", ""},
		{"client certificate as server", "remote-cert-tls server\n", issue(t, &ca, "x", client), Usage, "not meant for a server"},
		{"client certificate as server, unchecked", "", issue(t, &ca, "x", client), "", ""},
		{"no usage at all", "remote-cert-tls server\n", issue(t, &ca, "x", nil), Usage, "C=DE, O=Example, CN=x"},
		{"useless key usage", "remote-cert-tls server\n", issue(t, &ca, "x", func(c *x509.Certificate) { server(c); c.KeyUsage = x509.KeyUsageCRLSign }), Usage, "key usage"},
		{"ns-cert-type", "ns-cert-type server\n", issue(t, &ca, "x", client), Usage, "ns-cert-type"},
		{"ku", "remote-cert-ku 80 a0\n", good, "", ""},
		{"wrong ku", "remote-cert-ku a0\n", good, Usage, "80"},
		{"eku", "remote-cert-eku 1.3.6.1.5.5.7.3.1\n", good, "", ""},
		{"wrong eku", "remote-cert-eku clientAuth\n", good, Usage, "remote-cert-eku"},
		{"name", "verify-x509-name vpn.example name\n", good, "", ""},
		{"name-prefix", "verify-x509-name vpn. name-prefix\n", good, "", ""},
		{"subject", "verify-x509-name \"C=DE, O=Example, CN=vpn.example\"\n", good, "", ""},
		{"wrong name", "verify-x509-name vpn name\n", good, Name, `"vpn.example", but verify-x509-name wants "vpn"`},
		{"wrong prefix", "verify-x509-name example name-prefix\n", good, Name, "name-prefix"},
		{"wrong subject", "verify-x509-name \"CN=vpn.example\" subject\n", good, Name, "C=DE, O=Example"},
		{"other CA", "", issue(t, &other, "vpn.example", server), Untrusted, "not issued by the profile's CA"},
		{"self-signed", "", issue(t, nil, "vpn.example", server), Untrusted, "not issued"},
		{"expired", "", issue(t, &ca, "x", func(c *x509.Certificate) { c.NotAfter = testNow().Add(-time.Hour) }), Expired, "expired on 2026-06-01 11:00"},
		{"not yet", "", issue(t, &ca, "x", func(c *x509.Certificate) { c.NotBefore = testNow().Add(time.Hour) }), NotYet, "only from 2026-06-01 13:00"},
		{"crl", crl(testNow().AddDate(0, 1, 0)), good, "", ""},
		{"revoked", crl(testNow().AddDate(0, 1, 0)), revoked, Revoked, "CN=gone.example was revoked"},
		{"stale crl", crl(testNow().AddDate(0, 0, -1)), good, Revoked, "expired on 2026-05-31"},
		{"fingerprint", "peer-fingerprint " + colons(sum[:]) + "\n", good, "", ""},
		{"wrong fingerprint", "<peer-fingerprint>\n" + colons(sum[:]) + "\n</peer-fingerprint>\n", revoked, Fingerprint, "peer-fingerprint"},
		{"verify-hash", "verify-hash " + colons(caSum[:]) + "\n", good, "", ""},
		{"wrong verify-hash", "verify-hash " + colons(sum[:]) + " SHA256\n", good, Fingerprint, "verify-hash"},
		{"suiteb", "tls-cert-profile suiteb\n", good, "", ""},
	} {
		p := mustParse(t, "remote h.example\n<ca>\n"+ca.pem+"</ca>\n<cert>\n"+me.pem+"</cert>\n<key>\n"+me.kpem+"</key>\n"+c.extra, nil)
		cfg, err := p.TLSConfig(testNow)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		pool := x509.NewCertPool()
		pool.AddCert(ca.cert)
		err = handshake(t, cfg, c.server, pool)
		var e *VerifyError
		switch {
		case c.kind == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.kind != "" && (!errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(e.Error(), c.text)):
			t.Errorf("%s: got %v, want %s: %s", c.name, err, c.kind, c.text)
		}
	}
}

func TestFingerprintWithoutCA(t *testing.T) {
	ca := newAuthority(t, "ca")
	me, srv := issue(t, &ca, "me", client), issue(t, nil, "self", server)
	sum := sha256.Sum256(srv.cert.Raw)
	p := mustParse(t, fmt.Sprintf("remote h\npeer-fingerprint %x\n<cert>\n%s</cert>\n<key>\n%s</key>\n", sum, me.pem, me.kpem), nil)
	cfg, err := p.TLSConfig(testNow)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	if err := handshake(t, cfg, srv, pool); err != nil {
		t.Error(err)
	}
	var e *VerifyError
	if err := handshake(t, cfg, issue(t, nil, "self", server), pool); !errors.As(err, &e) || e.Kind != Fingerprint {
		t.Errorf("got %v", err)
	}
}

func TestWeakChains(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t, "ca")
	template := &x509.Certificate{SerialNumber: big.NewInt(9), NotBefore: testNow().AddDate(-1, 0, 0), NotAfter: testNow().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for profile, want := range map[string]string{"legacy": "", "preferred": "RSA key of 1024 bits", "suiteb": "an RSA key"} {
		v := &verifier{p: &Profile{CertProfile: profile}}
		if err := v.strength([]*x509.Certificate{cert}); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", profile, err)
		}
	}
	// crypto/x509 cannot make SHA-1 signatures, so that a parsed one is imitated.
	old := *issue(t, &ca, "old", server).cert
	old.SignatureAlgorithm = x509.SHA1WithRSA
	v := &verifier{p: &Profile{}, roots: x509.NewCertPool(), now: testNow}
	var e *VerifyError
	if err := v.verify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{&old}}); !errors.As(err, &e) || e.Kind != Weak || !strings.Contains(e.Text, "SHA1-RSA") {
		t.Errorf("got %v", err)
	}
}

func TestOwnCertificate(t *testing.T) {
	ca := newAuthority(t, "ca")
	me, other := issue(t, &ca, "me", client), issue(t, &ca, "other", client)
	old := issue(t, &ca, "old", func(c *x509.Certificate) { c.NotAfter = testNow().Add(-time.Minute) })
	young := issue(t, &ca, "young", func(c *x509.Certificate) { c.NotBefore = testNow().Add(time.Minute) })
	block := func(tag, body string) string { return "<" + tag + ">\n" + body + "</" + tag + ">\n" }
	lockedKey := toPEM("ENCRYPTED PRIVATE KEY", []byte("x"))
	for _, c := range []struct {
		text string
		kind Kind // "" = fine
	}{
		{block("ca", ca.pem) + block("cert", me.pem) + block("key", me.kpem), ""},
		{block("ca", ca.pem), Missing},
		{block("ca", ca.pem) + block("cert", me.pem), Missing},
		{block("cert", me.pem) + block("key", me.kpem), Missing},
		{block("ca", ca.pem) + "setenv CLIENT_CERT 0\n", ""},
		{block("ca", ca.pem) + "auth-user-pass\n", ""},
		{block("ca", ca.pem) + block("cert", me.pem) + block("key", other.kpem), Mismatch},
		{block("ca", ca.pem) + block("cert", old.pem) + block("key", old.kpem), Expired},
		{block("ca", ca.pem) + block("cert", young.pem) + block("key", young.kpem), NotYet},
		{block("ca", ca.pem) + block("cert", me.pem) + block("key", lockedKey), Locked},
	} {
		p := mustParse(t, "remote h.example\n"+c.text, nil)
		_, err := p.TLSConfig(testNow)
		var e *CertificateError
		if c.kind == "" && err != nil || c.kind != "" && (!errors.As(err, &e) || e.Kind != c.kind) {
			t.Errorf("want %q, got %v", c.kind, err)
		}
		usable := c.kind == ""
		if r := p.Check(testNow()); r.Usable != usable {
			t.Errorf("%q: usable %v, problems %+v", c.kind, r.Usable, r.Problems)
		}
	}
}

func TestCheck(t *testing.T) {
	ca, foreign := newAuthority(t, "ca"), newAuthority(t, "foreign")
	soon := issue(t, &foreign, "me", func(c *x509.Certificate) { client(c); c.NotAfter = testNow().AddDate(0, 0, 29) })
	p := mustParse(t, "client\nremote h.example 1194 tcp\nup /bin/x\nexplicit-exit-notify\nroute-nopull\nroute 10.1.0.0 255.255.0.0\nroute 10.2.0.0 255.255.0.0 net_gateway\n<ca>\n"+
		ca.pem+"</ca>\n<cert>\n"+soon.pem+"</cert>\n<key>\n"+soon.kpem+"</key>\n", nil)
	r := p.Check(testNow())
	var got []string
	for _, f := range r.Problems {
		got = append(got, fmt.Sprintf("%s %.40s", f.Severity, f.Text))
	}
	all := strings.Join(got, "\n")
	for _, want := range []string{"info up is ignored: no program named", "info explicit-exit-notify has no effect", "warning client certificate C=DE, O=Example, C", "warning the client certificate is not issued by", "warning nothing tells the server's certificate f"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if !r.Usable || r.Traffic.Mode != "listed" || fmt.Sprint(r.Traffic.Networks) != "[10.1.0.0/16]" || r.Servers[0] != "h.example:1194/tcp" {
		t.Errorf("%+v", r)
	}
	if !p.Expires().Equal(soon.cert.NotAfter) || len(r.Certificates) != 2 || r.Certificates[0].Key != "ECDSA P-256" {
		t.Errorf("%+v", r.Certificates)
	}
	full := mustParse(t, "remote h\nredirect-gateway def1\n", nil).Check(testNow())
	if full.Traffic.Mode != "all" || full.Usable {
		t.Errorf("%+v", full)
	}
	refused, err := Parse("x", []byte("remote h\ncipher none\nno-replay\n"), nil)
	if err == nil || refused == nil {
		t.Fatal(err)
	}
	if r := refused.Check(testNow()); r.Usable || r.Problems[0].Line != 0 && r.Problems[0].Line != 2 {
		t.Errorf("%+v", r.Problems)
	}
}

func TestPKCS12(t *testing.T) {
	ca := newAuthority(t, "ca")
	me := issue(t, &ca, "me", client)
	turned := []*x509.Certificate{ca.cert, me.cert}
	for i, password := range []string{"", "hunter2", ""} {
		unsupported := password != ""
		der := encodePKCS12(t, me.key, password, me.cert, ca.cert)
		if i == 2 {
			der = encodePKCS12(t, me.key, password, turned...)
		}
		files := func(string) ([]byte, error) { return der, nil }
		p := mustParse(t, "remote h\npkcs12 me.p12\n", files)
		again := mustParse(t, p.Text(), nil)
		if (p.Unsupported() != nil) != unsupported || again.PKCS12 != push.Secret(der) {
			t.Errorf("password %q: %v", password, p.Unsupported())
		}
		_, err := again.TLSConfig(testNow)
		var e *CertificateError
		if !unsupported && err != nil || unsupported && !errors.As(err, &e) {
			t.Errorf("password %q: %v", password, err)
		}
		if block, _ := pem.Decode(again.Cert); !unsupported && (block == nil || string(block.Bytes) != string(me.cert.Raw)) {
			t.Error("not the certificate")
		}
	}
	if _, err := Parse("x", []byte("remote h\n<pkcs12>\nAAAA\n</pkcs12>\n"), nil); err == nil {
		t.Error("garbage is taken")
	}
}

// TestDatesOfStrangers: the dates of a chain that leads nowhere explain nothing.
func TestDatesOfStrangers(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	v := &verifier{p: &Profile{}, roots: x509.NewCertPool(), cas: []*x509.Certificate{ca.cert}, now: testNow}
	v.roots.AddCert(ca.cert)
	late := func(c *x509.Certificate) { c.NotBefore = testNow().Add(time.Hour) }
	for _, c := range []struct {
		by    *authority
		kind  Kind
		dates bool
	}{{nil, Untrusted, false}, {&other, Untrusted, false}, {&ca, NotYet, true}} {
		err := v.verify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{issue(t, c.by, "x", late).cert}})
		var e *VerifyError
		var invalid x509.CertificateInvalidError
		if !errors.As(err, &e) || e.Kind != c.kind || errors.As(err, &invalid) != c.dates {
			t.Errorf("%v, want %s", err, c.kind)
		}
	}
}
