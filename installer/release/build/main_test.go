package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"github.com/adit-vpn/adit/installer/manifest"
)

func none(string) string { return "" }

// TestSign: the signature is one that adit and the program minisign take, and the key is the one that programs know.
func TestSign(t *testing.T) {
	dir := t.TempDir()
	m := manifest.Manifest{Version: "1.2.3", Released: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
	text, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	_, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := private.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "release.key")
	at := filepath.Join(dir, "manifest.json")
	for path, content := range map[string][]byte{key: append(secret, '\n'), at: text} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	public := manifest.Public(private)
	if err := run([]string{"sign", "-key", key, "-expect", public.String(), dir}, none); err != nil {
		t.Fatal(err)
	}
	signature, err := os.ReadFile(at + manifest.Suffix)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := manifest.Open(text, signature, public); err != nil || got.Version != "1.2.3" {
		t.Errorf("%v, %v", got.Version, err)
	}
	if _, err := exec.LookPath("minisign"); err == nil {
		if out, err := exec.Command("minisign", "-V", "-P", public.String(), "-m", at).CombinedOutput(); err != nil || !strings.Contains(string(out), "adit 1.2.3") {
			t.Errorf("minisign: %v: %s", err, out)
		}
	} else if os.Getenv("CI") == "true" {
		t.Error(err)
	}

	other, _, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"sign", "-key", key, "-expect", other.String(), dir}, none); err == nil || !strings.Contains(err.Error(), "would refuse their own manifest") {
		t.Errorf("another key: %v", err)
	}
	locked, err := minisign.EncryptKey("secret", private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, locked, 0o600); err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = nil // no terminal
	defer func() { os.Stdin = stdin }()
	if err := run([]string{"sign", "-key", key, dir}, none); err == nil || !strings.Contains(err.Error(), "asked for at a terminal") {
		t.Errorf("a passphrase without a terminal: %v", err)
	}
}

func TestWrongUse(t *testing.T) {
	for want, args := range map[string][]string{
		"say what to make":             nil,
		"there is no publish":          {"publish"},
		"finish needs the directory":   {"finish", "-version", "1.2.3"},
		"SOURCE_DATE_EPOCH is not set": {"finish", "-version", "1.2.3", "dist"},
		"compare needs two":            {"compare", "one"},
		"notice needs":                 {"notice", "x"},
		"no such file":                 {"sign", "-key", "gone", t.TempDir()},
	} {
		if err := run(args, none); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
