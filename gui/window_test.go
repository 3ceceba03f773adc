package gui

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/view"
)

// find returns the first object in the window, its dialogs in front, that is wanted.
func find[T fyne.CanvasObject](t *testing.T, w *Window, wanted func(T) bool) T {
	t.Helper()
	var walk func(o fyne.CanvasObject) (T, bool)
	walk = func(o fyne.CanvasObject) (T, bool) {
		if x, ok := o.(T); ok && o.Visible() && wanted(x) {
			return x, true
		}
		var inside []fyne.CanvasObject
		switch o := o.(type) {
		case *fyne.Container:
			inside = o.Objects
		case fyne.Widget:
			inside = test.WidgetRenderer(o).Objects()
		}
		for _, i := range inside {
			if x, ok := walk(i); ok {
				return x, true
			}
		}
		var none T
		return none, false
	}
	c := w.win.Canvas()
	for _, o := range append(c.Overlays().List(), c.Content()) {
		if x, ok := walk(o); ok {
			return x
		}
	}
	t.Fatalf("there is no such %T", *new(T))
	panic("unreachable")
}

// pressable finds a button by its words.
func pressable(t *testing.T, w *Window, label string) *pushButton {
	t.Helper()
	return find(t, w, func(b *pushButton) bool { return b.Text == label })
}

func newWindow(t *testing.T, s view.Screen) (*Window, *recorder) {
	t.Helper()
	r := &recorder{}
	w := New(test.NewTempApp(t), r)
	w.win.Resize(fyne.NewSize(900, 640))
	w.Show(s)
	return w, r
}

func (r *recorder) want(t *testing.T, asked ...string) {
	t.Helper()
	if !slices.Equal(r.asked, asked) {
		t.Errorf("asked for %q, want %q", r.asked, asked)
	}
	r.asked = nil
}

// TestClicks: each click asks for what stands on it, and nothing is asked for by drawing.
func TestClicks(t *testing.T) {
	w, r := newWindow(t, connected())
	r.want(t)
	test.Tap(pressable(t, w, "Disconnect"))
	r.want(t, "do disconnect work")
	test.Tap(pressable(t, w, "Remove…")) // is not enabled
	r.want(t)
	test.Tap(pressable(t, w, "Log"))
	r.want(t, "show log")
	test.Tap(pressable(t, w, "Add from the web…"))
	r.want(t, "do ask address ")
	w.list.list.Select(2)
	r.want(t, "select tokyo")
	test.Type(w.detail.through.filter, "1")
	r.want(t, "networks 1")
}

// TestSameScreen draws nothing anew: neither what was typed nor the selection is lost.
func TestSameScreen(t *testing.T) {
	w, r := newWindow(t, connected())
	before := w.detail.buttons.object.Objects[0]
	s := connected()
	s.Detail.Elapsed = "0:12:42"
	w.Show(s)
	if w.detail.buttons.object.Objects[0] != before {
		t.Error("the buttons were made anew")
	}
	if w.detail.elapsed.Text != "0:12:42" {
		t.Errorf("the clock shows %q", w.detail.elapsed.Text)
	}
	r.want(t)
}

// TestComesBack: what was made for a button or a row is there again after it was away, so that connecting and
// disconnecting all day leaves nothing behind.
func TestComesBack(t *testing.T) {
	s := connected()
	s.Detail.Buttons[1].Action.Kind, s.Detail.Buttons[2].Action.Kind = view.ActionAskRename, view.ActionAskRemove
	w, _ := newWindow(t, s)
	objects := func() []fyne.CanvasObject {
		return slices.Concat(w.detail.buttons.object.Objects, w.detail.buttons.row.Objects, w.detail.rows.object.Objects)
	}
	before := objects()
	away := connected()
	away.Detail.Buttons = []view.Button{{Label: "Connect", Enabled: true, Default: true, Action: view.Action{Kind: view.ActionConnect, Profile: "work"}}}
	away.Detail.Rows = []view.Row{{Label: "Server", Value: "vpn.example.com", Warn: true}}
	w.Show(away)
	if x := w.detail.buttons.row.Objects; len(x) != 1 || x[0].(*pushButton).Text != "Connect" || x[0].(*pushButton).Importance != widget.HighImportance || len(w.detail.buttons.object.Objects) != 1 {
		t.Errorf("the buttons are %v", x)
	}
	if x := w.detail.rows.object.Objects; len(x) != 2 || x[1].(*widget.Label).Text != "vpn.example.com" || x[1].(*widget.Label).Importance != widget.WarningImportance {
		t.Errorf("the rows are %v", x)
	}
	w.Show(s)
	if !slices.Equal(objects(), before) {
		t.Error("buttons or rows were made anew")
	}
	if x := w.detail.rows.object.Objects[1].(*widget.Label); x.Text != s.Detail.Rows[0].Value || x.TextStyle.Bold || x.Importance != widget.MediumImportance {
		t.Errorf("the first row is %q, %+v", x.Text, x.TextStyle)
	}
	for i, r := range s.Detail.Rows {
		if x := w.detail.rows.object.Objects[2*i].(*widget.Label); x.Text != r.Label {
			t.Errorf("row %d is %q, not %q", i, x.Text, r.Label)
		}
	}
}

// TestSelectedInSight: the selected profile of many is in sight in the first picture, be it drawn before the window opens or
// when it does.
func TestSelectedInSight(t *testing.T) {
	s := connected()
	for n := range 200 {
		s.Profiles[0].Selected = false
		s.Profiles = append(s.Profiles, view.Item{Name: fmt.Sprint("p", n), Title: fmt.Sprint("p", n), Icon: view.IconDisconnected, Selected: n == 120})
	}
	for _, c := range []struct {
		name string
		open func(w *Window)
	}{
		{"hidden", func(w *Window) { w.Show(s); w.win.Show() }},
		{"open", func(w *Window) { w.Open(s, func() view.Screen { return s }) }},
	} {
		w := New(test.NewTempApp(t), &recorder{})
		c.open(w)
		list, row := w.list.list, find(t, w, func(r *row) bool { return r.title.Text == "p120" })
		driver := fyne.CurrentApp().Driver()
		from, to := driver.AbsolutePositionForObject(list).Y, driver.AbsolutePositionForObject(row).Y
		if to < from || to+row.Size().Height > from+list.Size().Height+1 {
			t.Errorf("%s: the row is at %v, the list from %v on, %v high", c.name, to, from, list.Size().Height)
		}
	}
}

// TestSameLabels: rows of one label, and buttons of one kind, are as many as there are.
func TestSameLabels(t *testing.T) {
	s := connected()
	s.Detail.Rows = []view.Row{{Label: "DNS", Value: "a"}, {Label: "DNS", Value: "b"}}
	s.Detail.Buttons = []view.Button{{Label: "One", Enabled: true, Action: view.Action{Kind: view.ActionBanner}}, {Label: "Two", Action: view.Action{Kind: view.ActionBanner}}}
	w, _ := newWindow(t, s)
	s.Detail.Rows = append(slices.Clone(s.Detail.Rows), view.Row{Label: "DNS", Value: "c"})
	s.Detail.Buttons = append(slices.Clone(s.Detail.Buttons), view.Button{Label: "Three", Enabled: true, Action: view.Action{Kind: view.ActionBanner}})
	w.Show(s)
	for i, r := range s.Detail.Rows {
		if x := w.detail.rows.object.Objects[2*i+1].(*widget.Label); x.Text != r.Value {
			t.Errorf("row %d is %q", i, x.Text)
		}
	}
	for i, b := range s.Detail.Buttons {
		if x := w.detail.buttons.row.Objects[i].(*pushButton); x.Text != b.Label || x.Disabled() == b.Enabled {
			t.Errorf("button %d is %q", i, x.Text)
		}
	}
}

// credentials is a dialog.
func credentials() *view.Dialog {
	return &view.Dialog{Kind: view.DialogCredentials, ID: "q1", Profile: "work", Title: "Sign in to work", Text: []string{"The server asks who you are."},
		Fields: []view.Field{{ID: view.FieldUser, Label: "User name", Value: "ann", Enabled: true}, {ID: view.FieldPassword, Label: "Password", Secret: true, Enabled: true},
			{ID: view.FieldSave, Label: "Remember the password", Switch: true, Enabled: true, Help: "It is kept in this computer’s keychain."}},
		Buttons: []view.Button{{Label: "Cancel", Cancel: true, Enabled: true, Action: view.Action{Kind: view.ActionCancel, Profile: "work"}},
			{Label: "Sign in", Default: true, Enabled: true, Action: view.Action{Kind: view.ActionSubmit, Profile: "work"}}}}
}

// TestDialogKeys: the first empty field has the focus, Enter is the default button and Esc the other one.
func TestDialogKeys(t *testing.T) {
	s := connected()
	s.Dialog = credentials()
	w, r := newWindow(t, s)
	focused, ok := w.win.Canvas().Focused().(*entry)
	if !ok || !focused.Password {
		t.Fatalf("the focus is on %T", w.win.Canvas().Focused())
	}
	test.Type(focused, "secret")
	typed := map[view.FieldID]string{}
	for id, i := range w.popup.inputs {
		typed[id] = i.text()
	}
	if typed[view.FieldUser] != "ann" || typed[view.FieldPassword] != "secret" || typed[view.FieldSave] != "" {
		t.Errorf("typed: %q", typed)
	}

	// The same question again, now with a remark: what was typed stays.
	again := *s.Dialog
	again.Notice = &view.Notice{Text: "Wrong password."}
	s.Dialog = &again
	w.Show(s)
	if w.popup.inputs[view.FieldPassword].text() != "secret" {
		t.Error("what was typed is gone")
	}
	focused.TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
	r.want(t, "submit q1 3")
	focused.TypedKey(&fyne.KeyEvent{Name: fyne.KeyEscape})
	r.want(t, "do cancel work")

	// Another question: another dialog.
	next := credentials()
	next.ID, next.Fields = "q2", next.Fields[1:2]
	s.Dialog = next
	w.Show(s)
	if n := len(w.win.Canvas().Overlays().List()); n != 1 || w.popup.id != "q2" || w.popup.inputs[view.FieldPassword].text() != "" {
		t.Errorf("%d dialogs, %+v", n, w.popup)
	}
	s.Dialog = nil
	w.Show(s)
	if n := len(w.win.Canvas().Overlays().List()); n != 0 {
		t.Errorf("%d dialogs stay", n)
	}
}

// TestBusyDialog: what cannot be pressed is not pressed by a key either.
func TestBusyDialog(t *testing.T) {
	s := connected()
	s.Dialog = credentials()
	s.Dialog.Busy = true
	s.Dialog.Buttons[1].Enabled = false
	w, r := newWindow(t, s)
	w.popup.enter()
	r.want(t)
}

// TestSettings: a switch, a choice and a locked one.
func TestSettings(t *testing.T) {
	s := settings()
	w, r := newWindow(t, s)
	check := find(t, w, func(c *checkBox) bool { return !c.Disabled() })
	check.SetChecked(false)
	r.want(t, "set notifications  false")
	find(t, w, func(x *choice) bool { return slices.Contains(x.Options, "English") }).SetSelected("日本語")
	r.want(t, "set language  ja")
	if locked := find(t, w, func(x *choice) bool { return slices.Contains(x.Options, "Automatic") }); !locked.Disabled() {
		t.Error("what is managed can be changed")
	}
	find(t, w, func(l *widget.Label) bool { return l.Text == "Your administrator has set this." })
}

// TestManyProfiles: two hundred are no more work than those in sight.
func TestManyProfiles(t *testing.T) {
	s := connected()
	one := s.Profiles[1]
	for len(s.Profiles) < 200 {
		s.Profiles = append(s.Profiles, one)
	}
	s.Profiles[199].Title = "the last one"
	w, r := newWindow(t, s)
	w.list.list.ScrollToBottom()
	find(t, w, func(l *widget.Label) bool { return l.Text == "the last one" })
	r.want(t)
}

// TestWholeLine: a line of the log that is too long stands below the list once it is chosen, and takes no more than its
// part of the page.
func TestWholeLine(t *testing.T) {
	s := idleService()
	s.lines = append(s.lines, api.LogLine{Time: moment, Level: "INFO", Text: strings.Repeat("word=value ", 180)})
	w, _ := newWindow(t, screenOf(t, "en", s, page(view.PageLog)))
	before := w.log.list.Size().Height
	for id, most := range []float32{40, wholeHeight} {
		w.log.list.Select(id)
		if got := before - w.log.list.Size().Height; w.log.whole.Text != w.log.lines[id].String() || got < 20 || got > most+theme.Padding() {
			t.Errorf("line %d takes %v of %v: %q", id, got, before, w.log.whole.Text)
		}
	}
}
