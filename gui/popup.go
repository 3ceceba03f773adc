package gui

import (
	"reflect"
	"slices"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"github.com/adit-vpn/adit/gui/view"
	"github.com/adit-vpn/adit/ovpn/push"
)

// popup is one dialog in front of the window. What was typed stays while the dialog's ID does.
type popup struct {
	window *Window
	id     string
	shown  view.Dialog
	over   *widget.PopUp
	body   *fyne.Container // all but the fields, which are made once
	fields *fyne.Container
	typed  map[view.FieldID]func() string
}

const (
	popupWidth  = 520
	popupHeight = 420 // of what can be long, at most
)

func (w *Window) showDialog(d *view.Dialog) {
	if p := w.popup; p != nil && (d == nil || p.id != d.ID) {
		p.over.Hide()
		w.popup = nil
	}
	if d == nil {
		return
	}
	if w.popup == nil {
		w.popup = newPopup(w, d)
		w.popup.draw(d)
		w.popup.over.Show()
		w.popup.focus()
	} else if !reflect.DeepEqual(w.popup.shown, *d) {
		before := len(w.popup.fields.Objects)
		w.popup.draw(d)
		if before == 0 {
			w.popup.focus()
		}
	}
}

func newPopup(w *Window, d *view.Dialog) *popup {
	p := &popup{window: w, id: d.ID, body: container.NewVBox(), typed: map[view.FieldID]func() string{}}
	p.fields = container.New(layout.NewFormLayout())
	if c := w.win.Canvas(); c.Focused() != nil {
		c.Unfocus() // what is behind gets no keys
	}
	p.over = widget.NewModalPopUp(container.New(layout.NewCustomPaddedLayout(8, 12, 12, 12), p.body), w.win.Canvas())
	return p
}

// setFields makes the fields, if there are others than before. What was typed stays.
func (p *popup) setFields(all []view.Field) {
	same := func(a, b view.Field) bool { return a.ID == b.ID && a.Enabled == b.Enabled }
	if slices.EqualFunc(p.shown.Fields, all, same) {
		return
	}
	old := p.typed
	p.typed = map[view.FieldID]func() string{}
	p.fields.Objects = nil
	for _, f := range all {
		if text := old[f.ID]; text != nil {
			f.Value = text()
		}
		p.field(f)
	}
	p.fields.Refresh()
}

// field makes one field. Enter in it is the default button, Esc the one that cancels.
func (p *popup) field(f view.Field) {
	if f.Switch {
		c := newCheckBox(f.Label, p.enter, p.cancel)
		c.SetChecked(f.Value == "true")
		if !f.Enabled {
			c.Disable()
		}
		p.typed[f.ID] = func() string {
			if c.Checked {
				return "true"
			}
			return ""
		}
		p.fields.Add(layout.NewSpacer())
		p.fields.Add(withHelp(c, f.Help))
		return
	}
	e := newEntry(p.cancel)
	e.Password = f.Secret
	e.SetText(f.Value)
	e.OnSubmitted = func(string) { p.enter() }
	if !f.Enabled {
		e.Disable()
	}
	p.typed[f.ID] = func() string { return e.Text }
	p.fields.Add(widget.NewLabel(f.Label))
	p.fields.Add(withHelp(e, f.Help))
}

func withHelp(o fyne.CanvasObject, help string) fyne.CanvasObject {
	if help == "" {
		return o
	}
	l := caption(help)
	l.Wrapping = fyne.TextWrapWord
	return container.NewVBox(o, l)
}

// focus goes to the first field that can be typed into.
func (p *popup) focus() {
	var walk func(o fyne.CanvasObject) bool
	walk = func(o fyne.CanvasObject) bool {
		switch o := o.(type) {
		case *entry:
			if !o.Disabled() && o.Text == "" {
				p.window.win.Canvas().Focus(o)
				return true
			}
		case *fyne.Container:
			for _, x := range o.Objects {
				if walk(x) {
					return true
				}
			}
		}
		return false
	}
	walk(p.fields)
}

// draw puts the dialog together around its fields.
func (p *popup) draw(d *view.Dialog) {
	p.setFields(d.Fields)
	p.shown = *d
	long := container.New(&column{})
	for _, text := range d.Text {
		long.Add(wrapped(text))
	}
	if d.Notice != nil {
		long.Add(noticeOf(d.Notice))
	}
	if d.Import != nil {
		long.Add(importOf(d.Import))
	}
	if d.Address != "" {
		a := wrapped(d.Address)
		a.Wrapping = fyne.TextWrapBreak
		a.Selectable = true
		a.SizeName = theme.SizeNameCaptionText
		long.Add(a)
	}
	row := container.NewHBox(layout.NewSpacer())
	for _, b := range d.Buttons {
		x := button(b, p.press)
		x.escape = p.cancel
		row.Add(x)
	}
	right := layout.NewCustomPaddedLayout(0, 0, 0, theme.InnerPadding()) // to the text's edge
	bottom := container.NewVBox(container.New(right, p.fields))
	if d.Busy {
		bar := widget.NewProgressBarInfinite()
		bottom.Add(bar)
	}
	bottom.Add(container.New(right, row))
	var middle fyne.CanvasObject = container.New(wide{popupWidth}, long)
	if middle.MinSize().Height > popupHeight {
		middle = container.New(height{popupHeight}, container.NewVScroll(long))
	}
	p.body.Objects = []fyne.CanvasObject{container.New(wide{popupWidth}, heading(d.Title)), middle, bottom}
	p.body.Refresh()
	p.over.Resize(p.over.MinSize())
}

// press does a button; what belongs to the fields goes with them.
func (p *popup) press(a view.Action) {
	if a.Kind != view.ActionSubmit {
		p.window.do(a)
		return
	}
	typed := view.Values{}
	for id, text := range p.typed {
		typed[id] = push.Secret(text())
	}
	p.window.acts.Submit(p.id, typed)
}

// enter presses the default button, cancel the one for Esc, if there is one that may be pressed.
func (p *popup) enter() { p.pressFirst(func(b view.Button) bool { return b.Default }) }

func (p *popup) cancel() { p.pressFirst(func(b view.Button) bool { return b.Cancel }) }

func (p *popup) pressFirst(is func(view.Button) bool) {
	for _, b := range p.shown.Buttons {
		if is(b) && b.Enabled {
			p.press(b.Action)
			return
		}
	}
}

// importOf is a profile before it is added.
func importOf(i *view.Import) fyne.CanvasObject {
	verdict, traffic := wrapped(i.Verdict), wrapped(i.Traffic)
	verdict.TextStyle.Bold = true
	if !i.Usable {
		verdict.Importance = widget.DangerImportance
	}
	remarks := container.New(lines())
	for _, f := range i.Findings {
		l := wrapped(strings.TrimSpace(strings.TrimSpace(f.Severity+" "+f.Line) + ": " + f.Text))
		if f.Error {
			l.Importance = widget.DangerImportance
		}
		remarks.Add(l)
	}
	return container.New(&column{}, container.New(lines(), verdict, traffic), container.New(&form{}, facts(i.Rows)...), remarks)
}
