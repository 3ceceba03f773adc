package ovpn

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

func TestReplayWindow(t *testing.T) {
	type step struct {
		id   uint32
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
		{"top", 64, []step{{math.MaxUint32 - 64, true}, {math.MaxUint32, true}, {math.MaxUint32 - 63, true}, {math.MaxUint32 - 64, false}, {math.MaxUint32, false}, {1, false}}},
		{"one packet", 1, []step{{1, true}, {1, false}, {3, true}, {2, false}, {4, true}}},
		{"not a power of two", 100, []step{{200, true}, {101, true}, {100, false}, {300, true}, {200, false}, {201, true}, {201, false}}},
		{"default", 0, []step{{64, true}, {1, true}, {65, true}, {2, true}, {1, false}}},
		{"largest", 1 << 20, []step{{65536, true}, {1, true}, {65537, true}, {1, false}, {2, true}, {1 << 30, true}, {1<<30 - 65535, true}, {1<<30 - 65536, false}}},
	} {
		w := newReplayWindow(c.size)
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
	top  uint32
	size uint32
	seen map[uint32]bool
}

func (w *naiveWindow) accept(id uint32) bool {
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
		w, n := newReplayWindow(size), naiveWindow{size: uint32(size), seen: map[uint32]bool{}}
		for i := range 20000 {
			id := n.top + uint32(r.IntN(8)) - uint32(r.IntN(2*size+4))
			if i%100 == 0 {
				id = n.top + uint32(r.IntN(3*size))
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
		w, n := newReplayWindow(int(size)), naiveWindow{size: max(uint32(size), 1), seen: map[uint32]bool{}}
		if size == 0 {
			n.size = defaultReplayWindow
		}
		// Each step moves by a signed 16-bit distance from the highest id.
		for ; len(deltas) >= 2; deltas = deltas[2:] {
			id := n.top + uint32(int32(int16(binary.BigEndian.Uint16(deltas))))
			if got, want := w.accept(id), n.accept(id); got != want {
				t.Fatalf("accept(%d) with top %d: got %v, want %v", id, n.top, got, want)
			}
		}
	})
}
