package gui

import (
	"reflect"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"

	"github.com/adit-vpn/adit/gui/view"
)

// Desktop is the whole app on a desktop: window, tray and notifications.
type Desktop struct {
	app      fyne.App
	window   *Window
	acts     Acts
	tray     desktop.App // nil: this toolkit has none
	menu     *fyne.Menu
	template bool // the system colours the tray's icons
	// trayed says whether the desktop shows icons in a tray at the moment.
	trayed func() bool
	begun  bool      // our icon is there
	asked  time.Time // when trayed was called last
	shown  view.Tray
}

// trayPause is how long to wait before the desktop is asked again for a tray, which may start after us.
const trayPause = 5 * time.Second

// NewDesktop makes it; trayed is asked when the window is closed, and with template the system colours the tray's
// icons (macOS). Nothing is seen until Show and Open.
func NewDesktop(app fyne.App, acts Acts, template bool, trayed func() bool) *Desktop {
	d := &Desktop{app: app, window: New(app, acts), acts: acts, template: template, trayed: trayed, menu: fyne.NewMenu("Adit")}
	app.SetIcon(applicationPicture())
	d.tray, _ = app.(desktop.App)
	d.window.closing = d.close
	d.window.win.SetCloseIntercept(d.close)
	d.window.hidden = func() { acts.SetVisible(false) }
	d.window.win.SetOnDropped(func(_ fyne.Position, files []fyne.URI) { d.window.Drop(files) })
	return d
}

// Open brings the window to the front.
func (d *Desktop) Open() {
	d.acts.SetVisible(true)
	d.window.win.Show()
	d.window.win.RequestFocus()
}

// Show draws a screen.
func (d *Desktop) Show(s view.Screen) {
	d.window.Show(s)
	if d.tray == nil || !d.begun && !d.askForTray() || reflect.DeepEqual(d.shown, s.Tray) {
		return
	}
	old := d.shown
	d.shown, d.begun = s.Tray, true
	if old.Icon != s.Tray.Icon {
		d.tray.SetSystemTrayIcon(trayPicture(s.Tray.Icon, d.template))
	}
	d.menu.Items = d.items(s.Tray)
	d.tray.SetSystemTrayMenu(d.menu)
}

// askForTray looks for a tray from time to time. The toolkit must not be asked for an icon where there is none.
func (d *Desktop) askForTray() bool {
	if time.Since(d.asked) < trayPause {
		return false
	}
	d.asked = time.Now()
	return d.trayed()
}

// items are the tray's menu. The first line says how things are, for panels that show no tooltips.
func (d *Desktop) items(t view.Tray) []*fyne.MenuItem {
	var out []*fyne.MenuItem
	if t.Tooltip != "" {
		state := fyne.NewMenuItem(t.Tooltip, d.Open)
		out = append(out, state, fyne.NewMenuItemSeparator())
	}
	for _, i := range t.Items {
		if i.Label == "" {
			out = append(out, fyne.NewMenuItemSeparator())
			continue
		}
		m := fyne.NewMenuItem(i.Label, func() {
			if i.Action.Kind == view.ActionOpenWindow {
				d.Open()
				return
			}
			d.window.do(i.Action)
		})
		m.Disabled = !i.Enabled
		m.IsQuit = i.Action.Kind == view.ActionQuit
		out = append(out, m)
	}
	return out
}

// Notify shows a notification.
func (d *Desktop) Notify(n view.Notification) {
	d.app.SendNotification(fyne.NewNotification(n.Title, n.Text))
}

// close does what the person has chosen. Until then a tray that brings the window back is enough; elsewhere the person
// is asked.
func (d *Desktop) close() {
	trayed := d.begun && d.trayed()
	switch c := d.window.shown.OnClose; {
	case c == view.CloseQuits:
		d.app.Quit()
	case trayed:
		d.window.hide()
	case c == view.CloseHides:
		d.window.do(view.Action{Kind: view.ActionKeepRunning})
	default:
		d.acts.AskBackground()
	}
}
