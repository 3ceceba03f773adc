package gui

import (
	"image/color"
	"reflect"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"github.com/adit-vpn/adit/gui/view"
)

// slot holds what stands for a value that may not be there. It is made anew only when the value has changed.
type slot[T any] struct {
	object *fyne.Container
	draw   func(*T) fyne.CanvasObject
	shown  *T
}

func newSlot[T any](draw func(*T) fyne.CanvasObject) *slot[T] {
	s := &slot[T]{object: container.NewStack(), draw: draw}
	s.object.Hide()
	return s
}

// show says whether anything has changed.
func (s *slot[T]) show(v *T) bool {
	if reflect.DeepEqual(s.shown, v) {
		return false
	}
	s.shown = v
	s.object.Objects = nil
	if v != nil {
		s.object.Objects = []fyne.CanvasObject{s.draw(v)}
	}
	showIf(s.object, v != nil)
	s.object.Refresh()
	return true
}

// noticeOf draws a problem as a card with a sign.
func noticeOf(s *view.Notice) fyne.CanvasObject {
	text := wrapped(s.Text)
	text.TextStyle.Bold = true
	said := container.New(lines(), text)
	for _, hint := range s.Hints {
		l := wrapped(hint)
		l.Selectable = true // people type what a hint says
		said.Add(l)
	}
	sign := container.NewVBox(container.NewPadded(widget.NewIcon(theme.NewWarningThemedResource(theme.WarningIcon()))), layout.NewSpacer())
	edge := newPanel(theme.ColorNameWarning, 0)
	edge.least = fyne.NewSize(4, 0)
	card := container.NewStack(newPanel(theme.ColorNameHeaderBackground, 6), container.NewBorder(nil, nil, container.NewHBox(edge, sign), nil, said))
	return container.New(layout.NewCustomPaddedLayout(2, 6, 0, 0), card)
}

// toastOf draws one line at the bottom, with what takes it back.
func toastOf(s *view.Toast, do func(view.Action)) fyne.CanvasObject {
	var right fyne.CanvasObject
	if s.Button != nil {
		right = button(*s.Button, do)
	}
	text := widget.NewLabel(s.Text)
	text.Truncation = fyne.TextTruncateEllipsis
	return container.NewStack(newPanel(theme.ColorNameHeaderBackground, 0), container.NewPadded(container.NewBorder(nil, nil, nil, right, text)))
}

// panel is an area in a colour of the theme, and follows it.
type panel struct {
	widget.BaseWidget
	colour fyne.ThemeColorName
	radius float32
	least  fyne.Size
}

func newPanel(colour fyne.ThemeColorName, radius float32) *panel {
	p := &panel{colour: colour, radius: radius}
	p.ExtendBaseWidget(p)
	return p
}

// CreateRenderer implements fyne.Widget.
func (p *panel) CreateRenderer() fyne.WidgetRenderer {
	r := &panelRenderer{panel: p, area: canvas.NewRectangle(color.Transparent)}
	r.area.CornerRadius = p.radius
	r.WidgetRenderer = widget.NewSimpleRenderer(r.area)
	r.Refresh()
	return r
}

type panelRenderer struct {
	fyne.WidgetRenderer
	panel *panel
	area  *canvas.Rectangle
}

// MinSize implements fyne.WidgetRenderer.
func (r *panelRenderer) MinSize() fyne.Size { return r.panel.least }

// Refresh implements fyne.WidgetRenderer.
func (r *panelRenderer) Refresh() {
	r.area.FillColor = r.panel.Theme().Color(r.panel.colour, fyne.CurrentApp().Settings().ThemeVariant())
	r.area.Refresh()
}

// lockIcon is a padlock, for what the administrator manages.
func lockIcon() fyne.Resource {
	return fyne.NewStaticResource("lock.svg", []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24" viewBox="0 0 24 24">`+
		`<path d="M6 10h12v10H6z"/><path d="M8 10V7a4 4 0 0 1 8 0v3h-2V7a2 2 0 0 0-4 0v3z"/></svg>`))
}
