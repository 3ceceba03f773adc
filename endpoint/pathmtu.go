package endpoint

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/mss"
	"github.com/adit-vpn/adit/ovpn/pmtud"
	"github.com/adit-vpn/adit/platform/udp"
)

// TCP inside is fitted to what the path to each client carries (package pmtud), for clients that do not see to that
// themselves: openvpn's forbid routers to cut what they send. Until a client answers, TCP
// is fitted to what nearly every path carries; one that never does is believed to have a path for mssfix.
// From time to time, and when the client comes from elsewhere, it is asked again: a path changes, and in a
// storm of traffic it looks narrower than it is.

// discovery is what is known of the path to a client. Only run's goroutine uses it.
type discovery struct {
	at       *path  // that it is about; nil: none yet
	largest  int    // the largest packet that passes, bytes; 0: no answer
	carried  uint64 // what the tunnel had carried when the last search began, bytes inside
	running  bool
	searches sync.WaitGroup
	end      context.CancelFunc // ends the last search; nil: there was none
	again    *time.Timer        // nil: not yet. Clients are many: no goroutine waits for it
	due      time.Time          // since when a search waits to begin; zero: none does
	poll     time.Duration      // until the next look whether it may
}

// stop ends a search that is under way, and waits for it.
func (d *discovery) stop() {
	if d.again != nil {
		d.again.Stop()
	}
	if d.end != nil {
		d.end()
		d.searches.Wait()
	}
}

// discoverPath begins to look for the largest packet that passes, unless that is under way. Only on run's
// goroutine.
func (p *peer) discoverPath(data *ovpn.Data) {
	d := &p.discovery
	if p.stream {
		return
	}
	p.discoverAgain()
	cfg := &p.gen.Load().cfg // may be another one the next time
	most := min(cfg.Mssfix, pmtud.Most)
	if most == 0 || cfg.Legacy.Fragment > 0 || d.running {
		return
	}
	at := p.path.Load()
	if d.at == nil || !at.same(d.at.from, d.at.local) {
		d.at, d.largest = at, 0
		p.fitTo(min(pmtud.Base, most))
	}
	if p.postpone(data) {
		return
	}
	d.running, d.carried = true, data.Counters().Bytes()
	ctx, cancel := context.WithCancel(p.ctx)
	d.end = cancel
	d.searches.Go(func() {
		defer cancel()
		largest, err := pmtud.Search(ctx, pathTo{p}, data, most, mss.Headers(at.from.Addr(), false))
		if err != nil {
			return
		}
		p.onRun(ctx, func(time.Time, *ovpn.Session) error {
			d.running = false
			if now := p.path.Load(); !now.same(at.from, at.local) { // it has moved meanwhile
				p.discoverPath(data)
				return nil
			}
			p.discovered(largest, most)
			return nil
		})
	})
}

// discovered takes what a search from most downwards has found: the largest packet that passes, 0 for no answer.
func (p *peer) discovered(largest, most int) {
	d := &p.discovery
	log := p.server.log.With("connection", p.name, "from", d.at.from.String())
	switch {
	case largest == 0 && d.largest > 0:
		return // it did answer before: a moment of loss
	case largest > 0 && largest < most && largest != d.largest:
		log.Info("the path to a client loses large packets; TCP is fitted to it", "largest", largest, "wanted", most)
	case d.largest > 0 && d.largest < largest:
		log.Info("the path to a client carries large packets again", "largest", largest)
	}
	d.largest = largest
	p.fitTo(largest)
}

// discoverAgain sets the timer for the next search. Only on run's goroutine.
func (p *peer) discoverAgain() {
	d := &p.discovery
	if d.again != nil {
		d.again.Reset(pmtud.Again)
		return
	}
	d.again = time.AfterFunc(pmtud.Again, func() {
		p.onRun(p.ctx, func(_ time.Time, s *ovpn.Session) error {
			// What carries nothing needs no fit, and to be asked would keep the client from ending itself (--inactive).
			if d.due.IsZero() && s.Data().Counters().Bytes() == d.carried {
				p.discoverAgain()
			} else {
				p.discoverPath(s.Data())
			}
			return nil
		})
	})
}

// When a search cannot begin at once: for the client's keys it waits a round trip, as the TCP connections that begin
// meanwhile keep their small segments; for others' handshakes longer. And how long for these at most.
const (
	keysPoll       = 2 * time.Millisecond
	turnsPoll      = 50 * time.Millisecond
	lastPoll       = 2 * time.Second
	searchPatience = time.Minute
)

// postpone says whether a search must wait, and sees to it that it begins later: the client needs the keys to read
// what it is asked, and other clients' handshakes are more urgent. Only on run's goroutine.
func (p *peer) postpone(data *ovpn.Data) bool {
	d, now := &p.discovery, p.server.leave.Now()
	if d.due.IsZero() {
		d.due, d.poll = now, keysPoll
	}
	wanted := p.server.turns.wanted() && now.Sub(d.due) <= searchPatience
	if data.Ready() && !wanted {
		d.due = time.Time{}
		return false
	}
	if wanted {
		d.poll = max(d.poll, turnsPoll)
	}
	d.again.Reset(d.poll/2 + rand.N(d.poll)) // who connected in one storm does not ask in another
	d.poll = min(2*d.poll, lastPoll)
	return true
}

// onRun hands f to run's goroutine; it gives up with ctx.
func (p *peer) onRun(ctx context.Context, f func(time.Time, *ovpn.Session) error) {
	select {
	case p.do <- f:
	case <-ctx.Done():
	}
}

// fitTo fits TCP inside to packets outside of so many bytes; 0 for what the configuration says.
func (p *peer) fitTo(packets int) {
	p.packets.Store(int32(packets))
	p.server.peers.measure(p)
}

// moved looks at the path of a client that comes from elsewhere. Any goroutine.
func (p *peer) moved() {
	select {
	case p.do <- func(_ time.Time, s *ovpn.Session) error { p.discoverPath(s.Data()); return nil }:
	default: // it is busy: the old result stays until the timer
	}
}

// pathTo sends whole datagrams to a client, wherever it is.
type pathTo struct{ *peer }

func (to pathTo) WriteWhole(datagram []byte) error {
	t := to.path.Load()
	return t.conn.WriteWhole(udp.Message{Addr: t.from, Local: t.local, Buf: datagram, N: len(datagram)})
}

// PathMTU is not known of one client among many.
func (pathTo) PathMTU() int { return 0 }
