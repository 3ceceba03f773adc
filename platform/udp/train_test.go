package udp

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
)

func TestAppendTrains(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes []int
		want  [][2]int // N, Segment
	}{
		{"one", []int{100}, [][2]int{{100, 0}}},
		{"equal", []int{100, 100, 100}, [][2]int{{300, 100}}},
		{"shorter last", []int{100, 100, 60}, [][2]int{{260, 100}}},
		{"shorter in the middle", []int{100, 60, 100, 100}, [][2]int{{160, 100}, {200, 100}}},
		{"growing", []int{50, 60, 70}, [][2]int{{50, 0}, {60, 0}, {70, 0}}},
		{"too many bytes", []int{30000, 30000, 30000}, [][2]int{{60000, 30000}, {30000, 0}}},
		{"larger than a train", []int{65500}, [][2]int{{65500, 0}}},
	} {
		total := 0
		for _, n := range c.sizes {
			total += n
		}
		buf := make([]byte, total)
		for i := range buf {
			buf[i] = byte(i * 7)
		}
		ms := AppendTrains(nil, netip.AddrPort{}, buf, c.sizes)
		var all []byte
		var got [][2]int
		for _, m := range ms {
			got = append(got, [2]int{m.N, m.Segment})
			all = append(all, m.Buf[:m.N]...)
		}
		if !bytes.Equal(all, buf) {
			t.Errorf("%s: bytes differ", c.name)
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		}
	}
	if ms := AppendTrains(nil, netip.AddrPort{}, make([]byte, 100*10), slices.Repeat([]int{10}, 100)); len(ms) != 2 || ms[0].N != 640 {
		t.Errorf("100 datagrams: %d trains", len(ms))
	}
}
