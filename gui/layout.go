package gui

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// Wrapped text knows its height only by its width. The layouts here give the width first, and remember it for the next
// question after the smallest size.

// column puts one below the other.
type column struct {
	gap  float32 // between two; less than 0 takes back the room that labels have around their text
	most float32 // no wider than that; 0: as wide as there is room
	wide float32 // as laid out last
}

// lines are labels that belong together.
func lines() *column { return &column{gap: theme.Padding() - 2*theme.InnerPadding()} }

// Layout implements fyne.Layout.
func (c *column) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	c.wide = size.Width
	if c.most > 0 {
		c.wide = min(c.wide, c.most)
	}
	y := float32(0)
	for _, o := range objects {
		if !o.Visible() {
			continue
		}
		h := heightAt(o, c.wide)
		if h == 0 {
			continue // nothing is in it
		}
		o.Resize(fyne.NewSize(c.wide, h))
		o.Move(fyne.NewPos(0, y))
		y += h + c.gap
	}
}

// MinSize implements fyne.Layout.
func (c *column) MinSize(objects []fyne.CanvasObject) fyne.Size {
	var size fyne.Size
	n := 0
	for _, o := range objects {
		if !o.Visible() {
			continue
		}
		h := heightAt(o, c.wide)
		if h == 0 {
			continue
		}
		size.Width = max(size.Width, o.MinSize().Width)
		size.Height += h
		n++
	}
	size.Height = max(0, size.Height+c.gap*float32(n-1))
	return size
}

// heightAt is how high o is at a width; 0: at the one that it has.
func heightAt(o fyne.CanvasObject, width float32) float32 {
	if width > 0 && o.Size().Width != width {
		o.Resize(fyne.NewSize(width, o.Size().Height))
	}
	return o.MinSize().Height
}

// late gives all the room to each that is in a container, which may be filled when the toolkit asks first how large it is.
type late struct {
	in   *fyne.Container
	fill func() // nil: it is filled
}

// make has it filled, unless it is.
func (l *late) make() {
	if f := l.fill; f != nil {
		l.fill = nil
		f()
	}
}

// Layout implements fyne.Layout.
func (l *late) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	layout.NewStackLayout().Layout(objects, size)
}

// MinSize implements fyne.Layout.
func (l *late) MinSize([]fyne.CanvasObject) fyne.Size {
	l.make()
	return layout.NewStackLayout().MinSize(l.in.Objects)
}

// inset brings what has no room around it to the edges of the text above and below.
func inset(o fyne.CanvasObject) *fyne.Container {
	p := theme.InnerPadding()
	return container.New(layout.NewCustomPaddedLayout(0, 0, p, p), o)
}

// form has labels and, beside them, values: pairs of a *widget.Label and another object.
type form struct{ wide float32 }

// labelPart is how much of the width the labels may take.
const labelPart = 0.4

// columns are the widths of labels and values.
func (f *form) columns(objects []fyne.CanvasObject, width float32) (label, value float32) {
	for i := 0; i+1 < len(objects); i += 2 {
		l := objects[i].(*widget.Label)
		label = max(label, fyne.MeasureText(l.Text, theme.TextSize(), l.TextStyle).Width+3*theme.InnerPadding())
	}
	label = min(label, width*labelPart)
	return label, width - label
}

func (f *form) row(label, value fyne.CanvasObject, wide [2]float32) float32 {
	return max(heightAt(label, wide[0]), heightAt(value, wide[1]))
}

func (f *form) gap() float32 { return 6 - 2*theme.InnerPadding() }

// Layout implements fyne.Layout.
func (f *form) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	f.wide = size.Width
	label, value := f.columns(objects, size.Width)
	y := float32(0)
	for i := 0; i+1 < len(objects); i += 2 {
		h := f.row(objects[i], objects[i+1], [2]float32{label, value})
		objects[i].Resize(fyne.NewSize(label, h))
		objects[i].Move(fyne.NewPos(0, y))
		objects[i+1].Resize(fyne.NewSize(value, h))
		objects[i+1].Move(fyne.NewPos(label, y))
		y += h + f.gap()
	}
}

// MinSize implements fyne.Layout.
func (f *form) MinSize(objects []fyne.CanvasObject) fyne.Size {
	var size fyne.Size
	label, value := f.columns(objects, f.wide)
	for i := 0; i+1 < len(objects); i += 2 {
		size.Height += f.row(objects[i], objects[i+1], [2]float32{label, value}) + f.gap()
	}
	size.Height = max(0, size.Height-f.gap())
	return size
}

// halves puts words beside what is chosen for them, which is cut off rather than wide.
type halves struct{ wide float32 }

func (h *halves) columns(width float32) (words, choice float32) { return width * 0.45, width * 0.55 }

// Layout implements fyne.Layout.
func (h *halves) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	h.wide = size.Width
	words, choice := h.columns(size.Width)
	objects[0].Resize(fyne.NewSize(words, size.Height))
	objects[1].Resize(fyne.NewSize(choice, objects[1].MinSize().Height))
	objects[1].Move(fyne.NewPos(words, 0))
}

// MinSize implements fyne.Layout.
func (h *halves) MinSize(objects []fyne.CanvasObject) fyne.Size {
	words, _ := h.columns(h.wide)
	return fyne.NewSize(0, max(heightAt(objects[0], words), objects[1].MinSize().Height))
}

// flow puts one beside the other, and begins another line where there is no more room.
type flow struct{ wide float32 }

const flowGap = 8

func (f *flow) place(objects []fyne.CanvasObject, width float32, put func(o fyne.CanvasObject, at fyne.Position, size fyne.Size)) (height float32) {
	x, y := float32(0), float32(0)
	for _, o := range objects {
		size := o.MinSize()
		if x > 0 && x+size.Width > width {
			x, y = 0, height+flowGap
		}
		put(o, fyne.NewPos(x, y), size)
		x += size.Width + flowGap
		height = max(height, y+size.Height)
	}
	return height
}

// Layout implements fyne.Layout.
func (f *flow) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	f.wide = size.Width
	f.place(objects, size.Width, func(o fyne.CanvasObject, at fyne.Position, size fyne.Size) {
		o.Move(at)
		o.Resize(size)
	})
}

// MinSize implements fyne.Layout.
func (f *flow) MinSize(objects []fyne.CanvasObject) fyne.Size {
	size := fyne.NewSize(0, 0)
	for _, o := range objects {
		size.Width = max(size.Width, o.MinSize().Width)
	}
	wide := f.wide
	if wide == 0 {
		wide = 1 << 16 // not known yet: one line
	}
	size.Height = f.place(objects, wide, func(fyne.CanvasObject, fyne.Position, fyne.Size) {})
	return size
}

// sides puts a bar of its own width beside what takes the rest.
type sides struct{}

// sideWidth is the bar's, at the usual size of text.
const sideWidth = 264

func (sides) bar(o fyne.CanvasObject) float32 {
	larger := 1 + (theme.TextSize()/textSize-1)/2 // not as much as the text: the rest grows, too
	return max(o.MinSize().Width, sideWidth*larger)
}

// Layout implements fyne.Layout.
func (s sides) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	bar := s.bar(objects[0])
	objects[0].Resize(fyne.NewSize(bar, size.Height))
	objects[1].Resize(fyne.NewSize(size.Width-bar, size.Height))
	objects[1].Move(fyne.NewPos(bar, 0))
}

// MinSize implements fyne.Layout.
func (s sides) MinSize(objects []fyne.CanvasObject) fyne.Size {
	bar, rest := objects[0].MinSize(), objects[1].MinSize()
	return fyne.NewSize(s.bar(objects[0])+rest.Width, max(bar.Height, rest.Height))
}

// squeezed takes back most of the room that a label has above and below its text, for lists of lines.
type squeezed struct{}

func (squeezed) less() float32 { return theme.InnerPadding() - 1 }

// Layout implements fyne.Layout.
func (s squeezed) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for _, o := range objects {
		o.Resize(fyne.NewSize(size.Width, size.Height+2*s.less()))
		o.Move(fyne.NewPos(0, -s.less()))
	}
}

// MinSize implements fyne.Layout.
func (s squeezed) MinSize(objects []fyne.CanvasObject) fyne.Size {
	var size fyne.Size
	for _, o := range objects {
		size = size.Max(o.MinSize())
	}
	return size.SubtractWidthHeight(0, 2*s.less())
}

// height gives its content a height of its own.
type height struct{ px float32 }

// Layout implements fyne.Layout.
func (h height) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for _, o := range objects {
		o.Resize(size)
	}
}

// MinSize implements fyne.Layout.
func (h height) MinSize(objects []fyne.CanvasObject) fyne.Size {
	size := fyne.NewSize(0, h.px)
	for _, o := range objects {
		size.Width = max(size.Width, o.MinSize().Width)
	}
	return size
}

// rows gives a list the height of some of its lines.
type rows struct {
	of    fyne.CanvasObject // a line
	count *int
}

// Layout implements fyne.Layout.
func (r *rows) Layout(objects []fyne.CanvasObject, size fyne.Size) { height{}.Layout(objects, size) }

// MinSize implements fyne.Layout.
func (r *rows) MinSize(objects []fyne.CanvasObject) fyne.Size {
	n, line := float32(*r.count), r.of.MinSize()
	return height{max(0, n*line.Height+(n-1)*theme.Padding())}.MinSize(objects)
}

// tall gives a scroll the height of its content, up to a limit.
type tall struct {
	most float32
	wide float32 // as laid out last, or will be
}

// Layout implements fyne.Layout.
func (h *tall) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	h.wide = size.Width
	objects[0].Resize(size)
}

// MinSize implements fyne.Layout.
func (h *tall) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(0, min(h.most, heightAt(objects[0].(*container.Scroll).Content, h.wide)))
}

// wide gives its content a width, so that text wraps there.
type wide struct{ px float32 }

// Layout implements fyne.Layout.
func (w wide) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for _, o := range objects {
		o.Resize(size)
	}
}

// MinSize implements fyne.Layout.
func (w wide) MinSize(objects []fyne.CanvasObject) fyne.Size {
	size := fyne.NewSize(w.px, 0)
	for _, o := range objects {
		size.Height = max(size.Height, heightAt(o, w.px))
	}
	return size
}

// steady keeps its content as wide as it ever was: what stands beside a number stays where it is, and the window need
// not be laid out and drawn once more when its digits are others.
type steady struct{ widest float32 }

// Layout implements fyne.Layout.
func (s *steady) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for _, o := range objects {
		o.Resize(size)
	}
}

// MinSize implements fyne.Layout.
func (s *steady) MinSize(objects []fyne.CanvasObject) fyne.Size {
	var size fyne.Size
	for _, o := range objects {
		size = size.Max(o.MinSize())
	}
	s.widest = max(s.widest, size.Width)
	return fyne.NewSize(s.widest, size.Height)
}
