package wrap

import (
	"encoding/binary"
	"time"
)

// stampLen is the long form of a packet id: counter and seconds.
const stampLen = 8

// outbound numbers the packets that we send. The seconds are those of the first
// packet and change only when the counter wraps, so that (seconds, counter)
// never goes back or repeats.
type outbound struct {
	next    uint32
	seconds uint32
	started bool
}

// stamp appends the next long-form packet id to b.
func (o *outbound) stamp(b []byte, now time.Time) []byte {
	s := uint32(now.Unix())
	switch {
	case !o.started:
		o.seconds, o.started = s, true
	case o.next == 0: // wrapped; 0 itself is never valid
		o.seconds = max(s, o.seconds+1)
	}
	o.next = max(o.next, 1)
	b = binary.BigEndian.AppendUint32(b, o.next)
	o.next++
	return binary.BigEndian.AppendUint32(b, o.seconds)
}

// inbound refuses what it has seen: a later second starts afresh (a peer that
// forgot its state, such as a stateless server repeating its reply), an earlier
// one is refused, within one second 64 counters may arrive in any order. The
// zero value is ready.
type inbound struct {
	seconds uint32
	top     uint32 // highest counter seen
	seen    uint64 // bit i: top-i was seen
}

// accept records an authentic stamp; false means that it is a replay.
func (w *inbound) accept(stamp []byte) bool {
	id, seconds := binary.BigEndian.Uint32(stamp), binary.BigEndian.Uint32(stamp[4:])
	switch {
	case id == 0 || seconds < w.seconds:
		return false
	case seconds > w.seconds:
		*w = inbound{seconds: seconds, top: id, seen: 1}
	case id > w.top:
		w.seen = w.seen<<(id-w.top) | 1
		w.top = id
	default:
		bit := uint64(1) << (w.top - id) // 0 when too old
		if bit == 0 || w.seen&bit != 0 {
			return false
		}
		w.seen |= bit
	}
	return true
}
