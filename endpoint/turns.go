package endpoint

import (
	"container/list"
	"context"
	"net/netip"
	"runtime"
	"slices"
	"sync"
)

// turns bounds how many clients' control packets are worked on at a time: TLS handshakes take most of a
// millisecond of a processor each, and thousands of goroutines that are ready to calculate would keep the
// ones waiting that move packets. Who is further along comes first, so that handshakes finish, but for every fourth turn,
// so that who always has work keeps no new client out; then the sources take turns, so that one that sends
// many delays nobody else's. Safe for concurrent use.
type turns struct {
	mu    sync.Mutex
	free  int
	queue [2]sourceQueue // those whose handshake has begun, and the others
	ahead int            // turns that those of the first queue had while others waited
}

// maxAhead is how many turns those whose handshake has begun have before one of the others has his.
const maxAhead = 3

// sourceQueue is who waits for a turn.
type sourceQueue struct {
	order list.List // of *sourceLine
	lines map[netip.Prefix]*list.Element
}

// sourceLine is who waits of one source, oldest first.
type sourceLine struct {
	source netip.Prefix
	turns  []chan struct{} // closed when it is there
}

// handshakeWorkers leaves half of the processors to the packets.
func handshakeWorkers() int { return max(1, runtime.GOMAXPROCS(0)/2) }

func newTurns(n int) *turns {
	t := &turns{free: n}
	for i := range t.queue {
		t.queue[i].lines = map[netip.Prefix]*list.Element{}
	}
	return t
}

// take waits for a turn, which ends with give. False means that ctx ended first.
func (t *turns) take(ctx context.Context, source netip.Prefix, begun bool) bool {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return true
	}
	q := &t.queue[1]
	if begun {
		q = &t.queue[0]
	}
	turn := make(chan struct{})
	q.add(source, turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return true
	case <-ctx.Done():
	}
	t.mu.Lock()
	there := q.remove(source, turn)
	t.mu.Unlock()
	if !there { // it has come meanwhile
		t.give()
	}
	return false
}

// give ends a turn.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	begun, others := &t.queue[0], &t.queue[1]
	var turn chan struct{}
	if t.ahead < maxAhead {
		turn = begun.next()
	}
	switch {
	case turn != nil && others.order.Len() > 0:
		t.ahead++
	case turn == nil:
		t.ahead = 0
		if turn = others.next(); turn == nil {
			turn = begun.next()
		}
	}
	if turn == nil {
		t.free++
		return
	}
	close(turn)
}

// wanted says whether anybody waits for a turn.
func (t *turns) wanted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queue[0].order.Len()+t.queue[1].order.Len() > 0
}

func (q *sourceQueue) add(source netip.Prefix, turn chan struct{}) {
	e := q.lines[source]
	if e == nil {
		e = q.order.PushBack(&sourceLine{source: source})
		q.lines[source] = e
	}
	l := e.Value.(*sourceLine)
	l.turns = append(l.turns, turn)
}

// next takes the oldest of the source whose turn it is; nil when nobody waits.
func (q *sourceQueue) next() chan struct{} {
	e := q.order.Front()
	if e == nil {
		return nil
	}
	l := e.Value.(*sourceLine)
	turn := l.turns[0]
	l.turns = l.turns[1:]
	q.order.MoveToBack(e)
	q.drop(e)
	return turn
}

// remove takes one away that waits no longer; false means that it is not there.
func (q *sourceQueue) remove(source netip.Prefix, turn chan struct{}) bool {
	e := q.lines[source]
	if e == nil {
		return false
	}
	l := e.Value.(*sourceLine)
	i := slices.Index(l.turns, turn)
	if i < 0 {
		return false
	}
	l.turns = slices.Delete(l.turns, i, i+1)
	q.drop(e)
	return true
}

// drop forgets a source of which nobody waits.
func (q *sourceQueue) drop(e *list.Element) {
	if l := e.Value.(*sourceLine); len(l.turns) == 0 {
		q.order.Remove(e)
		delete(q.lines, l.source)
	}
}
