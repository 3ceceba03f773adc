package ovpn

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestReplayWindow(t *testing.T) {
	type step struct {
		id   uint64
		want bool
	}
	for _, c := range []struct {
		name  string
		size  int
		steps []step
	}{
		{"zero is never valid", 64, []step{{0, false}, {1, true}, {0, false}}},
		{"in order", 64, []step{{1, true}, {2, true}, {3, true}, {3, false}, {1, false}}},
		{"start anywhere", 64, []step{{1000, true}, {999, true}, {937, true}, {936, false}}},
		{"reordered", 64, []step{{5, true}, {2, true}, {4, true}, {2, false}, {1, true}, {3, true}, {5, false}}},
		{"edge", 64, []step{{64, true}, {1, true}, {65, true}, {1, false}, {2, true}, {2, false}}},
		{"far jump forgets", 64, []step{{1, true}, {129, true}, {65, false}, {66, true}, {128, true}, {129, false}}},
		{"jump by exactly the ring", 64, []step{{1, true}, {65, true}, {2, true}, {1, false}}},
		{"top", 64, []step{{math.MaxUint32 - 64, true}, {math.MaxUint32, true}, {math.MaxUint32 - 63, true}, {math.MaxUint32 - 64, false}, {math.MaxUint32, false}, {1, false}, {1<<48 - 1, true}, {1<<48 - 64, true}, {1<<48 - 65, false}, {math.MaxUint64, true}}},
		{"one packet", 1, []step{{1, true}, {1, false}, {3, true}, {2, false}, {4, true}}},
		{"not a power of two", 100, []step{{200, true}, {101, true}, {100, false}, {300, true}, {200, false}, {201, true}, {201, false}}},
		{"default", 0, []step{{64, true}, {1, true}, {65, true}, {2, true}, {1, false}}},
		{"largest", 1 << 20, []step{{65536, true}, {1, true}, {65537, true}, {1, false}, {2, true}, {1 << 30, true}, {1<<30 - 65535, true}, {1<<30 - 65536, false}}},
	} {
		w := newReplayWindow(replayLimit{packets: c.size})
		for i, s := range c.steps {
			if fresh := w.fresh(s.id); fresh != s.want {
				t.Errorf("%s: step %d: fresh(%d) = %v", c.name, i, s.id, fresh)
			}
			if got := w.accept(s.id); got != s.want {
				t.Errorf("%s: step %d: accept(%d) = %v", c.name, i, s.id, got)
			}
		}
	}
}

func TestReplayWindowZeroValue(t *testing.T) {
	var w replayWindow
	for i, want := range []bool{true, false} {
		if w.fresh(100) != want || w.accept(100) != want {
			t.Errorf("copy %d of a packet: want %v", i+1, want)
		}
	}
	if !w.accept(37) || w.accept(36) {
		t.Error("the zero value is not 64 packets wide")
	}
}

// naiveWindow is the definition: a set, and how old is too old.
type naiveWindow struct {
	top  uint64
	size uint64
	seen map[uint64]bool
}

func (w *naiveWindow) accept(id uint64) bool {
	if id == 0 || w.seen[id] || id <= w.top && w.top-id >= w.size {
		return false
	}
	w.seen[id] = true
	w.top = max(w.top, id)
	return true
}

func TestReplayWindowRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 63, 64, 65, 128, 1000, 4096, 65536} {
		w, n := newReplayWindow(replayLimit{packets: size}), naiveWindow{size: uint64(size), seen: map[uint64]bool{}}
		for i := range 20000 {
			id := uint64(max(int64(n.top)+int64(r.IntN(8))-int64(r.IntN(2*size+4)), 0))
			if i%100 == 0 {
				id = n.top + uint64(r.IntN(3*size))
			}
			if got, want := w.accept(id), n.accept(id); got != want {
				t.Fatalf("size %d, step %d: accept(%d) with top %d: got %v, want %v", size, i, id, n.top, got, want)
			}
		}
	}
}

func FuzzReplayWindow(f *testing.F) {
	f.Add(uint16(64), []byte{0, 1, 0, 2, 0, 1, 0xff, 0xff})
	f.Add(uint16(100), []byte{0, 200, 0, 1, 0xff, 0x9c, 0x80, 0})
	f.Fuzz(func(t *testing.T, size uint16, deltas []byte) {
		w, n := newReplayWindow(replayLimit{packets: int(size)}), naiveWindow{size: max(uint64(size), 1), seen: map[uint64]bool{}}
		if size == 0 {
			n.size = defaultReplayWindow
		}
		// Each step moves by a signed 16-bit distance from the highest id.
		for ; len(deltas) >= 2; deltas = deltas[2:] {
			id := uint64(max(int64(n.top)+int64(int16(binary.BigEndian.Uint16(deltas))), 0))
			if got, want := w.accept(id), n.accept(id); got != want {
				t.Fatalf("accept(%d) with top %d: got %v, want %v", id, n.top, got, want)
			}
		}
	})
}

func TestReplayWindowTime(t *testing.T) {
	w := newReplayWindow(replayLimit{})
	at := func(seconds float64) time.Time { return dataTime.Add(time.Duration(seconds * float64(time.Second))) }
	take := func(seconds float64, id uint64, want bool) {
		t.Helper()
		w.reap(at(seconds))
		if got := w.accept(id); got != want {
			t.Errorf("packet %d after %v s: %v", id, seconds, got)
		}
	}
	for i := range 10 {
		take(float64(i), uint64(10+2*i), true) // 10, 12 … 28
	}
	take(10, 11, true) // overtaken ten seconds ago
	take(14.9, 13, true)
	take(30, 15, false) // 16 came after three seconds
	take(30, 27, false)
	take(30, 29, true)
	take(30.1, 31, true)
	take(30.2, 30, true)
	// A silence after which everything is late, in one step.
	take(1000, 28, false)
	take(1000, 32, true)

	for _, l := range []replayLimit{{time: -1}, {time: 10000 * time.Second}} {
		w = newReplayWindow(l)
		take(0, 10, true)
		take(599, 9, true)
		take(700, 12, true)
		take(1500, 11, l.time < 0) // the longest limit is 600 s
	}
}

// replay-window 0: what comes must follow.
func TestReplayWindowStrict(t *testing.T) {
	w := newReplayWindow(replayLimit{packets: -1})
	for _, s := range []struct {
		id   uint64
		want bool
	}{{0, false}, {5, true}, {5, false}, {7, false}, {6, true}, {4, false}, {7, true}} {
		if got := w.accept(s.id); got != s.want {
			t.Errorf("packet %d: %v", s.id, got)
		}
	}
}
