// Package signin takes a sign-in to the person's browser and catches its answer on loopback, as
// AWS Client VPN does with SAML. It belongs to the person's own process: the service never serves
// HTTP and never starts a browser. What the answer is worth is judged by the server that asked.
package signin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/net/netutil"

	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
)

// maxURL bounds the address, in bytes: a program has to take it as one argument.
const maxURL = 32 << 10

// Config is one sign-in.
type Config struct {
	URL string // what the browser opens; challenge.CheckURL decides whether it may
	// Port is where on 127.0.0.1 the answer is caught (AWS: challenge.AWSPort). 0: the server
	// learns the answer by itself (WEB_AUTH), and nothing is caught.
	Port int
	// Open shows the address in a browser, usually NewBrowser's. It may block for as long as the browser
	// runs: Run does not wait for it, the only goroutine that may outlive Run. nil: the
	// person opens the address, which Notify tells.
	Open func(url string) error
	// Notify tells the person one line of text. It is called by Run's goroutine only.
	Notify func(text string)
}

// BusyError says that the port of a sign-in belongs to somebody else: another
// sign-in, AWS's own client, or another user of this machine. Nothing was opened or sent.
type BusyError struct {
	Port int
	Err  error
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("port %d on 127.0.0.1 is in use, and the browser's answer would go to whoever has it", e.Port)
}

func (e *BusyError) Unwrap() error { return e.Err }

// Run opens the browser and returns what the identity provider lets it post: the text of the form's
// field SAMLResponse, as it came. The port is taken before the browser opens, never shared, and free
// again when Run returns. With Port 0 Run opens the browser and returns when ctx ends.
//
// Errors: challenge.ErrMalformed for an address that must not be opened, *BusyError, and
// ctx's own.
func Run(ctx context.Context, cfg Config) (push.Secret, error) {
	if len(cfg.URL) > maxURL {
		return "", fmt.Errorf("%w: the sign-in address has %d bytes", challenge.ErrMalformed, len(cfg.URL))
	}
	if err := challenge.CheckURL(cfg.URL); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if cfg.Port == 0 {
		opened := cfg.open()
		for {
			select {
			case err := <-opened:
				cfg.cannotOpen(err)
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
	}
	id, err := requestID(cfg.URL)
	if err != nil {
		return "", err
	}
	lc := net.ListenConfig{Control: exclusive}
	l, err := lc.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Port)))
	switch {
	case err != nil && inUse(err):
		return "", &BusyError{cfg.Port, err}
	case err != nil:
		return "", fmt.Errorf("cannot wait for the browser's answer: %w", err)
	}
	return cfg.await(ctx, l, id)
}

// await serves l until the answer is there or ctx ends, and closes l.
func (cfg Config) await(ctx context.Context, l net.Listener, id string) (push.Secret, error) {
	c := &catcher{host: l.Addr().String(), request: id, answers: make(chan push.Secret, 1)}
	srv := &http.Server{
		Handler:           c,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      bodyTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          silent(),
	}
	srv.SetKeepAlivesEnabled(false) // a browser's idle connections would count against the bound
	served := make(chan error, 1)
	go func() { served <- srv.Serve(netutil.LimitListener(l, maxConnections)) }()
	end := func() {
		// Shutdown closes the port first, and lets the answer page out.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), pageTimeout)
		defer cancel()
		if srv.Shutdown(bounded) != nil {
			srv.Close()
		}
	}
	opened := cfg.open()
	for {
		select {
		case answer := <-c.answers:
			end()
			<-served
			return answer, nil
		case err := <-opened:
			cfg.cannotOpen(err)
		case <-ctx.Done():
			end()
			<-served
			return "", ctx.Err()
		case err := <-served:
			srv.Close()
			return "", fmt.Errorf("cannot wait for the browser's answer: %w", err)
		}
	}
}

// open starts the browser; what comes out is why it did not.
func (cfg Config) open() <-chan error {
	failed := make(chan error, 1)
	if cfg.Open == nil {
		cfg.Notify("open this address in a browser on this machine: " + cfg.URL)
		return failed
	}
	cfg.Notify("a browser opens for the sign-in at " + site(cfg.URL))
	go func() {
		if err := cfg.Open(cfg.URL); err != nil {
			failed <- err
		}
	}()
	return failed
}

func (cfg Config) cannotOpen(err error) {
	var wrapped *url.Error // would repeat the address
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	cfg.Notify(fmt.Sprintf("no browser could be started (%v); open this address in one on this machine: %s", err, cfg.URL))
}

// site is the part of an address that says whose it is.
func site(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	return u.Host
}

// The bounds of who talks to the port. A sign-in takes one connection.
const (
	maxConnections = 32
	headerTimeout  = 5 * time.Second
	bodyTimeout    = 15 * time.Second
	pageTimeout    = time.Second // for the answer page, when all is done
	maxHeader      = 32 << 10    // bytes; cookies of everything on 127.0.0.1 come along
)
