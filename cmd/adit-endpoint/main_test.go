package main

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/adit-vpn/adit/endpoint"
)

// call runs the program in a data directory of its own.
func call(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), append(args, "--data", dir), &out, &errs)
	return code, out.String(), errs.String()
}

// TestErrors: one adit: line, hint: lines, and the exit code.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("listen: 127.0.0.1:1194\nclient_cidr: 10.0.0.0/24\nbanana: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no command", nil, 2, "adit-endpoint: no command given"},
		{"unknown command", []string{"fly"}, 2, `adit-endpoint: unknown command "fly"`},
		{"unknown flag", []string{"up", "--fly"}, 2, "adit-endpoint: unknown flag: --fly"},
		{"unknown auth", []string{"up", "--auth", "kerberos"}, 2, `adit-endpoint: --auth "kerberos" is not mutual, directory or federated`},
		{"directory without users", []string{"up", "--auth", "directory"}, 2, "adit-endpoint: --auth directory needs the users"},
		{"users without directory", []string{"up", "--users", "u.yaml"}, 2, "adit-endpoint: --users is for --auth directory and --idp demo"},
		{"federated without a provider", []string{"up", "--auth", "federated"}, 2, "adit-endpoint: --auth federated needs the identity provider"},
		{"provider without federated", []string{"up", "--idp", "demo"}, 2, "adit-endpoint: --idp is for --auth federated"},
		{"auth beside a file", []string{"up", "--auth", "mutual", "--config", bad}, 2, "adit-endpoint: --auth, --users and --idp are for an endpoint without a file"},
		{"test users for the network", []string{"up", "--listen", "192.0.2.1:1194", "--auth", "directory", "--users", "u.yaml"}, 2, "adit-endpoint: test users and --idp demo are not for the network"},
		{"api without an address", []string{"up", "--api", ":1"}, 2, `adit-endpoint: --api ":1" is not an address with a port`},
		{"api for all", []string{"up", "--api", "192.0.2.1:1"}, 2, "adit-endpoint: --api 192.0.2.1:1 is not loopback"},
		{"names of no API", []string{"arns"}, 2, "adit-endpoint: no endpoint runs on "},
		{"bad metrics", []string{"up", "--metrics", ":1"}, 2, `adit-endpoint: --metrics ":1" is not an address with a port`},
		{"metrics for everybody", []string{"up", "--metrics", "192.0.2.1:9180"}, 2, "adit-endpoint: anybody could read the metrics at 192.0.2.1:9180"},
		{"bad listen", []string{"up", "--listen", "1194"}, 2, `adit-endpoint: --listen "1194" is not an address with a port`},
		{"bad proto", []string{"up", "--proto", "sctp"}, 2, `adit-endpoint: --proto "sctp"`},
		{"bad network", []string{"up", "--network", "x"}, 2, `adit-endpoint: --network "x"`},
		{"kernel without a file", []string{"up", "--network", "kernel"}, 2, "adit-endpoint: --network kernel has no demo network"},
		{"bad file", []string{"up", "--config", bad}, 1, "adit-endpoint: " + bad + ":3: banana: unknown key"},
		{"a directory for a file", []string{"up", "--config", dir}, 1, "adit-endpoint: " + dir + ": read "},
		{"no file", []string{"up", "--config", filepath.Join(dir, "none.yaml")}, 1, "adit-endpoint: open "},
		{"not running", []string{"connections"}, 1, "adit-endpoint: no adit-endpoint runs on this data directory"},
		{"terminate nothing", []string{"terminate"}, 2, "adit-endpoint: terminate needs an id or a user"},
		{"terminate both", []string{"terminate", "x", "--user", "y"}, 2, "adit-endpoint: terminate needs an id or a user"},
		{"check without a file", []string{"check"}, 2, "adit-endpoint: adit-endpoint check got 0 arguments"},
		{"export without an endpoint", []string{"export"}, 2, "adit-endpoint: no endpoint runs on "},
		{"pki alone", []string{"pki"}, 2, "adit-endpoint: pki needs one of its commands"},
		{"client with the server's name", []string{"pki", "client", "server"}, 2, "adit-endpoint: server is the name of the endpoint's own certificate"},
		{"client without a CA", []string{"pki", "client", "x"}, 1, "adit-endpoint: pki: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, _, stderr := call(t, dir, tt.args...)
			lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
			if code != tt.code || !strings.HasPrefix(stderr, tt.want) {
				t.Errorf("exit %d: %q, want %d: %q", code, stderr, tt.code, tt.want)
			}
			if len(lines) < 2 {
				t.Errorf("no hint: %q", stderr)
			}
			for _, l := range lines[1:] {
				if !strings.HasPrefix(l, "hint: ") {
					t.Errorf("line %q", l)
				}
			}
		})
	}
}

// TestHints: their commands act on the directory of the call, and nobody is sent to another one where the terminal is what fails.
func TestHints(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a $HOME")
	var out, errs strings.Builder
	if code := run(context.Background(), []string{"pki", "list", "--data", dir}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "hint: make one: adit-endpoint pki --data '"+dir+"' init\n") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	if runtime.GOOS == "linux" {
		if h := hints(&fs.PathError{Op: "write", Path: os.Stdout.Name(), Err: syscall.ENOSPC}); h != nil {
			t.Errorf("hints %q", h)
		}
	}
	if h := hints(endpoint.ErrServerUse); len(h) != 1 || !strings.Contains(h[0], "pki revoke server") {
		t.Errorf("hints %q", h)
	}
}

func TestCheckListsAllMistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f.yaml")
	if err := os.WriteFile(file, []byte("listen: x\nbanana: 1\nclient_cidr: y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t, dir, "check", file)
	if code != 1 || strings.Count(stdout, "\n") != 3 || !strings.HasPrefix(stderr, "adit-endpoint: f.yaml: 3 mistakes\n") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if err := os.WriteFile(file, []byte(endpoint.BuiltinText(endpoint.DefaultListen(), "udp", "userspace")), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := call(t, dir, "check", file); code != 0 || !strings.Contains(stdout, "is fine") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

func TestPKIAndExport(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{"pki", "init"}, {"pki", "server"}, {"pki", "client", "ann", "--days", "30"}, {"pki", "renew", "ann"}} {
		if code, _, stderr := call(t, dir, args...); code != 0 {
			t.Fatalf("%v: %s", args, stderr)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, builtinName), []byte(endpoint.BuiltinText(endpoint.DefaultListen(), "tcp", "userspace")), 0o600); err != nil {
		t.Fatal(err)
	}
	code, profile, stderr := call(t, dir, "export", "--client", "ann")
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, want := range []string{"client\n", "proto tcp\n", "remote 127.0.0.1 1194\n", "<ca>\n", "<cert>\n", "<key>\n", "<tls-crypt-v2>\n", "verify-x509-name server name\n"} {
		if !strings.Contains(profile, want) {
			t.Errorf("no %q in\n%s", want, profile)
		}
	}
	if _, profile, _ := call(t, dir, "export"); strings.Contains(profile, "<key>") {
		t.Error("a profile for nobody has a key")
	}
	code, out, stderr := call(t, dir, "pki", "tls-crypt-v2", "ann")
	if file, ok := strings.CutPrefix(strings.TrimSpace(out), "client key: "); code != 0 || !ok {
		t.Errorf("exit %d, %s%s", code, out, stderr)
	} else if text, err := os.ReadFile(file); err != nil || !strings.Contains(profile, strings.TrimSpace(string(text))) {
		t.Errorf("the profile does not have the key of %s: %v", file, err)
	}
	if code, out, _ := call(t, dir, "pki", "tls-crypt-v2"); code != 0 || !strings.HasPrefix(out, "server key: ") {
		t.Errorf("exit %d, %s", code, out)
	}
	if code, _, stderr := call(t, dir, "pki", "tls-crypt-v2", "../ann"); code != exitUsage || !strings.Contains(stderr, "hint:") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if code, _, stderr := call(t, dir, "pki", "revoke", "ann"); code != 0 {
		t.Fatal(stderr)
	}
	if code, out, _ := call(t, dir, "pki", "list"); code != 0 || !strings.Contains(out, "revoked") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if code, out, _ := call(t, dir, "pki", "crl"); code != 0 || !strings.Contains(out, "X509 CRL") {
		t.Errorf("exit %d\n%s", code, out)
	}
	code, out, stderr = call(t, dir, "pki", "replace-ca", "--common-name", "Another CA")
	if code != 0 || !strings.HasPrefix(out, "old CA: "+filepath.Join(dir, "pki", "replaced")) || !strings.Contains(out, "server certificate server, valid until ") {
		t.Errorf("exit %d, %s%s", code, out, stderr)
	}
	if code, _, stderr := call(t, dir, "export", "--client", "ann"); code != exitFailed || !strings.Contains(stderr, "ann: no such certificate") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if code, _, stderr := call(t, dir, "pki", "client", "ann"); code != 0 {
		t.Fatal(stderr)
	}
	if code, now, stderr := call(t, dir, "export", "--client", "ann"); code != 0 || strings.Contains(profile, cut(now, "<ca>")) {
		t.Errorf("exit %d, the old CA or none: %s%s", code, now, stderr)
	}
}

// cut is a block of a profile, or all of it where it has none.
func cut(profile, tag string) string {
	_, rest, _ := strings.Cut(profile, tag)
	block, _, _ := strings.Cut(rest, "</")
	return block
}

// TestUsersAndExport: what up prepares for a directory of test users, and what profiles say then.
func TestUsersAndExport(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "users.yaml")
	if password, err := makeUsers(file); err != nil || len(password) != 12 {
		t.Fatal(password, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if password, err := makeUsers(file); err != nil || password != "" {
		t.Errorf("made again: %v", err)
	}
	f := upFlags{auth: "directory", users: file}
	a := &app{data: dir}
	cfg, err := a.builtin(f)
	if err != nil {
		t.Fatal(err)
	}
	prepared, err := preparePKI(&cfg, slog.New(slog.DiscardHandler))
	if err != nil || !prepared {
		t.Fatal(prepared, err)
	}
	if err := writeBuiltin(cfg); err != nil {
		t.Fatal(err)
	}
	profile, err := os.ReadFile(filepath.Join(dir, profileName))
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]bool{"auth-user-pass\n": true, "auth-retry interact\n": true, "auth-nocache\n": true, "reneg-sec 0\n": true,
		"<ca>\n": true, "<cert>\n": false, "<key>\n": false, "static-challenge": false, "auth-federate": false} {
		if strings.Contains(string(profile), line) != want {
			t.Errorf("%q: want %v in\n%s", line, want, profile)
		}
	}
	// A user gets a code: export asks for it.
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "    # totp", "    totp", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, stderr := call(t, dir, "export"); code != 0 || !strings.Contains(out, "static-challenge \"Enter MFA code \" 1\n") {
		t.Errorf("exit %d\n%s%s", code, out, stderr)
	}
	if code, out, stderr := call(t, dir, "check", cfg.File); code != 0 || !strings.Contains(out, "who show a password and a code,") {
		t.Errorf("exit %d\n%s%s", code, out, stderr)
	}
	// The file that up wrote follows its flags; one that people changed stays.
	certificates, err := a.builtin(upFlags{})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeBuiltin(certificates); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(cfg.File)
	if err != nil || !strings.Contains(string(now), "- mutual: {}") {
		t.Errorf("%v\n%s", err, now)
	}
	if err := os.WriteFile(cfg.File, append(now, "dns_servers: [10.98.0.1]\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeBuiltin(cfg); err != nil {
		t.Fatal(err)
	}
	if kept, err := os.ReadFile(cfg.File); err != nil || !strings.Contains(string(kept), "dns_servers") {
		t.Errorf("%v\n%s", err, kept)
	}
}

// TestPrepareAPI: a PKI that has a CA alone gets the certificate of the server that the API's names stand for.
func TestPrepareAPI(t *testing.T) {
	dir := t.TempDir()
	if code, _, errs := call(t, dir, "pki", "init"); code != 0 {
		t.Fatal(errs)
	}
	cfg, err := endpoint.ParseConfig(filepath.Join(dir, "adit.yaml"), []byte("data: .\napi: {}\n"))
	if err == nil {
		err = cfg.CompleteAPI()
	}
	if err == nil {
		_, err = preparePKI(&cfg, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{cfg.API.Certificates[0].Cert, cfg.API.Certificates[0].Key, cfg.API.Certificates[1].Cert} {
		if !fileExists(file) {
			t.Errorf("%s is missing", file)
		}
	}
}
