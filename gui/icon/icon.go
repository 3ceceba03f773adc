// Package icon draws Adit's icons: the mouth of an adit, in which the state of the tunnel stands as a shape, so
// that colour is never the only sign.
//
// They are drawn where they are needed, at the size and in the ink that the place wants: themes are light or
// dark, and pixels more or less dense. Everything here is safe for concurrent use.
package icon

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"math"

	"golang.org/x/image/vector"
)

// Kind is what an icon tells.
type Kind int

// The kinds of icons.
const (
	Disconnected Kind = iota // an open mouth
	Connecting               // three dots in it
	SignIn                   // a person in it
	Connected                // full, with a tick
	Blocked                  // full, with a bar across
	Problem                  // an exclamation mark in it
	Kinds
)

// The colours of an icon of the tray.
var (
	light = color.NRGBA{0xf4, 0xf6, 0xf8, 0xff}
	dark  = color.NRGBA{0x24, 0x2a, 0x30, 0xff}
)

// Draw draws a state in one ink, size pixels wide and high, on nothing.
func Draw(k Kind, size int, ink color.NRGBA) *image.NRGBA {
	p := newPainter(size)
	p.state(k)
	p.fill(ink)
	return p.picture()
}

// Tray draws a state for a panel of any colour, size pixels wide and high: light, on a dark mouth of its own. No
// desktop but macOS's, which colours a shape itself, says how its panel looks.
func Tray(k Kind, size int) *image.NRGBA {
	p := newPainter(size)
	p.mouth(arch{left: 1, right: 15, bottom: 15, spring: 8}, true)
	p.fill(dark)
	p.shrink = 0.94
	p.state(k)
	p.fill(light)
	return p.picture()
}

// state collects the shapes of a state.
func (p *painter) state(k Kind) {
	switch k {
	case Connected:
		p.mouth(outer, true)
		p.polygon(tick, false)
	case Blocked:
		p.mouth(outer, true)
		p.box(4.6, 8.1, 11.4, 10.3, false)
	default:
		p.mouth(outer, true)
		p.mouth(inner, false)
	}
	switch k {
	case Connecting:
		for _, x := range []float64{5.25, 8, 10.75} { // far enough apart to be three at 16 pixels
			p.disc(x, 10.5, 0.88)
		}
	case SignIn:
		p.disc(8, 8, 1.55)
		p.mouth(arch{left: 5.6, right: 10.4, bottom: 13.9, spring: 12.9}, true)
	case Problem:
		p.box(7.2, 6, 8.8, 10.5, true)
		p.disc(8, 12.3, 0.95)
	}
}

// Application draws the icon of the application itself, size pixels wide and high.
func Application(size int) *image.NRGBA {
	rock, rim, lamp := color.NRGBA{0x17, 0x3f, 0x4f, 0xff}, color.NRGBA{0xf4, 0xf6, 0xf8, 0xff}, color.NRGBA{0xf2, 0xa6, 0x5a, 0xff}
	p := newPainter(size)
	p.rounded(0.5, 0.5, 15.5, 15.5, 3.4)
	p.fill(rock)
	p.mouth(arch{left: 3.2, right: 12.8, bottom: 13.2, spring: 8}, true)
	p.mouth(arch{left: 4.5, right: 11.5, bottom: 13.2, spring: 8}, false)
	p.fill(rim)
	p.polygon([]point{{7.2, 8}, {8.8, 8}, {10.2, 13.2}, {5.8, 13.2}}, true) // the way in, which is a keyhole
	p.disc(8, 7.7, 1.6)
	p.fill(lamp)
	return p.picture()
}

// PNG encodes an icon.
func PNG(m image.Image) []byte {
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, m); err != nil {
		panic(err) // of memory
	}
	return b.Bytes()
}

// ICO encodes an icon for Windows in one or more sizes, up to 256 pixels, each as a PNG (Microsoft, "Icons": ICONDIR and
// ICONDIRENTRY; PNG since Windows Vista).
func ICO(sizes ...image.Image) []byte {
	const header, entry = 6, 16 // bytes
	list, pictures := []byte{0, 0, 1, 0, byte(len(sizes)), 0}, []byte(nil)
	for _, m := range sizes {
		data := PNG(m)
		list = append(list, byte(m.Bounds().Dx()), byte(m.Bounds().Dy()), 0, 0, 1, 0, 32, 0) // 256 pixels are a 0
		list = binary.LittleEndian.AppendUint32(list, uint32(len(data)))
		list = binary.LittleEndian.AppendUint32(list, uint32(header+entry*len(sizes)+len(pictures)))
		pictures = append(pictures, data...)
	}
	return append(list, pictures...)
}

// Shapes are on a field of 16 by 16, from the top left.
const field = 16

type point struct{ x, y float64 }

// arch is the mouth of an adit: a half circle from spring upwards on two walls.
type arch struct{ left, right, bottom, spring float64 }

var (
	outer = arch{left: 2.2, right: 13.8, bottom: 14.6, spring: 7.4}
	inner = arch{left: 3.9, right: 12.1, bottom: 14.6, spring: 7.4}
	// centre is that of the mouth.
	centre = point{8, 8.1}
	tick   = []point{{4.9, 9}, {6, 7.9}, {7.3, 9.2}, {10.1, 6.1}, {11.2, 7.2}, {7.3, 11.5}}
)

// painter collects shapes until fill. Shapes that are taken away run the other way round.
type painter struct {
	image  *image.RGBA // which the rasterizer is quick with
	raster *vector.Rasterizer
	scale  float64
	shrink float64 // towards centre
}

func newPainter(size int) *painter {
	return &painter{image: image.NewRGBA(image.Rect(0, 0, size, size)), raster: vector.NewRasterizer(size, size), scale: float64(size) / field, shrink: 1}
}

// picture is what was painted.
func (p *painter) picture() *image.NRGBA {
	m := image.NewNRGBA(p.image.Rect)
	for i := 0; i < len(m.Pix); i += 4 {
		from, to := p.image.Pix[i:i+4], m.Pix[i:i+4]
		a := int(from[3])
		if to[3] = from[3]; a == 0 {
			continue
		}
		for c := range 3 {
			to[c] = uint8(min((int(from[c])*0xff+a/2)/a, 0xff))
		}
	}
	return m
}

// fill paints the collected shapes over what is there.
func (p *painter) fill(ink color.NRGBA) {
	p.raster.Draw(p.image, p.image.Bounds(), image.NewUniform(ink), image.Point{})
	p.raster.Reset(p.image.Bounds().Dx(), p.image.Bounds().Dy())
}

func (p *painter) polygon(points []point, add bool) {
	for i := range points {
		at := points[i]
		if !add {
			at = points[len(points)-1-i]
		}
		x, y := float32((centre.x+(at.x-centre.x)*p.shrink)*p.scale), float32((centre.y+(at.y-centre.y)*p.shrink)*p.scale)
		if i == 0 {
			p.raster.MoveTo(x, y)
		} else {
			p.raster.LineTo(x, y)
		}
	}
	p.raster.ClosePath()
}

func (p *painter) box(left, top, right, bottom float64, add bool) {
	p.polygon([]point{{left, top}, {right, top}, {right, bottom}, {left, bottom}}, add)
}

// arc appends points of a circle, from one angle to another, clockwise on the screen, in radians from the right.
func arc(to []point, x, y, r, from, until float64) []point {
	const steps = 32
	for i := range steps + 1 {
		a := from + (until-from)*float64(i)/steps
		to = append(to, point{x + r*math.Cos(a), y + r*math.Sin(a)})
	}
	return to
}

func (p *painter) disc(x, y, r float64) { p.polygon(arc(nil, x, y, r, 0, 2*math.Pi), true) }

func (p *painter) mouth(a arch, add bool) {
	middle, r := (a.left+a.right)/2, (a.right-a.left)/2
	points := arc([]point{{a.left, a.bottom}}, middle, a.spring, r, math.Pi, 2*math.Pi)
	p.polygon(append(points, point{a.right, a.bottom}), add)
}

func (p *painter) rounded(left, top, right, bottom, r float64) {
	points := arc(nil, right-r, top+r, r, -math.Pi/2, 0)
	points = arc(points, right-r, bottom-r, r, 0, math.Pi/2)
	points = arc(points, left+r, bottom-r, r, math.Pi/2, math.Pi)
	p.polygon(arc(points, left+r, top+r, r, math.Pi, 3*math.Pi/2), true)
}

// ICNS is the application's icon for macOS, which takes the size that it wants: each is a PNG under the name that Apple's
// iconutil gives that size ("Apple Icon Image format" of Wikipedia; there is no document of Apple's).
func ICNS() []byte {
	var b []byte
	pictures := map[int][]byte{}
	add := func(kind string, data []byte) {
		b = binary.BigEndian.AppendUint32(append(b, kind...), uint32(8+len(data)))
		b = append(b, data...)
	}
	for _, s := range []struct {
		kind   string
		pixels int
	}{{"ic11", 32}, {"ic12", 64}, {"ic07", 128}, {"ic13", 256}, {"ic08", 256}, {"ic14", 512}, {"ic09", 512}, {"ic10", 1024}} {
		if pictures[s.pixels] == nil { // some are there twice
			pictures[s.pixels] = PNG(Application(s.pixels))
		}
		add(s.kind, pictures[s.pixels])
	}
	return append(binary.BigEndian.AppendUint32([]byte("icns"), uint32(8+len(b))), b...)
}
