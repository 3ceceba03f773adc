package ovpn

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// Gate answers the first packets of UDP clients without keeping state, with a
// keyed hash of address and session id as cookie (openvpn's ssl_pkt.c,
// calculate_session_id_hmac; mudp.c, do_pre_decrypt_check). It never allocates
// per client, and answers a flood only up to a limit. Safe for concurrent use: the sockets of one
// port share one, so that a cookie counts at each of them and a limit for all together.
type Gate struct {
	cfg    GateConfig
	secret [32]byte
	limit  *limiter // of answers
	begun  *limiter // of sessions without a proof
}

// GateConfig is how a Gate works. Zero numbers mean the default.
type GateConfig struct {
	Wrap wrap.Method // nil: none
	// ForceCookie refuses tls-crypt-v2 clients that cannot send their key twice
	// (OpenVPN 2.5). Their resets have to be answered by a session each.
	ForceCookie bool
	// Resets is how many resets are answered in each Window, and Source how many of
	// them from one address (IPv6: one /64). A client that completes the handshake
	// gives its answer back (see Proved). Defaults: 100, 50, 10 s (openvpn's connect-freq-initial).
	Resets, Source int
	// Begun and BegunSource are the same for resets that begin a session, without a proof of the
	// address (see Proved). Defaults: 100, 50.
	Begun, BegunSource int
	Window             time.Duration
}

// cookieSlot is how long one cookie value lives; two earlier ones are taken too.
const cookieSlot = 30 * time.Second

// ErrFlood wraps ErrDropped for a reset that is beyond the Gate's limit.
var ErrFlood = fmt.Errorf("%w: too many resets without a handshake", ErrDropped)

// NewGate makes a Gate with a random secret.
func NewGate(cfg GateConfig) *Gate {
	cfg.Resets = orDefault(cfg.Resets, 100)
	cfg.Source = orDefault(cfg.Source, 50)
	cfg.Begun = orDefault(cfg.Begun, 100)
	cfg.BegunSource = orDefault(cfg.BegunSource, 50)
	cfg.Window = orDefault(cfg.Window, 10*time.Second)
	g := &Gate{
		cfg: cfg, limit: newLimiter(cfg.Resets, cfg.Source, cfg.Window), begun: newLimiter(cfg.Begun, cfg.BegunSource, cfg.Window),
	}
	rand.Read(g.secret[:])
	return g
}

// With makes a Gate with another configuration that takes g's cookies, and goes on with its limits: who is half way through
// the door when the configuration changes would else wait in vain, as clients do not begin again before a minute is over.
func (g *Gate) With(cfg GateConfig) *Gate {
	n := NewGate(cfg)
	n.secret, n.limit, n.begun = g.secret, g.limit, g.begun
	return n
}

// Handle looks at a packet from an address without a session. It returns a
// reply to send, or the Hello for Config when packet completed the handshake
// (hand the same packet to the new Session), or an ErrDropped error.
func (g *Gate) Handle(now time.Time, from netip.AddrPort, packet []byte) (reply []byte, hello *Hello, err error) {
	if len(packet) == 0 {
		return nil, nil, fmt.Errorf("%w: empty", ErrDropped)
	}
	// What stands in clear comes first: it costs nothing to check.
	reset := false
	switch op, keyID := wire.SplitHeader(packet[0]); {
	case keyID != 0:
		return nil, nil, fmt.Errorf("%w: key %d without a session", ErrDropped, keyID)
	case op == wire.HardResetClientV2 || op == wire.HardResetClientV3:
		if reset = true; g.limit.full(now) && (op == wire.HardResetClientV2 || g.begun.full(now)) {
			return nil, nil, ErrFlood
		}
	case op != wire.ControlV1 && op != wire.AckV1 && op != wire.ControlWKCV1:
		return nil, nil, fmt.Errorf("%w: opcode %d without a session", ErrDropped, op)
	}
	c, w, err := g.open(now, packet)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrDropped, err)
	}
	if c.Session == (wire.SessionID{}) {
		return nil, nil, fmt.Errorf("%w: no session id", ErrDropped)
	}
	if !reset {
		hello, err = g.complete(now, from, c)
		return nil, hello, err
	}
	if c.ID != 0 || len(c.Acks) > 0 {
		return nil, nil, fmt.Errorf("%w: reset with id %d", ErrDropped, c.ID)
	}
	var early wire.Early
	if c.Op == wire.HardResetClientV3 {
		early.ResendWKC = wrap.EarlyNegotiation(packet)
		if !early.ResendWKC && g.cfg.ForceCookie {
			return nil, nil, fmt.Errorf("%w: the client cannot send its tls-crypt-v2 key twice", ErrDropped)
		}
	}
	if c.Op == wire.HardResetClientV3 && !early.ResendWKC {
		if !g.begun.take(now, from.Addr()) {
			return nil, nil, ErrFlood
		}
		// Its later packets will not say which key they need: the session must
		// begin here and remember.
		return nil, &Hello{Client: c.Session}, nil
	}
	if !g.limit.take(now, from.Addr()) {
		return nil, nil, ErrFlood
	}
	plain := wire.AppendControl(nil, wire.Control{
		Op: wire.HardResetServerV2, Session: g.cookie(c.Session, from, slotOf(now)), Acks: []uint32{0}, Peer: c.Session,
		Payload: wire.AppendEarly(nil, early),
	})
	if w == nil {
		return plain, nil, nil
	}
	return w.Wrap(nil, now, plain), nil, nil
}

// Proved says that a client to which Handle gave a session without a handshake (Hello.Server is
// zero), at the time began, has turned out to be at its address: its session is Established. Its
// answer counts no longer against those who may follow. Once for each session.
func (g *Gate) Proved(began time.Time, from netip.Addr) { g.begun.giveBack(began, from) }

// open reads packet with a Wrapper of its own, nil when there is no protection.
func (g *Gate) open(now time.Time, packet []byte) (c wire.Control, w wrap.Wrapper, err error) {
	if g.cfg.Wrap != nil {
		w = g.cfg.Wrap.New(true, 1)
		if packet, err = w.Unwrap(nil, now, packet); err != nil {
			return c, nil, err
		}
	}
	if c, err = wire.ParseControl(packet); err != nil {
		return c, nil, err
	}
	if (c.Op == wire.HardResetClientV3 || c.Op == wire.ControlWKCV1) && !clientKeyKnown(w) {
		return c, nil, errNoServerKey
	}
	return c, w, nil
}

// errNoServerKey answers tls-crypt-v2 packets where nothing can open them.
var errNoServerKey = errors.New("the client wants tls-crypt-v2, which is not in use")

// clientKeyKnown says whether w is a tls-crypt-v2 server's and has its client's key.
func clientKeyKnown(w wrap.Wrapper) bool {
	keyed, ok := w.(wrap.Keyed)
	if ok {
		_, ok = keyed.Client()
	}
	return ok
}

// complete checks the third packet of a handshake: it must carry our cookie.
func (g *Gate) complete(now time.Time, from netip.AddrPort, c wire.Control) (*Hello, error) {
	if len(c.Acks) == 0 || c.ID > 1 {
		return nil, fmt.Errorf("%w: id %d without a session", ErrDropped, c.ID)
	}
	for _, id := range c.Acks {
		if id > 1 {
			return nil, fmt.Errorf("%w: acknowledges %d without a session", ErrDropped, id)
		}
	}
	for back := range int64(3) {
		want := g.cookie(c.Session, from, slotOf(now)-back)
		if subtle.ConstantTimeCompare(want[:], c.Peer[:]) == 1 {
			g.limit.giveBack(now, from.Addr())
			return &Hello{Client: c.Session, Server: c.Peer}, nil
		}
	}
	return nil, fmt.Errorf("%w: stale or forged cookie", ErrDropped)
}

func slotOf(now time.Time) int64 { return now.Unix() / int64(cookieSlot/time.Second) }

// cookie is the server's session id for a client at one address and time slot.
func (g *Gate) cookie(client wire.SessionID, from netip.AddrPort, slot int64) (id wire.SessionID) {
	m := hmac.New(sha256.New, g.secret[:])
	a := from.Addr().Unmap().As16()
	m.Write(a[:])
	var b [10]byte
	binary.BigEndian.PutUint16(b[:], from.Port())
	binary.BigEndian.PutUint64(b[2:], uint64(slot))
	m.Write(b[:])
	m.Write(client[:])
	copy(id[:], m.Sum(nil))
	return id
}
