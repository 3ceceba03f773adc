//go:build linux

package lab

import (
	"archive/zip"
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/adit-vpn/adit/client/api"
)

// The secrets of TestDiagnose that people have.
const (
	ownPassword   = "Haus&Hof=7%Tuer"
	ownCode       = "918273645"
	ownProxyLogin = "Proxy+Kennwort/9"
	samlRequest   = "fZHbTsMwDIbvW7tiqUest"
	samlState     = "instance-7/Zustand-4711"
	samlAnswer    = "PHNhbWxwOlJlc3BvbnNlIGVjaHQ"
)

// diagnoseScript is openvpn's side: password and code together, and AWS's federated sign-in.
const diagnoseScript = `#!/bin/sh
p=$(sed -n 2p "$1")
deny() { printf '%%s' "$1" >"$auth_failed_reason_file"; exit 1; }
case $p in
SCRV1:%s:%s) exit 0;;
ACS::35001) deny "CRV1:R:%s:b'Ti9B':https://idp.example.test/sso?SAMLRequest=%s";;
esac
deny "no entry"
`

// TestDiagnose: a bundle of a real connection, with secrets of every kind on its way, has none of them in any form.
func TestDiagnose(t *testing.T) {
	t.Parallel()
	needsSignIn(t)
	s := newSignInSite(t)
	base64Of := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	s.ok(os.WriteFile(filepath.Join(s.site.server.Dir, "verify.sh"),
		fmt.Appendf(nil, diagnoseScript, base64Of(ownPassword), base64Of(ownCode), samlState, samlRequest), 0o700))
	key := staticKey()
	s.config = openvpnServer(s.site, s.pki, key, cell{Transport: "tcp", Wrap: "tls-crypt", Cipher: "AES-256-GCM"})
	s.openvpnUp("tcp", "auth-gen-token 3600")
	proxy := s.connectProxy()

	// Through a proxy with a password, with a PKCS#12 file, a password and a code; and by the browser, with a plain key.
	certificate, err := tls.X509KeyPair([]byte(s.pki.client.Cert), []byte(s.pki.client.Key))
	s.ok(err)
	bag, err := pkcs12.Modern.Encode(certificate.PrivateKey, certificate.Leaf, nil, "")
	s.ok(err)
	text := clientProfile(s.pki, "tcp", "tls-crypt", key, fmt.Sprintf("http-proxy %s %d auto", proxy.Addr(), proxy.Port()),
		"<http-proxy-user-pass>\nsurfer\n"+ownProxyLogin+"\n</http-proxy-user-pass>",
		"<auth-user-pass>\nalice\n"+ownPassword+"\n</auth-user-pass>", `static-challenge "Enter MFA code" 1`,
		"<pkcs12>\n"+base64.StdEncoding.EncodeToString(bag)+"\n</pkcs12>")
	text = strings.Replace(text, "<cert>\n"+s.pki.client.Cert+"</cert>\n<key>\n"+s.pki.client.Key+"</key>\n", "", 1)
	s.adit("import", s.write(s.client, "lab.ovpn", text))
	s.adit("import", s.write(s.client, "saml.ovpn", clientProfile(s.pki, "tcp", "tls-crypt", key, "auth-user-pass", "auth-federate")))
	s.adit("connect", "lab", "--otp", ownCode, "--timeout", "30s")
	s.connected()

	secrets := map[string]string{
		"password": ownPassword, "code": ownCode, "proxy's password": ownProxyLogin, "auth-token": "SESS_ID",
		"sign-in's request": samlRequest, "sign-in's state": samlState, "sign-in's answer": samlAnswer,
		"PKCS#12": base64.StdEncoding.EncodeToString(bag)[200:260],
	}
	lines := strings.Split(s.pki.client.Key, "\n")
	secrets["private key"] = lines[1][10:50]
	lines = strings.Split(strings.TrimSpace(key), "\n")
	secrets["static key"] = lines[len(lines)-5]
	stored, err := os.ReadFile(s.client.Dir + "/lab.ovpn")
	s.ok(err)
	for _, what := range []string{"password", "proxy's password", "PKCS#12", "static key"} {
		if !strings.Contains(string(stored), secrets[what]) {
			t.Fatalf("the %s of this test is not in its profile", what)
		}
	}

	check := func(when string) map[string]string {
		t.Helper()
		file := filepath.Join(s.client.Dir, strings.ReplaceAll(when, " ", "-")+".zip")
		shown := s.adit("diagnose", "-o", file)
		files := unpack(t, file)
		files["(printed)"] = shown
		for name, text := range files {
			for what, secret := range secrets {
				for _, form := range forms(secret) {
					if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
						t.Errorf("%s: the %s is in %s as %q", when, what, name, form)
					}
				}
			}
		}
		return files
	}
	files := check("connected")
	for name, want := range map[string]string{
		"README.txt": "log.txt", "versions.json": `"aditd": {`, "service.json": "it runs and answers", "status.json": `"state": "connected"`,
		"log.txt": " lab: ", "profiles.json": `"name": "saml"`, "profiles/lab.ovpn": "tls-crypt", "profiles/lab.settings.json": `"guard"`,
		"explain.json": "10.8.0.", "system/addresses.txt": "tun0", "system/routes.txt": "10.0.0.0/16", "system/rules.txt": "lookup main",
		"system/guard.txt": "adit_guard_", "system/resolv.conf": "",
	} {
		if name == "explain.json" {
			want = proxy.Addr().String()
		}
		if !strings.Contains(files[name], want) {
			t.Errorf("%s has no %q:\n%s\n%s", name, want, files[name], files["README.txt"])
		}
	}

	// While somebody is to sign in, and after a failure that shows what was answered.
	s.ok(s.api.Connect(t.Context(), api.ConnectRequest{Profile: "saml"}))
	var asks api.Connection
	s.until(2*soon, "the sign-in", func() bool {
		asks = s.connection("saml")
		return asks.Login != nil && asks.Login.Kind == api.LoginBrowser
	})
	if !strings.Contains(asks.Login.URL, samlRequest) {
		t.Fatalf("asked %+v", asks.Login)
	}
	if files = check("asked"); !strings.Contains(files["status.json"], "needs_login") {
		t.Errorf("nobody is asked: %s", files["status.json"])
	}
	s.ok(s.api.Answer(t.Context(), api.Answer{Profile: "saml", ID: asks.Login.ID, Response: samlAnswer}))
	s.until(2*soon, "the refusal", func() bool { return s.connection("saml").Problem != nil })
	check("refused")
}

// connection is one of several connections.
func (s *signInSite) connection(profile string) api.Connection {
	s.t.Helper()
	st, err := s.api.Status(s.t.Context())
	s.ok(err)
	if i := slices.IndexFunc(st.Connections, func(c api.Connection) bool { return c.Profile == profile }); i >= 0 {
		return st.Connections[i]
	}
	return api.Connection{State: api.Disconnected}
}

// forms are a secret as it may hide in a text: as it is, in a URL, in hexadecimal, and in base64 wherever it begins.
func forms(secret string) []string {
	out := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret))}
	for shift := range 3 {
		b := append(make([]byte, shift), secret...)
		b = b[:len(b)/3*3]
		text := base64.StdEncoding.EncodeToString(b)[4*((shift+2)/3):] // the first group depends on what stands before
		if len(text) >= 8 {
			out = append(out, text, strings.NewReplacer("+", "-", "/", "_").Replace(text))
		}
	}
	return out
}

// unpack reads a zip archive that only its owner may read.
func unpack(t *testing.T, file string) map[string]string {
	t.Helper()
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("%s: %v %v", file, info.Mode(), err)
	}
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(b)
	}
	return files
}

// connectProxy is an HTTP proxy on the server's machine that wants a password.
func (s *signInSite) connectProxy() netip.AddrPort {
	s.t.Helper()
	at := netip.AddrPortFrom(serverOuter, 3128)
	l, err := s.site.server.Listen("tcp", at.String())
	s.ok(err)
	var wait sync.WaitGroup
	ended, end := context.WithCancel(context.Background())
	serve := func(c net.Conn) {
		defer c.Close()
		defer context.AfterFunc(ended, func() { c.Close() })()
		r := bufio.NewReader(c)
		var req *http.Request
		for {
			var err error
			if req, err = http.ReadRequest(r); err != nil {
				return
			}
			if user, password, ok := (&http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}).BasicAuth(); ok && user == "surfer" && password == ownProxyLogin {
				break
			}
			io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"lab\"\r\nContent-Length: 0\r\n\r\n")
		}
		up, err := s.site.server.Dial("tcp", req.Host, soon)
		if err != nil {
			return
		}
		defer up.Close()
		defer context.AfterFunc(ended, func() { up.Close() })()
		io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
		var both sync.WaitGroup
		both.Go(func() { io.Copy(up, r); up.Close() })
		both.Go(func() { io.Copy(c, up); c.Close() })
		both.Wait()
	}
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { serve(c) })
		}
	})
	s.t.Cleanup(func() { l.Close(); end(); wait.Wait() })
	return at
}
