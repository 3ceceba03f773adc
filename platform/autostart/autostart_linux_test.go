package autostart

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func entry() Entry {
	return Entry{ID: "org.example.App", Name: "Example App", Program: "/opt/a b/100$x`\"\\app", Args: []string{"--hidden", "é"}}
}

// TestSet puts the program into the list and takes it out, more than once.
func TestSet(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	e := entry()
	for _, on := range []bool{false, true, true, false, false, true} {
		if err := e.Set(on); err != nil {
			t.Fatal(err)
		}
		if got, err := e.Enabled(); got != on || err != nil {
			t.Fatalf("enabled is %t, %v; want %t", got, err, on)
		}
	}
	file := filepath.Join(dir, "autostart", "org.example.App.desktop")
	for _, line := range []string{"Hidden=true\n", "X-GNOME-Autostart-enabled = false\n"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, line...), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := e.Enabled(); got || err != nil {
			t.Errorf("with %q enabled is %t, %v", line, got, err)
		}
		if err := e.Set(true); err != nil { // which switches it on again
			t.Fatal(err)
		}
		if got, err := e.Enabled(); !got || err != nil {
			t.Errorf("set again, enabled is %t, %v", got, err)
		}
	}
}

// TestExec: the program is found again by the rules of the specification, which GLib follows.
func TestExec(t *testing.T) {
	gio, err := exec.LookPath("gio")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("gio is missing: apt-get install libglib2.0-bin")
		}
		t.Skip("gio is missing")
	}
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	out := filepath.Join(dir, "out")
	program := filepath.Join(dir, "a b", "100$x`\"\\app")
	if err := os.Mkdir(filepath.Dir(program), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("#!/bin/sh\nfor a; do echo \"$a\"; done >\""+out+".part\"\nmv \""+out+".part\" \""+out+"\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	e := Entry{ID: "org.example.App", Name: "Example", Program: program, Args: []string{"--hidden", `a "b" $c \d 50%`}}
	if err := e.Set(true); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command(gio, "launch", filepath.Join(dir, "autostart", e.ID+".desktop")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for range 200 {
		if text, err := os.ReadFile(out); err == nil {
			if want := strings.Join(e.Args, "\n") + "\n"; string(text) != want {
				t.Errorf("the program got %q, want %q", text, want)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the program was not started")
}

// TestRefused: nothing that could break out of the list's format gets into it.
func TestRefused(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, change := range []func(*Entry){
		func(e *Entry) { e.Program = "app" }, func(e *Entry) { e.Program = "/opt/100%/app" }, func(e *Entry) { e.Program += "\nHidden=true" }, func(e *Entry) { e.Args = []string{"a\nb"} },
		func(e *Entry) { e.Name = "x\nExec=y" }, func(e *Entry) { e.ID = "../x" }, func(e *Entry) { e.ID = "" }, func(e *Entry) { e.Name = "" },
	} {
		e := entry()
		change(&e)
		if err := e.Set(true); err == nil {
			t.Errorf("%+v is taken", e)
		}
	}
}
