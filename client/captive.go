package client

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// A network that wants a sign-in lets nothing through before, and often answers in the place of others. What the
// system's network manager has found out about it explains a failure better than the failure does; nobody else is asked.

const (
	portalTime  = 2 * time.Second
	portalPause = 5 * time.Second // between attempts, at most
)

// captiveCodes are the failures that such a network makes.
func captiveCodes() []string {
	return []string{api.CodeServerUnreachable, api.CodeServerNameUnknown, api.CodeProxyUnreachable, api.CodeTLSFailed,
		api.CodeControlKeyWrong, api.CodeProtocolError, api.CodeTimeout}
}

// captive words f anew where the network wants a sign-in. What failed is tried again then: nothing has been heard of the server.
// A sign-in page that the network only names explains nothing, and becomes a hint.
func (c *connection) captive(ctx context.Context, f *failure) *failure {
	if c.portal == nil || !slices.Contains(captiveCodes(), f.problem.Code) {
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, portalTime)
	defer cancel()
	found := c.portal(ctx)
	out := *f
	switch {
	case !found.Captive && found.URL == "":
		return f
	case !found.Captive:
		args := map[string]string{api.ArgPortal: found.URL}
		maps.Copy(args, f.problem.Args)
		out.problem = api.NewProblem(f.problem.Code, args)
		return &out
	}
	args := map[string]string{"server": c.scene.server, "url": found.URL, "what": api.PortalRetried}
	if c.plan.Guard.Full() {
		args["profile"] = c.wiring.status.Profile
	}
	out.verdict, out.problem, out.err = retry, api.NewProblem(api.CodeCaptivePortal, args), f
	return &out
}

// lastly is the problem of a connection that ends with p: nothing is tried again by itself then.
func lastly(p *api.Problem) *api.Problem {
	if p.Code != api.CodeCaptivePortal {
		return p
	}
	args := maps.Clone(p.Args)
	args["what"] = api.PortalOver
	return api.NewProblem(p.Code, args)
}
