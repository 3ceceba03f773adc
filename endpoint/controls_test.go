package endpoint

import (
	"bytes"
	"fmt"
	"testing"
)

// TestControls: control packets come out as they went in, the first one rings, and what waits is bounded.
func TestControls(t *testing.T) {
	var c controls
	var taken controlPackets
	for round, sizes := range [][]int{{1}, {60, 1200, 0, 14}, {}, {2048, 2048}} {
		for i, size := range sizes {
			packet := bytes.Repeat([]byte{byte(i)}, size)
			if first := c.put(placeOf(i), placeOf(i+1).Addr(), packet); first != (i == 0) {
				t.Errorf("round %d, packet %d: first is %v", round, i, first)
			}
			clear(packet) // it was copied
		}
		taken = c.take(taken)
		var got, want []string
		rest := taken.bytes
		for _, h := range taken.heads {
			got = append(got, fmt.Sprint(h.from, h.local, rest[:h.size]))
			rest = rest[h.size:]
		}
		for i, size := range sizes {
			want = append(want, fmt.Sprint(placeOf(i), placeOf(i+1).Addr(), bytes.Repeat([]byte{byte(i)}, size)))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || len(rest) > 0 {
			t.Errorf("round %d: %v, want %v", round, got, want)
		}
	}
	packet := make([]byte, 1000)
	for range 2 * maxControls / len(packet) {
		c.put(placeOf(0), placeOf(1).Addr(), packet)
	}
	full := c.take(controlPackets{})
	if n := len(full.bytes); n > maxControls || n < maxControls-len(packet) || len(full.heads) != n/len(packet) {
		t.Errorf("%d bytes of %d packets wait", n, len(full.heads))
	}
	c.take(controlPackets{})
	for range 2 * maxControlPackets {
		c.put(placeOf(0), placeOf(1).Addr(), packet[:9])
	}
	if full = c.take(controlPackets{}); len(full.heads) != maxControlPackets {
		t.Errorf("%d tiny packets wait", len(full.heads))
	}
	if c.take(full); cap(c.waiting.bytes) > 0 {
		t.Error("a large buffer is kept")
	}
}

// TestControlsAllocate nothing while there are few.
func TestControlsAllocate(t *testing.T) {
	var c controls
	var taken controlPackets
	packet := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		for range 10 {
			c.put(placeOf(0), placeOf(1).Addr(), packet)
		}
		taken = c.take(taken)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
