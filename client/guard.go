package client

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/routes"
)

// The guard of a connection: what belongs into its tunnel does not leave beside it, from the first push reply on
// (lockdown: always) until somebody disconnects.
//
// A connection whose attempts have ended for good, but whose guard is closed, is parked: it keeps the guard, shows
// Blocked, and waits for somebody to connect or disconnect it. With lockdown it is parked before the first attempt and after
// each disconnect, too.

// Guard modes (adit set NAME guard=MODE).
const (
	guardOff      = "off"
	guardAuto     = "auto"
	guardLockdown = "lockdown"
)

// guardMode is the mode that settings mean.
func guardMode(s api.Settings) string {
	if s.Guard == "" {
		return guardAuto
	}
	return s.Guard
}

// call is what rouses a parked connection.
type call struct {
	given      api.ConnectRequest
	spec       spec // of the profile as it is now
	settings   api.Settings
	unattended bool // nobody asked for it now
	// The server's, from the last service; empty: there is none.
	token     push.Secret
	tokenUser string
}

// berth is where a parked connection lies. The zero value is one with attempts to make. Safe for concurrent use.
type berth struct {
	mu     sync.Mutex
	asked  bool               // to be parked
	cancel context.CancelFunc // ends the attempts; nil: there are none
	parked chan struct{}      // closed once there are none; nil: nobody waits
	wake   chan call
	left   chan struct{} // closed when attempts begin again; nil: nobody waits
}

// leave begins attempts. They end with ctx, or when the connection is to be parked.
func (b *berth) leave(ctx context.Context) (context.Context, context.CancelFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	b.cancel, b.wake = cancel, nil
	if b.left != nil {
		close(b.left)
		b.left = nil
	}
	if b.asked {
		cancel()
	}
	return ctx, cancel
}

// enter ends the attempts: from now on, rouse wakes the connection. It may be called twice.
func (b *berth) enter() <-chan call {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked, b.cancel = false, nil
	if b.wake == nil {
		b.wake = make(chan call, 1)
	}
	if b.parked != nil {
		close(b.parked)
		b.parked = nil
	}
	return b.wake
}

// park asks for the end of the attempts; the channel closes when it has come.
func (b *berth) park() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake != nil { // it is parked, and if somebody has just roused it, then before that
		select {
		case <-b.wake:
		default:
			b.asked = true // who has taken the word already, but not left yet, is to come back
		}
		if b.left != nil {
			close(b.left)
			b.left = nil
		}
		done := make(chan struct{})
		close(done)
		return done
	}
	b.asked = true
	if b.cancel != nil {
		b.cancel()
	}
	if b.parked == nil {
		b.parked = make(chan struct{})
	}
	return b.parked
}

// rouse begins attempts anew. The channel closes when they have begun; nil says that they are being made.
func (b *berth) rouse(c call) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake == nil || len(b.wake) > 0 {
		return nil
	}
	b.asked = false
	b.wake <- c
	if b.left == nil {
		b.left = make(chan struct{})
	}
	return b.left
}

// isParked says whether no attempt is made.
func (b *berth) isParked() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wake != nil && len(b.wake) == 0
}

// lies says whether it is parked, also where somebody has just roused it.
func (b *berth) lies() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wake != nil
}

// mode is the guard mode of the moment.
func (c *connection) mode() string { return c.guard.Load().(string) }

// personOf is the owner key of whose a managed connection is; empty: nobody's.
func (c *connection) personOf() string { return c.person.Load().(string) }

// constant is a function that returns s.
func constant(s string) func() string { return func() string { return s } }

// mind takes another guard mode. A closed guard follows at once, but opens no sooner than the connection ends.
func (c *connection) mind(mode string) {
	if c.guard.Swap(mode) != mode {
		c.look()
	}
}

// guardPolicy is the guard for the server of the moment.
func (c *connection) guardPolicy() routes.GuardPolicy {
	mode := c.mode()
	return routes.GuardPolicy{On: mode != guardOff, Lockdown: mode == guardLockdown, ForbidLocal: !c.rules().AllowLocalNetwork,
		Outer: c.outer, Mark: c.spec.socket.Mark,
		Announce: c.guards.others(c)}
}

// guarded says whether something is closed.
func (c *connection) guarded() bool { return len(c.plan.Guard.Closed) > 0 }

// guards knows whose guards are closed: they stop the packets of all tunnels that do not announce themselves. Safe for
// concurrent use.
type guards struct {
	mu     sync.Mutex
	closed map[*connection]bool
	all    map[*connection]bool
}

func newGuards() *guards { return &guards{closed: map[*connection]bool{}, all: map[*connection]bool{}} }

// others says whether the guard of another connection is closed.
func (g *guards) others(c *connection) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.closed) > 1 || len(g.closed) == 1 && !g.closed[c]
}

// any says whether a guard is closed.
func (g *guards) any() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.closed) > 0
}

// join makes c hear of what others close; leave ends that.
func (g *guards) join(c *connection) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all[c] = true
}

func (g *guards) leave(c *connection) {
	g.set(c, false)
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.all, c)
}

// set says whether c's guard is closed, and lets the others look.
func (g *guards) set(c *connection, closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed[c] == closed {
		return
	}
	if delete(g.closed, c); closed {
		g.closed[c] = true
	}
	for o := range g.all {
		if o != c {
			o.look()
		}
	}
}

// look makes the connection set its guard anew, as soon as it has time.
func (c *connection) look() {
	select {
	case c.minded <- struct{}{}:
	default: // it will look
	}
}

// begin takes over what an earlier run left closed, and closes what is closed before the first attempt. Where that fails it may be called again;
// once it is done, it does nothing. Its error is a *failure.
func (c *connection) begin(ctx context.Context) (err error) {
	if c.begun {
		return nil
	}
	defer func() { c.begun = err == nil }()
	if c.host == nil {
		h, err := c.wiring.host()
		if err != nil {
			return hostFailure(api.CodeRoutesFailed, "make the tunnel's place in the system", err)
		}
		c.host = h
	}
	old := c.host.Guard()
	c.plan.Guard = old // whatever fails from here on
	switch mode := c.mode(); {
	case mode == guardOff:
		if old.IsZero() {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, hostTimeout)
		defer cancel()
		if err := c.host.Apply(ctx, routes.Plan{}); err != nil {
			return hostFailure(api.CodeRoutesFailed, "open the guard", err)
		}
		c.plan = routes.Plan{}
		return nil
	case mode == guardAuto && routes.Redirects(c.policy(netip.Addr{})):
		if old.IsZero() {
			c.lookUpBefore(ctx)
		}
		old = routes.Everything()
	}
	return c.shut(ctx, old, nil)
}

// shut leaves nothing of the plan but its guard, closed as old is, with web destinations open for a sign-in. Where nothing
// was closed, and there is nothing to close, it does nothing.
func (c *connection) shut(ctx context.Context, old routes.Guard, web []netip.Prefix) error {
	policy := c.guardPolicy()
	if c.plan.IsZero() && routes.Shut(old, routes.Facts{}, policy, web).IsZero() { // whatever the machine is like: reading that takes time
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	facts, err := c.underlay(ctx)
	if err != nil {
		return err
	}
	return c.apply(ctx, routes.Shut(old, facts, policy, web), facts)
}

// unannounced says whether the guards of others would stop our packets.
func (c *connection) unannounced() bool {
	return c.plan.Guard.IsZero() && c.guardPolicy().Announce
}

// reach makes the guard let our packets to e pass, besides those to where the attempt sends already.
func (c *connection) reach(ctx context.Context, e routes.Endpoint) error {
	if slices.Contains(c.outer, e) {
		return nil
	}
	c.outer = append(slices.Clone(c.outer), e)
	_, err := c.refresh(ctx)
	return err
}

// outerOf is where an attempt sends first.
func outerOf(r remote, address netip.AddrPort) routes.Endpoint {
	e := routes.Endpoint{Address: address.Addr(), Port: address.Port(), Transport: "udp"}
	if r.stream || r.via != nil {
		e.Transport = "tcp"
	}
	return e
}

// park shows p, which may be nil, and waits with the guard closed until somebody connects, or ctx ends (false). A guard
// that cannot follow the network or its mode stays as it is: an error opens nothing.
func (c *connection) park(ctx context.Context, p *api.Problem) (woken bool) {
	if err := c.closeTUN(); err != nil {
		c.log.Warn("the tunnel device is not closed in order", errorKey, err)
	}
	c.kept = keptOf(c.spec.signIn, api.ConnectRequest{})
	var again <-chan time.Time // nil: all is as it should be
	follow := func() {
		again = nil
		if err := c.shut(context.WithoutCancel(ctx), c.plan.Guard, nil); err != nil {
			c.log.Error("the guard stays as it is", "again", hostRetry, errorKey, err)
			again = time.After(hostRetry)
		}
	}
	follow()
	c.status.Tunnel, c.status.Server, c.status.Login = api.Tunnel{}, api.Server{}, nil
	c.status.CertificateExpires = nil // the profile may get another one
	c.enter(api.Blocked, p)
	wake := c.berth.enter()
	c.log.Warn("traffic is blocked until somebody connects or disconnects", "guard", c.mode())
	for {
		select {
		case <-ctx.Done():
			return false
		case w := <-wake:
			c.given, c.timeout, c.unattended = w.given, w.given.Timeout, w.unattended
			c.adopt(w.spec, w.settings)
			c.kept.token, c.kept.tokenUser = w.token, w.tokenUser
			c.wasUp, c.webEnd = false, time.Time{}
			c.cameUp.Store(false)
			return true
		case <-c.host.Changes():
			settle(c.host.Changes(), ctx.Done())
			follow()
		case <-c.minded:
			follow()
		case <-c.behind:
			follow()
		case <-again:
			follow()
		}
	}
}

// webTime is how long at most web pages may be opened past a closed guard after somebody was there, however many windows the
// server wants meanwhile.
const webTime = answerTime

// openWeb lets the browser reach the identity provider while the guard closes everything else: in lockdown that
// server alone, and else any, since identity providers span many. The tunnel's own routes and names go meanwhile, which
// would take the browser into a tunnel that is down. A guard that closes only some networks lets web pages pass anyway.
func (c *connection) openWeb(ctx context.Context, address string) error {
	if !c.plan.Guard.Full() {
		return nil
	}
	web := []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	if c.mode() == guardLockdown {
		web = c.signInHosts(ctx, address)
	}
	if c.webEnd.IsZero() {
		c.webEnd = time.Now().Add(webTime)
	}
	if !time.Now().Before(c.webEnd) {
		return c.nobody(webTime)
	}
	if err := c.shut(ctx, c.plan.Guard, web); err != nil {
		c.plan.Guard.Web = web // it may have been opened before the rest failed
		c.closeWeb()
		return err
	}
	c.log.Warn("web pages can be opened outside the tunnel, for the sign-in", "for", webTime, "hosts", len(web))
	return nil
}

// closeWeb ends openWeb. Where it cannot, the next plan does.
func (c *connection) closeWeb() {
	if len(c.plan.Guard.Web) == 0 {
		return
	}
	if err := c.shut(context.Background(), c.plan.Guard, nil); err != nil {
		c.plan.Guard.Web = nil // as the next plan has it, which is to come soon
		c.look()
		c.log.Error("web pages outside the tunnel are not closed", errorKey, err)
		return
	}
	c.log.Info("web pages outside the tunnel are closed again")
}

// absent says whether a sign-in in the browser, for which the guard must open, has to wait for somebody to want it: the
// service began the attempt by itself.
func (c *connection) absent() bool { return c.patient() && c.plan.Guard.Full() && !c.kept.here }

// signInHosts are the addresses of a URL's host, and of those that the policy names beside it.
func (c *connection) signInHosts(ctx context.Context, address string) []netip.Prefix {
	hosts := slices.Clone(c.rules().SignInHosts)
	if u, err := url.Parse(address); err == nil {
		hosts = append([]string{u.Hostname()}, hosts...)
	}
	ctx, cancel := context.WithTimeout(ctx, resolveOffline)
	defer cancel()
	found := make([][]netip.Prefix, len(hosts))
	var all sync.WaitGroup
	for i, host := range hosts {
		all.Go(func() { found[i] = c.addressesOf(ctx, host) })
	}
	all.Wait()
	return slices.Concat(found...)
}

// addressesOf looks a host of a sign-in up.
func (c *connection) addressesOf(ctx context.Context, host string) []netip.Prefix {
	found, err := c.LookupNetIP(ctx, "ip", host) // the guard closes the system's way
	if err != nil {
		c.log.Warn("the sign-in's host is not found", "host", host, errorKey, err)
	}
	var out []netip.Prefix
	for _, a := range found {
		a = a.Unmap()
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}
