package client

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform/sessions"
)

// What connects by itself, and needs a person, begins when one signs in to the machine: profiles of people's own with their
// owner's session, the policy's AutoConnect with anybody's. What is always on, and own profiles that sign in with a
// certificate alone, begin with the service.

// presence is who is signed in to the machine. Safe for concurrent use.
type presence struct {
	mu        sync.Mutex
	everybody bool // nobody can tell
	known     bool // who has a session; else it is to be told soon
	users     []sessions.User
	gone      map[string]time.Time // accounts that had a session → when the last one ended; nil: none yet
	// resumed says that the service goes on where the last one has ended: what begins with a service has begun, and so has what
	// begins for the accounts of back, as long as they have a session.
	resumed bool
	back    []string
}

// is says whether the account has a session.
func (p *presence) is(account string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.everybody || slices.ContainsFunc(p.users, func(u sessions.User) bool { return u.Account == account })
}

// left says whether it is known that the account has no session, but had one since then; zero: whether it had one or not. Who has had
// none, such as root by sudo, may be there all the same.
func (p *presence) left(account string, since time.Time) bool {
	if p.is(account) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known && !p.gone[account].Before(since)
}

// without says whether it is known that the account has no session, and has had none since then, such as root by sudo: it has not left.
func (p *presence) without(account string, since time.Time) bool {
	if p.is(account) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known && p.gone[account].Before(since)
}

// resume says that the service goes on where the last one has ended, while these accounts had a session.
func (p *presence) resume(accounts []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resumed, p.back = true, accounts
}

// renew makes everything begin that is to begin by itself, as if whoever has a session had just come.
func (p *presence) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resumed, p.back = false, nil
}

// began says whether that has begun which begins with a service.
func (p *presence) began() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resumed
}

// begun says whether that has begun which begins by itself, and for which accounts that have a session. Where nothing may begin now, that is
// what had begun before the service was started.
func (p *presence) begun(may bool) (begun bool, accounts []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !may || !p.known {
		return may || p.resumed, p.back
	}
	for _, u := range p.users {
		accounts = append(accounts, u.Account)
	}
	return true, accounts
}

// has says whether somebody whom fits takes has come, and what begins for that one has not begun before.
func (p *presence) has(fits func(sessions.User) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.everybody {
		return !p.resumed
	}
	return slices.ContainsFunc(p.users, func(u sessions.User) bool { return fits(u) && !slices.Contains(p.back, u.Account) })
}

// anybody says whether a person has a session.
func (p *presence) anybody() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.everybody || slices.ContainsFunc(p.users, func(u sessions.User) bool { return u.Person })
}

// become takes who is there now, and returns those who were not, and were not for the last service either.
func (p *presence) become(users []sessions.User) (came []sessions.User) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range users {
		if !slices.Contains(p.users, u) && !slices.Contains(p.back, u.Account) {
			came = append(came, u)
		}
	}
	p.back = slices.DeleteFunc(p.back, func(account string) bool {
		return !slices.ContainsFunc(users, func(u sessions.User) bool { return u.Account == account })
	})
	for _, u := range p.users {
		if !slices.ContainsFunc(users, func(o sessions.User) bool { return o.Account == u.Account }) {
			if p.gone == nil {
				p.gone = map[string]time.Time{}
			}
			p.gone[u.Account] = time.Now()
		}
	}
	p.users, p.known = slices.Clone(users), true
	return came
}

// watchSessions begins what waits for people when they sign in, until ctx ends.
func (s *Service) watchSessions(ctx context.Context) {
	err := s.cfg.Sessions(ctx, func(users []sessions.User) {
		came := s.present.become(users)
		s.goOnFor(func(account string) bool { // before it would begin as somebody else's
			return slices.ContainsFunc(came, func(u sessions.User) bool { return u.Account == account })
		})
		for _, u := range came {
			s.signedInto(u)
		}
	})
	if err == nil || ctx.Err() != nil {
		return
	}
	s.log.Info("who signs in to this machine is not known; the start of the service counts for it", errorKey, err)
	s.present.mu.Lock()
	s.present.everybody = true
	s.present.mu.Unlock()
	s.goOnFor(s.present.is)
	s.beginAll()
}

// signedInto begins what waited for u, who has come.
func (s *Service) signedInto(u sessions.User) {
	m := s.rules()
	if !s.beginsNow() {
		return
	}
	if !m.policy.set["AutoConnect"] {
		for _, w := range s.automaticOwn() {
			if w.Owner == u.Account {
				s.arouse(w)
			}
		}
	}
	if u.Person {
		s.autoManaged(m, true)
	}
}

// awaits says whether a profile waits for a person's session: one that connects by itself, and needs somebody to sign in to it. It
// then does so, too, where it is wanted because somebody has signed in to it before the machine was started.
func (s *Service) awaits(k key) bool { return s.automatic(k) && !s.alone(k) }

// goOnFor goes on with what awaited people for whom came is true.
func (s *Service) goOnFor(came func(account string) bool) {
	for _, w := range s.store.wanted() {
		if !w.Auto && s.awaits(w.key()) && came(w.person()) {
			s.goOn(w)
		}
	}
}

// abandonedLocked says whether a managed connection waits for a person who has left the machine, or who has not come back to it after
// a restart: everybody may then end it, or connect in that one's place. A tunnel that is up, or on its way, stays its person's.
func (s *Service) abandonedLocked(l *live) bool {
	k, person := l.wish.key(), l.conn.personOf()
	if k.owner != managedOwner || person == "" || !s.present.left(person, l.asked) {
		return false
	}
	c, _ := s.board.get(k)
	return c.State == api.NeedsLogin || c.State == api.Blocked
}

// asksAnother says whether a managed connection waits for a sign-in of somebody else than person, an owner key.
func (s *Service) asksAnother(k key, person string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.live[k]
	if l == nil || k.owner != managedOwner {
		return false
	}
	c, _ := s.board.get(k)
	return c.State == api.NeedsLogin && !belongs(k, l.conn.personOf(), person)
}

func anotherSignsIn(name string) *api.Problem {
	return api.NewProblem(api.CodeAnotherSignsIn, map[string]string{"profile": name})
}

// vacate parks a connection that is abandoned, so that somebody other than its person (an owner key, empty for nobody) can rouse it. Its
// guard stays closed, and what its person has given is forgotten. The wish stays until then.
func (s *Service) vacate(k key, other string) {
	s.mu.Lock()
	l := s.live[k]
	if l == nil || l.ending || l.conn.personOf() == other || !s.abandonedLocked(l) {
		s.mu.Unlock()
		return
	}
	s.log.Info("somebody takes the place of a person who has left", profileKey, k.name, ownerKey, k.owner)
	parked := l.conn.berth.park()
	s.mu.Unlock()
	select {
	case <-parked:
	case <-l.done:
	}
}

// alone says whether a profile signs in with its certificate alone.
func (s *Service) alone(k key) bool {
	if k.owner == managedOwner {
		return s.rules().profiles[k.name].alone
	}
	r, err := s.store.get(k)
	if err != nil {
		return false
	}
	p, err := profile.Parse(r.Name, []byte(r.Text), nil)
	return err == nil && p.AuthKind() == "certificate"
}
