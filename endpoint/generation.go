package endpoint

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/endpoint/handler"
	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// generation is everything that follows from one configuration and the files that
// it names. It is immutable (the pool guards itself); a reload makes a new one.
type generation struct {
	cfg  Config
	tls  *tls.Config
	wrap wrap.Method // nil: none
	// A client must pass both: certificate at once, sign beside its goroutine.
	certificate auth.Method     // nil: none
	sign        auth.Method     // of a user name and password; nil: none
	connect     *handler.Config // the connect handler, asked after both; nil: none
	policy      *policy         // the authorization policy, after that; nil: none
	tokens      *auth.Tokens    // in place of the password; nil: none
	lasting     AuthToken       // of tokens
	attempts    *auth.Attempts  // of test users; goes on over reloads
	// federated is sign, or nil, and idp the metadata that it was made from.
	federated *auth.Federated
	idp       []byte
	memory    *auth.Memory // of a directory, over reloads
	trust     string       // changes when CAs, revocation lists or the identity provider do
	proof     string       // makeProof
	pool      *pool
	layout    *layout // of pool
	access    *grants
	reply     push.Reply
	wanted    network.Wanted
	expiries  []Expiry
}

// Keepalive as AWS pushes it; the server waits longer than the client, so that
// the client notices first and comes back to a session that still has its address.
const (
	ping          = 1 * time.Second
	pingRestart   = 20 * time.Second
	serverRestart = 2 * pingRestart
)

// renegotiate is when the endpoint asks for a new key, and with it for a
// certificate that is still good, if the client has not done so: clients' own hour comes first.
const renegotiate = 65 * time.Minute

// newGeneration reads the files of cfg. before is the one in force, or nil: its
// pool goes on when the addresses are cut in the same way.
func newGeneration(cfg Config, before *generation, l Leaves) (*generation, error) {
	g := &generation{cfg: cfg}
	if err := g.cfg.checkHandler(); err != nil {
		return nil, fmt.Errorf("client_connect_handler: %s: %w", g.cfg.Path(g.cfg.Handler.Exec), reasonOf(err))
	}
	if h, there := g.cfg.handler(); there {
		g.connect = &h
	}
	if err := g.loadPolicy(l); err != nil {
		return nil, err
	}
	if err := g.loadTLS(before, l); err != nil {
		return nil, err
	}
	if err := g.loadMethods(before, l); err != nil {
		return nil, err
	}
	if err := g.loadWrap(l); err != nil {
		return nil, err
	}
	if before != nil && before.cfg.ClientCIDR == cfg.ClientCIDR && before.cfg.ClientCIDR6 == cfg.ClientCIDR6 &&
		before.cfg.Topology == cfg.Topology {
		g.pool = before.pool
		g.layout = g.pool.deal(before.layout, cfg.targets())
	} else {
		g.pool = newPool(cfg.ClientCIDR, cfg.ClientCIDR6, cfg.Topology)
		g.layout = g.pool.deal(nil, cfg.targets())
	}
	if err := g.loadTokens(before, l); err != nil {
		return nil, err
	}
	g.buildWanted()
	g.buildReply()
	s, err := ovpn.New(l.Now(), g.session()) // what no session takes is refused now, not for each client
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.File, err)
	}
	s.Abort()
	return g, nil
}

// How long the message with a client's user name and password may be, bytes. Anybody may send one where no certificate is
// asked for. OpenVPN's clients write less than 2 KiB; with an identity provider's answer AWS's have 128 KiB for the password.
const (
	maxKeyMessage     = 8 << 10
	maxKeyMessageSAML = 128<<10 + 16<<10
)

// session is what all sessions have in common.
func (g *generation) session() ovpn.Config {
	c := &g.cfg
	longest := maxKeyMessage
	if g.federated != nil {
		longest = maxKeyMessageSAML
	}
	return ovpn.Config{
		Role: ovpn.Server, TLS: g.tls, Wrap: g.wrap, Ciphers: c.Ciphers, PRF: c.PRF, MTU: c.TunMTU,
		Fallback: c.Legacy.Fallback, Auth: c.Legacy.Auth, Compress: c.Legacy.Compress, Fragment: c.Legacy.Fragment,
		Ping: ping, PingRestart: serverRestart, ExitNotify: true, Renegotiate: renegotiate, KeyAge: c.ControlWrap.KeyAge(),
		KeyMessage: longest,
	}
}

// pkiFile is a file of the endpoint's own PKI, which has easy-rsa's layout.
func pkiFile(cfg *Config, parts ...string) string {
	return filepath.Join(append([]string{cfg.DataDir(), "pki"}, parts...)...)
}

// ServerName is the name of the endpoint's own server certificate in its PKI.
const ServerName = "server"

func (g *generation) loadTLS(before *generation, l Leaves) error {
	cfg := &g.cfg
	certFile, keyFile := cfg.Path(cfg.ServerCertificate.Cert), cfg.Path(cfg.ServerCertificate.Key)
	if certFile == "" {
		certFile, keyFile = pkiFile(cfg, "issued", ServerName+".crt"), pkiFile(cfg, "private", ServerName+".key")
	}
	certPEM, err := l.ReadFile(certFile)
	if err != nil {
		return fmt.Errorf("server certificate: %w", err)
	}
	keyPEM, err := l.ReadFile(keyFile)
	if err != nil {
		return fmt.Errorf("server key: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("server certificate %s and key %s: %w", certFile, keyFile, err)
	}
	if err := checkServerCertificate(pair.Leaf, l.Now()); err != nil {
		return fmt.Errorf("server certificate %s: %w", certFile, err)
	}
	g.expires(ExpiryServer, nameOf(pair.Leaf), pair.Leaf.NotAfter)
	if cfg.ServerCertificate.Cert == "" {
		if text, err := l.ReadFile(pkiFile(cfg, "ca.crt")); err == nil { // else loadMutual says what is wrong, or nobody needs it here
			if cas, err := certificatesIn(text); err == nil {
				g.expiresCA(cas[0])
			}
		}
	}
	g.tls = &tls.Config{
		Certificates:           []tls.Certificate{pair},
		MinVersion:             cfg.TLSVersionMin,
		CurvePreferences:       []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384},
		SessionTicketsDisabled: true,
	}
	return nil
}

// ErrServerCertificate wraps what is wrong with the endpoint's own certificate.
var ErrServerCertificate = errors.New("cannot be used")

// ErrServerUse is the ErrServerCertificate of a certificate for clients.
var ErrServerUse = fmt.Errorf("%w: it is not a server certificate (extended key usage serverAuth)", ErrServerCertificate)

// checkServerCertificate finds what every client would refuse.
func checkServerCertificate(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("%w: expired on %s", ErrServerCertificate, c.NotAfter.Format(time.DateOnly))
	case now.Before(c.NotBefore):
		return fmt.Errorf("%w: not valid before %s", ErrServerCertificate, c.NotBefore.Format(time.RFC3339))
	case len(c.ExtKeyUsage) > 0 && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny):
		return ErrServerUse
	}
	return nil
}

// buildWanted says what the network must serve, and what clients may reach.
func (g *generation) buildWanted() {
	cfg := &g.cfg
	w := network.Wanted{ClientCIDR: cfg.ClientCIDR, ClientCIDR6: cfg.ClientCIDR6}
	g.access = newGrants(cfg.Rules)
	g.access.clients = []netip.Prefix{cfg.ClientCIDR}
	if cfg.ClientCIDR6.IsValid() {
		g.access.clients = append(g.access.clients, cfg.ClientCIDR6)
	}
	for _, r := range cfg.Routes {
		if r.Target != LocalTarget {
			continue
		}
		for _, c := range g.access.clients { // the API takes wider ones, too: they lead to clients and nowhere else
			if within(r.Destination, c) {
				g.access.local = append(g.access.local, r.Destination)
			} else if within(c, r.Destination) {
				g.access.local = append(g.access.local, c)
			}
		}
	}
	for _, a := range cfg.Associations {
		v, s, _ := cfg.subnet(a.Subnet)
		parts, gateways := g.pool.served(g.layout, s.ID)
		w.Gateways = append(w.Gateways, gateways...)
		networks := v.ranges() // the automatic route, origin "associate"
		w.Associations = append(w.Associations, network.Association{
			Subnet: s.ID, Slices: parts, Source: s.Address, Source6: s.Address6, Plain4: s.Plain4, Plain6: s.Plain6, Interface: s.Interface, Ranges: s.ranges(), Via: s.gateways(), Networks: networks,
			Restricted: len(a.SecurityGroups) > 0, Permits: cfg.permits(a),
		})
		reachable := slices.Clone(networks)
		for _, r := range cfg.Routes {
			if r.Target == s.ID {
				w.Routes = append(w.Routes, network.Route{Destination: r.Destination, Association: s.ID})
				reachable = append(reachable, r.Destination)
			}
		}
		g.access.reachable[s.ID] = reachable
	}
	g.wanted = w
}

// bannerTitle is what the window is called that shows the banner, where clients have one.
const bannerTitle = "Login banner"

// buildReply is the part of the push that all clients share.
func (g *generation) buildReply() {
	cfg := &g.cfg
	r := push.Reply{
		Topology: cfg.Topology, Ping: ping, PingRestart: pingRestart, PeerID: -1,
	}
	if cfg.Transport == "udp" {
		r.ExitNotify = 1 // a client that goes says so, instead of falling silent
	}
	for _, a := range cfg.DNSServers {
		r.DNS.Servers = append(r.DNS.Servers, netip.AddrPortFrom(a, 53))
	}
	r.Echo, r.EnforceRoutes = push.MessageEcho(cfg.Banner, bannerTitle), cfg.RouteEnforcement
	if cfg.SplitTunnel {
		for _, p := range g.routes() {
			if p.Addr().Is4() || cfg.ClientCIDR6.IsValid() {
				r.Routes = append(r.Routes, push.Route{Destination: p})
			}
		}
	} else {
		r.Redirect = &push.Redirect{Def1: true, BypassDHCP: true, IPv6: cfg.ClientCIDR6.IsValid()}
	}
	g.reply = r
}

// routes are the destinations of the endpoint's route table, each once, in an order that does not depend on the file's.
func (g *generation) routes() []netip.Prefix {
	var out []netip.Prefix
	put := func(p netip.Prefix) {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	for _, a := range g.wanted.Associations {
		for _, p := range a.Networks {
			put(p)
		}
	}
	for _, r := range g.cfg.Routes {
		put(r.Destination)
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out
}

// replyFor is what one client is given. mtu is the largest that it can take; 0 =
// it takes none.
func (g *generation) replyFor(l lease, mtu int) push.Reply {
	r := g.reply
	r.Address, r.RouteGateway = l.Addr, l.Gateway.Addr()
	if l.Peer.IsValid() {
		r.Address, r.Peer, r.RouteGateway = netip.PrefixFrom(l.Addr.Addr(), 32), l.Peer, l.Peer
	}
	r.TunMTU = min(g.cfg.TunMTU, mtu)
	if l.Addr6.IsValid() {
		r.Address6, r.Peer6 = l.Addr6, l.Gateway6.Addr()
	}
	return r
}

// sameForClients says whether sessions of g may go on under next: what they
// proved and how they talk still holds, and so does what they were given, or it can be
// updated.
func (g *generation) sameForClients(next *generation) (same, update bool) {
	a, b := &g.cfg, &next.cfg
	same = !next.policy.resets(g.policy) && g.pool == next.pool && sameRoutes(a, b) && g.trust == next.trust && g.proof == next.proof && slices.Equal(a.Ciphers, b.Ciphers) && a.PRF == b.PRF && a.Legacy == b.Legacy &&
		a.Mssfix == b.Mssfix && reflect.DeepEqual(lasting(g.reply), lasting(next.reply))
	return same, !reflect.DeepEqual(unsaid(g.reply), unsaid(next.reply))
}

// sameRoutes says whether the sessions of a outlive the route table of b. With split tunnel every change of it resets them, as on
// AWS, even one that they would not be told of: a second way to a destination. What associations bring is no change.
func sameRoutes(a, b *Config) bool {
	if !b.SplitTunnel || b.PushUpdate || len(a.Routes) != len(b.Routes) {
		return !b.SplitTunnel || b.PushUpdate
	}
	return !slices.ContainsFunc(a.Routes, func(r Route) bool { return !slices.Contains(b.Routes, r) })
}

// lasting is what PUSH_UPDATE does not change here.
func lasting(r push.Reply) push.Reply {
	r.Routes, r.Redirect, r.DNS, r.BlockIPv6 = nil, nil, push.DNS{}, false
	return unsaid(r)
}

// unsaid is r without the banner: another one is shown at the next session.
func unsaid(r push.Reply) push.Reply {
	r.Echo = nil
	return r
}

// Fixed names the first key whose change no reload can follow, or "".
func (c *Config) Fixed(next Config) string {
	switch {
	case c.DataDir() != next.DataDir():
		return "data"
	case !slices.Equal(c.Listen, next.Listen):
		return "listen"
	case c.Transport != next.Transport:
		return "transport"
	case c.Network != next.Network:
		return "network"
	case c.TunMTU != next.TunMTU:
		return "tun_mtu"
	}
	return ""
}
