package client

import (
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/portal"
)

// TestCaptivePortal: a network that wants a sign-in is named, its pause is short, and a server that answers is not blamed for it.
func TestCaptivePortal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		set := func(p portal.State) { st.mu.Lock(); defer st.mu.Unlock(); st.portal = p }
		s.set(func() { s.silent = true })
		st.add(alice, "work", s.profile(remoteUDP))
		set(portal.State{Captive: true, URL: "https://portal.example.com/"})
		st.connect(alice, "work")
		got := st.until(alice, "work", "captive", 2*time.Minute, func(c api.Connection) bool {
			return c.Problem != nil && c.Problem.Code == api.CodeCaptivePortal
		})
		if got.State != api.Connecting || !strings.Contains(got.Problem.Message, "at https://portal.example.com/") || strings.Contains(got.Problem.Hint, "guard") {
			t.Errorf("%s: %+v", got.State, got.Problem)
		}
		time.Sleep(time.Hour) // it backs off to no more than that
		s.set(func() { s.silent = false })
		st.untilState(alice, "work", api.Connected, handshakeDefault+portalPause+2*time.Second)
		if err := st.Disconnect(t.Context(), alice, "work"); err != nil {
			t.Fatal(err)
		}

		// Behind a full guard the hint says what helps; and the caller's time limit hides it not.
		set(portal.State{Captive: true})
		s.set(func() { s.silent = true })
		st.add(alice, "all", s.profile(remoteUDP+"\nredirect-gateway def1"))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "all", Timeout: 5 * time.Second}); err != nil {
			t.Fatal(err)
		}
		conn := st.blocked(alice, "all", api.CodeCaptivePortal)
		if !strings.Contains(conn.Problem.Hint, "; connect again then") || strings.Contains(conn.Problem.Hint, "by itself") {
			t.Errorf("it promises what does not come: %+v", conn.Problem)
		}
		if !strings.Contains(conn.Problem.Hint, "\nthe guard of all blocks web pages meanwhile") {
			t.Errorf("%+v", conn.Problem)
		}

		// What would end the connection without the portal, does not with it: a name that is not found, a refused handshake.
		at := &connection{wiring: wiring{portal: st.cfg.Portal}}
		for _, v := range []verdict{again, absent, stop} {
			f := at.captive(t.Context(), fail(v, api.CodeTLSFailed, nil, nil))
			if f.verdict != retry || !strings.Contains(f.problem.Hint, "; the connection is tried again by itself") {
				t.Errorf("verdict %d becomes %d: %+v", v, f.verdict, f.problem)
			}
		}

		// A page that the network only names hides nothing: the failure and its verdict stay.
		set(portal.State{URL: "https://portal.example.com/"})
		f := at.captive(t.Context(), fail(again, api.CodeTLSFailed, map[string]string{"server": "vpn.example.com"}, nil))
		plain := api.NewProblem(api.CodeTLSFailed, map[string]string{"server": "vpn.example.com"})
		if f.verdict != again || f.problem.Code != plain.Code || f.problem.Message != plain.Message ||
			!strings.HasPrefix(f.problem.Hint, plain.Hint+"\n") || !strings.Contains(f.problem.Hint, "https://portal.example.com/") {
			t.Errorf("%d: %+v", f.verdict, f.problem)
		}

		// A refusal has another reason.
		s.set(func() { s.silent, s.refused = false, false })
		if f = at.captive(t.Context(), fail(stop, api.CodeAuthFailed, nil, nil)); f.problem.Code != api.CodeAuthFailed {
			t.Errorf("%+v", f.problem)
		}
	})
}
