package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/routes"
)

// What a connection applies to the machine: device, plan, and the status that shows it. Everything here is run's
// goroutine's.

// policy is what the profile and the user add to the server's wishes.
func (c *connection) policy(server netip.Addr) routes.Policy {
	own := c.spec.own
	own.TunMTU = cmp.Or(c.remotes.current().mtu, own.TunMTU)
	own.Routes = byAddress(own.Routes, c.named)
	return routes.Policy{
		Server: server, Own: own, NoPull: c.spec.noPull,
		Add: c.settings.RouteAdd, Remove: c.settings.RouteRemove, MTU: c.room, DefaultMTU: c.spec.mtu,
		Guard: c.guardPolicy(),
	}
}

// underlay reads the machine without our own changes. Its error is a *failure.
func (c *connection) underlay(ctx context.Context) (routes.Facts, error) {
	facts, err := c.host.Facts(ctx)
	if err != nil {
		return facts, hostFailure(api.CodeRoutesFailed, "read the routing table", err)
	}
	return facts, nil
}

// bringUp turns a push reply into a working tunnel: plan, device, routes, and only then packets.
func (c *connection) bringUp(ctx context.Context, reply push.Reply, server netip.Addr, p *path) error {
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	_, err := c.adapt(ctx, func(facts routes.Facts) error {
		plan, err := routes.Build(reply, facts, c.policy(server))
		if errors.Is(err, routes.ErrNoAddress) { // so does openvpn's server when its pool is empty
			return fail(retry, api.CodeAddressPoolEmpty, nil, err)
		}
		if err != nil {
			return fail(again, api.CodePushRejected, map[string]string{"option": "the routes", "detail": err.Error()}, err)
		}
		if c.out == nil {
			if err := c.openTUN(plan.MTU); err != nil {
				return err
			}
		}
		return c.apply(ctx, plan, facts)
	})
	if err != nil {
		return err
	}
	c.reply, c.server = reply, server
	c.carry(p)
	return nil
}

// carry lets packets pass by p. The first time it starts the outbound loop: what came since the first route was
// there has waited in the device, and is not lost.
func (c *connection) carry(p *path) {
	c.sink.Store(&sink{tun: c.out.tun, mss: p.mss, nat: p.nat})
	c.out.path.Store(p)
	if c.carries {
		return
	}
	c.carries = true
	go func() { // undo waits for it
		defer close(c.outDone)
		c.outErr = c.out.run()
	}()
}

// openTUN makes the device.
func (c *connection) openTUN(mtu int) error {
	tun, err := c.host.OpenTUN(c.spec.device, mtu)
	if err != nil {
		return hostFailure(api.CodeTUNFailed, "open the tunnel device", err)
	}
	c.out = &outbound{tun: tun}
	c.log.Info("opened the tunnel device", "device", tun.Name(), "mtu", tun.MTU())
	return nil
}

// tunGone is the failure of a device that somebody else took away.
func (c *connection) tunGone() error {
	f := hostFailure(api.CodeTUNFailed, "read the tunnel device", fmt.Errorf("the device is gone: %w", c.outErr))
	f.system = false // somebody wanted that
	return f
}

// apply makes the system look like plan and shows it in the status.
func (c *connection) apply(ctx context.Context, plan routes.Plan, facts routes.Facts) error {
	if err := c.neighbours.claim(ctx, c, plan, facts.DNSManager); err != nil {
		return err
	}
	if err := c.host.Apply(ctx, plan); err != nil {
		return hostFailure(api.CodeRoutesFailed, "apply routes and DNS", err)
	}
	c.logChange(plan)
	c.plan, c.facts = plan, facts
	c.guards.set(c, c.guarded())
	c.showPlan(plan)
	c.see(explainable{plan: plan, facts: facts, device: c.device()})
	return nil
}

// device is the TUN's name; empty without one.
func (c *connection) device() string {
	if c.out == nil {
		return ""
	}
	return c.out.tun.Name()
}

// refresh builds the plan anew from the underlay's present state, without a gap, and returns that
// state. It does nothing while nothing is applied.
func (c *connection) refresh(ctx context.Context) (routes.Facts, error) {
	return c.refreshFor(ctx, c.server)
}

// hostRetry is after how long the system is asked again for what it refused.
const hostRetry = 5 * time.Second

// follow is refresh, but nothing ends because the system refuses a change for a while: all stays as it is, as closed as it is, the status says so,
// and behind when to try again.
func (c *connection) follow(ctx context.Context) (routes.Facts, error) {
	facts, err := c.refresh(ctx)
	refused := c.passes(err)
	if err != nil && (!refused || ctx.Err() != nil) {
		return facts, err
	}
	var problem *api.Problem
	if refused {
		c.log.Error("the tunnel's configuration stays as it is", "again", hostRetry, errorKey, err)
		c.catchUp.Reset(hostRetry)
		problem = api.AsProblem(err)
	}
	if (refused || c.late) && c.status.State == api.Connected {
		c.enter(api.Connected, problem)
	}
	c.late = refused
	return facts, nil
}

// catchUpSoon has follow called again. Safe from any goroutine.
func (c *connection) catchUpSoon() {
	select {
	case c.behind <- struct{}{}:
	default: // it will be
	}
}

// refreshFor is refresh, going around another server.
func (c *connection) refreshFor(ctx context.Context, server netip.Addr) (routes.Facts, error) {
	tunnel := c.out != nil && len(c.plan.Addresses) > 0
	policy := c.guardPolicy()
	if !tunnel && c.plan.Guard.IsZero() && !policy.Announce && !policy.Lockdown {
		return routes.Facts{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	return c.adapt(ctx, func(facts routes.Facts) error {
		if !tunnel {
			c.server = server
			return c.apply(ctx, routes.Shut(c.plan.Guard, facts, policy, c.plan.Guard.Web), facts)
		}
		plan, err := routes.Build(c.reply, facts, c.policy(server))
		if err != nil {
			// Such as: no way to the server at the moment. The old plan keeps traffic from leaking.
			c.log.Warn("the plan stays as it is", errorKey, err)
			return c.neighbours.claim(ctx, c, c.plan, c.facts.DNSManager) // unless what is always on has taken it
		}
		if err := c.apply(ctx, plan, facts); err != nil {
			return err
		}
		c.server = server
		return nil
	})
}

// adapt reads the underlay and makes the system fit it by set. Where that fails, and the underlay is another one by then, such
// as without the device of the server's route, it begins again: only a failure with nothing changed counts.
func (c *connection) adapt(ctx context.Context, set func(routes.Facts) error) (routes.Facts, error) {
	facts, err := c.underlay(ctx)
	if err != nil {
		return facts, err
	}
	for {
		err := set(facts)
		if err == nil {
			return facts, nil
		}
		now, lost := c.underlay(ctx)
		if lost != nil || reflect.DeepEqual(now, facts) {
			return facts, err
		}
		c.log.Info("the network changed meanwhile", errorKey, err)
		facts = now
	}
}

// logChange tells what the step to plan changes.
func (c *connection) logChange(plan routes.Plan) {
	for _, note := range plan.Notes {
		if !slices.Contains(c.plan.Notes, note) {
			c.log.Warn("plan: " + note)
		}
	}
	if c.plan.IsZero() {
		return
	}
	if d := routes.Diff(c.plan, plan); !d.IsZero() {
		c.log.Info("the tunnel's configuration changes", "what", d.String())
	}
}

// undo puts the system back, also when ctx has ended.
func (c *connection) undo(ctx context.Context) error {
	restart := errors.Is(context.Cause(ctx), ErrRestart) // with the wish, by which the next service knows whose guard it is
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hostTimeout)
	defer cancel()
	var errs []error
	if c.host == nil {
		return nil
	}
	end, last := c.host.Close, routes.Plan{}
	if c.mode() == guardLockdown || restart {
		end, last.Guard = c.host.Leave, c.plan.Guard // for who comes next: it never opens, or not yet
	}
	if c.out != nil {
		c.silence()
		errs = append(errs, c.host.Apply(ctx, last), c.closeTUN())
	}
	errs = append(errs, end())
	c.see(explainable{})
	return errors.Join(errs...)
}

// silence ends the packet path.
func (c *connection) silence() {
	c.out.path.Store(nil)
	c.sink.Store(nil)
}

// closeTUN takes the device away, if there is one, and waits for its loop.
func (c *connection) closeTUN() error {
	if c.out == nil {
		return nil
	}
	c.silence()
	err := c.out.tun.Close()
	if c.carries {
		<-c.outDone
	}
	c.out, c.carries, c.outDone = nil, false, make(chan struct{})
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// showPlan copies what was applied into the status.
func (c *connection) showPlan(plan routes.Plan) {
	device := c.device()
	c.status.Tunnel = api.Tunnel{Device: device, Addresses: append([]netip.Prefix{}, plan.Addresses...), MTU: plan.MTU, PathMTU: c.pathMTU}
	c.status.FullTunnel = routes.FullTunnel(plan)
	c.status.Routes = []api.Route{}
	if device == "" {
		device = "the tunnel"
	}
	for _, r := range slices.Concat(plan.Routes, plan.Around) {
		via := r.Device
		if via == "" {
			via = device
		}
		switch {
		case r.Unreachable:
			via = "unreachable"
		case r.Gateway.IsValid():
			via = r.Gateway.String() + " dev " + via
		}
		c.status.Routes = append(c.status.Routes, api.Route{Destination: r.Destination, Via: via, Reason: r.Reason})
	}
	c.status.DNS = api.DNS{
		Servers: []string{},
		Search:  append([]string{}, plan.DNS.Search...),
		Split:   append([]string{}, plan.DNS.Split...),
	}
	if !plan.DNS.IsZero() {
		c.status.DNS.Manager = c.facts.DNSManager
	}
	for _, s := range plan.DNS.Servers {
		if s.Port() == 53 {
			c.status.DNS.Servers = append(c.status.DNS.Servers, s.Addr().String())
		} else {
			c.status.DNS.Servers = append(c.status.DNS.Servers, s.String())
		}
	}
}
