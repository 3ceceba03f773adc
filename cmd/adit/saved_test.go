package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/secrets"
)

// memory is a keychain for one profile.
type memory struct {
	kept  map[string]push.Secret
	last  string
	err   error
	calls []string
}

func (m *memory) Get(_ context.Context, _, user string) (secrets.Login, error) {
	m.calls = append(m.calls, "get")
	if m.err != nil {
		return secrets.Login{}, m.err
	}
	if user == "" {
		user = m.last
	}
	password, ok := m.kept[user]
	if !ok {
		return secrets.Login{}, secrets.ErrNotFound
	}
	return secrets.Login{User: user, Password: password}, nil
}

func (m *memory) Set(_ context.Context, _ string, l secrets.Login) error {
	m.calls = append(m.calls, "set")
	if m.err == nil {
		m.kept[l.User], m.last = l.Password, l.User
	}
	return m.err
}

func (m *memory) Forget(_ context.Context, _, user string) error {
	m.calls = append(m.calls, "forget")
	delete(m.kept, user)
	return m.err
}

func (m *memory) ForgetAll(context.Context, string) error {
	m.calls = append(m.calls, "forget all")
	clear(m.kept)
	return m.err
}

// TestSavedPassword: one row is one sign-in, question by question.
func TestSavedPassword(t *testing.T) {
	refused := api.NewProblem(api.CodePasswordRefused, map[string]string{"what": "user name and password"})
	expired := api.NewProblem(api.CodeSignInExpired, nil)
	code := api.NewProblem(api.CodeCodeRefused, nil)
	type question struct {
		problem *api.Problem
		login   api.Login
		want    string // user and password of the answer, or the error's code
	}
	ask := api.Login{ID: "q", Kind: api.LoginPassword, NeedUser: true}
	known := api.Login{ID: "q", Kind: api.LoginPassword, User: "ann"}
	twoFactor := api.Login{ID: "q", Kind: api.LoginPassword, User: "ann", Challenge: "Code"}
	otp := api.Login{ID: "q", Kind: api.LoginOTP}
	for _, c := range []struct {
		name      string
		kept      map[string]push.Secret
		fail      error
		flags     api.ConnectRequest // taken for a question
		keep, up  bool
		upKeep    bool
		questions []question
		end       error // that the connection ended with
		after     string
		calls     string
		says      string
	}{
		{name: "saved", kept: map[string]push.Secret{"ann": "p"}, keep: true, up: true, upKeep: true,
			questions: []question{{nil, ask, "ann p"}}, after: "ann p", calls: "get"},
		{name: "saved, and the profile names the user", kept: map[string]push.Secret{"bob": "b", "ann": "p"}, keep: true, up: true, upKeep: true,
			questions: []question{{nil, known, "ann p"}}, after: "ann p bob b", calls: "get"},
		{name: "with a one-time code, which is not kept", kept: map[string]push.Secret{"ann": "p"}, keep: true, up: true, upKeep: true,
			flags: api.ConnectRequest{OTP: "123"}, questions: []question{{nil, twoFactor, "ann p 123"}}, after: "ann p", calls: "get"},
		{name: "typed and accepted", keep: true, up: true, upKeep: true, flags: api.ConnectRequest{Username: "ann", Password: "new"},
			questions: []question{{nil, ask, "ann new"}}, after: "ann new", calls: "set", says: "saved in your keychain"},
		{name: "given by flag beats saved", kept: map[string]push.Secret{"ann": "p"}, keep: true, up: true, upKeep: true, flags: api.ConnectRequest{Password: "new"},
			questions: []question{{nil, known, "ann new"}}, after: "ann new", calls: "set"},
		{name: "typed and never accepted", keep: true, flags: api.ConnectRequest{Username: "ann", Password: "new"},
			questions: []question{{nil, ask, "ann new"}}, end: errors.New("the server is gone"), calls: ""},
		{name: "typed and refused", keep: true, flags: api.ConnectRequest{Username: "ann", Password: "new"},
			questions: []question{{nil, ask, "ann new"}, {refused, ask, "password_refused"}}, calls: "get"},
		{name: "saved and refused in the end", kept: map[string]push.Secret{"ann": "p"}, keep: true,
			questions: []question{{nil, ask, "ann p"}}, end: refused, calls: "get forget", says: "the saved password of ann was not accepted, and is forgotten"},
		{name: "saved and refused, and asked again", kept: map[string]push.Secret{"ann": "p", "bob": "b"}, keep: true,
			questions: []question{{nil, known, "ann p"}, {refused, known, "password_refused"}}, after: "bob b", calls: "get forget", says: "is forgotten"},
		{name: "the network failed, not the password", kept: map[string]push.Secret{"ann": "p"}, keep: true,
			questions: []question{{nil, ask, "ann p"}}, end: api.NewProblem(api.CodeServerUnreachable, nil), after: "ann p", calls: "get"},
		{name: "the code was refused, not the password", kept: map[string]push.Secret{"ann": "p"}, keep: true,
			questions: []question{{nil, ask, "ann p"}, {code, otp, "code_refused"}}, end: code, after: "ann p", calls: "get"},
		{name: "the session expired", kept: map[string]push.Secret{"ann": "p"}, keep: true, up: true, upKeep: true,
			questions: []question{{nil, ask, "ann p"}, {expired, ask, "ann p"}}, after: "ann p", calls: "get get"},
		{name: "not wanted", kept: map[string]push.Secret{"ann": "p"},
			questions: []question{{nil, ask, "sign_in_input_missing"}}, after: "ann p", calls: ""},
		{name: "wanted while it was typed", up: true, upKeep: true, flags: api.ConnectRequest{Username: "ann", Password: "new"},
			questions: []question{{nil, ask, "ann new"}}, after: "ann new", calls: "set", says: "saved in your keychain"},
		{name: "not wanted, and typed", up: true, flags: api.ConnectRequest{Username: "ann", Password: "new"},
			questions: []question{{nil, ask, "ann new"}}, calls: ""},
		{name: "the server forbids it", kept: map[string]push.Secret{"ann": "p"}, keep: true, up: true, upKeep: false,
			questions: []question{{nil, ask, "ann p"}}, calls: "get forget all", says: "may not be saved"},
		{name: "the keychain is locked", fail: secrets.ErrLocked, keep: true, up: true, upKeep: true,
			questions: []question{{nil, ask, "sign_in_input_missing"}}, calls: "get", says: "locked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &memory{kept: c.kept, err: c.fail, last: "ann"}
			if m.kept == nil {
				m.kept = map[string]push.Secret{}
			}
			var out bytes.Buffer
			var got api.Answer
			q := &asker{out: printer{out: &out, err: &out}, profile: "work", user: push.Secret(c.flags.Username), password: c.flags.Password, code: c.flags.OTP,
				answer: func(_ context.Context, a api.Answer) error { got = a; return nil }}
			q.saved = newSaved(m, q.out, "work")
			for _, x := range c.questions {
				got = api.Answer{}
				err := q.ask(t.Context(), x.login, x.problem, c.keep)
				text := strings.TrimSpace(got.Username + " " + got.Password.Reveal() + " " + got.Response.Reveal())
				var problem *api.Problem
				if errors.As(err, &problem) {
					text = problem.Code
				}
				if text != x.want {
					t.Fatalf("answered %q, %v; want %q", text, err, x.want)
				}
			}
			if c.up {
				q.accepted(t.Context(), api.Connection{State: api.Connected, SavePassword: c.upKeep})
			}
			q.wait()
			q.refused(t.Context(), c.end)
			after := ""
			for _, user := range []string{"ann", "bob"} {
				if p, ok := m.kept[user]; ok {
					after += " " + user + " " + p.Reveal()
				}
			}
			if strings.TrimSpace(after) != c.after || strings.Join(m.calls, " ") != c.calls {
				t.Errorf("kept %q after %q; want %q after %q", strings.TrimSpace(after), m.calls, c.after, c.calls)
			}
			if !strings.Contains(out.String(), c.says) || c.says == "" && out.String() != "" && !strings.Contains(out.String(), "saved in") {
				t.Errorf("said %q", out.String())
			}
		})
	}
}
