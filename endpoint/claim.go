package endpoint

import (
	"slices"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn"
)

// A client that comes back (from another network, after a crash) finds its old session still
// there, and with it the tunnel address on which its connections inside stand. Several clients may
// have one certificate, as AWS allows (openvpn: duplicate-cn), so the name proves nothing, and
// neither does the address outside: an office has one for all. A session of another client must
// never end because that client's network stood still for a while. So an old session gives its
// address away only
//   - when both clients say that they are on the same machine (UV_ID or IV_HWADDR, which
//     push-peer-info sends), and it gives no sign of life when it is asked for one, or
//   - when the new client came with its authentication token, which no other client has, or
//   - when it has been silent for as long as makes a client give its session up itself, and
//     still gives none when it is asked: the endpoint may have been the one who slept.
//
// Whoever is on a machine of his own, and says so, is left alone in any case.

const (
	// claimTime is how long an old session may take to answer: three of the pings that it was
	// told to send.
	claimTime = 3 * ping
	claimPoll = 50 * time.Millisecond
	// maxRivals is how many old sessions are asked, those first that are silent longest: a
	// certificate that many share does not make every sign-in a flood.
	maxRivals = 8
)

// machineOf is what tells a client's machine from others; "" when it does not say. A person's choice
// (setenv UV_ID) comes before a hardware address, of which a machine may have several.
func machineOf(info map[string]string) string {
	for _, name := range []string{"UV_ID", "IV_HWADDR"} {
		if v := info[name]; v != "" {
			return name + "=" + v
		}
	}
	return ""
}

// signedInAs says whether p's client came with the token of q's. Only when both have a status.
func (p *peer) signedInAs(q *peer) bool {
	id := p.status.Load().session
	return id != auth.TokenSession{} && id == q.status.Load().session
}

// heard is when p's client last gave an authentic sign of life. Only when p has a status.
func (p *peer) heard() time.Time {
	since, opened := p.status.Load().since, p.data.LastOpened()
	if opened.After(since) {
		return opened
	}
	return since
}

// left says whether old, a session at an address from which p's client was heard at now, may be one that this client has left. Several may
// share a certificate, and addresses are forged by whoever wants another one out, so the name is not enough. Only when both have a status.
func (p *peer) left(old *peer, now time.Time) bool {
	me, was := p.status.Load(), old.status.Load()
	if me.identity.Name() != was.identity.Name() {
		return false
	}
	return me.machine != "" && me.machine == was.machine || p.signedInAs(old) || now.Sub(old.heard()) >= claimTime
}

// rivals are the established sessions that p's client may have left behind.
func (ps *peers) rivals(now time.Time, p *peer) (out []*peer) {
	me, pool := p.status.Load(), p.gen.Load().pool
	same := func(q *peer) bool {
		return me.machine != "" && q.status.Load().machine == me.machine || p.signedInAs(q)
	}
	for _, q := range ps.namesakes(me.identity.Name()) {
		st := q.status.Load()
		if q == p || st == nil || ps.byID(q.id) != q || q.gen.Load().pool != pool {
			continue
		}
		others := me.machine != "" && st.machine != "" && me.machine != st.machine
		if others || !same(q) && now.Sub(q.heard()) < pingRestart {
			continue
		}
		out = append(out, q)
	}
	slices.SortStableFunc(out, func(a, b *peer) int {
		if same(a) != same(b) {
			if same(a) {
				return -1
			}
			return 1
		}
		return a.heard().Compare(b.heard())
	})
	return out[:min(len(out), maxRivals)]
}

// claim answers the push request, when it is clear whose address the client gets.
func (p *peer) claim(now time.Time, s *ovpn.Session) error {
	rivals := p.server.peers.rivals(now, p)
	if i := slices.IndexFunc(rivals, p.signedInAs); i >= 0 && p.inherit(rivals[i]) {
		rivals[i].end(comeBack+errReplaced.Error(), errReplaced.Error())
		return p.push(now, s)
	}
	for _, q := range rivals {
		select {
		case q.do <- func(_ time.Time, s *ovpn.Session) error { return s.Probe() }:
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
		rivals[0].end(comeBack+errReplaced.Error(), errReplaced.Error())
	}
	return p.push(now, s)
}

// inherit gives p the address of old, which the caller ends, if it is the same client's and
// still old's. Only before p is published.
func (p *peer) inherit(old *peer) bool {
	p.adopting.Lock()
	defer p.adopting.Unlock()
	g, st, was := p.gen.Load(), p.status.Load(), old.status.Load()
	if was.identity.Name() != st.identity.Name() || old.gen.Load().pool != g.pool || !g.layout.serves(was.lease) || p.server.avoided(g)[was.lease.association] || !old.holds.CompareAndSwap(true, false) {
		return false
	}
	p.server.peers.withdraw(old)
	g.pool.release(p.lease, "")
	p.lease = was.lease
	p.access.Store(g.access.of(p.lease.association, st.identity.Groups))
	next := *st
	next.lease = p.lease
	p.status.Store(&next)
	p.server.log.Info("client came back", "connection", p.name, "replaces", old.name, "address", p.lease.Addr.Addr().String())
	return true
}
