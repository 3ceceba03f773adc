package gui

import (
	"reflect"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"github.com/adit-vpn/adit/gui/view"
)

// noticeBar is a problem: what is the matter, and what to do.
type noticeBar struct {
	object *fyne.Container
	shown  *view.Notice
}

func newNoticeBar() *noticeBar {
	n := &noticeBar{object: container.NewStack()}
	n.object.Hide()
	return n
}

// show says whether anything has changed.
func (n *noticeBar) show(s *view.Notice) bool {
	if reflect.DeepEqual(n.shown, s) {
		return false
	}
	n.shown = s
	n.object.Objects = nil
	if s != nil {
		n.object.Objects = []fyne.CanvasObject{noticeOf(s)}
	}
	showIf(n.object, s != nil)
	n.object.Refresh()
	return true
}

// noticeOf draws a problem as a card with a sign.
func noticeOf(s *view.Notice) fyne.CanvasObject {
	text := wrapped(s.Text)
	text.TextStyle.Bold = true
	lines := container.New(tight{}, text)
	for _, hint := range s.Hints {
		l := wrapped(hint)
		l.Selectable = true // people type what a hint says
		lines.Add(l)
	}
	sign := container.NewVBox(container.NewPadded(widget.NewIcon(theme.NewWarningThemedResource(theme.WarningIcon()))), layout.NewSpacer())
	edge := canvas.NewRectangle(theme.Color(theme.ColorNameWarning))
	edge.SetMinSize(fyne.NewSize(4, 0))
	back := canvas.NewRectangle(theme.Color(theme.ColorNameInputBackground))
	back.CornerRadius = 4
	return container.NewStack(back, container.NewBorder(nil, nil, container.NewHBox(edge, sign), nil, lines))
}

// toastBar is one line at the bottom, with what takes it back.
type toastBar struct {
	object *fyne.Container
	do     func(view.Action)
	shown  *view.Toast
}

func newToastBar(do func(view.Action)) *toastBar {
	t := &toastBar{object: container.NewStack(), do: do}
	t.object.Hide()
	return t
}

// show says whether anything has changed.
func (t *toastBar) show(s *view.Toast) bool {
	if reflect.DeepEqual(t.shown, s) {
		return false
	}
	t.shown = s
	t.object.Objects = nil
	if s != nil {
		var right fyne.CanvasObject
		if s.Button != nil {
			right = button(*s.Button, t.do)
		}
		text := widget.NewLabel(s.Text)
		text.Truncation = fyne.TextTruncateEllipsis
		back := canvas.NewRectangle(theme.Color(theme.ColorNameHeaderBackground))
		t.object.Objects = []fyne.CanvasObject{back, container.NewPadded(container.NewBorder(nil, nil, nil, right, text))}
	}
	showIf(t.object, s != nil)
	t.object.Refresh()
	return true
}

// lockIcon is a padlock, for what the administrator manages.
func lockIcon() fyne.Resource {
	return fyne.NewStaticResource("lock.svg", []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24" viewBox="0 0 24 24">`+
		`<path d="M6 10h12v10H6z"/><path d="M8 10V7a4 4 0 0 1 8 0v3h-2V7a2 2 0 0 0-4 0v3z"/></svg>`))
}
