package endpoint

import (
	"container/list"
	"errors"
	"net/netip"
	"time"
)

// Bounds of handshakes that are not finished. Those under way may be many: a whole office comes back
// at once, from one address, when its power does. Those whose client has fallen silent may not: they are what an
// attacker leaves behind.
const (
	maxHalfOpen       = 8192
	maxHalfOpenSource = 6144
	// A client whose packet is lost twice sends it again after 2 and 6 seconds.
	silentAfter     = 8 * time.Second
	maxSilent       = 1024
	maxSilentSource = 256
	// maxSwept is how many that fell silent are looked at for each new handshake: packets of all clients
	// wait meanwhile.
	maxSwept = 16
)

// What the gate answers in 10 seconds, in all and to one source, of clients that do not go on. An answer
// is about as long as the question, so that it gives an attacker nothing; it must be enough for thousands of
// clients that wait for it at the same time. Clients that get a session without a proof have openvpn's limits.
const (
	maxResets       = 8192
	maxResetsSource = 6144
)

var (
	errCrowd      = errors.New("too many handshakes are under way")
	errStillCrowd = errors.New("still too many handshakes are under way")
)

// halfOpen is the handshakes that are not finished. When the endpoint is behind with its work, that is not
// their fault: only the time counts in which they wait for their client. However many there are, each call does
// a bounded amount of work, sweep for maxSwept of them and the others for one or two. It belongs to peers, under its lock.
type halfOpen struct {
	origins map[netip.Prefix]*origin
	all     tally
	silent  tally
	idle    list.List // of *peer that wait for their client, not silent, in the order of since
	refused time.Time // when errCrowd was said last
}

// origin is the handshakes of one source.
type origin struct {
	source netip.Prefix
	peers  [3]list.List // of *peer, by state, oldest first
	all    share
	silent share
}

// waitState is whom a handshake waits for.
type waitState uint8

const (
	stateBusy   waitState = iota // the endpoint
	stateIdle                    // its client
	stateSilent                  // its client, which has not gone on for silentAfter
)

// waiting is a peer's place in halfOpen, which alone uses it.
type waiting struct {
	origin *origin // nil: it is not there
	state  waitState
	at     *list.Element // in origin.peers[state]
	idle   *list.Element // in halfOpen.idle; nil: another state
	since  time.Time     // idle since then
	waited time.Duration // for the client before since, after it went on last
}

func newHalfOpen() halfOpen {
	return halfOpen{origins: map[netip.Prefix]*origin{}, all: newTally(), silent: newTally()}
}

func (h *halfOpen) len() int { return h.all.total }

// add takes one more handshake, or says that its client must come back later. Those that make room are
// handed to evict: who fills the table loses its own places, nobody else's.
func (h *halfOpen) add(now time.Time, p *peer, evict func(*peer)) error {
	h.sweep(now, evict)
	n := 0
	if o := h.origins[p.source]; o != nil {
		n = o.all.n
	}
	if n >= maxHalfOpenSource {
		return h.refuse(now)
	}
	if h.len() >= maxHalfOpen {
		most := h.all.top()
		if n >= most.all.n {
			return h.refuse(now)
		}
		h.evictOldest(most, evict, stateSilent, stateIdle, stateBusy)
	}
	o := h.origins[p.source]
	if o == nil {
		o = &origin{source: p.source}
		h.origins[p.source] = o
	}
	h.all.add(o, &o.all, 1)
	p.waiting = waiting{origin: o}
	h.put(now, p, stateIdle)
	return nil
}

// refuse is the reason for a client that has to come back: errCrowd once in a while, errStillCrowd in between.
func (h *halfOpen) refuse(now time.Time) error {
	if now.Sub(h.refused) < time.Minute {
		return errStillCrowd
	}
	h.refused = now
	return errCrowd
}

// sweep finds some of those that have become silent.
func (h *halfOpen) sweep(now time.Time, evict func(*peer)) {
	for range maxSwept {
		e := h.idle.Front()
		if e == nil {
			return
		}
		p := e.Value.(*peer)
		if now.Sub(p.waiting.since) < silentAfter {
			return
		}
		h.take(p)
		h.fallSilent(now, p, evict)
	}
}

// fallSilent makes p, which is nowhere at the moment, one of the silent. When they are too many, the oldest of a source makes room.
func (h *halfOpen) fallSilent(now time.Time, p *peer, evict func(*peer)) {
	h.put(now, p, stateSilent)
	switch o := p.waiting.origin; {
	case o.silent.n > maxSilentSource:
		h.evictOldest(o, evict, stateSilent)
	case h.silent.total > maxSilent:
		h.evictOldest(h.silent.top(), evict, stateSilent)
	}
}

// evictOldest takes the oldest handshake of a source that is in the first of these states that it has one in.
func (h *halfOpen) evictOldest(o *origin, evict func(*peer), states ...waitState) {
	for _, s := range states {
		if e := o.peers[s].Front(); e != nil {
			p := e.Value.(*peer)
			h.remove(p)
			evict(p)
			return
		}
	}
}

// work says that p waits for the endpoint from now on. Who is silent stays so until its client goes on: packets
// alone, which may be anything, save nobody.
func (h *halfOpen) work(now time.Time, p *peer) {
	w := &p.waiting
	if w.origin == nil || w.state != stateIdle {
		return
	}
	w.waited += now.Sub(w.since)
	h.take(p)
	h.put(now, p, stateBusy)
}

// wait says that p waits for its client from now on, and whether that went on since it did so before. Who sends
// packets but does not go on is silent after twice silentAfter at the latest.
func (h *halfOpen) wait(now time.Time, p *peer, progress bool, evict func(*peer)) {
	w := &p.waiting
	if w.origin == nil {
		return
	}
	if progress {
		w.waited = 0
	} else if w.state == stateSilent {
		return
	}
	h.take(p)
	if w.waited >= silentAfter {
		h.fallSilent(now, p, evict)
		return
	}
	h.put(now, p, stateIdle)
}

// put gives p, which is nowhere at the moment, a place behind the others in a state.
func (h *halfOpen) put(now time.Time, p *peer, s waitState) {
	w := &p.waiting
	w.state, w.at = s, w.origin.peers[s].PushBack(p)
	switch s {
	case stateIdle:
		w.idle, w.since = h.idle.PushBack(p), now
	case stateSilent:
		h.silent.add(w.origin, &w.origin.silent, 1)
	}
}

// take undoes put.
func (h *halfOpen) take(p *peer) {
	w := &p.waiting
	w.origin.peers[w.state].Remove(w.at)
	switch w.at = nil; w.state {
	case stateIdle:
		h.idle.Remove(w.idle)
		w.idle = nil
	case stateSilent:
		h.silent.add(w.origin, &w.origin.silent, -1)
	}
}

// remove takes p out of the handshakes, if it is one.
func (h *halfOpen) remove(p *peer) {
	o := p.waiting.origin
	if o == nil {
		return
	}
	h.take(p)
	p.waiting.origin = nil
	if h.all.add(o, &o.all, -1); o.all.n == 0 {
		delete(h.origins, o.source)
	}
}

// tally knows which source has most of something.
type tally struct {
	total int
	most  int                // that a source has
	by    map[int]*list.List // by how many they have: *origin, none of them empty
}

// share is what one source has of a tally.
type share struct {
	n  int
	at *list.Element // in tally.by[n]; nil: n is 0
}

func newTally() tally { return tally{by: map[int]*list.List{}} }

// add counts one more of o, or with -1 one less. s is o's share of t.
func (t *tally) add(o *origin, s *share, by int) {
	if same := t.by[s.n]; same != nil {
		if same.Remove(s.at); same.Len() == 0 {
			delete(t.by, s.n)
			if t.most == s.n {
				t.most += by // nobody had more, and o has that many now
			}
		}
	}
	t.total += by
	s.n += by
	s.at = nil
	if s.n == 0 {
		return
	}
	if t.by[s.n] == nil {
		t.by[s.n] = list.New()
	}
	s.at = t.by[s.n].PushBack(o)
	t.most = max(t.most, s.n)
}

// top is the source that has most, of several the one that came to it first; nil when there is none.
func (t *tally) top() *origin {
	if t.total == 0 {
		return nil
	}
	return t.by[t.most].Front().Value.(*origin)
}
