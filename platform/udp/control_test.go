package udp

import "testing"

func TestControl(t *testing.T) {
	b := appendControl(nil, 17, 2, 4, 1400)
	b = appendControl(b, 17, 103, 2, 900)
	b = appendControl(b, 41, 3, 4, 7)
	if want := controlSpace(4)*2 + controlSpace(2); len(b) != want {
		t.Errorf("%d bytes, want %d", len(b), want)
	}
	for _, c := range []struct {
		level, kind int32
		want        uint32
	}{{17, 2, 1400}, {17, 103, 900}, {41, 3, 7}, {17, 3, 0}, {41, 2, 0}} {
		if got := findControl(b, c.level, c.kind); got != c.want {
			t.Errorf("level %d, type %d: %d, want %d", c.level, c.kind, got, c.want)
		}
	}
	// The header that comes first, as Windows documents it for 64 bits.
	if controlWord == 8 && (b[0] != 20 || b[8] != 17 || b[12] != 2 || b[16] != 1400&255 || b[17] != 1400>>8) {
		t.Errorf("% x", b[:24])
	}
	for i := range b { // cut anywhere
		findControl(b[:i], 41, 3)
	}
}

func FuzzControl(f *testing.F) {
	f.Add(appendControl(appendControl(nil, 17, 3, 4, 1400), 0, 1, 2, 5), int32(17), int32(3))
	f.Add(make([]byte, 40), int32(0), int32(0))
	f.Fuzz(func(t *testing.T, b []byte, level, kind int32) {
		findControl(b, level, kind)
		if got := findControl(appendControl(nil, level, kind, 4, uint32(len(b))), level, kind); got != uint32(len(b)) {
			t.Errorf("got %d, want %d", got, len(b))
		}
	})
}
