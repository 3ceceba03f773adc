package endpoint

import (
	"sync"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
)

// signedIn remembers who is behind an authentication token, which itself says nothing of groups:
// a client that comes back with it is who it was. Safe for concurrent use.
type signedIn struct {
	mu    sync.Mutex
	by    map[auth.TokenSession]signIn
	swept time.Time
}

// signIn is one person's.
type signIn struct {
	identity auth.Identity
	since    time.Time
	until    time.Time // its token is good no longer; zero: not known
}

// maxSignedIn bounds the memory: as many as there may be addresses in the largest client range.
const maxSignedIn = 1 << 20

// sweepEvery is how often the memory is looked through for what is over.
const sweepEvery = time.Hour

func newSignedIn() *signedIn { return &signedIn{by: map[auth.TokenSession]signIn{}} }

// put remembers a sign-in, or that its token was renewed.
func (m *signedIn) put(now time.Time, id auth.TokenSession, s signIn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.swept) >= sweepEvery || len(m.by) >= maxSignedIn {
		m.swept = now
		for k, old := range m.by {
			if !old.until.IsZero() && old.until.Before(now) {
				delete(m.by, k)
			}
		}
	}
	for k := range m.by {
		if len(m.by) < maxSignedIn {
			break
		}
		delete(m.by, k) // somebody must sign in again
	}
	m.by[id] = s
}

// get finds a sign-in.
func (m *signedIn) get(id auth.TokenSession) (signIn, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.by[id]
	return s, ok
}

// forget ends a sign-in: its token is good no more.
func (m *signedIn) forget(id auth.TokenSession) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.by, id)
}
