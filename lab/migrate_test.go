//go:build linux

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/bcrypt"

	"github.com/adit-vpn/adit/ovpn/profile"
)

// TestImportFromNetworkManager: profiles that NetworkManager's own plugin has imported come out of its keyfiles as they
// went in, and one of them connects.
func TestImportFromNetworkManager(t *testing.T) {
	t.Parallel()
	needs(t, "dbus-daemon", "unshare")
	s := newSite(t)
	p := newPKI(t)
	wrapKey := staticKey()
	s.endpointUp(s.yaml(p, wrapKey, endpointConfig{Rules: vpcRules(), Wrap: "tls-auth"}))
	s.install(s.client, "networkmanager", "nmopenvpn")
	s.bus(s.client)
	s.ok(s.client.Do(func() error {
		return os.WriteFile("/etc/NetworkManager/NetworkManager.conf", []byte("[main]\nplugins=keyfile\nauth-polkit=false\n[keyfile]\nunmanaged-devices=*\n"), 0o644)
	}))
	(&world{site: s}).runNM()
	s.aditd()

	certs := "<ca>\n" + p.ca + "</ca>\n<cert>\n" + p.client.Cert + "</cert>\n<key>\n" + p.client.Key + "</key>\n"
	ca := "<ca>\n" + p.ca + "</ca>\n"
	texts := map[string]string{
		"office": clientProfile(p, "udp", "tls-auth", wrapKey, "cipher AES-256-GCM"),
		"many": "client\ndev tun\nremote a.example 1195 udp\nremote b.example 443 tcp-client\nremote 2001:db8::5 1194 udp6\nremote-random\nremote-cert-tls server\n" +
			"verify-x509-name vpn.example name\ncipher AES-256-CBC\nauth SHA256\ntls-version-min 1.2\nping 7\nping-restart 33\nmssfix 1300\ntun-mtu 1400\nreneg-sec 1800\nauth-user-pass\n" + ca,
		"both":  "client\ndev tun\nproto tcp\nremote c.example\nport 993\nremote-cert-tls server\nauth-user-pass\nhttp-proxy proxy.example 3128\ncomp-lzo no\nfragment 1200\nroute 10.9.0.0 255.255.0.0\n" + certs,
		"socks": "client\ndev tun\nremote d.example\nremote-cert-tls server\nsocks-proxy proxy.example 1080\nverify-x509-name C=XX,CN=x subject\n" + certs,
	}
	for name, text := range texts {
		if out, err := s.try(s.client, "env", "HOME="+s.client.Dir, "/usr/bin/nmcli", "connection", "import", "type", "openvpn", "file", s.write(s.client, name+".ovpn", text)); err != nil {
			t.Fatalf("NetworkManager does not take %s: %v\n%s", name, err, out)
		}
	}
	// The service saw routes of its own making only: the office connection is to be a split tunnel.
	s.run(s.client, "/usr/bin/nmcli", "connection", "modify", "office", "ipv4.never-default", "yes", "ipv6.never-default", "yes")
	s.run(s.client, "/usr/bin/nmcli", "connection", "add", "type", "dummy", "ifname", "dummy9", "con-name", "other")

	// The page's commands, by root: there is no sudo in here.
	s.ok(os.WriteFile(filepath.Join(s.client.Dir, "sudo"), []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755))
	_, section, _ := strings.Cut(s.read("../docs/migrate.md"), "\n## NetworkManager\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var commands []string
	for line := range strings.Lines(section) {
		if text, ok := strings.CutPrefix(line, "    "); ok {
			commands = append(commands, text)
		}
	}
	if len(commands) != 4 {
		t.Errorf("docs/migrate.md shows %q", commands)
	}
	out := s.run(s.client, "env", "USER=root", "PATH="+s.client.Dir+":"+filepath.Dir(bin(t, "adit"))+":"+os.Getenv("PATH"),
		"sh", "-ec", "cd "+s.client.Dir+"\n"+strings.Join(commands, ""))
	if n := strings.Count(out, "imported  "); n != len(texts) {
		t.Errorf("%d are imported:\n%s", n, out)
	}
	if _, err := os.Stat(filepath.Join(s.client.Dir, "nm")); err == nil {
		t.Error("the copy is left")
	}

	var results []struct {
		Name, Result, Reason string
		Notes                []string
	}
	s.ok(json.Unmarshal([]byte(s.adit("import", "--from", "networkmanager", "--replace", "--json")), &results))
	if len(results) != len(texts) {
		t.Errorf("%+v", results)
	}
	for _, r := range results {
		if r.Result != "imported" {
			t.Errorf("%+v", r)
		}
		for _, n := range r.Notes {
			if strings.Contains(n, "no counterpart") {
				t.Errorf("%s: %s", r.Name, n)
			}
		}
	}
	for name, text := range texts {
		want, err := profile.Parse(name, []byte(text), nil)
		s.ok(err)
		got, err := profile.Parse(name, []byte(s.adit("export", name)), nil)
		s.ok(err)
		for what, x := range map[string][2]any{
			"remotes":       {servers(want), servers(got)},
			"random":        {want.RemoteRandom, got.RemoteRandom},
			"certificates":  {strings.TrimSpace(string(want.CA)) + strings.TrimSpace(string(want.Cert)), strings.TrimSpace(string(got.CA)) + strings.TrimSpace(string(got.Cert))},
			"key":           {strings.TrimSpace(want.Key.Reveal()), strings.TrimSpace(got.Key.Reveal())},
			"tls-auth":      {keyOf(want), keyOf(got)},
			"ciphers":       {fmt.Sprint(want.Ciphers, want.Fallback, want.Auth), fmt.Sprint(got.Ciphers, got.Fallback, got.Auth)},
			"server":        {fmt.Sprint(want.RemoteCertTLS, want.VerifyName, want.TLSMin), fmt.Sprint(got.RemoteCertTLS, got.VerifyName, got.TLSMin)},
			"sign-in":       {want.AuthUserPass, got.AuthUserPass},
			"timers":        {fmt.Sprint(want.Ping, want.PingRestart), fmt.Sprint(got.Ping, got.PingRestart)},
			"sizes":         {fmt.Sprint(want.MTU, want.Mssfix, want.Fragment), fmt.Sprint(got.MTU, got.Mssfix, got.Fragment)},
			"compression":   {want.Compress, got.Compress},
			"routes":        {fmt.Sprint(want.Own.Routes), fmt.Sprint(got.Own.Routes)},
			"renegotiation": {want.RenegSec, got.RenegSec},
		} {
			if x[0] != x[1] {
				t.Errorf("%s, %s: %v became %v", name, what, x[0], x[1])
			}
		}
		if all := got.Own.Redirect != nil; all != (name != "office") {
			t.Errorf("%s: all traffic %t", name, all)
		}
	}
	s.adit("connect", "office", "--timeout", "20s")
	s.reaches(s.client, none, hostAddr)
	s.adit("disconnect", "office")
}

// servers are a profile's remotes in one line, with what is the same spelled alike.
func servers(p *profile.Profile) string {
	var all []string
	for _, r := range p.Remotes {
		proxy := ""
		if r.Proxy != nil {
			proxy = fmt.Sprint(" by ", r.Proxy.Kind, " ", r.Proxy.Host, " ", r.Proxy.Port)
		}
		all = append(all, fmt.Sprint(r.Host, " ", r.Port, " ", r.Proto, proxy))
	}
	return strings.Join(all, ", ")
}

func keyOf(p *profile.Profile) string {
	return fmt.Sprint(strings.TrimSpace(p.TLSAuth.Reveal()), p.KeyDirection)
}

// TestAWSVPNClient: a script for the command line of AWS's client, run against an endpoint with passwords and codes.
func TestAWSVPNClient(t *testing.T) {
	t.Parallel()
	needs(t, "setpriv")
	s := newSite(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("geheim"), bcrypt.MinCost)
	s.ok(err)
	users := s.write(s.client, "users.yaml", fmt.Sprintf("users:\n  - {name: otto, password: %q, totp: %s}\n", hash, testersSecret))
	data := filepath.Join(s.client.Dir, "data")
	e := s.start(s.client, "adit-endpoint", bin(t, "adit-endpoint"), "up", "--data", data, "--auth", "directory", "--users", users)
	s.ok(e.WaitFor("profile: ", soon))
	s.ok(os.Chmod(filepath.Dir(s.client.Dir), 0o755))
	s.aditd()
	before := s.system()
	aws := func(args ...string) []string { return append([]string{bin(t, "aws-vpn-client")}, args...) }
	ann := func(args ...string) []string {
		return append([]string{"setpriv", "--reuid=61001", "--regid=61001", "--clear-groups"}, aws(args...)...)
	}
	field := func(out, name string) (value string) {
		t.Helper()
		var got map[string]any
		s.ok(json.Unmarshal([]byte(out), &got))
		value, _ = got[name].(string)
		return value
	}
	fails := func(message string, argv []string) {
		t.Helper()
		out, err := s.try(s.client, argv...)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("%v: %v, expected exit code 1", argv, err)
		}
		if !strings.Contains(out, `"status": "Error"`) || !strings.Contains(out, `"message": "`+message) {
			t.Errorf("%v: %s", argv, out)
		}
	}

	s.run(s.client, aws("import-profile", "--profile-name", "Production-VPN", "--config-path", filepath.Join(data, "client.ovpn"))...)
	if out := s.run(s.client, aws("list-profiles")...); !strings.Contains(out, `"auth-type": "ad"`) || !strings.Contains(out, `"owned-by": "root"`) {
		t.Errorf("list-profiles: %s", out)
	}
	code, err := totp.GenerateCode(testersSecret, time.Now())
	s.ok(err)
	connect := aws("connect", "--profile-name", "Production-VPN")
	fails("the profile needs a user name and a password", connect)
	fails("the server did not accept", slices.Concat(connect, []string{"--auth-user-pass", s.write(s.client, "wrong", "otto\nfalsch\n"+code+"\n")}))
	if out := s.run(s.client, aws("list-connections")...); out != "[]\n" {
		t.Errorf("after the failures: %s", out)
	}
	s.same("after the failures", before, s.system())
	auth := s.write(s.client, "auth", "otto\ngeheim\n"+code+"\n")
	if got := field(s.run(s.client, slices.Concat(connect, []string{"--auth-user-pass", auth})...), "status"); got != "Connected" {
		t.Errorf("connect says %s", got)
	}
	if out := s.run(s.client, "curl", "-sS", "--max-time", "10", "http://10.98.0.1/"); !strings.Contains(out, "10.64.0.") {
		t.Errorf("the page: %s", out)
	}
	fails("Already connected to profile", connect)
	status := s.run(s.client, aws("get-connection-status", "--profile-name", "Production-VPN", "--show-details")...)
	var st struct {
		Status  string `json:"connection-status"`
		Attempt struct {
			By      string `json:"initiated-by"`
			Details struct {
				In uint64 `json:"tunnel-bytes-in"`
			} `json:"details"`
		} `json:"latest-connection-attempt"`
	}
	s.ok(json.Unmarshal([]byte(status), &st))
	if st.Status != "Connected" || st.Attempt.By != "root" || st.Attempt.Details.In == 0 {
		t.Errorf("get-connection-status: %s", status)
	}
	if out := s.run(s.client, aws("list-connections")...); !strings.Contains(out, `"profile-name": "Production-VPN"`) {
		t.Errorf("list-connections: %s", out)
	}
	if out := s.run(s.client, aws("disconnect", "--profile-name", "Production-VPN")...); out != "" {
		t.Errorf("disconnect: %s", out)
	}
	fails("Profile is not connected", aws("disconnect", "--profile-name", "Production-VPN"))
	s.same("after the connection", before, s.system())

	// The administrator decides for all, a person without rights does not.
	global := []string{"import-profile", "--profile-name", "Company-VPN", "--config-path", s.write(s.client, "company.ovpn", s.read(filepath.Join(data, "client.ovpn"))), "--global"}
	s.ok(os.Chmod(filepath.Join(s.client.Dir, "company.ovpn"), 0o644))
	s.ok(os.Chmod(s.client.Dir, 0o755))
	fails("Permission denied: admin privileges required", ann(global...))
	s.run(s.client, aws(global...)...)
	var list []map[string]string
	s.ok(json.Unmarshal([]byte(s.run(s.client, ann("list-profiles")...)), &list))
	if len(list) != 1 || list[0]["profile-name"] != "Company-VPN" || list[0]["owned-by"] != "" {
		t.Errorf("another user sees %v", list)
	}
	fails("Permission denied: admin privileges required", ann("put-preference", "--key", "max-connections", "--value", "2"))
	fails("Permission denied: admin privileges required", ann("delete-profile", "--profile-name", "Company-VPN"))
	s.run(s.client, aws("put-preference", "--key", "max-connections", "--value", "2")...)
	s.run(s.client, aws("put-preference", "--key", "enable-user-profile-management", "--value", "false")...)
	if out := s.run(s.client, ann("list-preferences")...); !strings.Contains(out, `"enable-user-profile-management": false`) || !strings.Contains(out, `"max-connections": 2`) {
		t.Errorf("list-preferences: %s", out)
	}
	fails("", aws("import-profile", "--profile-name", "third", "--config-path", filepath.Join(data, "client.ovpn")))
	s.run(s.client, aws("delete-profile", "--profile-name", "Company-VPN")...)
	if out := s.run(s.client, ann("list-profiles")...); out != "[]\n" {
		t.Errorf("after delete-profile: %s", out)
	}
}

// TestAWSVPNClientFederated: connect opens the browser, where the person signs in.
func TestAWSVPNClientFederated(t *testing.T) {
	t.Parallel()
	needs(t, "chromium")
	s := newSite(t)
	data := filepath.Join(s.client.Dir, "data")
	e := s.start(s.client, "adit-endpoint", bin(t, "adit-endpoint"), "up", "--data", data, "--auth", "federated", "--idp", "demo")
	s.ok(e.WaitFor("sign in as: alice@example.com with the password alice-demo", soon))
	s.aditd()
	program := bin(t, "aws-vpn-client")
	s.run(s.client, program, "import-profile", "--profile-name", "Production-VPN", "--config-path", filepath.Join(data, "client.ovpn"))
	out := s.run(s.client, append(s.signedIn("alice@example.com", "alice-demo"), program, "connect", "--profile-name", "Production-VPN")...)
	if !strings.Contains(out, "{\n  \"status\": \"Connected\"\n}\n") {
		t.Errorf("connect: %s", out)
	}
	if out := s.run(s.client, program, "list-profiles"); !strings.Contains(out, `"auth-type": "saml"`) {
		t.Errorf("list-profiles: %s", out)
	}
	s.run(s.client, program, "disconnect", "--profile-name", "Production-VPN")
}
