package ovpn

import (
	"encoding/binary"
	"time"
)

// Fragments (openvpn's fragment.h): a packet that is too long travels in pieces of equal length, a
// multiple of four, of which the last may be shorter. Each has a header of 32 bits, from the lowest:
// kind (2), sequence of the packet (8), number of the piece (5), length of the other pieces
// divided by four (14, in the last piece).
const (
	fragmentHeader = 4
	maxFragments   = 32
	maxPiece       = 0x3fff * 4
	minPiece       = 32

	fragmentWhole = 0
	fragmentMore  = 1
	fragmentLast  = 2

	fragmentWindow = 25 // packets that may be incomplete at once
	fragmentTime   = 10 * time.Second
)

func putFragment(b []byte, kind int, sequence uint8, id, size int) {
	h := uint32(kind) | uint32(sequence)<<2 | uint32(id)<<10
	if kind == fragmentLast {
		h |= uint32(size/4) << 15
	}
	binary.BigEndian.PutUint32(b, h)
}

// fragments puts packets together again. The zero value is ready. Not safe for concurrent use.
type fragments struct {
	newest uint8 // sequence
	begun  bool
	slots  []incomplete // by sequence modulo its length, which 256 is a multiple of
}

// incomplete is a packet of which pieces are missing.
type incomplete struct {
	open bool
	size int    // of each piece but the last
	last int    // number of the last piece; -1 while unknown
	seen uint32 // pieces, a bit each
	at   time.Time
	buf  []byte
}

// add takes one text with its header. It returns the whole packet, which is borrowed until the next
// call, or nil while pieces are missing; false for what no sender makes, or a packet longer than limit.
func (f *fragments) add(now time.Time, text []byte, limit int) ([]byte, bool) {
	if len(text) < fragmentHeader {
		return nil, len(text) == 0
	}
	h := binary.BigEndian.Uint32(text)
	text = text[fragmentHeader:]
	kind, sequence, id := h&3, uint8(h>>2), int(h>>10&31)
	size := len(text)
	switch kind {
	case fragmentWhole:
		if sequence != 0 || id != 0 {
			return nil, false
		}
		return text, true
	case fragmentMore:
	case fragmentLast:
		size = int(h>>15&0x3fff) * 4
	default:
		return nil, false
	}
	if size == 0 || size%4 != 0 || len(text) == 0 || len(text) > size || id*size+len(text) > limit {
		return nil, false
	}
	s := f.slot(sequence)
	if !s.open || s.size != size || now.Sub(s.at) >= fragmentTime {
		s.open, s.size, s.last, s.seen = true, size, -1, 0
		s.buf = s.buf[:0]
	}
	switch {
	case kind == fragmentMore && s.last >= 0 && id >= s.last,
		kind == fragmentLast && s.last != id && (s.last >= 0 || s.seen>>id != 0):
		s.open = false // two packets of one sequence, or nonsense
		return nil, false
	case kind == fragmentLast:
		s.last = id
	}
	if end := id*size + len(text); end > len(s.buf) {
		if end > cap(s.buf) {
			s.buf = append(make([]byte, 0, max(end, 2048)), s.buf...)
		}
		s.buf = s.buf[:end]
	}
	copy(s.buf[id*size:], text)
	s.at = now
	s.seen |= 1 << id
	if s.last < 0 || s.seen != uint32(1)<<(s.last+1)-1 {
		return nil, true
	}
	s.open = false
	return s.buf, true
}

// slot finds the place of a packet, and forgets those that are too far from it.
func (f *fragments) slot(sequence uint8) *incomplete {
	const slots = 32 // at least fragmentWindow
	if f.slots == nil {
		f.slots = make([]incomplete, slots)
	}
	ahead := int(int8(sequence - f.newest))
	if !f.begun || ahead >= fragmentWindow || ahead <= -fragmentWindow {
		for i := range f.slots {
			f.slots[i].open = false
		}
		f.newest, f.begun, ahead = sequence, true, 0
	}
	for ; ahead > 0; ahead-- {
		f.newest++
		f.slots[f.newest%slots].open = false
		f.slots[(f.newest-fragmentWindow)%slots].open = false
	}
	return &f.slots[sequence%slots]
}
