package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"math"
	"sync"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Guessing: a user has maxAttempts, of which attemptEvery gives back one. A code of six digits, three of
// which are good at a time, lasts for months at that rate, and whoever mistypes waits for a minute.
const (
	maxAttempts  = 10
	attemptEvery = time.Minute
)

// Attempts is what must not be forgotten when the file of users is read again: up to where each user's
// one-time codes were used (RFC 6238 §5.2 wants each to be good once), and how often somebody was wrong.
// It knows users of files only, and at most some 2 * maxUsers. Safe for concurrent use; the zero value is empty.
type Attempts struct {
	mu     sync.Mutex
	key    [sha256.Size]byte // of digests
	byName map[string]*attempts
}

// attempts are one user's.
type attempts struct {
	used     bool
	step     uint64    // up to which codes were used, if any was
	left     float64   // attempts, at since
	since    time.Time // zero before the first
	mistaken [sha256.Size]byte
}

// of finds or makes the entry of a user. Under mu.
func (a *Attempts) of(name string) *attempts {
	if a.byName == nil {
		rand.Read(a.key[:])
		a.byName = map[string]*attempts{}
	}
	if a.byName[name] == nil {
		a.byName[name] = &attempts{left: maxAttempts}
	}
	return a.byName[name]
}

// begin takes one attempt before the credentials are judged, so that many at the same time are not more; or
// it says how long the next one is away, and nothing may be judged.
func (a *Attempts) begin(name string, now time.Time) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.byName) >= 2*maxUsers { // of several files, one after the other
		for name, e := range a.byName {
			if now.Sub(e.since) >= maxAttempts*attemptEvery { // all attempts are back, and the codes are old
				delete(a.byName, name)
			}
		}
	}
	e := a.of(name)
	if past := now.Sub(e.since); past > 0 { // not when the clock was set back
		e.left = min(maxAttempts, e.left+float64(past)/float64(attemptEvery))
	}
	e.since = now
	if e.left < 1 {
		return time.Duration(math.Ceil((1 - e.left) * float64(attemptEvery)))
	}
	e.left--
	return 0
}

// spare gives an attempt back that was no guess.
func (a *Attempts) spare(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.of(name)
	e.left = min(maxAttempts, e.left+1)
}

// wrongPassword gives the attempt back when the same password was wrong the last time: a client that goes
// on trying what it has saved learns nothing, and does not shut its user out.
func (a *Attempts) wrongPassword(name string, password push.Secret) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.of(name)
	m := hmac.New(sha256.New, a.key[:])
	m.Write([]byte(password))
	if d := [sha256.Size]byte(m.Sum(nil)); d == e.mistaken {
		e.left = min(maxAttempts, e.left+1)
	} else {
		e.mistaken = d
	}
}

// succeeded gives all attempts back.
func (a *Attempts) succeeded(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of(name).left = maxAttempts
}

// take uses the code of an interval, or says that it, or a later one, was used already.
func (a *Attempts) take(name string, step uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.of(name)
	if e.used && step <= e.step {
		return false
	}
	e.used, e.step = true, step
	return true
}
