package ovpn

import (
	"crypto/tls"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Event is something that the owner of a Session must know. The set is closed.
type Event interface{ event() }

// Established says that a key negotiation finished: TLS is up and key-method 2
// was exchanged. The first one precedes Credentials and PushReply.
type Established struct {
	KeyID         uint8
	Renegotiation bool
	TLS           tls.ConnectionState
	// PeerOptions is the peer's OCC string, for diagnostics.
	PeerOptions string
}

// Credentials asks the server's owner whether this peer may use the tunnel.
// Answer with Session.Accept or Session.Deny, now or later.
type Credentials struct {
	Renegotiation bool
	Username      string
	Password      push.Secret
	PeerInfo      map[string]string // IV_* and UV_*
	TLS           tls.ConnectionState
}

// PushRequest asks the server's owner for Session.Push. It comes once per
// session, after Accept.
type PushRequest struct{}

// PushReply is the server's configuration. Data keys are installed when it is
// delivered: packets flow.
type PushReply struct {
	Reply  push.Reply
	Cipher string // of the data channel
}

// PushUpdate changes a part of an earlier reply.
type PushUpdate struct{ Options []string }

// AuthFailed ends the session: the server refused. Reason is the text after
// "AUTH_FAILED,", which may be empty or carry a challenge (CRV1, TEMP, SESSION).
type AuthFailed struct{ Reason string }

// AuthPending says that authentication goes on elsewhere; the handshake may
// take until Timeout from now.
type AuthPending struct{ Timeout time.Duration }

// Message is any other control message, verbatim ("INFO_PRE,…", "CR_TEXT,…").
type Message struct{ Text string }

// PeerExit says that the peer left or wants us to: the session is over.
type PeerExit struct {
	// Kind is "exit" (peer is going away), "restart" (come back) or "halt" (do not).
	Kind   string
	Reason string
}

func (Established) event() {}
func (Credentials) event() {}
func (PushRequest) event() {}
func (PushReply) event()   {}
func (PushUpdate) event()  {}
func (AuthFailed) event()  {}
func (AuthPending) event() {}
func (Message) event()     {}
func (PeerExit) event()    {}
