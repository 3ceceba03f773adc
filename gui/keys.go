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

// closeMenu closes a menu that is open. The toolkit opens one for the Alt key alone, which is what the window sees of an
// Alt+F4 that the desktop takes; when it opens again, the menu would still be there, and have the keys.
func (w *Window) closeMenu() {
	if c, ok := w.win.Canvas().(interface{ DismissMenu() bool }); ok {
		c.DismissMenu()
	}
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

// unused hands a key that a widget has no use for to the window, as if nothing had the focus (Window.typed).
func unused(o fyne.CanvasObject, k *fyne.KeyEvent) {
	if c := fyne.CurrentApp().Driver().CanvasForObject(o); c != nil && c.OnTypedKey() != nil {
		c.OnTypedKey()(k)
	}
}

// ring is around what has the focus: the toolkit's own sign is too faint on a coloured button, and a list has none.
type ring struct{ *canvas.Rectangle }

func newRing() ring {
	r := ring{canvas.NewRectangle(color.Transparent)}
	r.StrokeWidth = 2
	r.Hide()
	return r
}

// around is a widget's renderer with the ring over it.
func (r ring) around(w fyne.WidgetRenderer) fyne.WidgetRenderer {
	x := &ringRenderer{w, r}
	x.draw()
	return x
}

type ringRenderer struct {
	fyne.WidgetRenderer
	ring ring
}

// Layout implements fyne.WidgetRenderer.
func (r *ringRenderer) Layout(size fyne.Size) {
	r.WidgetRenderer.Layout(size)
	r.ring.Resize(size)
}

// Objects implements fyne.WidgetRenderer.
func (r *ringRenderer) Objects() []fyne.CanvasObject {
	return append(slices.Clone(r.WidgetRenderer.Objects()), r.ring.Rectangle)
}

// Refresh implements fyne.WidgetRenderer.
func (r *ringRenderer) Refresh() {
	r.WidgetRenderer.Refresh()
	r.draw()
}

func (r *ringRenderer) draw() {
	th := fyne.CurrentApp().Settings().Theme()
	r.ring.StrokeColor = th.Color(theme.ColorNameForeground, fyne.CurrentApp().Settings().ThemeVariant())
	r.ring.CornerRadius = th.Size(theme.SizeNameInputRadius)
	r.ring.Refresh()
}

// keyList is a list in which the arrows select, with a ring while it has the focus.
type keyList struct {
	widget.List
	ring ring
	at   widget.ListItemID // what is selected; -1: nothing
}

// newKeyList makes a list; selected may be nil.
func newKeyList(length func() int, create func() fyne.CanvasObject, update func(widget.ListItemID, fyne.CanvasObject), selected func(widget.ListItemID)) *keyList {
	l := &keyList{ring: newRing(), at: -1}
	l.Length, l.CreateItem, l.UpdateItem = length, create, update
	l.OnUnselected = func(widget.ListItemID) { l.at = -1 }
	l.OnSelected = func(id widget.ListItemID) {
		if l.at = id; selected != nil {
			selected(id)
		}
	}
	l.HideSeparators = true
	l.ExtendBaseWidget(l)
	return l
}

// CreateRenderer implements fyne.Widget.
func (l *keyList) CreateRenderer() fyne.WidgetRenderer { return l.ring.around(l.List.CreateRenderer()) }

// FocusGained implements fyne.Focusable. The toolkit's list would mark a line that the arrows may have left.
func (l *keyList) FocusGained() { l.ring.Show() }

// FocusLost implements fyne.Focusable.
func (l *keyList) FocusLost() { l.ring.Hide() }

// TypedKey implements fyne.Focusable.
func (l *keyList) TypedKey(k *fyne.KeyEvent) {
	switch k.Name {
	case fyne.KeyUp:
		l.Select(max(l.at-1, 0))
	case fyne.KeyDown:
		l.Select(min(l.at+1, l.Length()-1))
	case fyne.KeyHome:
		l.Select(0)
	case fyne.KeyEnd:
		l.Select(l.Length() - 1)
	default:
		unused(l, k)
	}
}

// pushButton is a button that Enter presses, too, with a ring while it has the focus.
type pushButton struct {
	widget.Button
	ring ring
}

func newPushButton(label string, icon fyne.Resource, pressed func()) *pushButton {
	b := &pushButton{ring: newRing()}
	b.Text, b.Icon, b.OnTapped = label, icon, pressed
	b.ExtendBaseWidget(b)
	return b
}

// CreateRenderer implements fyne.Widget.
func (b *pushButton) CreateRenderer() fyne.WidgetRenderer {
	return b.ring.around(b.Button.CreateRenderer())
}

// FocusGained implements fyne.Focusable.
func (b *pushButton) FocusGained() {
	b.ring.Show()
	b.Button.FocusGained()
}

// FocusLost implements fyne.Focusable.
func (b *pushButton) FocusLost() {
	b.ring.Hide()
	b.Button.FocusLost()
}

// TypedKey implements fyne.Focusable.
func (b *pushButton) TypedKey(k *fyne.KeyEvent) {
	switch k.Name {
	case fyne.KeyReturn, fyne.KeyEnter:
		b.Tapped(nil)
	case fyne.KeySpace:
		b.Button.TypedKey(k)
	default:
		unused(b, k)
	}
}

// checkBox is a switch. The space bar switches it.
type checkBox struct{ widget.Check }

func newCheckBox(label string, changed func(bool)) *checkBox {
	c := &checkBox{}
	c.Text, c.OnChanged = label, changed
	c.ExtendBaseWidget(c)
	return c
}

// TypedKey implements fyne.Focusable.
func (c *checkBox) TypedKey(k *fyne.KeyEvent) { unused(c, k) }

// choice is a list that opens.
type choice struct{ widget.Select }

func newChoice(options []string) *choice {
	c := &choice{}
	c.Options = options
	c.ExtendBaseWidget(c)
	return c
}

// TypedKey implements fyne.Focusable.
func (c *choice) TypedKey(k *fyne.KeyEvent) {
	switch k.Name {
	case fyne.KeySpace, fyne.KeyUp, fyne.KeyDown, fyne.KeyLeft, fyne.KeyRight:
		c.Select.TypedKey(k)
	default:
		unused(c, k)
	}
}

// entry is a line of text.
type entry struct {
	widget.Entry
	escape func() // nil: Esc is the window's
	left   func() // the focus goes elsewhere; nil: nothing to do
}

func newEntry() *entry {
	e := &entry{}
	e.ExtendBaseWidget(e)
	return e
}

// newSearch is an entry that Esc empties.
func newSearch(changed func(string)) *entry {
	e := newEntry()
	e.escape = func() { e.SetText("") }
	e.OnChanged = changed
	return e
}

// TypedKey implements fyne.Focusable.
func (e *entry) TypedKey(k *fyne.KeyEvent) {
	switch {
	case k.Name == fyne.KeyEscape && e.escape != nil:
		e.escape()
	case k.Name == fyne.KeyEscape, k.Name == fyne.KeyF1, k.Name == fyne.KeyF2:
		unused(e, k)
	default:
		e.Entry.TypedKey(k)
	}
}

// FocusLost implements fyne.Focusable.
func (e *entry) FocusLost() {
	e.Entry.FocusLost()
	if e.left != nil {
		e.left()
	}
}

// wheel lies over what would keep the mouse's wheel to itself, and decides what turns. It takes nothing else.
type wheel struct {
	widget.BaseWidget
	turn func(*fyne.ScrollEvent)
}

func newWheel(turn func(*fyne.ScrollEvent)) *wheel {
	w := &wheel{turn: turn}
	w.ExtendBaseWidget(w)
	return w
}

// CreateRenderer implements fyne.Widget.
func (w *wheel) CreateRenderer() fyne.WidgetRenderer {
	return widget.NewSimpleRenderer(canvas.NewRectangle(color.Transparent))
}

// Scrolled implements fyne.Scrollable.
func (w *wheel) Scrolled(e *fyne.ScrollEvent) { w.turn(e) }
