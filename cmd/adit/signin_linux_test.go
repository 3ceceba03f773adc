package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/platform/outputtest"
)

// screen is what a terminal has shown.
type screen struct{ outputtest.Output }

// await waits until text was shown n times.
func (s *screen) await(t *testing.T, text string, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); strings.Count(s.String(), text) < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q was not shown %d times:\n%s", text, n, s.String())
		}
	}
}

// person sits at a terminal with a service on a socket.
type person struct {
	t      *testing.T
	client *api.Client
	screen *screen
	master *os.File
	exit   chan int
	run    func(args ...string) // one more command at the same terminal
}

// sitDown starts a service and "adit ARGS" at a terminal.
func sitDown(t *testing.T, mode string, args ...string) *person {
	t.Helper()
	dir, err := os.MkdirTemp("", "adit-") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := ipc.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	fake := newFakeService(mode)
	fake.texts["work"] = "remote vpn.example.com"
	go func() { served <- api.NewServer(fake, everybody, slog.New(slog.DiscardHandler)).Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-served })

	p := &person{t: t, client: api.NewClient(socket), screen: &screen{}, master: terminal(t), exit: make(chan int, 1)}
	t.Cleanup(p.client.Close)
	go io.Copy(p.screen, p.master) // until the terminal is closed
	p.run = func(args ...string) {
		go func() {
			p.exit <- execute(ctx, append([]string{"--socket", socket}, args...), func(string) string { return "" }, os.Stderr, os.Stderr)
		}()
	}
	p.run(args...)
	return p
}

// enter waits for the n-th prompt of that text and types.
func (p *person) enter(prompt string, n int, text string) {
	p.t.Helper()
	p.screen.await(p.t, prompt, n)
	if _, err := p.master.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) exits(code int) {
	p.t.Helper()
	select {
	case got := <-p.exit:
		if got != code {
			p.t.Errorf("exit code %d, want %d:\n%s", got, code, p.screen)
		}
	case <-time.After(20 * time.Second):
		p.t.Fatalf("adit goes on:\n%s", p.screen)
	}
}

// state is the tunnel's, "" when there is none.
func (p *person) state() api.State {
	p.t.Helper()
	s, err := p.client.Status(context.Background())
	if err != nil {
		p.t.Fatal(err)
	}
	if len(s.Connections) == 0 {
		return ""
	}
	return s.Connections[0].State
}

func TestConnectAsksAtTheTerminal(t *testing.T) {
	p := sitDown(t, "login", "connect", "work")
	p.enter("user name: ", 1, "ann\r")
	p.enter("password for ann: ", 1, "not-this\r")
	p.screen.await(t, "note: the server did not accept user name and password", 1)
	p.enter("user name: ", 2, "ann\r")
	p.enter("password for ann: ", 2, "\r") // Enter alone is no password
	p.enter("password for ann: ", 3, "hunter2\r")
	p.exits(0)
	p.screen.await(t, "connected work", 1)
	if text := p.screen.String(); strings.Contains(text, "hunter2") || strings.Contains(text, "not-this") {
		t.Errorf("the terminal shows a password:\n%s", text)
	}
}

func TestConnectAsksForACode(t *testing.T) {
	p := sitDown(t, "otp", "connect", "work")
	p.enter("Enter MFA [2J code: ", 1, "\r") // what the server wrote is shown without its escapes
	p.enter("Enter MFA [2J code: ", 2, "123456\r")
	p.exits(0)
}

// TestPasteAtThePrompt: all lines at once answer all prompts.
func TestPasteAtThePrompt(t *testing.T) {
	p := sitDown(t, "login", "connect", "work")
	p.enter("user name: ", 1, "ann\rhunter2\r")
	p.exits(0)
}

// TestCtrlCAtThePrompt takes the wish back.
func TestCtrlCAtThePrompt(t *testing.T) {
	p := sitDown(t, "login", "connect", "work")
	p.enter("user name: ", 1, "ann\r")
	p.enter("password for ann: ", 1, "hal\x03")
	p.exits(1)
	p.screen.await(t, "adit: interrupted; work is disconnected again", 1)
	if got := p.state(); got != "" {
		t.Errorf("state %q", got)
	}
}

// TestSomebodyElseAnswers: another user interface is faster; the prompt goes away.
func TestSomebodyElseAnswers(t *testing.T) {
	p := sitDown(t, "login", "connect", "work")
	p.screen.await(t, "user name: ", 1)
	if err := p.client.Answer(t.Context(), api.Answer{Profile: "work", ID: "q", Username: "ann", Password: "hunter2"}); err != nil {
		t.Fatal(err)
	}
	p.exits(0)
	p.screen.await(t, "connected work", 1)
}

// TestAttachAndLeave: whoever finds a connection that waits is asked too, and takes nothing back.
func TestAttachAndLeave(t *testing.T) {
	p := sitDown(t, "login", "status")
	p.exits(0)
	if err := p.client.Connect(t.Context(), api.ConnectRequest{Profile: "work"}); err != nil {
		t.Fatal(err)
	}
	p.run("connect", "work")
	p.enter("user name: ", 1, "\x03")
	p.exits(1)
	p.screen.await(t, "adit: interrupted; work goes on as before", 1)
	if got := p.state(); got != api.NeedsLogin {
		t.Errorf("state %q", got)
	}
	p.run("status")
	p.exits(0)
	p.screen.await(t, "asks     a user name and a password", 1)
}

// TestAttachWithFlags: what the flags give is tried, though somebody else's answer was refused before.
func TestAttachWithFlags(t *testing.T) {
	p := sitDown(t, "login", "status")
	p.exits(0)
	if err := p.client.Connect(t.Context(), api.ConnectRequest{Profile: "work"}); err != nil {
		t.Fatal(err)
	}
	if err := p.client.Answer(t.Context(), api.Answer{Profile: "work", ID: "q", Username: "ann", Password: "not-this"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("connect", "work", "--user", "ann", "--password-file", file)
	p.exits(0)
	p.screen.await(t, "connected work", 1)
	if text := p.screen.String(); strings.Contains(text, "password for") {
		t.Errorf("asked all the same:\n%s", text)
	}
}
