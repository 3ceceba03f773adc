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
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/udp"
	"github.com/adit-vpn/adit/routes"
)

// maxConnections is how many tunnels may be open at once.
const maxConnections = 5

// ServiceConfig is what a Service is made of.
type ServiceConfig struct {
	// StateDir holds profiles and wishes. The caller keeps other processes out of it.
	StateDir string
	// Hosts makes the door to the operating system for the tunnel of that name (unique among open ones).
	Hosts    func(name string) (platform.Host, error)
	Log      *slog.Logger
	Dialer   Dialer   // nil = SystemDialer
	Resolver Resolver // required
	Version  string   // of this build
	// InsecureCiphers lets profiles use BF-CBC and DES where a server has nothing better: the
	// administrator's decision, never a user's.
	InsecureCiphers bool
	// Asleep is how long the machine has been suspended so far; nil = platform.Asleep.
	Asleep func() time.Duration
	// Offline says whether no network leads anywhere; nil = udp.Offline.
	Offline func() bool
}

// Service implements api.Backend. Its methods are safe for concurrent use.
type Service struct {
	cfg   ServiceConfig
	log   *slog.Logger
	store *store
	board *board
	ring  *ring

	mu      sync.Mutex
	running context.Context // of Run; nil before and after
	live    map[key]*live
	tasks   sync.WaitGroup

	look sync.Mutex // held while the Host "explain" is open: there is only one
}

// live is one connection that runs.
type live struct {
	conn   *connection
	host   string             // its Host's name
	wish   wish               //
	cancel context.CancelFunc // disconnect
	ending bool               // somebody disconnects it; guarded by Service.mu
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
	s := &Service{cfg: cfg, board: newBoard(), ring: newRing(logLines), live: map[key]*live{}}
	s.log = slog.New(&tee{ring: s.ring, next: cfg.Log.Handler()})
	var err error
	if s.store, err = openStore(cfg.StateDir, s.log); err != nil {
		return nil, err
	}
	return s, nil
}

// Run resumes the wishes and serves until ctx ends; then it closes all tunnels and
// undoes what they did. The wishes stay for the next start. It returns what could not be undone.
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
	s.resume()
	<-ctx.Done()

	s.mu.Lock()
	s.running = nil
	open := make([]*live, 0, len(s.live))
	for _, l := range s.live {
		open = append(open, l)
	}
	s.mu.Unlock()
	s.tasks.Wait()
	var errs []error
	for _, l := range open {
		errs = append(errs, l.err)
	}
	return errors.Join(errs...)
}

// resume starts what was wanted when the service last ended, and what connects by itself.
func (s *Service) resume() {
	wishes := append(s.store.wanted(), s.store.automatic()...) // start takes each once
	for _, w := range wishes {
		k := key{w.Owner, w.Profile}
		log := s.log.With(profileKey, w.Profile, ownerKey, w.Owner)
		if l, err := s.start(k, w, api.ConnectRequest{}, true); err == nil {
			close(l.recorded)
		} else {
			log.Warn("cannot resume the connection", errorKey, err)
			s.board.put(k, api.Connection{Profile: w.Profile, Owner: w.OwnerName, State: api.Disconnected,
				Since: time.Now(), Problem: api.AsProblem(err)}, nil)
		}
	}
}

// start begins a connection, or says that it is there already; the caller closes its recorded. Unattended, nobody
// wishes it now. One that is being disconnected is waited for.
func (s *Service) start(k key, w wish, req api.ConnectRequest, unattended bool) (*live, error) {
	r, err := s.store.get(k)
	if err != nil {
		return nil, err
	}
	p, err := profile.Parse(r.Name, []byte(r.Text), nil)
	if err != nil {
		return nil, profileProblem(api.CodeProfileInvalid, err)
	}
	sp, err := specOf(p, r.Settings.PullFilter, s.cfg.InsecureCiphers)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.live[k] != nil && s.live[k].ending {
		done := s.live[k].done
		s.mu.Unlock()
		<-done
		s.mu.Lock()
	}
	switch {
	case s.running == nil || s.running.Err() != nil:
		return nil, api.NewProblem(api.CodeServiceStopping, nil)
	case s.live[k] != nil:
		return nil, api.NewProblem(api.CodeAlreadyConnected, map[string]string{"profile": k.name})
	case len(s.live) >= maxConnections:
		return nil, api.NewProblem(api.CodeTooManyConnections, map[string]string{"limit": strconv.Itoa(maxConnections)})
	}
	ctx, cancel := context.WithCancel(s.running)
	l := &live{wish: w, host: s.freeHostLocked(), cancel: cancel, recorded: make(chan struct{}), done: make(chan struct{})}
	l.conn = newConnection(wiring{
		spec: sp, settings: r.Settings, timeout: req.Timeout, given: req, unattended: unattended,
		host:     func() (platform.Host, error) { return s.cfg.Hosts(l.host) },
		dialer:   s.cfg.Dialer,
		resolver: s.cfg.Resolver,
		asleep:   s.cfg.Asleep,
		offline:  s.cfg.Offline,
		log:      s.log.With(profileKey, k.name, ownerKey, k.owner),
		publish:  func(c api.Connection) { s.board.put(k, c, l.conn.present) },
		status: api.Connection{Profile: k.name, Owner: r.OwnerName, Managed: r.Managed, Guard: guardOff,
			CertificateExpires: sp.expires, State: api.Connecting, Since: time.Now()},
	})
	s.live[k] = l
	// Here, so that whoever watches after Connect does not see how the last one ended.
	s.heedLocked(k, l)
	s.board.put(k, l.conn.status, l.conn.present)
	s.tasks.Go(func() {
		defer cancel()
		s.keep(ctx, k, l)
	})
	return l, nil
}

// heedLocked tells a connection whether the person wants its password to be saved, and says whether that is news to
// it.
func (s *Service) heedLocked(k key, l *live) bool {
	r, err := s.store.get(k)
	return err == nil && l.conn.save.Swap(r.Settings.SavePassword) != r.Settings.SavePassword
}

// freeHostLocked names a Host that no open connection uses: "tunnel0" to "tunnel4".
func (s *Service) freeHostLocked() string {
	for i := 0; ; i++ {
		name := "tunnel" + strconv.Itoa(i)
		used := false
		for _, l := range s.live {
			used = used || l.host == name
		}
		if !used {
			return name
		}
	}
}

// keep runs one connection to its end and shows how it ended.
func (s *Service) keep(ctx context.Context, k key, l *live) {
	err := l.conn.run(ctx)
	<-l.recorded
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, k)
	l.err = err
	if err == nil {
		s.board.drop(k)
	} else {
		if ctx.Err() == nil {
			// It failed for good: trying again at the next start would fail alike.
			if err := s.store.want(l.wish, false); err != nil {
				s.log.Error("cannot forget the wish", profileKey, k.name, ownerKey, k.owner, errorKey, err)
			}
		}
		ended := l.conn.wiring.status
		ended.State, ended.Since, ended.Problem = api.Disconnected, time.Now(), api.AsProblem(err)
		ended.Server, ended.Counters = l.conn.status.Server, l.conn.counters()
		s.board.put(k, ended, nil)
	}
	close(l.done)
}

// Connect begins a connection and returns when the wish is recorded; Status tells the rest. A profile that is
// connected already, or on its way, stays so: the error then has CodeAlreadyConnected, so
// that the caller knows whose wish it is.
func (s *Service) Connect(caller api.Caller, req api.ConnectRequest) error {
	k := key{ownerOf(caller), req.Profile}
	w := wish{Owner: k.owner, OwnerName: caller.Name, Profile: k.name}
	l, err := s.start(k, w, req, false)
	if err != nil {
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

// Answer answers the question that the caller's connection asks. Nobody answers for another.
func (s *Service) Answer(caller api.Caller, a api.Answer) error {
	k := key{ownerOf(caller), a.Profile}
	s.mu.Lock()
	l := s.live[k]
	s.mu.Unlock()
	if l == nil {
		if _, err := s.store.get(k); err != nil {
			return err
		}
		return api.NewProblem(api.CodeQuestionGone, nil)
	}
	return l.conn.desk.answer(a)
}

// Disconnect ends one tunnel of the caller, or all with name "", and returns when everything is
// undone. Root may end other users' tunnels by name.
func (s *Service) Disconnect(ctx context.Context, caller api.Caller, name string) error {
	own := ownerOf(caller)
	s.mu.Lock()
	var ending []*live
	for k, l := range s.live {
		if k.owner == own && (name == "" || k.name == name) {
			ending = append(ending, l)
		}
	}
	if len(ending) == 0 && name != "" && caller.Root {
		for k, l := range s.live {
			if k.name == name {
				ending = append(ending, l)
			}
		}
	}
	for _, l := range ending {
		l.ending = true
	}
	s.mu.Unlock()
	var errs []error
	for _, l := range ending {
		<-l.recorded
		// The wish goes first: a crash from here on must not bring the tunnel back.
		errs = append(errs, s.store.want(l.wish, false))
		l.cancel()
	}
	for _, l := range ending {
		select {
		case <-l.done:
			errs = append(errs, l.err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if name == "" {
		for _, w := range s.store.wanted() {
			if w.Owner == own { // such as one that could not be resumed
				errs = append(errs, s.store.want(w, false))
				s.board.drop(key{own, w.Profile})
			}
		}
		s.board.dropEnded(own)
		return errors.Join(errs...)
	}
	if len(ending) > 0 {
		return errors.Join(errs...)
	}
	k := key{own, name}
	_, shown := s.board.get(k)
	if err := s.store.want(wish{Owner: own, Profile: name}, false); err != nil {
		return err
	}
	s.board.drop(k)
	if shown {
		return nil
	}
	if _, err := s.store.get(k); err != nil {
		return err
	}
	return api.NewProblem(api.CodeNotConnected, map[string]string{"profile": name})
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
	may := func(owner string) bool { return caller.Root || owner == own || owner == "" }
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
		if x := l.conn.explain(); len(x.plan.Addresses) > 0 {
			up = append(up, applied{k, x})
		}
	}
	s.mu.Unlock()
	if len(up) > 0 {
		return explainOver(up, caller, dest), nil
	}
	facts, err := s.facts(ctx)
	if err != nil {
		return routes.Explanation{}, err
	}
	x := routes.Explain(routes.Plan{}, "", facts, dest)
	x.Guard = guardWords
	return x, nil
}

// facts reads the underlay while no tunnel is up.
func (s *Service) facts(ctx context.Context) (routes.Facts, error) {
	s.look.Lock()
	defer s.look.Unlock()
	h, err := s.cfg.Hosts("explain")
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
