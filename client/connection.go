package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/routes"
)

// hostTimeout bounds one Facts, Apply or undo.
const hostTimeout = 20 * time.Second

// wiring is what a connection is made of. It does not change.
type wiring struct {
	spec     spec
	settings api.Settings
	timeout  time.Duration // of the first connection; 0 = none
	given    api.ConnectRequest
	// unattended says that nobody asked for the connection now: the service began it.
	unattended bool
	host       func() (platform.Host, error)
	dialer     Dialer
	resolver   Resolver
	asleep     func() time.Duration // as platform.Asleep
	offline    func() bool          // as udp.Offline
	log        *slog.Logger
	publish    func(api.Connection) // called on run's goroutine
	status     api.Connection       // who and what, to start from
}

// connection is one wish being fulfilled, from Connect to Disconnect, over any
// number of attempts. It owns the Host, the TUN and the applied Plan, and keeps them
// between attempts, so that traffic for the tunnel waits instead of leaking.
//
// Everything happens on run's goroutine, but for: the outbound packet loop (one per TUN), the
// inbound one (one per attempt), counters and plan, which anybody may read, and save, which anybody may change.
type connection struct {
	wiring
	status api.Connection

	host    platform.Host
	remotes *remotes
	backoff backoff
	naps    *naps
	bufs    *inBuffers

	out     *outbound     // nil until the first push reply
	carries bool          // out's loop was started
	outDone chan struct{} // closed when it ended
	outErr  error
	sink    atomic.Pointer[sink]

	plan    routes.Plan
	facts   routes.Facts // that plan was made for
	reply   push.Reply
	server  netip.Addr // that plan goes around
	room    int        // for packets inside: what the path outside carries; 0 = any
	pathMTU int        // outside, as found out; 0 = not yet
	kept    kept
	windows []time.Time // when servers had a browser opened lately, unasked
	scene   scene       // of the newest attempt
	stock   bool        // the server does not know AWS's key exchange
	limit   *stopwatch
	wasUp   bool
	cameUp  atomic.Bool // wasUp for the timer of the first connection

	save   atomic.Bool  // the person wants the password to be saved
	desk   desk         // the question that is open
	mu     sync.Mutex   // guards what follows
	data   *ovpn.Data   // of the attempt of the moment
	before api.Counters // of the attempts before
	seen   explainable
}

// explainable is what Explain needs of a connection.
type explainable struct {
	plan   routes.Plan
	facts  routes.Facts
	device string
}

func newConnection(w wiring) *connection {
	c := &connection{wiring: w, status: w.status, outDone: make(chan struct{})}
	c.naps = newNaps(w.asleep)
	c.kept = keptOf(w.spec.signIn, w.given)
	c.status.SavePassword = w.spec.maySave // and present asks whether it is wanted
	c.save.Store(w.settings.SavePassword)
	c.remotes = newRemotes(w.spec.remotes, w.spec.random, w.spec.randomLabel, w.resolver)
	c.backoff = backoff{first: w.spec.retryFirst, last: w.spec.retryLast}
	return c
}

// run works until ctx ends (it then returns nil, with everything undone) or the
// connection failed for good (it returns the *api.Problem, with everything undone).
func (c *connection) run(ctx context.Context) (err error) {
	c.enter(api.Connecting, nil)
	if c.host, err = c.wiring.host(); err != nil {
		return hostProblem(api.CodeRoutesFailed, err)
	}
	c.bufs = newInBuffers()
	defer func() {
		c.enter(api.Disconnecting, c.status.Problem)
		if uerr := c.undo(ctx); uerr != nil {
			c.log.Error("cannot undo everything", errorKey, uerr)
			if err == nil {
				err = api.NewProblem(api.CodeRoutesFailed, map[string]string{"detail": "undo: " + uerr.Error()})
			}
		}
	}()
	// The attempts stop when the first connection takes too long; the undoing must not.
	attempts, cancel := c.limitFirst(ctx)
	defer cancel()
	hopeless := true // every failure of this round is one that a retry does not heal, or not soon enough for who waits
	for round := 0; ; {
		f := c.attempt(attempts)
		c.status.Protection = api.Protection{}
		switch {
		case ctx.Err() != nil:
			c.log.Info("disconnecting")
			return nil
		case attempts.Err() != nil:
			return c.tooLate()
		case f.verdict == stop:
			c.log.Error("connection failed", "code", f.problem.Code, errorKey, f)
			return f.problem
		case f.verdict == onward:
			c.log.Info("the sign-in goes on", "server", c.status.Server.Name, "code", f.problem.Code)
			if c.lostWhileUp() {
				c.backoff.reset()
				c.waiting(f.problem)
			}
			continue
		}
		c.log.Warn("attempt ended", "server", c.status.Server.Name, "code", f.problem.Code, errorKey, f)
		switch {
		case f.verdict == atOnce:
			c.remotes.forget()
		case c.lostWhileUp():
			round, hopeless = 0, true
			c.backoff.reset()
			if f.advance == nextServer {
				c.remotes.next()
			}
		case f.advance == stay:
		default:
			hopeless = hopeless && (f.verdict == again || f.verdict == absent && c.timeout > 0)
			if c.remotes.advance(f.advance) {
				round++
				if hopeless && !c.wasUp || c.spec.rounds > 0 && round >= c.spec.rounds {
					return f.problem
				}
				hopeless = true
			}
		}
		c.waiting(f.problem)
		var pause time.Duration
		if f.verdict != atOnce {
			pause = max(c.backoff.next(), f.pause)
			c.log.Info("trying again", "in", pause.Round(10*time.Millisecond))
		}
		if err := c.pause(attempts, pause); err != nil {
			switch {
			case ctx.Err() != nil:
				c.log.Info("disconnecting")
				return nil
			case attempts.Err() != nil:
				return c.tooLate()
			}
			return err
		}
	}
}

// limitFirst returns a context that also ends when the tunnel was not up in time.
func (c *connection) limitFirst(ctx context.Context) (context.Context, func()) {
	limited, cancel := context.WithCancel(ctx)
	if c.timeout <= 0 {
		return limited, cancel
	}
	c.limit = newStopwatch(c.timeout, func() {
		if !c.cameUp.Load() {
			cancel()
		}
	})
	return limited, func() { c.limit.stop(); cancel() }
}

// tooLate is the failure of a first connection that did not come up in time: the cause
// that was met, or else how far it came.
func (c *connection) tooLate() *api.Problem {
	if c.status.Problem != nil {
		return c.status.Problem
	}
	at := c.scene
	at.resolved = c.status.Server.Address != ""
	return lateProblem(at, c.timeout)
}

// lostWhileUp says whether the attempt that just ended had the tunnel up.
func (c *connection) lostWhileUp() bool { return c.status.State == api.Connected }

// pause waits before the next attempt. A change of the underlay ends it early, after the
// routes were put right, and so does the end of the machine's sleep.
func (c *connection) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	nap := time.NewTicker(napCheck)
	defer nap.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return nil
		case <-c.outDone:
			return c.tunGone()
		case <-nap.C:
			slept := c.naps.over()
			if slept == 0 {
				continue
			}
			c.log.Info("the machine slept", "for", slept.Round(time.Second))
		case <-c.host.Changes():
			c.log.Info("the network changed")
		}
		settle(c.host.Changes(), ctx.Done())
		c.remotes.forget()
		_, err := c.refresh(ctx)
		return err
	}
}

// enter publishes a new state.
func (c *connection) enter(s api.State, p *api.Problem) {
	c.status.Problem = p
	if c.status.State != s {
		c.status.State, c.status.Since = s, time.Now()
	}
	c.publish(c.status)
}

// waiting publishes that another attempt will come.
func (c *connection) waiting(p *api.Problem) {
	if c.wasUp {
		c.enter(api.Reconnecting, p)
	} else {
		c.enter(api.Connecting, p)
	}
}

// pollTimeout is how long a server may take for its first word. Where there is another one to try, we
// are not as patient as openvpn's two minutes.
func (c *connection) pollTimeout(r remote) time.Duration {
	switch {
	case r.poll > 0:
		return r.poll
	case c.remotes.several():
		return pollSeveral
	}
	return handshakeDefault
}

// policy is what the profile and the user add to the server's wishes.
func (c *connection) policy(server netip.Addr) routes.Policy {
	own := c.spec.own
	own.TunMTU = cmp.Or(c.remotes.current().mtu, own.TunMTU)
	return routes.Policy{
		Server: server, Own: own, NoPull: c.spec.noPull,
		Add: c.settings.RouteAdd, Remove: c.settings.RouteRemove, MTU: c.room, DefaultMTU: c.spec.mtu,
	}
}

// bringUp turns a push reply into a working tunnel: plan, device, routes, and only then packets.
func (c *connection) bringUp(ctx context.Context, reply push.Reply, server netip.Addr, p *path) error {
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	facts, err := c.host.Facts(ctx)
	if err != nil {
		return hostFailure(api.CodeRoutesFailed, "read the routing table", err)
	}
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
	if err := c.apply(ctx, plan, facts); err != nil {
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
	return hostFailure(api.CodeTUNFailed, "read the tunnel device", fmt.Errorf("the device is gone: %w", c.outErr))
}

// apply makes the system look like plan and shows it in the status.
func (c *connection) apply(ctx context.Context, plan routes.Plan, facts routes.Facts) error {
	if err := c.host.Apply(ctx, plan); err != nil {
		return hostFailure(api.CodeRoutesFailed, "apply routes and DNS", err)
	}
	c.logChange(plan)
	c.plan, c.facts = plan, facts
	c.showPlan(plan)
	c.mu.Lock()
	c.seen = explainable{plan: plan, facts: facts, device: c.out.tun.Name()}
	c.mu.Unlock()
	return nil
}

// refresh builds the plan anew from the underlay's present state, without a gap, and returns that
// state. It does nothing before the first push reply.
func (c *connection) refresh(ctx context.Context) (routes.Facts, error) {
	return c.refreshFor(ctx, c.server)
}

// refreshFor is refresh, going around another server.
func (c *connection) refreshFor(ctx context.Context, server netip.Addr) (routes.Facts, error) {
	if c.out == nil || len(c.plan.Addresses) == 0 {
		return routes.Facts{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	facts, err := c.host.Facts(ctx)
	if err != nil {
		return facts, hostFailure(api.CodeRoutesFailed, "read the routing table", err)
	}
	plan, err := routes.Build(c.reply, facts, c.policy(server))
	if err != nil {
		// Such as: no way to the server at the moment. The old plan keeps traffic from leaking.
		c.log.Warn("the plan stays as it is", errorKey, err)
		return facts, nil
	}
	if err := c.apply(ctx, plan, facts); err != nil {
		return facts, err
	}
	c.server = server
	return facts, nil
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hostTimeout)
	defer cancel()
	var errs []error
	if c.out != nil {
		c.out.path.Store(nil)
		c.sink.Store(nil)
		errs = append(errs, c.host.Apply(ctx, routes.Plan{}))
		if err := c.out.tun.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
		if c.carries {
			<-c.outDone
		}
	}
	errs = append(errs, c.host.Close())
	c.mu.Lock()
	c.seen = explainable{}
	c.mu.Unlock()
	return errors.Join(errs...)
}

// counters sums all attempts. Safe from any goroutine.
func (c *connection) counters() api.Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.countersLocked()
}

func (c *connection) countersLocked() api.Counters {
	sum := c.before
	if c.data != nil {
		n := c.data.Counters()
		sum.RxBytes += n.RxBytes
		sum.TxBytes += n.TxBytes
		sum.RxPackets += n.RxPackets
		sum.TxPackets += n.TxPackets
	}
	return sum
}

// present fills in what changes without a new state: how much has passed, and whether the person wants the password
// to be saved. Safe from any goroutine.
func (c *connection) present(s *api.Connection) {
	s.Counters = c.counters()
	s.SavePassword = s.SavePassword && c.save.Load()
}

// count makes counters follow another attempt's data channel; nil = none.
func (c *connection) count(d *ovpn.Data) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = c.countersLocked()
	c.data = d
}

// explainable is what is applied now. Safe from any goroutine.
func (c *connection) explain() explainable {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// showPlan copies what was applied into the status.
func (c *connection) showPlan(plan routes.Plan) {
	device := c.out.tun.Name()
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
	for _, s := range plan.DNS.Servers {
		if s.Port() == 53 {
			c.status.DNS.Servers = append(c.status.DNS.Servers, s.Addr().String())
		} else {
			c.status.DNS.Servers = append(c.status.DNS.Servers, s.String())
		}
	}
}
