package icon

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"testing"
)

// sizes are those that panels and windows ask for, pixels.
var sizes = []int{16, 18, 22, 24, 32, 44, 48, 64, 128, 256}

// ink is that of a light theme.
var ink = color.NRGBA{0x24, 0x2a, 0x30, 0xff}

// TestStatesDiffer: no two states look alike, in one ink and at the smallest size.
func TestStatesDiffer(t *testing.T) {
	for _, size := range sizes {
		for a := range Kinds {
			for b := range a {
				x, y := Draw(a, size, ink), Draw(b, size, ink)
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
			for name, m := range map[string]*image.NRGBA{"ink": Draw(k, size, ink), "tray": Tray(k, size)} {
				drawn := 0
				for y := range size {
					for x := range size {
						c := m.NRGBAAt(x, y)
						if c.A == 0 {
							continue
						}
						drawn++
						if x == 0 || y == 0 || x == size-1 || y == size-1 {
							t.Fatalf("%s of %d at %d pixels touches the edge at %d,%d", name, k, size, x, y)
						}
						if name == "ink" && c.A == 255 && c != ink {
							t.Fatalf("%d at %d pixels has %v, want %v", k, size, c, ink)
						}
					}
				}
				if drawn < size*size/8 {
					t.Errorf("%s of %d at %d pixels has only %d pixels", name, k, size, drawn)
				}
			}
		}
	}
}

// on is what an icon looks like on a panel, from 0 (black) to 255 (white), pixel by pixel.
func on(panel int, m *image.NRGBA) []int {
	var out []int
	for i := 0; i < len(m.Pix); i += 4 {
		light, alpha := int(m.Pix[i+1]), int(m.Pix[i+3])
		out = append(out, (light*alpha+panel*(255-alpha))/255)
	}
	return out
}

// TestTray: on panels from black to white each icon stands out from the panel, and from each other icon.
func TestTray(t *testing.T) {
	for _, size := range []int{16, 22, 32, 48} {
		least := 4 * size * size / (16 * 16)
		for panel := 0; panel <= 255; panel += 15 {
			plain := on(panel, image.NewNRGBA(image.Rect(0, 0, size, size)))
			var looks [Kinds][]int
			for k := range Kinds {
				looks[k] = on(panel, Tray(k, size))
				if n := differ(looks[k], plain); n < 6*least {
					t.Errorf("%d at %d pixels on %d: only %d pixels stand out", k, size, panel, n)
				}
				for other := range k {
					if n := differ(looks[k], looks[other]); n < least {
						t.Errorf("%d and %d at %d pixels on %d: %d pixels differ, want %d", k, other, size, panel, n, least)
					}
				}
			}
		}
	}
}

// differ is how many pixels an eye can tell apart.
func differ(a, b []int) int {
	n := 0
	for i := range a {
		if d := a[i] - b[i]; d > 96 || d < -96 {
			n++
		}
	}
	return n
}

// TestUpright: what has no left and right is the same on both sides.
func TestUpright(t *testing.T) {
	for name, m := range map[string]*image.NRGBA{"application": Application(64), "disconnected": Draw(Disconnected, 64, ink),
		"connecting": Draw(Connecting, 64, ink), "sign-in": Draw(SignIn, 64, ink), "blocked": Draw(Blocked, 64, ink)} {
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

// TestICO: each entry says where its picture is, and how large, and the last picture ends with the file.
func TestICO(t *testing.T) {
	var all []image.Image
	for _, size := range sizes {
		all = append(all, Tray(Connected, size))
	}
	for _, pictures := range [][]image.Image{all[:1], all} {
		b := ICO(pictures...)
		if n := int(binary.LittleEndian.Uint16(b[4:])); n != len(pictures) || binary.LittleEndian.Uint32(b) != 1<<16 {
			t.Fatalf("header % x", b[:6])
		}
		end := 6 + 16*len(pictures)
		for i, p := range pictures {
			e := b[6+16*i:]
			side, length, at := int(e[0]), int(binary.LittleEndian.Uint32(e[8:])), int(binary.LittleEndian.Uint32(e[12:]))
			if side == 0 {
				side = 256
			}
			if at != end || e[1] != e[0] {
				t.Fatalf("%d pixels begin at %d, want %d", side, at, end)
			}
			end += length
			m, err := png.Decode(bytes.NewReader(b[at:end]))
			if err != nil || side != p.Bounds().Dx() || m.Bounds() != p.Bounds() {
				t.Errorf("%v: says %d, %v", p.Bounds(), side, err)
			}
		}
		if end != len(b) {
			t.Errorf("%d bytes, the last picture ends at %d", len(b), end)
		}
	}
}

// TestThreeDots: they are three at every size, with dark between them and the walls.
func TestThreeDots(t *testing.T) {
	const seen = 48 // a difference that an eye sees
	for _, size := range sizes {
		m := Tray(Connecting, size)
		y := size * 105 / 160 // in the middle of the dots
		parts, bright, least, most := 0, false, 0, 0
		for x := range size / 2 { // the other half is the same
			g := int(m.NRGBAAt(x, y).G)
			if least, most = min(least, g), max(most, g); x == 0 {
				least, most = g, g
			}
			switch {
			case !bright && g >= least+seen:
				parts++
				bright, most = true, g
			case bright && g <= most-seen:
				bright, least = false, g
			}
		}
		if parts != 3 { // a wall, a dot, and half of the one in the middle
			t.Errorf("%d pixels: %d bright parts in half a row", size, parts)
		}
	}
}

// TestICNS: the parts follow each other to the end, and each is a picture of the size that its name says.
func TestICNS(t *testing.T) {
	b := ICNS()
	if string(b[:4]) != "icns" || int(binary.BigEndian.Uint32(b[4:])) != len(b) {
		t.Fatalf("%q begins an icon of %d bytes", b[:8], len(b))
	}
	want := map[string]int{"ic11": 32, "ic12": 64, "ic07": 128, "ic13": 256, "ic08": 256, "ic14": 512, "ic09": 512, "ic10": 1024}
	for b = b[8:]; len(b) > 0; {
		kind, size := string(b[:4]), int(binary.BigEndian.Uint32(b[4:]))
		m, err := png.Decode(bytes.NewReader(b[8:size]))
		if err != nil {
			t.Fatal(err)
		}
		if m.Bounds().Dx() != want[kind] || m.Bounds().Dy() != want[kind] {
			t.Errorf("%s is %v", kind, m.Bounds())
		}
		delete(want, kind)
		b = b[size:]
	}
	if len(want) != 0 {
		t.Errorf("missing: %v", want)
	}
}
