package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// Import keeps a self-contained profile text under a name of the caller's.
func (s *Service) Import(caller api.Caller, req api.ImportRequest) (api.Profile, error) {
	if len(req.Text) > maxProfileText {
		return api.Profile{}, api.NewProblem(api.CodeProfileInvalid,
			map[string]string{"reason": fmt.Sprintf("it has more than %d bytes", maxProfileText)})
	}
	if err := api.CheckName(req.Name); err != nil {
		return api.Profile{}, err
	}
	k := s.keyOf(caller, req.Name)
	switch m := s.rules(); {
	case m.broken, !m.policy.AllowUserProfiles:
		return api.Profile{}, s.permits(key{owner: ownerOf(caller)}, record{})
	case k.owner == managedOwner:
		return api.Profile{}, api.NewProblem(api.CodeProfileExists, map[string]string{"profile": req.Name})
	}
	// Nil files: the service opens no path that a user names.
	p, err := profile.Parse(req.Name, []byte(req.Text), nil)
	if err != nil {
		return api.Profile{}, profileProblem(api.CodeProfileInvalid, err)
	}
	if l := s.liveOf(k); l != nil && !l.conn.berth.isParked() { // else the text counts when it is roused
		return api.Profile{}, inUse(k)
	}
	r, err := s.store.put(k.owner, record{
		Name: req.Name, OwnerName: caller.Name, Imported: time.Now().UTC().Truncate(time.Second),
		Notes: notesOf(p), Text: p.Text(),
	}, req.Replace)
	if err != nil {
		return api.Profile{}, err
	}
	s.log.Info("imported", profileKey, k.name, ownerKey, k.owner)
	s.hold(s.rules()) // it may be the first that can
	return s.describe(k, r, p), nil
}

// notesOf are the remarks of the lint that a person should see.
func notesOf(p *profile.Profile) []string {
	notes := []string{}
	for _, d := range p.Directives {
		if d.Note == "" || len(d.Words) == 0 {
			continue
		}
		note := fmt.Sprintf("line %d: %s", d.Line, d.Words[0])
		switch d.Verdict {
		case profile.Used:
			note += ": " + d.Note
		default:
			note += fmt.Sprintf(" is %s: %s", d.Verdict, d.Note)
		}
		notes = append(notes, note)
	}
	return notes
}

// describe is what lists show of a stored profile. P may be nil when the text does not parse any more.
func (s *Service) describe(k key, r record, p *profile.Profile) api.Profile {
	out := api.Profile{Name: r.Name, Owner: r.OwnerName, Managed: r.Managed, Remotes: []string{},
		Imported: r.Imported, Notes: r.Notes, State: api.Disconnected}
	if out.Notes == nil {
		out.Notes = []string{}
	}
	if c, ok := s.board.get(k); ok {
		out.State = c.State
	}
	if p == nil {
		return out
	}
	for _, m := range p.Remotes {
		out.Remotes = append(out.Remotes, joinHostPort(m.Host, m.Port)+"/"+m.Proto)
	}
	out.Auth = p.AuthKind()
	if forbidsSaving(p) {
		out.SaveForbidden = "profile"
	}
	out.Expires = certificateExpiry(p.Cert)
	return out
}

// Profiles lists the managed profiles and the caller's own by name. An own one with the name of a managed one is not
// there as long as that is.
func (s *Service) Profiles(caller api.Caller) ([]api.Profile, error) {
	owner := ownerOf(caller)
	managed := s.rules().profiles
	keys := []key{}
	for name := range managed {
		keys = append(keys, key{managedOwner, name})
	}
	for _, r := range s.store.list(owner) {
		if _, hidden := managed[r.Name]; !hidden {
			keys = append(keys, key{owner, r.Name})
		}
	}
	slices.SortFunc(keys, func(a, b key) int { return strings.Compare(a.name, b.name) })
	out := []api.Profile{}
	for _, k := range keys {
		r, err := s.record(k, owner)
		if err != nil {
			continue // it went meanwhile
		}
		p, err := profile.Parse(r.Name, []byte(r.Text), nil)
		if err != nil {
			p = nil // kept by a version that knew better; connecting says what is wrong
		}
		out = append(out, s.describe(k, r, p))
	}
	return out, nil
}

// Show returns a profile's text without its keys.
func (s *Service) Show(caller api.Caller, name string) (api.ProfileText, error) {
	r, err := s.record(s.keyOf(caller, name), ownerOf(caller))
	if err != nil {
		return api.ProfileText{}, err
	}
	return api.ProfileText{Name: r.Name, Text: profile.Redact(r.Text)}, nil
}

// Export returns the whole text, keys included, to the owner.
func (s *Service) Export(caller api.Caller, name string) (api.ProfileText, error) {
	k := s.keyOf(caller, name)
	if k.owner == managedOwner {
		return api.ProfileText{}, fixed(name)
	}
	r, err := s.store.get(k)
	if err != nil {
		return api.ProfileText{}, err
	}
	return api.ProfileText{Name: r.Name, Text: r.Text}, nil
}

// Rename gives a profile another name. Its settings move along.
func (s *Service) Rename(caller api.Caller, name, to string) error {
	k := s.keyOf(caller, name)
	if k.owner == managedOwner {
		return fixed(name)
	}
	if s.keyOf(caller, to).owner == managedOwner {
		return api.NewProblem(api.CodeProfileExists, map[string]string{"profile": to})
	}
	s.handing.Lock()
	defer s.handing.Unlock()
	if err := s.free(k); err != nil {
		return err
	}
	if to == name {
		_, err := s.store.get(k)
		return err
	}
	if err := s.store.copy(k, to); err != nil {
		return err
	}
	if err := s.yield(k); err != nil { // it may be to the copy
		return errors.Join(err, s.takeBack(k, to))
	}
	if err := s.store.bequeath(k, to); err != nil {
		return err
	}
	s.board.drop(k)
	s.hold(s.rules()) // if this one could not
	return s.store.want(wish{Owner: k.owner, Profile: name}, false)
}

// takeBack removes the copy of a profile that keeps its name, and ends what the copy may have closed. Where it has to stay closed, so does the copy.
func (s *Service) takeBack(k key, to string) error {
	copied := key{k.owner, to}
	if err := s.yield(copied); err != nil {
		return err
	}
	s.board.drop(copied)
	return s.store.remove(copied)
}

// Remove deletes a profile that has no tunnel.
func (s *Service) Remove(caller api.Caller, name string) error {
	k := s.keyOf(caller, name)
	if k.owner == managedOwner {
		return fixed(name)
	}
	s.handing.Lock()
	defer s.handing.Unlock()
	if err := s.free(k); err != nil {
		return err
	}
	if err := s.yield(k); err != nil {
		return err
	}
	if err := s.store.remove(k); err != nil {
		return err
	}
	s.board.drop(k)
	s.log.Info("removed", profileKey, k.name, ownerKey, k.owner)
	s.hold(s.rules()) // if this one could not
	return s.store.want(wish{Owner: k.owner, Profile: name}, false)
}

// Settings returns a profile's choices, as the policy leaves them.
func (s *Service) Settings(caller api.Caller, name string) (api.Settings, error) {
	r, err := s.record(s.keyOf(caller, name), ownerOf(caller))
	return withDefaults(r.Settings), err
}

// Set applies all changes or none. They count from the next connection on, but for save_password, which counts
// at once: a person may say so while typing the password. That is also all that a person chooses of a managed profile.
func (s *Service) Set(caller api.Caller, name string, changes []string) (api.Settings, error) {
	k := s.keyOf(caller, name)
	if k.owner != managedOwner && !caller.Member && !caller.Root {
		return api.Settings{}, api.NewProblem(api.CodeNotPermitted, map[string]string{"action": "change settings"})
	}
	for _, c := range changes {
		if key := s.rules().policy.pins(c); key != "" {
			return api.Settings{}, s.decided(key)
		}
	}
	if k.owner == managedOwner {
		return s.setManaged(caller, k, changes)
	}
	var was string
	_, err := s.store.update(k, func(r *record) error {
		was = s.rules().policy.guardFor(r.Settings)
		for _, c := range changes {
			if err := applySetting(&r.Settings, c); err != nil {
				return err
			}
		}
		p, err := profile.Parse(r.Name, []byte(r.Text), nil)
		if err != nil {
			return nil // connecting says so
		}
		_, err = remotesOf(p, r.Settings.Proxy)
		return err
	})
	if err != nil {
		return api.Settings{}, err
	}
	r, err := s.record(k, k.owner)
	if err != nil {
		return api.Settings{}, err
	}
	s.heed(k)
	return withDefaults(r.Settings), s.mindGuard(k, r, was)
}

// setManaged changes what the caller may choose of a managed profile.
func (s *Service) setManaged(caller api.Caller, k key, changes []string) (api.Settings, error) {
	person := ownerOf(caller)
	r, err := s.record(k, person)
	if err != nil {
		return api.Settings{}, err
	}
	for _, c := range changes {
		if !strings.HasPrefix(c, "save_password=") {
			return api.Settings{}, fixed(k.name)
		}
		if err := applySetting(&r.Settings, c); err != nil {
			return api.Settings{}, err
		}
	}
	if len(changes) > 0 {
		if err := s.store.save(key{person, k.name}, r.Settings.SavePassword); err != nil {
			return api.Settings{}, err
		}
		s.heed(k)
	}
	return withDefaults(r.Settings), nil
}

// heed tells a profile's connection whether the person wants its password to be saved.
func (s *Service) heed(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.live[k]; l != nil && s.heedLocked(k, l) {
		s.board.touch()
	}
}

// mindGuard makes a profile's connection follow its guard mode, which was another one: lockdown closes at once, and what is blocked opens
// once it needs not be any more.
func (s *Service) mindGuard(k key, r record, was string) error {
	s.mu.Lock()
	s.awaitEndLocked(k) // what ends does not look any more
	if now, err := s.record(k, ""); err == nil {
		r = now // two may set it at once: the last word counts
	}
	mode, l := r.Settings.Guard, s.live[k]
	if l == nil {
		s.mu.Unlock()
		_, pinned := s.rules().policy.guard(r.Settings)
		switch {
		case mode == guardLockdown && pinned != "": // another profile holds it
		case mode == guardLockdown:
			l := s.resumeOne(wish{Owner: k.owner, OwnerName: r.OwnerName, Profile: k.name}, beginning{idle: true})
			if l == nil { // somebody else has just begun it
				l = s.liveOf(k)
			}
			return s.shutTight(l)
		case was == guardLockdown: // of one that could not be started
			s.release(k)
		}
		return nil
	}
	opens := l.conn.berth.isParked() && mode != l.conn.mode() && mode != guardLockdown
	l.conn.mind(mode)
	s.mu.Unlock()
	s.board.touch()
	switch {
	case mode == guardLockdown:
		return s.shutTight(l)
	case !opens:
		return nil
	}
	<-l.recorded
	over, err := s.finish(l)
	<-over
	return errors.Join(err, l.err)
}

// lockdownTime bounds the wait for a guard that is to close.
const lockdownTime = 10 * time.Second

// shutTight waits until the guard of a connection in lockdown is closed. Nil: there is none, and its status says why.
func (s *Service) shutTight(l *live) error {
	if l == nil {
		return nil
	}
	late := time.NewTimer(lockdownTime)
	defer late.Stop()
	for {
		seen, news := l.conn.next()
		if seen.plan.Guard.Full() || l.conn.mode() != guardLockdown {
			return nil
		}
		select {
		case <-news:
		case <-l.done:
			return l.err
		case <-late.C:
			return api.NewProblem(api.CodeGuardFailed, map[string]string{"detail": "it is not closed yet; lockdown stays set"})
		}
	}
}

// free says why a profile cannot go: it is connected, or its owner wants its guard closed. Nil: it can, after yield.
func (s *Service) free(k key) error {
	l := s.liveOf(k)
	switch {
	case l == nil:
		return nil
	case !l.conn.berth.isParked() || l.conn.mode() != guardLockdown:
		return inUse(k)
	}
	if mode, _ := s.rules().policy.guard(api.Settings{}); mode != guardLockdown {
		return api.NewProblem(api.CodeProfileLocked, map[string]string{"profile": k.name})
	}
	return nil
}

func inUse(k key) error {
	return api.NewProblem(api.CodeProfileInUse, map[string]string{"profile": k.name})
}

// yield ends the connection, if there is one, of a profile that is free and shall go: it is closed because the policy wants all closed always, and
// another profile's guard sees to that from here on. Its caller holds handing.
func (s *Service) yield(k key) error {
	l := s.liveOf(k)
	if l == nil {
		return nil
	}
	m := s.rules()
	w, ok := s.holderBut(m, k)
	if !ok {
		_, pinned := m.policy.guard(api.Settings{})
		return s.decided(pinned)
	}
	s.holdBy(w)
	if !s.heldBy(w) {
		return api.NewProblem(api.CodeGuardFailed, map[string]string{"detail": "no other profile's guard can be closed in place of this one's"})
	}
	l.conn.mind(guardAuto)
	<-l.recorded
	over, err := s.finish(l)
	<-over
	if s.liveOf(k) != nil {
		return inUse(k)
	}
	return errors.Join(err, l.err)
}
