// Package wrap protects control packets: tls-auth authenticates them, tls-crypt
// authenticates and encrypts them. A Method is a configured key; a Wrapper is
// the state of one session that uses it.
package wrap

import "time"

// Method makes Wrappers. Methods are immutable and safe for concurrent use.
type Method interface {
	// New returns the state for one session. firstID is the packet id of the
	// first packet sent (1, or 2 when a stateless reply already used 1).
	New(server bool, firstID uint32) Wrapper
	// Overhead is how many bytes Wrap adds.
	Overhead() int
	// String names the method as a profile does: "tls-auth", "tls-crypt".
	String() string
}

// Wrapper protects one session's control packets. The plain form of a packet
// is opcode/key-id byte, session id (8), then the rest from the ack count on. Not safe for
// concurrent use.
type Wrapper interface {
	// Wrap appends the protected form of plain to dst.
	Wrap(dst []byte, now time.Time, plain []byte) []byte
	// Unwrap verifies packet, rejects replays, and appends its plain form to dst.
	// It does not modify or keep packet. On error dst is returned unchanged.
	Unwrap(dst []byte, now time.Time, packet []byte) ([]byte, error)
}
