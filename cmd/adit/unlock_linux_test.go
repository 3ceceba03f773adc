package main

import (
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPromptEndsWithCtrlC types at a terminal: main catches SIGINT, so a prompt that
// waits for a signal would stay.
func TestPromptEndsWithCtrlC(t *testing.T) {
	master := terminal(t)
	k := newKeyboard()
	for _, tc := range []struct{ typed, want string }{
		{"half\x03", ""},
		{"geheim\r", "geheim"},
		{"\x04", ""},
	} {
		type answer struct {
			text string
			err  error
		}
		answers := make(chan answer, 1)
		go func() {
			text, err := k.secret("passphrase: ")
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
			if got.err != nil || got.text != tc.want {
				t.Errorf("typed %q: got %q, %v; want %q", tc.typed, got.text, got.err, tc.want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("typed %q: the prompt is still there", tc.typed)
		}
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
