package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// Managed profiles are the administrator's: files that the service reads with the policy, and never writes. Everybody may
// connect them. Each has one connection on the machine, whoever wants it: that person's while it lasts, and
// everybody's when the service began it by itself.

// managedOwner is the owner key of managed profiles. No user's key is like it (ipc.Account).
const managedOwner = "managed"

const (
	managedInterval = 2 * time.Second  // between two looks at the files where nobody tells of changes
	alwaysInterval  = 30 * time.Second // between two looks whether what is always on is on, and at the files in any case
)

// managed is what the administrator decides, as of one reading. It does not change.
type managed struct {
	policy   Policy
	source   string // its place, as people know it
	written  bool   // there is a policy
	broken   bool   // the policy cannot be read, and none could be before: nothing may connect
	profiles map[string]managedProfile
	problems []string // what could not be read, or has no effect, in words
}

// managedProfile is one of the administrator's.
type managedProfile struct {
	record
	alone bool // it signs in with its certificate alone
}

// alwaysOn is the profile that nobody disconnects; empty: there is none.
func (m *managed) alwaysOn() string {
	if p, ok := m.profiles[m.policy.AutoConnect]; ok && m.policy.AlwaysOn && p.alone {
		return p.Name
	}
	return ""
}

// auto is AutoConnect's profile; empty: it is not there, or none is.
func (m *managed) auto() string {
	return m.profiles[m.policy.AutoConnect].Name
}

// hides says whether a user's own profile is out of sight, since a managed one has its name: nobody can steer it, so it does nothing.
func (m *managed) hides(k key) bool {
	_, there := m.profiles[k.name]
	return there && k.owner != managedOwner
}

// holder is the profile whose guard is closed before anybody connects anything: one is enough, since it closes
// everything. It is AutoConnect's, or another managed one, or where there is none a user's. False: nothing is to be closed.
func (s *Service) holder(m *managed) (w wish, ok bool) { return s.holderBut(m, key{}) }

// holderBut is the holder if a user's profile k were not there.
func (s *Service) holderBut(m *managed, k key) (w wish, ok bool) {
	if m.policy.guardFor(api.Settings{}) != guardLockdown {
		return wish{}, false
	}
	if len(m.profiles) == 0 {
		own := slices.DeleteFunc(s.store.those(func(api.Settings) bool { return true }), func(w wish) bool { return w.key() == k })
		if len(own) == 0 {
			return wish{}, false
		}
		return own[0], true
	}
	w = wish{Owner: managedOwner, Profile: m.policy.AutoConnect}
	if _, ok := m.profiles[w.Profile]; !ok {
		w.Profile = slices.Min(slices.Collect(maps.Keys(m.profiles)))
	}
	return w, true
}

// watchManaged takes what the administrator changes, until ctx ends.
func (s *Service) watchManaged(ctx context.Context, last []mark) {
	hints, deaf := make(chan struct{}, 1), make(chan error, 1)
	var told sync.WaitGroup
	defer told.Wait()
	if s.cfg.ManagedChanges != nil {
		told.Go(func() {
			deaf <- s.cfg.ManagedChanges(ctx, func() {
				select {
				case hints <- struct{}{}:
				default:
				}
			})
		})
	}
	soon := false // a look that a change has brought forward: more of them do not put it off
	look, always := newBeat(managedInterval), newBeat(alwaysInterval)
	defer look.Stop()
	defer always.Stop()
	held := s.held(s.rules()) // what the start of the service has closed
	if held {
		s.openLeft()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-always.C:
			always.next()
			s.keepOn()
			if !held || !s.shut(s.rules()) {
				held = s.takeManaged(ctx, s.rules())
			}
		case <-hints:
			if look.every = alwaysInterval; !soon {
				look.Reset(settleQuiet) // changes come in bursts
				soon = true
			}
		case err := <-deaf:
			s.log.Debug("changes of the policy are not told, but looked for", errorKey, err)
			look.every = managedInterval
			look.next()
		case <-look.C:
			soon = false
			look.next()
			now := s.marks()
			if slices.EqualFunc(now, last, mark.equal) {
				continue
			}
			last = now
			held = s.takeManaged(ctx, s.readManaged(s.rules()))
		}
		if held {
			s.openLeft()
		}
	}
}

// takeManaged makes m what counts, and all connections fit it. Held says that what is always closed is; while it cannot be, what has to end
// keeps its own guard closed.
func (s *Service) takeManaged(ctx context.Context, m *managed) (held bool) {
	before := s.managed.Swap(m)
	s.tell(m, before)
	s.handing.Lock()
	defer s.handing.Unlock()
	s.hold(m)
	held = s.held(m) // before another one opens
	s.uncover(m)
	s.mu.Lock()
	open := map[key]*live{}
	for k, l := range s.live {
		open[k] = l
	}
	s.mu.Unlock()
	for k, l := range open {
		r, err := s.record(k, l.conn.personOf())
		if err == nil {
			err = s.permits(k, r)
		}
		if err != nil {
			if r.Name != "" {
				l.conn.mind(r.Settings.Guard)
			}
			why := "the policy ends a connection"
			if m.hides(k) {
				why = "a managed profile has the same name: the own one ends, and is out of sight as long as that is there"
			}
			s.log.Warn(why, profileKey, k.name, ownerKey, k.owner, errorKey, err)
			s.expel(ctx, k, l, held, r.Name == "", err)
			continue
		}
		s.mu.Lock()
		s.heedLocked(k, l)
		s.mu.Unlock()
		if err := s.mindGuard(k, r, l.conn.mode()); err != nil {
			s.log.Error("the guard does not follow the policy", profileKey, k.name, ownerKey, k.owner, errorKey, err)
		}
		l.conn.look()
	}
	for name := range before.profiles {
		if _, ok := m.profiles[name]; !ok { // such as how a connection ended
			s.mu.Lock()
			if s.live[key{managedOwner, name}] == nil {
				s.board.drop(key{managedOwner, name})
			}
			s.mu.Unlock()
		}
	}
	switch {
	case before.broken && !m.broken:
		s.resume()
	case m.auto() != before.auto() || m.alwaysOn() != before.alwaysOn():
		s.autoManaged(m, s.present.anybody())
	}
	s.showPolicy()
	s.trust.look()
	return held
}

// uncover puts out of sight what managed profiles hide.
func (s *Service) uncover(m *managed) {
	for _, w := range s.store.those(func(api.Settings) bool { return true }) {
		s.mu.Lock()
		if m.hides(w.key()) && s.live[w.key()] == nil { // such as how a connection ended
			s.board.drop(w.key())
		}
		s.mu.Unlock()
	}
}

// expel ends a connection that the policy does not permit any more, and says why. In lockdown its guard stays closed,
// unless another one's is, as held says. Gone says that its profile is, so that nobody could open it.
func (s *Service) expel(ctx context.Context, k key, l *live, held, gone bool, why error) {
	w, locked := s.holder(s.rules())
	if other := locked && w.key() != k; other && held || (gone || k.owner == managedOwner) && !locked {
		l.conn.mind(guardAuto)
	}
	if err := s.end(ctx, []*live{l}); err != nil {
		s.log.Error("cannot undo everything", profileKey, k.name, ownerKey, k.owner, errorKey, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[k] == nil && k.owner != managedOwner && !gone && !s.rules().hides(k) {
		s.board.put(k, api.Connection{Profile: k.name, Owner: l.wish.OwnerName, State: api.Disconnected,
			Since: time.Now(), Problem: api.AsProblem(why)}, nil, nil)
	}
}

// openLeft opens the guards that the last run has left closed and that nobody wants. Its caller has seen that all is closed which always is.
func (s *Service) openLeft() {
	s.mu.Lock()
	var hosts []string
	for host, wanted := range s.left {
		if !wanted || !s.keeps(host) {
			hosts = append(hosts, host)
		}
	}
	s.mu.Unlock()
	for _, host := range hosts {
		s.open(host, s.log)
	}
}

// holders are wishes for the profiles whose guards are closed before anybody connects: the policy's holder, or else people's own in lockdown, but
// for those that can close nothing as they are: nobody waits for them.
func (s *Service) holders(m *managed) []wish {
	if w, ok := s.holder(m); ok {
		return []wish{w}
	}
	return slices.DeleteFunc(s.lockedOwn(), func(w wish) bool {
		if s.liveOf(w.key()) != nil {
			return false
		}
		r, err := s.record(w.key(), "")
		if err != nil {
			return true
		}
		sp, _ := s.specOf(r)
		return !sp.holds()
	})
}

// hold closes what is closed before anybody connects, with the guards that people want closed always, which may have been hidden, or wanted
// while the policy's was closed.
func (s *Service) hold(m *managed) {
	if w, ok := s.holder(m); ok {
		s.holdBy(w)
	}
	for _, w := range s.lockedOwn() {
		s.holdBy(w)
	}
}

func (s *Service) holdBy(w wish) {
	if l := s.liveOf(w.key()); l != nil {
		l.conn.mind(guardLockdown)
		return
	}
	s.resumeOne(w, beginning{idle: true})
}

// held waits until what the holders close is closed. False: it cannot be; their status says why.
func (s *Service) held(m *managed) bool {
	all := true
	for _, w := range s.holders(m) {
		all = s.heldBy(w) && all
	}
	return all
}

// shut is held, without the wait.
func (s *Service) shut(m *managed) bool {
	for _, w := range s.holders(m) {
		if l := s.liveOf(w.key()); l == nil || !l.conn.explain().plan.Guard.Full() {
			return false
		}
	}
	return true
}

func (s *Service) heldBy(w wish) bool {
	l := s.liveOf(w.key())
	if err := s.shutTight(l); err != nil {
		s.log.Error("what is to block everything does not", profileKey, w.Profile, ownerKey, w.Owner, errorKey, err)
		return false
	}
	return l != nil && l.conn.explain().plan.Guard.Full()
}

// autoManaged connects what connects by itself, because of a person, or else what is always on.
func (s *Service) autoManaged(m *managed, person bool) {
	p, ok := m.profiles[m.policy.AutoConnect]
	if ok && !m.broken && (person || m.alwaysOn() == p.Name) && s.beginsNow() {
		s.arouse(wish{Owner: managedOwner, Profile: m.policy.AutoConnect, Auto: true})
	}
}

// keepOn connects again what is always on, and has ended.
func (s *Service) keepOn() {
	if name := s.alwaysOn(); name != "" && s.mayBegin() {
		s.arouse(wish{Owner: managedOwner, Profile: name, Auto: true})
	}
}

// arouse begins a connection that nobody asked for, or makes one that is blocked try again.
func (s *Service) arouse(w wish) { s.rekindle(w, false) }

// goOn is arouse for a wish that was recorded: whoever has taken it back meanwhile is heeded.
func (s *Service) goOn(w wish) { s.rekindle(w, true) }

func (s *Service) rekindle(w wish, recorded bool) {
	k := w.key()
	s.vacate(k, w.Person)
	l := s.liveOf(k)
	if l == nil {
		s.resumeOne(w, beginning{recorded: recorded})
		return
	}
	if l.conn.berth.isParked() {
		done, err := s.rouse(k, w, call{unattended: true}, recorded)
		if err == nil && !done { // its guard could not be closed: it tries again with the wish, unless somebody has taken that back
			s.resumeOne(w, beginning{recorded: true})
		}
		if err != nil && !api.IsCode(err, api.CodeAlreadyConnected) && !errors.Is(err, errRests) && !errors.Is(err, errTakenBack) {
			s.log.Warn("cannot connect", profileKey, k.name, ownerKey, k.owner, errorKey, err)
		}
	}
}

// tell logs what is new.
func (s *Service) tell(m, before *managed) {
	for _, p := range m.problems {
		if before == nil || !slices.Contains(before.problems, p) {
			s.log.Error("managed: " + p)
		}
	}
	if m.written && !m.broken && (before == nil || !slices.EqualFunc(m.policy.shown(), before.policy.shown(), samePolicyKey)) {
		var keys []string
		for _, k := range m.policy.shown() {
			keys = append(keys, k.Name+"="+string(k.Value))
		}
		s.log.Info("the policy is in force", "file", m.source, "keys", strings.Join(keys, " "))
	}
	if before != nil && before.written && !m.written {
		s.log.Warn("the policy is gone; nothing is decided by it any more", "file", before.source)
	}
	if names := slices.Sorted(maps.Keys(m.profiles)); before == nil && len(names) > 0 || before != nil && !slices.Equal(names, slices.Sorted(maps.Keys(before.profiles))) {
		s.log.Info("managed profiles", "names", strings.Join(names, ", "))
	}
}

func samePolicyKey(a, b api.PolicyKey) bool {
	return a.Name == b.Name && string(a.Value) == string(b.Value)
}

// alwaysOn is the profile that nobody disconnects now; empty: there is none.
func (s *Service) alwaysOn() string {
	if _, trusted := s.trust.network(); trusted {
		return ""
	}
	return s.rules().alwaysOn()
}

// showPolicy shows everybody what is managed. Safe for concurrent use: the last word is the newest one.
func (s *Service) showPolicy() {
	s.showing.Lock()
	defer s.showing.Unlock()
	s.board.setPolicy(s.shownPolicy(s.rules()))
}

// shownPolicy is what everybody may know of m; nil: nothing is managed.
func (s *Service) shownPolicy(m *managed) *api.Policy {
	if !m.written && len(m.profiles) == 0 && len(m.problems) == 0 {
		return nil
	}
	out := &api.Policy{Keys: m.policy.shown(), Profiles: slices.Sorted(maps.Keys(m.profiles)), Problems: slices.Clone(m.problems), Broken: m.broken, AlwaysOn: s.alwaysOn()}
	out.TrustedNetwork, _ = s.trust.network()
	if m.written {
		out.Source = m.source
	}
	return out
}

// rules is what the administrator decides now.
func (s *Service) rules() *managed { return s.managed.Load() }

// keyOf is what a caller means by a profile's name: a managed one, or else the caller's own.
func (s *Service) keyOf(caller api.Caller, name string) key {
	if _, ok := s.rules().profiles[name]; ok {
		return key{managedOwner, name}
	}
	return key{ownerOf(caller), name}
}

// record is a profile as it counts: with settings as the policy leaves them, or none where a managed profile hides it. Those of a managed profile are the person's
// (an owner key, empty for nobody) where they are not the policy's.
func (s *Service) record(k key, person string) (record, error) {
	m := s.rules()
	var r record
	var err error
	if k.owner == managedOwner {
		p, ok := m.profiles[k.name]
		if !ok {
			return record{}, notFound(k.name)
		}
		r = p.record
		r.Settings.SavePassword = s.store.saves(key{person, k.name})
	} else if r, err = s.store.get(k); err != nil {
		return record{}, err
	}
	if m.hides(k) {
		r.Settings.AutoConnect, r.Settings.Guard = false, ""
	}
	r.Settings = m.policy.apply(r.Settings)
	if k.owner == managedOwner {
		r.Settings.AutoConnect = m.policy.AutoConnect == k.name
	}
	return r, nil
}

// permits says why a profile may not be connected, or nil.
func (s *Service) permits(k key, r record) error {
	m := s.rules()
	switch {
	case m.broken:
		return api.NewProblem(api.CodePolicyUnreadable, map[string]string{"file": m.source, "detail": strings.Join(m.problems, "; ")})
	case k.owner != managedOwner && !m.policy.AllowUserProfiles:
		return s.decided("AllowUserProfiles")
	case m.hides(k):
		return api.NewProblem(api.CodeProfileExists, map[string]string{"profile": k.name})
	}
	p, err := profile.Parse(r.Name, []byte(r.Text), nil)
	if err != nil || len(p.Remotes) == 0 {
		return nil // who connects says so in better words
	}
	if !slices.ContainsFunc(p.Remotes, func(r profile.Remote) bool { return m.policy.allowsServer(r.Host) }) {
		return api.NewProblem(api.CodeServerNotAllowed, map[string]string{"server": p.Remotes[0].Host, "detail": "it is not one of AllowedServers"})
	}
	return nil
}

// decided is the Problem of a wish that a key of the policy stands against.
func (s *Service) decided(policyKey string) error {
	return api.NewProblem(api.CodeManaged, map[string]string{"key": policyKey, "file": s.rules().source})
}

// fixed is the Problem of a change of a managed profile.
func fixed(name string) error {
	return api.NewProblem(api.CodeProfileManaged, map[string]string{"profile": name})
}

// belongs says whether a connection is an owner's: its own, or a managed one that is this person's or nobody's.
func belongs(k key, person, owner string) bool {
	return k.owner == owner || k.owner == managedOwner && (person == "" || person == owner)
}

// may says whether a caller may connect k: a managed profile any person, and an own one members.
func may(caller api.Caller, k key) error {
	if caller.Member || caller.Root || k.owner == managedOwner && caller.Person {
		return nil
	}
	return api.NewProblem(api.CodeNotPermitted, map[string]string{"action": "connect tunnels"})
}
