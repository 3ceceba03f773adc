//go:build linux || darwin

package pkcs11_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/token"
)

// softhsm is a software token with keys on it, and the helper program that reaches it.
type softhsm struct {
	dir, module, helper string
	roots               *x509.CertPool
}

const pin = "4711-pin"

// newSoftHSM makes a token with an RSA key (id 01) and an ECDSA key (id 02), and builds the helper.
func newSoftHSM(t *testing.T) *softhsm {
	t.Helper()
	s := &softhsm{dir: t.TempDir(), roots: x509.NewCertPool()}
	for _, path := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil {
			s.module = path
		}
	}
	for _, program := range []string{"softhsm2-util", "pkcs11-tool"} {
		if _, err := exec.LookPath(program); err != nil || s.module == "" {
			if os.Getenv("CI") == "true" {
				t.Fatal("softhsm2 or opensc is missing")
			}
			t.Skip("left out: needs softhsm2 and opensc")
		}
	}
	put := func(name string, text []byte) string {
		path := filepath.Join(s.dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.Mkdir(filepath.Join(s.dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", put("softhsm2.conf", []byte("directories.tokendir = "+s.dir+"/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")))
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	run("softhsm2-util", "--init-token", "--free", "--label", "work token", "--pin", pin, "--so-pin", "12345678")

	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	s.roots.AddCert(ca)
	for _, x := range []struct {
		id          string
		key, public any
	}{{"01", rsaKey, &rsaKey.PublicKey}, {"02", ecKey, &ecKey.PublicKey}} {
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "ann " + x.id},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, x.public, caKey)
		if err != nil {
			t.Fatal(err)
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(x.key)
		if err != nil {
			t.Fatal(err)
		}
		run("softhsm2-util", "--import", put(x.id+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
			"--token", "work token", "--label", "key "+x.id, "--id", x.id, "--pin", pin)
		run("pkcs11-tool", "--module", s.module, "--token-label", "work token", "--login", "--pin", pin,
			"--write-object", put(x.id+".der", der), "--type", "cert", "--id", x.id, "--label", "key "+x.id)
	}
	s.helper = filepath.Join(s.dir, "adit-pkcs11")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", s.helper, "github.com/adit-vpn/adit/cmd/adit-pkcs11")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return s
}

func (s *softhsm) open(t *testing.T, id string) *token.Key {
	t.Helper()
	parsed, err := token.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	k, err := token.Open(s.helper, s.module, parsed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// TestSoftHSM: TLS servers of both versions believe what the token signs, with keys of both kinds.
func TestSoftHSM(t *testing.T) {
	s := newSoftHSM(t)
	server := serverCertificate(t)
	for _, id := range []string{"pkcs11:token=work%20token;id=%01", "pkcs11:object=key%2002"} {
		k := s.open(t, id)
		if !k.Info().NeedsPIN || k.Info().LastTry {
			t.Errorf("%s: %+v", id, k.Info())
		}
		if err := k.Login(pin); err != nil {
			t.Fatal(err)
		}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			client := tls.Config{InsecureSkipVerify: true, MaxVersion: version, //nolint:gosec // the server is not what is tested
				Certificates: []tls.Certificate{{Certificate: [][]byte{k.Certificate().Raw}, PrivateKey: k}}}
			at, from := net.Pipe()
			done := make(chan error, 1)
			var name string
			go func() {
				conn := tls.Server(at, &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: s.roots, ClientAuth: tls.RequireAndVerifyClientCert})
				err := conn.Handshake()
				if err == nil {
					name = conn.ConnectionState().PeerCertificates[0].Subject.CommonName
					_, err = conn.Write([]byte("x"))
				}
				done <- err
			}()
			_, err := tls.Client(from, &client).Read(make([]byte, 1)) // TLS 1.3 servers judge after the client's handshake
			if err != nil {
				from.Close()
			}
			if err := errors.Join(err, <-done); err != nil || !strings.HasPrefix(name, "ann ") {
				t.Errorf("%s, version %x: %q, %v", id, version, name, err)
			}
			from.Close()
			at.Close()
		}
	}
}

func serverCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(3), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestSoftHSMRefusals: what can be wrong has words, and leaves no process.
func TestSoftHSMRefusals(t *testing.T) {
	s := newSoftHSM(t)
	var several *token.AmbiguousError
	if _, err := token.Open(s.helper, s.module, token.ID{}); !errors.As(err, &several) || len(several.IDs) != 2 {
		t.Errorf("two keys: %v", err)
	} else {
		for _, id := range several.IDs {
			s.open(t, id.String())
		}
	}
	if _, err := token.Open(s.helper, s.module, token.ID{Token: "another"}); !errors.Is(err, token.ErrNotFound) {
		t.Errorf("another token: %v", err)
	}
	for _, module := range []string{filepath.Join(s.dir, "nothing.so"), filepath.Join(s.dir, "01.key"), "libc.so.6"} {
		if _, err := token.Open(s.helper, module, token.ID{}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", module, err)
		}
	}
	if _, err := token.Open(filepath.Join(s.dir, "nothing"), s.module, token.ID{}); err == nil {
		t.Error("no helper")
	}
	k := s.open(t, "pkcs11:id=%01")
	for _, wrong := range []push.Secret{"0000", ""} {
		err := k.Login(wrong)
		if wrong != "" && !errors.Is(err, token.ErrPIN) || err == nil {
			t.Errorf("PIN of %d bytes: %v", len(wrong), err)
		}
		if err != nil && wrong != "" && strings.Contains(err.Error(), string(wrong)) {
			t.Errorf("the error tells the PIN: %v", err)
		}
	}
	if err := k.Login(pin); err != nil {
		t.Errorf("the right PIN after wrong ones: %v", err)
	}
}
