package endpoint

import (
	"slices"
	"sync"
	"time"
)

// What a connection may be, in AWS's words ("ClientVpnConnectionStatus" of the EC2 API). AWS has failed-to-terminate, too: a
// session here that does not end when it is told to is ended without the client's help.
const (
	StatusActive      = "active"
	StatusTerminating = "terminating"
	StatusTerminated  = "terminated"
)

// Bounds of a History.
const (
	historyTime = time.Hour // how long an ended session is listed, as on AWS
	historySize = 8192      // of them at most: the oldest are forgotten first
)

// History is what stays of sessions that have ended: for an hour who they were, for ever what they moved. Servers of one
// endpoint, one after the other, may share one. Safe for concurrent use.
type History struct {
	now func() time.Time

	mu    sync.Mutex
	ended []Connection // in the order of their ends
	moved moved        // by all that have ended
	// failures count what did not pass, by failedAuthentication and the reasons of package handler.
	failures map[string]uint64
}

// moved is what sessions carried inside, from the client (rx) and to it (tx).
type moved struct{ rxBytes, txBytes, rxPackets, txPackets uint64 }

func (m *moved) add(rxBytes, txBytes, rxPackets, txPackets uint64) {
	m.rxBytes, m.txBytes, m.rxPackets, m.txPackets = m.rxBytes+rxBytes, m.txBytes+txBytes, m.rxPackets+rxPackets, m.txPackets+txPackets
}

// NewHistory is empty. now is the clock.
func NewHistory(now func() time.Time) *History {
	return &History{now: now, failures: map[string]uint64{}}
}

// failed counts a client that did not pass.
func (h *History) failed(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures[why]++
}

// add keeps a session that has ended. With mu held.
func (h *History) add(c Connection) {
	h.moved.add(c.RxBytes, c.TxBytes, c.RxPackets, c.TxPackets)
	// What goes, goes many at a time: a crowd that leaves would else move the list for each.
	if n := h.outdated(); n > historySize/8 {
		h.ended = slices.Delete(h.ended, 0, n)
	}
	h.ended = append(h.ended, c)
}

// outdated is how many of the first are not listed any more: too old, or too many. With mu held.
func (h *History) outdated() int {
	old := h.now().Add(-historyTime)
	n, _ := slices.BinarySearchFunc(h.ended, old, func(c Connection, t time.Time) int {
		if c.Ended.After(t) {
			return 1
		}
		return -1
	})
	return max(n, len(h.ended)-historySize)
}

// Ended lists the sessions that ended within the last hour, the oldest first.
func (h *History) Ended() []Connection {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ended[h.outdated():])
}

// connection is what a client that passed shows of itself; ok is false before. Any goroutine.
func (p *peer) connection() (c Connection, ok bool) {
	st := p.status.Load()
	if st == nil {
		return Connection{}, false
	}
	g, n := p.gen.Load(), p.data.Counters()
	c = Connection{
		ID: p.name, Client: st.identity.Name(), Username: st.identity.Username, Cert: st.identity.CommonName, Status: StatusActive,
		From: p.from().String(), Transport: g.cfg.Transport,
		Address: st.lease.Addr.Addr(), Address6: st.lease.Addr6.Addr(),
		Subnet: st.lease.association, Since: st.since.UTC().Truncate(time.Second),
		Format: p.data.Format(), Key: st.key, Posture: st.posture, RxBytes: n.RxBytes, TxBytes: n.TxBytes, RxPackets: n.RxPackets, TxPackets: n.TxPackets,
	}
	if at := p.evaluated.Load(); at != 0 {
		c.Evaluated = time.Unix(at, 0).UTC()
	}
	if p.terminating.Load() {
		c.Status = StatusTerminating
	}
	return c, true
}

// remember puts a session that has ended into the history. On run's goroutine, once.
func (p *peer) remember(reason string) {
	c, ok := p.connection()
	if !ok {
		return
	}
	h := p.server.history
	h.mu.Lock()
	defer h.mu.Unlock()
	c.Status, c.Ended, c.Reason = StatusTerminated, p.server.leave.Now().UTC().Truncate(time.Second), reason
	h.add(c)
	p.remembered = true
}

// Connections lists the established clients.
func (s *Server) Connections() []Connection {
	return slices.DeleteFunc(s.AllConnections(), func(c Connection) bool { return c.Status == StatusTerminated })
}

// AllConnections lists the established clients, and then those that ended within the last hour, each once.
func (s *Server) AllConnections() []Connection {
	out := []Connection{}
	for _, p := range s.peers.all() {
		if c, ok := p.connection(); ok {
			out = append(out, c)
		}
	}
	// Who ends meanwhile is in the history before it is no peer any more.
	ended := s.history.Ended()
	gone := make(map[string]bool, len(ended))
	for _, c := range ended {
		gone[c.ID] = true
	}
	out = slices.DeleteFunc(out, func(c Connection) bool { return gone[c.ID] })
	return append(out, ended...)
}
