package diagnose

import (
	"encoding/json"
	"strings"
	"testing"
)

// secret is what no redacted text may have.
const secret = "hunter2Zq9"

// secretive are texts with the secret, in the shapes that Redact knows.
var secretive = []string{
	"-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n",
	"-----BEGIN ENCRYPTED PRIVATE KEY-----\r\n" + secret + "\r\n-----END ENCRYPTED PRIVATE KEY-----\r\n",
	"-----BEGIN OpenVPN Static key V1-----\n" + secret + "\n-----END OpenVPN Static key V1-----\n",
	"-----BEGIN OpenVPN tls-crypt-v2 client key-----\n" + secret + "\n-----END OpenVPN tls-crypt-v2 client key-----\n",
	"SESS_ID_AT_" + secret, "SESS_ID_" + secret + "%3D%3D",
	"CRV1::" + secret + "::123456", "SCRV1:" + secret + ":MTIz", "CRV1:R,E:" + secret + ":dXNlcg==:Enter code",
	"auth-token " + secret, `auth-token "` + secret + `"`, "Auth-Token: " + secret,
	"Cookie: sid=" + secret, "Set-Cookie: a=b; sid=" + secret, `"Authorization": "Basic ` + secret + `"`, "proxy-authorization:Basic " + secret,
	"http://user:" + secret + "@proxy.example:8080", "socks5://user:p/" + secret + "?#@proxy",
	"https://idp.example/sso?SAMLRequest=" + secret, "https://idp.example/sso#" + secret,
	"SAMLResponse=" + secret, "password=" + secret, `password = "x ` + secret + `"`, "passphrase='" + secret + "'", "client_secret=" + secret,
}

func TestRedact(t *testing.T) {
	for _, text := range secretive {
		if got := Redact(text); strings.Contains(got, secret) || !strings.Contains(got, redacted) {
			t.Errorf("%q is %q", text, got)
		}
	}
	// What helps stays.
	for _, text := range []string{
		"", "10.0.0.0/8 via 198.51.100.1 dev eth0 proto 157 metric 50",
		"the server did not accept user name and password: wrong password",
		"adit: cannot reach the service at /run/adit/aditd.sock: it is not running",
		"remote vpn.example.com 1194 udp\nauth-user-pass\nremote-cert-tls server\n<ca>\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n</ca>\n",
		`save_password: false`, "connected cipher=AES-256-GCM addresses=10.64.0.2/27",
		"table inet adit_guard_0-work_0a1b2c3d {", "https://idp.example/sso",
	} {
		if got := redactAll(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := redactAll("key " + strings.Repeat("QUJD", 30)); got != "key "+redacted {
		t.Errorf("a long run: %q", got)
	}
}

func TestRedactJSON(t *testing.T) {
	in := map[string]any{"url": "https://x/?a=" + secret, "list": []string{"CRV1:" + secret, "kept"}, "n": uint64(1) << 63, "nothing": nil,
		"pem": "-----BEGIN PRIVATE KEY-----\n" + secret}
	b, err := redactJSON(in)
	if err != nil || strings.Contains(string(b), secret) || !strings.Contains(string(b), "9223372036854775808") || !strings.Contains(string(b), "kept") {
		t.Errorf("%v\n%s", err, b)
	}
	if !json.Valid(b) {
		t.Errorf("not JSON:\n%s", b)
	}
}

// FuzzRedact puts the secrets into any other text: none stays.
func FuzzRedact(f *testing.F) {
	for i, text := range secretive {
		f.Add(i, "", "")
		f.Add(i, text+"\n", "\n"+text)
		f.Add(i, "-----BEGIN PRIVATE KEY-----\n-----END x", "-----END")
		f.Add(i, `auth-token "password="`, `"@`)
	}
	f.Fuzz(func(t *testing.T, i int, before, after string) {
		before, after = strings.ReplaceAll(before, secret, ""), strings.ReplaceAll(after, secret, "")
		text := before + secretive[uint(i)%uint(len(secretive))] + after
		for _, got := range []string{Redact(text), redactAll(text)} {
			if strings.Contains(got, secret) {
				t.Fatalf("%q is %q", text, got)
			}
		}
	})
}
