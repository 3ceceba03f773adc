package ovpn

// Bounds of a replay window, in packets (replay-window of the profile).
const (
	defaultReplayWindow = 64
	maxReplayWindow     = 65536
)

// replayWindow remembers which packet ids have been seen: the highest one, and
// one bit for each of the size ids up to it. Older ids count as seen, and so
// does 0, which no sender uses. The zero value is a window of 64 packets. Not safe for
// concurrent use. The idea of clearing whole words is RFC 6479's.
type replayWindow struct {
	top   uint32
	size  uint32
	words []uint64 // a ring of bits, bit id%len; the number of words is a power of two
}

// newReplayWindow returns a window of size packets, at most maxReplayWindow;
// less than 1 means the default.
func newReplayWindow(size int) replayWindow {
	if size < 1 {
		size = defaultReplayWindow
	}
	size = min(size, maxReplayWindow)
	words := 1
	for words*64 < size {
		words *= 2
	}
	return replayWindow{size: uint32(size), words: make([]uint64, words)}
}

// fresh says whether id may still be accepted.
func (w *replayWindow) fresh(id uint32) bool {
	switch {
	case id == 0:
		return false
	case id > w.top:
		return true
	case w.top-id >= w.size:
		return false
	}
	return *w.word(id)&(1<<(id%64)) == 0
}

// accept records id and says whether it was fresh. Call it for authentic packets only.
func (w *replayWindow) accept(id uint32) bool {
	if w.words == nil {
		*w = newReplayWindow(0)
	}
	if !w.fresh(id) {
		return false
	}
	if id > w.top {
		w.advance(id)
	}
	*w.word(id) |= 1 << (id % 64)
	return true
}

// advance makes id the highest and forgets the bits that the ring held for the
// ids that it now stands for.
func (w *replayWindow) advance(id uint32) {
	if id-w.top >= uint32(len(w.words))*64 {
		clear(w.words)
	} else {
		for p := w.top + 1; p != id+1; { // id+1 may wrap to 0
			if p%64 == 0 && id-p >= 63 {
				*w.word(p) = 0
				p += 64
			} else {
				*w.word(p) &^= 1 << (p % 64)
				p++
			}
		}
	}
	w.top = id
}

func (w *replayWindow) word(id uint32) *uint64 {
	return &w.words[id/64%uint32(len(w.words))]
}
