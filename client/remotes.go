package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/proxy"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// These bound one name look-up. The second is for when the resolver may be behind the tunnel
// that is down, and the addresses of last time are an answer too.
const (
	resolveTimeout = 10 * time.Second
	resolveOffline = 3 * time.Second
)

// remote is one server that the profile names.
type remote struct {
	host   string // name or address
	port   uint16
	stream bool          // TCP
	family int           // 4, 6, or 0 for either
	poll   time.Duration // for its first word; 0 = default
	wrap   wrap.Method   // of the control channel; nil = none
	via    *proxy.Config // nil = straight
	fit    fit           // of TCP inside
	mtu    int           // of the TUN where the server says nothing, bytes; 0 = the profile's
	aws    bool          // speaks AWS's key exchange
}

// hop is the machine that we connect to ourselves: the server, or the proxy in front of it.
func (r remote) hop() remote {
	if r.via != nil {
		r.host, r.port, r.family = r.via.Host, r.via.Port, 0
	}
	return r
}

func (r remote) transport() string {
	if r.stream {
		return "tcp"
	}
	return "udp"
}

// named says whether the remote has a name that must be looked up.
func (r remote) named() bool {
	_, err := netip.ParseAddr(r.host)
	return err != nil
}

// fits says whether an address is of its family.
func (r remote) fits(a netip.Addr) bool { return r.family == 0 || (r.family == 4) == a.Is4() }

// String is how messages name the remote.
func (r remote) String() string {
	return joinHostPort(r.host, r.port)
}

func joinHostPort(host string, port uint16) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(a, port).String()
	}
	return host + ":" + strconv.Itoa(int(port))
}

// Resolver finds the addresses of a name. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// remotes walks over the profile's servers and their addresses: the next address
// on each failure, then the next server, then from the start. Not safe for concurrent use.
type remotes struct {
	list        []remote
	randomLabel bool // remote-random-hostname
	resolver    Resolver
	known       func(server string) []netip.Addr // where it was reached in former times; nil: nobody knows

	at    int          // in list
	addrs []netip.Addr // of list[at], the one in use first; empty: not resolved yet
	last  map[int][]netip.Addr
	stale map[int]bool // all of last have failed since they were found

	servers map[int][]netip.Addr // behind a proxy, of last time
	turn    int                  // so that behind walks over them
}

// behind looks up the server behind a proxy, for what a proxy cannot look up itself. The
// zero address says that this machine does not know the name.
func (r *remotes) behind(ctx context.Context, offline bool) netip.Addr {
	m := r.current()
	m.via = nil
	addrs := r.servers[r.at]
	if !offline || len(addrs) == 0 {
		ctx, cancel := context.WithTimeout(ctx, resolveOffline)
		defer cancel()
		if found, err := r.ask(ctx, m); err == nil {
			addrs = found
			r.servers[r.at] = found
		}
	}
	if len(addrs) == 0 {
		return netip.Addr{}
	}
	r.turn++
	return addrs[r.turn%len(addrs)]
}

func newRemotes(list []remote, random, randomLabel bool, resolver Resolver, known func(server string) []netip.Addr) *remotes {
	r := &remotes{list: slices.Clone(list), randomLabel: randomLabel, resolver: resolver, known: known, last: map[int][]netip.Addr{}, stale: map[int]bool{}, servers: map[int][]netip.Addr{}}
	if random {
		mathrand.Shuffle(len(r.list), func(i, j int) { r.list[i], r.list[j] = r.list[j], r.list[i] })
	}
	return r
}

// inherit takes the addresses that another list has found of the same servers.
func (r *remotes) inherit(o *remotes) {
	for i, m := range r.list {
		for j, known := range o.list {
			if m.host == known.host && m.family == known.family && len(o.servers[j]) > 0 {
				r.servers[i] = o.servers[j]
			}
			if m, known := m.hop(), known.hop(); m.host == known.host && m.family == known.family && len(o.last[j]) > 0 {
				r.last[i], r.stale[i] = o.last[j], o.stale[j]
			}
		}
	}
}

// current is the server to try.
func (r *remotes) current() remote { return r.list[r.at] }

// advance moves on as a failure demands, and says whether that completed a round.
func (r *remotes) advance(a advance) (round bool) {
	if a == nextServer {
		return r.next()
	}
	return r.fail()
}

// fail moves on and says whether that completed a round over all servers.
func (r *remotes) fail() (round bool) {
	if len(r.addrs) > 1 {
		r.addrs = r.addrs[1:]
		return false
	}
	return r.next()
}

// next goes on to the next server, whatever addresses this one has left.
func (r *remotes) next() (round bool) {
	r.addrs, r.stale[r.at] = nil, true // to be resolved anew when its turn comes again
	r.at = (r.at + 1) % len(r.list)
	return r.at == 0
}

// forget makes the next resolve begin with what is known best of the current server.
func (r *remotes) forget() { r.addrs = nil }

// learn takes new addresses of the current server; the one in use comes first if it is among them.
func (r *remotes) learn(addrs []netip.Addr, inUse netip.Addr) {
	addrs = slices.Clone(addrs)
	if i := slices.Index(addrs, inUse); i > 0 {
		addrs = slices.Insert(slices.Delete(addrs, i, i+1), 0, inUse)
	}
	r.last[r.at], r.stale[r.at] = addrs, false
}

// several says whether there is another server, or another address of this one, to try.
func (r *remotes) several() bool { return len(r.list) > 1 || len(r.addrs) > 1 }

// reached is the name of the current server, empty where it needs none, and its addresses, inUse first.
func (r *remotes) reached(inUse netip.Addr) (name string, addrs []netip.Addr) {
	m := r.current().hop()
	if !m.named() {
		return "", nil
	}
	others := r.last[r.at]
	if len(others) == 0 && r.known != nil { // nobody could be asked: those of former times stay
		others = r.known(m.host)
	}
	others = slices.DeleteFunc(slices.Clone(others), func(a netip.Addr) bool { return a == inUse })
	return m.host, append([]netip.Addr{inUse}, others...)
}

// lookUpAll finds the addresses of all servers that have none yet, as far as that goes, for later.
func (r *remotes) lookUpAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found := make([][]netip.Addr, len(r.list))
	var all sync.WaitGroup
	for i, m := range r.list {
		if m = m.hop(); m.named() && len(r.last[i]) == 0 {
			all.Go(func() { found[i], _ = r.ask(ctx, m) }) // who needs it asks again, and says what is wrong
		}
	}
	all.Wait()
	for i, addrs := range found {
		if len(addrs) > 0 {
			r.last[i] = addrs
		}
	}
}

// resolve returns the address to try, looking the name up when that was not done
// since the last failure. With offline set it uses the addresses of last time if there are any: the
// machine's resolver may be behind the tunnel that is down, or stopped by the guard.
func (r *remotes) resolve(ctx context.Context, offline bool) (netip.AddrPort, error) {
	m := r.current().hop()
	if len(r.addrs) == 0 {
		addrs, err := r.lookup(ctx, m, offline)
		if err != nil {
			return netip.AddrPort{}, err
		}
		r.addrs = addrs
	}
	return netip.AddrPortFrom(r.addrs[0], m.port), nil
}

func (r *remotes) lookup(ctx context.Context, m remote, offline bool) ([]netip.Addr, error) {
	last := r.last[r.at]
	known := last
	if len(known) == 0 && r.known != nil && m.named() {
		known = slices.DeleteFunc(r.known(m.host), func(a netip.Addr) bool { return !m.fits(a) })
	}
	if offline && len(known) > 0 && !r.stale[r.at] {
		return slices.Clone(known), nil
	}
	limit := resolveTimeout
	if offline && len(known) > 0 {
		limit = resolveOffline
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	addrs, err := r.ask(ctx, m)
	if err != nil {
		// A name that is not there any more is one: nobody goes to where it was in former times.
		if f := (*failure)(nil); len(last) > 0 || len(known) > 0 && errors.As(err, &f) && f.verdict != absent {
			return slices.Clone(known), nil
		}
		return nil, err
	}
	r.last[r.at], r.stale[r.at] = slices.Clone(addrs), false
	return addrs, nil
}

// ask finds the addresses of a server, each once. Its errors are *failure. It is safe beside everything else.
func (r *remotes) ask(ctx context.Context, m remote) ([]netip.Addr, error) {
	unknown := func(v verdict, detail string, err error) error {
		return fail(v, api.CodeServerNameUnknown, map[string]string{"server": m.host, "detail": detail}, err)
	}
	if a, err := netip.ParseAddr(m.host); err == nil {
		if a = a.Unmap(); !m.fits(a) {
			return nil, unknown(absent, fmt.Sprintf("it is no IPv%d address", m.family), nil)
		}
		return []netip.Addr{a}, nil
	}
	host := m.host
	if r.randomLabel && m.via == nil {
		var label [6]byte
		_, _ = rand.Read(label[:]) // it never fails
		host = hex.EncodeToString(label[:]) + "." + host
	}
	network := "ip"
	if m.family != 0 {
		network += strconv.Itoa(m.family)
	}
	found, err := r.resolver.LookupNetIP(ctx, network, host)
	if err != nil {
		v := retry // the resolver may answer next time
		if e := (*net.DNSError)(nil); errors.As(err, &e) && e.IsNotFound {
			v = absent
		}
		return nil, unknown(v, err.Error(), err)
	}
	var addrs []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); m.fits(a) && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, unknown(absent, "it has no address", nil)
	}
	return addrs, nil
}
