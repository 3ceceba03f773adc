// Package tray puts an icon with a menu into the desktop's tray. A process has one at most: its library
// (fyne.io/systray) knows no more. The toolkit's own way to it begins a tray only before the app runs, needs a
// window more, knows no tooltip, and does not tell panels of the menu's last lines.
package tray

import (
	"bytes"
	"runtime"
	"slices"
	"sync"

	"fyne.io/systray"
)

// Menu is all that the tray shows.
type Menu struct {
	Icon []byte // Windows: ICO; elsewhere PNG
	// Template says that the icon is a shape that the system colours, as only macOS does.
	Template bool
	Tooltip  string
	Items    []Item
	Tap      func() // a click on the icon itself, but on macOS, where it opens the menu
}

// Item is one line of the menu.
type Item struct {
	Label   string // empty: a line between groups
	Enabled bool
	Press   func()
}

// Tray is the icon with its menu. Its methods are for one goroutine; Tap and Press are called by others.
type Tray struct {
	title string
	end   func() // nil: it has not begun
	shown Menu
	items []*systray.MenuItem // nil between groups
	all   sync.WaitGroup

	mu   sync.Mutex
	gone chan struct{} // closed when items are replaced
	do   Menu          // what clicks do
}

// New makes a tray for the program of this name. Nothing is seen until Show.
func New(title string) *Tray { return &Tray{title: title} }

// Show shows the menu. Where the desktop has no tray yet, it appears as soon as there is one; without a session
// for it, nothing happens.
func (t *Tray) Show(m Menu) {
	if t.end == nil && !t.begin(m) {
		return
	}
	if !bytes.Equal(t.shown.Icon, m.Icon) {
		setIcon(m)
	}
	if t.shown.Tooltip != m.Tooltip {
		systray.SetTooltip(m.Tooltip)
	}
	// Lines that stay where they are keep their numbers: the menu may be open.
	if same := func(a, b Item) bool { return (a.Label == "") == (b.Label == "") }; slices.EqualFunc(t.shown.Items, m.Items, same) {
		t.clicks(m)
		for i, item := range m.Items {
			change(t.items[i], t.shown.Items[i], item)
		}
	} else {
		t.drop()
		t.clicks(m)
		t.fill(m.Items)
	}
	t.shown = m
}

// clicks says what they do from now on.
func (t *Tray) clicks(m Menu) {
	t.mu.Lock()
	t.do = m
	t.mu.Unlock()
}

// begin asks for a place in the tray.
func (t *Tray) begin(m Menu) bool {
	if !session() {
		return false // the library would fail when it ends
	}
	if runtime.GOOS == "linux" { // before panels look
		systray.SetTitle(t.title)
		setIcon(m)
		t.shown.Icon = m.Icon
	}
	if runtime.GOOS != "darwin" {
		systray.SetOnTapped(func() { t.call(nil, func(m Menu) func() { return m.Tap }) })
	}
	var start func()
	start, t.end = systray.RunWithExternalLoop(nil, nil)
	start()
	return true
}

func setIcon(m Menu) {
	if m.Template {
		systray.SetTemplateIcon(m.Icon, m.Icon)
	} else {
		systray.SetIcon(m.Icon)
	}
}

// change gives a line other words.
func change(at *systray.MenuItem, old, item Item) {
	if old.Label != item.Label {
		at.SetTitle(item.Label)
	}
	if old.Enabled != item.Enabled {
		enable(at, item.Enabled)
	}
}

func enable(at *systray.MenuItem, on bool) {
	if on {
		at.Enable()
	} else {
		at.Disable()
	}
}

// fill makes all lines.
func (t *Tray) fill(items []Item) {
	gone := make(chan struct{})
	t.gone = gone
	for i, item := range items {
		if item.Label == "" {
			systray.AddSeparator()
			t.items = append(t.items, nil)
			continue
		}
		at := systray.AddMenuItem(item.Label, "")
		enable(at, item.Enabled) // which also tells panels of the line: a new one is not told of
		t.items = append(t.items, at)
		t.all.Go(func() {
			for {
				select {
				case <-gone:
					return
				case <-at.ClickedCh:
					t.call(gone, func(m Menu) func() { return m.Items[i].Press })
				}
			}
		})
	}
}

// drop takes all lines away.
func (t *Tray) drop() {
	t.mu.Lock()
	if t.gone != nil {
		close(t.gone)
	}
	t.gone, t.items = nil, nil
	t.mu.Unlock()
	systray.ResetMenu()
}

// call does what the newest menu has for a click, unless the line that was clicked is gone.
func (t *Tray) call(gone <-chan struct{}, what func(Menu) func()) {
	t.mu.Lock()
	m := t.do
	select {
	case <-gone:
		t.mu.Unlock()
		return
	default:
	}
	t.mu.Unlock()
	if f := what(m); f != nil {
		f()
	}
}

// Close takes the icon away, for good, and returns when no click is being done any more.
func (t *Tray) Close() {
	if t.end == nil {
		return
	}
	t.drop()
	t.end()
	t.all.Wait()
}
