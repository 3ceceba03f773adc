package client

import (
	"cmp"
	"context"
	"net/url"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/push"
)

const (
	// answerTime is how long a question stays open to which somebody, or some server, waits for
	// the answer.
	answerTime = 10 * time.Minute
	// notices is how many challenges in a row are confirmed that want no answer.
	notices = 3
)

// signIn is how a profile signs in, beside its certificate.
type signIn struct {
	password  bool                     // auth-user-pass
	federated bool                     // auth-federate: AWS's SAML
	static    *profile.StaticChallenge // asked together with the password; nil = none
	user      string                   // of the profile; may be empty
	secret    push.Secret              // its password; may be empty
	noCache   bool                     // auth-nocache
	retry     string                   // auth-retry; empty = none
}

func signInOf(p *profile.Profile) signIn {
	w := signIn{password: p.AuthUserPass, federated: p.AuthFederate, user: p.Username, secret: p.Password,
		noCache: p.AuthNoCache, retry: p.AuthRetry}
	if p.AuthUserPass {
		w.static = p.StaticChallenge
	}
	return w
}

// means is what an attempt signs in with.
type means uint8

const (
	byCertificate means = iota
	byPassword
	byToken
	byCode    // the answer to a dynamic challenge
	byHello   // the beginning of a federated sign-in: the server answers with a challenge
	byBrowser // what the browser brought
)

// credentials are what one attempt says in the key exchange.
type credentials struct {
	by       means
	user     string
	password push.Secret
	code     bool // a one-time code is in the password: it is sent once
	again    bool // byBrowser: the server has taken it before
}

// kept is what a connection keeps of a sign-in for its next attempts; run's goroutine owns it. It prints
// as redacted.
type kept struct {
	token     push.Secret // the server's, in place of the password
	tokenUser string      // that goes with it; empty: user

	user     string      // of the person, or else of the profile
	password push.Secret // the same; empty: to be asked for
	own      bool        // password is the profile's
	code     push.Secret // one-time, for the next attempt or question that wants one

	challenge *challenge.Dynamic // to be answered before the next attempt
	answer    *credentials       // to a challenge, for the next attempt
	notices   int                // challenges in a row without a question

	problem *api.Problem // why a person is asked once more
	late    bool         // nobody answered in time: ask whether anybody is there, first
	here    bool         // somebody has said so, and is not signed in yet
}

// keptOf is what is known before the first attempt.
func keptOf(w signIn, given api.ConnectRequest) kept {
	if w.federated {
		return kept{user: challenge.AWSUser, code: given.OTP} // whoever it is, the browser says
	}
	k := kept{user: cmp.Or(given.Username, w.user), password: given.Password, code: given.OTP}
	if k.password == "" && (k.user == w.user || w.user == "") {
		k.password, k.own = w.secret, w.secret != ""
	}
	return k
}

// renew takes a token that the server has sent; an empty one changes nothing.
func (k *kept) renew(token push.Secret, user string) {
	if token == "" {
		return
	}
	k.token, k.answer = token, nil
	if user != "" {
		k.tokenUser = user
	}
}

// forget drops everything that a person or the server gave, but for the user name. What the profile
// itself says stays.
func (k *kept) forget() {
	*k = kept{user: k.user, password: k.password, own: k.own}
	if !k.own {
		k.password = ""
	}
}

// usesToken says whether the next attempt signs in with the token: a certificate alone needs none.
func (k *kept) usesToken() bool { return k.token != "" && cmp.Or(k.tokenUser, k.user) != "" }

// refused drops what the server did not take, and keeps why.
func (k *kept) refused(by means, p *api.Problem) {
	k.problem, k.answer = p, nil
	if by == byPassword {
		k.password, k.own = "", false
	}
}

// spent drops what an attempt has sent and nobody may send again.
func (k *kept) spent(cr credentials, noCache bool) {
	if cr.code {
		k.code = ""
	}
	if cr.by == byCode {
		k.answer = nil
	}
	if noCache && !k.own && (cr.by == byPassword || cr.by == byCode) {
		k.password = ""
	}
}

// password joins a password and a one-time code as a static challenge wants them.
func (w *signIn) join(password, code push.Secret) push.Secret {
	if w.static.Concat {
		return password + code
	}
	return challenge.Static(password, code)
}

// credentials are those of the next attempt. It asks a person for what is missing; the error is a
// *failure, or the context's.
func (c *connection) credentials(ctx context.Context) (credentials, error) {
	k, w := &c.kept, &c.spec.signIn
	if k.late {
		if err := c.askAgain(ctx); err != nil {
			return credentials{}, err
		}
	}
	if k.challenge != nil {
		if err := c.askChallenge(ctx, *k.challenge); err != nil {
			return credentials{}, err
		}
	}
	switch {
	case k.answer != nil:
		return *k.answer, nil
	case k.usesToken():
		return credentials{by: byToken, user: cmp.Or(k.tokenUser, k.user), password: k.token}, nil
	case w.federated:
		if c.absent() {
			if err := c.askAgain(ctx); err != nil {
				return credentials{}, err
			}
		}
		return credentials{by: byHello, user: challenge.AWSUser, password: challenge.AWSHello}, nil
	case !w.password:
		return credentials{}, nil
	}
	if err := c.askPassword(ctx); err != nil {
		return credentials{}, err
	}
	cr := credentials{by: byPassword, user: k.user, password: k.password}
	if w.static != nil {
		cr.password, cr.code = w.join(k.password, k.code), true
	}
	return cr, nil
}

// askAgain waits until somebody wants to sign in.
func (c *connection) askAgain(ctx context.Context) error {
	if _, err := c.ask(ctx, api.Login{Kind: api.LoginAgain}, 0); err != nil {
		return err
	}
	c.kept.late, c.kept.here, c.windows, c.webEnd = false, true, nil, time.Time{}
	return nil
}

// askPassword asks for user name, password and the answer to a static challenge: what is missing of them.
func (c *connection) askPassword(ctx context.Context) error {
	k, w := &c.kept, &c.spec.signIn
	limit := answerTime
	if c.patient() {
		limit = 0 // no server waits for it
	}
	needCode := w.static != nil && k.code == ""
	if k.user == "" || k.password == "" {
		q := api.Login{Kind: api.LoginPassword, User: k.user, NeedUser: k.user == "" || k.problem != nil && w.user == ""}
		if needCode {
			q.Challenge, q.ChallengeEcho = w.static.Text, w.static.Echo
		}
		a, err := c.ask(ctx, q, limit)
		if err != nil {
			return err
		}
		k.user, k.password, k.own = cmp.Or(a.Username, k.user), cmp.Or(a.Password, k.password), false
		if needCode {
			k.code = a.Response
		}
		return nil
	}
	if needCode {
		a, err := c.ask(ctx, api.Login{Kind: api.LoginOTP, Prompt: w.static.Text, Echo: w.static.Echo, User: k.user}, limit)
		if err != nil {
			return err
		}
		k.code = a.Response
	}
	return nil
}

// askChallenge puts the answer to a dynamic challenge into kept.
func (c *connection) askChallenge(ctx context.Context, d challenge.Dynamic) error {
	k, w := &c.kept, &c.spec.signIn
	cr := credentials{by: byCode, user: cmp.Or(d.Username, k.user), code: true}
	var response push.Secret
	address, isURL := d.URL()
	switch {
	case w.federated && isURL:
		a, err := c.ask(ctx, api.Login{Kind: api.LoginBrowser, URL: address, Callback: challenge.AWSPort}, answerTime)
		if err != nil {
			return err
		}
		cr.by, cr.code = byBrowser, false
		// As the clients in the field send it: a base64 text may hold what is no part of a password elsewhere.
		response = push.Secret(url.QueryEscape(a.Response.Reveal()))
	case !d.Response:
		c.log.Info("the server says", "text", d.Text)
		if k.notices++; k.notices > notices {
			return fail(stop, api.CodeProtocolError, map[string]string{"server": c.scene.server, "detail": "it challenges without asking anything"}, nil)
		}
	case k.code != "":
		response, k.code = k.code, ""
	default:
		a, err := c.ask(ctx, api.Login{Kind: api.LoginOTP, Prompt: d.Text, Echo: d.Echo, User: cr.user}, answerTime)
		if err != nil {
			return err
		}
		response, k.notices = a.Response, 0
	}
	cr.password = d.Answer(response)
	k.challenge, k.answer = nil, &cr
	return nil
}

// patient says that nobody waits in front of a screen: the tunnel was up before, or the service began it
// by itself. Such a connection waits for its person as long as it takes.
func (c *connection) patient() bool { return c.wasUp || c.unattended }

// ask shows a question between attempts and waits for its answer; limit 0 = without end. The time of
// the first connection stands still meanwhile, and a change of the network is followed.
func (c *connection) ask(ctx context.Context, q api.Login, limit time.Duration) (api.Answer, error) {
	id, answers := c.desk.open()
	defer c.desk.close()
	q.ID = id
	if q.Kind == api.LoginBrowser {
		if err := c.openWeb(ctx, q.URL); err != nil {
			return api.Answer{}, err
		}
		defer c.closeWeb()
		if len(c.plan.Guard.Web) > 0 {
			limit = min(limit, time.Until(c.webEnd))
		}
	}
	var late <-chan time.Time
	if limit > 0 {
		q.Deadline = time.Now().Add(limit)
		t := time.NewTimer(limit)
		defer t.Stop()
		late = t.C
	}
	c.limit.Hold(true)
	defer c.limit.Hold(false)
	c.status.Login = &q
	c.enter(api.NeedsLogin, c.kept.problem)
	defer func() { c.status.Login = nil }()
	c.log.Info("a person is asked to sign in", "kind", q.Kind)
	for {
		select {
		case <-ctx.Done():
			return api.Answer{}, ctx.Err()
		case a := <-answers:
			return c.answered(a)
		case <-late:
			c.desk.close()
			select {
			case a := <-answers: // just in time
				return c.answered(a)
			default:
			}
			return api.Answer{}, c.nobody(limit)
		case <-c.outDone:
			return api.Answer{}, c.tunGone()
		case <-c.minded:
			if _, err := c.follow(ctx); err != nil {
				return api.Answer{}, err
			}
		case <-c.behind:
			if _, err := c.follow(ctx); err != nil {
				return api.Answer{}, err
			}
		case <-c.host.Changes():
			settle(c.host.Changes(), ctx.Done())
			if _, err := c.follow(ctx); err != nil {
				return api.Answer{}, err
			}
		}
	}
}

// answered goes on after an answer between attempts.
func (c *connection) answered(a api.Answer) (api.Answer, error) {
	c.status.Login, c.kept.problem = nil, nil
	if a.Cancel {
		return a, c.cancelled()
	}
	c.waiting(nil)
	return a, nil
}

func (c *connection) cancelled() *failure {
	return fail(stop, api.CodeSignInCancelled, map[string]string{"profile": c.wiring.status.Profile}, nil)
}

// nobody is the failure of a question that was not answered in time. A patient connection asks again once
// somebody is there, and does not open one browser window after the other.
func (c *connection) nobody(limit time.Duration) *failure {
	f := fail(stop, api.CodeSignInTimedOut, map[string]string{"after": limit.Round(time.Second).String(), "profile": c.wiring.status.Profile}, nil)
	c.kept.challenge, c.kept.answer = nil, nil
	if c.patient() {
		c.kept.late, c.kept.problem = true, f.problem
		f.verdict = onward
	}
	return f
}

// by is what the server judged when it refused.
func (a *running) by() means {
	switch a.pending.kind {
	case api.LoginOTP:
		return byCode
	case api.LoginBrowser:
		return byBrowser
	}
	return a.cr.by
}

// refused says what AUTH_FAILED means.
func (a *running) refused(ev ovpn.AuthFailed) *failure {
	c, cr, by := a.c, a.cr, a.by()
	k, w := &c.kept, &c.spec.signIn
	if ev.Kind == ovpn.Challenge {
		d, err := challenge.ParseDynamic(ev.Reason)
		if err != nil {
			return fail(stop, api.CodeProtocolError, map[string]string{"server": a.at.server, "detail": "its challenge cannot be read"}, err)
		}
		if _, browser := d.URL(); browser && w.federated && cr.by == byBrowser && !cr.again {
			// What the browser has just brought is answered with the next window: one that remembers the
			// person would answer that, too, and so on.
			return a.browserRefused(map[string]string{"reason": "the server wants the browser once more", "profile": c.wiring.status.Profile})
		}
		if cr.by == byToken {
			k.token = ""
		}
		k.challenge, k.answer = &d, nil
		return fail(onward, api.CodeSignInExpired, map[string]string{"reason": "the server asks a question"}, nil)
	}
	if f := unrelated(ev, a.at); f != nil {
		return f
	}
	reason := map[string]string{"reason": ev.Reason, "profile": c.wiring.status.Profile}
	if k.usesToken() || cr.by == byBrowser && cr.again {
		// The token is no good any more; the credentials that it stood for may be.
		k.token, k.tokenUser, k.answer = "", "", nil
		f := fail(restart, api.CodeSignInExpired, reason, nil)
		f.advance, k.problem = stay, f.problem
		return f
	}
	code := api.CodeAuthFailed
	switch by {
	case byPassword:
		code = api.CodePasswordRefused
		reason["what"] = "user name and password"
		if cr.code {
			reason["what"] = "user name, password or one-time code"
		}
	case byCode:
		code = api.CodeCodeRefused
	case byBrowser, byHello:
		return a.browserRefused(reason)
	}
	switch {
	case w.retry == "nointeract":
		f := fail(retry, code, reason, nil)
		k.answer, k.problem = nil, f.problem // for when a person must be asked all the same
		return f
	case w.retry == "interact" && by != byCertificate:
		f := fail(onward, code, reason, nil)
		k.refused(by, f.problem)
		return f
	}
	return fail(stop, code, reason, nil)
}

// browserRefused opens no new browser window by itself: an identity provider that remembers the
// person would bring the same answer, and the next window.
func (a *running) browserRefused(args map[string]string) *failure {
	f := fail(stop, api.CodeBrowserRefused, args, nil)
	a.c.kept.refused(byBrowser, f.problem)
	if a.c.patient() {
		a.c.kept.late, f.verdict = true, onward
	}
	return f
}

// spend forgets what was sent to the server and is not to be sent again. It may be called twice.
func (a *running) spend() {
	select {
	case <-a.secured:
		a.c.kept.spent(a.cr, a.c.spec.signIn.noCache)
	default: // it never left this machine
	}
}

// signedIn settles the sign-in of a tunnel that is up.
func (a *running) signedIn(s *ovpn.Session, reply push.Reply) {
	a.withdraw() // the caller enters another state
	a.pending = pending{}
	k := &a.c.kept
	k.problem, k.notices, k.here, a.c.webEnd = nil, 0, false, time.Time{}
	k.renew(reply.AuthToken, reply.TokenUser)
	if k.answer != nil {
		k.answer.again = true
	}
	if a.cr.code || a.c.spec.signIn.noCache && !k.own && a.cr.by == byPassword {
		s.Forget()
	}
}

// echoes logs what the server wants to be shown (openvpn(8), --echo), and does what some of them ask.
func (c *connection) echoes(reply push.Reply) {
	if c.status.Banner = reply.Message(); c.status.Banner != "" {
		c.log.Info("the server's message", "text", c.status.Banner)
	}
	for _, e := range reply.Echo {
		if !push.IsMessage(e) {
			c.log.Info("the server says", "echo", e)
		}
		if e == "forget-passwords" {
			c.kept.forget()
		}
		if profile.ForbidsSaving(e) {
			c.status.SavePassword, c.status.SaveForbidden = false, cmp.Or(c.status.SaveForbidden, "server")
		}
	}
}
