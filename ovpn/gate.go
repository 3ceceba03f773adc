package ovpn

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// Gate answers the first packets of UDP clients without keeping state, with a
// keyed hash of address and session id as cookie (openvpn's ssl_pkt.c,
// calculate_session_id_hmac). It never allocates per client. Not safe for
// concurrent use; several Gates of one server share a Secret.
type Gate struct {
	method wrap.Method
	secret [32]byte
}

// cookieSlot is how long one cookie value lives; two earlier ones are taken too.
const cookieSlot = 30 * time.Second

// NewGate makes a Gate with a random secret.
func NewGate(method wrap.Method) *Gate {
	g := &Gate{method: method}
	rand.Read(g.secret[:])
	return g
}

// Handle looks at a packet from an address without a session. It returns a
// reply to send, or the Hello for Config when packet completed the handshake
// (hand the same packet to the new Session), or an ErrDropped error.
func (g *Gate) Handle(now time.Time, from netip.AddrPort, packet []byte) (reply []byte, hello *Hello, err error) {
	plain := packet
	if g.method != nil {
		if plain, err = g.method.New(true, 1).Unwrap(nil, now, packet); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrDropped, err)
		}
	}
	c, err := wire.ParseControl(plain)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrDropped, err)
	}
	if c.KeyID != 0 || c.Session == (wire.SessionID{}) {
		return nil, nil, fmt.Errorf("%w: key %d without a session", ErrDropped, c.KeyID)
	}
	slot := now.Unix() / int64(cookieSlot/time.Second)
	switch c.Op {
	case wire.HardResetClientV2:
		if c.ID != 0 || len(c.Acks) > 0 {
			return nil, nil, fmt.Errorf("%w: reset with id %d", ErrDropped, c.ID)
		}
		plain := wire.AppendControl(nil, wire.Control{
			Op: wire.HardResetServerV2, Session: g.cookie(c.Session, from, slot), Acks: []uint32{0}, Peer: c.Session,
		})
		if g.method == nil {
			return plain, nil, nil
		}
		return g.method.New(true, 1).Wrap(nil, now, plain), nil, nil
	case wire.ControlV1, wire.AckV1:
		if len(c.Acks) == 0 || c.ID > 1 {
			return nil, nil, fmt.Errorf("%w: id %d without a session", ErrDropped, c.ID)
		}
		for _, id := range c.Acks {
			if id > 1 {
				return nil, nil, fmt.Errorf("%w: acknowledges %d without a session", ErrDropped, id)
			}
		}
		for back := range int64(3) {
			want := g.cookie(c.Session, from, slot-back)
			if subtle.ConstantTimeCompare(want[:], c.Peer[:]) == 1 {
				return nil, &Hello{Client: c.Session, Server: c.Peer}, nil
			}
		}
		return nil, nil, fmt.Errorf("%w: stale or forged cookie", ErrDropped)
	}
	return nil, nil, fmt.Errorf("%w: opcode %d without a session", ErrDropped, c.Op)
}

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
