package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/stopwatch"
)

// undoTimeout bounds the disconnect after an interrupted connect.
const undoTimeout = 20 * time.Second

// connectFlags are all flags of connect.
type connectFlags struct {
	timeout time.Duration
	json    bool

	// Sign-in.
	user, passwordFile, otp string
	otpGiven, noBrowser     bool

	// In this process.
	userspace         bool
	socks5, httpProxy string
	pkcs11, pinFile   string
	passphraseFile    string
	forwards          []string
	proxyAuthFile     string
	statusSocket      string
}

func newConnect(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connect NAME",
		Short: "Open a tunnel and wait until it is up",
		Long: `Open a tunnel with a profile that was imported, wait until it is up, and print
address, routes and DNS. The tunnel stays when the command ends; Ctrl-C before it is up
takes the wish back.

What the sign-in needs is asked for at the terminal, or shown in the browser; a user name,
password and one-time code may also be given. Without a terminal the command never
waits for what nobody can type: it fails and names the flag. With --no-browser it prints
the address of a sign-in in the browser, and waits for --timeout.

With --userspace the tunnel ends in this command instead: no root, no device, no route
of this machine changes. FILE needs nothing else, and has a / or ends with .ovpn or .conf;
NAME needs the service and a profile of your own. Programs use the tunnel through the listeners that you name, on
loopback only, and every user of this machine can; with --proxy-auth-file the proxies ask
for a user name and a password, and may listen on any address. The command stays in the
foreground until Ctrl-C. With --status-socket
PATH it answers adit --socket PATH status, routes and explain. With --pkcs11 MODULE the
certificate and its key are those of a token; the key stays there.`,
		Example: `  adit connect work
  adit connect work --timeout 20s
  adit connect work --user ann --password-file - <password.txt
  adit connect work.ovpn --userspace --socks5 127.0.0.1:1080
  adit connect work.ovpn --userspace --forward 127.0.0.1:8080=10.0.0.5:80`,
		Args:              wants(1, 1, "a profile's name, or with --userspace a file"),
		ValidArgsFunction: a.completeNames,
	}
	cmd.Use += " | connect FILE|NAME --userspace"
	var f connectFlags
	flags := cmd.Flags()
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "give up when the tunnel is not up by then, not counting the time in which a person is asked at the terminal; without one, a sign-in elsewhere has as long; 0 = keep trying")
	flags.BoolVar(&f.json, "json", false, "print JSON; with --userspace one object per event")
	flags.StringVar(&f.user, "user", "", "user name for the sign-in")
	flags.StringVar(&f.passwordFile, "password-file", "", "`FILE` with the password in its first line; - is the standard input")
	flags.StringVar(&f.otp, "otp", "", "one-time `CODE`, for the first question that wants one; \"\" says that you have none")
	flags.BoolVar(&f.noBrowser, "no-browser", false, "print the address of a sign-in in the browser instead of opening it")
	flags.BoolVar(&f.userspace, "userspace", false, "run the tunnel in this command, without root and service")
	flags.StringVar(&f.socks5, "socks5", "", "with --userspace: SOCKS5 proxy on this `ADDR`, of loopback unless it asks for credentials")
	flags.StringVar(&f.httpProxy, "http-proxy", "", "with --userspace: HTTP proxy on this `ADDR`, of loopback unless it asks for credentials")
	flags.StringVar(&f.proxyAuthFile, "proxy-auth-file", "", "with --socks5 or --http-proxy: ask for USER:PASSWORD, which this `FILE` has in its first line; - is the standard input")
	flags.StringArrayVar(&f.forwards, "forward", nil, "with --userspace: forward TCP from loopback, as `LADDR=RADDR`; may be repeated")
	flags.StringVar(&f.statusSocket, "status-socket", "", "with --userspace: answer status, routes and explain at this `PATH`")
	flags.StringVar(&f.pkcs11, "pkcs11", "", "with --userspace: certificate and key are on a token; `MODULE` is its PKCS#11 library")
	flags.StringVar(&f.pinFile, "pin-file", "", "with --pkcs11: `FILE` with the token's PIN in its first line; - is the standard input")
	flags.StringVar(&f.passphraseFile, "passphrase-file", "", "with --userspace: `FILE` with the private key's passphrase in its first line; - is the standard input")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.otpGiven = flags.Changed("otp")
		if f.timeout < 0 {
			return usage(cmd, "the timeout %s is negative", f.timeout)
		}
		for _, name := range []string{"proxy-auth-file", "status-socket"} { // an empty variable must not take protection away
			if flags.Changed(name) && flags.Lookup(name).Value.String() == "" {
				return usage(cmd, "--%s is empty", name)
			}
		}
		if f.pinFile != "" && f.pkcs11 == "" {
			return usage(cmd, "--pin-file needs --pkcs11")
		}
		if f.proxyAuthFile != "" && f.socks5 == "" && f.httpProxy == "" {
			return usage(cmd, "--proxy-auth-file needs --socks5 or --http-proxy")
		}
		if f.userspace {
			return a.connectUserspace(cmd, args[0], f)
		}
		for _, name := range []string{"socks5", "http-proxy", "proxy-auth-file", "forward", "status-socket", "pkcs11", "pin-file", "passphrase-file"} {
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

// connect records the wish and watches until the tunnel is up, answering what is asked for the
// sign-in. When ctx ends before that, it takes back a wish of its own.
func (a *app) connect(ctx context.Context, c *api.Client, name string, f connectFlags) error {
	req, err := f.given(name)
	if err != nil {
		return err
	}
	err = c.Connect(ctx, req)
	started := err == nil
	switch {
	case api.IsCode(err, api.CodeAlreadyConnected):
		a.out.note("%s is connected or connecting already", name)
	case err != nil && ctx.Err() == nil:
		return err
	case err != nil: // interrupted on the way: the wish may have arrived
		return a.takeBack(ctx, c, name)
	}
	asking, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	q := a.newAsker(req, f, started, stop)
	q.answer = c.Answer
	var limit *stopwatch.Stopwatch // the service has one of its own for the wish that this command brought
	if !started && f.timeout > 0 {
		limit = stopwatch.New(f.timeout, func() {
			stop(hinted(fmt.Errorf("%s is not connected within %s; it goes on as before", name, f.timeout), "see how it fares: adit status", "wait longer with --timeout, or end it: adit disconnect "+quoted(name)))
		})
		defer limit.Stop()
	}
	up, err := a.awaitUp(asking, c, name, q, limit)
	if err == nil {
		q.accepted(ctx, up)
	}
	q.wait()
	q.refused(ctx, err)
	missing := context.Cause(asking)
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(missing, errStopped):
		if !started {
			return fmt.Errorf("interrupted; %s goes on as before", name)
		}
		return a.takeBack(ctx, c, name)
	case missing != nil && started: // nobody will answer
		if err := c.Disconnect(ctx, name); err != nil && !isNotConnected(err) {
			return errors.Join(missing, err)
		}
		return missing
	case missing != nil:
		return missing
	default:
		return err
	}
	if f.json {
		return a.out.json(up)
	}
	a.out.line("connected %s", up.Profile)
	a.out.details(up, false)
	return nil
}

// awaitUp returns the connection once it is up, or why it will not be. limit, if there is one, stands still while something is asked.
func (a *app) awaitUp(ctx context.Context, c *api.Client, name string, q *asker, limit *stopwatch.Stopwatch) (api.Connection, error) {
	var up api.Connection
	said := "" // the newest cause of another try that was shown
	done := errors.New("done")
	err := c.AsUser().Watch(ctx, func(s api.Status) error {
		mine := api.Connection{State: api.Disconnected}
		for _, c := range s.Named() {
			if c.Profile == name {
				mine = c
			}
		}
		switch mine.State {
		case api.Connected:
			up = mine
			return done
		case api.NeedsLogin:
			if mine.Problem != nil && mine.Problem.Code == api.CodeAnotherSignsIn { // nobody answers that here
				return mine.Problem
			}
			q.see(ctx, mine)
			limit.Hold(q.id != "")
			return nil
		case api.Disconnected, api.Blocked:
			if mine.State == api.Blocked {
				a.out.note("what belongs into the tunnel stays blocked (guard=%s)", mine.Guard)
			}
			if mine.Problem != nil {
				return mine.Problem
			}
			return api.NewProblem(api.CodeNotConnected, map[string]string{"profile": name})
		}
		q.see(ctx, mine)
		limit.Hold(q.id != "")
		if retries(mine) && mine.Problem.Message != said {
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

// retries says whether c's problem ended one attempt of several. A tunnel that is being ended still shows
// its last problem.
func retries(c api.Connection) bool {
	return c.Problem != nil && (c.State == api.Connecting || c.State == api.Reconnecting)
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
