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
	// connectTimeout is how long a first connection is tried, without the time that a person takes to sign in.
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

// connect records the wish and waits until the tunnel is up. What fails is taken back; the tunnel of a success stays.
func (a *app) connect(ctx context.Context, name, credentials string) error {
	req := api.ConnectRequest{Profile: name, Timeout: connectTimeout}
	if credentials != "" {
		if err := readCredentials(credentials, &req); err != nil {
			return err
		}
	}
	c := a.service()
	defer c.Close()
	err := c.Connect(ctx, req)
	var problem *api.Problem
	if errors.As(err, &problem) { // else ctx has ended, and the wish may have arrived
		return err
	}
	if err == nil {
		err = a.await(ctx, c, name, req)
	}
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		if e := c.Disconnect(undo, name); e != nil && !api.IsCode(e, api.CodeNotConnected) {
			return errors.Join(err, e)
		}
		return err
	}
	return a.json(map[string]string{"status": "Connected"})
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

// await watches until the tunnel is up, and takes the person to the browser meanwhile.
func (a *app) await(ctx context.Context, c *api.Client, name string, req api.ConnectRequest) error {
	ctx, stop := context.WithCancelCause(ctx)
	signIn := &browsing{stop: stop, end: func() {}}
	defer func() { stop(nil); signIn.wait() }()
	err := c.AsUser().Watch(ctx, func(s api.Status) error {
		conn := connectionOf(s, name)
		if conn == nil {
			return errNotConnected
		}
		switch conn.State {
		case api.Connected:
			return errUp
		case api.Disconnected, api.Blocked:
			if conn.Problem != nil {
				return conn.Problem
			}
			return errNotConnected
		case api.NeedsLogin:
			return signIn.see(ctx, a, c, *conn, req.Password != "")
		}
		signIn.wait()
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

// browsing is the sign-in in the browser that a connection asks for. One goroutine calls its methods.
type browsing struct {
	stop    context.CancelCauseFunc // ends the command when the sign-in fails
	id      string                  // of the newest question
	end     func()                  // takes it back
	running sync.WaitGroup
}

// see begins a sign-in in the browser, and fails where something else is asked: nobody is there to type it.
func (b *browsing) see(ctx context.Context, a *app, c *api.Client, conn api.Connection, given bool) error {
	login := conn.Login
	if login == nil || login.ID == b.id {
		return nil
	}
	b.wait()
	b.id = login.ID
	switch login.Kind {
	case api.LoginWait:
		a.note("%s", login.Prompt)
		return nil
	case api.LoginAgain:
		return c.Answer(ctx, api.Answer{Profile: conn.Profile, ID: login.ID})
	case api.LoginBrowser:
	default:
		if conn.Problem != nil {
			return conn.Problem
		}
		if given {
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
			err = c.Answer(asking, answer)
		}
		if err != nil && asking.Err() == nil && !api.IsCode(err, api.CodeQuestionGone) {
			b.stop(err)
		}
	})
	return nil
}

// wait takes an open question back.
func (b *browsing) wait() {
	b.end()
	b.running.Wait()
}
