package ovpn

import (
	"slices"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// Rules of the reliability layer (openvpn's reliable.h, ssl_pkt.h).
const (
	sendWindow    = 6  // packets in flight
	receiveWindow = 12 // ids accepted ahead of the next expected one
	carryAcks     = 4  // acks on a packet with payload; some peers drop packets with more
	fastResend    = 3  // later ids acknowledged before a packet is sent again at once
	maxTimeout    = 60 * time.Second
)

// reliable makes one key's control packets arrive in order: it numbers, resends
// and acknowledges. It knows nothing about what is inside. The zero value needs
// timeout set. Not safe for concurrent use.
type reliable struct {
	timeout time.Duration // of the first retransmission
	few     bool          // at most carryAcks on any packet: some old servers drop others

	// Sending.
	nextID  uint32
	flight  []flight // in order of id
	waiting []flight // not yet numbered

	// Receiving.
	expect uint32
	held   map[uint32]held // received ahead of expect
	acks   []uint32        // owed to the peer
	recent []uint32        // sent lately, repeated while there is room in case an ack was lost
}

type flight struct {
	op      wire.Opcode
	id      uint32
	payload []byte
	sent    bool
	due     time.Time
	timeout time.Duration
	passed  int // later ids acknowledged since the last sending
}

type held struct {
	op      wire.Opcode
	payload []byte
}

// queue adds one packet to be sent; payload is kept.
func (r *reliable) queue(op wire.Opcode, payload []byte) {
	r.waiting = append(r.waiting, flight{op: op, payload: payload})
	r.fill()
}

// fill moves waiting packets into the window, which begins with the oldest
// packet in flight: the peer refuses ids far ahead of one that it misses.
func (r *reliable) fill() {
	for len(r.waiting) > 0 && (len(r.flight) == 0 || r.nextID-r.flight[0].id < sendWindow) {
		f := r.waiting[0]
		r.waiting = r.waiting[1:]
		f.id = r.nextID
		r.nextID++
		r.flight = append(r.flight, f)
	}
	if len(r.waiting) == 0 {
		r.waiting = nil // and the payloads
	}
}

// hurry makes everything unconfirmed due after d at the latest, and again after
// twice that, and so on.
func (r *reliable) hurry(now time.Time, d time.Duration) {
	r.timeout = min(r.timeout, d)
	for i := range r.flight {
		if f := &r.flight[i]; f.sent && f.due.After(now.Add(d)) {
			f.timeout, f.due = d, now.Add(d)
		}
	}
}

// acked removes what the peer acknowledges. Unknown ids are old acks: ignored.
func (r *reliable) acked(ids []uint32) {
	for _, id := range ids {
		i := slices.IndexFunc(r.flight, func(f flight) bool { return f.id == id && f.sent })
		if i < 0 {
			continue
		}
		for j := range i {
			r.flight[j].passed++
		}
		r.flight = slices.Delete(r.flight, i, i+1)
	}
	r.fill()
}

// receive takes one packet with an id, keeps a copy of its payload, and says
// whether it was new. Everything but ids beyond the window is acknowledged,
// since a repeated packet means that our ack was lost.
func (r *reliable) receive(op wire.Opcode, id uint32, payload []byte) bool {
	if ahead := id - r.expect; ahead >= receiveWindow && ahead < 1<<31 {
		return false
	}
	if len(payload) > maxPacket {
		return false // a stream could carry it, but no peer sends any as long: it would only fill memory
	}
	if !slices.Contains(r.acks, id) {
		r.acks = append(r.acks, id)
	}
	if id-r.expect >= 1<<31 {
		return false // already delivered
	}
	if _, dup := r.held[id]; dup {
		return false
	}
	if r.held == nil {
		r.held = make(map[uint32]held)
	}
	r.held[id] = held{op, slices.Clone(payload)}
	return true
}

// deliver returns the next packet in order, if it is there.
func (r *reliable) deliver() (wire.Opcode, []byte, bool) {
	h, ok := r.held[r.expect]
	if !ok {
		return 0, nil, false
	}
	if delete(r.held, r.expect); len(r.held) == 0 {
		r.held = nil // most sessions hear nothing more for an hour
	}
	r.expect++
	return h.op, h.payload, true
}

// next returns the packet that is due at now, with acks; ok is false when there
// is none. Op AckV1 carries acks alone.
func (r *reliable) next(now time.Time) (c wire.Control, ok bool) {
	for i := range r.flight {
		f := &r.flight[i]
		switch {
		case !f.sent:
			f.sent, f.timeout = true, r.timeout
		case f.passed >= fastResend:
			f.passed = 0
		case !f.due.After(now):
			f.timeout = min(2*f.timeout, maxTimeout)
		default:
			continue
		}
		f.due = now.Add(f.timeout)
		return wire.Control{Op: f.op, ID: f.id, Payload: f.payload, Acks: r.takeAcks(carryAcks)}, true
	}
	if len(r.acks) > 0 {
		n := wire.MaxAcks
		if r.few {
			n = carryAcks
		}
		return wire.Control{Op: wire.AckV1, Acks: r.takeAcks(n)}, true
	}
	return c, false
}

// takeAcks returns up to n ids: those owed first, then recent ones again.
func (r *reliable) takeAcks(n int) []uint32 {
	k := min(n, len(r.acks))
	out := make([]uint32, 0, n)
	out = append(out, r.acks[:k]...)
	r.acks = r.acks[k:]
	for i := len(r.recent) - 1; i >= 0 && len(out) < n; i-- {
		if !slices.Contains(out, r.recent[i]) {
			out = append(out, r.recent[i])
		}
	}
	for _, id := range out[:k] {
		if i := slices.Index(r.recent, id); i >= 0 {
			r.recent = slices.Delete(r.recent, i, i+1)
		}
		r.recent = append(r.recent, id)
	}
	if extra := len(r.recent) - wire.MaxAcks; extra > 0 {
		r.recent = r.recent[extra:]
	}
	return out
}

// deadline is when next has something; the zero time means never.
func (r *reliable) deadline() time.Time {
	var d time.Time
	for i := range r.flight {
		f := &r.flight[i]
		if !f.sent || f.passed >= fastResend {
			return past
		}
		if d.IsZero() || f.due.Before(d) {
			d = f.due
		}
	}
	return d
}

// empty says that everything sent was acknowledged.
func (r *reliable) empty() bool { return len(r.flight) == 0 && len(r.waiting) == 0 }
