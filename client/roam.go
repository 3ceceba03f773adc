package client

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/platform/udp"
	"github.com/adit-vpn/adit/routes"
)

// Roaming: what a live tunnel does when the machine's network changes, or the machine has slept.
//  1. wait until the burst of changes is over
//  2. build the plan anew, so that the way around the tunnel is the new one; without a
//     way to the server, wait for the next change
//  3. when our way to the server is another one: on UDP, go on from a new socket, so that packets come
//     from the new address; the server knows us by the peer id in each of them (float)
//  4. ask the server for a sign of life; when none comes, a new session, at once
//
// The TUN and the plan stay all the time. Meanwhile the server's name is looked up
// again, for the case that a new session is needed.

const (
	settleQuiet   = 250 * time.Millisecond // without a further change
	settleMost    = 2 * time.Second
	floatWait     = 4 * time.Second         // for the sign of life
	floatSoon     = 2500 * time.Millisecond // the same where a new session asks nobody for anything
	probeInterval = 500 * time.Millisecond
	probeGrace    = 50 * time.Millisecond   // what was in the old socket's buffer is no sign
	doubtWait     = 1500 * time.Millisecond // floatSoon in a network that has not changed, by which another tunnel has just come up
	rebindTimeout = 2 * time.Second
	napCheck      = 2 * time.Second // how often to look whether the machine slept
	napLeast      = 2 * time.Second // that matters
	enforceCheck  = 6 * time.Second // how often to look whether routes that the server enforces are all there
)

// naps notices that the machine slept. One goroutine at a time.
type naps struct {
	asleep func() time.Duration
	seen   time.Duration
}

func newNaps(asleep func() time.Duration) *naps { return &naps{asleep: asleep, seen: asleep()} }

// over says, once, how long the machine has slept since the last call; 0 for not worth a word.
func (n *naps) over() time.Duration {
	now := n.asleep()
	d := now - n.seen
	n.seen = now
	if d < napLeast {
		return 0
	}
	return d
}

// settle waits until a burst of changes is over, or done.
func settle(changes <-chan struct{}, done <-chan struct{}) {
	end := time.NewTimer(settleMost)
	defer end.Stop()
	for {
		quiet := time.NewTimer(settleQuiet)
		select {
		case <-changes:
			quiet.Stop()
			continue
		case <-quiet.C:
		case <-end.C:
		case <-done:
		}
		quiet.Stop()
		return
	}
}

// track is how packets to the server leave this machine.
type track struct {
	known, cut bool // cut: there was no way to the server at the last look
	way        routes.UnderlayRoute
}

// watch takes changes of the network, sleep and the loss of the TUN to the session's goroutine.
func (a *running) watch(ctx context.Context) {
	lost := a.c.outDone
	nap, enforce := newBeat(napCheck), newBeat(enforceCheck)
	defer nap.Stop()
	defer enforce.Stop()
	silent := time.NewTimer(a.poll)
	defer silent.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.ended:
			return
		case <-lost:
			lost = nil // said once
			a.ask(func(time.Time, *ovpn.Session) error { return a.c.tunGone() })
		case <-silent.C:
			a.ask(a.anybodyThere)
		case now := <-nap.C:
			nap.next()
			if d := a.c.naps.over(); d > 0 {
				a.c.log.Info("the machine slept", "for", d.Round(time.Second))
				settle(a.c.host.Changes(), a.ended) // the network is only coming up
				a.roam(ctx, true)
			} else if from := a.limited.Load(); from != nil && !now.Before(*from) {
				a.askWithin(time.After(napCheck/2), a.limits)
			}
		case <-enforce.C: // whoever deletes a route of ours makes no change of the network
			enforce.next()
			if a.enforced.Load() {
				a.ask(func(time.Time, *ovpn.Session) error {
					_, err := a.c.follow(ctx)
					return err
				})
			}
		case <-a.c.host.Changes():
			settle(a.c.host.Changes(), a.ended)
			a.c.log.Info("the network changed")
			a.roam(ctx, false)
		case <-a.c.behind: // which may have to do with the way to the server
			if !a.roam(ctx, false) {
				a.c.catchUpSoon() // as below
				return
			}
		case alive := <-a.c.doubted:
			a.verify(ctx, alive)
		case <-a.c.minded:
			if !a.ask(func(time.Time, *ovpn.Session) error {
				_, err := a.c.follow(ctx)
				return err
			}) {
				a.c.look() // who comes next has to look
				return     // and not we: the session is on its way out, and would be asked without end
			}
		}
	}
}

// ask runs f on the session's goroutine and waits for it. It says false when f failed, which ends the
// session, or when that is over already.
func (a *running) ask(f work) bool {
	_, ok := a.askWithin(nil, f)
	return ok
}

// askWithin is ask, but gives up when late comes before f has begun: the session's goroutine may be
// stuck in a TCP connection that takes nothing any more.
func (a *running) askWithin(late <-chan time.Time, f work) (begun, ok bool) {
	done := make(chan bool, 1)
	select {
	case <-a.ended:
		return true, false
	case <-late:
		return false, false
	case a.do <- func(now time.Time, s *ovpn.Session) error {
		err := f(now, s)
		done <- err == nil
		return err
	}:
		return true, <-done
	}
}

// anybodyThere gives up a server that has not said a word (openvpn(8), --server-poll-timeout).
func (a *running) anybodyThere(time.Time, *ovpn.Session) error {
	if a.answered.Load() {
		return nil
	}
	return &ovpn.ProtocolError{Cause: ovpn.CauseNoReply, Text: "no reply within " + a.poll.String()}
}

// roam follows one change of the network. It says false when the session is over, perhaps before it has.
func (a *running) roam(ctx context.Context, woke bool) bool {
	for {
		var probe bool
		begun, ok := a.askWithin(time.After(floatWait), func(_ time.Time, s *ovpn.Session) (err error) {
			probe, err = a.follow(ctx, s, woke)
			return err
		})
		if !begun {
			a.abandon()
		}
		if !ok || !probe {
			return ok
		}
		a.lookUpAgain(ctx)
		begin := time.Now()
		alive, again := a.float(probeGrace, func(s *ovpn.Session) error { return a.moved(s, "nothing comes back") })
		if alive {
			a.c.log.Info("the tunnel goes on", "after", time.Since(begin).Round(time.Millisecond))
			select {
			case a.elsewhere <- struct{}{}:
			default: // said already
			}
		}
		if !again {
			return alive
		}
		woke = true // the probe that was broken off is still due
	}
}

// verify asks for a sign of life, since another tunnel was given our address; alive is closed when one comes. Without one the session
// is from before a restart of the server, and another one takes its place at once; so it does where a first answer is waited for.
func (a *running) verify(ctx context.Context, alive chan<- struct{}) {
	if !a.up.Load() {
		if !a.answered.Load() { // the next packet to the server may be seconds away
			a.ask(func(_ time.Time, s *ovpn.Session) error {
				s.Abort()
				return fail(atOnce, api.CodeServerUnreachable, map[string]string{"server": a.at.server, "transport": a.at.transport}, nil)
			})
		}
		return
	}
	begun, ok := a.askWithin(time.After(floatWait), func(_ time.Time, s *ovpn.Session) error {
		a.grace = a.patience(doubtWait)
		return s.Probe()
	})
	if !begun {
		a.abandon()
	}
	if !ok {
		return
	}
	lives, again := a.float(0, func(s *ovpn.Session) error {
		s.Abort() // there is nobody to say goodbye to
		return fail(atOnce, api.CodeSessionEnded, map[string]string{"reason": a.at.server + " does not know this session any more"}, nil)
	})
	if lives {
		close(alive)
	}
	if again {
		a.roam(ctx, true)
	}
}

// patience is how long to wait for a sign of life: longer where a new session would ask a person for something.
func (a *running) patience(soon time.Duration) time.Duration {
	if a.c.kept.token != "" || !a.c.spec.signIn.password && !a.c.spec.signIn.federated {
		return soon
	}
	return floatWait
}

// follow makes the plan fit the network and goes on from another address where it must. It says whether to
// wait for a sign of life.
func (a *running) follow(ctx context.Context, s *ovpn.Session, woke bool) (probe bool, err error) {
	c := a.c
	source, before := a.link.local(), c.facts
	a.grace = a.patience(floatSoon)
	if !a.up.Load() {
		if _, err := c.follow(ctx); err != nil { // the plan of the session before, if there was one
			return false, err
		}
		fctx, cancel := context.WithTimeout(ctx, hostTimeout)
		defer cancel()
		facts, err := c.underlay(fctx)
		if err != nil {
			return false, err
		}
		if c.late {
			return false, nil // another attempt would go the same way
		}
		if !a.answered.Load() || lostAddress(facts, source) {
			return false, a.moved(s, "it was not connected yet")
		}
		return false, nil
	}
	facts, err := c.follow(ctx)
	if err != nil {
		return false, err
	}
	c.publish(c.status)
	server := a.address.Addr()
	known := a.track.known && !server.IsLoopback()
	way, ok := facts.Way(server)
	if known && !ok {
		c.log.Warn("no way to the server at the moment", "server", server)
		a.track.cut = true
		return false, nil
	}
	gone := known && (lostAddress(facts, source) || beside(before, source) && !beside(facts, source))
	other := known && (way.Device != a.track.way.Device || way.Gateway != a.track.way.Gateway)
	cut := a.track.cut
	a.track.way, a.track.cut = way, false
	switch {
	case !gone && !other && !cut && !woke:
		return false, nil
	case gone && !a.floats:
		return false, a.moved(s, "its old address is gone")
	case (gone || other) && a.floats:
		if err := a.rebind(ctx); err != nil {
			c.log.Warn("cannot leave by the new network yet", errorKey, err)
			a.track.cut = true
			return false, nil
		}
		c.log.Info("going on from another address", "was", source, "is", a.link.local(), "device", way.Device)
	}
	return true, s.Probe()
}

// lostAddress says whether the machine has lost the address that a socket sends from.
func lostAddress(facts routes.Facts, source netip.Addr) bool {
	return source.IsValid() && !source.IsLoopback() && !source.IsUnspecified() &&
		!slices.ContainsFunc(facts.Addresses, func(p netip.Prefix) bool { return p.Addr() == source.WithZone("") })
}

// beside says whether a network of the machine's own holds an address: that of a cable that was pulled out stays an
// address, and leads nowhere.
func beside(facts routes.Facts, a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(facts.Routes, func(r routes.UnderlayRoute) bool {
		return !r.Gateway.IsValid() && r.Destination.Bits() > 0 && r.Destination.Contains(a.WithZone(""))
	})
}

// rebind puts another socket under the session.
func (a *running) rebind(ctx context.Context) error {
	l := a.link.(*udpLink)
	return l.rebind(a.c.spec.socket.Local.Port() != 0, func() (udp.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, rebindTimeout)
		defer cancel()
		return a.c.dialer.DialUDP(ctx, a.address, a.c.spec.socket)
	})
}

// float waits for the sign of life after Probe, and asks again and again; what comes sooner than late is none. It says whether
// one came, or another change of the network in between. With neither, the session ends as gone says.
func (a *running) float(late time.Duration, gone func(*ovpn.Session) error) (alive, again bool) {
	begin := time.Now()
	stuck := time.NewTimer(a.grace + probeInterval)
	defer stuck.Stop()
	t := time.NewTicker(probeInterval)
	defer t.Stop()
	for {
		select {
		case <-a.ended:
			return false, false
		case <-a.c.host.Changes():
			settle(a.c.host.Changes(), a.ended)
			return false, true
		case <-t.C:
		}
		begun, ok := a.askWithin(stuck.C, func(now time.Time, s *ovpn.Session) error {
			switch {
			case s.LastHeard().After(begin.Add(late)):
				alive = true
				return nil
			case now.Sub(begin) >= a.grace:
				return gone(s)
			}
			return s.Probe()
		})
		if !begun {
			a.abandon()
		}
		if !ok || alive {
			return alive, false
		}
	}
}

// moved is the failure of a session that did not survive a change of the network. There is nobody to
// say goodbye to.
func (a *running) moved(s *ovpn.Session, why string) *failure {
	s.Abort()
	a.c.log.Info("a new session is needed", "reason", why)
	return networkChanged(a.at)
}

func networkChanged(at scene) *failure {
	return fail(atOnce, api.CodeNetworkChanged, map[string]string{"server": at.server}, nil)
}

// abandon is moved for a session whose goroutine is stuck in the link.
func (a *running) abandon() {
	a.c.log.Info("a new session is needed", "reason", "the old connection takes nothing any more")
	a.cancel(networkChanged(a.at))
	a.gone.Store(true)
	_ = a.link.close()
}

// lookUpAgain asks for the server's addresses, beside the wait for a sign of life.
func (a *running) lookUpAgain(ctx context.Context) {
	r := a.c.remotes
	m := r.current().hop()
	if !m.named() {
		return
	}
	a.loops.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, floatWait-time.Second)
		defer cancel()
		addrs, err := r.ask(ctx, m)
		if err != nil {
			a.c.log.Debug("the server's name is not found at the moment", errorKey, err)
			return
		}
		a.ask(func(time.Time, *ovpn.Session) error {
			r.learn(addrs, a.address.Addr())
			return nil
		})
	})
}

// udpLink is a connected UDP socket, which may be exchanged for another one.
type udpLink struct {
	sync.Mutex
	conn     atomic.Pointer[udp.Conn]
	traffic  *traffic
	ms       []udp.Message // of write
	changing sync.Mutex    // held while conn is exchanged

	payload func([]byte) []byte // nil, or takes a datagram out of what comes in
}

func newUDPLink(c udp.Conn, t *traffic) *udpLink {
	l := &udpLink{traffic: t, ms: make([]udp.Message, 0, c.BatchSize())}
	l.conn.Store(&c)
	return l
}

func (*udpLink) gap() int { return 0 }

func (l *udpLink) write(buf []byte, sizes []int) error {
	l.ms = udp.AppendTrains(l.ms[:0], netip.AddrPort{}, buf, sizes)
	l.traffic.out.Add(uint64(len(buf)))
	return (*l.conn.Load()).WriteBatch(l.ms)
}

func (l *udpLink) send(packet []byte) error {
	l.traffic.out.Add(uint64(len(packet)))
	return (*l.conn.Load()).WriteBatch([]udp.Message{{Buf: packet, N: len(packet)}})
}

// within has nothing to bound: datagrams that do not go are lost.
func (*udpLink) within(f func() error) error { return f() }

// WriteWhole and PathMTU implement pmtud.Path; safe beside write.
func (l *udpLink) WriteWhole(packet []byte) error {
	l.traffic.out.Add(uint64(len(packet)))
	return (*l.conn.Load()).WriteWhole(udp.Message{Buf: packet, N: len(packet)})
}

func (l *udpLink) PathMTU() int { return (*l.conn.Load()).PathMTU() }

func (l *udpLink) local() netip.Addr { return (*l.conn.Load()).LocalAddr().Addr() }

func (l *udpLink) close() error {
	l.changing.Lock()
	defer l.changing.Unlock()
	return (*l.conn.Load()).Close()
}

// rebind exchanges the socket for the one that dial makes; on its error the old one
// stays, unless first says that it must be closed before, because both want one port.
func (l *udpLink) rebind(first bool, dial func() (udp.Conn, error)) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	old := *l.conn.Load()
	if first {
		_ = old.Close()
	}
	c, err := dial()
	if err != nil {
		return err
	}
	l.conn.Store(&c)
	_ = old.Close()
	return nil
}

// next returns the socket that has taken old's place, when there is one.
func (l *udpLink) next(old udp.Conn) (udp.Conn, bool) {
	l.changing.Lock()
	defer l.changing.Unlock()
	c := *l.conn.Load()
	return c, c != old
}
