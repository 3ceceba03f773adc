package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform/outputtest"
)

// up runs an endpoint until the returned function, or the test, ends.
func up(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, done := &outputtest.Output{}, make(chan int, 1)
	go func() { done <- run(ctx, append([]string{"up"}, args...), out, out) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("up %v: exit %d: %s", args, code, out)
		}
	})
	t.Cleanup(stop)
	ready := regexp.MustCompile("listening on |EC2 API: ")
	for end := time.Now().Add(20 * time.Second); !ready.MatchString(out.String()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("up %v: %s", args, out)
		}
	}
	return stop
}

// freePort is a TCP port of loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// exported is what a command line prints, parsed.
func exported(t *testing.T, args ...string) *profile.Profile {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), append([]string{"export"}, args...), &out, &errs); code != 0 {
		t.Fatalf("export %v: exit %d: %s", args, code, &errs)
	}
	p, err := profile.Parse("exported", out.Bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestExportBesideConfig: a profile fits the endpoint that runs, whichever of its directory and its file is named.
func TestExportBesideConfig(t *testing.T) {
	dir := t.TempDir()
	file, data := filepath.Join(dir, "my.yaml"), filepath.Join(dir, "x")
	text := strings.Replace(endpoint.BuiltinText(endpoint.DefaultListen(), "udp", "userspace"), "data: .", "data: ./x\nciphers: [CHACHA20-POLY1305]", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	listen := freePort(t)
	stop := up(t, "--config", file, "--listen", listen, "--proto", "tcp")
	// The file changes, and the endpoint has not read it again.
	if err := os.WriteFile(file, []byte(text+"remote: {host: new.example.com, port: 443}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--data", data}, {"--config", file}, {"--data", data, "--client", "client"}} {
		p := exported(t, args...)
		if got := p.Servers(); len(got) != 1 || got[0] != listen+"/tcp" {
			t.Errorf("export %v: server %v, want %s/tcp", args, got, listen)
		}
		if fmt.Sprint(p.Ciphers) != "[CHACHA20-POLY1305]" || p.TLSCryptV2 == "" || len(p.CA) == 0 || (p.Key != "") != (len(args) == 4) {
			t.Errorf("export %v: ciphers %v, key %v", args, p.Ciphers, p.Key)
		}
	}
	stop()
	if p := exported(t, "--config", file); p.Servers()[0] != "new.example.com:443/udp" {
		t.Errorf("without an endpoint: %v", p.Servers())
	}
}

// TestExportForOldClients: the usual ciphers are not named, since openvpn 2.4 refuses the directive.
func TestExportForOldClients(t *testing.T) {
	data := filepath.Join(t.TempDir(), "x")
	stop := up(t, "--data", data, "--listen", freePort(t), "--proto", "tcp")
	defer stop()
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"export", "--data", data}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	if text := out.String(); strings.Contains(text, "data-ciphers") || !strings.Contains(text, "\ncipher AES-256-GCM\n") {
		t.Errorf("exported:\n%s", text)
	}
}

// TestExportForeignCertificates: the CA in a profile is the one that signed the server's certificate.
func TestExportForeignCertificates(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	for _, args := range [][]string{{"pki", "init"}, {"pki", "server"}} {
		if code, _, stderr := call(t, other, args...); code != 0 {
			t.Fatal(stderr)
		}
	}
	file := filepath.Join(dir, "my.yaml")
	text := "server_certificate: {cert: other/pki/issued/server.crt, key: other/pki/private/server.key}\n" +
		strings.Replace(endpoint.BuiltinText(endpoint.DefaultListen(), "udp", "userspace"), "- mutual: {}", "- mutual: {ca: other/pki/ca.crt}", 1)
	if err := os.WriteFile(file, []byte(strings.Replace(text, "{type: tls-crypt-v2}", "{type: none}", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(other, "pki", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if p := exported(t, "--config", file); !bytes.Contains(ca, bytes.TrimSpace(p.CA)) {
		t.Errorf("CA %s", p.CA)
	}
	// A CA that did not sign it is no use.
	if code, _, stderr := call(t, filepath.Join(dir, "third"), "pki", "init"); code != 0 {
		t.Fatal(stderr)
	}
	text = strings.ReplaceAll(text, "ca: other/", "ca: third/")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"export", "--config", file}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "the CA that signed it is neither behind it nor in ") {
		t.Errorf("exit %d: %s", code, &errs)
	}
}
