package ovpn

import (
	"fmt"
	"slices"
	"time"

	"github.com/pierrec/lz4/v4"
)

// What a datagram carries beside a packet, inside the encryption: the framing of compression,
// which marks whether the packet is compressed (openvpn's comp.h), and outside of that the header of
// fragmentation. We never compress: what an attacker adds to a packet would show
// in its length (VORACLE). Peers may.
const (
	markLZO       = 0x66
	markLZ4       = 0x69
	markPlain     = 0xfa // the packet follows
	markPlainSwap = 0xfb // the packet follows, its first byte moved to the end
	markV2        = 0x50 // second generation; no IP packet begins like this. Then one of:
	markV2Plain   = 0
	markV2LZ4     = 1
)

// maxInner is the longest IP packet, bytes; markRoom is what marks add to one at most.
const (
	maxInner = 1<<16 - 1
	markRoom = 4
)

// framing is how packets are marked.
type framing uint8

const (
	frameNone  framing = iota
	frameFirst         // a mark in front: comp-lzo
	frameSwap          // the same, with the packet's first byte moved to the end: compress
	frameV2            // a mark only where it is needed
)

// framer puts packets into what is encrypted, and takes them out again.
type framer struct {
	framing framing
	lzo     bool // the peer may use LZO
	lz4     bool // … or LZ4
	piece   int  // longest part of a packet in one datagram; 0 means no fragmentation
	packet  int  // longest packet that decompression and fragments may make
}

func newFramer(f dataFormat) (framer, error) {
	r := framer{packet: f.packet}
	if r.packet <= 0 {
		r.packet = maxInner
	}
	switch f.compress {
	case "", "migrate": // a server that migrates tells the client what to use
	case "lzo-no":
		r.framing = frameFirst
	case "lzo":
		r.framing, r.lzo = frameFirst, true
	case "stub":
		r.framing = frameSwap
	case "lz4":
		r.framing, r.lz4 = frameSwap, true
	case "stub-v2":
		r.framing = frameV2
	case "lz4-v2":
		r.framing, r.lz4 = frameV2, true
	default:
		return framer{}, fmt.Errorf("unknown compression framing %q", f.compress)
	}
	if f.fragment > 0 {
		if r.piece = (f.text(f.fragment) - fragmentHeader) &^ 3; r.piece < minPiece {
			return framer{}, fmt.Errorf("fragments of %d bytes leave no room for packets with %s", f.fragment, f.cipher.Name)
		}
		r.piece = min(r.piece, maxPiece)
	}
	return r, nil
}

// idle says that packets are encrypted as they are.
func (f *framer) idle() bool { return f.framing == frameNone && f.piece == 0 }

// mark appends p to b as its framing wants it.
func (f *framer) mark(b, p []byte) []byte {
	switch {
	case len(p) == 0:
	case f.framing == frameFirst:
		return append(append(b, markPlain), p...)
	case f.framing == frameSwap:
		return append(append(append(b, markPlainSwap), p[1:]...), p[0])
	case f.framing == frameV2 && p[0] == markV2:
		b = append(b, markV2, markV2Plain)
	}
	return append(b, p...)
}

// unmark returns the packet of a marked text, in place or, decompressed, in space; false when the
// mark is not one that was agreed on.
func (f *framer) unmark(space *space, text []byte) ([]byte, bool) {
	if len(text) == 0 {
		return text, true
	}
	switch f.framing {
	case frameFirst:
		switch mark, rest := text[0], text[1:]; {
		case mark == markPlain:
			return rest, true
		case mark == markLZO && f.lzo:
			return space.fill(f.packet, rest, lzoDecompress)
		}
		return nil, false
	case frameSwap:
		mark, last := text[0], len(text)-1
		text[0] = text[last]
		switch text = text[:last]; {
		case mark == markPlainSwap:
			return text, true
		case mark == markLZ4 && f.lz4:
			return space.fill(f.packet, text, lz4Decompress)
		}
		return nil, false
	case frameV2:
		if text[0] != markV2 {
			break
		}
		if len(text) < 2 {
			return nil, false
		}
		switch mark, rest := text[1], text[2:]; {
		case mark == markV2Plain:
			return rest, true
		case mark == markV2LZ4 && f.lz4:
			return space.fill(f.packet, rest, lz4Decompress)
		}
		return nil, false
	}
	return text, true
}

// space is memory for the packets of one batch that are longer than the datagrams they came in. The zero value is
// ready.
type space struct{ buf []byte }

// clear makes all of it free again.
func (s *space) clear() { s.buf = s.buf[:0] }

// fill gives work room for at most limit bytes, and returns what it wrote: a few bytes can stand for very many.
func (s *space) fill(limit int, text []byte, work func(out, text []byte) (int, bool)) ([]byte, bool) {
	at := len(s.buf)
	if cap(s.buf)-at < limit {
		// What was given out before keeps its memory.
		s.buf, at = make([]byte, 0, limit+2*cap(s.buf)), 0
	}
	n, ok := work(s.buf[at:at+limit], text)
	if !ok {
		return nil, false
	}
	s.buf = s.buf[:at+n]
	return s.buf[at : at+n : at+n], true
}

// keep copies text.
func (s *space) keep(text []byte) []byte {
	b, _ := s.fill(len(text), text, func(out, text []byte) (int, bool) { return copy(out, text), true })
	return b
}

func lz4Decompress(out, block []byte) (int, bool) {
	n, err := lz4.UncompressBlock(block, out)
	return n, err == nil && n > 0
}

// sealFramed seals one packet with key, as one datagram or as fragments, and appends it and the sizes. A packet
// that takes too many fragments is left out. It is false when the key is used up. The caller holds
// the sealing lock.
func (d *Data) sealFramed(key *dataKey, dst []byte, gap int, peerID uint32, p []byte, sizes []int) ([]byte, []int, bool) {
	f := &key.frame
	// Room for the fragment header comes first. Each later one is written over the end of the piece
	// before, which is sealed by then.
	buf := f.mark(append(d.sealing.frame[:0], make([]byte, fragmentHeader)...), p)
	d.sealing.frame = buf
	text := buf[fragmentHeader:]
	if f.piece == 0 {
		return d.sealText(key, dst, gap, peerID, text, sizes)
	}
	if len(text) <= f.piece {
		putFragment(buf, fragmentWhole, 0, 0, 0)
		return d.sealText(key, dst, gap, peerID, buf, sizes)
	}
	count := (len(text) + f.piece - 1) / f.piece
	if count > maxFragments {
		return dst, sizes, true
	}
	size := ((len(text)+count-1)/count + 3) &^ 3 // alike, so that none is small
	d.sealing.sequence++
	for i := 0; i*size < len(text); i++ {
		kind, end := fragmentMore, (i+1)*size
		if end >= len(text) {
			kind, end = fragmentLast, len(text)
		}
		piece := buf[i*size : fragmentHeader+end]
		putFragment(piece, kind, d.sealing.sequence, i, size)
		var ok bool
		if dst, sizes, ok = d.sealText(key, dst, gap, peerID, piece, sizes); !ok {
			return dst, sizes, false
		}
	}
	return dst, sizes, true
}

// sealText seals one datagram behind a gap and appends its size.
func (d *Data) sealText(key *dataKey, dst []byte, gap int, peerID uint32, text []byte, sizes []int) ([]byte, []int, bool) {
	if cap(dst)-len(dst) < gap+len(text)+MaxOverhead+sealSlack {
		dst = slices.Grow(dst, gap+len(text)+MaxOverhead+sealSlack)
	}
	at := len(dst) + gap
	clear(dst[len(dst):at])
	sealed, ok := key.send.seal(dst[:at], peerID, text)
	if !ok {
		return dst, sizes, false
	}
	return sealed, append(sizes, len(sealed)-at), true
}

// unframe takes the packet out of an authentic text, which is clobbered: nil while fragments are
// missing. It is false for what breaks the framing. The packet is text's memory, or valid until the next
// batch. The caller holds the opening lock.
func (d *Data) unframe(key *dataKey, now time.Time, text []byte) ([]byte, bool) {
	f := &key.frame
	if f.piece > 0 {
		packet, ok := d.opening.fragments.add(now, text, f.packet+markRoom)
		if !ok || packet == nil {
			return nil, ok
		}
		// Another packet of the batch may need the place where pieces were collected.
		text = d.opening.space.keep(packet)
	}
	return f.unmark(&d.opening.space, text)
}
