package endpoint

import (
	"fmt"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/endpoint/cedar"
	"github.com/adit-vpn/adit/endpoint/handler"
	"github.com/adit-vpn/adit/ovpn"
)

// The authorization policy judges each connection after the connect handler, and each session again from time to time. It is asked on
// the goroutine of its client, never on one that moves packets.

const (
	policyDeny = "authorization-policy-deny"              // failure reason of the connection log
	tellPolicy = "Authorization policy evaluation failed" // what AWS's client shows ("How device posture works")
)

// policy is an authorization policy that is in force. It is immutable.
type policy struct {
	cedar  *cedar.Policy
	text   string
	shadow bool
	every  time.Duration
}

// same says whether another one, or none, is of the same words and mode.
func (a *policy) same(b *policy) bool {
	return a == b || a != nil && b != nil && a.text == b.text && a.shadow == b.shadow && a.every == b.every
}

// resets says whether sessions that were admitted under before, which may be nil, end because of a, as on AWS: when a policy is
// enforced that was not. One that goes, or denies nobody any more, ends none.
func (a *policy) resets(before *policy) bool {
	return a != nil && !a.shadow && (before == nil || before.shadow || before.text != a.text)
}

// loadPolicy reads the authorization policy.
func (g *generation) loadPolicy(l Leaves) error {
	if !g.cfg.AuthorizationPolicy.there() {
		return nil
	}
	file, text, err := g.cfg.policyText(l.ReadFile)
	if err != nil {
		return fmt.Errorf("authorization_policy: %w", err)
	}
	parsed, err := cedar.Parse(text)
	if err != nil {
		if file != "" {
			err = fmt.Errorf("%s: %w", file, err)
		}
		return fmt.Errorf("authorization_policy: %w", err)
	}
	g.policy = &policy{cedar: parsed, text: text, shadow: g.cfg.AuthorizationPolicy.Shadow, every: g.cfg.AuthorizationPolicy.Every}
	return nil
}

// Policy is the text of the authorization policy that clients are judged by, and whether in shadow mode; ok is false when there is none.
// What has been written into its file since does not count before a Reload. Any goroutine.
func (s *Server) Policy() (text string, shadow, ok bool) {
	a := s.gen.Load().policy
	if a == nil {
		return "", false, false
	}
	return a.text, a.shadow, true
}

// evaluation is one judgement of the policy, as the connection log has it.
type evaluation struct {
	Result  string         `json:"result"`          // of package cedar
	Type    string         `json:"evaluation-type"` // connection-attempt or periodic
	Shadow  string         `json:"shadow-mode"`     // enabled or disabled
	Reason  string         `json:"reason,omitempty"`
	Devices struct{}       `json:"device-token-status"` // no client's token is known here
	Context map[string]any `json:"context,omitempty"`
}

// The types of evaluations.
const (
	atAttempt    = "connection-attempt"
	periodically = "periodic"
)

// evaluate has the policy judge what is known of a client; denied says that it may not connect, or stay. Only on run's goroutine.
func (p *peer) evaluate(now time.Time, g *generation, kind string, q handler.Request) (denied bool) {
	shown := policyContext(&g.cfg, q)
	got := g.policy.cedar.Evaluate(shown)
	e := &evaluation{Result: got.Decision, Type: kind, Shadow: "disabled"}
	if g.policy.shadow {
		e.Shadow = "enabled"
	}
	if got.Decision != cedar.Permit {
		e.Reason = "policy-deny"
		// In shadow mode this is for what people look at the log.
		if p.evaluation == nil || p.evaluation.Result != got.Decision {
			p.server.log.Info("the authorization policy does not permit a client", "connection", p.name, "client", (auth.Identity{CommonName: q.CommonName, Username: q.Username}).Name(), "result", got.Decision, "why", got.Why, "shadow", e.Shadow)
		}
	}
	if g.cfg.ConnectionLog.PolicyContext {
		e.Context = shown
	}
	p.evaluation = e
	p.evaluated.Store(now.Unix())
	return got.Decision != cedar.Permit && !g.policy.shadow
}

// policyContext is what a policy may ask of: the connection, and who the client proved to be by each of the endpoint's methods. The
// names in it that AWS does not document are those of its connect handler.
func policyContext(c *Config, q handler.Request) map[string]any {
	out := map[string]any{"connection": map[string]any{
		"endpoint-id": q.EndpointID, "connection-id": q.ConnectionID, "platform": q.Platform, "platform-version": q.PlatformVersion,
		"public-ip": q.PublicIP, "client-openvpn-version": q.ClientVersion, "aws-client-version": q.AWSVersion,
	}}
	mutual, directory, federated := c.Methods()
	if mutual != nil {
		out["mutual-authentication"] = map[string]any{"common-name": q.CommonName}
	}
	if directory != nil {
		out["active-directory"] = map[string]any{"username": q.Username, "groups": groupsOf(q)}
	}
	if federated != nil {
		out["saml"] = map[string]any{"NameID": q.Username, "memberOf": groupsOf(q)}
	}
	return out
}

func groupsOf(q handler.Request) []string {
	if q.Groups == nil {
		return []string{} // in JSON, too, it is a list
	}
	return q.Groups
}

// permitted has the policy judge a client that passed everything else; false: it was denied. Only on run's goroutine.
func (p *peer) permitted(now time.Time, s *ovpn.Session, j *judging) (bool, error) {
	g := p.gen.Load()
	if g.policy == nil || !p.evaluate(now, g, atAttempt, p.question(j.proved, j.asked.PeerInfo)) {
		return true, nil
	}
	p.server.history.failed(policyDeny)
	p.logFailed(now, j, policyDeny)
	p.ended = "denied by the authorization policy: " + p.evaluation.Result
	return false, s.Deny(now, tellPolicy)
}

// watch sees to it that a session is judged again in time, if anybody judges. Under adopting.
func (p *peer) watch(a *policy) {
	if p.again != nil {
		p.again.Stop()
		p.again = nil
	}
	if a != nil {
		p.again = time.AfterFunc(a.every, p.reevaluate)
	}
}

// reevaluate has the session judged on its goroutine. Any goroutine.
func (p *peer) reevaluate() {
	select {
	case p.do <- p.judgeAgain:
	default: // it has much to do: next time
		p.watchOn()
	}
}

// watchOn is watch for the policy in force, while the session lasts.
func (p *peer) watchOn() {
	p.adopting.Lock()
	defer p.adopting.Unlock()
	if p.pushed {
		p.watch(p.gen.Load().policy)
	}
}

// judgeAgain ends the session if the policy does not permit it any more. Its client stays away until somebody connects it: it would be
// denied.
func (p *peer) judgeAgain(now time.Time, s *ovpn.Session) error {
	g, st := p.gen.Load(), p.status.Load()
	if g.policy == nil || st == nil {
		return nil
	}
	if !p.evaluate(now, g, periodically, p.question(st.identity, p.info)) {
		p.watchOn()
		return nil
	}
	p.server.peers.withdraw(p) // packets stop at once
	return p.tell(now, s, "HALT,"+tellPolicy, "the authorization policy does not permit it any more: "+p.evaluation.Result)
}
