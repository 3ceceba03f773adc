package client

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/stopwatch"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/portal"
	"github.com/adit-vpn/adit/routes"
)

// hostTimeout bounds one Facts, Apply or undo.
const hostTimeout = 20 * time.Second

// wiring is what a connection is made of. It does not change, but for what somebody says who wakes a parked one, and what its profile says by
// then.
type wiring struct {
	spec     spec
	settings api.Settings
	timeout  time.Duration // of the first connection; 0 = none
	given    api.ConnectRequest
	// unattended says that nobody asked for the connection now: the service began it.
	unattended bool
	guards     *guards     // of all connections; nil: of this one alone
	neighbours *neighbours // the same
	always     func() bool // it is what is always on now; nil: it is not
	// idle begins parked: the guard is closed, and nobody wants the tunnel.
	idle     bool
	host     func() (platform.Host, error)
	dialer   Dialer
	resolver Resolver
	// addresses are where a server of that name was reached last, by this connection or one before it; reached says where it is now, the address
	// in use first. Nil: nobody keeps them.
	addresses func(server string) []netip.Addr
	reached   func(server string, addresses []netip.Addr)
	asleep    func() time.Duration               // as platform.Asleep
	wall      func() time.Time                   // the wall's clock; nil = the system's
	offline   func() bool                        // as udp.Offline
	portal    func(context.Context) portal.State // nil: nobody knows
	rules     func() Policy                      // the administrator's, of the moment; nil = DefaultPolicy
	log       *slog.Logger
	publish   func(api.Connection) // called on run's goroutine
	status    api.Connection       // who and what, to start from
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

	host    platform.Host // nil until begin has it
	begun   bool          // begin is done
	remotes *remotes
	backoff backoff
	naps    *naps
	clock   *stepClock
	bufs    *inBuffers

	out     *outbound     // nil until the first push reply
	carries bool          // out's loop was started
	outDone chan struct{} // closed when it ended
	outErr  error
	sink    atomic.Pointer[sink]
	traffic traffic // of all attempts

	plan    routes.Plan
	outer   []routes.Endpoint // to which the attempt of the moment sends
	facts   routes.Facts      // that plan was made for
	reply   push.Reply
	server  netip.Addr              // that plan goes around
	named   map[string][]netip.Addr // what host names in the profile's own routes are
	room    int                     // for packets inside: what the path outside carries; 0 = any
	pathMTU int                     // outside, as found out; 0 = not yet
	kept    kept
	windows []time.Time // when servers had a browser opened lately, unasked
	webEnd  time.Time   // when web pages close again, past a closed guard; zero: they were not open since somebody was there
	scene   scene       // of the newest attempt
	stock   bool        // the server does not know AWS's key exchange
	limit   *stopwatch.Stopwatch
	wasUp   bool
	cameUp  atomic.Bool // wasUp for the timer of the first connection

	guard  atomic.Value  // string: the guard mode
	minded chan struct{} // the mode is another one, or what another connection has
	// late says that the system has refused the newest change of the plan. When it is time to try once more, which catchUp sees to,
	// behind has a value.
	late    bool
	catchUp *time.Timer
	behind  chan struct{}
	// doubted has a value when somebody wants to know whether the session lives; who sees a sign of it closes that.
	doubted chan chan<- struct{}
	berth   berth        // where it is parked
	person  atomic.Value // string: of a managed connection, the owner key of who wanted it; empty: nobody did
	save    atomic.Bool  // the person wants the password to be saved
	desk    desk         // the question that is open
	mu      sync.Mutex   // guards what follows
	data    *ovpn.Data   // of the attempt of the moment
	before  api.Counters // of the attempts before
	seen    explainable
	news    chan struct{} // closed, and another one in its place, when seen is another one
}

// explainable is what Explain needs of a connection.
type explainable struct {
	plan   routes.Plan
	facts  routes.Facts
	device string
}

func newConnection(w wiring) *connection {
	c := &connection{wiring: w, status: w.status, outDone: make(chan struct{}), news: make(chan struct{}), minded: make(chan struct{}, 1), behind: make(chan struct{}, 1), doubted: make(chan chan<- struct{}, 1)}
	if c.rules == nil {
		c.rules = DefaultPolicy
	}
	if c.guards == nil {
		c.guards = newGuards()
	}
	if c.always == nil {
		c.always = func() bool { return false }
	}
	if c.neighbours == nil {
		c.neighbours = newNeighbours(func() {})
	}
	c.person.Store("")
	c.naps = newNaps(w.asleep)
	c.clock = newStepClock(w.wall)
	c.save.Store(w.settings.SavePassword)
	c.guard.Store(guardMode(w.settings))
	if w.idle {
		c.berth.enter() // at once, so that nobody takes it for one that is under way
	}
	c.adopt(w.spec, w.settings)
	return c
}

// adopt takes the profile and its settings for the attempts that come.
func (c *connection) adopt(sp spec, settings api.Settings) {
	c.spec, c.settings = sp, settings
	c.kept = keptOf(sp.signIn, c.given)
	switch forbids := &c.status.SaveForbidden; {
	case sp.forbidsSaving:
		*forbids = "profile"
	case *forbids == "profile":
		*forbids = "" // a server's word stays
	}
	c.status.SavePassword = sp.maySave && c.status.SaveForbidden == "" // and present asks whether it is wanted
	c.status.CertificateExpires = sp.expires
	last := c.remotes
	c.remotes = newRemotes(sp.remotes, sp.random, sp.randomLabel, c, c.addresses)
	if last != nil {
		c.remotes.inherit(last)
	}
	c.backoff = backoff{first: sp.retryFirst, last: sp.retryLast}
}

// run works until ctx ends (it then returns nil, with everything undone) or the
// connection failed for good (it returns the *api.Problem, with everything undone). One whose guard is closed does not
// fail for good: it waits, blocked.
func (c *connection) run(ctx context.Context) (err error) {
	if !c.idle {
		c.enter(api.Connecting, nil)
	}
	c.guards.join(c)
	defer c.guards.leave(c) // once its guard is open
	c.bufs = newInBuffers()
	c.catchUp = time.AfterFunc(hostRetry, c.catchUpSoon)
	c.catchUp.Stop()
	defer c.catchUp.Stop()
	defer c.neighbours.leave(c)
	defer func() {
		c.enter(api.Disconnecting, c.status.Problem)
		if uerr := c.undo(ctx); uerr != nil {
			c.log.Error("cannot undo everything", errorKey, uerr)
			if err == nil {
				err = api.NewProblem(api.CodeRoutesFailed, map[string]string{"detail": "undo: " + uerr.Error()})
			}
		}
	}()
	failed := c.begin(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case failed != nil && !c.guarded() && (c.idle || !c.passes(failed)):
		return api.AsProblem(failed)
	}
	for idle := c.idle || failed != nil && !c.passes(failed); ; idle = false {
		if !idle {
			attempts, cancel := c.berth.leave(ctx)
			failed = c.pursue(attempts)
			cancel()
			if failed == nil && ctx.Err() == nil { // it is to be parked, perhaps before its guard could be closed
				if err := c.begin(ctx); err != nil {
					failed = api.AsProblem(err)
				}
			}
		}
		if ctx.Err() != nil || failed != nil && !c.guarded() {
			return failed
		}
		var problem *api.Problem
		if idle {
			problem = c.status.Problem // why nobody can connect it, as its profile is
		}
		if failed != nil {
			problem = api.AsProblem(failed)
			c.log.Error("connection failed; its guard stays closed", "code", problem.Code, errorKey, failed)
		}
		if !c.park(ctx, problem) {
			return nil
		}
		c.enter(api.Connecting, nil)
	}
}

// pursue makes attempts until ctx ends (it then returns nil) or the connection failed for good.
func (c *connection) pursue(ctx context.Context) error {
	// The attempts stop when the first connection takes too long; the undoing must not.
	attempts, cancel := c.limitFirst(ctx)
	defer cancel()
	hopeless := true // every failure of this round is one that a retry does not heal, or not soon enough for who waits
	for round := 0; ; {
		f := c.notForGood(c.withoutTime(c.captive(attempts, c.attempt(attempts))))
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
					return lastly(f.problem)
				}
				hopeless = true
			}
		}
		c.waiting(f.problem)
		var pause time.Duration
		if f.verdict != atOnce {
			pause = max(c.backoff.next(), f.pause)
			if f.problem.Code == api.CodeCaptivePortal {
				pause = min(pause, portalPause) // somebody signs in to the network just now
			}
			if !c.begun {
				pause = min(pause, hostRetry) // no server has heard of it
			}
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
	c.limit = stopwatch.New(c.timeout, func() {
		if !c.cameUp.Load() {
			cancel()
		}
	})
	return limited, func() { c.limit.Stop(); cancel() }
}

// tooLate is the failure of a first connection that did not come up in time: the cause
// that was met, or else how far it came.
func (c *connection) tooLate() *api.Problem {
	if c.status.Problem != nil {
		return lastly(c.status.Problem)
	}
	at := c.scene
	at.resolved = c.status.Server.Address != ""
	return lastly(c.captive(context.Background(), c.unasked(&failure{problem: lateProblem(at, c.timeout)})).problem)
}

// lostWhileUp says whether the attempt that just ended had the tunnel up.
func (c *connection) lostWhileUp() bool { return c.status.State == api.Connected }

// pause waits before the next attempt. A change of the underlay ends it early, after the
// routes were put right, and so does the end of the machine's sleep, and a clock that is set.
func (c *connection) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	if c.host == nil { // there is nothing to follow
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		return ctx.Err()
	}
	nap := newBeat(napCheck)
	defer nap.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return nil
		case <-c.outDone:
			return c.tunGone()
		case <-c.minded:
			if _, err := c.follow(ctx); err != nil {
				return err
			}
			continue
		case <-c.behind:
			was := c.late
			if _, err := c.follow(ctx); err != nil || was && !c.late {
				return err // where the system lets it again, the next attempt may succeed
			}
			continue
		case <-c.doubted:
			c.log.Info("another tunnel has reached the server")
			return nil
		case <-nap.C:
			nap.next()
			slept, set := c.naps.over(), c.clock.wasSet()
			switch {
			case slept > 0:
				c.log.Info("the machine slept", "for", slept.Round(time.Second))
			case set:
				c.log.Info("the clock was set")
			default:
				continue
			}
		case <-c.host.Changes():
			c.log.Info("the network changed")
		}
		settle(c.host.Changes(), ctx.Done())
		c.remotes.forget()
		_, err := c.follow(ctx)
		return err
	}
}

// doubt has the session of the moment asked for a sign of life; the channel closes when there is one. Where there is no session,
// the next one is tried at once. Safe from any goroutine.
func (c *connection) doubt() <-chan struct{} {
	alive := make(chan struct{})
	select {
	case c.doubted <- alive:
	default: // somebody else is in doubt
	}
	return alive
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

// counters sums all attempts. Safe from any goroutine.
func (c *connection) counters() api.Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.countersLocked()
}

func (c *connection) countersLocked() api.Counters {
	sum := c.before
	sum.WireRxBytes, sum.WireTxBytes = c.traffic.in.Load(), c.traffic.out.Load()
	if c.data != nil {
		n := c.data.Counters()
		sum.RxBytes += n.RxBytes
		sum.TxBytes += n.TxBytes
		sum.RxPackets += n.RxPackets
		sum.TxPackets += n.TxPackets
	}
	return sum
}

// present fills in what changes without a new state: how much has passed, whether the person wants the password
// to be saved, and the guard. Safe from any goroutine.
func (c *connection) present(s *api.Connection) {
	s.GuardClosed = len(c.explain().plan.Guard.Closed) > 0
	s.Counters = c.counters()
	s.SavePassword = s.SavePassword && c.save.Load()
	s.Guard = c.mode()
	if len(s.DNS.Servers) > 0 {
		s.DNS.Waits = c.neighbours.before(c)
	}
}

// count makes counters follow another attempt's data channel; nil = none.
func (c *connection) count(d *ovpn.Data) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = c.countersLocked()
	c.data = d
}

// see makes x what Explain sees.
func (c *connection) see(x explainable) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = x
	close(c.news)
	c.news = make(chan struct{})
}

// next is what is applied now, and a channel that closes when it is something else. Safe from any goroutine.
func (c *connection) next() (explainable, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen, c.news
}

// explainable is what is applied now. Safe from any goroutine.
func (c *connection) explain() explainable {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}
