package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/saml/signin"
)

const (
	// connectTimeout is how long a connection is tried, without the time that a person takes to sign in.
	connectTimeout = time.Minute
	undoTimeout    = 20 * time.Second
	maxCredentials = 4096 // bytes of the file with user name, password and code
)

func newConnect(a *app) *cobra.Command {
	var name, credentials *string
	cmd := command("connect", "Connect a profile", func(ctx context.Context) error { return a.connect(ctx, *name, *credentials) })
	name = required(cmd, "profile-name", "name of the profile")
	credentials = cmd.Flags().String("auth-user-pass", "", "file with user name, password and perhaps a one-time code, a line each")
	return cmd
}

func newDisconnect(a *app) *cobra.Command {
	var name *string
	cmd := command("disconnect", "Disconnect a profile", func(ctx context.Context) error {
		c := a.service()
		defer c.Close()
		err := c.Disconnect(ctx, *name)
		if !api.IsCode(err, api.CodeNotConnected) {
			return err
		}
		if _, missing := find(ctx, c, *name); missing != nil {
			return missing
		}
		return err
	})
	name = required(cmd, "profile-name", "name of the connected profile")
	return cmd
}

// connect records the wish and waits until the tunnel is up. What fails is taken back; the tunnel of a success stays. A
// wish that is there already, and waits for a sign-in perhaps, is brought to its end, and never taken back.
func (a *app) connect(ctx context.Context, name, credentials string) error {
	req := api.ConnectRequest{Profile: name, Timeout: connectTimeout}
	if credentials != "" {
		if err := readCredentials(credentials, &req); err != nil {
			return err
		}
	}
	c := a.service()
	defer c.Close()
	connected := map[string]string{"status": "Connected"}
	err := c.Connect(ctx, req)
	if api.IsCode(err, api.CodeAlreadyConnected) {
		if err = a.await(ctx, c, name, req, false); err != nil {
			return err
		}
		return a.json(connected)
	}
	var problem *api.Problem
	if errors.As(err, &problem) { // else ctx has ended, and the wish may have arrived
		return err
	}
	if err == nil {
		err = a.await(ctx, c, name, req, true)
	}
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		if e := c.Disconnect(undo, name); e != nil && !api.IsCode(e, api.CodeNotConnected) {
			return errors.Join(err, e)
		}
		return err
	}
	return a.json(connected)
}

// readCredentials reads a line each: user name, password, code.
func readCredentials(file string, req *api.ConnectRequest) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("Failed to read credentials file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCredentials+1))
	switch {
	case err != nil:
		return fmt.Errorf("Failed to read credentials file: %w", err)
	case len(b) > maxCredentials:
		return fmt.Errorf("Failed to read credentials file: it has more than %d bytes", maxCredentials)
	}
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	var all []string
	for lines.Scan() {
		all = append(all, strings.TrimSuffix(lines.Text(), "\r"))
	}
	if len(all) < 2 || all[0] == "" || all[1] == "" {
		return errors.New("Failed to read credentials file: its first line must be the user name, its second the password")
	}
	req.Username, req.Password = all[0], push.Secret(all[1])
	if len(all) > 2 {
		req.OTP = push.Secret(all[2])
	}
	return nil
}

var errUp = errors.New("the tunnel is up")

// await watches until the tunnel is up, and takes the person to the browser meanwhile. Where the wish did not begin here, it is
// errConnected if there is nothing to wait for.
func (a *app) await(ctx context.Context, c *api.Client, name string, req api.ConnectRequest, began bool) error {
	ctx, stop := context.WithCancelCause(ctx)
	signIn := &signingIn{stop: stop, end: func() {}, given: req.Password != ""}
	defer func() { stop(nil); signIn.wait() }()
	up := errUp
	if !began { // the service has neither a limit for it nor what was given here
		signIn.unused = req
		up = errConnected
		signIn.limit = time.AfterFunc(a.patience, func() { stop(fmt.Errorf("Profile is not connected after %s; it goes on trying", a.patience)) })
		defer signIn.limit.Stop()
	}
	err := c.AsUser().Watch(ctx, func(s api.Status) error {
		conn := connectionOf(s, name)
		if conn == nil {
			return errNotConnected
		}
		switch conn.State {
		case api.Connected:
			return up
		case api.Disconnected, api.Blocked:
			if conn.Problem != nil {
				return conn.Problem
			}
			return errNotConnected
		case api.NeedsLogin:
			up = errUp
			if conn.Problem != nil && conn.Problem.Code == api.CodeAnotherSignsIn { // nobody answers that here
				return conn.Problem
			}
			return signIn.see(ctx, a, c, *conn)
		}
		up = errUp
		signIn.over(a.patience)
		return nil
	})
	if errors.Is(err, errUp) {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	return err
}

// signingIn answers what a connection asks: in the browser, and with what was given where the service has not got it. One
// goroutine calls its methods.
type signingIn struct {
	stop    context.CancelCauseFunc // ends the command when the sign-in fails
	given   bool                    // there is a file with a password
	unused  api.ConnectRequest      // what is in it that nothing has been asked for yet; empty where the service has it
	limit   *time.Timer             // stands still while somebody signs in; nil where the service has one
	woken   bool                    // the service was told that somebody is here
	id      string                  // of the newest question
	end     func()                  // takes it back
	running sync.WaitGroup
}

// see begins a sign-in in the browser, and fails where what is asked was not given: nobody is there to type it.
func (b *signingIn) see(ctx context.Context, a *app, c *api.Client, conn api.Connection) error {
	login := conn.Login
	if login == nil || login.ID == b.id {
		return nil
	}
	b.wait()
	b.id = login.ID
	if b.limit != nil {
		b.limit.Stop()
	}
	switch login.Kind {
	case api.LoginWait:
		a.note("%s", login.Prompt)
		return nil
	case api.LoginAgain:
		if b.woken {
			return errors.New("nobody has signed in")
		}
		b.woken = true
		return fresh(c.Answer(ctx, api.Answer{Profile: conn.Profile, ID: login.ID}))
	case api.LoginBrowser:
	default:
		if answer, ok := b.fill(*login); ok {
			answer.Profile = conn.Profile
			return fresh(c.Answer(ctx, answer))
		}
		if conn.Problem != nil {
			return conn.Problem
		}
		if b.given {
			return errors.New("the server asks for a one-time code: give it as the third line of the --auth-user-pass file")
		}
		return errors.New("the profile needs a user name and a password: give a file with them with --auth-user-pass")
	}
	asking, cancel := context.WithCancel(ctx)
	b.end = cancel
	b.running.Go(func() {
		defer cancel()
		answer := api.Answer{Profile: conn.Profile, ID: login.ID}
		var err error
		answer.Response, err = signin.Run(asking, signin.Config{URL: login.URL, Port: login.Callback, Open: a.open, Notify: func(text string) { a.note("%s", text) }})
		if err == nil && login.Callback != 0 {
			err = fresh(c.Answer(asking, answer))
		}
		if err != nil && asking.Err() == nil {
			b.stop(err)
		}
	})
	return nil
}

// fill answers a question for a password or a code with what was given, each once.
func (b *signingIn) fill(login api.Login) (answer api.Answer, ok bool) {
	answer.ID = login.ID
	code := login.Kind == api.LoginOTP || login.Challenge != ""
	if code && b.unused.OTP == "" {
		return answer, false
	}
	if login.Kind == api.LoginPassword {
		if b.unused.Password == "" {
			return answer, false
		}
		answer.Username, answer.Password = b.unused.Username, b.unused.Password
		b.unused.Password = ""
	}
	if code {
		answer.Response, b.unused.OTP = b.unused.OTP, ""
	}
	return answer, true
}

// fresh is the error of an answer. That the question is gone is none: somebody else was faster, and the status tells.
func fresh(err error) error {
	if api.IsCode(err, api.CodeQuestionGone) {
		return nil
	}
	return err
}

// over takes an open question back: nothing is asked any more, and the limit begins anew.
func (b *signingIn) over(limit time.Duration) {
	b.wait()
	if b.limit != nil && b.id != "" {
		b.limit.Reset(limit)
	}
	b.id = ""
}

// wait takes an open question back.
func (b *signingIn) wait() {
	b.end()
	b.running.Wait()
}
