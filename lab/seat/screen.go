//go:build linux

package seat

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"os"

	"github.com/jezek/xgb/xproto"
)

// Display is what is on the whole display.
func (s *Seat) Display() (*image.NRGBA, error) {
	b, err := os.ReadFile(s.screen)
	if err != nil {
		return nil, err
	}
	m, err := parseXWD(b)
	if err != nil {
		return nil, fmt.Errorf("the display's memory: %w", err)
	}
	return m, nil
}

// Picture is the part of the display that is the content of the window of this title.
func (s *Seat) Picture(title string) (*image.NRGBA, error) {
	id, ok := s.Window(title)
	if !ok {
		return nil, fmt.Errorf("there is no window %s", title)
	}
	window := xproto.Window(id)
	size, err := xproto.GetGeometry(s.x, xproto.Drawable(window)).Reply()
	if err != nil {
		return nil, err
	}
	at, err := xproto.TranslateCoordinates(s.x, window, size.Root, 0, 0).Reply() // it is in a frame
	if err != nil {
		return nil, err
	}
	x, y := int(at.DstX), int(at.DstY)
	m, err := s.Display()
	if err != nil {
		return nil, err
	}
	return m.SubImage(image.Rect(x, y, x+int(size.Width), y+int(size.Height))).(*image.NRGBA), nil
}

// parseXWD reads a display's memory as Xvfb keeps it: a head in 32-bit words, most significant byte first, colours
// of 12 bytes, then lines of pixels (X11/XWDFile.h, version 7). Only true colour in 32 bits for a pixel, blue
// first, is known.
func parseXWD(b []byte) (*image.NRGBA, error) {
	const words, most = 25, 1 << 14
	if len(b) < 4*words {
		return nil, fmt.Errorf("%d bytes are no picture", len(b))
	}
	word := func(i int) int { return int(binary.BigEndian.Uint32(b[4*i:])) }
	head, version, width, height, order, depth, line, colours := word(0), word(1), word(4), word(5), word(7), word(11), word(12), word(19)
	if version != 7 || depth != 32 || order != 0 || width > most || height > most || line < 4*width || line > 8*most || head > most || colours > most {
		return nil, fmt.Errorf("version %d, %d by %d pixels of %d bits in order %d, lines of %d bytes", version, width, height, depth, order, line)
	}
	at := head + 12*colours
	if len(b) < at+line*height {
		return nil, fmt.Errorf("%d bytes, of which %d lines need %d", len(b), height, at+line*height)
	}
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		from, to := b[at+y*line:at+y*line+4*width], m.Pix[y*m.Stride:]
		for x := 0; x < len(from); x += 4 {
			to[x], to[x+1], to[x+2], to[x+3] = from[x+2], from[x+1], from[x], 0xff
		}
	}
	return m, nil
}

// Where are the pixels of a colour, or of one that an eye takes for it.
func Where(m *image.NRGBA, c color.NRGBA) map[image.Point]bool {
	near := func(a, b uint8) bool { return max(a, b)-min(a, b) <= 2 }
	at := map[image.Point]bool{}
	for y := m.Rect.Min.Y; y < m.Rect.Max.Y; y++ {
		for x := m.Rect.Min.X; x < m.Rect.Max.X; x++ {
			if p := m.NRGBAAt(x, y); near(p.R, c.R) && near(p.G, c.G) && near(p.B, c.B) {
				at[image.Pt(x, y)] = true
			}
		}
	}
	return at
}
