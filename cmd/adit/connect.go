package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
)

// undoTimeout bounds the disconnect after an interrupted connect.
const undoTimeout = 20 * time.Second

// connectFlags are all flags of connect.
type connectFlags struct {
	timeout time.Duration
	json    bool

	// Sign-in.
	user, passwordFile, otp string
	noBrowser               bool

	// In this process.
	userspace         bool
	socks5, httpProxy string
	forwards          []string
}

func newConnect(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connect NAME",
		Short: "Open a tunnel and wait until it is up",
		Long: `Open a tunnel with a profile that was imported, wait until it is up, and print
address, routes and DNS. The tunnel stays when the command ends; Ctrl-C before it is up
takes the wish back.

With --userspace the tunnel ends in this command instead: no root, no device, no route
of this machine changes. FILE needs nothing else; NAME needs the service and a
profile of your own. Programs use the tunnel through the listeners that you name, on
loopback only; the command stays in the foreground until Ctrl-C. With --socket PATH it
answers adit --socket PATH status, routes and explain there.`,
		Example: `  adit connect work
  adit connect work --timeout 20s
  adit connect work.ovpn --userspace --socks5 127.0.0.1:1080
  adit connect work.ovpn --userspace --forward 127.0.0.1:8080=10.0.0.5:80`,
		Args:              wants(1, 1, "a profile's name, or with --userspace a file"),
		ValidArgsFunction: a.completeNames,
	}
	cmd.Use += " | connect FILE|NAME --userspace"
	var f connectFlags
	flags := cmd.Flags()
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "give up when the tunnel is not up by then; 0 = keep trying")
	flags.BoolVar(&f.json, "json", false, "print JSON; with --userspace one object per event")
	flags.StringVar(&f.user, "user", "", "user name (not supported yet)")
	flags.StringVar(&f.passwordFile, "password-file", "", "file with the password (not supported yet)")
	flags.StringVar(&f.otp, "otp", "", "one-time code (not supported yet)")
	flags.BoolVar(&f.noBrowser, "no-browser", false, "print the sign-in address (not supported yet)")
	flags.BoolVar(&f.userspace, "userspace", false, "run the tunnel in this command, without root and service")
	flags.StringVar(&f.socks5, "socks5", "", "with --userspace: SOCKS5 proxy on this loopback `ADDR`")
	flags.StringVar(&f.httpProxy, "http-proxy", "", "with --userspace: HTTP proxy on this loopback `ADDR`")
	flags.StringArrayVar(&f.forwards, "forward", nil, "with --userspace: forward TCP, as `LADDR=RADDR`; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, name := range []string{"user", "password-file", "otp", "no-browser"} {
			if flags.Changed(name) {
				return notYet("sign-in with --"+name, "use a profile that signs in with a certificate")
			}
		}
		if f.timeout < 0 {
			return usage(cmd, "the timeout %s is negative", f.timeout)
		}
		if f.userspace {
			return a.connectUserspace(cmd, args[0], f)
		}
		for _, name := range []string{"socks5", "http-proxy", "forward"} {
			if flags.Changed(name) {
				return usage(cmd, "--%s needs --userspace", name)
			}
		}
		if looksLikeFile(args[0]) {
			return &usageError{fmt.Sprintf("%s looks like a file; connect takes a profile's name", args[0]),
				[]string{"first: adit import " + quoted(args[0]), "or without the service: adit connect " + quoted(args[0]) + " --userspace"}}
		}
		c := a.service()
		defer c.Close()
		return a.connect(cmd.Context(), c, args[0], f)
	}
	return cmd
}

// connect records the wish and watches until the tunnel is up. When ctx ends before
// that, it takes back a wish of its own.
func (a *app) connect(ctx context.Context, c *api.Client, name string, f connectFlags) error {
	err := c.Connect(ctx, api.ConnectRequest{Profile: name, Timeout: f.timeout})
	started := err == nil
	switch {
	case api.IsCode(err, api.CodeAlreadyConnected):
		a.out.note("%s is connected already", name)
	case err != nil && ctx.Err() == nil:
		return err
	case err != nil: // interrupted on the way: the wish may have arrived
		return a.takeBack(ctx, c, name)
	}
	up, err := a.awaitUp(ctx, c, name)
	if err != nil && ctx.Err() != nil {
		if !started {
			return fmt.Errorf("interrupted; %s goes on as before", name)
		}
		return a.takeBack(ctx, c, name)
	}
	if api.IsCode(err, api.CodeSignInNotSupported) && started {
		return errors.Join(err, c.Disconnect(ctx, name))
	}
	if err != nil {
		return err
	}
	if f.json {
		return a.out.json(up)
	}
	a.out.line("connected %s", up.Profile)
	a.out.details(up, false)
	return nil
}

// awaitUp returns the connection once it is up, or why it will not be.
func (a *app) awaitUp(ctx context.Context, c *api.Client, name string) (api.Connection, error) {
	var up api.Connection
	said := "" // the newest cause of another try that was shown
	done := errors.New("done")
	err := c.Watch(ctx, func(s api.Status) error {
		mine := api.Connection{State: api.Disconnected}
		for _, c := range own(s.Connections) {
			if c.Profile == name {
				mine = c
			}
		}
		switch mine.State {
		case api.Connected:
			up = mine
			return done
		case api.NeedsLogin:
			method := "a sign-in"
			if mine.Login != nil {
				method = "a " + string(mine.Login.Kind) + " sign-in"
			}
			return api.NewProblem(api.CodeSignInNotSupported, map[string]string{"method": method})
		case api.Disconnected, api.Blocked:
			if mine.Problem != nil {
				return mine.Problem
			}
			return api.NewProblem(api.CodeNotConnected, map[string]string{"profile": name})
		}
		if mine.Problem != nil && mine.Problem.Message != said {
			said = mine.Problem.Message
			a.out.note("%s; trying again", said)
		}
		return nil
	})
	if err == done {
		return up, nil
	}
	return up, err
}

// takeBack disconnects what an interrupted connect started, and says so.
func (a *app) takeBack(ctx context.Context, c *api.Client, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := c.Disconnect(ctx, name); err != nil && !isNotConnected(err) {
		return hinted(fmt.Errorf("interrupted, and cannot disconnect %s: %w", name, err), "try: adit disconnect "+quoted(name))
	}
	return fmt.Errorf("interrupted; %s is disconnected again", name)
}

// looksLikeFile says whether an argument cannot be a profile's name.
func looksLikeFile(arg string) bool {
	return strings.ContainsAny(arg, `/\`) || strings.HasSuffix(arg, ".ovpn") || strings.HasSuffix(arg, ".conf")
}

// quoted makes a name fit for a shell's command line.
func quoted(name string) string {
	plain := strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-/@:+=,", r) || r > 0xa0)
	}) < 0
	if plain && name != "" {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
