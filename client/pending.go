package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
)

// pending is a question of a server that waits with the session (AUTH_PENDING). The session's goroutine
// owns it.
type pending struct {
	began, until time.Time          // of the server's patience; zero: it did not say
	kind         api.LoginKind      // of the newest question; empty: none
	url          string             // to be opened once somebody wants to sign in
	dismiss      context.CancelFunc // ends the wait for the answer; nil: nothing is asked
}

// pends shows what the server waits for.
func (a *running) pends(ctx context.Context, limit time.Duration) {
	a.pending.began = time.Now()
	a.pending.until = a.pending.began.Add(limit)
	a.c.log.Info("the server waits for a sign-in elsewhere", "timeout", limit)
	a.show(ctx, api.Login{Kind: api.LoginWait})
}

// message takes a control message that package ovpn does not know.
func (a *running) message(ctx context.Context, now time.Time, s *ovpn.Session, text string) error {
	c := a.c
	p, known, err := challenge.ParsePending(text)
	switch {
	case err != nil:
		return fail(stop, api.CodeProtocolError, map[string]string{"server": a.at.server, "detail": err.Error()}, err)
	case !known:
		word, _, _ := strings.Cut(text, ",") // the rest may be a secret
		c.log.Info("control message", "kind", word)
	case p.URL != "":
		if !a.up.Load() && c.absent() {
			a.pending.url = p.URL
			a.show(ctx, api.Login{Kind: api.LoginAgain})
			return nil
		}
		if c.opened(now) {
			a.show(ctx, api.Login{Kind: api.LoginBrowser, URL: p.URL})
			return nil
		}
		c.log.Warn("the server wants one browser window after the other")
		if !a.up.Load() {
			return a.browserRefused(map[string]string{"reason": "it wants one browser window after the other", "profile": c.wiring.status.Profile})
		}
	case !p.Response:
		a.show(ctx, api.Login{Kind: api.LoginWait, Prompt: p.Text})
	case c.kept.code != "":
		code := c.kept.code
		c.kept.code, a.pending.kind = "", api.LoginOTP
		return a.respond(now, s, code)
	default:
		a.show(ctx, api.Login{Kind: api.LoginOTP, Prompt: p.Text, Echo: p.Echo})
	}
	return nil
}

// maxWindows is how many browser windows servers may have opened within answerTime.
const maxWindows = 5

// opened counts a browser window that a server wants at its own time; false says that there were enough.
func (c *connection) opened(now time.Time) bool {
	c.windows = slices.DeleteFunc(c.windows, func(t time.Time) bool { return now.Sub(t) >= answerTime })
	if len(c.windows) >= maxWindows {
		return false
	}
	c.windows = append(c.windows, now)
	return true
}

// show publishes a question while the session goes on, instead of the last one, and brings its
// answer to the session.
func (a *running) show(ctx context.Context, q api.Login) {
	c := a.c
	a.withdraw()
	a.pending.kind = q.Kind
	ctx, a.pending.dismiss = context.WithCancel(ctx)
	id, answers := c.desk.open()
	q.ID, q.Deadline = id, a.pending.until
	c.limit.Hold(true)
	c.status.Login = &q
	if c.status.State == api.Connected {
		c.publish(c.status) // the tunnel goes on meanwhile
	} else {
		c.enter(api.NeedsLogin, c.kept.problem)
	}
	c.log.Info("the server asks a person", "kind", q.Kind)
	// When web pages close again, and nobody was there.
	var shut, absent <-chan time.Time
	if q.Kind == api.LoginBrowser && !a.up.Load() {
		if err := c.openWeb(ctx, q.URL); err != nil {
			c.log.Error("the browser may not reach the sign-in", errorKey, err)
		}
		if shut = time.After(webTime); c.plan.Guard.Full() {
			shut, absent = nil, time.After(time.Until(c.webEnd))
		}
	}
	late := make(<-chan time.Time)
	if !q.Deadline.IsZero() {
		late = time.After(time.Until(q.Deadline))
	}
	a.loops.Go(func() {
		f := func(time.Time, *ovpn.Session) error { a.settle(); return nil }
		select {
		case <-ctx.Done():
			return
		case <-a.ended:
			return
		case <-late: // the session ends by itself, if it is not up
		case <-shut: // so long may nobody take
		case <-absent: // and the server may not have the web open again and again
			f = func(time.Time, *ovpn.Session) error { return a.c.nobody(webTime) }
		case answer := <-answers:
			f = func(now time.Time, s *ovpn.Session) error { return a.take(ctx, now, s, q.Kind, answer) }
		}
		select {
		case a.do <- f:
		case <-ctx.Done():
		case <-a.ended:
		}
	})
}

// settle takes the question back and shows the state without it.
func (a *running) settle() {
	c := a.c
	switch {
	case !a.withdraw():
	case c.status.State == api.Connected:
		c.publish(c.status)
	default:
		c.waiting(nil)
	}
}

// withdraw takes the question back; it says whether there was one.
func (a *running) withdraw() bool {
	if a.pending.dismiss == nil {
		return false
	}
	a.pending.dismiss()
	a.pending.dismiss = nil
	a.c.desk.close()
	a.c.closeWeb()
	a.c.limit.Hold(false)
	a.c.status.Login = nil
	return true
}

// take brings a person's answer to the session.
func (a *running) take(ctx context.Context, now time.Time, s *ovpn.Session, kind api.LoginKind, answer api.Answer) error {
	a.c.kept.problem = nil
	a.settle()
	switch {
	case answer.Cancel:
		return a.c.cancelled()
	case kind == api.LoginAgain:
		a.c.kept.here, a.c.windows, a.c.webEnd = true, nil, time.Time{}
		a.c.opened(now)
		a.show(ctx, api.Login{Kind: api.LoginBrowser, URL: a.pending.url})
		return nil
	case kind == api.LoginOTP:
		return a.respond(now, s, answer.Response)
	}
	return nil
}

// respond answers CR_TEXT.
func (a *running) respond(now time.Time, s *ovpn.Session, response push.Secret) error {
	a.c.log.Info("the answer goes to the server")
	if err := s.Respond(now, response.Reveal()); err != nil {
		return fail(stop, api.CodeCodeRefused, map[string]string{"reason": "it cannot be sent: " + err.Error()}, err)
	}
	return nil
}

// overdue is the failure of a session that ended while the server waited for a person in vain; nil if
// it did not.
func (a *running) overdue(err error) *failure {
	var p *ovpn.ProtocolError
	if a.pending.until.IsZero() || a.up.Load() || !errors.As(err, &p) || p.Cause != ovpn.CauseTimeout {
		return nil
	}
	return a.c.nobody(a.pending.until.Sub(a.pending.began))
}
