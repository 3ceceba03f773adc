package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/saml/idp"
	"github.com/adit-vpn/adit/saml/sp"
)

// demoAccounts are the users of the built-in identity provider. It shows them with their
// passwords.
var demoAccounts = []idp.Account{
	{Person: idp.Person{Name: "alice@example.com", Groups: []string{"demo-users", "demo-admins"}}, Password: "alice-demo"},
	{Person: idp.Person{Name: "bob@example.com", Groups: []string{"demo-users"}}, Password: "bob-demo"},
}

// signInDemo finds the demo user of a name and password; none has one-time codes.
func signInDemo(_ context.Context, name, password, _ string) (idp.Person, bool) {
	for _, a := range demoAccounts {
		if a.Name == name && subtle.ConstantTimeCompare([]byte(a.Password), []byte(password)) == 1 {
			return a.Person, true
		}
	}
	return idp.Person{}, false
}

// signInWith finds users of a file; what the form brings is put together as a client with a static
// challenge does.
func signInWith(u *auth.Users) func(ctx context.Context, name, password, code string) (idp.Person, bool) {
	return func(ctx context.Context, name, password, code string) (idp.Person, bool) {
		both := challenge.Static(push.Secret(password), push.Secret(code))
		outcome, err := u.Check(ctx, auth.Credentials{Username: name, Password: both})
		accepted, ok := outcome.(auth.Accepted)
		return idp.Person{Name: accepted.Identity.Username, Groups: accepted.Identity.Groups}, ok && err == nil
	}
}

// testIdP is the built-in identity provider at a port of its own. Nil: there is none.
type testIdP struct {
	provider *idp.Provider
	listener net.Listener
	base     string
	users    string // file; empty: demoAccounts
}

// openIdP listens on loopback for the built-in identity provider if cfg names it. Its key lives as
// long as the program.
func openIdP(ctx context.Context, cfg *endpoint.Config) (*testIdP, error) {
	_, _, federated := cfg.Methods()
	if federated == nil || !federated.Demo {
		return nil, nil
	}
	var directory *auth.Users
	users := cfg.Path(federated.Users)
	if users != "" {
		text, err := os.ReadFile(users)
		if err != nil {
			return nil, fmt.Errorf("test users: %w", err)
		}
		if directory, err = auth.NewUsers(text, new(auth.Attempts), time.Now); err != nil {
			return nil, fmt.Errorf("test users %s: %w", users, err)
		}
	}
	key, err := idp.NewKey(time.Now())
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("identity provider: %w", err)
	}
	t := &testIdP{listener: l, base: "http://" + l.Addr().String(), users: users}
	c := idp.Config{Base: t.base, Audience: sp.EntityID, ACS: sp.ACS, Key: key, Now: time.Now, SignIn: signInDemo, Shown: demoAccounts}
	if directory != nil {
		c.SignIn, c.AsksCode, c.Shown = signInWith(directory), directory.MFA(), nil
	}
	t.provider, err = idp.New(c)
	if err != nil {
		l.Close()
		return nil, err
	}
	return t, nil
}

// metadata is what the endpoint knows of it.
func (t *testIdP) metadata() []byte {
	if t == nil {
		return nil
	}
	return t.provider.Metadata()
}

// at is where it answers.
func (t *testIdP) at() []netip.AddrPort {
	if t == nil {
		return nil
	}
	return []netip.AddrPort{t.listener.Addr().(*net.TCPAddr).AddrPort()}
}

// close gives the port back, if serve has not.
func (t *testIdP) close() {
	if t != nil {
		t.listener.Close()
	}
}

// serve answers browsers until ctx ends.
func (t *testIdP) serve(ctx context.Context, log *slog.Logger) {
	if t == nil {
		return
	}
	server := &http.Server{Handler: t.provider, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(t.listener); !errors.Is(err, http.ErrServerClosed) {
		log.Error("identity provider", "error", err)
	}
}

// greet says where it is and who can sign in.
func (t *testIdP) greet(w io.Writer) {
	if t == nil {
		return
	}
	fmt.Fprintf(w, "identity provider: %s/ (for tests; the VPN client opens it)\n", t.base)
	if t.users != "" {
		fmt.Fprintf(w, "sign in as: a user of %s\n", t.users)
		return
	}
	for _, a := range demoAccounts {
		fmt.Fprintf(w, "sign in as: %s with the password %s\n", a.Name, a.Password)
	}
}
