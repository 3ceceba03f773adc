package gui

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/view"
)

// press does what the toolkit's desktop driver does with a key: one with Ctrl or Alt is looked for in the menus, whose
// lines it does not ask whether they are enabled; another goes to what has the focus, else to the window.
func press(t *testing.T, w *Window, name fyne.KeyName, mod fyne.KeyModifier) {
	t.Helper()
	key := &fyne.KeyEvent{Name: name}
	if mod&^fyne.KeyModifierShift != 0 {
		want := (&desktop.CustomShortcut{KeyName: name, Modifier: mod}).ShortcutName()
		for _, m := range w.win.MainMenu().Items {
			for _, i := range m.Items {
				if i.Shortcut != nil && i.Shortcut.ShortcutName() == want {
					i.Action()
					return
				}
			}
		}
		return
	}
	if f := w.win.Canvas().Focused(); f != nil {
		f.TypedKey(key)
		return
	}
	w.win.Canvas().OnTypedKey()(key)
}

// TestShortcuts: each key does what its menu line says, where that can be done.
func TestShortcuts(t *testing.T) {
	const primary = fyne.KeyModifierShortcutDefault
	up := screenOf(t, "en", office("en"))
	idle := screenOf(t, "en", &service{profiles: []api.Profile{{Name: "work", Owner: "ann"}}})
	log := screenOf(t, "en", idleService(), page(view.PageLog))
	for _, c := range []struct {
		screen view.Screen
		name   fyne.KeyName
		mod    fyne.KeyModifier
		want   string
	}{
		{up, fyne.KeyReturn, primary, "do disconnect work"},
		{idle, fyne.KeyReturn, primary, "do connect work"},
		{idle, fyne.KeyF2, 0, "do ask rename work"},
		{up, fyne.KeyF2, 0, ""}, // it is in use
		{idle, fyne.KeyDelete, 0, "do ask remove work"},
		{up, fyne.KeyDelete, 0, ""},
		{up, fyne.KeyO, primary | fyne.KeyModifierShift, "do ask address "},
		{up, fyne.Key1, primary, "show profiles"},
		{up, fyne.KeyE, primary, "show explain"},
		{up, fyne.KeyL, primary, "show log"},
		{up, fyne.KeyComma, primary, "show settings"},
		{up, fyne.KeyF1, 0, "show about"},
		{up, fyne.KeyS, primary, ""}, // there is no log to save here
		{up, fyne.KeyW, primary, "visible false"},
		{log, fyne.KeyW, primary, "visible false"},
	} {
		w, r := newWindow(t, c.screen)
		w.hidden = func() { r.SetVisible(false) }
		press(t, w, c.name, c.mod)
		if c.want == "" {
			r.want(t)
		} else {
			r.want(t, c.want)
		}
	}

	w, r := newWindow(t, up) // a dialog of the window's own
	press(t, w, fyne.KeyO, primary)
	if n := len(w.win.Canvas().Overlays().List()); n != 1 {
		t.Errorf("%d dialogs to choose a file", n)
	}
	press(t, w, fyne.KeyL, primary) // is not for what is behind
	r.want(t)

	for _, c := range []struct {
		screen view.Screen
		box    func(*Window) *entry
	}{
		{log, func(w *Window) *entry { return w.log.filter }},
		{up, func(w *Window) *entry { return w.detail.through.filter }},
		{screenOf(t, "en", idleService(), page(view.PageExplain)), func(w *Window) *entry { return w.explain.entry }},
	} {
		w, _ := newWindow(t, c.screen)
		press(t, w, fyne.KeyF, primary)
		if got := w.win.Canvas().Focused(); got != c.box(w) {
			t.Errorf("%s: the focus is on %T", c.screen.Page, got)
		}
	}

	w, _ = newWindow(t, up)
	w.Show(screenOf(t, "en", idleService(), page(view.PageExplain)))
	if got := w.win.Canvas().Focused(); got != w.explain.entry {
		t.Errorf("Why can't I reach: the focus is on %T", got)
	}

	w, r = newWindow(t, log)
	press(t, w, fyne.KeyC, primary|fyne.KeyModifierShift)
	if got := w.app.Clipboard().Content(); got != log.Log.Text() || got == "" {
		t.Errorf("copied %q", got)
	}
	r.want(t)
}

func idleService() *service {
	return &service{profiles: []api.Profile{{Name: "work", Owner: "ann"}}, lines: []api.LogLine{{Time: moment, Level: "INFO", Profile: "work", Text: "opened the tunnel device"}}}
}

// TestMenus: every line that can be chosen does something, every button of the window is a line, and the lines follow
// the screen.
func TestMenus(t *testing.T) {
	for _, language := range []string{"en", "ja"} {
		s := screenOf(t, language, office(language))
		w, r := newWindow(t, s)
		lines := map[string]*fyne.MenuItem{}
		keys := map[string]string{}
		for _, m := range w.win.MainMenu().Items {
			for _, i := range m.Items {
				if i.IsSeparator {
					continue
				}
				lines[i.Label] = i
				if i.Shortcut == nil {
					continue
				}
				if other := keys[i.Shortcut.ShortcutName()]; other != "" {
					t.Errorf("%q and %q have the same key", other, i.Label)
				}
				keys[i.Shortcut.ShortcutName()] = i.Label
			}
		}
		for _, b := range append(s.Detail.Buttons, s.Add...) {
			i := lines[b.Label]
			if i == nil || i.Disabled == b.Enabled {
				t.Errorf("%q in the menu: %+v", b.Label, i)
				continue
			}
			if b.Enabled && b.Action.Kind != view.ActionChooseFile {
				i.Action()
				r.want(t, "do "+string(b.Action.Kind)+" "+b.Action.Profile)
			}
		}
		if about := s.Pages[len(s.Pages)-1].Label; lines[about] == nil || lines[about].Checked || !lines[s.Pages[0].Label].Checked {
			t.Errorf("%q: %+v", about, lines[about])
		}
	}
	s := screenOf(t, "en", office("en"))
	w, _ := newWindow(t, s)
	before := w.win.MainMenu()
	again := s
	again.Profiles = nil
	if w.Show(again); w.win.MainMenu() != before {
		t.Error("the same menus were made anew")
	}
	again.Menus = nil
	if w.Show(again); len(w.win.MainMenu().Items) != 0 {
		t.Error("the old menus stay")
	}
}

// TestListKeys: the arrows and Enter select; the keys of the profile in front work in the list, too.
func TestListKeys(t *testing.T) {
	w, r := newWindow(t, screenOf(t, "en", &service{profiles: []api.Profile{{Name: "a"}, {Name: "b"}, {Name: "c"}}}))
	w.win.Canvas().Focus(w.list.list)
	press(t, w, fyne.KeyDown, 0)
	press(t, w, fyne.KeyDown, 0)
	press(t, w, fyne.KeyUp, 0)
	r.want(t, "select b", "select c", "select b")
	if !w.list.list.ring.Visible() {
		t.Error("nothing shows that the list has the focus")
	}
	// Keys for a profile that is not on the screen yet wait for it.
	press(t, w, fyne.KeyReturn, fyne.KeyModifierShortcutDefault)
	press(t, w, fyne.KeyF2, 0)
	r.want(t)
	w.Show(screenOf(t, "en", &service{profiles: []api.Profile{{Name: "a"}, {Name: "b"}, {Name: "c"}}}, func(m *view.Model) { m.Select("b") }))
	r.want(t, "do ask rename b")
	press(t, w, fyne.KeyF2, 0)
	r.want(t, "do ask rename b")
}

// TestKeysAnywhere: the keys of the profile in front work wherever the focus is, but where text is typed, which has a
// Delete of its own, and on text that can be selected, whose keys the toolkit keeps.
func TestKeysAnywhere(t *testing.T) {
	idle := func(p view.Page) view.Screen {
		s := &service{profiles: []api.Profile{{Name: "work", Owner: "ann", Auth: "password"}}, starts: &startsAtLogin{}, lines: idleService().lines}
		return screenOf(t, "en", s, page(p))
	}
	for _, p := range []view.Page{view.PageProfiles, view.PageLog, view.PageSettings, view.PageExplain} {
		w, r := newWindow(t, idle(p))
		c := w.win.Canvas()
		for range 24 {
			c.FocusNext()
			if fmt.Sprintf("%T", c.Focused()) == "*widget.focusSelectable" {
				continue
			}
			press(t, w, fyne.KeyF2, 0)
			r.want(t, "do ask rename work")
			if _, text := c.Focused().(*entry); !text {
				press(t, w, fyne.KeyDelete, 0)
				r.want(t, "do ask remove work")
			}
		}
	}
}

// TestTypedSetting: what is typed counts with Enter, or when the focus goes; Esc takes it back, and no other change of the page does.
func TestTypedSetting(t *testing.T) {
	s := settings()
	s.Settings = append(s.Settings, view.Setting{ID: view.SettingProxy, Profile: "work", Label: "Proxy", Value: "none", Text: true})
	last := len(s.Settings) - 1
	w, r := newWindow(t, s)
	c := w.win.Canvas()
	var e *entry
	for range 24 {
		c.FocusNext()
		if x, ok := c.Focused().(*entry); ok && x.Text == "none" {
			e = x
			break
		}
	}
	if e == nil {
		t.Fatal("Tab does not lead to the proxy")
	}
	e.SetText("half")
	s.Settings = slices.Clone(s.Settings)
	s.Settings[1].Value = "false"
	w.Show(s)
	if e.Text != "half" {
		t.Errorf("typed: %q", e.Text)
	}
	e.TypedKey(&fyne.KeyEvent{Name: fyne.KeyEscape})
	if e.Text != "none" {
		t.Errorf("taken back: %q", e.Text)
	}
	r.want(t)
	e.SetText("http://a")
	e.TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
	r.want(t, "set proxy work http://a")
	s.Settings = slices.Clone(s.Settings)
	s.Settings[last].Value = "http://a:1080" // as the service writes it
	w.Show(s)
	if e.Text != "http://a:1080" {
		t.Errorf("taken: %q", e.Text)
	}
	r.want(t)
	e.SetText("")
	c.FocusNext()
	r.want(t, "set proxy work ")
}

// TestButtonKeys: Tab leads through the window, and Enter presses.
func TestButtonKeys(t *testing.T) {
	w, r := newWindow(t, screenOf(t, "en", office("en")))
	c := w.win.Canvas()
	seen := map[string]bool{}
	for range 40 {
		c.FocusNext()
		switch f := c.Focused().(type) {
		case *pushButton:
			seen[f.Text] = true
			if f.Text == "Disconnect" && len(r.asked) == 0 {
				press(t, w, fyne.KeyEnter, 0)
			}
		case *keyList:
			switch f {
			case w.list.list:
				seen["list"] = true
			case w.detail.through.list:
				seen["networks"] = true
			}
		case *entry:
			seen["search"] = true
		}
	}
	for _, want := range []string{"list", "Disconnect", "Log", "Settings", "search", "networks"} {
		if !seen[want] {
			t.Errorf("Tab does not lead to %s: %v", want, seen)
		}
	}
	r.want(t, "do disconnect work")
}

// TestDialogFocus: Enter and Esc work in a dialog wherever the focus is.
func TestDialogFocus(t *testing.T) {
	s := connected()
	s.Dialog = credentials()
	w, r := newWindow(t, s)
	for range 8 {
		w.win.Canvas().FocusNext()
		press(t, w, fyne.KeyEscape, 0)
		r.want(t, "do cancel work")
	}
	w.win.Canvas().Focus(find(t, w, func(*checkBox) bool { return true }))
	press(t, w, fyne.KeyReturn, 0)
	r.want(t, "submit q1 3")
}

// TestRename: what is typed takes the place of the name, whatever the service says meanwhile, also after it refused one.
func TestRename(t *testing.T) {
	s := &service{profiles: []api.Profile{{Name: "work", Owner: "ann"}, {Name: "lab", Owner: "ann"}}}
	w, _ := newWindow(t, screenOf(t, "en", s, do(view.ActionAskRename, "work")))
	field, ok := w.win.Canvas().Focused().(*entry)
	if !ok || field.SelectedText() != "work" {
		t.Fatalf("the focus is on %T", w.win.Canvas().Focused())
	}
	test.Type(field, "off")
	s.tunnels = []api.Connection{{Profile: "lab", Owner: "ann", State: api.Connecting}}
	moved := screenOf(t, "en", s, do(view.ActionAskRename, "work"))
	w.Show(moved)
	test.Type(field, "ice")
	busy := *moved.Dialog
	busy.Fields, busy.Busy = slices.Clone(busy.Fields), true
	busy.Fields[0].Enabled = false
	refused := *moved.Dialog
	refused.Notice = &view.Notice{Text: "There is already a profile of this name."}
	for _, d := range []*view.Dialog{&busy, &refused} {
		moved.Dialog = d
		w.Show(moved)
	}
	test.Type(field, "2")
	if got := w.popup.inputs[view.FieldName].text(); got != "office2" || w.win.Canvas().Focused() != field {
		t.Errorf("typed %q, the focus is on %T", got, w.win.Canvas().Focused())
	}
}

// TestWheel: it turns the page over the search box, too, and over a list that is at its end.
func TestWheel(t *testing.T) {
	w, _ := newWindow(t, screenOf(t, "en", office("en")))
	turn := func(o fyne.Scrollable, by float32) {
		before := w.detail.object.Offset.Y
		o.Scrolled(&fyne.ScrollEvent{Scrolled: fyne.NewDelta(0, -by)})
		if got := w.detail.object.Offset.Y; got != before+by {
			t.Errorf("the page is at %v, was at %v", got, before)
		}
	}
	over := map[fyne.CanvasObject]*wheel{}
	find(t, w, func(o *wheel) bool {
		at := fyne.CurrentApp().Driver().AbsolutePositionForObject(o)
		for _, below := range []fyne.CanvasObject{w.detail.through.filter, w.detail.through.list} {
			if at == fyne.CurrentApp().Driver().AbsolutePositionForObject(below) && o.Size() == below.Size() {
				over[below] = o
			}
		}
		return len(over) == 2
	})
	turn(over[w.detail.through.filter], 20)
	turn(over[w.detail.through.list], 30)

	w, _ = newWindow(t, screenOf(t, "en", longList()))
	find(t, w, func(o *wheel) bool { return o.Size() == w.detail.through.list.Size() }).Scrolled(&fyne.ScrollEvent{Scrolled: fyne.NewDelta(0, -40)})
	if w.detail.through.list.GetScrollOffset() != 40 || w.detail.object.Offset.Y != 0 {
		t.Errorf("the list is at %v, the page at %v", w.detail.through.list.GetScrollOffset(), w.detail.object.Offset.Y)
	}
}

// longList is a tunnel with many networks.
func longList() *service {
	return alone(api.Connected, func(c *api.Connection) {
		for n := range 40 {
			c.Routes = append(c.Routes, api.Route{Destination: prefix(fmt.Sprintf("10.100.%d.0/24", n)), Via: "tun0", Reason: "pushed by the server"})
		}
	})
}

// TestNetworksInSight: where the traffic goes is seen without turning the page, be the networks few or many, and a
// search moves nothing.
func TestNetworksInSight(t *testing.T) {
	for _, s := range []*service{office("en"), longList(), office("ja")} {
		w, _ := newWindow(t, screenOf(t, "en", s))
		bottom := func() float32 {
			return fyne.CurrentApp().Driver().AbsolutePositionForObject(w.detail.through.list).Y + w.detail.through.list.Size().Height
		}
		before := bottom()
		if before > w.win.Canvas().Size().Height {
			t.Errorf("the list ends at %v", before)
		}
		w.Show(screenOf(t, "en", s, func(m *view.Model) { m.FilterNetworks("203.0") }))
		if len(w.detail.through.networks) != 1 || bottom() != before {
			t.Errorf("%d networks, the list ends at %v, before at %v", len(w.detail.through.networks), bottom(), before)
		}
	}
}

// TestSearchKeys: Esc empties a search.
func TestSearchKeys(t *testing.T) {
	w, r := newWindow(t, screenOf(t, "en", idleService(), page(view.PageLog)))
	test.Type(w.log.filter, "x")
	w.log.filter.TypedKey(&fyne.KeyEvent{Name: fyne.KeyEscape})
	r.want(t, "log x", "log ")
}

// TestSaveLog: the file that was named is the model's to write, whether the toolkit could open it or not.
func TestSaveLog(t *testing.T) {
	for _, name := range []string{"adit.log", "no/such/folder.log"} {
		dir := t.TempDir()
		w, r := newWindow(t, screenOf(t, "en", idleService(), page(view.PageLog)))
		w.app.Preferences().SetString("fyne:fileDialogLastFolder", "file://"+dir)
		test.Tap(pressable(t, w, "Save…"))
		field := find(t, w, func(e *widget.Entry) bool { return e.Text == "adit.log" })
		field.SetText(name)
		field.OnSubmitted(name)
		r.want(t, "save "+filepath.Join(dir, name))
		if n := len(w.win.Canvas().Overlays().List()); n != 0 {
			t.Errorf("%d dialogs stay", n)
		}
	}
}

// TestClose: closing the window does what was chosen; without a choice a tray is enough, or the person is asked.
func TestClose(t *testing.T) {
	for _, c := range []struct {
		chosen view.OnClose
		trayed bool
		want   []string
	}{
		{view.CloseAsks, true, []string{"visible false"}},
		{view.CloseAsks, false, []string{"background"}},
		{view.CloseHides, true, []string{"visible false"}},
		{view.CloseHides, false, []string{"do keep running ", "visible false"}},
		{view.CloseQuits, true, nil},
		{view.CloseQuits, false, nil},
	} {
		r := &recorder{}
		app := &quitter{App: test.NewTempApp(t)}
		d := NewDesktop(app, r, &shownTray{}, false, func() bool { return c.trayed })
		s := connected()
		s.OnClose = c.chosen
		d.window.Show(s)
		d.close()
		r.want(t, c.want...)
		if quit := c.chosen == view.CloseQuits; app.quit != quit {
			t.Errorf("%s, tray %t: quit is %t", c.chosen, c.trayed, app.quit)
		}
	}
}

// quitter is an app that notes that it was quit.
type quitter struct {
	fyne.App
	quit bool
}

func (q *quitter) Quit() { q.quit = true }

// TestCloseQuestion: its answers hide or quit, after the model has them.
func TestCloseQuestion(t *testing.T) {
	for _, c := range []struct {
		label string
		want  []string
		quit  bool
	}{
		{"Keep running", []string{"do keep running ", "visible false"}, false},
		{"Quit", []string{"do close quits "}, true},
		{"Cancel", []string{"do cancel "}, false},
	} {
		r := &recorder{}
		app := &quitter{App: test.NewTempApp(t)}
		d := NewDesktop(app, r, &shownTray{}, false, func() bool { return false })
		d.window.Show(screenOf(t, "en", office("en"), func(m *view.Model) { m.AskBackground() }))
		test.Tap(pressable(t, d.window, c.label))
		if r.want(t, c.want...); app.quit != c.quit {
			t.Errorf("%s: quit is %t", c.label, app.quit)
		}
	}
}

// TestSettingsKeepTheFocus: a setting that is changed by the keyboard stays where the focus is, while the service is told and
// after it, and what the service says is no click.
func TestSettingsKeepTheFocus(t *testing.T) {
	s := screenOf(t, "en", office("en"), page(view.PageSettings))
	w, r := newWindow(t, s)
	box := find(t, w, func(c *checkBox) bool { return c.Text == "Show notifications" })
	list := find(t, w, func(c *choice) bool { return c.Selected == "Automatic" })
	for _, focused := range []fyne.Focusable{box, list} {
		w.win.Canvas().Focus(focused)
		for _, change := range []func(*view.Setting){
			func(x *view.Setting) { x.Busy = true },
			func(x *view.Setting) { x.Busy = false },
			func(x *view.Setting) {
				switch x.ID {
				case view.SettingGuard:
					x.Value = "lockdown"
				case view.SettingNotifications:
					x.Value = "false"
				}
			},
		} {
			next := s
			next.Settings = slices.Clone(s.Settings)
			for i := range next.Settings {
				change(&next.Settings[i])
			}
			w.Show(next)
			if got := w.win.Canvas().Focused(); got != focused {
				t.Fatalf("the focus is on %T", got)
			}
		}
	}
	if box.Checked || list.Selected != "Lockdown" || box.Disabled() || list.Disabled() {
		t.Errorf("notifications %t, guard %s", box.Checked, list.Selected)
	}
	r.want(t)
	test.Tap(box)
	r.want(t, "set notifications  true")
}
