package client

import (
	"context"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/mss"
	"github.com/adit-vpn/adit/ovpn/pmtud"
)

// The tunnel is fitted to what the path carries (package pmtud):
//  1. from the beginning TCP inside is fitted to a size that nearly every path carries
//  2. the size that is wished for is tried; in most networks it passes, and that was all: two round trips
//  3. else the largest is searched for; the TUN's MTU and TCP's segments follow it
//  4. from time to time while there is traffic, and in another network, all of it begins anew
//
// A server that never answers (not each has openvpn's OCC messages) gets what the profile says, as from openvpn.
// In any case routers may cut our datagrams (udp.Conn), so that what we send gets through without all this
// where fragments do.

// measurable is a link whose datagrams' sizes matter: not a stream's.
type measurable interface {
	link
	pmtud.Path
}

// measure prepares for discover: until an answer comes, TCP inside is fitted to what nearly every path carries. It
// says whether there is anything to discover; not where the profile sets no limit for TCP or cuts packets itself.
func (a *running) measure(data *ovpn.Data) bool {
	l, ok := a.link.(measurable)
	f := a.c.remotes.current().fit
	a.pathMTU, a.packets = 0, 0
	a.c.pathMTU = 0
	a.c.setRoom(0)
	if !ok || f.size == 0 || data.LoadRequest(time.Now(), pmtud.Base, 0) == nil {
		return false
	}
	a.wanted = min(f.outer(data.Overhead(), a.headers(), l.gap()), pmtud.Most)
	if n := l.PathMTU(); n > 0 && f.of == "fixed" {
		a.wanted = min(a.wanted, n) // the profile accepts fragments
	}
	a.packets = min(pmtud.Base, a.wanted)
	return true
}

// headers is how many bytes our packets outside have in front of what we send.
func (a *running) headers() int { return mss.Headers(a.address.Addr(), a.streams()) }

// discover searches for the largest packet until ctx ends.
func (a *running) discover(ctx context.Context, data *ovpn.Data) {
	l := a.link.(measurable)
	again := time.NewTimer(pmtud.Again)
	defer again.Stop()
	for {
		before := data.Counters().Bytes()
		most := a.wanted
		if n := l.PathMTU(); n > 0 {
			most = min(most, n)
		}
		largest, err := pmtud.Search(ctx, l, data, most, a.headers()+l.gap())
		if err != nil || !a.ask(func(_ time.Time, s *ovpn.Session) error { return a.measured(ctx, s, largest, most) }) {
			return
		}
		// What carries nothing needs no fit, and each answer would keep a server from ending the session for its
		// silence (openvpn's --inactive counts it).
		for waiting := true; waiting; {
			again.Reset(pmtud.Again)
			select {
			case <-again.C:
				waiting = data.Counters().Bytes() == before
			case <-a.elsewhere:
				waiting = false
				if !a.ask(func(_ time.Time, s *ovpn.Session) error { return a.fitTo(ctx, s, 0, min(pmtud.Base, a.wanted)) }) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
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
		if _, err := c.follow(ctx); err != nil {
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
	was := c.room
	c.room = bytes
	return was != bytes
}
