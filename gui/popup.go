package gui

import (
	"reflect"
	"slices"

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
	inputs map[view.FieldID]input
}

// input is what a field is typed into.
type input struct {
	widget interface {
		fyne.Focusable
		fyne.Disableable
	}
	text func() string
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
		if w.popup.draw(d) {
			w.popup.focus()
		}
	}
}

func newPopup(w *Window, d *view.Dialog) *popup {
	p := &popup{window: w, id: d.ID, body: container.NewVBox()}
	p.fields = container.New(layout.NewFormLayout())
	w.closeMenu()
	if c := w.win.Canvas(); c.Focused() != nil {
		c.Unfocus() // what is behind gets no keys
	}
	p.over = widget.NewModalPopUp(container.New(layout.NewCustomPaddedLayout(8, 12, 12, 12), p.body), w.win.Canvas())
	return p
}

// setFields makes the fields, if there are others than before, and says whether it did. What was typed stays.
func (p *popup) setFields(all []view.Field) bool {
	if slices.EqualFunc(p.shown.Fields, all, func(a, b view.Field) bool { return a.ID == b.ID }) {
		for _, f := range all {
			enable(p.inputs[f.ID].widget, f.Enabled)
		}
		return false
	}
	old := p.inputs
	p.inputs, p.fields.Objects = map[view.FieldID]input{}, nil
	for _, f := range all {
		if i, there := old[f.ID]; there {
			f.Value = i.text()
		}
		p.field(f)
	}
	p.fields.Refresh()
	return true
}

func enable(o fyne.Disableable, on bool) {
	switch {
	case on && o.Disabled():
		o.Enable()
	case !on && !o.Disabled():
		o.Disable()
	}
}

// field makes one field. Enter in it is the default button, as Esc is the one that cancels.
func (p *popup) field(f view.Field) {
	if f.Switch {
		c := newCheckBox(f.Label, nil)
		c.SetChecked(f.Value == "true")
		enable(c, f.Enabled)
		p.inputs[f.ID] = input{c, func() string {
			if c.Checked {
				return "true"
			}
			return ""
		}}
		p.fields.Add(layout.NewSpacer())
		p.fields.Add(withHelp(c, f.Help))
		return
	}
	e := newEntry()
	e.Password = f.Secret
	e.SetText(f.Value)
	e.OnSubmitted = func(string) { p.enter() }
	enable(e, f.Enabled)
	p.inputs[f.ID] = input{e, func() string { return e.Text }}
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

// refocus gives a dialog the keys back that a menu has taken, and left to nobody when it was closed.
func (w *Window) refocus() {
	if w.popup != nil && w.win.Canvas().Focused() == nil {
		w.popup.focus()
	}
}

// focus goes to the first empty field that can be typed into; else to the first one, whose text the next letter replaces.
func (p *popup) focus() {
	var to *entry
	for _, f := range p.shown.Fields {
		e, ok := p.inputs[f.ID].widget.(*entry)
		if !ok || e.Disabled() {
			continue
		}
		if to == nil || e.Text == "" {
			to = e
		}
		if e.Text == "" {
			break
		}
	}
	if to == nil {
		return
	}
	p.window.win.Canvas().Focus(to)
	to.TypedShortcut(&fyne.ShortcutSelectAll{})
}

// draw puts the dialog together around its fields, and says whether these are others than before.
func (p *popup) draw(d *view.Dialog) (others bool) {
	others = p.setFields(d.Fields)
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
		row.Add(button(b, p.press))
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
	return others
}

// press does a button; what belongs to the fields goes with them.
func (p *popup) press(a view.Action) {
	if a.Kind != view.ActionSubmit {
		p.window.do(a)
		return
	}
	typed := view.Values{}
	for id, i := range p.inputs {
		typed[id] = push.Secret(i.text())
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
		l := wrapped(f.Text)
		if f.Error {
			l.Importance = widget.DangerImportance
		}
		remarks.Add(l)
	}
	rows := newFacts()
	rows.show(i.Rows)
	return container.New(&column{}, container.New(lines(), verdict, traffic), rows.object, remarks)
}
