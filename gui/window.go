// Package gui draws view.Screen with Fyne and hands clicks to whoever does them. It decides nothing: what is
// shown, in which words, and what may be pressed stands in the Screen.
//
// Everything runs on Fyne's goroutine, but for Window.Show's callers, who use fyne.Do.
package gui

import (
	"errors"
	"io/fs"
	"reflect"
	"sync"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/storage"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"github.com/adit-vpn/adit/gui/view"
)

// Acts is what a person can want, as *view.Model has it. None of it may block.
type Acts interface {
	Do(a view.Action)
	Show(p view.Page)
	Select(profile string)
	FilterNetworks(text string)
	Submit(dialogID string, typed view.Values)
	ImportFile(path string)
	Explain(destination string)
	Try(destination string)
	FilterLog(text string)
	FollowLog(follow bool)
	Set(id view.SettingID, profile, value string)
	SaveLog(file string)
	SaveReport(file string)
	SetVisible(visible bool)
	AskBackground()
}

// Window is the app's window.
type Window struct {
	app  fyne.App
	win  fyne.Window
	acts Acts
	worn [3]string // theme, size of text and language that the toolkit has

	shown view.Screen

	list    *profileList
	detail  *detailPane
	first   *firstPane
	explain *explainPane
	log     *logPane
	setting *settingsPane
	about   *aboutPane
	service *slot[view.Notice]
	toast   *slot[view.Toast]
	pages   *fyne.Container // the pages' buttons
	add     *fyne.Container
	content *fyne.Container // what is in front
	root    *fyne.Container
	frame   *fyne.Container // around root, and empty until the first Show
	late    *late           // lays it out
	popup   *popup
	nothing fyne.CanvasObject // when no profile is selected
	hidden  func()            // told after the window was hidden
	closing func()            // the person closes the window
	held    view.Key          // pressed before the profile that it is for was on the screen
	quit    func()            // ends the app
	icon    fyne.Resource     // the app's, drawn once
}

// New makes the window, which is empty and hidden until the first Show: that knows the theme, without which the toolkit
// would read its fonts twice.
func New(app fyne.App, acts Acts) *Window {
	w := &Window{app: app, win: app.NewWindow("Adit"), acts: acts, hidden: func() {}, quit: app.Quit, icon: applicationPicture()}
	w.closing = w.hide
	w.list = newProfileList(acts.Select)
	w.detail = newDetailPane(w.do, acts.FilterNetworks)
	w.first = newFirstPane(w.icon, w.do)
	w.explain = newExplainPane(acts.Explain, acts.Try)
	w.log = newLogPane(acts, w.do)
	w.setting = newSettingsPane(acts.Set)
	w.about = newAboutPane(w.icon, w.do)
	w.service, w.toast = newSlot(noticeOf), newSlot(func(t *view.Toast) fyne.CanvasObject { return toastOf(t, w.do) })
	w.pages, w.add = container.NewVBox(), container.NewVBox()
	sign := canvas.NewImageFromResource(w.icon)
	sign.FillMode, sign.Translucency = canvas.ImageFillContain, 0.75
	sign.SetMinSize(fyne.NewSquareSize(128))
	w.content, w.nothing = container.NewStack(), container.NewCenter(sign)
	side := container.NewStack(newPanel(theme.ColorNameHeaderBackground, 0), container.New(layout.NewCustomPaddedLayout(8, 8, 8, 8),
		container.NewBorder(nil, container.NewVBox(w.add, widget.NewSeparator(), w.pages), nil, nil, w.list.object)))
	w.root = container.NewBorder(w.service.object, w.toast.object, nil, nil, container.New(sides{}, side, w.content))
	w.late = &late{}
	w.frame = container.New(w.late)
	w.late.in = w.frame
	w.win.SetPadded(false)
	w.win.Resize(fyne.NewSize(900, 640)) // before there is content, which then has a size from the first Show on
	w.win.SetContent(w.frame)
	w.win.Canvas().SetOnTypedKey(w.typed)
	return w
}

// Fyne is the window itself.
func (w *Window) Fyne() fyne.Window { return w.win }

// Show draws s. Only what has changed is drawn anew.
func (w *Window) Show(s view.Screen) {
	old := w.shown
	w.shown = s
	w.wear(s)
	if len(w.frame.Objects) == 0 {
		w.frame.Add(w.root)
	}
	th := w.app.Settings().Theme()
	frame := w.service.show(s.Service.Notice)
	frame = w.toast.show(s.Toast) || frame
	if !reflect.DeepEqual(old.Add, s.Add) {
		w.add.Objects, frame = nil, true
		for _, b := range s.Add {
			x := button(b, w.do)
			x.Alignment, x.Importance, x.Icon = widget.ButtonAlignLeading, widget.LowImportance, theme.ContentAddIcon()
			w.add.Objects = append(w.add.Objects, x)
		}
	}
	if !reflect.DeepEqual(old.Pages, s.Pages) || old.Page != s.Page {
		w.showPages(s)
		frame = true
	}
	if !reflect.DeepEqual(old.Menus, s.Menus) {
		w.showMenus(s.Menus)
	}
	frame = w.list.words(s) || frame
	if front := w.front(s, th); len(w.content.Objects) == 0 || w.content.Objects[0] != front {
		w.content.Objects, frame = []fyne.CanvasObject{front}, true
	}
	if frame {
		w.root.Refresh() // sizes may have changed all the way up
	}
	w.list.show(s, th)
	w.showDialog(s.Dialog)
	w.release()
	if s.Page == view.PageExplain && old.Page != s.Page && s.Dialog == nil {
		w.search() // there is nothing else to do
	}
}

// wear has the toolkit take the theme of s.
func (w *Window) wear(s view.Screen) {
	if look := [3]string{s.Theme, s.TextSize, s.Language.Tag()}; w.worn != look {
		w.worn = look
		w.app.Settings().SetTheme(lookOf(s.Theme, s.TextSize, s.Language.Tag() == "ja"))
	}
}

// Open opens the window for the first time, with what newest returns. It takes the toolkit as long to make a window as to
// read the fonts of the theme that s has, so that both are done at once: what is in the window is made when the toolkit asks
// how large it is, which is after the one and before the first picture.
func (w *Window) Open(s view.Screen, newest func() view.Screen) {
	w.wear(s)
	var fonts sync.WaitGroup
	fonts.Go(func() { // of the first picture; nothing else is drawn or measured until it ends
		for _, style := range []fyne.TextStyle{{}, {Bold: true}} {
			fyne.MeasureText("A", theme.TextSize(), style)
		}
	})
	w.late.fill = func() {
		fonts.Wait()
		w.Show(newest())
	}
	w.win.Show()
	w.late.make() // if the toolkit did not want to know how large it is
}

// front is what stands beside the list.
func (w *Window) front(s view.Screen, th fyne.Theme) fyne.CanvasObject {
	switch {
	case s.Page == view.PageExplain:
		w.explain.show(s.Explain)
		return w.explain.object
	case s.Page == view.PageLog:
		w.log.show(s.Log)
		return w.log.object
	case s.Page == view.PageSettings:
		w.setting.show(s.Managed, s.Settings)
		return w.setting.object
	case s.Page == view.PageAbout:
		w.about.show(s.About)
		return w.about.object
	case s.First != nil:
		w.first.show(s.First)
		return w.first.object
	case s.Detail != nil:
		w.detail.show(s.Detail, th)
		return w.detail.object
	}
	return w.nothing
}

// showPages makes the pages' buttons; they are laid out with all else.
func (w *Window) showPages(s view.Screen) {
	w.pages.Objects = nil
	for _, tab := range s.Pages {
		b := newPushButton(tab.Label, pageIcon(tab.Page), func() { w.acts.Show(tab.Page) })
		b.Alignment, b.Importance = widget.ButtonAlignLeading, widget.LowImportance
		if tab.Page == s.Page {
			b.Importance = widget.MediumImportance
		}
		w.pages.Objects = append(w.pages.Objects, b)
	}
}

func pageIcon(p view.Page) fyne.Resource {
	switch p {
	case view.PageExplain:
		return theme.QuestionIcon()
	case view.PageLog:
		return theme.DocumentIcon()
	case view.PageSettings:
		return theme.SettingsIcon()
	case view.PageAbout:
		return theme.InfoIcon()
	}
	return theme.ListIcon()
}

// do does what is the window's own, and hands over the rest.
func (w *Window) do(a view.Action) {
	switch a.Kind {
	case view.ActionChooseFile:
		w.chooseFile()
	case view.ActionCopyAddress:
		if d := w.shown.Dialog; d != nil {
			w.copy(d.Address)
		}
	case view.ActionCopyLog:
		w.copy(w.shown.Log.Text())
	case view.ActionSaveLog:
		w.save(w.shown.Files.SaveTitle, w.shown.Files.LogName, w.acts.SaveLog)
	case view.ActionSaveReport:
		w.save(w.shown.Files.ReportTitle, w.shown.Files.ReportName, w.acts.SaveReport)
	case view.ActionSearch:
		w.search()
	case view.ActionCloseWindow:
		w.closing()
	case view.ActionQuit:
		w.end()
	case view.ActionCloseQuits:
		w.acts.Do(a)
		w.end()
	case view.ActionKeepRunning:
		w.acts.Do(a)
		w.hide()
	default:
		w.acts.Do(a)
	}
}

// end quits the app, which may take a moment that nobody wants to look at.
func (w *Window) end() {
	w.win.Hide()
	w.quit()
}

func (w *Window) hide() {
	w.win.Hide()
	w.hidden()
}

func (w *Window) copy(text string) { w.app.Clipboard().SetContent(text) }

func (w *Window) chooseFile() {
	d := dialog.NewFileOpen(func(f fyne.URIReadCloser, err error) {
		if f != nil {
			_ = f.Close()
			w.acts.ImportFile(f.URI().Path())
			return
		}
		unopened(err, w.acts.ImportFile)
	}, w.win)
	d.SetFilter(storage.NewExtensionFileFilter([]string{".ovpn", ".conf"}))
	w.choose(d, w.shown.Files.OpenTitle, w.shown.Files.Open)
}

// save lets the person name a file, for which a name is proposed, and hands it over.
func (w *Window) save(title, name string, then func(path string)) {
	d := dialog.NewFileSave(func(f fyne.URIWriteCloser, err error) {
		if f != nil {
			_ = f.Close()
			then(f.URI().Path())
			return
		}
		unopened(err, then)
	}, w.win)
	d.SetFileName(name)
	w.choose(d, title, w.shown.Files.Save)
}

// choose shows a dialog for files, as large as the window lets it be, with its title and the word that ends it.
func (w *Window) choose(d *dialog.FileDialog, title, done string) {
	d.SetTitleText(title)
	d.SetConfirmText(done)
	d.SetDismissText(w.shown.Files.Cancel)
	size := w.win.Canvas().Size()
	d.Resize(fyne.NewSize(size.Width*0.9, size.Height*0.9))
	d.Show()
}

// unopened is for a file that the toolkit could not open: the model meets the same error, and has words for it. Without
// an error nothing was chosen.
func unopened(err error, then func(path string)) {
	var at *fs.PathError
	if errors.As(err, &at) {
		then(at.Path)
	}
}

// Drop imports files that were dropped on the window.
func (w *Window) Drop(uris []fyne.URI) {
	for _, u := range uris {
		if u.Scheme() == "file" {
			w.acts.ImportFile(u.Path())
		}
	}
}

// buttons are a row of buttons, and below it why some of them cannot be pressed. What was made for an action stays for
// the next time.
type buttons struct {
	object, row *fyne.Container
	do          func(view.Action)
	made        map[view.ActionKind]*pushButton
	whys        []*widget.Label
}

func newButtons(do func(view.Action)) *buttons {
	b := &buttons{row: container.New(&flow{}), do: do, made: map[view.ActionKind]*pushButton{}}
	b.object = container.New(&column{}, inset(b.row))
	return b
}

func (b *buttons) show(all []view.Button) {
	b.row.Objects, b.object.Objects = nil, b.object.Objects[:1:1]
	shown, said := map[view.ActionKind]bool{}, map[string]bool{"": true}
	for _, v := range all {
		x := b.made[v.Action.Kind]
		if x == nil || shown[v.Action.Kind] {
			x = button(v, b.do)
			b.made[v.Action.Kind] = x
		} else {
			dress(x, v, b.do)
			x.Refresh()
		}
		shown[v.Action.Kind] = true
		b.row.Objects = append(b.row.Objects, x)
		if !v.Enabled && !said[v.Why] {
			said[v.Why] = true
			n := len(b.object.Objects) - 1
			if n == len(b.whys) {
				b.whys = append(b.whys, caption(""))
				b.whys[n].Wrapping = fyne.TextWrapWord
			}
			set(b.whys[n], v.Why)
			b.object.Objects = append(b.object.Objects, b.whys[n])
		}
	}
	b.object.Refresh()
}

func button(b view.Button, do func(view.Action)) *pushButton {
	x := newPushButton("", nil, nil)
	dress(x, b, do)
	return x
}

// dress makes a button that is not on the screen, or is refreshed after, look and do as b says.
func dress(x *pushButton, b view.Button, do func(view.Action)) {
	x.Text, x.OnTapped, x.Importance = b.Label, func() { do(b.Action) }, widget.MediumImportance
	switch {
	case b.Danger:
		x.Importance = widget.DangerImportance
	case b.Default:
		x.Importance = widget.HighImportance
	}
	if b.Enabled {
		x.Enable()
	} else {
		x.Disable()
	}
}

// caption is small text, on one line.
func caption(text string) *widget.Label {
	l := widget.NewLabel(text)
	l.SizeName, l.Importance = theme.SizeNameCaptionText, widget.LowImportance
	return l
}

// newPage is what stands beside the list, one part below the other.
func newPage(parts ...fyne.CanvasObject) *container.Scroll {
	return container.NewVScroll(container.New(layout.NewCustomPaddedLayout(16, 20, 16, 24), container.New(&column{gap: theme.Padding(), most: pageWidth}, parts...)))
}

// pageWidth is how long a line of text gets at most.
const pageWidth = 720

// wrapped is text of any length.
func wrapped(text string) *widget.Label {
	l := widget.NewLabel(text)
	l.Wrapping = fyne.TextWrapWord
	return l
}

// heading is a title.
func heading(text string) *widget.Label {
	l := widget.NewLabelWithStyle(text, fyne.TextAlignLeading, fyne.TextStyle{Bold: true})
	l.SizeName = theme.SizeNameSubHeadingText
	l.Truncation = fyne.TextTruncateEllipsis
	return l
}

// set changes a label if it says something else, so that nothing is drawn for nothing.
func set(l *widget.Label, text string) {
	if l.Text != text {
		l.SetText(text)
	}
}

// showIf makes o visible or not.
func showIf(o fyne.CanvasObject, visible bool) {
	if visible != o.Visible() {
		if visible {
			o.Show()
		} else {
			o.Hide()
		}
	}
}
