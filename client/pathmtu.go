package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/mss"
)

// A path may carry smaller packets than its ends believe, and the router that loses the others may be
// kept from saying so: what is small passes, and each download stands still. So the client asks the
// server for datagrams of several sizes, by a datagram that has the size itself (packetization layer
// path MTU discovery, RFC 8899), and fits the tunnel to the largest that came:
//  1. from the beginning TCP inside is fitted to a size that nearly every path carries
//  2. the size that is wished for is tried; in most networks it passes, and that was all: two round trips
//  3. else the largest is searched for; the TUN's MTU and TCP's segments follow it
//  4. from time to time, and in another network, all of it begins anew
//
// A server that never answers (not each has openvpn's OCC messages) gets what the profile says, as from openvpn.
// In any case routers may cut our datagrams (udp.Conn), so that what we send gets through without all this
// where fragments do.

const (
	pathBase     = 1280             // bytes of a packet that nearly every path carries (IPv6 demands it)
	pathMost     = 1500             // larger ones are not tried
	pathTries    = 3                // of one size until it counts as lost (RFC 8899, MAX_PROBES)
	pathAgain    = 10 * time.Minute // (RFC 8899, PMTU_RAISE_TIMER)
	pathFirst    = 400 * time.Millisecond
	pathLeast    = 200 * time.Millisecond // that an answer is waited for
	pathSlack    = 64                     // bytes that a peer may send beyond what it is asked for (openvpn: 32)
	pathShort    = 128                    // bytes that it may send less (openvpn 2.4: 97); see ovpn.Data.Loads
	pathDistance = 40                     // least distance of two sizes, bytes
)

// search finds the largest packet that arrives. It does not know how they are sent, nor the time.
type search struct {
	sizes []int // of packets outside in bytes, from the one that is wished for downwards
	base  int   // index of the first to try when that is lost
	good  int   // index of the largest that arrived; len(sizes) for none
	bad   int   // index of the smallest that was lost; -1 for none
	at    int   // index of the one being tried
	tries int   // of it that got no answer
	// offset is what must be asked for beyond a size to get that, bytes, once an answer told.
	offset  int
	counted bool
}

// newSearch begins with packets of most bytes.
func newSearch(most int) *search {
	sizes := []int{most}
	for _, n := range []int{1452, 1400, 1360, 1320, pathBase, 1240, 1200, 1100, 1000, 900, 800, 700, 576} {
		if n <= most-pathDistance {
			sizes = append(sizes, n)
		}
	}
	s := &search{sizes: sizes, good: len(sizes), bad: -1}
	// Far enough from the first size that its answers are not mistaken for this one's.
	s.base = slices.IndexFunc(sizes, func(n int) bool { return n <= min(pathBase, most-3*pathSlack) })
	if s.base < 0 {
		s.base = len(sizes) - 1
	}
	return s
}

// size is what to try now; 0 when the search is over.
func (s *search) size() int {
	switch {
	case s.good <= s.bad+1:
		return 0
	case s.bad < 0:
		s.at = 0
	case s.good < len(s.sizes):
		s.at = (s.good + s.bad) / 2
	case s.bad < s.base:
		s.at = s.base
	default:
		s.at = len(s.sizes) - 1
	}
	return s.sizes[s.at]
}

// ask is what to ask the peer for so that it sends a datagram of size bytes; less before it is known how it counts.
func (s *search) ask(size int) int {
	if !s.counted {
		return size - pathSlack
	}
	return size + s.offset
}

// answer takes the size of a datagram that came where one of size bytes was wanted, and says whether that
// was news. The first answer only tells how the peer counts.
func (s *search) answer(size, got int) bool {
	if !s.counted {
		s.offset = size - pathSlack - got
		s.counted = s.offset >= -pathSlack && s.offset <= pathShort
		return s.counted
	}
	if off := size - got; max(off, -off) >= pathDistance/2 {
		return false // late, for another size
	}
	s.good, s.tries = s.at, 0
	return true
}

// lost notes that a try got no answer; final says that another one is of no use.
func (s *search) lost(final bool) {
	if s.tries++; s.tries == pathTries || final {
		s.bad, s.tries = s.at, 0
	}
}

// largest is the largest packet that arrived; 0 when none did.
func (s *search) largest() int {
	if s.good == len(s.sizes) {
		return 0
	}
	return s.sizes[s.good]
}

// measurable is a link whose datagrams' sizes matter: not a stream's.
type measurable interface {
	link
	// whole sends one datagram, which arrives in one piece or not at all.
	whole(packet []byte) error
	// mtu is the largest packet that the system believes to pass, 0 for unknown.
	mtu() int
}

// measure prepares for discover: until an answer comes, TCP inside is fitted to what nearly every path carries. It
// says whether there is anything to discover; not where the profile sets no limit for TCP or cuts packets itself.
func (a *running) measure(data *ovpn.Data) bool {
	l, ok := a.link.(measurable)
	f := a.c.remotes.current().fit
	a.pathMTU, a.packets = 0, 0
	a.c.pathMTU = 0
	a.c.setRoom(0)
	if !ok || f.size == 0 || data.LoadRequest(time.Now(), pathBase, 0) == nil {
		return false
	}
	a.wanted = min(f.outer(data.Overhead(), a.headers(), l.gap()), pathMost)
	if n := l.mtu(); n > 0 && f.of == "fixed" {
		a.wanted = min(a.wanted, n) // the profile accepts fragments
	}
	a.packets = min(pathBase, a.wanted)
	return true
}

// headers is how many bytes our packets outside have in front of what we send.
func (a *running) headers() int { return mss.Headers(a.address.Addr(), a.streams()) }

// discover searches for the largest packet until the attempt ends.
func (a *running) discover(ctx context.Context, data *ovpn.Data) {
	l := a.link.(measurable)
	again := time.NewTimer(pathAgain)
	defer again.Stop()
	for {
		most := a.wanted
		if n := l.mtu(); n > 0 {
			most = min(most, n)
		}
		s := newSearch(most)
		if !a.run(ctx, s, l, data) || !a.ask(func(_ time.Time, session *ovpn.Session) error {
			return a.measured(ctx, session, s.largest(), most)
		}) {
			return
		}
		again.Reset(pathAgain)
		select {
		case <-again.C:
		case <-a.elsewhere:
			if !a.ask(func(_ time.Time, session *ovpn.Session) error {
				return a.fitTo(ctx, session, 0, min(pathBase, a.wanted))
			}) {
				return
			}
		case <-ctx.Done():
			return
		case <-a.ended:
			return
		}
	}
}

// run makes one search. It says false when the attempt ended.
func (a *running) run(ctx context.Context, s *search, l measurable, data *ovpn.Data) bool {
	headers := a.headers() + l.gap()
	patience := time.Duration(0) // for an answer, once one came
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for size := s.size(); size > 0; size = s.size() {
		if n := l.mtu(); n > 0 && n < size { // a router did complain
			s.lost(true)
			continue
		}
		asked := size - headers
		request := data.LoadRequest(time.Now(), asked, s.ask(asked))
		if request == nil {
			s.lost(true)
			continue
		}
		if err := l.whole(request); errors.Is(err, errors.ErrUnsupported) {
			s.lost(true)
			continue
		}
		begin, wait := time.Now(), patience
		if wait == 0 {
			wait = pathFirst * time.Duration(1+s.tries)
		}
		timer.Reset(wait)
		for waiting := true; waiting; {
			select {
			case got := <-data.Loads():
				if s.answer(asked, got) {
					patience = max(pathLeast, 3*time.Since(begin))
					waiting = false
				}
			case <-timer.C:
				s.lost(false)
				waiting = false
			case <-ctx.Done():
				return false
			case <-a.ended:
				return false
			}
		}
	}
	return true
}

// measured takes what a search from most downwards has found: the largest packet that passes, 0 for no answer.
func (a *running) measured(ctx context.Context, s *ovpn.Session, largest, most int) error {
	log := a.c.log
	switch {
	case largest == 0 && a.pathMTU > 0:
		return nil // it did answer before: a moment of loss
	case largest == 0:
		log.Debug("the server does not say which packets arrive; they are fitted to the profile", "largest", most)
		return a.fitTo(ctx, s, 0, most)
	case largest < most && largest != a.pathMTU:
		log.Warn("the path to the server loses large packets; the tunnel is fitted to it", "largest", largest, "wanted", most)
	case largest == a.wanted && a.pathMTU > 0 && a.pathMTU < largest:
		log.Info("the path to the server carries large packets again", "largest", largest)
	}
	return a.fitTo(ctx, s, largest, largest)
}

// fitTo makes the tunnel suit a path that carries packets of so many bytes. Known is what was found out: it is
// shown, and the TUN's MTU follows it; with 0 that is as the server wishes.
func (a *running) fitTo(ctx context.Context, s *ovpn.Session, known, packets int) error {
	c := a.c
	if known == a.pathMTU && packets == a.packets {
		return nil
	}
	a.pathMTU, a.packets, c.pathMTU = known, packets, known
	room := 0
	if known > 0 && known < a.wanted {
		room = a.room(s.Data(), known)
	}
	if c.setRoom(room) {
		if _, err := c.refresh(ctx); err != nil {
			return err
		}
	}
	c.status.Tunnel.PathMTU = known
	c.carry(a.path(s, c.reply))
	c.publish(c.status)
	return nil
}

// room is the largest packet inside whose datagram makes a packet outside of so many bytes.
func (a *running) room(data *ovpn.Data, packet int) int {
	return data.Payload(packet - a.headers() - a.link.gap())
}

// setRoom sets the largest packet inside that the path outside carries, 0 for any; it says whether the plan
// must be made anew.
func (c *connection) setRoom(bytes int) bool {
	if bytes == 0 && c.room > 0 {
		bytes = c.mtu // as the TUN was opened
	}
	was := c.room
	c.room = bytes
	return was != bytes
}
