package ovpn

import (
	"net/netip"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// Session is one peer's control channel, in either role. One goroutine at a
// time; the caller passes now. After a *ProtocolError it is dead; after a
// dropped packet (errors.Is ErrDropped) it is not.
type Session struct{ data *Data }

// New starts a session. A client's first packet is ready at once.
func New(now time.Time, cfg Config) (*Session, error) { panic("stub") }

// Handle takes one control packet (opcodes 3-5, 7, 8), borrowed for the call.
func (s *Session) Handle(now time.Time, packet []byte) error { panic("stub") }

// Tick does what is due at now: retransmission, ping, timeouts, renegotiation.
func (s *Session) Tick(now time.Time) error { panic("stub") }

// Deadline is when Tick must be called next; the zero time means never.
func (s *Session) Deadline() time.Time { panic("stub") }

// NextPacket returns the next packet to send, or nil. It is the caller's to keep.
// Drain it after every other call.
func (s *Session) NextPacket(now time.Time) []byte { panic("stub") }

// NextEvent returns the next event, or nil. Drain it after every other call.
func (s *Session) NextEvent() Event { panic("stub") }

// Accept answers Credentials: the peer may use the tunnel (server).
func (s *Session) Accept(now time.Time) error { panic("stub") }

// Deny answers Credentials, or ends an accepted session, with AUTH_FAILED (server).
func (s *Session) Deny(now time.Time, reason string) error { panic("stub") }

// Push answers PushRequest (server). The session fills in peer-id, cipher and
// protocol-flags; everything else is the caller's.
func (s *Session) Push(now time.Time, reply push.Reply) error { panic("stub") }

// Send sends one control message, for instance "RESTART,reason".
func (s *Session) Send(now time.Time, message string) error { panic("stub") }

// Renegotiate starts a new key now. It does nothing while one is under way.
func (s *Session) Renegotiate(now time.Time) error { panic("stub") }

// Close tells the peer (when exit notification is on) and ends the session.
// Drain NextPacket once more after it.
func (s *Session) Close(now time.Time) { panic("stub") }

// Data is the packet crypto; it exists from the start and passes packets once
// keys are installed.
func (s *Session) Data() *Data { return s.data }

// Gate answers the first packets of UDP clients without keeping state, with a
// keyed hash of address and session id as cookie. Not safe for concurrent use.
type Gate struct{}

// NewGate makes a Gate with a random secret.
func NewGate(method wrap.Method) *Gate { panic("stub") }

// Handle looks at a packet from an address without a session. It returns a
// reply to send, or the Hello for Config when packet completed the handshake
// (hand the same packet to the new Session), or an ErrDropped error.
func (g *Gate) Handle(now time.Time, from netip.AddrPort, packet []byte) (reply []byte, hello *Hello, err error) {
	panic("stub")
}
