package ovpn

import (
	"errors"
	"fmt"
)

// Cause says why a Session died, for callers that decide what comes next.
type Cause uint8

// The causes of a ProtocolError.
const (
	CauseTLS         Cause = iota + 1 // TLS handshake or certificate (Err has the crypto/tls or crypto/x509 error)
	CauseTimeout                      // the handshake or the push took too long
	CauseNoReply                      // not one valid packet came from the peer
	CausePing                         // ping-restart: the peer fell silent
	CauseCipher                       // no common data channel cipher
	CauseProtocol                     // the peer broke the protocol
	CauseRefusedPush                  // a pushed option was rejected by pull-filter or is unsafe
	CauseUpdate                       // a PUSH_UPDATE that only a new session can take
	CauseKeys                         // data keys ran out before a renegotiation finished
	CauseForgotten                    // a negotiation needed the password that Forget dropped
)

// ProtocolError ends a Session: every later call returns it again.
type ProtocolError struct {
	Cause Cause
	Text  string // lower case, no full stop
	Err   error  // may be nil
}

func (e *ProtocolError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Text, e.Err)
	}
	return e.Text
}

func (e *ProtocolError) Unwrap() error { return e.Err }

// ErrDropped wraps the reason why one packet was ignored. The Session lives on.
var ErrDropped = errors.New("packet dropped")

// ErrClosed is returned after Close.
var ErrClosed = errors.New("session closed")
