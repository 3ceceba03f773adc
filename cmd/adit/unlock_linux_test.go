package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/ovpn/profile"
)

// TestPromptEndsWithCtrlC types at a terminal: main catches SIGINT, so a prompt that
// waits for a signal would stay.
func TestPromptEndsWithCtrlC(t *testing.T) {
	master := terminal(t)
	k := newKeyboard()
	for _, tc := range []struct {
		typed, want string
		err         error
	}{
		{"half\x03", "", errStopped},
		{"geheim\r", "geheim", nil},
		{"\r", "", nil},
		{"\x04", "", errStopped},
	} {
		type answer struct {
			text string
			err  error
		}
		answers := make(chan answer, 1)
		go func() {
			text, err := k.ask(t.Context(), "passphrase: ", false)
			answers <- answer{text.Reveal(), err}
		}()
		if err := waitForPrompt(master); err != nil {
			t.Fatal(err)
		}
		if _, err := master.WriteString(tc.typed); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-answers:
			if got.err != tc.err || got.text != tc.want {
				t.Errorf("typed %q: got %q, %v; want %q, %v", tc.typed, got.text, got.err, tc.want, tc.err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("typed %q: the prompt is still there", tc.typed)
		}
	}
}

// TestPassphraseInterrupted: a signal during the prompt ends it, and the terminal is as it was.
func TestPassphraseInterrupted(t *testing.T) {
	master := terminal(t)
	before, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Parse("work", []byte("client\nremote a\n<key>\n-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n</key>\n"), nil)
	if err != nil || !p.Locked() {
		t.Fatal(err)
	}
	k := newKeyboard()
	a := &app{keyboard: func() *keyboard { return k }, out: printer{io.Discard, io.Discard}}
	ctx, signal := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := a.unlock(ctx, p, passphraseFile{}, "it is a test's")
		ended <- err
	}()
	if err := waitForPrompt(master); err != nil {
		t.Fatal(err)
	}
	signal()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want it to be interrupted", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the prompt is still there")
	}
	after, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal is %+v, want %+v (%v)", after, before, err)
	}
}

// TestImportFromAsks: each prompt names its profile; Enter alone leaves that one out, Ctrl-C ends the command.
func TestImportFromAsks(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "three", "two"} {
		text := "client\nremote a\n<key>\n-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n</key>\n"
		if err := os.WriteFile(filepath.Join(dir, name+".ovpn"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := sitDown(t, "up", "import", "--from", "openvpn", dir)
	p.enter("passphrase of the private key of one (empty to give up): ", 1, "\r")
	p.enter("passphrase of the private key of three (empty to give up): ", 1, "half\x03")
	p.exits(1)
	p.screen.await(t, "adit: interrupted", 1)
	text := p.screen.String()
	if !strings.Contains(text, "refused   one: no passphrase was typed") || strings.Contains(text, "refused   three") || strings.Contains(text, "key of two") {
		t.Errorf("the terminal shows:\n%s", text)
	}
}

// terminal gives this process a terminal of the test's: what is shown is read from master, and
// what is typed is written there.
func terminal(t *testing.T) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	stdin, stderr := os.Stdin, os.Stderr
	os.Stdin, os.Stderr = slave, slave
	t.Cleanup(func() { os.Stdin, os.Stderr = stdin, stderr })
	return master
}

// waitForPrompt reads until the prompt's end: what is typed before the terminal is raw
// would be a signal, and echoed.
func waitForPrompt(master *os.File) error {
	if err := master.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	var seen []byte
	for b := make([]byte, 64); ; {
		n, err := master.Read(b)
		if err != nil {
			return err
		}
		if seen = append(seen, b[:n]...); len(seen) > 0 && seen[len(seen)-1] == ' ' {
			return nil
		}
	}
}
