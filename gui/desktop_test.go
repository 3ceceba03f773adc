package gui

import (
	"testing"

	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"

	"github.com/adit-vpn/adit/gui/tray"
	"github.com/adit-vpn/adit/gui/view"
)

// shownTray notes what is shown.
type shownTray struct{ menus []tray.Menu }

func (s *shownTray) Show(m tray.Menu) { s.menus = append(s.menus, m) }

// TestPublish: the newest screen is drawn, whoever publishes it.
func TestPublish(t *testing.T) {
	d := NewDesktop(test.NewTempApp(t), &recorder{}, &shownTray{}, false, func() bool { return true })
	for _, title := range []string{"one", "two"} {
		s := connected()
		s.Detail.Title = title
		done := make(chan struct{})
		go func() {
			defer close(done)
			d.Publish(s)
		}()
		<-done
		if d.window.detail.title.Text != title || d.next != nil {
			t.Errorf("%q is shown", d.window.detail.title.Text)
		}
	}
}

// TestOpens: the window opens once, with the newest of what was published until it was made.
func TestOpens(t *testing.T) {
	r := &recorder{}
	d := NewDesktop(test.NewTempApp(t), r, &shownTray{}, false, func() bool { return true })
	opened := 0
	d.OnOpened(func() {
		if len(d.window.frame.Objects) != 1 {
			t.Error("the first picture is empty")
		}
		opened++
	})
	d.Start(true)
	older, newer := connected(), connected()
	newer.Detail.Title, newer.Theme = "newer", "dark"
	d.next = &newer
	d.Show(older)
	if got := d.window.detail.title.Text; got != "newer" || d.next != nil || opened != 1 {
		t.Errorf("%q is shown, the window opened %d times", got, opened)
	}
	if look, ok := d.app.Settings().Theme().(*look); !ok || look.variant != theme.VariantDark {
		t.Error("the theme is the older one")
	}
	older.Detail.Title = "next"
	if d.Publish(older); d.window.detail.title.Text != "next" || opened != 1 {
		t.Errorf("%q is shown, the window opened %d times", d.window.detail.title.Text, opened)
	}
	r.want(t)
}

// TestOpensAgain: a dialog that waited in the hidden window is typed into when it is back.
func TestOpensAgain(t *testing.T) {
	d := NewDesktop(test.NewTempApp(t), &recorder{}, &shownTray{}, false, func() bool { return true })
	s := connected()
	s.Dialog = &view.Dialog{Kind: view.DialogCredentials, ID: "1", Fields: []view.Field{{ID: view.FieldUser, Enabled: true}}}
	d.Show(s)
	c := d.window.win.Canvas()
	c.Unfocus() // as the menu does that Alt+F4 opens
	d.Open()
	if c.Focused() != d.window.popup.inputs[view.FieldUser].widget {
		t.Errorf("the focus is on %v", c.Focused())
	}
}

// TestTray: the tray shows how things are and what can be done, and is left alone while that is the same.
func TestTray(t *testing.T) {
	r, panel := &recorder{}, &shownTray{}
	d := NewDesktop(test.NewTempApp(t), r, panel, false, func() bool { return true })
	s := connected()
	s.Tray = view.Tray{Icon: view.IconConnected, Tooltip: "work: Connected", Items: []view.MenuItem{
		{Label: "Open Adit", Action: view.Action{Kind: view.ActionOpenWindow}, Enabled: true}, {},
		{Label: "Disconnect work", Action: view.Action{Kind: view.ActionDisconnect, Profile: "work"}, Enabled: true},
		{Label: "Sign in to lab…", Action: view.Action{Kind: view.ActionSignIn, Profile: "lab"}, Enabled: true},
	}}
	d.Show(s)
	d.Show(s)
	if len(panel.menus) != 1 {
		t.Fatalf("the tray was drawn %d times", len(panel.menus))
	}
	m := panel.menus[0]
	if m.Tooltip != "work: Connected" || len(m.Icon) == 0 || len(m.Items) != 6 || m.Items[0].Label != m.Tooltip || m.Items[1].Label != "" || !m.Items[4].Enabled {
		t.Fatalf("the tray shows %+v", m)
	}
	r.want(t)
	for _, press := range []func(){m.Tap, m.Items[0].Press, m.Items[2].Press} {
		press()
		r.want(t, "visible true")
	}
	m.Items[4].Press()
	r.want(t, "do disconnect work")
	m.Items[5].Press() // what is asked is seen nowhere but in the window
	r.want(t, "visible true", "do sign in lab")
}
