// Package wrap protects control packets: tls-auth authenticates them, tls-crypt
// authenticates and encrypts them, tls-crypt-v2 does so with a key of each
// client's own. A Method is a configured key; a Wrapper is the state of one
// session that uses it.
package wrap

import (
	"encoding/binary"
	"time"
)

// Method makes Wrappers. Methods are immutable and safe for concurrent use.
type Method interface {
	// New returns the state for one session. firstID is the packet id of the
	// first packet sent (1, or 2 when a stateless reply already used 1).
	New(server bool, firstID uint32) Wrapper
	// Overhead is how many bytes Wrap adds, at most.
	Overhead() int
	// Trailer is how many bytes more Wrap adds to HARD_RESET_CLIENT_V3 and
	// CONTROL_WKC_V1: the wrapped client key. It is 0 but for tls-crypt-v2 clients,
	// which begin with that reset.
	Trailer() int
	// String names the method as a profile does: "tls-auth", "tls-crypt", "tls-crypt-v2".
	String() string
}

// Directed is the Method of tls-auth.
type Directed interface {
	Method
	// Direction is the profile's key-direction; -1 when there is none.
	Direction() int
}

// Wrapper protects one session's control packets. The plain form of a packet
// is opcode/key-id byte, session id (8), then the rest from the ack count on. Not safe for
// concurrent use.
type Wrapper interface {
	// Wrap appends the protected form of plain to dst. A tls-crypt-v2 server must
	// have unwrapped a packet before; until then nothing is appended.
	Wrap(dst []byte, now time.Time, plain []byte) []byte
	// Unwrap verifies packet, rejects replays, and appends its plain form to dst.
	// It does not modify or keep packet. On error dst is returned unchanged.
	Unwrap(dst []byte, now time.Time, packet []byte) ([]byte, error)
	// Key is the static key in use, which Dynamic needs. It is nil as long as a
	// tls-crypt-v2 server does not know its client's.
	Key() *StaticKey
}

// Keyed is the Wrapper of a tls-crypt-v2 server.
type Keyed interface {
	Wrapper
	// Client is what the maker of the client's key said in it. ok is false as long
	// as there is no such key, and for a client that uses the other method.
	Client() (m Metadata, ok bool)
	// ClientID is the ID of the client's key, "" as long as ok above is false.
	ClientID() string
}

// earlyMark in the upper byte of a reset's packet id says that the client
// understands early negotiation: it can send its wrapped key again (openvpn's
// ssl_pkt.h, EARLY_NEG_START).
const (
	earlyMark = 0x0f000000
	earlyMask = 0xff000000
)

// EarlyNegotiation says whether an authentic tls-crypt packet carries the mark
// of a client that can send its key a second time.
func EarlyNegotiation(packet []byte) bool {
	return len(packet) >= headLen+4 && binary.BigEndian.Uint32(packet[headLen:])&earlyMask == earlyMark
}
