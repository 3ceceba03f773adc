package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/push"
)

// TestReadSecret: what is too long is never cut and tried, which would count against the account.
func TestReadSecret(t *testing.T) {
	longest := strings.Repeat("p", maxPassphrase)
	for _, c := range []struct{ name, text, want, problem string }{
		{name: "one line", text: "hunter2\n", want: "hunter2"},
		{name: "no newline", text: "hunter2", want: "hunter2"},
		{name: "more lines, from Windows", text: "hunter2\r\nmore\r\n", want: "hunter2"},
		{name: "empty"},
		{name: "longest", text: longest + "\r\n", want: longest},
		{name: "longest, no newline", text: longest, want: longest},
		{name: "too long", text: longest + "p\n", problem: "longer than 1024 bytes"},
		{name: "far too long", text: longest + longest + longest, problem: "longer than 1024 bytes"},
	} {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readSecret(file, "password")
		if got != push.Secret(c.want) || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %d bytes, error %v", c.name, len(got), err)
		}
		if err != nil && strings.Contains(err.Error(), "pp") {
			t.Errorf("%s: the error has the secret in it: %v", c.name, err)
		}
	}
	if _, err := readSecret(t.TempDir(), "password"); err == nil || !strings.Contains(err.Error(), "cannot read the password") {
		t.Errorf("a directory: %v", err)
	}
}

// TestEndIsNoRetry: a tunnel that is being ended shows its last problem, and does not try again.
func TestEndIsNoRetry(t *testing.T) {
	for state, says := range map[api.State]bool{
		api.Connecting: true, api.Reconnecting: true,
		api.NeedsLogin: false, api.Disconnecting: false, api.Disconnected: false, api.Blocked: false,
	} {
		var b bytes.Buffer
		f := &foreground{out: printer{out: &b, err: &b}, asker: &asker{}, seen: t.Context()}
		c := api.Connection{State: state, Problem: &api.Problem{Message: "no"}}
		f.onStatus(c)
		if got := strings.Contains(b.String(), "trying again"); got != says {
			t.Errorf("%s: %q", state, b.String())
		}
		if retries(api.Connection{State: state}) {
			t.Errorf("%s: there is no problem", state)
		}
	}
}

// TestRetyped: a hint to connect again can be typed as it stands.
func TestRetyped(t *testing.T) {
	args := map[string]string{"reason": "go away", "profile": "work"}
	for _, tc := range []struct {
		err  error
		hint string
	}{
		{api.NewProblem(api.CodeSessionEnded, args), "connect again with: adit connect 'my work.ovpn' --userspace"},
		{api.NewProblem(api.CodeSignInCancelled, args), "connect again with: adit connect 'my work.ovpn' --userspace"},
		{api.NewProblem(api.CodeServerRefused, args), "ask the server's administrator why; the server's log names the reason"},
	} {
		if got := api.AsProblem(retyped(tc.err, "my work.ovpn")); got.Hint != tc.hint || got.Message != tc.err.Error() {
			t.Errorf("%q, hint %q; want %q", got.Message, got.Hint, tc.hint)
		}
	}
	if err := retyped(errStopped, "x"); err != errStopped {
		t.Errorf("%v", err)
	}
	if retyped(nil, "x") != nil {
		t.Error("an error out of nothing")
	}
}
