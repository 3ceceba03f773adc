package endpoint

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/ovpn/framing"
	"github.com/adit-vpn/adit/ovpn/mss"
	"github.com/adit-vpn/adit/platform/udp"
)

// A client whose outer address changes (another network, a NAT that forgot it) goes
// on with its session: DATA_V2 packets name their peer. One that comes from elsewhere is
// opened with that peer's keys; only when it is authentic and not replayed does the client
// move, and both directions with it (openvpn's multi_process_float). Without keys nothing is
// authentic, so nobody moves before the session is established (CVE-2020-11810). UDP only.

// path is where a client is, and what that means for its packets. Immutable.
type path struct {
	from  netip.AddrPort
	local netip.Addr // that the client sends to, which answers come from; zero: the only one, or the system's choice
	conn  udp.Conn   // nil on TCP
	mss   mss.Clamp  // none before there are keys
	since time.Time  // when the packet that came from there was read; zero: it was the first one
}

// same says whether a packet came the usual way.
func (p *path) same(from netip.AddrPort, local netip.Addr) bool {
	return p.from == from && p.local == local
}

// fit makes the path of an established client.
func (p *peer) fit(to path) *path {
	room := p.gen.Load().cfg.Mssfix
	if n := int(p.packets.Load()); n > 0 {
		room = min(room, n)
	}
	room -= mss.Headers(to.from.Addr(), p.stream)
	if p.stream {
		room -= framing.HeaderSize
	}
	to.mss = mss.New(p.data.Payload(room), 0)
	return &to
}

// Bounds of the work for packets from unknown addresses, which anybody can forge:
// so many a second are opened for one peer, and on one listener. The peer's come first: who knows one id alone does not use
// up what is for all.
const (
	triesPerPeer     = 256
	triesPerListener = 4096
)

// budget counts what happens within one second. Safe for concurrent use.
type budget struct{ used atomic.Uint64 } // the second, and the count in the lowest bits

// take counts one more; false means that there were limit of them already, which must fit 16 bits.
func (b *budget) take(now time.Time, limit uint64) bool {
	const count = 16 // bits
	for {
		old, next := b.used.Load(), uint64(now.Unix())<<count
		// Who is a moment behind the others does not begin the last second anew.
		if s := old >> count; s == next>>count || s == next>>count+1 {
			next = old
		}
		if next&(1<<count-1) >= limit {
			return false
		}
		if b.used.CompareAndSwap(old, next+1) {
			return true
		}
	}
}

// float judges a data packet that names p and came from elsewhere, or to another of our
// addresses. False means that it was not even opened. The packet is forwarded when it is
// authentic.
func (s *udpShard) float(now time.Time, p *peer, from netip.AddrPort, local netip.Addr, b []byte) bool {
	if !s.server.gen.Load().cfg.Floating || !p.tries.take(now, triesPerPeer) || !s.listener.tries.take(now, triesPerListener) {
		return false
	}
	s.trial.add(now, p, b)
	if s.trial.flush(now) == 0 {
		return true
	}
	was := p.from()
	replaced, err := s.server.peers.move(p, p.fit(path{from: from, local: local, conn: s.conn, since: now}))
	log := s.server.log.With("connection", p.name, "from", was.String(), "to", from.String())
	switch {
	case errors.Is(err, errGone):
	case err != nil:
		log.Debug("client does not move", "reason", err)
	default:
		level := slog.LevelInfo
		n := p.moves.Add(1)
		if n > maxMovesLogged {
			level = slog.LevelDebug
		}
		if n <= maxMovesSearched {
			p.moved()
		}
		log.Log(context.Background(), level, "client moved")
	}
	if replaced != nil {
		replaced.cancel(errReplaced)
	}
	return true
}

// maxMovesSearched is after how many moves of one session the paths are not looked at any more.
const maxMovesSearched = 1000

// maxMovesLogged is after how many moves of one session the log is quiet about them:
// a client may jump as often as it likes.
const maxMovesLogged = 100

// turnedAway logs that p was not let in.
func (s *Server) turnedAway(p *peer, err error) {
	level := slog.LevelWarn
	if errors.Is(err, errStillTooOften) || errors.Is(err, errStillCrowd) {
		level = slog.LevelDebug
	}
	s.log.Log(context.Background(), level, "client turned away", "from", p.from().String(), "reason", err)
}
