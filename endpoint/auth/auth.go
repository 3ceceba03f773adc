// Package auth decides who a client is. Each Method is one way to prove it; a
// client must pass all methods that its endpoint is configured with. Nothing here
// decides what an identity may reach: that is the endpoint's rules.
//
// No goroutines: callers own them. Methods are safe for concurrent use.
package auth

import (
	"context"
	"crypto/tls"
	"net/netip"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Credentials is what a client showed.
type Credentials struct {
	TLS      tls.ConnectionState
	Username string
	Password push.Secret
	PeerInfo map[string]string // IV_* and UV_*
	From     netip.AddrPort    // outer address
}

// Identity is who a client proved to be.
type Identity struct {
	CommonName string   // of the certificate; empty without one
	Username   string   // of the directory or identity provider; empty with certificates alone
	Groups     []string // ids of the groups
}

// Name is what people call the identity: the user name, else the certificate's.
func (i Identity) Name() string {
	if i.Username != "" {
		return i.Username
	}
	return i.CommonName
}

// Outcome is the answer of a Method: Accepted, Challenge or Denied. The set is closed.
type Outcome interface{ outcome() }

// Accepted says who it is.
type Accepted struct{ Identity Identity }

// Challenge asks for more: Text follows "AUTH_FAILED," on the wire (CRV1:…).
type Challenge struct{ Text string }

// Denied says no. Reason is for the log; Tell is for the client, and may be empty.
type Denied struct{ Reason, Tell string }

func (Accepted) outcome()  {}
func (Challenge) outcome() {}
func (Denied) outcome()    {}

// Method is one way to prove an identity.
type Method interface {
	// Check judges credentials. It may block until ctx ends. An error means that
	// the method itself failed (no directory server), not that the client did.
	Check(ctx context.Context, c Credentials) (Outcome, error)
}
