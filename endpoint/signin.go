package endpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn"
)

// A client proves who it is: its certificate at once, then a token in place of the password, or
// the password itself, beside its goroutine. It gets its configuration when it passed all, not before
// (CVE-2020-15078), and each answer counts for the key that it was asked for (CVE-2022-0547).

// judging is one sign-in that is being checked.
type judging struct {
	asked  ovpn.Credentials
	by     *generation   // whose methods judge
	proved auth.Identity // so far

	handled bool     // the connect handler has let it in
	posture []string // what it said of the client
	cancel  context.CancelFunc
}

// What clients are told when it is not their fault.
const (
	tellCannot  = "the endpoint cannot check who you are at the moment"
	tellCrowded = "TEMP:too many people sign in at the moment"
	tellExpired = "SESSION: token expired"
)

// authenticate begins to judge what a client shows. It does not wait.
func (p *peer) authenticate(now time.Time, s *ovpn.Session, ev ovpn.Credentials) error {
	if p.judging != nil { // another negotiation has begun: that key is gone
		p.judging.cancel()
		p.judging = nil
	}
	ev.PeerInfo = known(ev.PeerInfo)
	g := p.gen.Load()
	cred := auth.Credentials{TLS: ev.TLS, Username: ev.Username, Password: ev.Password, PeerInfo: ev.PeerInfo, From: p.from()}
	j := &judging{asked: ev, by: g}
	if !ev.Renegotiation {
		p.login = said(ev.Username)
		p.logAnswered(now, ev.Password)
	}
	if g.certificate != nil {
		outcome, err := g.certificate.Check(p.ctx, cred)
		if passed, err := p.passed(now, s, j, outcome, err); !passed {
			return err
		}
	}
	switch {
	case g.sign == nil:
		return p.admit(now, s, j)
	case g.tokens != nil && auth.IsToken(ev.Password):
		outcome := p.byToken(g, ev, j.proved)
		if passed, err := p.signed(now, s, j, outcome, nil); !passed {
			return err
		}
		return p.admit(now, s, j)
	}
	ctx, cancel := context.WithCancel(p.ctx)
	j.cancel = cancel
	p.server.peers.settled(p) // signins has its own bounds
	err := p.server.signins.begin(ctx, p.source, ev.Username, ev.Password,
		func(ctx context.Context) (auth.Outcome, error) { return g.sign.Check(ctx, cred) },
		func(outcome auth.Outcome, err error) {
			defer cancel()
			select {
			case p.do <- func(now time.Time, s *ovpn.Session) error { return p.judged(now, s, j, outcome, err) }:
			case <-p.ctx.Done():
			}
		})
	if err != nil {
		cancel()
		_, err = p.signed(now, s, j, nil, err)
		return err
	}
	p.judging = j
	return nil
}

// byToken judges a token of ours. It stands for the password alone: certificate is who the certificate
// says that it is, which must be whose it was when the token was given.
func (p *peer) byToken(g *generation, ev ovpn.Credentials, certificate auth.Identity) auth.Outcome {
	switch err := g.tokens.Verify(ev.Username, ev.Password); {
	case errors.Is(err, auth.ErrTokenExpired):
		return auth.Denied{Reason: err.Error(), Tell: tellExpired}
	case err != nil:
		return auth.Denied{Reason: err.Error()}
	}
	if ev.Renegotiation && p.token != "" && !auth.SameSession(p.token, ev.Password) {
		return auth.Denied{Reason: "the token of another sign-in"}
	}
	who, ok := p.server.signedIn.get(auth.SessionOf(ev.Password))
	switch {
	case !ok:
		return auth.Denied{Reason: errRevoked.Error(), Tell: tellExpired}
	case who.proof != g.proof:
		return auth.Denied{Reason: "the authentication token is of a sign-in before the way to sign in changed", Tell: tellExpired}
	case who.identity.CommonName != certificate.CommonName:
		return auth.Denied{Reason: fmt.Sprintf("the authentication token is of a sign-in with another certificate, %q", who.identity.CommonName), Tell: tellExpired}
	}
	if u, here := g.sign.(*auth.Users); here {
		if who.identity.Groups, ok = u.Groups(who.identity.Username); !ok {
			return auth.Denied{Reason: fmt.Sprintf("user %q is not in the test directory any more", who.identity.Username), Tell: tellExpired}
		}
		if who.digest != g.digest(who.identity) {
			return auth.Denied{Reason: fmt.Sprintf("the authentication token is of a sign-in before the password of %q changed in the test directory", who.identity.Username), Tell: tellExpired}
		}
	}
	return auth.Accepted{Identity: who.identity}
}

// judged goes on where authenticate left off, with the answer.
func (p *peer) judged(now time.Time, s *ovpn.Session, j *judging, outcome auth.Outcome, err error) error {
	if p.judging != j {
		return nil // nobody waits for it any more
	}
	p.judging = nil
	if passed, err := p.signed(now, s, j, outcome, err); !passed {
		return err
	}
	return p.admit(now, s, j)
}

// signed is passed for what a person, or a token of one, showed: it goes into the connection log, which certificates do not.
func (p *peer) signed(now time.Time, s *ovpn.Session, j *judging, outcome auth.Outcome, err error) (bool, error) {
	switch o := outcome.(type) {
	case auth.Challenge:
		p.logAsked(now, j, o)
	case auth.Accepted:
		if err != nil {
			p.logFailed(now, j, failedAuthentication)
		}
	default:
		p.logFailed(now, j, failedAuthentication)
	}
	return p.passed(now, s, j, outcome, err)
}

// passed adds what a method proved, or denies the client.
func (p *peer) passed(now time.Time, s *ovpn.Session, j *judging, outcome auth.Outcome, err error) (bool, error) {
	deny := func(reason, tell string) (bool, error) {
		p.ended = reason
		return false, s.Deny(now, tell)
	}
	switch o := outcome.(type) {
	case auth.Accepted:
		if err == nil {
			j.proved = merge(j.proved, o.Identity)
			return true, nil
		}
	case auth.Denied:
		if err == nil {
			p.server.history.failed(failedAuthentication)
			return deny("denied: "+o.Reason, o.Tell)
		}
	case auth.Challenge:
		if err == nil {
			return deny("asked for more", o.Text)
		}
	}
	if errors.Is(err, errCrowded) { // nothing was checked
		return deny("denied: "+err.Error(), tellCrowded)
	}
	p.server.history.failed(failedAuthentication)
	if err == nil {
		err = errors.New("no answer")
	}
	p.server.log.Error("cannot check who a client is", "connection", p.name, "user", said(j.asked.Username), "error", err)
	return deny("authentication failed: "+err.Error(), tellCannot)
}

// admit lets a client in that passed everything: it may have its configuration, or go on.
func (p *peer) admit(now time.Time, s *ovpn.Session, j *judging) error {
	g, ev, who := p.gen.Load(), j.asked, j.proved
	if ev.Renegotiation {
		return p.goOn(now, s, j)
	}
	if g.connect != nil && !j.handled {
		p.askHandler(*g.connect, j)
		return nil
	}
	if ok, err := p.permitted(now, s, j); !ok {
		return err
	}
	signedIn, err := p.giveToken(now, j)
	if err != nil {
		p.ended = "denied: " + err.Error()
		p.server.history.failed(failedAuthentication)
		p.logFailed(now, j, failedAuthentication)
		return s.Deny(now, tellExpired)
	}
	lease, err := g.pool.lease(g.layout, p.server.avoided(g), who.Name())
	if err != nil {
		p.ended = "denied: " + err.Error()
		p.logFailed(now, j, failedNoAddress)
		p.server.log.Warn("no address for a client", "client", who.Name(), "reason", err)
		return s.Deny(now, err.Error())
	}
	p.lease = lease
	p.holds.Store(true)
	p.mtu, p.info = ivMTU(ev.PeerInfo), ev.PeerInfo
	p.access.Store(g.access.of(lease.association, who.Groups))
	p.status.Store(&status{identity: who, digest: j.by.digest(who), session: auth.SessionOf(p.token), signedIn: signedIn, since: now, lease: lease, machine: machineOf(ev.PeerInfo), platform: ev.PeerInfo["IV_PLAT"], posture: j.posture, key: controlKey(s)})
	if old := p.server.peers.established(p); old != nil {
		p.inherit(old)
		old.cancel(errReplaced)
	}
	return s.Accept(now, ev.KeyID)
}

// errRevoked is the end of a sign-in between two looks at it.
var errRevoked = errors.New("the authentication token was revoked, or is from another run of the endpoint")

// giveToken makes the token of a new session: that of a new sign-in, or the next one of the
// sign-in that the client came back from. A reload since it was judged does not make it newer.
func (p *peer) giveToken(now time.Time, j *judging) (signedIn time.Time, err error) {
	g, ev, who := p.gen.Load(), j.asked, j.proved
	if g.tokens == nil {
		return now, nil
	}
	if auth.IsToken(ev.Password) { // which byToken has accepted
		old, ok := p.server.signedIn.renew(auth.SessionOf(ev.Password), who, j.by.digest(who), g.tokens.Until(), p.name)
		if !ok {
			return now, errRevoked
		}
		p.tokenUser = ev.Username
		p.token, err = g.tokens.Renew(ev.Password, ev.Username)
		return old.since, err
	}
	p.tokenUser = ev.Username
	p.token = g.tokens.Issue(ev.Username)
	p.server.signedIn.put(now, g.tokens, auth.SessionOf(p.token), signIn{identity: who, since: now, until: g.tokens.Until(), proof: j.by.proof, digest: j.by.digest(who), last: p.name})
	return now, nil
}

// goOn lets a client keep its session after a renegotiation. Who it is may not change.
func (p *peer) goOn(now time.Time, s *ovpn.Session, j *judging) error {
	st, who := p.status.Load(), j.proved
	if st == nil || st.identity.Username != who.Username || st.identity.CommonName != who.CommonName {
		p.ended = "denied: another identity than at the beginning"
		return s.Deny(now, "the identity changed")
	}
	next := *st
	next.identity, next.digest = who, j.by.digest(who) // groups may have changed
	p.adopting.Lock()
	p.status.Store(&next)
	p.access.Store(p.gen.Load().access.of(st.lease.association, who.Groups))
	p.adopting.Unlock()
	if err := s.Accept(now, j.asked.KeyID); err != nil {
		return err
	}
	return p.renewToken(now, s)
}

// renewToken gives the client the next token of its sign-in, if it has one. Only on run's goroutine.
func (p *peer) renewToken(now time.Time, s *ovpn.Session) error {
	g, st := p.gen.Load(), p.status.Load()
	if g.tokens == nil || st == nil || p.token == "" {
		return nil
	}
	if _, ok := p.server.signedIn.renew(st.session, st.identity, st.digest, g.tokens.Until(), p.name); !ok {
		return nil // revoked: the session is ending
	}
	token, err := g.tokens.Renew(p.token, p.tokenUser)
	if err != nil {
		return err
	}
	p.token = token
	p.renewOn()
	return s.PushToken(now, token)
}

// renewal sees to it that the client's token is renewed in time; stop ends that. Without it a token is as old as the last
// negotiation of a key, which is soon enough unless tokens are to be renewed more often (openvpn does the same). Under adopting.
func (p *peer) renewal(g *generation) {
	p.stopRenewal()
	if g.tokens != nil && g.lasting.Renewal < renegotiate {
		p.renew = time.AfterFunc(g.lasting.Renewal, func() {
			select {
			case p.do <- p.renewToken:
			default: // it has much to do: next time
				p.renewOn()
			}
		})
	}
}

func (p *peer) stopRenewal() {
	if p.renew != nil {
		p.renew.Stop()
		p.renew = nil
	}
}

// renewOn is renewal anew, while the session lasts.
func (p *peer) renewOn() {
	p.adopting.Lock()
	defer p.adopting.Unlock()
	if p.pushed {
		p.renewal(p.gen.Load())
	}
}

// merge adds what another method proved.
func merge(a, b auth.Identity) auth.Identity {
	if b.CommonName != "" {
		a.CommonName = b.CommonName
	}
	if b.Username != "" {
		a.Username = b.Username
	}
	a.Groups = append(a.Groups, b.Groups...)
	return a
}

// limit sees to it that the session ends in time. Under adopting.
func (p *peer) limit(cfg *Config) {
	if p.expiry != nil {
		p.expiry.Stop()
	}
	left := p.status.Load().signedIn.Add(cfg.SessionTimeout).Sub(p.server.leave.Now())
	p.expiry = time.AfterFunc(max(left, 0), p.expire)
}

// unlimit ends limit with the session.
func (p *peer) unlimit() {
	p.adopting.Lock()
	defer p.adopting.Unlock()
	p.pushed = false
	if p.expiry != nil {
		p.expiry.Stop()
	}
	p.watch(nil)
	p.stopRenewal()
}

// expire ends a session whose time is over: its client stays away until somebody connects it
// again, or comes back and has to sign in.
func (p *peer) expire() {
	const reason = "the session time is over"
	p.server.signedIn.forget(p.status.Load().session)
	if p.gen.Load().cfg.DisconnectOnTimeout {
		p.end("HALT,"+reason, reason)
	} else {
		p.end("RESTART,"+reason, reason)
	}
}
