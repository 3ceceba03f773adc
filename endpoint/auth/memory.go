package auth

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth/radius"
	"github.com/adit-vpn/adit/ovpn/push"
)

// Memory is what a Directory must not forget when the configuration is read again: the codes
// that were used, and the questions that are open. It keeps no code, only digests. Safe for concurrent use.
type Memory struct {
	mu        sync.Mutex
	used      map[[sha256.Size]byte]time.Time // until when; zero: being judged
	questions map[string]question
}

// question is what a RADIUS server asked of a user whose password was right.
type question struct {
	name   string // as it was typed: the answer must come with the same
	person person
	state  *radius.State
	until  time.Time
}

// reuse is how long a code cannot be used again. Servers take one for the whole time that
// it is shown, and some for the intervals before and after: 90 seconds.
const reuse = 90 * time.Second

const maxQuestions = 1000

// NewMemory makes an empty one.
func NewMemory() *Memory {
	return &Memory{used: map[[sha256.Size]byte]time.Time{}, questions: map[string]question{}}
}

// take reserves a user's code; ok is false when it was used, or is being judged for another
// session. done must be called with what became of it.
func (m *Memory) take(sid string, code push.Secret, now time.Time) (done func(accepted bool, now time.Time), ok bool) {
	key := sha256.Sum256([]byte(sid + "\x00" + string(code)))
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, until := range m.used {
		if !until.IsZero() && !now.Before(until) {
			delete(m.used, k)
		}
	}
	if _, there := m.used[key]; there {
		return nil, false
	}
	m.used[key] = time.Time{}
	return func(accepted bool, now time.Time) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if accepted {
			m.used[key] = now.Add(reuse)
		} else {
			delete(m.used, key)
		}
	}, true
}

// ask keeps an open question; false when there are too many.
func (m *Memory) ask(id string, q question, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, old := range m.questions {
		if !now.Before(old.until) {
			delete(m.questions, k)
		}
	}
	if len(m.questions) >= maxQuestions {
		return false
	}
	m.questions[id] = q
	return true
}

// answered takes a question back, if it was asked of this user and is not too old. It can be
// answered once.
func (m *Memory) answered(id, name string, now time.Time) (question, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q, ok := m.questions[id]
	if !ok || q.name != name {
		return question{}, false
	}
	delete(m.questions, id)
	return q, now.Before(q.until)
}
