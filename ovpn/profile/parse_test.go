package profile

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

func mustParse(t *testing.T, text string, files Files) *Profile {
	t.Helper()
	p, err := Parse("test", []byte(text), files)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func verdictOf(t *testing.T, p *Profile, line int) Directive {
	t.Helper()
	for _, d := range p.Directives {
		if d.Line == line {
			return d
		}
	}
	t.Fatalf("no directive in line %d of %+v", line, p.Directives)
	return Directive{}
}

// TestVerdicts: every directive of the table in one line, with what becomes of it.
func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		lines string // separated by " | "
		want  Verdict
	}{
		{"client | pull | tls-client | mode p2p | remote h 1 udp | remote-random | remote-random-hostname | port 1 | rport 1 | proto tcp4-client", Used},
		{"resolv-retry infinite | connect-retry 1 5 | connect-retry-max 3 | connect-timeout 5 | server-poll-timeout 5", Used},
		{"nobind | bind | local 10.0.0.1 | lport 0 | dev tun | dev tun7 | dev-type tun | topology subnet", Used},
		{"ifconfig 10.0.0.1 255.255.255.0 | ifconfig-ipv6 fd00::1/64 | route-gateway 10.0.0.1 | key-direction 1 | key-direction bidirectional", Used},
		{"cipher AES-256-GCM | data-ciphers AES-256-GCM:AES-256-CBC | data-ciphers ?FOO:DEFAULT | ncp-ciphers aes-128-gcm | data-ciphers-fallback AES-128-GCM", Used},
		{"tls-version-min 1.2 | tls-version-min 1.3 or-highest | tls-version-max 1.3 | tls-groups X25519:secp384r1 | tls-cert-profile preferred", Used},
		{"tls-cipher TLS-ECDHE-RSA-WITH-AES-256-GCM-SHA384 | tls-cipher ECDHE-ECDSA-AES128-GCM-SHA256 | remote-cert-tls server", Used},
		{"remote-cert-ku a0 88 | remote-cert-eku serverAuth | ns-cert-type server | verify-x509-name srv name | verify-x509-name 'C=DE, CN=x'", Used},
		{"peer-fingerprint " + strings.Repeat("aa:", 31) + "aa | x509-username-field CN | x509-username-field serialNumber emailAddress ext:subjectAltName | tls-cert-profile insecure | auth-nocache | auth-retry interact", Used},
		{"tun-mtu 1400 | mssfix 1328 | mssfix | mssfix 1400 fixed | max-packet-size 1250 | keepalive 10 60 | ping 5 | ping-restart 60 | ping-exit 60 | inactive 60 | session-timeout 600", Used},
		{"explicit-exit-notify | explicit-exit-notify 2 | reneg-sec 0 | reneg-sec 3600 300 | hand-window 60 | tran-window 60 | tls-timeout 2 | replay-window 64 15", Used},
		{"route 10.0.0.0 255.0.0.0 | route intranet.example | route-ipv6 fd00::/8 | route-metric 5 | route-nopull | redirect-gateway def1 | redirect-private | block-ipv6", Used},
		{"dhcp-option DNS 10.0.0.1 | dhcp-option DOMAIN corp.example | dns server 0 address 10.0.0.1 | dns search-domains a.example | register-dns | block-outside-dns", Used},
		{"pull-filter ignore redirect-gateway | pull-filter accept \"route 10.\" | setenv UV_ID 5 | setenv FORWARD_COMPATIBLE 1 | setenv CLIENT_CERT 0 | setenv opt ping 5", Used},
		{"push-peer-info | ignore-unknown-option foo bar | verb 3 | persist-tun | persist-key | sndbuf 0 | rcvbuf 100000 | mark 7 | key-method 2 | --nobind", Used},

		{"cipher AES-256-CBC | cipher aes-192-gcm | data-ciphers AES-256-CBC | ping-timer-rem | reneg-bytes 1 | reneg-pkts 1 | single-session | inactive 60 1000", Used},
		{"fragment 1300 | fragment 1400 mtu | comp-lzo | comp-lzo yes | comp-lzo no | comp-lzo adaptive | compress lz4 | compress lz4-v2 | compress | compress stub | compress stub-v2", Used},
		{"socks-proxy h 1080 | socks-proxy h | http-proxy-option VERSION 1.1 | http-proxy-option CUSTOM-HEADER X-A b | client-nat snat 10.0.0.0 255.0.0.0 11.0.0.0", Used},

		{"dev-node x | windows-driver wintun | ifconfig-nowarn | ifconfig-noexec | ncp-disable | keysize 256 | cipher BF-CBC | cipher des-cbc | data-ciphers BF-CBC | data-ciphers DES-CBC:CAST5-CBC | cipher RC2-CBC | cipher CAMELLIA-256-CBC | auth SHA256", Ignored},
		{"tls-ciphersuites x | ecdh-curve x | tls-cipher DEFAULT | tls-groups foo | askpass | comp-noadapt | allow-compression no", Ignored},
		{"link-mtu 1500 | mtu-disc yes | tun-mtu-extra 32 | tun-mtu-max 9000 | mtu-test | memstats x | tls-exit", Ignored},
		{"route-delay 5 | route-method exe | route-noexec | route-table 1 | allow-pull-fqdn | max-routes 5 | dhcp-option WINS 10.0.0.1 | dhcp-option NTP 10.0.0.1 | ip-win32 x | tap-sleep 1", Ignored},
		{"http-proxy-timeout 5 | http-proxy-retry | http-proxy-override h 8080 | setenv-safe a b | setenv PATH /x | setenv opt frobnicate | multihome | management 127.0.0.1 7505 | management-hold", Ignored},
		{"up /x | down /x | route-up x | route-pre-down x | ipchange x | tls-verify x | plugin x | script-security 2 | dns-updown x | up-restart | down-pre", Ignored},
		{"user nobody | group nogroup | chroot x | daemon | log x | log-append x | status x | writepid x | syslog | nice 5 | mlock | cd x | mute 20 | machine-readable-output", Ignored},
		{"remap-usr1 SIGTERM | passtos | socket-flags x | tcp-nodelay | txqueuelen 5 | fast-io | disable-dco | mute-replay-warnings | prng x | tun-ipv6 | opt-verify | engine x | suppress-timestamps", Ignored},
		{"server 10.0.0.0 255.0.0.0 | push x | dh x | client-config-dir x | host-name x | WSHOST x | CLI_PREF_BASIC_CLIENT True | frobnicate | disable-occ | lladdr x", Ignored},
		{"tun-ipv6 | float | resolv-retry 5 | auth-token x | x509-track x | multihome | aws-auth-device-posture jamf | bind-dev x | compat-mode 2.4 | providers legacy | pkcs11-providers /x.so | pkcs11-pin-cache 5", Ignored},

		{"dev tap | dev tap0 | dev-type tap | dev null | data-ciphers CAMELLIA-128-CBC", Unsupported},
		{"auth-user-pass | auth-federate | static-challenge \"Enter MFA code \" 1 | static-challenge x 0 concat | pkcs11-id pkcs11:id=%01", Used},
		{"pkcs11-id-management | pkcs11-cert-private 1 | cryptoapicert x | management-external-key", Unsupported},

		{"cipher none | auth none | no-replay | no-iv | secret x | capath x | key-method 1 | tls-server | mode server | data-ciphers CAST5-CBC | data-ciphers none", Refused},
		{"tls-version-max 1.0 | tls-version-max 1.1 | tls-remote x | config x | verify-frob x | remote-cert-frob x | x509-username-field ext:issuerAltName | x509-username-field frob", Refused},
		{"http-proxy h 8080 | http-proxy h 8080 auto | http-proxy h | http-proxy-option x y | socks-proxy h 0 | client-nat snat a b c | client-nat xnat 10.0.0.0 255.0.0.0 11.0.0.0", Refused},
		{"fragment 10 | fragment 1300 foo | compress migrate | compress zip | comp-lzo maybe | reneg-bytes -1 | replay-window 70000 | replay-window 64 601 | inactive 60 -1", Refused},
	} {
		for line := range strings.SplitSeq(c.lines, " | ") {
			p, err := Parse("test", []byte("remote vpn.example.com\n"+line+"\n"), nil)
			if p == nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			d := verdictOf(t, p, 2)
			if d.Verdict != c.want {
				t.Errorf("%s: %s (%s), want %s", line, d.Verdict, d.Note, c.want)
			}
			if d.Verdict != Used && d.Note == "" {
				t.Errorf("%s: %s without a note", line, d.Verdict)
			}
			if (err != nil) != (c.want == Refused) {
				t.Errorf("%s: error %v", line, err)
			}
		}
	}
}

// TestTableIsComplete fails when a directive of the reference table has no rule of its own.
func TestTableIsComplete(t *testing.T) {
	const table = `client pull tls-client mode remote remote-random remote-random-hostname port rport proto resolv-retry connect-retry
connect-retry-max connect-timeout server-poll-timeout nobind bind local lport float multihome dev dev-type dev-node windows-driver topology ifconfig
ifconfig-ipv6 route-gateway ifconfig-nowarn ifconfig-noexec ca cert key extra-certs pkcs12 crl-verify capath cryptoapicert pkcs11-providers pkcs11-id
management-external-key management-external-cert tls-auth key-direction tls-crypt tls-crypt-v2 secret auth cipher data-ciphers data-ciphers-fallback ncp-ciphers
ncp-disable keysize tls-version-min tls-version-max tls-cipher tls-ciphersuites tls-groups ecdh-curve tls-cert-profile remote-cert-tls remote-cert-ku
remote-cert-eku ns-cert-type verify-x509-name peer-fingerprint verify-hash x509-username-field auth-user-pass auth-nocache auth-retry askpass static-challenge
auth-federate aws-auth-device-posture comp-lzo compress allow-compression comp-noadapt fragment link-mtu mtu-disc tun-mtu tun-mtu-extra tun-mtu-max
max-packet-size mssfix keepalive ping ping-restart ping-exit ping-timer-rem inactive session-timeout explicit-exit-notify reneg-sec reneg-bytes reneg-pkts
hand-window tran-window tls-timeout replay-window single-session tls-exit route route-ipv6 route-metric route-delay route-method route-nopull route-noexec
route-table redirect-gateway redirect-private block-ipv6 client-nat allow-pull-fqdn max-routes dhcp-option dns register-dns block-outside-dns ip-win32
pull-filter http-proxy http-proxy-option http-proxy-user-pass http-proxy-override socks-proxy setenv setenv-safe push-peer-info ignore-unknown-option
up down route-up route-pre-down ipchange tls-verify plugin script-security dns-updown up-restart down-pre user group chroot daemon log log-append status
writepid syslog nice mlock cd verb mute machine-readable-output persist-tun persist-key remap-usr1 passtos mark sndbuf rcvbuf socket-flags tcp-nodelay
txqueuelen fast-io disable-dco mute-replay-warnings prng no-replay key-method tun-ipv6 opt-verify engine suppress-timestamps server push dh client-config-dir
host-name WSHOST lladdr route-ipv6-gateway dhcp-renew dhcp-release tap-sleep echo auth-token auth-token-user shaper bind-dev push-continuation`
	have := rules()
	for name := range strings.FieldsSeq(table) {
		r, ok := have[name]
		if !ok {
			t.Errorf("%s has no verdict", name)
		}
		if ok && r.apply == nil && (r.why == "" || r.verdict == Used) {
			t.Errorf("%s: fixed verdict %s, note %q", name, r.verdict, r.why)
		}
	}
	for _, name := range []string{"ca", "cert", "key", "extra-certs", "pkcs12", "tls-auth", "tls-crypt", "tls-crypt-v2", "crl-verify", "auth-user-pass", "http-proxy-user-pass", "secret", "dh", "peer-fingerprint"} {
		if inlineRules()[name] == nil {
			t.Errorf("<%s> has no verdict", name)
		}
	}
}

func TestParseFields(t *testing.T) {
	p := mustParse(t, "\xef\xbb\xbf# OVPN_ACCESS_SERVER_PROFILE=alice@vpn.example\r\n"+`client
# a comment; with things
proto tcp
port 443
remote one.example.com
remote 2001:db8::1 1195 udp6

<connection>
remote three.example.com
proto udp
connect-timeout 7
explicit-exit-notify 2
tun-mtu 1300
</connection>
remote-random
remote-random-hostname
data-ciphers AES-128-GCM:?FOO:AES-256-GCM:AES-256-CBC
cipher AES-256-GCM
reneg-sec 0
connect-retry 2 30
resolv-retry infinite
server-poll-timeout 9
verify-x509-name "vpn server" name-prefix
tls-version-min 1.2
tls-groups X25519:brainpoolP256r1
replay-window 128 30
pull-filter ignore "dhcp-option DNS"
setenv UV_TOKEN "a b"
route 10.0.0.0 255.0.0.0
redirect-gateway def1
keepalive 10 60
tun-mtu 1400
mssfix 1328
verb 4
`, nil)
	if p.SuggestedName != "alice@vpn.example" || p.Name != "test" {
		t.Errorf("names %q, %q", p.Name, p.SuggestedName)
	}
	want := []Remote{
		{Host: "one.example.com", Port: 443, Proto: "tcp", Line: 6, ExitNotify: -1, Mssfix: Mssfix{Set: true, Value: 1328}},
		{Host: "2001:db8::1", Port: 1195, Proto: "udp6", Line: 7, ExitNotify: -1, Mssfix: Mssfix{Set: true, Value: 1328}},
		{Host: "three.example.com", Port: 443, Proto: "udp", Line: 10, Timeout: 7 * time.Second, ExitNotify: 2, MTU: 1300, Mssfix: Mssfix{Set: true, Value: 1328}},
	}
	if !reflect.DeepEqual(p.Remotes, want) {
		t.Errorf("remotes %+v", p.Remotes)
	}
	got := fmt.Sprintln(p.RemoteRandom, p.RandomHostname, p.Ciphers, p.Fallback, p.RenegSec, p.RenegSet, p.ConnectRetry, p.ServerPollTimeout,
		p.VerifyName, p.TLSMin == tls.VersionTLS12, p.TLSGroups, p.ReplayWindow, p.Filter, p.SetEnv, p.Own.Routes, p.Own.Redirect.Def1, p.Ping, p.PingRestart, p.MTU, p.Mssfix, p.Verb, p.ExitNotify, p.KeyDirection, p.DevType)
	if want := "true true [AES-128-GCM AES-256-GCM AES-256-CBC] AES-256-GCM 0s true [2s 30s] 9s {name-prefix vpn server} true [X25519] 128 [{1 dhcp-option DNS}] map[UV_TOKEN:a b] " +
		"[{10.0.0.0/8  0 invalid IP  0}] true 10s 1m0s 1400 {true 1328 } 4 0 -1 tun\n"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBadInput(t *testing.T) {
	ok := "remote h.example\n"
	for _, c := range []struct{ text, want string }{
		{"client\n", "test: remote: no server is named"},
		{"remote\n", "test: line 1: remote: wrong number of values; want: host [port [proto]]"},
		{"remote h.example 70000\n", `test: line 1: remote: port "70000" is not a number from 1 to 65535`},
		{"remote h.example 1 sctp\n", `test: line 1: remote: proto "sctp" is not udp or tcp`},
		{"remote bad;host 1\n", `test: line 1: remote: host "bad;host" is not a name or an address`},
		{ok + "ping x\n", `test: line 2: ping: "x" is not a number`},
		{ok + "route 10.0.0.0 255.0.255.0\n", "test: line 2: route: netmask 255.0.255.0 has holes"},
		{ok + "verb\n", "test: line 2: verb: wrong number of values"},
		{ok + "verb \"3\n", "test: line 2: verb: no closing quote"},
		{ok + `ca c:\dir\ca.crt` + "\n", "test: line 2: ca: backslash before 'd': write two backslashes"},
		{ok + "ca ca.crt\n", "test: line 2: ca: refers to the file ca.crt; only profiles with everything inline are taken here"},
		{ok + "<ca>\nxx\n</ca>\n", "test: line 2: ca: holds no certificate"},
		{ok + "<ca>\nxx\n", "test: line 2: <ca> is never closed"},
		{ok + "<key>\nxx\n</key>\n", "test: line 2: key: holds no private key"},
		{ok + "<tls-crypt>\nxx\n</tls-crypt>\n", "test: line 2: tls-crypt: holds no OpenVPN static key"},
		{ok + "<tls-auth>\n" + staticKeyText[:300] + "\n</tls-auth>\n", "test: line 2: tls-auth: the OpenVPN static key is truncated"},
		{ok + "<connection>\nproto udp\n</connection>\n", "test: line 2: <connection>: has no remote"},
		{ok + "<connection>\nremote x\n", "test: line 2: <connection>: is never closed"},
		{ok + "</connection>\n", "test: line 2: </connection>: closes nothing"},
		{ok + "a\x00b\n", "test: line 2: has a NUL byte"},
		{"\xff\xfer\x00", "test: is UTF-16"},
		{ok + "x " + strings.Repeat("y", maxLine) + "\n", "test: line 2: longer than 65536 bytes"},
		{ok + "tls-version-min 1.3\ntls-version-max 1.2\n", "test: line 3: tls-version-max: tls-version-min is above"},
		{ok + "topology subnet\nifconfig 10.0.0.1 10.0.0.2\n", `test: line 3: ifconfig: netmask 10.0.0.2 has holes`},
		{ok + "verb 3\x1b[2J\n", "test: line 2: verb: has a control character"},
	} {
		_, err := Parse("test", []byte(c.text), nil)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q:\ngot  %v\nwant %s", c.text, err, c.want)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %T", c.text, err)
		}
	}
}

func TestFilesAreInlined(t *testing.T) {
	ca := newAuthority(t, "ca")
	me := issue(t, &ca, "me", client)
	files := map[string]string{`C:\vpn\ca.crt`: strings.ReplaceAll(ca.pem, "\n", "\r\n"), "my cert.pem": me.pem, "me.key": me.kpem, "ta.key": staticKeyText, "login.txt": "alice\nhunter2\n"}
	read := func(path string) ([]byte, error) {
		if text, ok := files[path]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
	text := "remote h.example 1194\n# keep me\nca C:\\\\vpn\\\\ca.crt\ncert 'my cert.pem'\nkey me.key\ntls-auth ta.key 1\n\nauth-user-pass login.txt\nverb 3 # why\n"
	p := mustParse(t, text, read)
	again := mustParse(t, p.Text(), nil)
	for _, q := range []*Profile{p, again} {
		if string(q.CA) != ca.pem || string(q.Cert) != me.pem || q.Key.Reveal() != me.kpem || q.TLSAuth.Reveal() != staticKeyText || q.KeyDirection != 1 ||
			q.Username != "alice" || q.Password.Reveal() != "hunter2" {
			t.Errorf("not all inlined: %+v", q)
		}
	}
	if again.Text() != p.Text() || !strings.Contains(p.Text(), "# keep me\n<ca>\n-----BEGIN") || !strings.Contains(p.Text(), "verb 3 # why\n") {
		t.Errorf("text:\n%s", p.Text())
	}
	for _, leak := range []string{"hunter2", "00112233445566778899", strings.Split(me.kpem, "\n")[1]} {
		if strings.Contains(Redact(p.Text()), leak) {
			t.Errorf("Redact leaks %q", leak)
		}
		if b, err := json.Marshal(p); err != nil || strings.Contains(string(b), leak) {
			t.Errorf("JSON leaks %q (%v)", leak, err)
		}
	}
	if !strings.Contains(Redact(p.Text()), "BEGIN CERTIFICATE") {
		t.Error("Redact hides certificates")
	}
	_, err := Parse("test", []byte("remote h\nca gone.crt\n"), read)
	if !errors.Is(err, fs.ErrNotExist) && (err == nil || !strings.Contains(err.Error(), "line 2: ca: cannot read gone.crt")) {
		t.Errorf("got %v", err)
	}
}

func TestStoredPassword(t *testing.T) {
	for body, want := range map[string]Verdict{"alice\nhunter2\n": Used, "alice\n": Used} {
		p := mustParse(t, "remote h.example\nauth-user-pass\n<auth-user-pass>\n"+body+"</auth-user-pass>\n", nil)
		if a, b := verdictOf(t, p, 2), verdictOf(t, p, 3); a.Verdict != want || b.Verdict != want || p.Username != "alice" {
			t.Errorf("%q: %+v, %+v", body, a, b)
		}
	}
}

func TestAWSExport(t *testing.T) {
	ca := newAuthority(t, "ca")
	me := issue(t, &ca, "me", client)
	e := Export{Host: "cvpn-endpoint-0123456789abcdef0.prod.clientvpn.us-east-1.amazonaws.com", Port: 443, Proto: "udp", RandomHostname: true,
		CA: []byte(ca.pem), Cert: []byte(me.pem), Key: push.Secret(me.kpem), VerifyName: "server.example"}
	text := string(e.Append(nil))
	want := "client\ndev tun\nproto udp\nremote cvpn-endpoint-0123456789abcdef0.prod.clientvpn.us-east-1.amazonaws.com 443\nremote-random-hostname\n" +
		"resolv-retry infinite\nnobind\nremote-cert-tls server\ncipher AES-256-GCM\nverb 3\n<ca>\n" + ca.pem + "</ca>\n<cert>\n" + me.pem + "</cert>\n<key>\n" + me.kpem + "</key>\n" +
		"reneg-sec 0\nverify-x509-name server.example name\n"
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	e.DevicePosture = []string{"jamf", "crowdstrike"}
	if got := string(e.Append(nil)); got != want+"aws-auth-device-posture jamf\naws-auth-device-posture crowdstrike\n" {
		t.Errorf("got\n%s", got)
	}
	p := mustParse(t, text, nil)
	for _, d := range p.Directives {
		if d.Verdict != Used {
			t.Errorf("line %d: %v %s: %s", d.Line, d.Words, d.Verdict, d.Note)
		}
	}
	if r := p.Check(testNow()); !r.Usable || len(r.Problems) != 0 || r.Auth != "certificate" {
		t.Errorf("report %+v", r)
	}
	full := Export{Host: "h", Port: 1, Proto: "tcp", PushPeerInfo: true, TLSAuth: staticKeyText, Auth: "SHA256", DataCiphers: []string{"AES-256-GCM", "CHACHA20-POLY1305"}, UserPass: true, Federate: true, StaticChallenge: "Enter MFA code "}
	q := mustParse(t, string(full.Append(nil)), nil)
	if q.TLSAuth == "" || q.KeyDirection != 1 || !q.PushPeerInfo || q.Auth != "SHA256" || len(q.Ciphers) != 2 || !q.AuthFederate || q.StaticChallenge.Text != "Enter MFA code " || !q.StaticChallenge.Echo || q.AuthRetry != "interact" {
		t.Errorf("got %+v", q)
	}
	if err := q.Unsupported(); err != nil {
		t.Error(err)
	}
	for _, framing := range []string{"", "lzo-no", "stub", "stub-v2"} {
		e := Export{Host: "h", Port: 1, Proto: "udp", CA: []byte(ca.pem), Cert: []byte(me.pem), Key: push.Secret(me.kpem), Compress: framing, Fragment: 1300}
		if q := mustParse(t, string(e.Append(nil)), nil); q.Compress != framing || q.Remotes[0].Fragment != 1300 {
			t.Errorf("%q: got %q and %+v", framing, q.Compress, q.Remotes)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("client\nremote h 1\n<ca>\nx\n</ca>\n")
	f.Add("<connection>\nremote h\n</connection>\nsetenv opt echo a\nroute a.b 255.0.0.0\nca x\n")
	f.Add("remote h\ntls-auth ta.key 1\nauth-user-pass f\n<tls-crypt>\n" + staticKeyText + "</tls-crypt>\n")
	f.Add("remote h\n--verb 3\ndata-ciphers a:b\nhttp-proxy h 1 f\n# OVPN_ACCESS_SERVER_PROFILE=x\n")
	f.Add("remote h\nproto tcp\nhttp-proxy p 1 f basic\nhttp-proxy-option CUSTOM-HEADER A: b\n<connection>\nremote i\nsocks-proxy q 1 f\nfragment 1300 mtu\n</connection>\n")
	f.Add("remote h\nhttp-proxy-override p 1 nct\nclient-nat snat 10.0.0.0 255.0.0.0 11.0.0.0\ncompress stub-v2\ncipher AES-256-CBC\nx509-username-field CN OU\naskpass f\n")
	f.Add("remote h\n<pkcs12>\nMAA=\n</pkcs12>\n<http-proxy-user-pass>\na\nb\n</http-proxy-user-pass>\nauth-user-pass\n<connection>\nremote x 1 tcp\n<tls-auth>\n" + staticKeyText + "</tls-auth>\nkey-direction 1\n</connection>\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 8192 {
			return
		}
		files := func(path string) ([]byte, error) { return []byte(staticKeyText), nil }
		p, err := Parse("", []byte(text), files)
		if p == nil {
			if err == nil {
				t.Fatal("neither profile nor error")
			}
			return
		}
		for _, d := range p.Directives {
			if len(d.Words) == 0 || d.Line < 1 || d.Verdict != Used && d.Note == "" {
				t.Fatalf("%q: directive %+v", text, d)
			}
		}
		if _, err := json.Marshal(p.Check(testNow())); err != nil {
			t.Fatal(err)
		}
		const secret = "00112233445566778899aabbccddeeff" // from a file, so inlined in a block
		if !strings.Contains(text, secret) && strings.Contains(Redact(p.Text()), secret) {
			t.Fatalf("%q leaks", text)
		}
		if err != nil {
			return
		}
		if !Mentions([]byte(text)) {
			t.Fatalf("%q is a profile, and mentions nothing", text)
		}
		again, err := Parse("", []byte(p.Text()), nil)
		if err != nil {
			t.Fatalf("%q: own text %q: %v", text, p.Text(), err)
		}
		for i := range again.Remotes {
			again.Remotes[i].Line = p.Remotes[i].Line // moves where a file is inlined
		}
		if !reflect.DeepEqual(again.Remotes, p.Remotes) {
			t.Fatalf("%q: other remotes: %+v, %+v", text, p.Remotes, again.Remotes)
		}
		if again.Text() != p.Text() || !reflect.DeepEqual(again.Own, p.Own) || len(again.Remotes) != len(p.Remotes) {
			t.Fatalf("%q: text is not stable: %q, %q", text, p.Text(), again.Text())
		}
	})
}

func TestRedactBlocks(t *testing.T) {
	text := "client\n<ca>\nPUBLIC\n</ca>\n  <key>\nSECRET\n</key>\n<tls-crypt>\nSECRET\n</tls-crypt>\nverb 3\n<auth-user-pass>\nSECRET\n"
	got := Redact(text)
	if strings.Contains(got, "SECRET") || !strings.Contains(got, "PUBLIC") || !strings.Contains(got, "verb 3") || strings.Count(got, "[redacted]") != 3 {
		t.Errorf("got:\n%s", got)
	}
}

// TestRedactOptions: what an option has in its own line stays hidden however the option is spelled.
func TestRedactOptions(t *testing.T) {
	for _, option := range []string{
		"http-proxy-option CUSTOM-HEADER X-Ticket SECRET", `http-proxy-option CUSTOM-HEADER "X-Ticket: SECRET"`, "http-proxy-option CUSTOM-HEADER X-Ticket: SECRET",
		"http-proxy-option CUSTOM-HEADER X-Ticket:SECRET", "http-proxy-option ext1 X-Ticket 'a SECRET' x", "auth-token SECRET",
	} {
		word, rest, _ := strings.Cut(option, " ")
		for _, text := range []string{option, "--" + option, "setenv opt " + option, "setenv opt --" + option, "--setenv 'opt' " + option, `"` + word + `" ` + rest, "'" + word + "'\t" + rest,
			`"--` + word + `" ` + rest, "\t" + option + " # x\r", "# " + option, ";" + option, "<connection>\nremote h\n" + option + "\n</connection>"} {
			got := Redact("client\n" + text + "\nverb 3\n")
			if strings.Contains(got, "SECRET") || !strings.Contains(got, word) || !strings.Contains(got, "[redacted]") || !strings.HasPrefix(got, "client\n") || !strings.HasSuffix(got, "\nverb 3\n") {
				t.Errorf("%q is shown as %q", text, got)
			}
			if strings.Contains(text, "X-Ticket") && !strings.Contains(got, "X-Ticket [redacted]") {
				t.Errorf("%q is shown as %q, without the header's name", text, got)
			}
			p, err := Parse("test", []byte("remote h\n"+text+"\n"), nil)
			if p == nil {
				t.Fatalf("%q: %v", text, err)
			}
			for _, d := range p.Directives {
				if strings.Contains(strings.Join(d.Words, " "), "SECRET") {
					t.Errorf("%q: the check shows %q", text, d.Words)
				}
			}
		}
	}
	// What Parse refuses is hidden from the option on.
	many := strings.Repeat(" x", 20)
	for _, text := range []string{`http-proxy-option CUSTOM-HEADER X "SECRET`, `http-proxy-option CUSTOM-HEADER X SECRET\`, "http-proxy-option CUSTOM-HEADER X SECRET" + many,
		"http-proxy-option CUSTOM-HEADER" + many + " SECRET", "setenv opt http-proxy-option CUSTOM-HEADER X SECRET" + many, "http-proxy-option CUSTOM-HEADER X SECRET x x", `http-proxy-option CUSTOM-HEADER "X SECRET"`, `'auth-token' "SECRET`} {
		if got := Redact(text); strings.Contains(got, "SECRET") || !strings.Contains(got, "[redacted]") {
			t.Errorf("%q is shown as %q", text, got)
		}
		p, _ := Parse("test", []byte("remote h\n"+text+"\n"), nil)
		for _, d := range p.Directives {
			if strings.Contains(strings.Join(d.Words, " ")+d.Note, "SECRET") {
				t.Errorf("%q: the check shows %q: %s", text, d.Words, d.Note)
			}
		}
	}
	for _, text := range []string{"http-proxy-option VERSION 1.1", `--http-proxy-option agent "some program"`, "auth-token-user YW5u", "http-proxy-option", "auth-token", "# about auth-tokens", "echo auth-token x", ""} {
		if got := Redact(text); got != text {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
}

// TestBroken: broken ciphers are kept apart from those that are offered, and the note names the switch.
// "none" is never among them.
func TestBroken(t *testing.T) {
	for _, c := range []struct{ lines, want string }{
		{"cipher BF-CBC", "[]  [BF-CBC] BF-CBC"},
		{"cipher des-ede3-cbc\ndata-ciphers AES-256-GCM:BF-CBC:?CAST5-CBC:none:BF-CBC", "[AES-256-GCM]  [DES-EDE3-CBC BF-CBC] DES-EDE3-CBC"},
		{"data-ciphers BF-CBC:DES-CBC", "[]  [BF-CBC DES-CBC] "},
		{"cipher AES-256-CBC\ndata-ciphers-fallback BF-CBC", "[] AES-256-CBC [BF-CBC] BF-CBC"},
		{"cipher AES-256-CBC", "[] AES-256-CBC [] "},
	} {
		p, err := Parse("test", []byte("remote vpn.example.com\n"+c.lines+"\n"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%v %s %v %s", p.Ciphers, p.Fallback, p.Broken, p.BrokenFallback); got != c.want {
			t.Errorf("%q: %s, want %s", c.lines, got, c.want)
		}
		told := slices.ContainsFunc(p.Directives, func(d Directive) bool {
			return strings.Contains(d.Note, "aditd --allow-insecure-ciphers")
		})
		if told != (len(p.Broken) > 0) {
			t.Errorf("%q: the switch is named: %t", c.lines, told)
		}
	}
}

// TestSignInIsExplained: what check says of a directive is true beside the others.
func TestSignInIsExplained(t *testing.T) {
	const stored = "<auth-user-pass>\nann\nhunter2\n</auth-user-pass>\n"
	for _, tc := range []struct{ text, kind, directive, does string }{
		{"auth-federate\n", "browser", "auth-federate", "the browser signs in (AWS)"},
		{"auth-federate\nauth-user-pass\n", "browser", "auth-user-pass", "the browser signs in instead (auth-federate)"},
		{"auth-federate\nauth-nocache\n", "browser", "auth-nocache", "no effect: no password is asked for"},
		{"auth-federate\nauth-user-pass\nstatic-challenge Code 1\n", "browser", "static-challenge", "no effect: no password is asked for"},
		{"auth-federate\nauth-retry interact\n", "browser", "auth-retry", "what follows on a wrong password"},
		{"auth-user-pass\n", "password", "auth-user-pass", "signs in with user name and password"},
		{"auth-user-pass\nauth-nocache\n", "password", "auth-nocache", "the password is forgotten after use"},
		{"auth-user-pass\nauth-retry interact\n", "password", "auth-retry", "a wrong password is asked for again"},
		{"auth-user-pass\nstatic-challenge Code 1\n", "password", "static-challenge", "asks for a one-time code beside the password"},
		{stored, "password", "auth-user-pass", "signs in with user name and password, which stand in the profile"},
		{stored + "auth-nocache\n", "password", "auth-nocache", "no effect on the password that stands in the profile"},
		{"<auth-user-pass>\nann\n</auth-user-pass>\n", "password", "auth-user-pass", "signs in with the user name in the profile, and a password"},
		{"static-challenge Code 1\n", "certificate", "static-challenge", "no effect: no password is asked for"},
	} {
		r := mustParse(t, "client\nremote h.example\npeer-fingerprint "+strings.Repeat("00:", 31)+"00\n"+tc.text, nil).Check(time.Now())
		i := slices.IndexFunc(r.Directives, func(d Directive) bool { return d.Words[0] == tc.directive })
		if i < 0 || r.Directives[i].Does != tc.does || r.Auth != tc.kind {
			t.Errorf("%q: sign-in %q, %+v; want %q", tc.text, r.Auth, r.Directives, tc.does)
		}
		if missing := slices.ContainsFunc(r.Problems, func(f Finding) bool { return strings.Contains(f.Text, "no client certificate") }); missing != (tc.kind == "certificate") {
			t.Errorf("%q: problems %+v", tc.text, r.Problems)
		}
	}
}
