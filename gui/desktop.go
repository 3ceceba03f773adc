package gui

import (
	"reflect"
	"sync"
	"time"

	"fyne.io/fyne/v2"

	"github.com/adit-vpn/adit/gui/tray"
	"github.com/adit-vpn/adit/gui/view"
)

// Tray is the desktop's tray, *tray.Tray.
type Tray interface{ Show(m tray.Menu) }

// Desktop is the whole app on a desktop: window, tray and notifications.
type Desktop struct {
	app    fyne.App
	window *Window
	acts   Acts
	tray   Tray
	// template says that the system colours the tray's icons.
	template bool
	// trayed says whether the desktop shows icons in a tray at the moment.
	trayed func() bool
	shown  view.Tray
	icons  map[view.Icon][]byte // the tray's, which are drawn once
	// opening says that the first screen opens the window, and opened what to do when it is drawn.
	opening bool
	opened  func()

	rest *fyne.Animation // while the window is not open
	wake chan struct{}   // of capacity 1: there is something to do

	mu   sync.Mutex
	next *view.Screen // published, and not drawn yet; nil: none
}

// nap is how long the toolkit's loop rests at a time while the window is not open. By itself it looks for work sixty
// times a second, for nothing. What comes through Do does not wait; what the system tells it may, so long.
const nap = 100 * time.Millisecond

// NewDesktop makes it; trayed is asked when the window is closed, and with template the system colours the tray's
// icons (macOS). Nothing is seen until Show and Open.
func NewDesktop(app fyne.App, acts Acts, tray Tray, template bool, trayed func() bool) *Desktop {
	d := &Desktop{app: app, window: New(app, acts), acts: acts, tray: tray, template: template, trayed: trayed, opened: func() {}, icons: map[view.Icon][]byte{}, wake: make(chan struct{}, 1)}
	d.rest = fyne.NewAnimation(time.Hour, func(float32) { d.nap() })
	d.rest.RepeatCount = fyne.AnimationRepeatForever
	app.SetIcon(d.window.icon)
	d.window.closing = d.close
	d.window.win.SetCloseIntercept(d.close)
	d.window.hidden = d.hid
	d.window.win.SetOnDropped(func(_ fyne.Position, files []fyne.URI) { d.window.Drop(files) })
	return d
}

// OnQuit says what quitting does, in place of ending the toolkit at once. The window is hidden by then.
func (d *Desktop) OnQuit(quit func()) { d.window.quit = quit }

// OnOpened says what to do when the first picture is drawn. Without a window at the start it is never done.
func (d *Desktop) OnOpened(f func()) { d.opened = f }

// Do does f on the toolkit's goroutine, soon. Any goroutine may call it.
func (d *Desktop) Do(f func()) {
	fyne.Do(f)
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Publish draws a screen soon, unless a newer one comes before. Any goroutine may call it, even before the toolkit runs.
func (d *Desktop) Publish(s view.Screen) {
	d.mu.Lock()
	waiting := d.next != nil
	d.next = &s
	d.mu.Unlock()
	if !waiting {
		d.Do(func() {
			if s := d.take(); s != nil {
				d.Show(*s)
			}
		})
	}
}

// take takes what is published and not drawn yet; nil: nothing is.
func (d *Desktop) take() *view.Screen {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.next
	d.next = nil
	return s
}

// Start is to be called when the toolkit begins. With open, the window opens as soon as there is something in it.
func (d *Desktop) Start(open bool) {
	if d.opening = open; !open {
		d.rest.Start()
	}
}

// nap is what the toolkit does in place of a picture: it is called before each.
func (d *Desktop) nap() {
	timer := time.NewTimer(nap)
	defer timer.Stop()
	select {
	case <-d.wake:
	case <-timer.C:
	}
}

// hid follows when the window was hidden.
func (d *Desktop) hid() {
	d.acts.SetVisible(false)
	d.rest.Start()
}

// Open brings the window to the front.
func (d *Desktop) Open() {
	d.rest.Stop()
	d.acts.SetVisible(true)
	d.window.closeMenu()
	d.window.win.Show()
	d.window.win.RequestFocus()
	d.window.refocus()
}

// Show draws a screen.
func (d *Desktop) Show(s view.Screen) {
	if d.opening {
		d.opening = false
		d.window.Open(s, func() view.Screen {
			if newer := d.take(); newer != nil {
				s = *newer
			}
			return s
		})
		d.window.win.RequestFocus()
		d.window.win.SetIcon(d.window.icon) // which takes longer than the first picture may wait
		d.opened()
	} else {
		d.window.Show(s)
	}
	if !reflect.DeepEqual(d.shown, s.Tray) {
		d.shown = s.Tray
		d.tray.Show(d.menu(s.Tray))
	}
}

// menu is the tray's. Its first line says how things are, for panels that show no tooltips.
func (d *Desktop) menu(t view.Tray) tray.Menu {
	if d.icons[t.Icon] == nil {
		d.icons[t.Icon] = trayPicture(t.Icon, d.template)
	}
	m := tray.Menu{Icon: d.icons[t.Icon], Template: d.template, Tooltip: t.Tooltip, Tap: func() { d.Do(d.Open) }}
	if t.Tooltip != "" {
		m.Items = append(m.Items, tray.Item{Label: t.Tooltip, Enabled: true, Press: m.Tap}, tray.Item{})
	}
	for _, i := range t.Items {
		press := func() { d.Do(func() { d.window.do(i.Action) }) }
		switch i.Action.Kind {
		case view.ActionOpenWindow:
			press = m.Tap
		case view.ActionSignIn: // in the window
			press = func() { d.Do(func() { d.Open(); d.window.do(i.Action) }) }
		}
		m.Items = append(m.Items, tray.Item{Label: i.Label, Enabled: i.Enabled, Press: press})
	}
	return m
}

// Notify shows a notification.
func (d *Desktop) Notify(n view.Notification) {
	d.app.SendNotification(fyne.NewNotification(n.Title, n.Text))
}

// close does what the person has chosen. Until then a tray that brings the window back is enough; elsewhere the person
// is asked.
func (d *Desktop) close() {
	switch c := d.window.shown.OnClose; {
	case c == view.CloseQuits:
		d.window.end()
	case d.trayed():
		d.window.hide()
	case c == view.CloseHides:
		d.window.do(view.Action{Kind: view.ActionKeepRunning})
	default:
		d.acts.AskBackground()
	}
}
