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
// Answer with Session.Accept for KeyID or Session.Deny, now or later.
type Credentials struct {
	KeyID         uint8
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
	// Dynamic says that later keys are negotiated under a key of their own (dynamic tls-crypt).
	Dynamic bool
}

// PushUpdate replaces the configuration of a running session (PUSH_UPDATE).
type PushUpdate struct {
	Reply push.Reply // the whole configuration as it now is
}

// AuthToken is a token that came after the configuration (client). The Session
// uses it for its own renegotiations.
type AuthToken struct {
	Token push.Secret
	User  string // empty: the user name stays
}

// FailKind says what an AUTH_FAILED means for the next attempt.
type FailKind uint8

// The kinds of AUTH_FAILED (openvpn's management notes and push.c).
const (
	Denied         FailKind = iota
	SessionExpired          // "SESSION:": the token is no longer good, credentials may be
	Temporary               // "TEMP": try again later
	Challenge               // "CRV1:": Reason is the whole challenge
)

// AuthFailed ends the session: the server refused.
type AuthFailed struct {
	Kind   FailKind
	Reason string // for people, may be empty; the challenge itself for Challenge
	// Backoff is how long to wait before the next attempt (Temporary); 0 = not said.
	Backoff time.Duration
	// Advance is where the next attempt goes (Temporary): "no" the same address, "addr" the
	// next one, "remote" the next remote; empty = not said.
	Advance string
}

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
	// KeepCredentials is the flag P of RESTART and HALT: cached credentials stay good.
	// NextRemote is N: the next attempt goes to the next remote (openvpn's push.c).
	KeepCredentials, NextRemote bool
}

func (Established) event() {}
func (Credentials) event() {}
func (PushRequest) event() {}
func (PushReply) event()   {}
func (PushUpdate) event()  {}
func (AuthToken) event()   {}
func (AuthFailed) event()  {}
func (AuthPending) event() {}
func (Message) event()     {}
func (PeerExit) event()    {}
