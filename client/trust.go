package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/routes"
)

// Trusted networks: nothing connects by itself where a server answers that only such a network has. It proves itself
// by a TLS handshake with the very certificate that the administrator wrote down, past all tunnels; the name of a
// network proves nothing. A handshake shows that the server holds the certificate's key, so that neither a captive portal
// nor a network that lies about names and addresses passes for it. Who can relay to the real server can: it must be
// one that nobody reaches from elsewhere.

const (
	maxTrustedNetworks = 16
	trustTime          = 5 * time.Second // for one look
	// After a look that found nothing the next one comes after trustAgain, then later and later; in a trusted network,
	// and in the end elsewhere, every trustRest.
	trustAgain, trustRest = 2 * time.Second, 5 * time.Minute
	// trustDoubts is how often a server of a network that has not changed may fail to answer before it counts.
	trustDoubts = 3
)

// trustHost is the name of the Host by which trusted networks are looked for. No tunnel's is like it.
const trustHost = "networks"

// trusting is how it stands with trusted networks.
type trusting int

const (
	trustOpen trusting = iota // not found out yet, or there is no network
	trusted
	untrusted
)

// trust is what the service knows of the network that it is in. Safe for concurrent use, with news made.
type trust struct {
	news chan struct{} // other networks may be trusted

	mu    sync.Mutex
	state trusting
	url   string // of the network that is proven
	due   bool   // something is to begin by itself as soon as it may
}

// network is the URL of the one that is proven; false: none is.
func (t *trust) network() (url string, is bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.url, t.state == trusted
}

// judge says how it stands, and how it stood.
func (t *trust) judge(state trusting, url string) (before trusting, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, changed = t.state, t.state != state || t.url != url
	t.state, t.url = state, url
	t.due = t.due || state == trusted // what ends there begins elsewhere
	return before, changed
}

// begins says whether something may begin by itself; else it is due.
func (t *trust) begins() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.due = t.due || t.state != untrusted
	return t.state == untrusted
}

// owed says, once, whether something is due.
func (t *trust) owed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	due := t.due
	t.due = false
	return due
}

func (t *trust) now() trusting {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

// look makes the service look again at which network it is in.
func (t *trust) look() {
	select {
	case t.news <- struct{}{}:
	default: // it will look
	}
}

// errRests says that something is not to connect by itself here. Whoever asked mayBegin before may have waited since: it is
// asked again with the lock that endAuto takes, which then ends what came first.
var errRests = errors.New("nothing connects by itself in this network")

// mayBegin says whether something may connect by itself. Where networks are trusted that is first to be found out.
func (s *Service) mayBegin() bool {
	return len(s.rules().policy.TrustedNetworks) == 0 || s.trust.now() == untrusted
}

// beginsNow is mayBegin for what is to begin, which it else does as soon as it may.
func (s *Service) beginsNow() bool {
	return len(s.rules().policy.TrustedNetworks) == 0 || s.trust.begins()
}

// watchTrust follows which network the machine is in, until ctx ends.
func (s *Service) watchTrust(ctx context.Context) {
	for pause := trustAgain; ctx.Err() == nil; pause = min(2*pause, trustRest) {
		var err error
		if len(s.rules().policy.TrustedNetworks) > 0 {
			if err = s.lookAround(ctx); err == nil {
				pause = trustAgain
				continue
			}
			s.log.Error("trusted networks cannot be looked for", "again", pause, errorKey, err)
			s.judge(ctx, untrusted, "")
		} else {
			s.judge(ctx, trustOpen, "")
		}
		again := time.NewTimer(pause)
		late := again.C
		if err == nil {
			late = nil
		}
		select {
		case <-ctx.Done():
		case <-s.trust.news:
		case <-late:
		}
		again.Stop()
	}
}

// lookAround looks for trusted networks, and again at each change, until the policy names none or ctx ends (nil).
func (s *Service) lookAround(ctx context.Context) error {
	h, err := s.cfg.Hosts(trustHost, s.log)
	if err != nil {
		return err
	}
	defer func() {
		if err := h.Close(); err != nil {
			s.log.Error("what trusted networks were looked for with is not undone", errorKey, err)
		}
	}()
	var proven string // the network of the last look
	backoff, doubts := trustAgain, 0
	for {
		networks := s.rules().policy.TrustedNetworks
		if len(networks) == 0 || ctx.Err() != nil {
			return nil
		}
		state, found, err := s.prove(ctx, h, networks)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		pause := backoff
		switch {
		case state == trusted:
			proven, pause, backoff, doubts = found, trustRest, trustAgain, trustDoubts
		case state == trustOpen && s.trust.now() == untrusted:
			state = untrusted // a cable that was pulled out for a moment begins nothing that somebody has ended
		case doubts > 1:
			state, found, pause = trusted, proven, trustAgain
			doubts--
		default:
			backoff, doubts = min(2*backoff, trustRest), 0
		}
		s.judge(ctx, state, found)
		again := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-again.C:
		case <-s.trust.news:
			backoff, doubts = trustAgain, 0
		case <-h.Changes():
			settle(h.Changes(), ctx.Done())
			backoff, doubts = trustAgain, 0
		}
		again.Stop()
	}
}

// judge takes what was found out: in a trusted network what began by itself ends, and begins elsewhere.
func (s *Service) judge(ctx context.Context, state trusting, network string) {
	before, changed := s.trust.judge(state, network)
	if changed {
		s.showPolicy()
	}
	switch {
	case state == trusted && changed:
		s.log.Info("a trusted network: nothing connects by itself", "url", network)
		if before != trusted {
			s.present.renew()
			s.endAuto(ctx)
		}
	case before == trusted && changed:
		s.log.Info("the trusted network is left")
	}
	if s.mayBegin() && s.trust.owed() { // what somebody has ended since it began stays so
		s.beginAll()
	}
}

// endAuto ends what began by itself, and that nobody has signed in to. In lockdown the guard stays closed.
func (s *Service) endAuto(ctx context.Context) {
	var ending []*live
	s.mu.Lock()
	for _, l := range s.live {
		if l.wish.Auto && !l.ending {
			ending = append(ending, l)
		}
	}
	s.mu.Unlock()
	if err := s.end(ctx, ending); err != nil && ctx.Err() == nil {
		s.log.Error("cannot undo everything", errorKey, err)
	}
	for _, w := range s.store.wanted() { // those of the last run that were not begun again
		k := w.key()
		if !w.Auto || s.liveOf(k) != nil {
			continue
		}
		there, err := s.forget(k)
		if err != nil {
			s.log.Error("cannot forget the wish", profileKey, k.name, ownerKey, k.owner, errorKey, err)
		}
		if !there && !s.lockedDown(k) {
			s.release(k)
		}
	}
}

// prove looks once for the networks, past all tunnels and guards. Its error is the Host's.
func (s *Service) prove(ctx context.Context, h platform.Host, networks []TrustedNetwork) (state trusting, network string, err error) {
	s.awaitLockdown()
	ctx, cancel := context.WithTimeout(ctx, trustTime)
	defer cancel()
	facts, err := h.Facts(ctx)
	if err != nil {
		return untrusted, "", err
	}
	if !anyNetwork(facts, networks) {
		return trustOpen, "", nil // there is no network to judge
	}
	guard := routes.Guard{Resolvers: facts.Resolvers()}
	admit := func() error { return nil }
	if s.closed() {
		admit = func() error { return h.Apply(ctx, routes.Plan{Guard: guard}) } // it closes nothing
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hostTimeout)
			defer cancel()
			err = errors.Join(err, h.Apply(ctx, routes.Plan{}))
		}()
	}
	if len(guard.Resolvers) > 0 {
		if err := admit(); err != nil {
			return untrusted, "", err
		}
	}
	hosts := make([]addressed, len(networks))
	var all sync.WaitGroup
	for i, n := range networks {
		all.Go(func() { hosts[i] = s.addressed(ctx, facts, n) })
	}
	all.Wait()
	for _, x := range hosts {
		for _, a := range x.addresses {
			guard.Outer = append(guard.Outer, routes.Endpoint{Address: a, Port: x.port, Transport: "tcp"})
		}
	}
	if len(guard.Outer) == 0 {
		return untrusted, "", nil
	}
	if err := admit(); err != nil {
		return untrusted, "", err
	}
	var mu sync.Mutex
	for _, x := range hosts {
		all.Go(func() {
			if err := s.handshake(ctx, facts, x); err != nil {
				s.log.Debug("not in a trusted network", "url", x.URL, errorKey, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			state, network = trusted, x.URL
			cancel() // one is enough
		})
	}
	all.Wait()
	if state != trusted {
		state = untrusted
	}
	return state, network, nil
}

// anyNetwork says whether there is a network: a way out, to a resolver or to one of the networks' servers. An address is none: that
// of a bridge for containers or virtual machines leads nowhere.
func anyNetwork(facts routes.Facts, networks []TrustedNetwork) bool {
	reached := func(a netip.Addr) bool { _, ok := facts.Way(a); return ok }
	return slices.ContainsFunc(facts.Routes, func(r routes.UnderlayRoute) bool { return r.Gateway.IsValid() || r.Destination.Bits() == 0 }) ||
		slices.ContainsFunc(facts.Resolvers(), reached) ||
		slices.ContainsFunc(networks, func(n TrustedNetwork) bool {
			host, _, _ := n.server()
			a, err := netip.ParseAddr(host)
			return err == nil && reached(a)
		})
}

// locked are the connections in lockdown.
func (s *Service) locked() []*live {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*live
	for _, l := range s.live {
		if l.conn.mode() == guardLockdown && !l.ending {
			out = append(out, l)
		}
	}
	return out
}

// awaitLockdown waits until what is to be closed always is, so that it does not close on the look.
func (s *Service) awaitLockdown() {
	for _, l := range s.locked() {
		if err := s.shutTight(l); err != nil {
			s.log.Warn("trusted networks are looked for before the guard is closed", errorKey, err)
			return
		}
	}
}

// closed says whether the guard of a tunnel is closed, or may be: one that is about to close, or of the last run.
func (s *Service) closed() bool {
	_, held := s.holder(s.rules())
	return held || s.guards.any() || len(s.locked()) > 0 || slices.ContainsFunc(s.store.wanted(), func(w wish) bool { return s.liveOf(w.key()) == nil })
}

// addressed is a network whose server's addresses are known; none: it is not found here.
type addressed struct {
	TrustedNetwork
	host      string
	port      uint16
	addresses []netip.Addr
}

// maxTrustedAddresses is how many of a server's addresses are tried.
const maxTrustedAddresses = 4

// addressed looks the server up, at the resolvers of the network outside where a tunnel may have the system's.
func (s *Service) addressed(ctx context.Context, facts routes.Facts, n TrustedNetwork) addressed {
	x := addressed{TrustedNetwork: n}
	var err error
	if x.host, x.port, err = n.server(); err != nil {
		return x // trustedNetworks takes no such one
	}
	if a, err := netip.ParseAddr(x.host); err == nil {
		x.addresses = []netip.Addr{a.Unmap()}
		return x
	}
	ctx, cancel := context.WithTimeout(ctx, resolveOffline)
	defer cancel()
	var found []netip.Addr
	if len(facts.Resolvers()) > 0 && s.planned() {
		found, err = lookUpPast(ctx, s.cfg.Dialer, facts, "ip", x.host)
	} else {
		found, err = s.cfg.Resolver.LookupNetIP(ctx, "ip", x.host)
	}
	if err != nil {
		s.log.Debug("a trusted network's server is not found", "url", n.URL, errorKey, err)
	}
	for _, a := range found {
		if a = a.Unmap(); len(x.addresses) < maxTrustedAddresses && !slices.Contains(x.addresses, a) {
			x.addresses = append(x.addresses, a)
		}
	}
	return x
}

// planned says whether a tunnel, or what is left of one, may have the system's names and routes.
func (s *Service) planned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.live {
		if !l.conn.explain().plan.IsZero() {
			return true
		}
	}
	return false
}

// handshake is nil when the network's server has proven itself at one of its addresses.
func (s *Service) handshake(ctx context.Context, facts routes.Facts, x addressed) error {
	errs := make([]error, len(x.addresses))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for i, a := range x.addresses {
		all.Go(func() {
			if errs[i] = s.handshakeAt(ctx, facts, a, x); errs[i] == nil {
				cancel()
			}
		})
	}
	all.Wait()
	if slices.Contains(errs, nil) {
		return nil
	}
	return errors.Join(append(errs, errors.New("it is not there"))...)
}

func (s *Service) handshakeAt(ctx context.Context, facts routes.Facts, a netip.Addr, x addressed) error {
	way, ok := facts.Way(a)
	if !ok {
		return fmt.Errorf("no network leads to %s", a)
	}
	raw, err := s.cfg.Dialer.DialPast(ctx, "tcp", netip.AddrPortFrom(a, x.port), way.Device)
	if err != nil {
		return err
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{
		ServerName: x.host, MinVersion: tls.VersionTLS12,
		// Who issued the certificate and until when it is valid says less than that it is this one.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			sum := sha256.Sum256(cs.PeerCertificates[0].Raw)
			if got := hex.EncodeToString(sum[:]); got != x.CertSHA256 {
				return fmt.Errorf("its certificate is another one: %s", got)
			}
			return nil
		},
	})
	return conn.HandshakeContext(ctx)
}

// server is the host and the port of the network's URL.
func (n TrustedNetwork) server() (host string, port uint16, err error) {
	u, err := url.Parse(n.URL)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", 0, fmt.Errorf("%q is not an address like https://host.example.com", n.URL)
	}
	host = tidyHost(u.Hostname())
	if err := checkHost(host); err != nil {
		return "", 0, err
	}
	port = 443
	if text := u.Port(); text != "" {
		p, err := strconv.ParseUint(text, 10, 16)
		if err != nil || p == 0 {
			return "", 0, fmt.Errorf("%q: there is no port %s", n.URL, text)
		}
		port = uint16(p)
	}
	return host, port, nil
}

// trustedNetworks reads the value of the policy's key.
func trustedNetworks(raw json.RawMessage) ([]TrustedNetwork, error) {
	var list []map[string]*string
	if raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		return nil, fmt.Errorf("%s is not a list of objects with url and cert_sha256", shortened(raw))
	}
	if len(list) > maxTrustedNetworks {
		return nil, fmt.Errorf("it has more than %d entries", maxTrustedNetworks)
	}
	out := []TrustedNetwork{}
	for i, m := range list {
		address, sum := m["url"], m["cert_sha256"]
		if len(m) != 2 || address == nil || sum == nil {
			return nil, fmt.Errorf("entry %d: an object with url and cert_sha256 is needed, and nothing else", i+1)
		}
		n := TrustedNetwork{URL: *address, CertSHA256: tidyFingerprint(strings.TrimSpace(*sum))}
		if err := checkFingerprint(n.CertSHA256); err != nil {
			return nil, err
		}
		if _, _, err := n.server(); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}
