package client

import (
	"crypto/rand"
	"sync"

	"github.com/adit-vpn/adit/client/api"
)

// desk is where a connection's one open question meets its answer. The connection opens and closes
// it; anybody may answer, once. The zero value has no question. Safe for concurrent use.
type desk struct {
	mu      sync.Mutex
	id      string // of the open question; empty: none
	answers chan api.Answer
}

// open begins a question, instead of one that may be open. The channel brings at most one answer.
func (d *desk) open() (id string, answers <-chan api.Answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.id, d.answers = rand.Text(), make(chan api.Answer, 1)
	return d.id, d.answers
}

// close ends the question; a later answer is refused.
func (d *desk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.id = ""
}

// answer hands a to whoever asked. It never blocks. The error, a *api.Problem, says that the
// question is not open any more.
func (d *desk) answer(a api.Answer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.id == "" || a.ID != d.id {
		return api.NewProblem(api.CodeQuestionGone, nil)
	}
	d.id = ""
	d.answers <- a // there is room for one, and the next finds no question
	return nil
}
