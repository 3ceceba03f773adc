package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDemoProvider: up runs the built-in identity provider, says how to use it, and ends it.
func TestDemoProvider(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	out, done := &console{}, make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"up", "--data", dir, "--listen", freePort(t), "--auth", "federated", "--idp", "demo"}, out, out)
	}()
	defer cancel()
	const last = "sign in as: bob@example.com with the password bob-demo\n"
	for end := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), last); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(out)
		}
	}
	m := regexp.MustCompile(`identity provider: (http://127\.0\.0\.1:\d+/) `).FindStringSubmatch(out.String())
	if m == nil {
		t.Fatal(out)
	}
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get(m[1])
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(page), "alice-demo") {
		t.Errorf("%d, %v: %s", resp.StatusCode, err, page)
	}
	profile, err := os.ReadFile(filepath.Join(dir, profileName))
	if err != nil || !strings.Contains(string(profile), "\nauth-federate\n") || strings.Contains(string(profile), "<key>") {
		t.Errorf("profile: %v\n%s", err, profile)
	}
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	if _, err := http.Get(m[1]); err == nil {
		t.Error("the provider still answers")
	}
}

func TestSignInDemo(t *testing.T) {
	for _, a := range demoAccounts {
		if who, ok := signInDemo(a.Name, a.Password); !ok || who.Name != a.Name || len(who.Groups) == 0 {
			t.Errorf("%s: %+v, %t", a.Name, who, ok)
		}
		for _, wrong := range []string{"", a.Password + "x", demoAccounts[0].Password + demoAccounts[1].Password} {
			if _, ok := signInDemo(a.Name, wrong); ok {
				t.Errorf("%s signs in with %q", a.Name, wrong)
			}
		}
	}
	if _, ok := signInDemo("nobody", demoAccounts[0].Password); ok {
		t.Error("nobody signs in")
	}
}
