package profile

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCVE_2026_63650_UsernameField is CVE-2026-63650: a server whose name does not stand in the
// field that x509-username-field demands must be refused, whatever its other names are.
func TestCVE_2026_63650_UsernameField(t *testing.T) {
	ca := newAuthority(t, "ca")
	me := issue(t, &ca, "me", client)
	srv := issue(t, &ca, "vpn.example", func(c *x509.Certificate) {
		server(c)
		c.SerialNumber = big.NewInt(0xabc)
		c.Subject.OrganizationalUnit = []string{"first", "gateway"}
		c.EmailAddresses = []string{"old@vpn.example", "ops@vpn.example"}
	})
	bare := issue(t, &ca, "gateway", server) // has the right name in the wrong field
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	for _, c := range []struct {
		fields, name string
		server       issued
		want         string // part of the error; empty: accepted
	}{
		{"CN", "vpn.example", srv, ""},
		{"OU", "gateway", srv, ""},
		{"OU", "vpn.example", srv, "wants \"vpn.example\""},
		{"OU", "first", srv, "wants \"first\""},
		{"OU", "gateway", bare, "no usable OU"},
		{"CN OU", "vpn.example_gateway", srv, ""},
		{"CN OU", "vpn.example", srv, "wants"},
		{"serialNumber", "0x0ABC", srv, ""},
		{"serialNumber", "0xABC", srv, "wants"},
		{"ext:subjectAltName", "ops@vpn.example", srv, ""},
		{"ext:subjectAltName", "old@vpn.example", srv, "wants"},
		{"ext:subjectAltName", "gateway", bare, "no usable ext:subjectAltName"},
		{"emailAddress", "ops@vpn.example", srv, "no usable emailAddress"},
	} {
		p := mustParse(t, "remote h\nx509-username-field "+c.fields+"\nverify-x509-name "+c.name+" name\n<ca>\n"+ca.pem+"</ca>\n<cert>\n"+me.pem+"</cert>\n<key>\n"+me.kpem+"</key>\n", nil)
		cfg, err := p.TLSConfig(testNow)
		if err != nil {
			t.Fatal(err)
		}
		err = handshake(t, cfg, c.server, pool)
		var e *VerifyError
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &e) || e.Kind != Name || !strings.Contains(e.Text, c.want)) {
			t.Errorf("%s %s: %v, want %q", c.fields, c.name, err, c.want)
		}
	}
	// Also without verify-x509-name the field must be there.
	p := mustParse(t, "remote h\nx509-username-field OU\n<ca>\n"+ca.pem+"</ca>\n<cert>\n"+me.pem+"</cert>\n<key>\n"+me.kpem+"</key>\n", nil)
	cfg, err := p.TLSConfig(testNow)
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, cfg, bare, pool); err == nil || !strings.Contains(err.Error(), "no usable OU") {
		t.Error(err)
	}
}

// oldPKI makes certificates signed with SHA-1 (or digest), which crypto/x509 cannot.
// The names are those of the files: root, sub (by root), leaf (by sub), flat (by root),
// rogue (by leaf, which is no authority), md5 (by root).
func oldPKI(t *testing.T) map[string]*x509.Certificate {
	t.Helper()
	needsOpenSSL(t)
	dir := t.TempDir()
	config := "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE,pathlen:1\nkeyUsage=keyCertSign\n" +
		"[server]\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n[strange]\n1.2.3.4=critical,DER:0500\n"
	if err := os.WriteFile(filepath.Join(dir, "c"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %q: %v\n%s", args, err, out)
		}
	}
	// One key for all but the root, which signs with MD5 as well.
	run("genpkey", "-algorithm", "RSA", "-out", "rsa.pem")
	run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ec.pem")
	run("pkey", "-in", "ec.pem", "-pubout", "-out", "ec.pub")
	certs := map[string]*x509.Certificate{}
	for _, c := range [][4]string{ // name, issuer, section, digest
		{"root", "", "ca", "sha1"}, {"sub", "root", "ca", "sha1"}, {"leaf", "sub", "server", "sha1"}, {"flat", "root", "server", "sha1"},
		{"rogue", "leaf", "server", "sha1"}, {"md5", "root", "server", "md5"}, {"strange", "root", "strange", "sha1"},
		{"sub2", "sub", "ca", "sha1"}, {"sub3", "sub2", "ca", "sha1"}, {"deep", "sub3", "server", "sha1"},
	} {
		args := []string{"x509", "-new", "-subj", "/CN=" + c[0], "-out", c[0] + ".crt", "-days", "30", "-" + c[3], "-extfile", "c", "-extensions", c[2], "-set_serial", "7"}
		switch c[1] {
		case "":
			args = append(args, "-key", "rsa.pem")
		case "root":
			args = append(args, "-force_pubkey", "ec.pub", "-CA", "root.crt", "-CAkey", "rsa.pem")
		default:
			args = append(args, "-force_pubkey", "ec.pub", "-CA", c[1]+".crt", "-CAkey", "ec.pem")
		}
		run(args...)
		text, err := os.ReadFile(filepath.Join(dir, c[0]+".crt"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		if certs[c[0]], err = x509.ParseCertificate(block.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	return certs
}

// TestInsecureChain: only tls-cert-profile insecure takes SHA-1, and even then a
// chain must be one.
func TestInsecureChain(t *testing.T) {
	pki := oldPKI(t)
	other := newAuthority(t, "root") // the same name, another key
	now := time.Now
	for _, c := range []struct {
		sent    string
		roots   []*x509.Certificate
		profile string
		at      time.Duration
		want    Kind
	}{
		{"flat", []*x509.Certificate{pki["root"]}, "insecure", 0, ""},
		{"leaf sub", []*x509.Certificate{pki["root"]}, "insecure", 0, ""},
		{"leaf root sub", []*x509.Certificate{other.cert, pki["root"]}, "insecure", 0, ""},
		{"leaf", []*x509.Certificate{pki["sub"]}, "insecure", 0, ""},
		{"flat", []*x509.Certificate{pki["root"]}, "", 0, Weak},
		{"flat", []*x509.Certificate{pki["root"]}, "legacy", 0, Weak},
		{"leaf", []*x509.Certificate{pki["root"]}, "insecure", 0, Untrusted},
		{"rogue leaf sub", []*x509.Certificate{pki["root"]}, "insecure", 0, Untrusted},
		{"md5", []*x509.Certificate{pki["root"]}, "insecure", 0, Weak},
		{"strange", []*x509.Certificate{pki["root"]}, "insecure", 0, Untrusted},
		{"deep sub3 sub2 sub", []*x509.Certificate{pki["root"]}, "insecure", 0, Untrusted},
		{"flat", []*x509.Certificate{other.cert}, "insecure", 0, Untrusted},
		{"flat", []*x509.Certificate{pki["root"]}, "insecure", 60 * 24 * time.Hour, Expired},
		{"leaf sub", []*x509.Certificate{pki["root"]}, "insecure", -24 * time.Hour, NotYet},
	} {
		v := &verifier{p: &Profile{CertProfile: c.profile}, roots: x509.NewCertPool(), cas: c.roots, now: func() time.Time { return now().Add(c.at) }}
		for _, root := range c.roots {
			v.roots.AddCert(root)
		}
		var cs tls.ConnectionState
		for name := range strings.FieldsSeq(c.sent) {
			cs.PeerCertificates = append(cs.PeerCertificates, pki[name])
		}
		err := v.verify(cs)
		var e *VerifyError
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &e) || e.Kind != c.want) {
			t.Errorf("%s, profile %q: %v, want %q", c.sent, c.profile, err, c.want)
		}
	}
}
