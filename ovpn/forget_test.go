package ovpn_test

import (
	"errors"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/push"
)

// A password that the client forgot is sent by no negotiation, whichever end begins it; a token
// serves instead.
func TestForget(t *testing.T) {
	for _, tc := range []struct {
		name   string
		token  push.Secret
		server bool // begins
	}{
		{"client begins", "", false}, {"server begins", "", true}, {"with a token", "token", false}, {"with a token, server begins", "token", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := setup(t)
			c.Username, c.Password = "alice", "once"
			p := ovpntest.NewPair(t, c, s, quiet, 1)
			var seen []push.Secret
			p.OnServer = func(ev ovpn.Event) bool {
				if cred, ok := ev.(ovpn.Credentials); ok {
					seen = append(seen, cred.Password)
				}
				return false
			}
			if !p.Run(20*time.Second, p.Up) {
				t.Fatalf("client %v, server %v", p.Client.Err, p.Server.Err)
			}
			if tc.token != "" {
				if err := p.Server.Session.PushToken(p.Now, tc.token); err != nil {
					t.Fatal(err)
				}
			}
			p.Run(3*time.Second, nil) // both ends use the first key
			p.Client.Session.Forget()
			if user, password := p.Client.Session.SignsInAs(); user != "alice" || password != tc.token {
				t.Errorf("the client is %q, and its password has %d bytes", user, len(password))
			}
			from := p.Client.Session
			if tc.server {
				from = p.Server.Session
			}
			if err := from.Renegotiate(p.Now); err != nil {
				t.Fatal(err)
			}
			p.Run(10*time.Second, nil)
			var e *ovpn.ProtocolError
			switch {
			case tc.token == "" && (!errors.As(p.Client.Err, &e) || e.Cause != ovpn.CauseForgotten || len(seen) != 1):
				t.Errorf("client %v; the server saw %d passwords", p.Client.Err, len(seen))
			case tc.token != "" && (p.Client.Err != nil || len(seen) != 2 || seen[1] != tc.token):
				t.Errorf("client %v; the server saw %d passwords", p.Client.Err, len(seen))
			}
		})
	}
}

// A client without a renegotiation interval, as AWS has it, lets a person take minutes; a server that
// asks once more gets the time anew.
func TestPendingPatience(t *testing.T) {
	c, s := setup(t)
	s.Renegotiate = time.Hour
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	p.OnServer = func(ev ovpn.Event) bool {
		_, ok := ev.(ovpn.Credentials)
		if ok {
			if err := p.Server.Session.Pending(p.Now, 5*time.Minute, "CR_TEXT:R:one"); err != nil {
				t.Error(err)
			}
		}
		return ok
	}
	p.Run(4*time.Minute, nil)
	if err := p.Server.Session.Pending(p.Now, 5*time.Minute, "CR_TEXT:R:two"); err != nil {
		t.Fatal(err)
	}
	p.Run(4*time.Minute, nil)
	if err := p.Server.Session.Accept(p.Now, 0); err != nil {
		t.Fatal(err)
	}
	if !p.Run(20*time.Second, p.Up) {
		t.Fatalf("client %v, server %v", p.Client.Err, p.Server.Err)
	}
}
