//go:build linux

package seat

import (
	"encoding/binary"
	"image"
	"image/color"
	"testing"
)

// xwd is a display's memory of 2 by 1 pixels.
func xwd() []byte {
	head := make([]byte, 100)
	for i, v := range map[int]uint32{0: 100, 1: 7, 4: 2, 5: 1, 11: 32, 12: 8, 19: 1} {
		binary.BigEndian.PutUint32(head[4*i:], v)
	}
	return append(append(head, make([]byte, 12)...), 0x86, 0x6a, 0x0f, 0, 1, 2, 3, 0)
}

func TestParseXWD(t *testing.T) {
	m, err := parseXWD(xwd())
	if err != nil {
		t.Fatal(err)
	}
	if got := m.NRGBAAt(1, 0); got != (color.NRGBA{3, 2, 1, 255}) {
		t.Errorf("the second pixel is %v", got)
	}
	if at := Where(m, color.NRGBA{0x0f, 0x6b, 0x84, 255}); len(at) != 1 || !at[image.Pt(0, 0)] {
		t.Errorf("the colour is at %v", at)
	}
	for what, change := range map[string]func([]byte) []byte{
		"empty":         func([]byte) []byte { return nil },
		"cut":           func(b []byte) []byte { return b[:len(b)-1] },
		"16 bits":       func(b []byte) []byte { b[47] = 16; return b },
		"a long head":   func(b []byte) []byte { b[0] = 0xff; return b },
		"a short line":  func(b []byte) []byte { b[51] = 4; return b },
		"another order": func(b []byte) []byte { b[31] = 1; return b },
	} {
		if _, err := parseXWD(change(xwd())); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

func FuzzParseXWD(f *testing.F) {
	f.Add(xwd())
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseXWD(b); err == nil && len(m.Pix) > len(b) {
			t.Errorf("%d bytes make %d", len(b), len(m.Pix))
		}
	})
}
