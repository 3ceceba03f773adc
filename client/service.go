// Package client is what the service does: it keeps profiles and wishes, and turns a wish into a
// tunnel and a lost tunnel into the next one. Three lifetimes nest: Service (Run), connection
// (from Connect to Disconnect) and attempt (one server, one session); each is a function that
// waits for everything it started.
//
// Not here: the protocol (ovpn), decisions about routes (routes), the operating system
// (platform), and who may call what (client/api).
package client

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/portal"
	"github.com/adit-vpn/adit/platform/seal"
	"github.com/adit-vpn/adit/platform/sessions"
	"github.com/adit-vpn/adit/platform/udp"
	"github.com/adit-vpn/adit/routes"
)

// maxConnections is how many tunnels may be open at once, unless the policy says less.
const maxConnections = 5

// ServiceConfig is what a Service is made of.
type ServiceConfig struct {
	// StateDir holds profiles and wishes. The caller keeps other processes out of it.
	StateDir string
	// Hosts makes the door to the operating system for the tunnel of that name (unique among open ones). What it
	// writes into log is for the tunnel's owner, too.
	Hosts    func(name string, log *slog.Logger) (platform.Host, error)
	Log      *slog.Logger
	Dialer   Dialer   // nil = SystemDialer
	Resolver Resolver // required
	Version  string   // of this build
	// InsecureCiphers lets profiles use BF-CBC and DES where a server has nothing better: the
	// administrator's decision, never a user's.
	InsecureCiphers bool
	// Sealer seals profiles at rest; nil: they are kept as they are.
	Sealer seal.Sealer
	// Policy is where the administrator writes the policy; nil: nowhere.
	Policy PolicySource
	// ManagedProfiles is the folder with managed profiles, NAME.ovpn and what they name; only the administrator can
	// write it (package trusted). Nil: there are none.
	ManagedProfiles fs.FS
	// ManagedChanges says when Policy or ManagedProfiles may have changed, as watch.Folders: it calls changed once when it watches, and then
	// at changes, from its own goroutine, until ctx ends. An error, or nil in its place, says that nobody tells: the service looks by itself.
	ManagedChanges func(ctx context.Context, changed func()) error
	// PolicyRequired says that a missing policy is one that cannot be read.
	PolicyRequired bool
	// Sessions says who is signed in to the machine, as sessions.Watch: it calls changed, from its own goroutine, until ctx
	// ends. An error, or nil in its place, says that nobody can tell: everybody then is, from the start on.
	Sessions func(ctx context.Context, changed func([]sessions.User)) error
	// Asleep is how long the machine has been suspended so far; nil = platform.Asleep.
	Asleep func() time.Duration
	// Portal says whether the network wants a sign-in first, without asking the network; nil = nobody knows.
	Portal func(context.Context) portal.State
	// Wall is the time of day, without a monotonic reading; nil = the system's.
	Wall func() time.Time
	// Offline says whether no network leads anywhere; nil = udp.Offline.
	Offline func() bool
	// Handover is the path of a file that outlives a restart of the service, but not one of the machine, in a directory of this process's
	// user; empty: there is none, and who signs in without a certificate is asked again after a restart.
	Handover string
}

// Service implements api.Backend. Its methods are safe for concurrent use.
type Service struct {
	cfg   ServiceConfig
	log   *slog.Logger
	store *store
	board *board
	ring  *ring

	managed atomic.Pointer[managed] // never nil
	trust   trust
	present presence

	mu      sync.Mutex
	running context.Context // of Run; nil before and after
	live    map[key]*live
	ended   []*live // with the service
	tasks   sync.WaitGroup
	handed  handover        // by the last service
	left    map[string]bool // Hosts' names → somebody may want it, of the guards that the last run has left closed and nobody has taken over yet

	guards     *guards
	neighbours *neighbours
	looked     []mark // of what the first reading found

	showing sync.Mutex // held while the policy is shown
	handing sync.Mutex // held while the guard that is always closed goes from one profile to another

	look sync.Mutex // held while the Host explainHost is open: there is only one
}

// live is one connection that runs.
type live struct {
	conn   *connection
	host   string             // its Host's name
	left   bool               // the last run has left its guard closed; valid once it has begun
	wish   wish               //
	cancel context.CancelFunc // disconnect
	ending bool               // somebody disconnects it; guarded by Service.mu
	asked  time.Time          // when its person wished for it, or answered last; zero: before this service began, and it may have left since; guarded by Service.mu
	// recorded is closed when the wish is on the disk, or could not be written: what forgets it waits.
	recorded chan struct{}
	done     chan struct{} // closed when all is undone
	err      error         // of the undoing, valid after done
}

var _ api.Backend = (*Service)(nil)

// NewService reads the state directory. It starts nothing: Run does.
func NewService(cfg ServiceConfig) (*Service, error) {
	if cfg.Dialer == nil {
		cfg.Dialer = SystemDialer{}
	}
	if cfg.Asleep == nil {
		cfg.Asleep = platform.Asleep
	}
	if cfg.Offline == nil {
		cfg.Offline = udp.Offline
	}
	s := &Service{cfg: cfg, board: newBoard(), ring: newRing(logLines), live: map[key]*live{}, left: map[string]bool{}, guards: newGuards(), trust: trust{news: make(chan struct{}, 1)},
		present: presence{everybody: cfg.Sessions == nil}}
	s.neighbours = newNeighbours(s.board.touch)
	s.log = slog.New(&tee{ring: s.ring, next: cfg.Log.Handler()})
	var err error
	if s.store, err = openStore(cfg.StateDir, cfg.Sealer, s.log); err != nil {
		return nil, err
	}
	s.looked = s.marks()
	m := s.readManaged(nil)
	s.managed.Store(m)
	s.tell(m, nil)
	s.showPolicy()
	return s, nil
}

// ErrRestart is the cause of a context's end after which another service begins at once.
var ErrRestart = errors.New("the service starts again")

// Run resumes the wishes and serves until ctx ends; then it closes all tunnels and
// undoes what they did. The wishes stay for the next start; where that comes at once (ErrRestart), closed guards stay, too,
// and sign-ins are handed over. It returns what could not be undone.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.running != nil {
		s.mu.Unlock()
		return errors.New("the service runs already")
	}
	s.running = ctx
	s.mu.Unlock()
	if s.cfg.InsecureCiphers {
		s.log.Warn("INSECURE: broken ciphers (BF-CBC, DES) are allowed for profiles that name them; who records the traffic may read it")
	}
	s.takeOver()
	s.resume()
	var watchers sync.WaitGroup
	if s.cfg.Sessions != nil {
		watchers.Go(func() { s.watchSessions(ctx) })
	}
	if s.cfg.Policy != nil {
		watchers.Go(func() { s.watchTrust(ctx) })
	}
	s.watchManaged(ctx, s.looked)
	watchers.Wait()
	<-ctx.Done()

	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	s.tasks.Wait()
	if errors.Is(context.Cause(ctx), ErrRestart) {
		s.handOver(s.ended)
	}
	var errs []error
	for _, l := range s.ended {
		errs = append(errs, l.err)
	}
	return errors.Join(errs...)
}

// lockedDown says whether the settings want all closed, always, and no other profile sees to that for the policy.
func (s *Service) lockedDown(k key) bool {
	if w, ok := s.holder(s.rules()); ok && w.key() != k {
		return false
	}
	r, err := s.record(k, "")
	return err == nil && r.Settings.Guard == guardLockdown
}

// Keeps says whether the guard that a Host of that name left closed stays so until the service runs: it is still wanted, and taken over then, or
// another one is to be closed before it opens. What is no tunnel's closes nothing, and its next Host is not to find this one open.
func (s *Service) Keeps(host string) bool {
	if host == trustHost || host == explainHost {
		return false
	}
	if !s.keeps(host) && len(s.holders(s.rules())) == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left[host] = true
	return true
}

// keeps says whether that guard is still wanted.
func (s *Service) keeps(host string) bool {
	m := s.rules()
	if m.broken {
		return true // what was to be closed is not known
	}
	if s.store.isLater(host) {
		return true // it may be to be closed always
	}
	if w, ok := s.holder(m); ok && hostOf(w.key()) == host {
		return true
	}
	for _, w := range slices.Concat(s.toCome(m), s.lockedOwn()) {
		if hostOf(w.key()) == host && !m.hides(w.key()) {
			return true
		}
	}
	return false
}

// toCome are wishes for what begins sooner or later: what was wanted before what only connects by itself.
func (s *Service) toCome(m *managed) []wish {
	out := slices.Concat(s.store.wanted(), s.automaticOwn())
	if name := m.auto(); name != "" {
		out = append(out, wish{Owner: managedOwner, Profile: name, Auto: true})
	}
	return out
}

// hostOf names the Host of a connection: always the same, so that after a crash the next run finds what the last one left.
func hostOf(k key) string {
	h := fnv.New64a()
	h.Write([]byte(k.owner + "\x00" + k.name))
	return fmt.Sprintf("tunnel-%016x", h.Sum64())
}

// beginning says how a connection starts.
type beginning struct {
	unattended bool // nobody wishes it now
	idle       bool // only its guard is wanted
	recorded   bool // it goes on with a wish that is recorded, unless somebody has taken that back meanwhile
}

// start begins a connection, or says that it is there already; the caller closes its recorded. One that is being
// disconnected is waited for.
func (s *Service) start(k key, w wish, req api.ConnectRequest, how beginning) (*live, error) {
	r, err := s.record(k, w.Person)
	if err == nil && !how.idle {
		err = s.permits(k, r)
	}
	if err != nil {
		return nil, err
	}
	sp, unfit := s.specOf(r)
	if unfit != nil && !(how.idle && r.Settings.Guard == guardLockdown && sp.holds()) {
		return nil, unfit
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitEndLocked(k)
	switch {
	case s.running == nil || s.running.Err() != nil:
		return nil, api.NewProblem(api.CodeServiceStopping, nil)
	case s.live[k] != nil:
		return nil, api.NewProblem(api.CodeAlreadyConnected, map[string]string{"profile": k.name})
	case s.rules().hides(k): // since the caller has looked
		return nil, api.NewProblem(api.CodeProfileExists, map[string]string{"profile": k.name})
	case how.recorded && !s.store.wants(k):
		return nil, errTakenBack
	case !how.idle && w.Auto && !s.beginsNow():
		return nil, errRests
	case !how.idle && s.fullLocked(k):
		return nil, s.tooMany()
	}
	state := api.Connecting
	if how.idle {
		state = api.Blocked
	}
	ctx, cancel := context.WithCancel(s.running)
	l := &live{wish: w, host: hostOf(k), cancel: cancel, recorded: make(chan struct{}), done: make(chan struct{})}
	l.conn = newConnection(wiring{
		spec: sp, settings: r.Settings, timeout: req.Timeout, given: req, unattended: how.unattended, idle: how.idle, guards: s.guards, neighbours: s.neighbours,
		always:    func() bool { return k == key{managedOwner, s.alwaysOn()} },
		host:      func() (platform.Host, error) { return s.cfg.Hosts(l.host, l.conn.log) },
		dialer:    s.cfg.Dialer,
		resolver:  s.cfg.Resolver,
		addresses: func(server string) []netip.Addr { return s.store.addressesOf(k, server) },
		reached: func(server string, addresses []netip.Addr) {
			if err := s.store.reached(k, server, addresses); err != nil {
				l.conn.log.Warn("behind a closed guard the server may not be found", errorKey, err)
			}
		},
		asleep:  s.cfg.Asleep,
		wall:    s.cfg.Wall,
		offline: s.cfg.Offline,
		portal:  s.cfg.Portal,
		rules:   func() Policy { return s.rules().policy },
		publish: func(c api.Connection) { s.board.put(k, c, l.conn.present, l.conn.personOf) },
		status: api.Connection{Profile: k.name, Owner: r.OwnerName, Managed: r.Managed, Guard: guardMode(r.Settings),
			CertificateExpires: sp.expires, State: state, Since: time.Now(), Problem: api.AsProblem(unfit)},
	})
	l.conn.person.Store(w.Person)
	if !how.unattended {
		l.asked = time.Now()
	} else if !how.idle { // who is idle inherits when it is roused
		l.conn.kept.token, l.conn.kept.tokenUser, l.asked = s.inheritLocked(w)
	}
	l.conn.log = s.log.With(profileKey, k.name, ownerKey, whose{l.conn, k.owner})
	s.live[k] = l
	if _, l.left = s.left[l.host]; l.left {
		delete(s.left, l.host)
		s.guards.set(l.conn, true) // before it has looked: packets of others are to pass it, too
	}
	// Here, so that whoever watches after Connect does not see how the last one ended.
	s.heedLocked(k, l)
	if now, err := s.record(k, w.Person); err == nil {
		l.conn.mind(now.Settings.Guard) // set since r was read
	}
	s.board.put(k, l.conn.status, l.conn.present, l.conn.personOf)
	s.tasks.Go(func() {
		defer cancel()
		s.keep(ctx, k, l)
		// What it leaves goes now, when nobody waits, and not in the middle of the next handshake.
		runtime.GC()
	})
	return l, nil
}

// specOf is what a connection needs of a profile, without the servers that the policy does not allow. Beside an error it may be good for a guard, as that
// of a profile.
func (s *Service) specOf(r record) (spec, error) {
	p, err := profile.Parse(r.Name, []byte(r.Text), nil)
	if err != nil {
		return spec{}, profileProblem(api.CodeProfileInvalid, err)
	}
	sp, err := specOf(p, r.Settings, s.cfg.InsecureCiphers)
	rules := s.rules().policy
	if allowed := slices.DeleteFunc(slices.Clone(sp.remotes), func(m remote) bool { return !rules.allowsServer(m.host) }); len(allowed) > 0 {
		sp.remotes = allowed // else permits has said so, or only the guard is wanted
	}
	return sp, err
}

// liveOf is the connection that runs of a profile; nil: none does.
func (s *Service) liveOf(k key) *live {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[k]
}

// awaitEndLocked waits until no connection of the profile is being disconnected. It lets go of the lock meanwhile.
func (s *Service) awaitEndLocked(k key) {
	for s.live[k] != nil && s.live[k].ending {
		done := s.live[k].done
		s.mu.Unlock()
		<-done
		s.mu.Lock()
	}
}

// heedLocked tells a connection whether the person wants its password to be saved, and says whether that is news to
// it.
func (s *Service) heedLocked(k key, l *live) bool {
	r, err := s.record(k, l.conn.personOf())
	return err == nil && l.conn.save.Swap(r.Settings.SavePassword) != r.Settings.SavePassword
}

// activeLocked counts the connections that make attempts.
func (s *Service) activeLocked() int {
	n := 0
	for _, l := range s.live {
		if !l.conn.berth.isParked() {
			n++
		}
	}
	return n
}

// fullLocked says whether there is no room for k beside the connections that make attempts. There always is for what is
// always on, so that nobody keeps it away with other tunnels.
func (s *Service) fullLocked(k key) bool {
	return k != key{managedOwner, s.alwaysOn()} && s.activeLocked() >= s.rules().policy.MaxConnections
}

// keep runs one connection to its end and shows how it ended.
func (s *Service) keep(ctx context.Context, k key, l *live) {
	err := l.conn.run(ctx)
	<-l.recorded
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, k)
	l.err = err
	if l.left && l.conn.host == nil { // nobody has taken its guard over
		s.left[l.host] = l.conn.mode() == guardLockdown
	}
	if s.running == nil || s.running.Err() != nil {
		s.ended = append(s.ended, l)
	}
	if err == nil {
		s.board.drop(k)
	} else {
		if ctx.Err() == nil && !l.conn.berth.lies() { // else nothing was tried for the wish
			// It failed for good: trying again at the next start would fail alike.
			if err := s.store.want(l.wish, false); err != nil {
				s.log.Error("cannot forget the wish", profileKey, k.name, ownerKey, k.owner, errorKey, err)
			}
		}
		ended := l.conn.wiring.status
		ended.CertificateExpires = l.conn.spec.expires // of the profile as it was last
		ended.State, ended.Since, ended.Problem = api.Disconnected, time.Now(), api.AsProblem(err)
		ended.Server, ended.Counters = l.conn.status.Server, l.conn.counters()
		s.board.put(k, ended, nil, constant(l.conn.personOf()))
	}
	close(l.done)
}

// Answer answers the question that the caller's connection asks. Nobody answers for another.
func (s *Service) Answer(caller api.Caller, a api.Answer) error {
	k := s.keyOf(caller, a.Profile)
	if err := may(caller, k); err != nil {
		return err
	}
	if l := s.liveOf(k); l != nil {
		<-l.recorded // what is recorded below is to stay
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.live[k]
	if l == nil {
		if _, err := s.record(k, ""); err != nil {
			return err
		}
		return api.NewProblem(api.CodeQuestionGone, nil)
	}
	person := l.conn.personOf()
	if k.owner == managedOwner && person != "" && person != ownerOf(caller) {
		return others(k.name)
	}
	if err := l.conn.desk.answer(a); err != nil {
		return err
	}
	l.wish.Auto, l.asked = false, time.Now()     // somebody wants it
	if k.owner == managedOwner && person == "" { // from here on it is this person's
		l.wish.Person = ownerOf(caller)
		l.conn.person.Store(l.wish.Person)
		s.heedLocked(k, l)
		s.board.touch()
	}
	if s.store.wants(k) { // else somebody is just disconnecting it
		if err := s.store.want(l.wish, true); err != nil {
			s.log.Error("cannot record whose the connection is", profileKey, k.name, ownerKey, k.owner, errorKey, err)
		}
	}
	return nil
}

// others is the Problem of a managed connection that somebody else wanted.
func others(name string) error {
	return api.NewProblem(api.CodeNotOwner, map[string]string{"profile": name, "owner": "another user"})
}

func (s *Service) tooMany() error {
	return api.NewProblem(api.CodeTooManyConnections, map[string]string{"limit": strconv.Itoa(s.rules().policy.MaxConnections)})
}

// Status is the snapshot of now, as caller may see it.
func (s *Service) Status(caller api.Caller) api.Status {
	status, _ := s.board.snapshot(caller)
	return status
}

// Watch sends snapshots until ctx ends or send fails.
func (s *Service) Watch(ctx context.Context, caller api.Caller, send func(api.Status) error) error {
	return s.board.watch(ctx, caller, send)
}

// Logs sends the kept lines that caller may see, then with follow the new ones.
func (s *Service) Logs(ctx context.Context, caller api.Caller, follow bool, send func(api.LogLine) error) error {
	own := ownerOf(caller)
	may := func(owner string) bool { return caller.Root || owner == own || owner == "" || owner == managedOwner }
	return s.ring.read(ctx, follow, may, send)
}

// Version is what runs.
func (s *Service) Version() api.Version {
	return version(s.cfg.Version)
}

// Explain says which way a packet to destination, an address or a name, would go.
func (s *Service) Explain(ctx context.Context, caller api.Caller, destination string) (routes.Explanation, error) {
	dest, err := destinationOf(ctx, s.cfg.Resolver, destination)
	if err != nil {
		return routes.Explanation{}, err
	}
	var up []applied
	s.mu.Lock()
	for k, l := range s.live {
		if x := l.conn.explain(); !x.plan.IsZero() {
			up = append(up, applied{k, x, !caller.Root && !belongs(k, l.conn.personOf(), ownerOf(caller))})
		}
	}
	s.mu.Unlock()
	if len(up) > 0 {
		return explainOver(up, dest), nil
	}
	facts, err := s.facts(ctx)
	if err != nil {
		return routes.Explanation{}, err
	}
	x := routes.Explain(routes.Plan{}, "", facts, dest)
	x.Guard = routes.GuardOpen
	return x, nil
}

// explainHost is the name of the Host by which the underlay is read. No tunnel's is like it.
const explainHost = "explain"

// facts reads the underlay while no tunnel is up.
func (s *Service) facts(ctx context.Context) (routes.Facts, error) {
	s.look.Lock()
	defer s.look.Unlock()
	h, err := s.cfg.Hosts(explainHost, s.log)
	if err != nil {
		return routes.Facts{}, hostProblem(api.CodeRoutesFailed, err)
	}
	defer h.Close()
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	facts, err := h.Facts(ctx)
	if err != nil {
		return routes.Facts{}, hostProblem(api.CodeRoutesFailed, err)
	}
	return facts, nil
}
