//go:build linux

package seat

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"io"
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

// Pixel is one of the display's, for those who ask often.
func (s *Seat) Pixel(x, y int) (color.NRGBA, error) {
	f, err := os.Open(s.screen)
	if err != nil {
		return color.NRGBA{}, err
	}
	defer f.Close()
	head := make([]byte, headSize)
	if _, err := io.ReadFull(f, head); err != nil {
		return color.NRGBA{}, err
	}
	h, err := parseHead(head)
	if err != nil {
		return color.NRGBA{}, fmt.Errorf("the display's memory: %w", err)
	}
	if x < 0 || y < 0 || x >= h.width || y >= h.height {
		return color.NRGBA{}, fmt.Errorf("%d, %d is not on a display of %d by %d pixels", x, y, h.width, h.height)
	}
	var p [4]byte
	if _, err := f.ReadAt(p[:], int64(h.at+y*h.line+4*x)); err != nil {
		return color.NRGBA{}, err
	}
	return color.NRGBA{p[2], p[1], p[0], 0xff}, nil
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

// headSize is how much of a display's memory tells how it looks, bytes.
const headSize = 4 * 25

// head is how a display's memory looks: pixels wide and high, lines of that many bytes, from at on.
type head struct{ width, height, line, at int }

// parseHead reads the head of a display's memory as Xvfb keeps it: 32-bit words, most significant byte first. Colours of
// 12 bytes follow, then lines of pixels (X11/XWDFile.h, version 7). Only true colour in 32 bits for a pixel, blue first,
// is known.
func parseHead(b []byte) (head, error) {
	const most = 1 << 14
	if len(b) < headSize {
		return head{}, fmt.Errorf("%d bytes are no picture", len(b))
	}
	word := func(i int) int { return int(binary.BigEndian.Uint32(b[4*i:])) }
	size, version, width, height, order, depth, line, colours := word(0), word(1), word(4), word(5), word(7), word(11), word(12), word(19)
	if version != 7 || depth != 32 || order != 0 || width > most || height > most || line < 4*width || line > 8*most || size > most || colours > most {
		return head{}, fmt.Errorf("version %d, %d by %d pixels of %d bits in order %d, lines of %d bytes", version, width, height, depth, order, line)
	}
	return head{width, height, line, size + 12*colours}, nil
}

// parseXWD reads a display's whole memory.
func parseXWD(b []byte) (*image.NRGBA, error) {
	h, err := parseHead(b)
	if err != nil {
		return nil, err
	}
	if len(b) < h.at+h.line*h.height {
		return nil, fmt.Errorf("%d bytes, of which %d lines need %d", len(b), h.height, h.at+h.line*h.height)
	}
	m := image.NewNRGBA(image.Rect(0, 0, h.width, h.height))
	for y := range h.height {
		from, to := b[h.at+y*h.line:h.at+y*h.line+4*h.width], m.Pix[y*m.Stride:]
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
