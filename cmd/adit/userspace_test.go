//go:build !nouserspace

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

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
