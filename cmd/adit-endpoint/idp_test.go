package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/bcrypt"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/platform/outputtest"
)

// TestDemoProvider: up runs the built-in identity provider, says how to use it, and ends it.
func TestDemoProvider(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	out, done := &outputtest.Output{}, make(chan int, 1)
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
		if who, ok := signInDemo(t.Context(), a.Name, a.Password, ""); !ok || who.Name != a.Name || len(who.Groups) == 0 {
			t.Errorf("%s: %+v, %t", a.Name, who, ok)
		}
		for _, wrong := range []string{"", a.Password + "x", demoAccounts[0].Password + demoAccounts[1].Password} {
			if _, ok := signInDemo(t.Context(), a.Name, wrong, ""); ok {
				t.Errorf("%s signs in with %q", a.Name, wrong)
			}
		}
	}
	if _, ok := signInDemo(t.Context(), "nobody", demoAccounts[0].Password, ""); ok {
		t.Error("nobody signs in")
	}
}

// TestDemoProviderUsers: the users of a file sign in, and nobody else.
func TestDemoProviderUsers(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	u, err := auth.NewUsers(fmt.Appendf(nil, "users:\n  - {name: ann, password: %q, groups: [g1, g2]}\n  - {name: bob, password: %q, totp: JBSWY3DPEHPK3PXP}\n", hash, hash), new(auth.Attempts), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	signIn := signInWith(u)
	if who, ok := signIn(t.Context(), "ann", "secret", ""); !ok || who.Name != "ann" || !slices.Equal(who.Groups, []string{"g1", "g2"}) {
		t.Errorf("%+v, %t", who, ok)
	}
	for name, password := range map[string]string{"ann": "wrong", "bob": "secret", "carol": "secret", demoAccounts[0].Name: demoAccounts[0].Password} {
		if who, ok := signIn(t.Context(), name, password, ""); ok {
			t.Errorf("%s signs in as %+v", name, who)
		}
	}
	code, err := totp.GenerateCode("JBSWY3DPEHPK3PXP", now)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, password, code string
		want                 bool
	}{
		{"bob", "secret", "000000", false},
		{"bob", "wrong", code, false},
		{"bob", "secret", code, true},
		{"bob", "secret", code, false}, // once
		{"ann", "secret", code, true},  // who has none
	} {
		if who, ok := signIn(t.Context(), tc.name, tc.password, tc.code); ok != tc.want || ok && who.Name != tc.name {
			t.Errorf("%+v: %+v, %t", tc, who, ok)
		}
	}
}
