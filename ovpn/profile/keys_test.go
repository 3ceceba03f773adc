package profile

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/ovpn/push"
)

// needsOpenSSL skips a test where the openssl program is missing; in CI that is a failure.
func needsOpenSSL(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// openssl runs Debian's openssl on a key in a file and returns what it prints.
func openssl(t *testing.T, key string, args ...string) string {
	t.Helper()
	needsOpenSSL(t)
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("openssl", append(args, "-in", file)...).Output()
	if err != nil {
		t.Fatalf("openssl %q: %v", args, err)
	}
	return string(out)
}

// TestUnlock opens what openssl locks, in all the forms that files have.
func TestUnlock(t *testing.T) {
	ca := newAuthority(t, "ca")
	me := issue(t, &ca, "me", client)
	pass := []string{"-passout", "pass:open sesame"}
	for name, args := range map[string][]string{
		"PBES2 AES-256":           {"pkcs8", "-topk8", "-v2", "aes256"},
		"PBES2 AES-128, SHA-1":    {"pkcs8", "-topk8", "-v2", "aes128", "-v2prf", "hmacWithSHA1"},
		"PBES2 AES-192, SHA-512":  {"pkcs8", "-topk8", "-v2", "aes192", "-v2prf", "hmacWithSHA512"},
		"PBES2 3DES":              {"pkcs8", "-topk8", "-v2", "des3"},
		"PBES2 scrypt":            {"pkcs8", "-topk8", "-scrypt", "-scrypt_N", "1024"},
		"DEK-Info AES-256":        {"ec", "-aes256"},
		"DEK-Info AES-128":        {"ec", "-aes128"},
		"DEK-Info DES-EDE3":       {"ec", "-des3"},
		"PBES2, many iterations":  {"pkcs8", "-topk8", "-v2", "aes256", "-iter", "100000"},
		"PBES2, SHA-384 and more": {"pkcs8", "-topk8", "-v2", "aes256", "-v2prf", "hmacWithSHA384"},
	} {
		key := openssl(t, me.kpem, append(args, pass...)...)
		p := mustParse(t, "remote h\n<ca>\n"+ca.pem+"</ca>\n<cert>\n"+me.pem+"</cert>\n<key>\n"+key+"</key>\n", nil)
		if !p.Locked() || p.Unsupported() == nil {
			t.Errorf("%s: not locked: %s", name, key)
			continue
		}
		if _, err := p.Unlock("open simsim"); !errors.Is(err, ErrPassphrase) {
			t.Errorf("%s: wrong passphrase: %v", name, err)
		}
		q, err := p.Unlock("open sesame")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := q.TLSConfig(testNow); err != nil || q.Locked() || q.Unsupported() != nil || strings.Contains(q.Text(), "ENCRYPTED") {
			t.Errorf("%s: %v, %v", name, err, q.Unsupported())
		}
	}
}

func TestUnlockPKCS12(t *testing.T) {
	ca := newAuthority(t, "ca")
	me := issue(t, &ca, "me", client)
	der := encodePKCS12(t, me.key, "hunter2", me.cert, ca.cert)
	turned := encodePKCS12(t, me.key, "hunter2", ca.cert, me.cert) // as Windows exports them
	files := func(name string) ([]byte, error) {
		if name == "turned.p12" {
			return turned, nil
		}
		return der, nil
	}
	for _, text := range []string{
		"remote h\npkcs12 me.p12\n", "remote h\n<ca>\n" + ca.pem + "</ca>\npkcs12 me.p12\n",
		"remote h\npkcs12 turned.p12\n", "remote h\n<ca>\n" + ca.pem + "</ca>\npkcs12 turned.p12\n",
	} {
		p := mustParse(t, text, files)
		if !p.Locked() {
			t.Fatal("not locked")
		}
		if _, err := p.Unlock("hunter3"); !errors.Is(err, ErrPassphrase) {
			t.Error(err)
		}
		q, err := p.Unlock("hunter2")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.TLSConfig(testNow); err != nil || q.Unsupported() != nil || string(q.CA) != ca.pem || (len(q.ExtraCerts) > 0) != (len(p.CA) > 0) {
			t.Errorf("%v %v\n%s", err, q.Unsupported(), q.Text())
		}
	}
}

func TestAskPass(t *testing.T) {
	ca := newAuthority(t, "ca")
	me := issue(t, &ca, "me", client)
	key := openssl(t, me.kpem, "pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:open sesame")
	files := func(string) ([]byte, error) { return []byte("open sesame\r\n"), nil }
	p := mustParse(t, "remote h\naskpass pass.txt\n<ca>\n"+ca.pem+"</ca>\n<cert>\n"+me.pem+"</cert>\n<key>\n"+key+"</key>\n", files)
	q, err := p.Unlock(p.Passphrase)
	if err != nil || strings.Contains(q.Text(), "pass.txt") || strings.Contains(q.Text(), "sesame") {
		t.Errorf("%v\n%s", err, q.Text())
	}
}

// TestCostlyKeys: a file may not ask for hours of work.
func TestCostlyKeys(t *testing.T) {
	ca := newAuthority(t, "ca")
	me := issue(t, &ca, "me", client)
	block, _ := pem.Decode([]byte(openssl(t, me.kpem, "pkcs8", "-topk8", "-v2", "aes256", "-iter", "3000", "-passout", "pass:x")))
	if n := iterations(block.Bytes, 0); n != 3000 {
		t.Errorf("%d iterations are seen", n)
	}
	costly := func(n int) push.Secret {
		was, err := asn1.Marshal(3000)
		if err != nil {
			t.Fatal(err)
		}
		is, err := asn1.Marshal(n)
		if err != nil || len(is) != len(was)+2 {
			t.Fatal(err, len(is))
		}
		der := strings.Replace(string(block.Bytes), string(was), string(is), 1)
		// The four lengths around it: outer, algorithm, PBES2 and PBKDF2 parameters.
		b := []byte(der)
		for i := 0; i+1 < len(b); i++ {
			if b[i] != 0x30 {
				continue
			}
			at, size := i+1, 2
			if b[at] == 0x81 {
				at++
			}
			if end := at + 1 + int(b[at]); b[at] < 0x80 || b[at-1] == 0x81 {
				if at+1 <= strings.Index(der, string(is)) && end > strings.Index(der, string(is)) {
					b[at] += byte(size)
				}
			}
		}
		return push.Secret(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: b}))
	}
	if _, err := decryptKey(costly(maxIterations+1), "x"); err == nil || !strings.Contains(err.Error(), "iterations") {
		t.Error(err)
	}
}

// FuzzKeys: keys and PKCS#12 files of any content, with any passphrase.
func FuzzKeys(f *testing.F) {
	ca := newAuthority(f, "ca")
	me := issue(f, &ca, "me", client)
	f.Add([]byte(me.kpem), "x")
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAAAAAAAAAAAAAAAAAAAA==\n-----END EC PRIVATE KEY-----\n"), "x")
	f.Add([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"), "")
	f.Add([]byte("0\x80\x02\x01\x03"), "")
	f.Fuzz(func(t *testing.T, key []byte, passphrase string) {
		if iterations(key, 0) > 2000 {
			return // fine, but slow
		}
		if plain, err := decryptKey(push.Secret(key), push.Secret(passphrase)); err == nil {
			block, _ := pem.Decode([]byte(plain))
			if block == nil || !isKey(block.Bytes) {
				t.Errorf("%q is no key", plain.Reveal())
			}
		}
		_ = staticKey(string(key))
		_ = clientKeyV2(string(key))
		p := &parser{p: &Profile{}}
		if err := p.openPKCS12(&Directive{Words: []string{"pkcs12"}}, base64.StdEncoding.EncodeToString(key)); err == nil && p.p.Key != "" {
			if _, err := x509.ParseCertificate(p.p.Cert); err == nil {
				t.Error("DER where PEM is promised")
			}
		}
	})
}
