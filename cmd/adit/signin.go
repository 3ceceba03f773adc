package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/secrets"
	"github.com/adit-vpn/adit/saml/signin"
)

// asker answers the questions that one connection asks: from the command line's flags, at the terminal,
// in the browser. One goroutine calls see and wait.
type asker struct {
	out     printer
	profile string
	open    func(url string) error // in the browser; nil: the person does it
	keys    *keyboard              // nil: there is no terminal
	answer  func(context.Context, api.Answer) error
	stop    context.CancelCauseFunc // ends the command when a question cannot be answered

	saved *secrets.Attempt

	// The flags, each for one answer; empty: used, or not given.
	user, password, code push.Secret
	noCode               bool // --otp says that there is none
	sent                 bool // password has gone to the service with the wish

	// patience is how long a person may sign in elsewhere, until the tunnel is up for the first time;
	// 0: for as long as the service waits. It counts where there is no terminal: nobody would end it.
	patience time.Duration
	until    time.Time // the end of it; zero: it has not begun
	up       bool      // the tunnel was up

	id     string        // of the newest question
	cancel func()        // takes it back
	done   chan struct{} // closed when it is settled
}

// given reads what the flags say of a sign-in.
func (f connectFlags) given(profile string) (api.ConnectRequest, error) {
	req := api.ConnectRequest{Profile: profile, Timeout: f.timeout, Username: f.user, OTP: push.Secret(f.otp)}
	if f.passwordFile == "" {
		return req, nil
	}
	var err error
	if req.Password, err = readSecret(f.passwordFile, "password"); err != nil {
		return req, err
	}
	if req.Password == "" {
		return req, hinted(errors.New("the password file is empty"), "the first line of --password-file must be the password; - is the standard input")
	}
	return req, nil
}

// newAsker makes an asker; started says that the request went with a new wish, not with one that was
// there already.
func (a *app) newAsker(req api.ConnectRequest, f connectFlags, started bool, stop context.CancelCauseFunc) *asker {
	q := &asker{out: a.out, profile: req.Profile, keys: a.keyboard(), stop: stop, sent: started && req.Password != ""}
	q.noCode = f.otpGiven && f.otp == ""
	if q.keys == nil {
		q.patience = f.timeout
	}
	if !f.noBrowser {
		q.open = signin.NewBrowser()
	}
	if !started {
		q.user, q.password, q.code = push.Secret(req.Username), req.Password, req.OTP
	}
	q.saved = newSaved(a.vault, a.out, req.Profile)
	if q.sent {
		q.saved.Typed(req.Username, req.Password)
	}
	return q
}

// accepted keeps the password of a tunnel that is up, where it may be kept. wait waits for it.
func (q *asker) accepted(ctx context.Context, c api.Connection) {
	q.wait()
	q.up = true
	q.cancel, q.done = func() {}, make(chan struct{})
	go func() {
		defer close(q.done)
		q.saved.Accepted(ctx, c.SavePassword)
	}()
}

// refused takes a failure that ended the connection.
func (q *asker) refused(ctx context.Context, err error) {
	if api.IsCode(err, api.CodePasswordRefused) {
		q.saved.Refused(context.WithoutCancel(ctx))
	}
}

// see takes a connection's newest state: it begins to ask what is asked there, and takes back what is not
// asked any more. It never blocks for long.
func (q *asker) see(ctx context.Context, c api.Connection) {
	id := ""
	if c.Login != nil {
		id = c.Login.ID
	}
	if id == q.id {
		return
	}
	q.wait()
	if q.id = id; id == "" {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	q.cancel, q.done = cancel, make(chan struct{})
	go func(login api.Login) { // wait waits for it
		defer close(q.done)
		if err := q.ask(ctx, login, c.Problem, c.SavePassword); err != nil && ctx.Err() == nil {
			q.stop(err)
		}
	}(*c.Login)
}

// wait takes the open question back.
func (q *asker) wait() {
	if q.cancel != nil {
		q.cancel()
		<-q.done
		q.cancel = nil
	}
}

// ask answers one question; problem is why it is asked again, or nil. With keep, a saved password may
// be the answer.
func (q *asker) ask(ctx context.Context, login api.Login, problem *api.Problem, keep bool) error {
	a := api.Answer{Profile: q.profile, ID: login.ID}
	var err error
	switch login.Kind {
	case api.LoginWait:
		q.out.note("%s", cmp.Or(login.Prompt, "the server waits until you have signed in elsewhere"))
		ctx, cancel := q.patient(ctx, "a sign-in elsewhere, as the server says")
		defer cancel()
		<-ctx.Done() // the state tells when it is over
		return context.Cause(ctx)
	case api.LoginAgain: // somebody is here
	case api.LoginBrowser:
		if a.Response, err = q.browse(ctx, login); err != nil || login.Callback == 0 {
			return err
		}
	case api.LoginPassword, api.LoginOTP:
		if problem != nil {
			q.sent = false // it was refused; what the flags say and nobody has used was not
			if problem.Code == api.CodePasswordRefused {
				q.saved.Refused(ctx)
			}
		}
		if keep && login.Kind == api.LoginPassword && !q.sent && q.password == "" {
			if user, password, ok := q.saved.Find(ctx, cmp.Or(q.user.Reveal(), login.User)); ok {
				a.Username, a.Password, q.user = user, password, ""
			}
		}
		given := q.password != ""
		if login.Kind == api.LoginOTP {
			given = q.code != "" || q.noCode
		}
		if problem != nil && a.Password == "" && !given {
			if q.keys == nil {
				return problem
			}
			q.out.note("%s", problem.Message)
		}
		if err = q.fill(ctx, login, &a); err != nil {
			return err
		}
	default:
		return api.NewProblem(api.CodeRequestInvalid, map[string]string{"detail": "it asks for " + string(login.Kind)})
	}
	err = q.answer(ctx, a)
	if api.IsCode(err, api.CodeQuestionGone) {
		return nil // somebody else was faster; the status tells
	}
	return err
}

// prompt is what is asked at the terminal, and the words for when there is none.
type prompt struct {
	text       string
	echo       bool
	usual      string // what Enter alone means
	optional   bool   // Enter alone is an answer; else it is asked again
	what, flag string
}

// fill completes the answer to a question that is typed.
func (q *asker) fill(ctx context.Context, login api.Login, a *api.Answer) (err error) {
	if login.Kind == api.LoginOTP {
		a.Response, err = q.needCode(ctx, cmp.Or(login.Prompt, "one-time code"), login.Echo)
		return err
	}
	if a.Password != "" { // it was saved
		if login.Challenge != "" {
			a.Response, err = q.needCode(ctx, login.Challenge, login.ChallengeEcho)
		}
		return err
	}
	a.Username = login.User
	if login.NeedUser && (q.keys != nil || login.User == "" || q.user != "") {
		who := prompt{text: "user name", echo: true, usual: login.User, what: "a user name", flag: "--user"}
		if login.User != "" {
			who.text += " (" + login.User + ")"
		}
		name, err := q.need(ctx, &q.user, who)
		if err != nil {
			return err
		}
		a.Username = name.Reveal()
	}
	if !q.sent {
		secret := prompt{text: "password", what: "a password", flag: "--password-file"}
		if a.Username != "" {
			secret.text += " for " + a.Username
		}
		if a.Password, err = q.need(ctx, &q.password, secret); err != nil {
			return err
		}
		q.saved.Typed(a.Username, a.Password)
	}
	if login.Challenge != "" {
		a.Response, err = q.needCode(ctx, login.Challenge, login.ChallengeEcho)
	}
	return err
}

// needCode is need for a one-time code, which may be empty: some servers ask everybody, and expect one
// of some people only.
func (q *asker) needCode(ctx context.Context, text string, echo bool) (push.Secret, error) {
	if q.noCode {
		q.noCode = false
		return "", nil
	}
	return q.need(ctx, &q.code, prompt{text: text, echo: echo, optional: true, what: "a one-time code", flag: "--otp"})
}

// need takes what a flag gave, once, or asks until something is typed.
func (q *asker) need(ctx context.Context, given *push.Secret, p prompt) (push.Secret, error) {
	if text := *given; text != "" {
		*given = ""
		return text, nil
	}
	if q.keys == nil {
		return "", api.NewProblem(api.CodeSignInInputMissing, map[string]string{"profile": q.profile, "what": p.what, "flag": p.flag})
	}
	text := strings.TrimRight(clean(p.text), " :") + ": "
	for {
		typed, err := q.keys.ask(ctx, text, p.echo)
		if err != nil || typed != "" || p.optional {
			return typed, err
		}
		if p.usual != "" {
			return push.Secret(p.usual), nil
		}
	}
}

// browse takes the person to the browser and returns what it brought; with no Callback the server
// learns that by itself.
func (q *asker) browse(ctx context.Context, login api.Login) (push.Secret, error) {
	if q.keys == nil && q.open != nil {
		return "", api.NewProblem(api.CodeSignInInputMissing, map[string]string{"profile": q.profile, "what": "a sign-in in the browser", "flag": "--no-browser, which prints its address"})
	}
	ctx, end := q.patient(ctx, "a sign-in in the browser")
	defer end()
	if !login.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, login.Deadline.Add(time.Minute)) // the service ends it first
		defer cancel()
	}
	cfg := signin.Config{URL: login.URL, Port: login.Callback, Open: q.open, Notify: func(text string) { q.out.note("%s", text) }}
	response, err := signin.Run(ctx, cfg)
	var busy *signin.BusyError
	switch {
	case errors.As(err, &busy):
		return "", hinted(err, "end the other sign-in, or the other VPN client, and connect again")
	case err != nil && ctx.Err() == nil:
		return "", fmt.Errorf("cannot sign in with the browser: %w", err)
	case err != nil:
		err = context.Cause(ctx)
	}
	return response, err
}

// patient bounds the wait for a person who signs in elsewhere. The context's cause says what was missing.
func (q *asker) patient(ctx context.Context, what string) (context.Context, context.CancelFunc) {
	if q.patience == 0 || q.up {
		return context.WithCancel(ctx)
	}
	if q.until.IsZero() {
		q.until = time.Now().Add(q.patience)
	}
	return context.WithDeadlineCause(ctx, q.until, hinted(
		fmt.Errorf("%s needs %s, and nobody did it within %s", q.profile, what, q.patience),
		"there is no terminal: wait longer with --timeout, or run this in a terminal"))
}
