//go:build !(linux && nouserspace)

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client"
	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/source"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/platform/portal"
	"github.com/adit-vpn/adit/platform/userspace"
)

// front is an open listener and what serves it until ctx ends; then it closes the listener.
type front struct {
	listener net.Listener
	serve    func(ctx context.Context, l net.Listener) error
}

// connectUserspace runs a tunnel in this process until ctx ends.
func (a *app) connectUserspace(cmd *cobra.Command, arg string, f connectFlags) error {
	ctx := cmd.Context()
	// A reader who leaves, such as one that waited for "ready", does not end the tunnel. Caught, not ignored: the browser
	// shall not inherit it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	a.stdout.mayLeave = true
	p, settings, err := a.userspaceProfile(ctx, arg, f.passphraseFile)
	if err != nil {
		return err
	}
	p, closeToken, err := a.withToken(ctx, p, f)
	if err != nil {
		return err
	}
	defer closeToken()
	given, err := f.given(p.Name)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler) // what matters comes by status
	host := userspace.NewHost(log)
	t := &foreground{out: a.out, json: f.json, up: make(chan struct{}), ready: event{Event: "ready"}}
	if err := t.open(cmd, f, host, log); err != nil {
		return errors.Join(err, host.Close())
	}
	t.once, err = client.NewOnce(client.OnceConfig{
		Profile: p, Host: host, Log: log, Given: given, Settings: settings, Resolver: net.DefaultResolver,
		Version: ownVersion().Version, OnStatus: t.onStatus,
		Portal: func(ctx context.Context) portal.State { return portal.Look(ctx, portal.Config{}) },
	})
	if err == nil && f.statusSocket != "" {
		err = t.openSocket(f.statusSocket, log)
	}
	if err != nil {
		t.closeListeners()
		return errors.Join(err, host.Close())
	}
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t.asker = a.newAsker(given, f, true, stop)
	t.asker.answer = t.once.Answer
	return retyped(t.run(ctx, inner, stop), arg)
}

// retyped makes a hint to connect again name what was typed: the tunnel's name is none that the service knows.
func retyped(err error, arg string) error {
	var p *api.Problem
	if !errors.As(err, &p) {
		return err
	}
	switch p.Code {
	case api.CodeSessionEnded, api.CodeSignInTimedOut, api.CodeSignInCancelled, api.CodeSignInExpired:
		args := maps.Clone(p.Args)
		args["profile"] = quoted(arg) + " --userspace"
		return api.NewProblem(p.Code, args)
	}
	return err
}

// userspaceProfile reads a file, or asks the service for a profile of the user's own and what counts of
// its settings. A name is never a file's, which anybody may have put into the current folder. The passphrase opens a file's
// private key.
func (a *app) userspaceProfile(ctx context.Context, arg, passphrase string) (p *profile.Profile, settings api.Settings, err error) {
	if looksLikeFile(arg) {
		src, err := readSource(ctx, arg)
		if err != nil {
			return nil, settings, err
		}
		p, err := parse(src, arg)
		if err != nil {
			return nil, settings, err
		}
		if p, err = a.unlock(ctx, p, newPassphraseFile(passphrase), "this tunnel alone opens it, and the file stays as it is"); err != nil {
			return nil, settings, err
		}
		p.Name = src.Name // as import would call it
		return p, settings, nil
	}
	c := a.service()
	defer c.Close()
	text, err := c.Export(ctx, arg)
	if err != nil {
		return nil, settings, notByName(arg, err)
	}
	stored, err := c.Settings(ctx, arg)
	if err != nil {
		return nil, settings, err
	}
	settings.SavePassword, settings.Proxy = stored.SavePassword, stored.Proxy // the others are about this machine's network
	p, err = parse(source.Source{Title: arg, Text: []byte(text.Text)}, arg)
	if err == nil {
		p.Name = arg // by which the service and the keychain know it
	}
	return p, settings, err
}

// notByName says, beside why there is no profile of that name, how a file is named.
func notByName(arg string, err error) error {
	hint := "give the path of an .ovpn file"
	if info, e := os.Stat(arg); e == nil && !info.IsDir() {
		hint = "the file of that name is: adit connect " + quoted("./"+arg) + " --userspace"
	}
	switch {
	case api.IsCode(err, api.CodeServiceUnreachable):
		return hinted(fmt.Errorf("for the profile %s the service is needed: %w", arg, err), hint)
	case api.IsCode(err, api.CodeProfileNotFound):
		return hinted(err, append(strings.Split(api.AsProblem(err).Hint, "\n"), hint)...)
	}
	return err
}

// foreground is one tunnel of this process with its listeners. run uses one goroutine
// per listener and waits for all of them.
type foreground struct {
	out    printer
	json   bool
	once   *client.Once
	fronts []front // serve once the tunnel is up
	view   *front  // serves from the start; may be nil
	ready  event   // with the listeners' real addresses

	// Run's goroutine alone uses these; run reads connected after it.
	up        chan struct{} // closed when the tunnel is up for the first time
	asker     *asker
	seen      context.Context // of the questions
	connected bool
	said      string // the newest cause of another try that was shown
}

// open opens the listeners that the flags name.
func (t *foreground) open(cmd *cobra.Command, f connectFlags, host *userspace.Host, log *slog.Logger) (err error) {
	defer func() {
		if err != nil {
			t.closeListeners()
		}
	}()
	guard, err := credentials(f.proxyAuthFile)
	if err != nil {
		return err
	}
	listen := func(flag, addr string, serve func(context.Context, net.Listener) error) (string, error) {
		if err := userspace.CheckBind(addr, guard != nil && flag != "forward"); err != nil {
			wrong := usageError{fmt.Sprintf("--%s: %v", flag, err), nil}
			if errors.Is(err, userspace.ErrExposed) && flag != "forward" {
				wrong.hints = []string{"to let other machines in, name a file with USER:PASSWORD: --proxy-auth-file FILE"}
			}
			return "", &wrong
		}
		l, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", addr)
		if err != nil {
			return "", hinted(fmt.Errorf("--%s: %w", flag, err), "choose another address; port 0 takes a free port")
		}
		t.fronts = append(t.fronts, front{l, serve})
		return l.Addr().String(), nil
	}
	if f.socks5 != "" {
		if t.ready.SOCKS5, err = listen("socks5", f.socks5, userspace.NewSOCKS5(host, log, guard).Serve); err != nil {
			return err
		}
	}
	if f.httpProxy != "" {
		if t.ready.HTTPProxy, err = listen("http-proxy", f.httpProxy, userspace.NewHTTPProxy(host, log, guard).Serve); err != nil {
			return err
		}
	}
	for _, text := range f.forwards {
		to, err := userspace.ParseForward(text)
		if err != nil {
			return usage(cmd, "--forward: %v", err)
		}
		at, err := listen("forward", to.Local, userspace.NewForwarder(host, log, to.Remote).Serve)
		if err != nil {
			return err
		}
		t.ready.Forwards = append(t.ready.Forwards, forward{at, to.Remote})
	}
	return nil
}

// credentials reads what the proxies shall ask for: nil without a file.
func credentials(file string) (*userspace.Credentials, error) {
	if file == "" {
		return nil, nil
	}
	line, err := readSecret(file, "proxies' user name and password")
	if err != nil {
		return nil, err
	}
	user, password, ok := strings.Cut(line.Reveal(), ":")
	const limit = 255 // bytes: RFC 1929 has one for the length
	if !ok || user == "" || password == "" || len(user) > limit || len(password) > limit {
		return nil, hinted(errors.New("the first line of --proxy-auth-file is not USER:PASSWORD"), fmt.Sprintf("neither is empty or longer than %d bytes", limit))
	}
	return &userspace.Credentials{User: user, Password: password}, nil
}

// openSocket lets this user look at the tunnel with adit --socket.
func (t *foreground) openSocket(path string, log *slog.Logger) error {
	l, err := ipc.Listen(path, 0o600)
	if err != nil {
		return hinted(fmt.Errorf("--status-socket: %w", err), "choose another path")
	}
	t.view = &front{l, api.NewViewServer(t.once, log).Serve}
	return nil
}

func (t *foreground) closeListeners() {
	for _, f := range t.fronts {
		f.listener.Close()
	}
}

// run returns when the tunnel and all listeners have ended: nil when ctx ended it while it was up.
// Stop ends inner, which is below ctx.
func (t *foreground) run(ctx, inner context.Context, stop context.CancelCauseFunc) error {
	if len(t.fronts) == 0 {
		t.out.note("no program can use this tunnel: add --socks5, --http-proxy or --forward")
	}
	t.seen = inner
	var serving sync.WaitGroup
	serve := func(f front) {
		if err := f.serve(inner, f.listener); err != nil && inner.Err() == nil {
			stop(fmt.Errorf("the listener on %s ended: %w", f.listener.Addr(), err))
		}
	}
	if t.view != nil {
		serving.Go(func() { serve(*t.view) })
	}
	for _, f := range t.fronts {
		serving.Go(func() {
			select {
			case <-t.up:
				serve(f)
			case <-inner.Done():
				f.listener.Close()
			}
		})
	}
	err := t.once.Run(inner)
	t.asker.wait()
	t.asker.refused(ctx, err)
	cause := context.Cause(inner) // nil when the tunnel ended by itself
	stop(nil)
	serving.Wait()
	switch {
	case err != nil:
		return err
	case errors.Is(cause, errStopped):
		return context.Canceled // at a prompt, as with the signal
	case ctx.Err() == nil:
		return cause // of a listener, or of a question that nobody can answer
	case !t.connected:
		return ctx.Err()
	}
	if !t.json {
		t.out.line("disconnected")
	}
	return nil
}

// onStatus tells the user what changed; it runs on the goroutine of Run.
func (t *foreground) onStatus(c api.Connection) {
	if t.json {
		t.out.event(event{Event: "status", Connection: &c})
	} else if retries(c) && c.Problem.Message != t.said {
		t.said = c.Problem.Message
		t.out.note("%s; trying again", t.said)
	}
	t.asker.see(t.seen, c)
	if c.State != api.Connected || t.connected {
		return
	}
	t.connected = true
	close(t.up)
	t.asker.accepted(t.seen, c)
	if t.json {
		t.ready.Connection = &c
		t.out.event(t.ready)
		return
	}
	t.out.ready(c, t.ready)
}
