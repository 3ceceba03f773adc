package ovpn

import "time"

// Bounds of a replay window (replay-window of the profile): packets, and how long
// a packet may be late.
const (
	defaultReplayWindow = 64
	maxReplayWindow     = 65536
	defaultReplayTime   = 15 * time.Second
	maxReplayTime       = 600 * time.Second
)

// replayLimit is how far packets may be out of order. The zero value is the default of 64
// packets and 15 s.
type replayLimit struct {
	packets int           // less than 0: none may be missing or late; 0 means 64
	time    time.Duration // less than 0: no limit; 0 means 15 s
}

// replayWindow remembers which packet ids have been seen: the highest one, and one bit for each
// of the size ids up to it. Older ids count as seen, and so do 0, which no sender uses, and those
// whose time is over (openvpn's packet_id.c, packet_id_reap). The zero value is a window of
// 64 packets without a time limit. Not safe for concurrent use. The idea of clearing whole words
// is RFC 6479's.
type replayWindow struct {
	top    uint64
	floor  uint64 // ids up to this one came too long ago
	size   uint64
	words  []uint64 // a ring of bits, bit id%len; the number of words is a power of two
	strict bool     // each id must follow the one before

	limit time.Duration // 0 means none
	marks [8]struct {   // the highest id at earlier times, a ring
		at  time.Time
		top uint64
	}
	next  int       // mark to overwrite
	batch time.Time // of the latest reap
}

// newReplayWindow returns a window of at most maxReplayWindow packets and maxReplayTime.
func newReplayWindow(l replayLimit) replayWindow {
	w := replayWindow{strict: l.packets < 0, limit: min(l.time, maxReplayTime)}
	switch {
	case l.time == 0:
		w.limit = defaultReplayTime
	case l.time < 0 || w.strict:
		w.limit = 0
	}
	size := min(l.packets, maxReplayWindow)
	if size < 1 {
		size = defaultReplayWindow
	}
	words := 1
	for words*64 < size {
		words *= 2
	}
	w.size, w.words = uint64(size), make([]uint64, words)
	return w
}

// fresh says whether id may still be accepted.
func (w *replayWindow) fresh(id uint64) bool {
	switch {
	case id == 0:
		return false
	case w.strict:
		return w.top == 0 || id == w.top+1
	case id > w.top:
		return true
	case w.top-id >= w.size || id <= w.floor:
		return false
	}
	return *w.word(id)&(1<<(id%64)) == 0
}

// accept records id and says whether it was fresh. Call it for authentic packets only.
func (w *replayWindow) accept(id uint64) bool {
	if w.words == nil {
		*w = newReplayWindow(replayLimit{time: -1})
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
func (w *replayWindow) advance(id uint64) {
	if id-w.top >= uint64(len(w.words))*64 {
		clear(w.words)
	} else {
		for p := w.top + 1; p <= id; {
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

func (w *replayWindow) word(id uint64) *uint64 {
	return &w.words[id/64%uint64(len(w.words))]
}

// restart forgets everything: the ids begin again.
func (w *replayWindow) restart() {
	clear(w.words)
	w.top, w.floor = 0, 0
	clear(w.marks[:])
}

// reap forgets what came longer than the limit before now: a packet that was overtaken then is
// too late. It is exact to a seventh of the limit, which it never shortens. Call it before each batch.
func (w *replayWindow) reap(now time.Time) {
	if w.limit <= 0 {
		return
	}
	// What is on top came with the last batch, or before.
	before := w.batch
	w.batch = now
	if now.Sub(before) >= w.limit {
		w.floor = w.top
		return
	}
	for i := range w.marks {
		if m := &w.marks[i]; m.top > w.floor && now.Sub(m.at) >= w.limit {
			w.floor = m.top
		}
	}
	if last := &w.marks[(w.next+len(w.marks)-1)%len(w.marks)]; before.Sub(last.at) >= w.limit/time.Duration(len(w.marks)-1) {
		w.marks[w.next].at, w.marks[w.next].top = before, w.top
		w.next = (w.next + 1) % len(w.marks)
	}
}
