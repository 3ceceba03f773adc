package endpoint

import (
	"context"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/mss"
	"github.com/adit-vpn/adit/ovpn/pmtud"
	"github.com/adit-vpn/adit/platform/udp"
)

// TCP inside is fitted to what the path to each client carries (package pmtud), for clients that do not see to that
// themselves: openvpn's forbid routers to cut what they send. Until a client answers, TCP
// is fitted to what nearly every path carries; one that never does is believed to have a path for mssfix.

// discoverPath begins to look for the largest packet that passes, unless that is under way. Only on run's
// goroutine.
func (p *peer) discoverPath(data *ovpn.Data) {
	cfg := &p.gen.Load().cfg
	most := min(cfg.Mssfix, pmtud.Most)
	if p.stream || most == 0 || cfg.Legacy.Fragment > 0 || p.searching {
		return
	}
	p.searching = true
	at := p.path.Load()
	p.fitTo(min(pmtud.Base, most))
	ctx, cancel := context.WithCancel(p.ctx)
	p.endSearch = cancel
	p.searches.Go(func() {
		defer cancel()
		if !mayAsk(ctx, data) {
			return
		}
		headers := mss.Headers(at.from.Addr(), false)
		largest, err := pmtud.Search(ctx, pathTo{p}, data, most, headers)
		if err != nil {
			return
		}
		p.onRun(ctx, func(_ time.Time, s *ovpn.Session) error {
			p.searching = false
			if now := p.path.Load(); !now.same(at.from, at.local) { // it has moved meanwhile
				p.discoverPath(data)
				return nil
			}
			if largest > 0 && largest < most {
				p.server.log.Info("the path to a client loses large packets; TCP is fitted to it",
					"connection", p.name, "from", at.from.String(), "largest", largest, "wanted", most)
			}
			p.fitTo(largest)
			return nil
		})
	})
}

// keyPoll is how often to look whether the client has its keys.
const keyPoll = 50 * time.Millisecond

// mayAsk waits until the client has the keys to read what it is asked; false when ctx ended.
func mayAsk(ctx context.Context, data *ovpn.Data) bool {
	t := time.NewTicker(keyPoll)
	defer t.Stop()
	for data.LoadRequest(time.Now(), pmtud.Base, 0) == nil {
		select {
		case <-t.C:
		case <-ctx.Done():
			return false
		}
	}
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
	default: // it is busy: the old result stays
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
