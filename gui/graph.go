package gui

import (
	"image"
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
	"golang.org/x/image/vector"

	"github.com/adit-vpn/adit/gui/view"
)

// graph draws what went through the tunnel: received as an area, sent as a line over it, so that they differ
// without colour. Unknown seconds are gaps.
type graph struct {
	widget.BaseWidget
	raster  *canvas.Raster
	samples []view.Sample
	peak    float64
}

const graphHeight = 96

func newGraph() *graph {
	g := &graph{}
	g.raster = canvas.NewRaster(g.draw)
	g.ExtendBaseWidget(g)
	return g
}

// CreateRenderer implements fyne.Widget.
func (g *graph) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(g.raster) }

// MinSize implements fyne.CanvasObject.
func (g *graph) MinSize() fyne.Size { return fyne.NewSize(160, graphHeight) }

func (g *graph) show(t *view.Throughput) {
	g.samples, g.peak = t.Samples[:], t.Peak
	g.raster.Refresh()
}

// draw paints w by h pixels.
func (g *graph) draw(w, h int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, w, h)) // which the rasterizer is quick with
	if w < 2 || h < 2 {
		return m
	}
	v := g.Theme().Color
	variant := fyne.CurrentApp().Settings().ThemeVariant()
	grid, rx, tx := v(theme.ColorNameSeparator, variant), v(theme.ColorNamePrimary, variant), v(theme.ColorNameForeground, variant)
	ruled := color.RGBAModel.Convert(grid).(color.RGBA)
	for i := 0; i <= 4; i++ {
		y := i * (h - 1) / 4
		for x := range w {
			m.SetRGBA(x, y, ruled)
		}
	}
	r := vector.NewRasterizer(w, h)
	line := max(1.5, float32(h)/60)
	g.runs(func(run []view.Sample, at int) {
		x := func(i int) float32 { return float32(at+i) * float32(w) / float32(len(g.samples)-1) }
		y := func(rate float64) float32 {
			return float32(h) - 1 - float32(rate/max(g.peak, 1))*float32(h-4)
		}
		r.MoveTo(x(0), float32(h))
		for i, s := range run {
			r.LineTo(x(i), y(s.Rx))
		}
		r.LineTo(x(len(run)-1), float32(h))
		r.ClosePath()
		r.Draw(m, m.Bounds(), image.NewUniform(faint(rx)), image.Point{})
		r.Reset(w, h)
		stroke(r, line, len(run), func(i int) (float32, float32) { return x(i), y(run[i].Rx) })
		r.Draw(m, m.Bounds(), image.NewUniform(rx), image.Point{})
		r.Reset(w, h)
		stroke(r, line, len(run), func(i int) (float32, float32) { return x(i), y(run[i].Tx) })
		r.Draw(m, m.Bounds(), image.NewUniform(tx), image.Point{})
		r.Reset(w, h)
	})
	return m
}

// runs calls each for every row of known seconds, with the index of its first.
func (g *graph) runs(each func(run []view.Sample, at int)) {
	for i := 0; i < len(g.samples); {
		n := 0
		for i+n < len(g.samples) && g.samples[i+n].Known {
			n++
		}
		if n > 1 {
			each(g.samples[i:i+n], i)
		}
		i += max(n, 1)
	}
}

// stroke adds a line through n points, as one quadrilateral for each piece.
func stroke(r *vector.Rasterizer, width float32, n int, at func(i int) (x, y float32)) {
	for i := range n - 1 {
		x0, y0 := at(i)
		x1, y1 := at(i + 1)
		r.MoveTo(x0, y0-width/2)
		r.LineTo(x1, y1-width/2)
		r.LineTo(x1, y1+width/2)
		r.LineTo(x0, y0+width/2)
		r.ClosePath()
	}
}

// faint is a colour that lets the grid through.
func faint(c color.Color) color.Color {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	n.A /= 4
	return n
}
