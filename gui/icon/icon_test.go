package icon

import (
	"bytes"
	"image"
	"image/png"
	"testing"
)

// sizes are those that panels and windows ask for, pixels.
var sizes = []int{16, 18, 22, 24, 32, 44, 48, 64, 128, 256}

// TestStatesDiffer: no two states look alike, in one ink and at the smallest size.
func TestStatesDiffer(t *testing.T) {
	for _, size := range sizes {
		for a := range Kinds {
			for b := range a {
				x, y := Draw(a, size, Light.Ink()), Draw(b, size, Light.Ink())
				differ := 0
				for i := 3; i < len(x.Pix); i += 4 {
					if d := int(x.Pix[i]) - int(y.Pix[i]); d > 96 || d < -96 {
						differ++
					}
				}
				// Four pixels of 16 by 16, which an eye sees.
				if least := 4 * size * size / (16 * 16); differ < least {
					t.Errorf("%d and %d at %d pixels: %d pixels differ, want %d", a, b, size, differ, least)
				}
			}
		}
	}
}

// TestInside: nothing is cut off at the edge, something is drawn, and in the ink.
func TestInside(t *testing.T) {
	for _, size := range sizes {
		for k := range Kinds {
			for _, panel := range []Panel{Light, Dark, Template} {
				m, ink := Draw(k, size, panel.Ink()), panel.Ink()
				drawn := 0
				for y := range size {
					for x := range size {
						c := m.NRGBAAt(x, y)
						if c.A == 0 {
							continue
						}
						drawn++
						if x == 0 || y == 0 || x == size-1 || y == size-1 {
							t.Fatalf("%d at %d pixels touches the edge at %d,%d", k, size, x, y)
						}
						if c.A == 255 && (c.R != ink.R || c.G != ink.G || c.B != ink.B) {
							t.Fatalf("%d at %d pixels has %v, want %v", k, size, c, ink)
						}
					}
				}
				if drawn < size*size/8 {
					t.Errorf("%d at %d pixels has only %d pixels", k, size, drawn)
				}
			}
		}
	}
}

// TestUpright: what has no left and right is the same on both sides.
func TestUpright(t *testing.T) {
	for name, m := range map[string]*image.NRGBA{"application": Application(64), "disconnected": Draw(Disconnected, 64, Light.Ink()),
		"connecting": Draw(Connecting, 64, Light.Ink()), "sign-in": Draw(SignIn, 64, Light.Ink()), "blocked": Draw(Blocked, 64, Light.Ink())} {
		for y := range 64 {
			for x := range 32 {
				a, b := m.NRGBAAt(x, y), m.NRGBAAt(63-x, y)
				if d := int(a.A) - int(b.A); d > 24 || d < -24 {
					t.Fatalf("%s: %d,%d is %v, and on the other side %v", name, x, y, a, b)
				}
			}
		}
	}
}

// TestPNG: what is shipped can be read again.
func TestPNG(t *testing.T) {
	for _, size := range sizes {
		m, err := png.Decode(bytes.NewReader(PNG(Application(size))))
		if err != nil || m.Bounds() != image.Rect(0, 0, size, size) {
			t.Errorf("%d pixels: %v, %v", size, m.Bounds(), err)
		}
		if _, _, _, a := m.At(size/2, size/2).RGBA(); a != 0xffff {
			t.Errorf("%d pixels: the middle is not drawn", size)
		}
		if _, _, _, a := m.At(0, 0).RGBA(); a != 0 {
			t.Errorf("%d pixels: the corner is not empty: %d", size, a)
		}
	}
}
