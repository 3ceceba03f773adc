package endpoint

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/pki"
	"github.com/adit-vpn/adit/ovpn"
)

// reloads reads the file and all that it names again, and wants so many sessions reset.
func (r *running) reloads(t *testing.T, reset int) {
	t.Helper()
	if n, err := r.Reload(t.Context(), r.config(t, r.text)); err != nil || n != reset {
		t.Fatalf("reset %d, want %d: %v", n, reset, err)
	}
}

// TestServerRenewed: a renewed certificate of the server is for new sessions, and ends none.
func TestServerRenewed(t *testing.T) {
	r := start(t, "udp")
	var shown *big.Int
	r.client = func(c *ovpn.Config) {
		verify := c.TLS.VerifyConnection
		c.TLS.VerifyConnection = func(s tls.ConnectionState) error {
			shown = s.PeerCertificates[0].SerialNumber
			return verify(s)
		}
	}
	ann, reply := r.connect(t, "ann")
	before := shown
	if _, err := r.pki.Renew(ServerName, pki.Options{Days: 20}); err != nil {
		t.Fatal(err)
	}
	r.reloads(t, 0)
	ann.ping(t, reply.Address.Addr())
	r.connect(t, "bob")
	if shown.Cmp(before) == 0 {
		t.Error("a new session got the old certificate")
	}
	if !strings.Contains(r.log.String(), "the server's certificate expires soon") { // in 20 days
		t.Error("nothing is said of its end")
	}
}

// TestRevocationListEnds: with a list that has expired nobody is let in, as on AWS; a new one helps at once.
func TestRevocationListEnds(t *testing.T) {
	r := start(t, "udp")
	ann, _ := r.connect(t, "ann")
	past, err := pki.OpenAt(r.pki.Dir(), func() time.Time { return time.Now().AddDate(0, 0, -200) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := past.CRL(0); err != nil { // which is good for 180 days
		t.Fatal(err)
	}
	r.reloads(t, 1)
	wait[ovpn.PeerExit](t, ann)
	if !strings.Contains(r.log.String(), "the revocation list has expired: all clients with certificates are refused") {
		t.Error("the reload does not say that it has expired")
	}
	d := r.dial(t, r.tlsConfig(t, "bob"))
	r.until(t, func() bool { return strings.Contains(r.log.String(), "certificate revocation list has expired: on ") })
	d.cancel()
	<-d.done
	var crl Expiry
	for _, e := range r.Metrics().Expiries {
		if e.Kind == ExpiryCRL {
			crl = e
		}
	}
	if days := time.Until(crl.End).Hours() / 24; days > -19 || days < -22 {
		t.Errorf("it ends in %f days", days)
	}
	if _, err := r.pki.CRL(0); err != nil {
		t.Fatal(err)
	}
	r.reloads(t, 0)
	r.connect(t, "ann")
	// A new list resets everybody, who come back, but for those in it.
	bob, _ := r.connect(t, "bob")
	if err := r.pki.Revoke("bob"); err != nil {
		t.Fatal(err)
	}
	r.reloads(t, 2)
	wait[ovpn.PeerExit](t, bob)
	r.connect(t, "ann")
}

// TestCAReplaced: an old profile's client finds out that the server is of another CA; a new one works at once.
func TestCAReplaced(t *testing.T) {
	r := start(t, "udp")
	old := r.tlsConfig(t, "ann")
	ann, _ := r.connect(t, "ann")
	if _, servers, err := r.pki.Replace(pki.Options{}); err != nil || len(servers) != 1 {
		t.Fatal(servers, err)
	}
	if _, err := r.pki.Client("ann", pki.Options{}); err != nil {
		t.Fatal(err)
	}
	r.reloads(t, 1)
	wait[ovpn.PeerExit](t, ann)
	var unknown x509.UnknownAuthorityError
	if err := <-r.dial(t, old).done; !errors.As(err, &unknown) {
		t.Errorf("the old profile fails with %v", err)
	}
	r.connect(t, "ann")
}

// TestEasyRSADirectory: the files of easy-rsa, as they are and where they are; what it and adit-endpoint pki do to them
// is in force with a reload.
func TestEasyRSADirectory(t *testing.T) {
	const easyrsa = "/usr/share/easy-rsa/easyrsa"
	if _, err := os.Stat(easyrsa); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("easy-rsa is not installed")
		}
		t.Skip("easy-rsa is not installed")
	}
	work := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		c := exec.Command(easyrsa, args...)
		c.Dir = work
		c.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=" + work, "EASYRSA_BATCH=1", "EASYRSA_ALGO=ec", "EASYRSA_CURVE=prime256v1"}
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("easyrsa %v: %v\n%s", args, err, out)
		}
	}
	run("init-pki")
	run("build-ca", "nopass")
	run("--subject-alt-name=DNS:vpn.example.com", "build-server-full", "vpn", "nopass")
	run("build-client-full", "ann", "nopass")
	run("build-client-full", "bob", "nopass")
	run("gen-crl")
	r := start(t, "udp")
	at := func(parts ...string) string { return filepath.Join(append([]string{work, "pki"}, parts...)...) }
	r.text = strings.Replace(r.text, "  - mutual: {}\n", "  - mutual: {ca: "+at("ca.crt")+", crl: "+at("crl.pem")+"}\n", 1) +
		"server_certificate: {cert: " + at("issued", "vpn.crt") + ", key: " + at("private", "vpn.key") + "}\n"
	file := filepath.Join(r.dir, "checked.yaml")
	if err := os.WriteFile(file, []byte(r.text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := CheckConfig(file, os.ReadFile, time.Now()); err != nil {
		t.Error(err)
	}
	r.reloads(t, 0)
	wraps := r.pki
	theirs, err := pki.Open(work)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(name string) *dialer {
		t.Helper()
		r.pki = theirs
		cfg := r.tlsConfig(t, name)
		r.pki = wraps // whose tls-crypt-v2 key the endpoint has
		d := r.dial(t, cfg)
		wait[ovpn.PushReply](t, d)
		return d
	}
	ann, bob := connect("ann"), connect("bob")
	if _, err := theirs.Renew("vpn", pki.Options{}); err != nil {
		t.Fatal(err)
	}
	r.reloads(t, 0)
	run("revoke", "bob")
	run("gen-crl")
	r.reloads(t, 2)
	wait[ovpn.PeerExit](t, ann)
	wait[ovpn.PeerExit](t, bob)
	connect("ann")
	if err := theirs.Revoke("ann"); err != nil {
		t.Fatal(err)
	}
	r.reloads(t, 1)
	if _, err := theirs.Client("carol", pki.Options{}); err != nil {
		t.Fatal(err)
	}
	connect("carol")
}
