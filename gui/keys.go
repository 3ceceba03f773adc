package gui

import (
	"image/color"
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"github.com/adit-vpn/adit/gui/view"
)

// showMenus makes the window's menus. The toolkit looks for the keys there.
func (w *Window) showMenus(all []view.Menu) {
	bar := &fyne.MainMenu{}
	for _, m := range all {
		menu := fyne.NewMenu(m.Label)
		for _, c := range m.Commands {
			if c.Label == "" {
				menu.Items = append(menu.Items, fyne.NewMenuItemSeparator())
				continue
			}
			item := fyne.NewMenuItem(c.Label, func() { w.command(c) })
			item.Disabled, item.Checked, item.IsQuit = !c.Enabled, c.Current, c.Action.Kind == view.ActionQuit
			if c.Key != (view.Key{}) {
				item.Shortcut = shortcutOf(c.Key)
			}
			menu.Items = append(menu.Items, item)
		}
		bar.Items = append(bar.Items, menu)
	}
	w.win.SetMainMenu(bar)
}

func shortcutOf(k view.Key) fyne.Shortcut {
	s := &desktop.CustomShortcut{KeyName: fyne.KeyName(k.Name)}
	if k.Primary {
		s.Modifier = fyne.KeyModifierShortcutDefault
	}
	if k.Shift {
		s.Modifier |= fyne.KeyModifierShift
	}
	return s
}

// command does a menu's line. For a key the toolkit asks neither whether the line is enabled nor whether a dialog is in
// front.
func (w *Window) command(c view.Command) {
	if w.list.chosen != "" && c.Action.Profile != "" && c.Key != (view.Key{}) {
		w.held = c.Key // it is meant for the profile that was just chosen
		return
	}
	switch {
	case !c.Enabled, w.win.Canvas().Overlays().Top() != nil && c.Action.Kind != view.ActionQuit:
	case c.Page != "":
		w.acts.Show(c.Page)
	default:
		w.do(c.Action)
	}
}

// plainKey does the command of a key alone, if there is one: the toolkit takes only those with Ctrl or Alt for
// shortcuts.
func (w *Window) plainKey(name fyne.KeyName) bool { return w.key(view.Key{Name: string(name)}) }

// key does the command of a key, if there is one.
func (w *Window) key(k view.Key) bool {
	for _, m := range w.shown.Menus {
		for _, c := range m.Commands {
			if c.Key == k {
				w.command(c)
				return true
			}
		}
	}
	return false
}

// release does what was held until the chosen profile is on the screen.
func (w *Window) release() {
	if k := w.held; k != (view.Key{}) && w.list.chosen == "" {
		w.held = view.Key{}
		w.key(k)
	}
}

// typed takes keys while nothing has the focus: those of the dialog in front, else those of the menus.
func (w *Window) typed(k *fyne.KeyEvent) {
	if w.popup == nil {
		w.plainKey(k.Name)
		return
	}
	switch k.Name {
	case fyne.KeyReturn, fyne.KeyEnter:
		w.popup.enter()
	case fyne.KeyEscape:
		w.popup.cancel()
	}
}

// search gives the focus to the search box of the page in front.
func (w *Window) search() {
	var box *entry
	switch w.shown.Page {
	case view.PageLog:
		box = w.log.filter
	case view.PageExplain:
		box = w.explain.entry
	default:
		box = w.detail.search()
	}
	w.win.Canvas().Focus(box)
}

// keyList is a list in which the arrows select, as does Enter; other keys are the window's.
type keyList struct {
	widget.List
	other func(fyne.KeyName) bool
}

func newKeyList(length func() int, create func() fyne.CanvasObject, update func(widget.ListItemID, fyne.CanvasObject), other func(fyne.KeyName) bool) *keyList {
	l := &keyList{other: other}
	l.Length, l.CreateItem, l.UpdateItem = length, create, update
	l.ExtendBaseWidget(l)
	return l
}

// TypedKey implements fyne.Focusable.
func (l *keyList) TypedKey(k *fyne.KeyEvent) {
	chosen := &fyne.KeyEvent{Name: fyne.KeySpace}
	switch k.Name {
	case fyne.KeyUp, fyne.KeyDown:
		l.List.TypedKey(k)
		l.List.TypedKey(chosen)
	case fyne.KeyReturn, fyne.KeyEnter:
		l.List.TypedKey(chosen)
	default:
		if !l.other(k.Name) {
			l.List.TypedKey(k)
		}
	}
}

// pushButton is a button that Enter presses, too, with a ring while it has the focus: the toolkit's own sign is too faint
// on a coloured button.
type pushButton struct {
	widget.Button
	escape  func() // in a dialog
	focused bool
}

func newPushButton(label string, icon fyne.Resource, pressed func()) *pushButton {
	b := &pushButton{escape: func() {}}
	b.Text, b.Icon, b.OnTapped = label, icon, pressed
	b.ExtendBaseWidget(b)
	return b
}

// CreateRenderer implements fyne.Widget.
func (b *pushButton) CreateRenderer() fyne.WidgetRenderer {
	ring := canvas.NewRectangle(color.Transparent)
	ring.StrokeWidth = 2
	r := &ringRenderer{b.Button.CreateRenderer(), b, ring}
	r.drawRing()
	return r
}

// FocusGained implements fyne.Focusable.
func (b *pushButton) FocusGained() {
	b.focused = true
	b.Button.FocusGained()
}

// FocusLost implements fyne.Focusable.
func (b *pushButton) FocusLost() {
	b.focused = false
	b.Button.FocusLost()
}

type ringRenderer struct {
	fyne.WidgetRenderer
	button *pushButton
	ring   *canvas.Rectangle
}

// Layout implements fyne.WidgetRenderer.
func (r *ringRenderer) Layout(size fyne.Size) {
	r.WidgetRenderer.Layout(size)
	r.ring.Resize(size)
}

// Objects implements fyne.WidgetRenderer.
func (r *ringRenderer) Objects() []fyne.CanvasObject {
	return append(slices.Clone(r.WidgetRenderer.Objects()), r.ring)
}

// Refresh implements fyne.WidgetRenderer.
func (r *ringRenderer) Refresh() {
	r.WidgetRenderer.Refresh()
	r.drawRing()
}

func (r *ringRenderer) drawRing() {
	th := r.button.Theme()
	r.ring.StrokeColor = th.Color(theme.ColorNameForeground, fyne.CurrentApp().Settings().ThemeVariant())
	r.ring.CornerRadius = th.Size(theme.SizeNameInputRadius)
	showIf(r.ring, r.button.focused)
	r.ring.Refresh()
}

// TypedKey implements fyne.Focusable.
func (b *pushButton) TypedKey(k *fyne.KeyEvent) {
	switch k.Name {
	case fyne.KeyReturn, fyne.KeyEnter:
		b.Tapped(nil)
	case fyne.KeyEscape:
		b.escape()
	default:
		b.Button.TypedKey(k)
	}
}

// checkBox is a switch in a dialog: Enter and Esc are the dialog's.
type checkBox struct {
	widget.Check
	enter, escape func()
}

func newCheckBox(label string, enter, escape func()) *checkBox {
	c := &checkBox{enter: enter, escape: escape}
	c.Text = label
	c.ExtendBaseWidget(c)
	return c
}

// TypedKey implements fyne.Focusable.
func (c *checkBox) TypedKey(k *fyne.KeyEvent) {
	switch k.Name {
	case fyne.KeyReturn, fyne.KeyEnter:
		c.enter()
	case fyne.KeyEscape:
		c.escape()
	default:
		c.Check.TypedKey(k)
	}
}

// entry is a line of text that knows Esc.
type entry struct {
	widget.Entry
	escape func()
}

func newEntry(escape func()) *entry {
	e := &entry{escape: escape}
	e.ExtendBaseWidget(e)
	return e
}

// newSearch is an entry that Esc empties.
func newSearch(changed func(string)) *entry {
	e := newEntry(nil)
	e.escape = func() { e.SetText("") }
	e.OnChanged = changed
	return e
}

// TypedKey implements fyne.Focusable.
func (e *entry) TypedKey(k *fyne.KeyEvent) {
	if k.Name == fyne.KeyEscape {
		e.escape()
		return
	}
	e.Entry.TypedKey(k)
}
