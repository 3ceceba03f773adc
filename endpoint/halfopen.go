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

// halfOpen is the handshakes that are not finished. Those that wait for their client are in the order in
// which they began to; when the endpoint is behind with its work, that is not their fault. It belongs to
// peers, under its lock.
type halfOpen struct {
	busy, idle, silent list.List            // of *peer: waiting for the endpoint; for the client; for it since silentAfter
	of, silentOf       map[netip.Prefix]int // how many by source
	refused            time.Time            // when errCrowd was said last
}

func newHalfOpen() halfOpen {
	return halfOpen{of: map[netip.Prefix]int{}, silentOf: map[netip.Prefix]int{}}
}

func (h *halfOpen) len() int { return h.busy.Len() + h.idle.Len() + h.silent.Len() }

// add takes one more handshake, or says that its client must come back later. Those that make room are
// handed to evict: who fills the table loses its own places, nobody else's.
func (h *halfOpen) add(now time.Time, p *peer, evict func(*peer)) error {
	h.sweep(now, evict)
	if h.of[p.source] >= maxHalfOpenSource {
		return h.refuse(now)
	}
	if h.len() >= maxHalfOpen {
		most := p.source
		for source, n := range h.of {
			if n > h.of[most] {
				most = source
			}
		}
		if most == p.source {
			return h.refuse(now)
		}
		h.evictOldest(most, evict, &h.silent, &h.idle, &h.busy)
	}
	p.waiting, p.waitsIn, p.waitsSince = h.idle.PushBack(p), &h.idle, now
	h.of[p.source]++
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

// sweep finds those that have become silent, of which there are too many when the oldest makes room.
func (h *halfOpen) sweep(now time.Time, evict func(*peer)) {
	for e := h.idle.Front(); e != nil; e = h.idle.Front() {
		p := e.Value.(*peer)
		if now.Sub(p.waitsSince) < silentAfter {
			return
		}
		h.put(p, &h.silent)
		switch {
		case h.silentOf[p.source] > maxSilentSource:
			h.evictOldest(p.source, evict, &h.silent)
		case h.silent.Len() > maxSilent:
			most := h.silent.Front().Value.(*peer).source
			for source, n := range h.silentOf {
				if n > h.silentOf[most] {
					most = source
				}
			}
			h.evictOldest(most, evict, &h.silent)
		}
	}
}

// evictOldest takes the oldest handshake of source out of the first list that has one.
func (h *halfOpen) evictOldest(source netip.Prefix, evict func(*peer), lists ...*list.List) {
	for _, l := range lists {
		for e := l.Front(); e != nil; e = e.Next() {
			if p := e.Value.(*peer); p.source == source {
				h.remove(p)
				evict(p)
				return
			}
		}
	}
}

// wait says whom p waits for from now on: its client, or the endpoint.
func (h *halfOpen) wait(now time.Time, p *peer, client bool) {
	if p.waiting == nil {
		return
	}
	p.waitsSince = now
	if client {
		h.put(p, &h.idle)
	} else {
		h.put(p, &h.busy)
	}
}

// put moves p to the end of a list.
func (h *halfOpen) put(p *peer, to *list.List) {
	source := p.source
	h.take(p)
	p.waiting, p.waitsIn = to.PushBack(p), to
	if to == &h.silent {
		h.silentOf[source]++
	}
}

// take takes p out of its list, for another one.
func (h *halfOpen) take(p *peer) {
	p.waitsIn.Remove(p.waiting)
	if p.waitsIn == &h.silent {
		less(h.silentOf, p.source)
	}
	p.waiting, p.waitsIn = nil, nil
}

// remove takes p out of the handshakes, if it is one.
func (h *halfOpen) remove(p *peer) {
	if p.waiting == nil {
		return
	}
	h.take(p)
	less(h.of, p.source)
}

// less counts one less.
func less(counts map[netip.Prefix]int, source netip.Prefix) {
	if counts[source]--; counts[source] == 0 {
		delete(counts, source)
	}
}
