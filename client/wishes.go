package client

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/sessions"
)

// How wishes begin and end: what somebody asks for, and what the service resumes by itself.

// resume starts what is always on, what was wanted when the service last ended, what connects by itself, and the guards
// that are always closed.
func (s *Service) resume() {
	m := s.rules()
	if w, ok := s.holder(m); ok {
		s.holdBy(w) // before anything else, so that nothing leaves
	}
	wanted := s.store.wanted()
	always := key{managedOwner, s.alwaysOn()}
	if i := slices.IndexFunc(wanted, func(w wish) bool { return w.key() == always && !w.Auto }); i >= 0 {
		s.goOn(wanted[i]) // a person's wish stays that person's
	} else if always.name != "" {
		s.autoManaged(m, false)
	}
	for _, w := range wanted { // start takes each once
		if !w.Auto && (!s.awaits(w.key()) || s.wasOpen(w.key())) { // else beginAll knows when
			s.goOn(w)
		}
	}
	s.goOnFor(s.present.is)
	s.beginAll()
	for _, w := range s.lockedOwn() {
		s.holdBy(w)
	}
	if !m.broken { // else resume comes again
		s.takeLeft(m)
	}
}

// takeLeft takes over the guards that the last run has left closed for what has not begun yet, such as for want of its person: they stay closed, and
// can be opened.
func (s *Service) takeLeft(m *managed) {
	for _, w := range s.toCome(m) {
		k := w.key()
		s.mu.Lock()
		left := s.left[hostOf(k)]
		s.mu.Unlock()
		if !left || s.liveOf(k) != nil {
			continue
		}
		if r, err := s.record(k, w.Person); err == nil && guardMode(r.Settings) == guardOff {
			s.release(k) // as a connection would
			continue
		}
		s.resumeOne(w, beginning{idle: true})
	}
}

// automatic says whether a profile connects by itself.
func (s *Service) automatic(k key) bool {
	m := s.rules()
	if m.policy.set["AutoConnect"] || k.owner == managedOwner {
		return k == key{managedOwner, m.policy.AutoConnect}
	}
	r, err := s.record(k, "")
	return err == nil && r.Settings.AutoConnect
}

// automaticOwn are wishes for people's own profiles that connect by themselves.
func (s *Service) automaticOwn() []wish {
	return slices.DeleteFunc(s.store.automatic(), func(w wish) bool { return !s.automatic(w.key()) })
}

// lockedOwn are wishes for people's own profiles whose guard is always closed.
func (s *Service) lockedOwn() []wish {
	return slices.DeleteFunc(s.store.locked(), func(w wish) bool {
		r, err := s.record(w.key(), "")
		return err != nil || r.Settings.Guard != guardLockdown
	})
}

// beginAll begins what connects by itself, where that may be.
func (s *Service) beginAll() {
	m := s.rules()
	if !s.beginsNow() {
		return
	}
	for _, w := range s.store.wanted() { // began by itself once, and goes on
		if w.Auto && (!s.automatic(w.key()) || s.wasOpen(w.key())) {
			s.goOn(w)
		}
	}
	if !m.policy.set["AutoConnect"] {
		for _, w := range s.automaticOwn() {
			came := s.present.has(func(u sessions.User) bool { return u.Account == w.Owner })
			if came || s.alone(w.key()) && !s.present.began() {
				s.arouse(w)
			}
		}
	}
	s.autoManaged(m, s.present.has(func(u sessions.User) bool { return u.Person }))
}

// errTakenBack says that a recorded wish is not there any more: somebody has disconnected before it began anew.
var errTakenBack = errors.New("it is not wanted any more")

// resumeOne starts one connection without being asked. Nil: that failed, and the profile's status says why; or it was not to be.
func (s *Service) resumeOne(w wish, how beginning) *live {
	how.unattended = true
	k := w.key()
	log := s.log.With(profileKey, w.Profile, ownerKey, w.Owner)
	if s.rules().hides(k) { // as the administrator has decided while the service did not run
		if err := s.store.want(w, false); err != nil {
			log.Error("cannot forget the wish", errorKey, err)
		}
		s.release(k)
		return nil
	}
	l, err := s.start(k, w, api.ConnectRequest{}, how)
	switch {
	case err == nil:
		if !how.idle {
			// What connects by itself is a wish, too: should the service be killed, the next one knows whose the guard is.
			if err := s.store.want(w, true); err != nil {
				log.Error("cannot record the wish", errorKey, err)
			}
		}
		close(l.recorded)
	case api.IsCode(err, api.CodeAlreadyConnected), errors.Is(err, errRests), errors.Is(err, errTakenBack):
	default:
		log.Warn("cannot resume the connection", errorKey, err)
		s.board.put(k, api.Connection{Profile: w.Profile, Owner: w.OwnerName, State: api.Disconnected,
			Since: time.Now(), Problem: api.AsProblem(err)}, nil, constant(w.Person))
		switch {
		case api.IsCode(err, api.CodePolicyUnreadable): // it will be resumed
		case s.lockedDown(k):
			log.Error("its guard stays as it was left; adit set guard=auto opens it")
		default:
			s.release(k)
		}
	}
	return l
}

// releaseUnwanted is release for what is not begun any more, since its wish is gone, but not for lockdown.
func (s *Service) releaseUnwanted(k key) {
	if s.liveOf(k) == nil && !s.lockedDown(k) {
		s.release(k)
	}
}

// release opens the guard that the last run left closed for a connection that cannot be resumed, or leaves that to openLeft where others are to
// be closed before.
func (s *Service) release(k key) {
	host := hostOf(k)
	closed := s.shut(s.rules())
	s.mu.Lock()
	_, left := s.left[host]
	if left && !closed {
		s.left[host] = false
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.open(host, s.log.With(profileKey, k.name, ownerKey, k.owner))
}

// open opens the guard that the last run has left closed under a Host's name, unless a connection has taken it over. Where the system does not let
// it, openLeft tries again.
func (s *Service) open(host string, log *slog.Logger) {
	taken := func() bool {
		for _, l := range s.live {
			if l.host == host {
				return true
			}
		}
		return false
	}
	s.mu.Lock()
	delete(s.left, host)
	if taken() {
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	h, err := s.cfg.Hosts(host, log)
	if err == nil {
		err = h.Close()
	}
	if err == nil {
		return
	}
	log.Error("what the last run left cannot be undone", "again", alwaysInterval, errorKey, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !taken() {
		s.left[host] = false
	}
}

// Connect begins a connection and returns when the wish is recorded; Status tells the rest. A profile that is
// connected already, or on its way, stays so: the error then has CodeAlreadyConnected, so
// that the caller knows whose wish it is, or CodeAnotherSignsIn where it waits for another person. One that is blocked, or
// that waits for somebody who has left, tries again.
func (s *Service) Connect(caller api.Caller, req api.ConnectRequest) error {
	k := s.keyOf(caller, req.Profile)
	if err := may(caller, k); err != nil {
		return err
	}
	w := wish{Owner: k.owner, OwnerName: caller.Name, Profile: k.name}
	if k.owner == managedOwner {
		w.OwnerName, w.Person = "", ownerOf(caller)
	}
	s.vacate(k, w.Person)
	if done, err := s.rouse(k, w, call{given: req}, false); done {
		return err
	}
	l, err := s.start(k, w, req, beginning{})
	switch {
	case api.IsCode(err, api.CodeAlreadyConnected) && s.asksAnother(k, w.Person):
		return anotherSignsIn(k.name)
	case err != nil:
		return err
	}
	// The disk may be slow; the server is asked meanwhile.
	err = s.store.want(w, true)
	if err != nil {
		s.mu.Lock()
		l.ending = true
		s.mu.Unlock()
		l.cancel()
	}
	close(l.recorded)
	if err != nil {
		<-l.done
		err = errors.Join(err, l.err)
	}
	return err
}

// rouse makes a parked connection try again; done says that there was one. Recorded is as in a beginning.
func (s *Service) rouse(k key, w wish, c call, recorded bool) (done bool, err error) {
	l, begun, err := s.wake(k, w, c, recorded)
	if begun == nil || err != nil {
		return l != nil, err
	}
	select { // so that whoever watches after Connect does not see it blocked
	case <-begun:
		return true, nil
	case <-l.done: // somebody disconnected it at the same time, and came first
		return false, nil
	}
}

// wake records the wish and wakes the parked connection, nil for none, in one step. Begun closes when its attempts begin.
func (s *Service) wake(k key, w wish, c call, recorded bool) (l *live, begun <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l = s.live[k]
	switch {
	case l == nil || l.ending || !l.conn.berth.isParked():
		return nil, nil, nil
	case recorded && !s.store.wants(k):
		return l, nil, errTakenBack
	case w.Auto && !s.beginsNow():
		return l, nil, errRests
	case s.fullLocked(k):
		return l, nil, s.tooMany()
	}
	r, err := s.record(k, w.Person)
	if err == nil {
		err = s.permits(k, r)
	}
	c.settings = r.Settings
	if err == nil {
		c.spec, err = s.specOf(r)
	}
	if err != nil {
		return l, nil, err
	}
	l.conn.person.Store(w.Person)
	l.wish = w
	s.heedLocked(k, l)
	if err := s.store.want(w, true); err != nil {
		return l, nil, err
	}
	if c.unattended {
		var asked time.Time
		if c.token, c.tokenUser, asked = s.inheritLocked(w); !asked.IsZero() {
			l.asked = asked
		}
	} else {
		l.asked = time.Now()
	}
	if begun = l.conn.berth.rouse(c); begun == nil {
		err = api.NewProblem(api.CodeAlreadyConnected, map[string]string{"profile": k.name})
	}
	return l, begun, err
}

// Disconnect ends one tunnel of the caller, or all with name "", and returns when everything is
// undone. Root may end other users' tunnels by name. A managed one is whose it became, else everybody's, as is one that waits
// for a person who has left; what is always on nobody ends.
func (s *Service) Disconnect(ctx context.Context, caller api.Caller, name string) error {
	own, always := ownerOf(caller), s.alwaysOn()
	ending, refused := s.toEnd(caller, name)
	errs := []error{s.end(ctx, ending)}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if name == "" {
		for _, w := range s.store.wanted() {
			if w.Owner == own || w.Person == own && w.Profile != always { // such as one that could not be resumed
				errs = append(errs, s.store.want(w, false))
				s.board.drop(w.key())
				s.releaseUnwanted(w.key())
			}
		}
		ending, _ = s.toEnd(caller, name) // what was resumed before its wish was gone
		errs = append(errs, s.end(ctx, ending))
		s.board.dropEnded(own)
		return cmp.Or(refused, errors.Join(errs...))
	}
	if len(ending) > 0 || refused != nil {
		return cmp.Or(errors.Join(errs...), refused)
	}
	k := s.keyOf(caller, name)
	_, shown := s.board.get(k)
	if k.owner != managedOwner || may(caller, k) == nil {
		if shown && s.rules().broken {
			s.release(k) // nobody else opens it
		}
		wanted := s.store.wants(k)
		there, err := s.forget(k)
		switch {
		case err != nil:
			return err
		case there:
			return s.Disconnect(ctx, caller, name)
		case wanted:
			s.releaseUnwanted(k)
		}
	}
	if shown {
		return nil
	}
	if _, err := s.record(k, ""); err != nil {
		return err
	}
	return api.NewProblem(api.CodeNotConnected, map[string]string{"profile": name})
}

// toEnd are the connections that Disconnect means, and why it may not end one of that name.
func (s *Service) toEnd(caller api.Caller, name string) (ending []*live, refused error) {
	own, always := ownerOf(caller), s.alwaysOn()
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, l := range s.live {
		switch {
		case name != "" && k.name != name:
		case k.owner == own:
			ending = append(ending, l)
		case k.owner != managedOwner:
		case l.conn.personOf() != own && name == "":
		case k.name == always:
			refused = api.NewProblem(api.CodeAlwaysOn, map[string]string{"profile": k.name, "file": s.rules().source})
		case l.conn.personOf() == own, caller.Root, (l.conn.personOf() == "" || s.abandonedLocked(l)) && may(caller, k) == nil:
			ending = append(ending, l)
		default:
			refused = others(k.name)
		}
	}
	if len(ending) == 0 && name != "" && caller.Root && refused == nil {
		for k, l := range s.live {
			if k.name == name {
				ending = append(ending, l)
			}
		}
	}
	return ending, refused
}

// forget takes back the wish for a connection that is not there. There says that one has begun meanwhile, whose wish stays.
func (s *Service) forget(k key) (there bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[k] != nil {
		return true, nil
	}
	if err := s.store.want(wish{Owner: k.owner, Profile: k.name}, false); err != nil {
		return false, err
	}
	s.board.drop(k)
	return false, nil
}

// end disconnects and waits until all is undone; what has its guard always closed keeps it. It returns early when ctx
// ends.
func (s *Service) end(ctx context.Context, ending []*live) error {
	var errs []error
	over := make([]<-chan struct{}, len(ending))
	for i, l := range ending {
		<-l.recorded
		var err error
		over[i], err = s.finish(l)
		errs = append(errs, err)
	}
	for i, l := range ending {
		select {
		case <-over[i]:
		case <-l.done: // it could not be parked
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-l.done:
			errs = append(errs, l.err)
		default:
		}
	}
	return errors.Join(errs...)
}

// finish ends a connection whose wish is recorded, or in lockdown only its attempts: its guard stays closed. The channel
// closes when that is done.
func (s *Service) finish(l *live) (over <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The wish goes first: a crash from here on must not bring the tunnel back. The next connection's wish stays.
	if k := l.wish.key(); s.live[k] == l || s.live[k] == nil {
		err = s.store.want(l.wish, false)
	}
	if l.conn.mode() == guardLockdown {
		return l.conn.berth.park(), err
	}
	l.ending = true
	l.cancel()
	return l.done, err
}
