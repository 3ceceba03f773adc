package endpoint

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn/push"
)

// Bounds of sign-ins that ask somebody else. A source is an address, or a /64.
const (
	maxSignins       = 1024 // that wait or run
	maxSigninsSource = 256
	maxChecks        = 256 // that run
	maxChecksSource  = 64
	// signinWait is how long one waits for its turn, authTime how long its check may run: together
	// less than the minute that a handshake may take.
	signinWait = 20 * time.Second
	authTime   = 30 * time.Second
)

var errCrowded = errors.New("too many sign-ins at the same time")

// signins runs the checks that may take long, beside the goroutines of their clients. Sources
// take turns, and none has all places. Of equal credentials one is checked at a time, and a denial is the answer to all of
// them: a client that asks again while it waits does not use up its owner's attempts.
// Safe for concurrent use.
type signins struct {
	secret  [sha256.Size]byte
	running sync.WaitGroup // one for each sign-in

	mu      sync.Mutex
	lines   map[netip.Prefix]*line
	turns   []*line // the lines, that which waits longest for a turn first
	total   int
	checks  int
	checked map[[sha256.Size]byte]bool // what is being checked
}

// line is the sign-ins of one source.
type line struct {
	source  netip.Prefix
	waiting []*signin
	checks  int
}

// signin is one that waits or runs.
type signin struct {
	line   *line
	what   [sha256.Size]byte // digest of the credentials
	turn   chan struct{}     // closed when it may run, or has its answer
	answer auth.Outcome      // that of equal credentials; nil: it runs
}

func newSignins() *signins {
	q := &signins{lines: map[netip.Prefix]*line{}, checked: map[[sha256.Size]byte]bool{}}
	rand.Read(q.secret[:])
	return q
}

// digest is what two equal credentials have in common, and shows nothing of them.
func (q *signins) digest(user string, password push.Secret) (d [sha256.Size]byte) {
	m := hmac.New(sha256.New, q.secret[:])
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(len(user))))
	m.Write([]byte(user))
	m.Write([]byte(password))
	m.Sum(d[:0])
	return d
}

// begin has check run when it is its turn, then answer, both on another goroutine. When ctx ends, so
// does check. It fails with errCrowded when there are too many.
func (q *signins) begin(ctx context.Context, source netip.Prefix, user string, password push.Secret,
	check func(context.Context) (auth.Outcome, error), answer func(auth.Outcome, error)) error {
	s := &signin{what: q.digest(user, password), turn: make(chan struct{})}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[source]
	if l == nil {
		l = &line{source: source}
	}
	if q.total >= maxSignins || len(l.waiting)+l.checks >= maxSigninsSource {
		return errCrowded
	}
	if q.lines[source] == nil {
		q.lines[source] = l
		q.turns = append(q.turns, l)
	}
	s.line = l
	l.waiting = append(l.waiting, s)
	q.total++
	q.next()
	q.running.Go(func() { answer(q.run(ctx, s, check)) })
	return nil
}

// run is one sign-in.
func (q *signins) run(ctx context.Context, s *signin, check func(context.Context) (auth.Outcome, error)) (auth.Outcome, error) {
	late := time.NewTimer(signinWait)
	defer late.Stop()
	var err error
	select {
	case <-s.turn:
	case <-late.C:
		err = errCrowded
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil && q.leave(s) {
		return nil, err
	}
	<-s.turn
	if s.answer != nil {
		return s.answer, nil
	}
	ctx, cancel := context.WithTimeout(ctx, authTime)
	defer cancel()
	outcome, err := check(ctx)
	q.finish(s, outcome)
	return outcome, err
}

// next gives turns to those who can have one. Under mu.
func (q *signins) next() {
	for i := 0; i < len(q.turns) && q.checks < maxChecks; {
		l := q.turns[i]
		at := slices.IndexFunc(l.waiting, func(s *signin) bool { return !q.checked[s.what] })
		if at < 0 || l.checks >= maxChecksSource {
			i++
			continue
		}
		s := l.waiting[at]
		l.waiting = slices.Delete(l.waiting, at, at+1)
		q.checked[s.what] = true
		q.checks++
		l.checks++
		close(s.turn)
		q.turns = append(slices.Delete(q.turns, i, i+1), l)
		i = 0
	}
}

// leave takes s out of its line; false: its turn has come.
func (q *signins) leave(s *signin) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.Index(s.line.waiting, s)
	if at < 0 {
		return false
	}
	q.drop(s.line, at)
	return true
}

// drop takes one out of a line. Under mu.
func (q *signins) drop(l *line, at int) {
	l.waiting = slices.Delete(l.waiting, at, at+1)
	q.total--
	q.tidy(l)
}

// tidy forgets an empty line. Under mu.
func (q *signins) tidy(l *line) {
	if len(l.waiting) == 0 && l.checks == 0 {
		delete(q.lines, l.source)
		q.turns = slices.DeleteFunc(q.turns, func(o *line) bool { return o == l })
	}
}

// finish frees s's place; a denial is the answer to equal credentials, too.
func (q *signins) finish(s *signin, outcome auth.Outcome) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.checked, s.what)
	q.checks--
	s.line.checks--
	q.total--
	q.tidy(s.line)
	if denied, ok := outcome.(auth.Denied); ok {
		for _, l := range slices.Clone(q.turns) {
			for at := len(l.waiting) - 1; at >= 0; at-- {
				if o := l.waiting[at]; o.what == s.what {
					o.answer = denied
					q.drop(l, at)
					close(o.turn)
				}
			}
		}
	}
	q.next()
}
