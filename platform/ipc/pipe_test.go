package ipc

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func TestPipeName(t *testing.T) {
	for path, want := range map[string]string{
		`\\.\pipe\adit`: `\\.\pipe\adit`, `\\.\PIPE\Mine`: `\\.\pipe\Mine`, `//./pipe/adit`: `\\.\pipe\adit`,
	} {
		if got, derived, err := pipeName(path); got != want || derived || err != nil {
			t.Errorf("%s: %s, %v, %v", path, got, derived, err)
		}
	}
	seen := map[string]string{}
	for _, path := range []string{`C:\data\control.sock`, `C:\data2\control.sock`, `\\server\pipe\x`, `\\.\pip`} {
		got, derived, err := pipeName(path)
		if err != nil || !derived || !strings.HasPrefix(got, `\\.\pipe\adit-`) || len(got) != len(`\\.\pipe\adit-`)+32 || seen[got] != "" {
			t.Errorf("%s: %s, %v, %v", path, got, derived, err)
		}
		seen[got] = path
	}
	upper, _, _ := pipeName(`c:/DATA/control.sock`)
	if seen[upper] != `C:\data\control.sock` {
		t.Errorf("the same file has two pipes: %s", upper)
	}
	for _, path := range []string{`\\.\pipe\`, `\\.\pipe\a\b`, `\\.\pipe\..\x`, "\\\\.\\pipe\\a\x00b", `\\.\pipe\` + strings.Repeat("x", 300)} {
		if got, _, err := pipeName(path); err == nil {
			t.Errorf("%q is the pipe %s", path, got)
		}
	}
}

func TestPipeRights(t *testing.T) {
	const user = "S-1-5-21-1-2-3-1001"
	for _, c := range []struct {
		mode fs.FileMode
		user Account
		root bool
		want string
	}{
		{0o666, system, true, "O:SYD:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;0x12019b;;;IU)"},
		{0o666, user, true, "O:BAD:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;0x12019b;;;IU)"},
		{0o600, user, true, "O:BAD:P(A;;GA;;;SY)(A;;GA;;;BA)"},
		{0o600, user, false, "O:" + user + "D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;" + user + ")"},
	} {
		if got := pipeRights(c.mode, c.user, c.root); got != c.want {
			t.Errorf("%v %s %v: %s, want %s", c.mode, c.user, c.root, got, c.want)
		}
	}
}

func TestBelieves(t *testing.T) {
	const me, other = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
	for _, c := range []struct {
		name    string
		derived bool
		owner   Account
		want    bool
	}{
		{defaultPipe, false, system, true},
		{defaultPipe, false, administrators, true},
		{defaultPipe, false, me, false},
		{defaultPipe, false, other, false},
		{`\\.\pipe\ADIT`, false, other, false},
		{`\\.\pipe\adit-0123`, true, me, true},
		{`\\.\pipe\adit-0123`, true, system, true},
		{`\\.\pipe\adit-0123`, true, other, false},
		{`\\.\pipe\mine`, false, other, true},
	} {
		if err := believes(c.name, c.derived, c.owner, me); (err == nil) != c.want || err != nil && !errors.Is(err, ErrImpostor) {
			t.Errorf("%s of %s: %v", c.name, c.owner, err)
		}
	}
	if believes("x", true, "", "") == nil {
		t.Error("nobody is believed")
	}
}

func TestToken(t *testing.T) {
	const person = "S-1-5-21-1-2-3-1001"
	for _, c := range []struct {
		name                  string
		token                 token
		root, person, console bool // the console's session is 2
	}{
		{"the service itself", token{system, []string{administrators}, 0}, true, false, false},
		{"SYSTEM without groups", token{system, nil, 0}, true, false, false},
		{"a user at the screen", token{person, []string{interactive}, 2}, false, true, true},
		{"the same by remote desktop", token{person, []string{interactive}, 3}, false, true, false},
		{"an elevated administrator", token{person, []string{administrators, interactive}, 2}, true, true, true},
		{"a scheduled task of a user", token{person, nil, 2}, false, false, false},
		{"an Entra ID account", token{"S-1-12-1-1-2-3-4", []string{interactive}, 2}, false, true, true},
		{"Guest", token{"S-1-5-21-1-2-3-501", []string{interactive}, 2}, false, false, false},
		{"the window manager", token{"S-1-5-90-0-2", []string{interactive}, 2}, false, false, false},
		{"LOCAL SERVICE", token{"S-1-5-19", nil, 0}, false, false, false},
		{"a person in the services' session", token{person, []string{interactive}, 0}, false, true, false},
	} {
		if c.token.root() != c.root || c.token.person() != c.person || c.token.atConsole(2) != c.console {
			t.Errorf("%s: root %v, person %v, console %v", c.name, c.token.root(), c.token.person(), c.token.atConsole(2))
		}
	}
	if (token{person, []string{interactive}, 0}).atConsole(0) {
		t.Error("the services' session is a screen")
	}
}
