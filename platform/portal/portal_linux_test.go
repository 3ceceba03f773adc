package portal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCleanURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://portal.example.com/api":         "https://portal.example.com/api",
		"http://192.0.2.1/\x00":                  "http://192.0.2.1/",
		"urn:ietf:params:capport:unrestricted":   "",
		"https://me:secret@portal.example.com/":  "",
		"file:///etc/passwd":                     "",
		"https://":                               "",
		"https://x/" + strings.Repeat("a", 1000): "",
		"\x1b[31m":                               "",
	} {
		if got := cleanURL(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestJudge(t *testing.T) {
	const address = "https://portal.example.com/"
	for _, c := range []struct {
		found   connectivity
		address string
		want    State
	}{
		{unsure, "", State{}},
		{unsure, address, State{URL: address}},
		{captive, "", State{Captive: true}},
		{captive, address, State{Captive: true, URL: address}},
		{free, address, State{}},
	} {
		if got := judge(c.found, c.address); got != c.want {
			t.Errorf("%v %q: %+v, want %+v", c.found, c.address, got, c.want)
		}
	}
}

// TestLookWithoutManagers: networkd's notes alone, and nothing at all. NetworkManager really runs in the lab.
func TestLookWithoutManagers(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Bus: "unix:path=" + filepath.Join(dir, "none"), Links: filepath.Join(dir, "links")}
	if got := Look(t.Context(), cfg); got != (State{}) {
		t.Errorf("with nothing: %+v", got)
	}
	if err := os.Mkdir(cfg.Links, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"2": "ADMIN_STATE=configured\n", "3": "ADMIN_STATE=configured\nCAPTIVE_PORTAL=https://portal.example.com/\n"} {
		if err := os.WriteFile(filepath.Join(cfg.Links, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := Look(t.Context(), cfg); got != (State{URL: "https://portal.example.com/"}) {
		t.Errorf("%+v", got)
	}
}
