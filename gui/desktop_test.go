package gui

import (
	"testing"

	"fyne.io/fyne/v2/test"

	"github.com/adit-vpn/adit/gui/tray"
	"github.com/adit-vpn/adit/gui/view"
)

// shownTray notes what is shown.
type shownTray struct{ menus []tray.Menu }

func (s *shownTray) Show(m tray.Menu) { s.menus = append(s.menus, m) }

// TestTray: the tray shows how things are and what can be done, and is left alone while that is the same.
func TestTray(t *testing.T) {
	r, panel := &recorder{}, &shownTray{}
	d := NewDesktop(test.NewTempApp(t), r, panel, false, func() bool { return true })
	s := connected()
	s.Tray = view.Tray{Icon: view.IconConnected, Tooltip: "work: Connected", Items: []view.MenuItem{
		{Label: "Open Adit", Action: view.Action{Kind: view.ActionOpenWindow}, Enabled: true}, {},
		{Label: "Disconnect work", Action: view.Action{Kind: view.ActionDisconnect, Profile: "work"}, Enabled: true},
	}}
	d.Show(s)
	d.Show(s)
	if len(panel.menus) != 1 {
		t.Fatalf("the tray was drawn %d times", len(panel.menus))
	}
	m := panel.menus[0]
	if m.Tooltip != "work: Connected" || len(m.Icon) == 0 || len(m.Items) != 5 || m.Items[0].Label != m.Tooltip || m.Items[1].Label != "" || !m.Items[4].Enabled {
		t.Fatalf("the tray shows %+v", m)
	}
	r.want(t)
	for _, press := range []func(){m.Tap, m.Items[0].Press, m.Items[2].Press} {
		press()
		r.want(t, "visible true")
	}
	m.Items[4].Press()
	r.want(t, "do disconnect work")
}
