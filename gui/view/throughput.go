package view

import (
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// quiet is how long after the newest counters their next change may take: the service tells them once a
// second while they move.
const quiet = 2500 * time.Millisecond

// meter makes a graph of one tunnel's counters. The service tells counters only when they have moved, so a
// second without news is one without traffic, as long as the service is being listened to.
type meter struct {
	since time.Time // the connection's Since: another one is another session
	last  api.Counters
	at    time.Time // of last
	// spans are what is known, oldest first; they cover no more than the graph.
	spans []span
}

// span is a stretch of time in which so many bytes went through. It is never empty.
type span struct {
	from, to time.Time
	rx, tx   float64 // bytes
}

// count takes counters that have just arrived. Those of another session begin anew.
func (m *meter) count(now, since time.Time, c api.Counters) {
	back := c.RxBytes < m.last.RxBytes || c.TxBytes < m.last.TxBytes
	switch {
	case back || !since.Equal(m.since):
		*m = meter{since: since, last: c, at: now}
		return
	case m.at.IsZero(): // after a gap
		m.last, m.at = c, now
		return
	}
	if c == m.last || !now.After(m.at) {
		return
	}
	from := m.at
	if now.Sub(from) > quiet { // nothing moved until a second ago
		m.add(span{from: from, to: now.Add(-time.Second)}, now)
		from = now.Add(-time.Second)
	}
	m.add(span{from, now, float64(c.RxBytes - m.last.RxBytes), float64(c.TxBytes - m.last.TxBytes)}, now)
	m.last, m.at = c, now
}

// gap forgets the counters, but not the graph: nobody knows what went through until they are told again.
func (m *meter) gap() { m.at = time.Time{} }

func (m *meter) add(s span, now time.Time) {
	old := now.Add(-(samples + 2) * time.Second)
	for len(m.spans) > 0 && m.spans[0].to.Before(old) {
		m.spans = m.spans[1:]
	}
	m.spans = append(m.spans, s)
}

// graph returns the last two minutes' whole seconds. The newest second is left out: its counters may still be
// on their way.
func (m *meter) graph(now time.Time) (out [samples]Sample) {
	spans := m.spans
	if !m.at.IsZero() && now.Sub(m.at) > quiet { // still listened to, and nothing moved
		spans = append(spans[:len(spans):len(spans)], span{from: m.at, to: now})
	}
	end := now.Truncate(time.Second).Add(-time.Second)
	begin := end.Add(-samples * time.Second)
	var known [samples]time.Duration
	for _, s := range spans {
		for i := max(0, int(s.from.Sub(begin)/time.Second)); i < samples; i++ {
			from := begin.Add(time.Duration(i) * time.Second)
			if !from.Before(s.to) {
				break
			}
			to := from.Add(time.Second)
			if from.Before(s.from) {
				from = s.from
			}
			if to.After(s.to) {
				to = s.to
			}
			if !to.After(from) {
				continue
			}
			part := float64(to.Sub(from)) / float64(s.to.Sub(s.from))
			known[i] += to.Sub(from)
			out[i].Rx += s.rx * part * 8
			out[i].Tx += s.tx * part * 8
		}
	}
	for i := range out {
		if known[i] < time.Second/2 {
			out[i] = Sample{}
			continue
		}
		scale := float64(time.Second) / float64(known[i])
		out[i] = Sample{Known: true, Rx: out[i].Rx * scale, Tx: out[i].Tx * scale}
	}
	return out
}
