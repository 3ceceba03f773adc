package endpoint

import (
	"slices"
	"time"

	"github.com/adit-vpn/adit/ovpn"
)

// A client that comes back (from another network, after a crash) finds its old session still
// there, and with it the tunnel address on which its connections inside stand. Nothing in the
// protocol says which of a certificate's clients it is, and one certificate may have several
// at once. So the old sessions of the identity are asked for a sign of life before the new one
// gets its configuration: all answer within a round trip, or one is dead, and the new session
// continues with its address. (openvpn's server without duplicate-cn replaces the old client unasked.)

const (
	// claimTime is how long an old session may be silent: three of the pings that it was
	// told to send.
	claimTime = 3 * ping
	claimPoll = 50 * time.Millisecond
	// maxRivals is how many old sessions are asked, those first that are silent longest: a
	// certificate that many share does not make every sign-in a flood.
	maxRivals = 8
)

// rivals are the established sessions that p's client may have left behind.
func (ps *peers) rivals(p *peer) (out []*peer) {
	me, pool := p.status.Load(), p.gen.Load().pool
	for _, q := range ps.all() {
		st := q.status.Load()
		if q == p || st == nil || ps.byID(q.id) != q || q.gen.Load().pool != pool || st.identity.Name() != me.identity.Name() {
			continue
		}
		if st.hardware != "" && me.hardware != "" && st.hardware != me.hardware {
			continue // two machines, and both say so
		}
		out = append(out, q)
	}
	slices.SortStableFunc(out, func(a, b *peer) int { return a.data.LastOpened().Compare(b.data.LastOpened()) })
	return out[:min(len(out), maxRivals)]
}

// claim answers the push request, when it is clear whose address the client gets.
func (p *peer) claim(now time.Time, s *ovpn.Session) error {
	rivals := p.server.peers.rivals(p)
	for _, q := range rivals {
		select {
		case q.do <- func(now time.Time, s *ovpn.Session) error { return s.Probe(now) }:
		default: // its pings will tell, too
		}
	}
	return p.await(now, s, now, rivals)
}

// await looks again until no rival is in doubt.
func (p *peer) await(now time.Time, s *ovpn.Session, asked time.Time, rivals []*peer) error {
	rivals = slices.DeleteFunc(rivals, func(q *peer) bool {
		return p.server.peers.byID(q.id) != q || q.data.LastOpened().After(asked)
	})
	if len(rivals) > 0 && now.Sub(asked) < claimTime {
		var again *time.Timer
		look := func(now time.Time, s *ovpn.Session) error { return p.await(now, s, asked, rivals) }
		again = time.AfterFunc(time.Hour, func() {
			select {
			case p.do <- look:
			default:
				again.Reset(claimPoll)
			}
		})
		p.later = again
		again.Reset(claimPoll) // not before it is set
		return nil
	}
	if len(rivals) > 0 && p.inherit(rivals[0]) {
		rivals[0].end("RESTART,"+errReplaced.Error(), errReplaced.Error())
	}
	return p.push(now, s)
}

// inherit gives p the address of old, which the caller ends, if it is the same client's and
// still old's. Only before p is published.
func (p *peer) inherit(old *peer) bool {
	p.adopting.Lock()
	defer p.adopting.Unlock()
	g, st, was := p.gen.Load(), p.status.Load(), old.status.Load()
	if was.identity.Name() != st.identity.Name() || old.gen.Load().pool != g.pool || !old.holds.CompareAndSwap(true, false) {
		return false
	}
	p.server.peers.withdraw(old)
	g.pool.release(p.lease, "")
	p.lease = was.lease
	p.access.Store(g.access[p.lease.association])
	next := *st
	next.lease = p.lease
	p.status.Store(&next)
	p.server.log.Info("client came back", "connection", p.name, "replaces", old.name, "address", p.lease.Addr.Addr().String())
	return true
}
