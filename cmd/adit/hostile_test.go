package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf16"

	"github.com/rogpeppe/go-internal/testscript"
)

// hostileProfile is a file that nobody should have to trust. The text comes after
// seven harmless lines, unless it is whole.
type hostileProfile struct {
	name, text string
	whole      bool
	check      string // what adit check prints: a regular expression on its output and errors
	imports    bool   // whether adit import takes it
}

const (
	canary = "CANARY-7f3a" // stands in files that no profile may show or pass on
	prolog = "client\nremote vpn.example.com\nca ../ca.crt\ncert ../client.crt\nkey ../client.key\nremote-cert-tls server\nverb 3\n"
)

// hostileProfiles are odd and evil files as they come from the Internet, from
// Windows, from servers and from old scripts. $WORK is the script's directory.
func hostileProfiles() []hostileProfile {
	run := func(name, text string) hostileProfile {
		return hostileProfile{name: name, text: text, check: `(?m)^8 +ignored +` + strings.Fields(text)[0] + ` .*no program named by a profile is ever run`, imports: true}
	}
	utf16le := func(s string) string {
		b := []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return string(b)
	}
	many := strings.Builder{}
	for range 100 {
		many.WriteString("remote host-with-a-name.example.net 443 tcp\n")
	}
	return []hostileProfile{
		run("up", "up $WORK/evil.sh"),
		run("down", "down \"$WORK/evil.sh arg\""),
		run("route-up", "route-up '$WORK/evil.sh'"),
		run("ipchange", "ipchange $WORK/evil.sh"),
		run("tls-verify", "tls-verify $WORK/evil.sh"),
		run("plugin", "plugin $WORK/evil.so arg"),
		run("dns-updown", "dns-updown $WORK/evil.sh"),
		run("script-security", "script-security 3"),
		{name: "opt-up", text: "setenv opt up $WORK/evil.sh", check: `(?m)^8 +ignored +up .*no program`, imports: true},
		{name: "opt-opt", text: "setenv opt setenv opt plugin $WORK/evil.so", check: `(?m)^8 +ignored +setenv opt`, imports: true},
		{name: "dashes", text: "--up $WORK/evil.sh", check: `(?m)^8 +ignored +up .*no program`, imports: true},
		{name: "auth-user-pass-verify", text: "auth-user-pass-verify $WORK/evil.sh via-env", check: `(?m)^8 +ignored`, imports: true},
		{name: "management", text: "management 0.0.0.0 7505\nmanagement-client\nmanagement-external-key", check: `(?m)^8 +ignored +management .*no management interface`, imports: true},
		{name: "management-socket", text: "management $WORK/sock unix", check: `(?m)^8 +ignored +management`, imports: true},
		{name: "daemon", text: "daemon ../../evil\nlog $WORK/log\nlog-append $WORK/log\nstatus $WORK/log\nwritepid $WORK/log\ncd /\nchroot /\nuser root", check: `(?m)^8 +ignored +daemon .*the service decides`, imports: true},
		{name: "tmp-dir", text: "tmp-dir $WORK\nreplay-persist $WORK/log", check: `(?m)^9 +ignored +replay-persist`, imports: true},
		{name: "environment", text: "setenv LD_PRELOAD $WORK/evil.so\nsetenv PATH $WORK\nsetenv-safe X y", check: `(?m)^8 +ignored +setenv LD_PRELOAD`, imports: true},
		{name: "peer-info", text: "setenv UV_X=\"a b\"", check: `(?m)^8 +refused`},
		{name: "engine", text: "engine $WORK/evil.so\nproviders $WORK/evil.so\npkcs11-providers $WORK/evil.so", check: `(?m)^10 +ignored +pkcs11-providers .*a profile names none`, imports: true},
		{name: "config", text: "config ../secret.txt", check: `(?m)^8 +refused +config .*cannot be included`},
		{name: "config-self", text: "config config-self.ovpn", check: `(?m)^8 +refused +config`},
		{name: "static-key", text: "secret ../secret.txt", check: `(?m)^8 +refused +secret .*forward secrecy`},
		{name: "tap", text: "dev tap0", check: `(?m)^8 +unsupported +dev tap0 .*TAP`, imports: true},
		{name: "server", text: "server 10.8.0.0 255.255.255.0\npush \"redirect-gateway\"\nclient-connect $WORK/evil.sh", check: `(?m)^8 +ignored +server .*only a server`, imports: true},
		{name: "tls-server", text: "tls-server", check: `(?m)^8 +refused +tls-server .*server's file`},
		{name: "traversal-ca", text: "ca ../../../../../../../../../../etc/passwd", check: `(?m)^8 +refused +ca .*holds no certificate`},
		{name: "traversal-secret", text: "ca ../secret.txt", check: `(?m)^8 +refused +ca .*holds no certificate`},
		{name: "key-shadow", text: "key /etc/shadow", check: `(?m)^8 +refused +key`},
		{name: "password-file", text: "auth-user-pass ../secret.txt", check: `(?m)^8 +refused +auth-user-pass .*a line each`},
		{name: "password-key", text: "auth-user-pass ../client.key", check: `(?m)^8 +refused +auth-user-pass .*a line each`},
		{name: "proxy-password-file", text: "proto tcp\nhttp-proxy evil.example 80 ../secret.txt basic", check: `(?m)^9 +refused +http-proxy .*a line each`},
		{name: "pipe", text: "ca ../pipe", check: `(?m)^8 +refused +ca .*not a plain file`},
		{name: "device", text: "ca /dev/zero", check: `(?m)^8 +refused +ca .*not a plain file`},
		{name: "directory", text: "ca ..", check: `(?m)^8 +refused +ca .*not a plain file`},
		{name: "unknown", text: "frobnicate --force /dev/sda\nblock-everything yes", check: `(?m)^8 +ignored +frobnicate .*unknown directive`, imports: true},
		{name: "unknown-check", text: "verify-server-somehow strict", check: `(?m)^8 +refused +verify-server-somehow .*not safe`},
		{name: "windows-path", text: "ca C:\\Users\\ann\\ca.crt", check: `(?m)^8 +refused +ca .*backslash before`},
		{name: "windows-quoted", text: "ca \"C:\\\\Users\\\\ann\\\\ca.crt\"", check: `(?m)^8 +refused +ca .*cannot read`},
		{name: "crlf", text: "\r\nverb 3\r\n<tls-crypt>\r\nxx\r\n</tls-crypt>\r\n", check: `(?m)^10 +refused +tls-crypt .*no OpenVPN static key`},
		{name: "crlf-good", text: strings.ReplaceAll(prolog, "\n", "\r\n"), whole: true, check: `(?m)^crlf-good.ovpn is usable$`, imports: true},
		{name: "bom", text: "\xef\xbb\xbf" + prolog, whole: true, check: `(?m)^1 +used +client`, imports: true},
		{name: "utf-16", text: utf16le(prolog), whole: true, check: `is UTF-16: save it as UTF-8`},
		{name: "latin-1", text: "# M\xfcller\nverb 4", check: `(?m)^9 +used +verb 4`, imports: true},
		{name: "nul", text: "verb 3\x00\nup x", check: `line 8: has a NUL byte`},
		{name: "control", text: "verb 3 # \x1b]0;owned\x07", check: `(?m)^8 +refused +verb .*control character`},
		{name: "long-line", text: "setenv UV_X " + strings.Repeat("a", 3<<20), check: `line 8: longer than`},
		{name: "huge", text: strings.Repeat("# nothing\n", 500_000), check: `larger than`},
		{name: "remotes", text: many.String(), check: `(?m)^107 +used +remote`, imports: true},
		{name: "no-end", text: "<ca>\n-----BEGIN CERTIFICATE-----\n", check: `line 8: <ca> is never closed`},
		{name: "nested", text: "<connection>\n<connection>\nremote a.example\n</connection>\n</connection>", check: `inside another <connection>`},
		{name: "nested-inline", text: "<ca>\n<key>\nx\n</key>\n</ca>", check: `(?m)^8 +refused +ca .*holds no certificate`},
		{name: "stray-end", text: "</connection>", check: `closes nothing`},
		{name: "empty-connection", text: "<connection>\n</connection>", check: `has no remote`},
		{name: "quotes", text: "verb " + strings.Repeat(`"`, 9999), check: `(?m)^8 +refused +verb`},
		{name: "backslashes", text: "verb " + strings.Repeat(`\`, 10_001), check: `(?m)^8 +refused +verb`},
		{name: "words", text: "route" + strings.Repeat(" 10.0.0.0", 60), check: `(?m)^8 +refused +route .*16 words`},
		{name: "host", text: "remote $(reboot) 1194", check: `(?m)^8 +refused +remote .*not a name`},
		{name: "host-newline", text: "remote \"a.example\n b\" 1194", check: `(?m)^8 +refused +remote .*no closing quote`},
		{name: "domain", text: "dhcp-option DOMAIN \"a.example;reboot\"\ndhcp-option DOMAIN $(reboot)", check: `(?m)^8 +refused +dhcp-option .*not a domain name`},
		{name: "device-name", text: "dev ../../tun", check: `(?m)^8 +refused +dev`},
		{name: "numbers", text: "reneg-sec 99999999999999999999\ntun-mtu -1", check: `(?m)^8 +refused +reneg-sec`},
		{name: "empty", text: "", whole: true, check: `is no OpenVPN profile: it is empty`},
		{name: "html", text: "<!DOCTYPE html>\n<html>\n<body>404</body>\n</html>\n", whole: true, check: `is no OpenVPN profile: it is a web page`},
		{name: "binary", text: "\x7fELF\x02\x01\x01" + strings.Repeat("\x00\xff", 500), whole: true, check: `is no OpenVPN profile: it is not text`},
	}
}

// runHostile lets the real commands loose on each file: hostile DIR.
func runHostile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hostile DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	work := filepath.Dir(dir)
	all := hostileProfiles()
	if len(all) < 40 {
		ts.Fatalf("only %d profiles", len(all))
	}
	for _, p := range all {
		text := p.text
		if !p.whole {
			text = prolog + text + "\n"
		}
		file := filepath.Join(dir, p.name+".ovpn")
		ts.Check(os.WriteFile(file, []byte(strings.ReplaceAll(text, "$WORK", work)), 0o600))
		checked := ts.Exec("adit", "check", file)
		out := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if !regexp.MustCompile(p.check).MatchString(out) {
			ts.Fatalf("%s: adit check does not say %s:\n%.4000s", p.name, p.check, out)
		}
		imported := ts.Exec("adit", "import", file, "--name", p.name)
		out += ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if (imported == nil) != p.imports {
			ts.Fatalf("%s: adit import: %v\n%.4000s", p.name, imported, out)
		}
		if checked == nil && imported != nil {
			ts.Fatalf("%s: usable, but not imported", p.name)
		}
		if imported == nil {
			ts.Check(ts.Exec("adit", "export", p.name))
			out += ts.ReadFile("stdout")
		}
		if strings.Contains(out, canary) || strings.Contains(out, "root:x:0") || strings.ContainsAny(out, "\x00\x1b\x07") {
			ts.Fatalf("%s: shows or takes what it must not:\n%.4000s", p.name, out)
		}
	}
}
