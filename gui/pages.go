package gui

import (
	"reflect"
	"slices"
	"strconv"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"github.com/adit-vpn/adit/gui/view"
)

// firstPane is what a person without profiles sees.
type firstPane struct {
	object      fyne.CanvasObject
	do          func(view.Action)
	shown       view.First
	title, text *widget.Label
	busy        *busyLine
	notice      *slot[view.Notice]
	buttons     *fyne.Container
}

func newFirstPane(icon fyne.Resource, do func(view.Action)) *firstPane {
	f := &firstPane{do: do, title: heading(""), text: wrapped(""), busy: newBusyLine(), notice: newSlot(noticeOf), buttons: container.NewVBox()}
	f.title.SizeName, f.title.Alignment, f.text.Alignment = theme.SizeNameHeadingText, fyne.TextAlignCenter, fyne.TextAlignCenter
	sign := widget.NewIcon(icon)
	f.object = container.NewVScroll(container.NewCenter(container.New(wide{firstWidth}, container.New(&column{gap: theme.Padding()},
		container.New(height{104}, sign), f.title, f.text, f.buttons, container.NewCenter(f.busy.object), f.notice.object))))
	return f
}

// firstWidth is the beginners' column.
const firstWidth = 440

func (f *firstPane) show(s *view.First) {
	set(f.title, s.Title)
	set(f.text, s.Text)
	f.busy.show(s.Busy)
	f.notice.show(s.Notice)
	if !reflect.DeepEqual(f.shown.Buttons, s.Buttons) {
		f.buttons.Objects = nil
		for _, b := range s.Buttons {
			f.buttons.Add(button(b, f.do))
		}
	}
	f.shown = *s
}

// busyLine says what goes on.
type busyLine struct {
	object *fyne.Container
	text   *widget.Label
	sign   *widget.Activity
}

func newBusyLine() *busyLine {
	b := &busyLine{text: widget.NewLabel(""), sign: widget.NewActivity()}
	b.object = container.NewHBox(b.sign, b.text)
	b.object.Hide()
	return b
}

func (b *busyLine) show(text string) {
	set(b.text, text)
	showIf(b.object, text != "")
	if text != "" {
		b.sign.Start()
	} else {
		b.sign.Stop()
	}
}

// explainPane is "Why can't I reach…".
type explainPane struct {
	object        fyne.CanvasObject
	label, help   *widget.Label
	entry         *entry
	ask, try      *pushButton
	busy          *busyLine
	answer, tried *widget.Label
	rows          *facts
	notice        *slot[view.Notice]
	shown         view.Explain
	explain       func(string)
	answerSection *fyne.Container
}

func newExplainPane(explain, try func(string)) *explainPane {
	e := &explainPane{label: heading(""), help: wrapped(""), entry: newSearch(nil), busy: newBusyLine(), answer: wrapped(""), tried: wrapped(""),
		rows: newFacts(), notice: newSlot(noticeOf), explain: explain}
	e.answer.TextStyle.Bold = true
	e.ask = newPushButton("", nil, func() { e.explain(e.entry.Text) })
	e.ask.Importance = widget.HighImportance
	e.try = newPushButton("", nil, func() { try(e.entry.Text) })
	e.entry.OnSubmitted = e.explain
	e.answerSection = container.New(&column{}, e.answer, e.tried, e.rows.object)
	e.object = newPage(container.New(lines(), e.label, e.help), inset(container.NewBorder(nil, nil, nil, container.NewHBox(e.ask, e.try), e.entry)), e.busy.object, inset(e.notice.object), e.answerSection)
	return e
}

func (e *explainPane) show(s view.Explain) {
	set(e.label, s.Title)
	if e.entry.PlaceHolder != s.Label {
		e.entry.SetPlaceHolder(s.Label)
	}
	set(e.help, s.Help)
	if e.shown.Destination != s.Destination && e.entry.Text != s.Destination {
		e.entry.SetText(s.Destination)
	}
	wear(e.ask, s.Button)
	wear(e.try, s.Try)
	e.busy.show(s.Busy)
	e.notice.show(s.Notice)
	set(e.answer, s.Answer)
	set(e.tried, s.Tried)
	showIf(e.tried, s.Tried != "")
	e.rows.show(s.Rows)
	showIf(e.answerSection, s.Answer != "" || len(s.Rows) > 0)
	e.shown = s
}

// wear gives a button that stays its words, and whether it can be pressed.
func wear(p *pushButton, b view.Button) {
	if p.Text != b.Label {
		p.SetText(b.Label)
	}
	enable(p, b.Enabled)
}

// logPane is the service's log.
type logPane struct {
	object fyne.CanvasObject
	filter *entry
	follow *checkBox
	copy   *pushButton
	save   *pushButton
	remark *widget.Label
	notice *slot[view.Notice]
	list   *keyList
	whole  *widget.Label // the line that was chosen, which may be longer than the list is wide
	bottom *tall         // where it stands
	lines  []view.LogLine
	quiet  bool
}

func newLogPane(acts Acts, do func(view.Action)) *logPane {
	l := &logPane{filter: newSearch(acts.FilterLog), remark: caption(""), notice: newSlot(noticeOf), whole: wrapped("")}
	l.whole.SizeName, l.whole.TextStyle.Monospace, l.whole.Selectable = theme.SizeNameCaptionText, true, true
	l.whole.Hide()
	l.follow = newCheckBox("", func(on bool) {
		if !l.quiet {
			acts.FollowLog(on)
		}
	})
	l.copy = newPushButton("", theme.ContentCopyIcon(), func() { do(view.Action{Kind: view.ActionCopyLog}) })
	l.save = newPushButton("", theme.DocumentSaveIcon(), func() { do(view.Action{Kind: view.ActionSaveLog}) })
	l.list = newKeyList(func() int { return len(l.lines) },
		func() fyne.CanvasObject {
			t := widget.NewLabel("")
			t.TextStyle.Monospace = true
			t.SizeName = theme.SizeNameCaptionText
			t.Truncation = fyne.TextTruncateEllipsis
			return container.New(squeezed{}, t)
		},
		func(id widget.ListItemID, o fyne.CanvasObject) {
			if id < len(l.lines) {
				set(o.(*fyne.Container).Objects[0].(*widget.Label), l.lines[id].String())
			}
		}, func(id widget.ListItemID) {
			if id < len(l.lines) {
				l.whole.SetText(l.lines[id].String())
				l.whole.Show()
				l.bottom.wide = l.list.Size().Width
				l.object.Refresh()
				l.list.ScrollTo(id) // there is less room for it now
			}
		})
	l.bottom = &tall{most: wholeHeight}
	l.object = container.New(layout.NewCustomPaddedLayout(16, 8, 16, 16), container.NewBorder(
		container.NewVBox(inset(container.NewBorder(nil, nil, nil, container.NewHBox(l.follow, l.copy, l.save), l.filter)), inset(l.notice.object), l.remark),
		container.New(l.bottom, container.NewVScroll(container.New(&column{}, l.whole))), nil, nil, l.list))
	return l
}

// wholeHeight is how much of the page a line that was chosen takes at most; the rest of it is a turn of the wheel away.
const wholeHeight = 200

func (l *logPane) show(s view.Log) {
	if l.filter.PlaceHolder != s.FilterLabel {
		l.filter.SetPlaceHolder(s.FilterLabel)
	}
	l.quiet = true
	if l.follow.Text != s.FollowLabel {
		l.follow.SetText(s.FollowLabel)
	}
	if l.follow.Checked != s.Follow {
		l.follow.SetChecked(s.Follow)
	}
	l.quiet = false
	if l.copy.Text != s.Copy {
		l.copy.SetText(s.Copy)
	}
	if l.save.Text != s.Save {
		l.save.SetText(s.Save)
	}
	set(l.remark, s.Remark)
	showIf(l.remark, s.Remark != "")
	l.notice.show(s.Notice)
	if !reflect.DeepEqual(l.lines, s.Lines) {
		l.lines = s.Lines
		l.list.UnselectAll() // which was another line
		l.list.Refresh()
		if s.Follow {
			l.list.ScrollToBottom()
		}
	}
}

// settingsPane is the app's settings, and the selected profile's.
type settingsPane struct {
	object  fyne.CanvasObject
	managed *slot[view.Managed]
	form    *fyne.Container
	change  func(id view.SettingID, profile, value string)
	shown   []view.Setting
	set     []func(view.Setting) // of each that is shown: another value, or whether it can be changed
}

func newSettingsPane(change func(view.SettingID, string, string)) *settingsPane {
	p := &settingsPane{managed: newSlot(managedOf), form: container.New(&column{gap: theme.Padding()}), change: change}
	p.object = newPage(p.managed.object, p.form)
	return p
}

// managedOf is what the organization decides, above the settings.
func managedOf(m *view.Managed) fyne.CanvasObject {
	rows := newFacts()
	rows.show(m.Rows)
	parts := []fyne.CanvasObject{container.NewBorder(nil, nil, widget.NewIcon(theme.NewThemedResource(lockIcon())), nil, heading(m.Title))}
	if m.Notice != nil {
		parts = append(parts, inset(noticeOf(m.Notice)))
	}
	return container.New(&column{}, append(parts, rows.object)...)
}

func (p *settingsPane) show(m *view.Managed, all []view.Setting) {
	p.managed.show(m)
	if reflect.DeepEqual(p.shown, all) {
		return
	}
	// What has only another value keeps its place, and with it the focus of who changes it by the keyboard.
	if slices.EqualFunc(p.shown, all, sameSetting) {
		for i, s := range all {
			p.set[i](s)
		}
		p.shown = all
		return
	}
	p.shown, p.set = all, nil
	p.form.Objects = nil
	profile := ""
	for i, s := range all {
		if s.Profile != profile || i == 0 {
			profile = s.Profile
			title := profile
			if title == "" {
				title = "Adit"
			}
			p.form.Add(heading(title))
		}
		p.form.Add(p.line(s))
	}
	p.form.Refresh()
}

// sameSetting says whether two settings look the same, but for the value and whether it can be changed at the moment.
func sameSetting(a, b view.Setting) bool {
	return a.ID == b.ID && a.Profile == b.Profile && a.Label == b.Label && a.Locked == b.Locked && a.Text == b.Text && a.Help == b.Help && slices.Equal(a.Choices, b.Choices)
}

// line is one setting: a switch with its words, words and choices, or words and what is typed. A locked one says why it cannot be changed.
func (p *settingsPane) line(s view.Setting) fyne.CanvasObject {
	var c interface {
		fyne.CanvasObject
		fyne.Disableable
	}
	var whole fyne.CanvasObject
	var value func(view.Setting)
	switch {
	case s.Text:
		typed := newTyped(s, func(v string) { p.change(s.ID, s.Profile, v) })
		c, whole, value = typed.entry, typed.object, typed.show
	case len(s.Choices) == 0:
		check := newCheckBox(s.Label, nil)
		changed := func(on bool) { p.change(s.ID, s.Profile, strconv.FormatBool(on)) }
		value = func(s view.Setting) {
			check.OnChanged = nil // it is no click
			check.SetChecked(s.Value == "true")
			check.OnChanged = changed
		}
		c, whole = check, check
	default:
		labels := make([]string, len(s.Choices))
		choice := newChoice(labels)
		for i, o := range s.Choices {
			labels[i] = o.Label
		}
		value = func(s view.Setting) {
			for _, o := range s.Choices {
				if o.Value == s.Value {
					choice.Selected = o.Label
				}
			}
			choice.Refresh()
		}
		choice.OnChanged = func(string) { p.change(s.ID, s.Profile, s.Choices[choice.SelectedIndex()].Value) }
		c, whole = choice, container.New(&halves{}, wrapped(s.Label), choice)
	}
	set := func(s view.Setting) {
		value(s)
		enable(c, s.Locked == "" && !s.Busy)
	}
	set(s)
	p.set = append(p.set, set)
	if s.Locked == "" {
		return whole
	}
	sign := container.New(layout.NewCustomPaddedLayout(0, 0, theme.InnerPadding(), 0), widget.NewIcon(theme.NewThemedResource(lockIcon())))
	why := caption(s.Locked)
	why.Wrapping = fyne.TextWrapWord
	return container.New(&column{gap: -theme.Padding()}, whole, container.NewBorder(nil, nil, sign, nil, why))
}

// typed is a setting that is typed. It counts when Enter is pressed, or the focus goes elsewhere.
type typed struct {
	object fyne.CanvasObject
	entry  *entry
	wrong  *widget.Label
	value  string // that is shown, or was given away
}

func newTyped(s view.Setting, change func(string)) *typed {
	t := &typed{entry: newEntry(), wrong: caption(""), value: s.Value}
	t.entry.SetText(s.Value)
	t.wrong.Wrapping, t.wrong.Importance = fyne.TextWrapWord, widget.DangerImportance
	give := func() {
		if text := t.entry.Text; text != t.value {
			t.value = text
			change(text)
		}
	}
	t.entry.OnSubmitted, t.entry.left = func(string) { give() }, give
	t.entry.escape = func() { t.entry.SetText(t.value) }
	help := caption(s.Help)
	help.Wrapping = fyne.TextWrapWord
	t.object = container.New(&column{gap: -theme.Padding()}, container.New(&halves{}, wrapped(s.Label), t.entry), help, t.wrong)
	return t
}

// show takes another value; what is being typed stays where that is the same.
func (t *typed) show(s view.Setting) {
	if s.Value != t.value && !s.Busy {
		t.value = s.Value
		t.entry.SetText(s.Value)
	}
	set(t.wrong, s.Wrong)
	showIf(t.wrong, s.Wrong != "")
}

// aboutPane says what runs.
type aboutPane struct {
	object fyne.CanvasObject
	text   *widget.Label
	rows   *facts
	notice *slot[view.Notice]

	report  *fyne.Container // hidden where there is none
	help    *widget.Label
	save    *pushButton
	busy    *busyLine
	unsaved *slot[view.Notice]
}

func newAboutPane(icon fyne.Resource, do func(view.Action)) *aboutPane {
	a := &aboutPane{text: wrapped(""), rows: newFacts(), notice: newSlot(noticeOf), help: wrapped(""), busy: newBusyLine(), unsaved: newSlot(noticeOf)}
	a.save = newPushButton("", theme.DocumentSaveIcon(), func() { do(view.Action{Kind: view.ActionSaveReport}) })
	a.report = container.New(&column{gap: theme.Padding()}, a.help, inset(container.NewHBox(a.save, a.busy.object)), inset(a.unsaved.object))
	name := heading("Adit")
	name.SizeName = theme.SizeNameHeadingText
	sign := widget.NewIcon(icon)
	a.object = newPage(container.NewBorder(nil, nil, inset(container.New(height{64}, container.New(wide{64}, sign))), nil, container.New(lines(), name, a.text)), inset(a.notice.object), a.rows.object, a.report)
	return a
}

func (a *aboutPane) show(s view.About) {
	set(a.text, s.Text)
	a.notice.show(s.Notice)
	a.rows.show(s.Rows)
	showIf(a.report, s.Report != nil)
	if r := s.Report; r != nil {
		set(a.help, r.Text)
		wear(a.save, r.Button)
		a.busy.show(r.Busy)
		a.unsaved.show(r.Notice)
	}
}
