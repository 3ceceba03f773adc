package demo

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// build makes the real server.
func build(t *testing.T) (program string) {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir, "github.com/adit-vpn/adit/cmd/adit-endpoint").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "adit-gui")
}

// TestStart: the real server gives a profile that can be used, a second start the same one; after Close nothing
// listens, and another start works.
func TestStart(t *testing.T) {
	program, data := build(t), t.TempDir()
	s := Find(program, data)
	if s == nil {
		t.Fatal("the server is not found beside the app")
	}
	defer s.Close()
	if s.Serves(api.Profile{}) {
		t.Error("it has a profile before it has run")
	}
	var first string
	var stored api.Profile
	for range 2 {
		for range 2 {
			text, err := s.Start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if first == "" {
				first = text.Text
			}
			if text.Text != first || text.Name != profileName {
				t.Errorf("another profile: %s", text.Name)
			}
			if stored = storedProfile(t, text.Text); !s.Serves(stored) || stored.Remotes[0] != s.listen+"/udp" {
				t.Fatalf("the profile has %q, the server %s", stored.Remotes, s.listen)
			}
		}
		if _, err := net.ListenPacket("udp4", s.listen); err == nil {
			t.Error("nothing listens")
		}
		s.Close()
		c, err := net.ListenPacket("udp4", s.listen)
		if err != nil {
			t.Fatal("the server still listens: ", err)
		}
		c.Close()
	}
	again := Find(program, data) // the app's next start
	defer again.Close()
	managed, wider := stored, stored
	managed.Managed, wider.Remotes = true, append(slices.Clone(stored.Remotes), "192.0.2.1:1194/udp")
	if !again.Serves(stored) || again.Serves(managed) || again.Serves(wider) || again.Serves(api.Profile{}) {
		t.Error("its own profile is not known, or another's is")
	}
	if text, err := again.Start(t.Context()); err != nil || text.Text != first {
		t.Errorf("another profile after the app's end: %v", err)
	}
	again.Close()
	taken, err := net.ListenPacket("udp4", again.listen)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	text, err := again.Start(t.Context())
	if err != nil || again.Serves(stored) || !again.Serves(storedProfile(t, text.Text)) {
		t.Errorf("on another port: %v, %s", err, text.Text)
	}
	if next := Find(program, data); next.listen != again.listen {
		t.Errorf("%s is remembered, it listens on %s", next.listen, again.listen)
	}
	again.Close()
	for _, wrong := range []string{"", "x", "192.0.2.1:1194\n"} {
		if err := os.WriteFile(again.listenFile(), []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		if s := Find(program, data); s.listen != "" {
			t.Errorf("%q is taken for an address: %s", wrong, s.listen)
		}
	}
}

// storedProfile is what the service lists of a profile.
func storedProfile(t *testing.T, text string) api.Profile {
	t.Helper()
	p, err := profile.Parse("demo", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	out := api.Profile{Name: "demo"}
	for _, r := range p.Remotes {
		out.Remotes = append(out.Remotes, fmt.Sprintf("%s:%d/%s", r.Host, r.Port, r.Proto))
	}
	return out
}

// TestTwice: a second server on the same data says so, and leaves the first alone.
func TestTwice(t *testing.T) {
	program, data := build(t), t.TempDir()
	first, second := Find(program, data), Find(program, data)
	defer first.Close()
	defer second.Close()
	if _, err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "another adit-endpoint runs") {
		t.Errorf("the second one: %v", err)
	}
	if !first.running() {
		t.Error("the first one has ended")
	}
}

// TestGivesUp: with its context, and when the program is no server.
func TestGivesUp(t *testing.T) {
	dir := t.TempDir()
	if Find(filepath.Join(dir, "adit-gui"), dir) != nil {
		t.Error("a server is found where there is none")
	}
	if runtime.GOOS == "windows" {
		return
	}
	write := func(script string) *Server {
		if err := os.WriteFile(filepath.Join(dir, "adit-endpoint"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
		return Find(filepath.Join(dir, "adit-gui"), dir)
	}
	if _, err := write("echo 'adit-endpoint: no room' >&2; exit 1").Start(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "start: no room") {
		t.Errorf("a server that fails: %v", err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	s := write("exec sleep 60")
	if _, err := s.Start(ctx); err == nil {
		t.Error("a server that is never ready is")
	}
	if s.running() {
		t.Error("it was left behind")
	}
}
