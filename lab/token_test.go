//go:build linux

package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestToken connects with a private key that never leaves a token (SoftHSM), to our own endpoint: the
// profile names the key, the person names the module and gives the PIN.
func TestToken(t *testing.T) {
	t.Parallel()
	needs(t, "softhsm2-util", "pkcs11-tool", "openssl")
	const module = "/usr/lib/softhsm/libsofthsm2.so"
	s := newSite(t)
	e := s.start(s.server, "adit-endpoint", bin(t, "adit-endpoint"), "up", "--data", s.dataDir(), "--listen", "198.51.100.1:1194")
	s.ok(e.WaitFor("profile: ", soon))
	text, err := os.ReadFile(filepath.Join(s.dataDir(), "client.ovpn"))
	s.ok(err)
	block := func(tag string) (body, whole string) {
		t.Helper()
		_, rest, ok := strings.Cut(string(text), "<"+tag+">\n")
		body, _, end := strings.Cut(rest, "</"+tag+">")
		if !ok || !end {
			t.Fatalf("the profile has no %s", tag)
		}
		return body, "<" + tag + ">\n" + body + "</" + tag + ">"
	}
	cert, wholeCert := block("cert")
	key, wholeKey := block("key")
	_, err = os.Stat(module)
	s.ok(err)

	s.ok(os.Mkdir(filepath.Join(s.client.Dir, "tokens"), 0o700))
	config := s.write(s.client, "softhsm2.conf", "directories.tokendir = "+s.client.Dir+"/tokens\nobjectstore.backend = file\n")
	hsm := func(argv ...string) []string { return append([]string{"env", "SOFTHSM2_CONF=" + config}, argv...) }
	s.run(s.client, hsm("softhsm2-util", "--init-token", "--free", "--label", "ann's token", "--pin", "4711", "--so-pin", "12345678")...)
	pem := s.write(s.client, "cert.pem", cert)
	der := filepath.Join(s.client.Dir, "cert.der")
	s.run(s.client, "openssl", "x509", "-in", pem, "-outform", "DER", "-out", der)
	pkcs8 := filepath.Join(s.client.Dir, "key.p8")
	s.run(s.client, "openssl", "pkcs8", "-topk8", "-nocrypt", "-in", s.write(s.client, "key.pem", key), "-out", pkcs8)
	s.run(s.client, hsm("softhsm2-util", "--import", pkcs8, "--token", "ann's token", "--label", "vpn", "--id", "a1b2", "--pin", "4711")...)
	s.run(s.client, hsm("pkcs11-tool", "--module", module, "--login", "--pin", "4711", "--write-object", der, "--type", "cert", "--id", "a1b2", "--label", "vpn")...)
	bare := strings.Replace(strings.Replace(string(text), wholeCert, "", 1), wholeKey, "pkcs11-providers /nowhere/evil.so\npkcs11-id 'pkcs11:token=ann%27s%20token;id=%A1%B2'", 1)
	file := s.write(s.client, "token.ovpn", bare)
	pin, wrong := s.write(s.client, "pin", "4711\n"), s.write(s.client, "wrong", "1147\n")

	adit := bin(t, "adit")
	if out := s.run(s.client, adit, "check", file); !strings.Contains(out, "only adit connect --userspace --pkcs11 MODULE can use it") || !strings.Contains(out, "token.ovpn is usable") && !strings.Contains(out, "is usable") {
		t.Errorf("check: %s", out)
	}
	for _, c := range []struct {
		want string
		argv []string
	}{
		{"the private key is on a token", []string{"connect", file, "--userspace"}},
		{"needs its PIN, and there is no terminal to ask at", []string{"connect", file, "--userspace", "--pkcs11", module}},
		{"wrong PIN", []string{"connect", file, "--userspace", "--pkcs11", module, "--pin-file", wrong}},
		{"cannot load the module", []string{"connect", file, "--userspace", "--pkcs11", "/nowhere/else.so", "--pin-file", pin}},
	} {
		out, err := s.try(s.client, hsm(append([]string{adit}, c.argv...)...)...)
		if err == nil || !strings.Contains(out+err.Error(), c.want) {
			t.Errorf("%v: %v\n%s", c.argv, err, out)
		}
	}
	socket := filepath.Join(s.client.Dir, "adit.sock")
	c := s.start(s.client, "adit", hsm(adit, "connect", file, "--userspace", "--status-socket", socket, "--http-proxy", "127.0.0.1:8080", "--pkcs11", module, "--pin-file", pin)...)
	s.ok(c.WaitFor("connected", soon))
	if out := s.run(s.client, adit, "--socket", socket, "status"); !strings.Contains(out, "10.64.0.2") || !strings.Contains(out, "your certificate is valid until") {
		t.Errorf("status: %s", out)
	}
	s.until(atOnce, "the endpoint sees the client", func() bool { return len(s.connections()) == 1 })
	s.terminate(c)
	s.terminate(e)
}
