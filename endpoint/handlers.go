package endpoint

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/endpoint/handler"
	"github.com/adit-vpn/adit/ovpn"
)

// maxHandlers is how many connect handlers run at the same time, as programs or questions to a server.
const maxHandlers = 64

// handlers runs client connect handlers beside the goroutines of their clients. Safe for concurrent use.
type handlers struct {
	places  chan struct{}
	client  *http.Client
	running sync.WaitGroup // one for each that runs
}

func newHandlers() *handlers {
	return &handlers{places: make(chan struct{}, maxHandlers), client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute}, // no proxy: the administrator names the server itself
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// begin runs ask on another goroutine, or says that too many run.
func (h *handlers) begin(ask func()) bool {
	select {
	case h.places <- struct{}{}:
	default:
		return false
	}
	h.running.Go(func() {
		defer func() { <-h.places }()
		ask()
	})
	return true
}

// wait returns when none runs any more.
func (h *handlers) wait() {
	h.running.Wait()
	h.client.CloseIdleConnections()
}

// handler is the connect handler that the configuration names.
func (c *Config) handler() (handler.Config, bool) {
	if c.Handler.Exec == "" && c.Handler.URL == "" {
		return handler.Config{}, false
	}
	h := handler.Config{URL: c.Handler.URL, Schema: c.Handler.Schema}
	if c.Handler.Exec != "" {
		h.Exec = c.Path(c.Handler.Exec)
		if whole, err := filepath.Abs(h.Exec); err == nil { // else package handler refuses it
			h.Exec = whole
		}
	}
	return h, true
}

// checkHandler says why the handler's program cannot be started.
func (c *Config) checkHandler() error {
	h, there := c.handler()
	if !there || h.Exec == "" {
		return nil
	}
	info, err := os.Stat(h.Exec)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 && os.PathSeparator == '/':
		return errors.New("it is no program")
	}
	return nil
}

// question is what is known of a client, for the connect handler and the authorization policy.
func (p *peer) question(who auth.Identity, info map[string]string) handler.Request {
	return handler.Request{
		ConnectionID: p.name, EndpointID: p.server.connLog.endpoint, CommonName: who.CommonName, Username: who.Username, Groups: who.Groups,
		Platform: info["IV_PLAT"], PlatformVersion: info["IV_PLAT_VER"], PublicIP: p.from().Addr().Unmap().String(),
		ClientVersion: info["IV_VER"], AWSVersion: cmp.Or(info["IV_GUI_VER"], notSet),
	}
}

// askHandler has the connect handler judge a client that proved who it is. It does not wait.
func (p *peer) askHandler(h handler.Config, j *judging) {
	ctx, cancel := context.WithCancel(p.ctx)
	j.cancel = cancel
	p.judging = j
	p.server.peers.settled(p)
	question := p.question(j.proved, j.asked.PeerInfo)
	answer := func(a handler.Answer, err error) {
		select {
		case p.do <- func(now time.Time, s *ovpn.Session) error { return p.handled(now, s, j, a, err) }:
		case <-p.ctx.Done():
		}
	}
	begun := p.server.handlers.begin(func() {
		defer cancel()
		answer(handler.Ask(ctx, h, p.server.handlers.client, question))
	})
	if !begun {
		cancel()
		p.server.handlers.running.Go(func() {
			answer(handler.Answer{}, &handler.Failure{Reason: handler.Throttled, Err: errors.New("too many connect handlers run at the same time")})
		})
	}
}

// handled goes on where askHandler left off, with the answer.
func (p *peer) handled(now time.Time, s *ovpn.Session, j *judging, a handler.Answer, err error) error {
	if p.judging != j {
		return nil // nobody waits for it any more
	}
	p.judging = nil
	j.handled, j.posture = true, a.Statuses
	var failure *handler.Failure
	switch {
	case errors.As(err, &failure):
		p.server.log.Warn("the connect handler gave no good answer", "connection", p.name, "why", failure.Reason, "error", err)
		p.server.history.failed(failure.Reason)
		p.logFailed(now, j, failure.Reason)
		p.ended = "denied: " + failure.Reason
		return s.Deny(now, handler.Told)
	case err != nil: // the client has gone
		return err
	case !a.Allow:
		p.server.history.failed(handler.Denied)
		p.logFailed(now, j, handler.Denied)
		p.ended = "denied by the connect handler: " + a.Message
		return s.Deny(now, cmp.Or(a.Message, handler.Told))
	}
	return p.admit(now, s, j)
}
