// Package endpoint is the server: it listens, admits clients, gives them
// addresses, and moves their packets to and from target networks as AWS Client VPN
// does. Proving who a client is belongs to endpoint/auth, what lies behind to
// endpoint/network, the protocol to ovpn.
//
// Goroutines: Run starts one for the connection log, one that tells what expires, one per listener and one per UDP socket of it, one per
// queue of the network, one for its losses, one
// per client (two more on TCP) and one per sign-in that is being checked, and waits for all of them.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/platform/udp"
)

// Leaves is what a Server needs from outside. All are required but Log.
type Leaves struct {
	Log      *slog.Logger
	Now      func() time.Time
	ReadFile func(name string) ([]byte, error)
	// ListenUDP opens the sockets of one address, one at least: they share its port, and each packet arrives
	// at one of them, those of one client at the same. Each has a goroutine.
	ListenUDP func(addr netip.AddrPort) ([]udp.Conn, error)
	ListenTCP func(addr netip.AddrPort) (net.Listener, error)
	// TestIdP is the metadata of the built-in identity provider, which the caller runs; nil: none.
	TestIdP []byte
	// SignIns is what Server.SignIns gave in the last run; nil: nothing.
	SignIns []byte
	// ConnectionLog takes the lines of the connection log, each in one Write by one goroutine; nil: there is none. A Write that
	// never returns is left behind by Run. With a method Lost() uint64 it says how many lines it took and lost. EndpointID is the endpoint's name in it.
	ConnectionLog io.Writer
	EndpointID    string
	// History keeps what has ended; nil: the server has one of its own.
	History *History
	// Network is opened by the caller; Run closes it in the end, whatever happens.
	Network network.Network
}

// Server is one endpoint. All methods may be called from any goroutine; Run once.
type Server struct {
	log   *slog.Logger
	leave Leaves
	gen   atomic.Pointer[generation]
	peers *peers
	drops drops
	// losses are the associations that are lost, as the network told; nil: it has not.
	losses atomic.Pointer[map[string]string]
	turns  *turns
	// collecting is what peers keep of messages that are not whole, bytes: maxCollecting at most.
	collecting atomic.Int64

	connLog  *connLog
	history  *History
	reminder reminder
	handlers *handlers
	signins  *signins
	signedIn *signedIn

	reload  sync.Mutex // one Reload at a time
	started atomic.Bool
	ready   chan struct{} // closed when the listeners are open
	queues  []*queue      // of the network, one at least

	mu        sync.Mutex
	listening []net.Addr
}

// drops counts inner and outer packets that went nowhere.
type drops struct {
	unknown, spoofed, denied, noPeer, full atomic.Uint64
}

// New checks cfg's files (certificates, keys, lists). Nothing is opened yet.
func New(cfg Config, l Leaves) (*Server, error) {
	if l.Log == nil {
		l.Log = slog.New(slog.DiscardHandler)
	}
	g, err := newGeneration(cfg, nil, l)
	if err != nil {
		return nil, err
	}
	s := &Server{log: l.Log, leave: l, peers: newPeers(cfg.ClientCIDR), turns: newTurns(handshakeWorkers()), ready: make(chan struct{}), signins: newSignins(), signedIn: newSignedIn(),
		handlers: newHandlers(), connLog: newConnLog(l.ConnectionLog, l.EndpointID)}
	if s.history = l.History; s.history == nil {
		s.history = NewHistory(l.Now)
	}
	s.gen.Store(g)
	for _, tun := range l.Network.Queues() {
		s.queues = append(s.queues, &queue{tun: tun})
	}
	if err := s.signedIn.restore(g.proof, l.SignIns); err != nil {
		s.log.Warn("people must sign in again", "error", err)
	}
	return s, nil
}

// Ready is closed when the endpoint listens.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addrs are the addresses that it listens on, after Ready.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listening
}

// Run serves until ctx ends; clients are then told, and everything that it opened
// is closed before it returns nil. An error means that it could not start or go on.
func (s *Server) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("endpoint: Run was called twice")
	}
	g := s.gen.Load()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The listeners come first: an endpoint that runs already, and has the port,
	// may have the same ranges, and must not lose its routes to us.
	listeners, err := s.listen(g.cfg)
	if err != nil {
		s.closeNetwork()
		return err
	}
	if err := s.leave.Network.Apply(ctx, g.wanted); err != nil {
		for _, l := range listeners {
			l.close()
		}
		s.closeNetwork()
		return fmt.Errorf("target network: %w", err)
	}
	s.warnInsecure(g.cfg)
	endLog := s.connLog.start(s.log)
	close(s.ready)

	// Clients outlive ctx by the time that it takes to tell them, so that sockets
	// and network close last.
	var readers sync.WaitGroup
	for _, l := range listeners {
		readers.Go(func() {
			if err := l.serve(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("listener %s: %w", l.addr(), err))
			}
		})
	}
	readers.Go(func() { s.remind(ctx) })
	for _, q := range s.queues {
		readers.Go(func() {
			if err := s.fromNetwork(q); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("target network: %w", err))
			}
		})
	}
	readers.Go(s.followLosses)
	<-ctx.Done()
	s.peers.closeDoor()
	s.peers.running.Wait()
	s.signins.running.Wait()
	s.handlers.wait()
	endLog()
	for _, l := range listeners {
		l.close()
	}
	s.closeNetwork()
	readers.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func (s *Server) closeNetwork() {
	if err := s.leave.Network.Close(); err != nil {
		s.log.Error("cannot undo the target network", "error", err)
	}
}

// listen opens all listeners, or none.
func (s *Server) listen(cfg Config) ([]listener, error) {
	var out []listener
	for _, addr := range cfg.Listen {
		var l listener
		var err error
		if cfg.Transport == "tcp" {
			var ln net.Listener
			if ln, err = s.leave.ListenTCP(addr); err == nil {
				l = newTCPListener(s, ln)
			}
		} else {
			var conns []udp.Conn
			if conns, err = s.leave.ListenUDP(addr); err == nil {
				l = newUDPListener(s, conns)
			}
		}
		if err != nil {
			for _, o := range out {
				o.close()
			}
			return nil, &ListenError{Addr: addr, Transport: cfg.Transport, Err: err}
		}
		out = append(out, l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range out {
		s.listening = append(s.listening, l.addr())
	}
	return out, nil
}

// ListenError says which address could not be had.
type ListenError struct {
	Addr      netip.AddrPort
	Transport string
	Err       error
}

func (e *ListenError) Error() string {
	return fmt.Sprintf("cannot listen on %s/%s: %v", e.Addr, e.Transport, e.Err)
}

// Unwrap gives the system's error.
func (e *ListenError) Unwrap() error { return e.Err }

// Reload puts cfg in force. Sessions that were given something else, or that
// proved themselves to other CAs or lists, are reset; the others stay and follow
// the new rules at once. After an error everything is as before.
func (s *Server) Reload(ctx context.Context, cfg Config) (reset int, err error) {
	s.reload.Lock()
	defer s.reload.Unlock()
	old := s.gen.Load()
	if key := old.cfg.Fixed(cfg); key != "" {
		return 0, fmt.Errorf("%s cannot change while the endpoint runs: stop it and start it again", key)
	}
	next, err := newGeneration(cfg, old, s.leave)
	if err != nil {
		return 0, err
	}
	if err := s.leave.Network.Apply(ctx, next.wanted); err != nil {
		return 0, fmt.Errorf("target network: %w", err)
	}
	s.peers.setRange(cfg.ClientCIDR)
	s.gen.Store(next)
	if old.proof != next.proof {
		s.signedIn.clear() // what people showed counts no longer
	}
	users, _ := next.sign.(*auth.Users)
	for _, p := range s.peers.all() {
		if st := p.status.Load(); users != nil && st != nil {
			if _, there := users.Groups(st.identity.Username); !there {
				s.signedIn.forget(st.session)
				reset++
				p.end(restartMessage, "not in the test directory any more")
				continue
			}
		}
		if p.adopt(next) {
			continue
		}
		reset++
		p.end(restartMessage, "configuration changed")
	}
	s.moveAway() // there may be somewhere to go only now
	s.warnInsecure(cfg)
	s.reminder.tell(s.log, next, s.leave.Now())
	s.log.Info("configuration reloaded", "file", cfg.File, "reset", reset)
	return reset, nil
}

// warnInsecure says which ciphers the administrator has let in that protect too little.
func (s *Server) warnInsecure(cfg Config) {
	var broken []string
	for _, name := range append(slices.Clone(cfg.Ciphers), cfg.Legacy.Fallback) {
		if c, _ := ovpn.LookupCipher(name); c.Insecure && !slices.Contains(broken, c.Name) {
			broken = append(broken, c.Name)
		}
	}
	if len(broken) > 0 {
		s.log.Warn("INSECURE: broken ciphers are allowed; who records the traffic of a client that uses one may read it", "ciphers", strings.Join(broken, " "))
	}
}
