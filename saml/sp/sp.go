// Package sp is the service provider's half of a SAML 2.0 sign-in, as AWS Client VPN does it:
// AWS's entity id, an answer that the browser posts to a port on loopback, unsigned requests
// in the redirect binding. It makes requests and judges responses; how they travel is
// elsewhere.
//
// Signature wrapping is impossible by construction. A response is first read by a strict
// scanner (document.go), then the signatures of the response and of its one assertion are
// checked, and from there on only the canonical bytes that were hashed are read, parsed anew.
// Nothing that was not signed is ever looked at.
//
// Sources: SAML 2.0 core, bindings and profiles (4.1, web browser SSO); AWS Client VPN's
// administrator guide, "Single sign-on".
package sp

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// AWS Client VPN's own names.
const (
	EntityID = "urn:amazon:webservices:clientvpn"
	// ACS is where the browser takes the answer: the client listens there.
	ACS = "http://127.0.0.1:35001"
)

// The limits of AWS's service, and how far the clocks may differ.
const (
	MaxResponse = 128 << 10 // bytes of XML
	MaxName     = 255       // characters of a NameID; what is longer is cut
	MaxGroups   = 200       // more are ignored
	MaxGroup    = 255       // characters of a group's id; longer ones are ignored
	Skew        = 3 * time.Minute
)

// maxUsed bounds the requests that are remembered as answered, each until it expires.
const maxUsed = 1 << 16

// Why a response is refused. Errors of Check wrap exactly one of them.
var (
	ErrMalformed   = errors.New("malformed response")
	ErrSignature   = errors.New("signature")
	ErrAlgorithm   = errors.New("algorithm not allowed")
	ErrStatus      = errors.New("the identity provider refused")
	ErrIssuer      = errors.New("issuer")
	ErrDestination = errors.New("destination")
	ErrRequest     = errors.New("not the answer to this request")
	ErrReplayed    = errors.New("this sign-in was answered already")
	ErrTime        = errors.New("time")
	ErrAudience    = errors.New("audience")
	ErrSubject     = errors.New("subject")
)

// Request is one request for a sign-in.
type Request struct {
	ID      string // an XML name that nobody can guess
	Expires time.Time
}

// Identity is what a response proved.
type Identity struct {
	Name   string   // NameID, at most MaxName characters
	Groups []string // memberOf, at most MaxGroups
	// Ignored counts groups over the limits.
	Ignored int
}

// Provider makes requests to one identity provider and judges its responses. It is safe for
// concurrent use.
type Provider struct {
	idp Metadata
	now func() time.Time

	mu   sync.Mutex
	used map[string]time.Time // ids of answered requests, until they expire
}

// New makes a Provider from an identity provider's metadata.
func New(idp Metadata, now func() time.Time) *Provider {
	return &Provider{idp: idp, now: now, used: map[string]time.Time{}}
}

// Check judges a response (XML) to a request. It accepts one response to each request.
func (p *Provider) Check(response []byte, to Request) (Identity, error) {
	now := p.now()
	if !now.Before(to.Expires) {
		return Identity{}, fmt.Errorf("%w: it expired at %s", ErrRequest, to.Expires.UTC().Format(time.RFC3339))
	}
	r, a, err := p.open(response, now)
	if err != nil {
		return Identity{}, err
	}
	who, err := p.judge(r, a, to, now)
	if err != nil {
		return Identity{}, err
	}
	return who, p.use(to, now)
}

// use marks a request as answered, once.
func (p *Provider) use(r Request, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.used[r.ID]; ok {
		return fmt.Errorf("%w (request %s)", ErrReplayed, r.ID)
	}
	if len(p.used) >= maxUsed {
		for id, expires := range p.used {
			if !now.Before(expires) {
				delete(p.used, id)
			}
		}
		if len(p.used) >= maxUsed {
			return fmt.Errorf("%w: %d sign-ins in one request's lifetime are too many", ErrReplayed, maxUsed)
		}
	}
	p.used[r.ID] = r.Expires
	return nil
}
