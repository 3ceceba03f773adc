package gui

import (
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"github.com/adit-vpn/adit/gui/view"
)

// profileList is the list of profiles with their states.
type profileList struct {
	object fyne.CanvasObject
	list   *keyList
	empty  *widget.Label
	others *widget.Label // other users' tunnels
	items  []view.Item
	theme  fyne.Theme
	chosen string // by the person, and not on a screen yet; empty: nothing
	quiet  bool   // the selection is the screen's, not the person's
}

// row is one line of it.
type row struct {
	widget.BaseWidget
	content *fyne.Container
	picture *picture
	title   *widget.Label
	text    *widget.Label
	lock    *widget.Icon
	busy    *widget.Activity
}

func newRow() *row {
	r := &row{picture: newPicture(26), title: widget.NewLabel(""), text: widget.NewLabel(""), lock: widget.NewIcon(theme.NewThemedResource(lockIcon())), busy: widget.NewActivity()}
	r.title.TextStyle.Bold = true
	r.title.Truncation, r.text.Truncation = fyne.TextTruncateEllipsis, fyne.TextTruncateEllipsis
	r.text.SizeName, r.text.Importance = theme.SizeNameCaptionText, widget.LowImportance
	r.content = container.NewBorder(nil, nil, container.NewPadded(r.picture.Image), container.NewHBox(r.busy, container.NewPadded(r.lock)),
		container.New(lines(), r.title, r.text))
	r.ExtendBaseWidget(r)
	return r
}

// CreateRenderer implements fyne.Widget.
func (r *row) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(r.content) }

func (r *row) show(i view.Item, th fyne.Theme) {
	r.picture.show(i.Icon, th)
	set(r.title, i.Title)
	set(r.text, i.Text)
	showIf(r.lock, i.Managed != "")
	if i.Progress {
		r.busy.Show()
		r.busy.Start()
	} else {
		r.busy.Stop()
		r.busy.Hide()
	}
}

func newProfileList(selected func(profile string)) *profileList {
	l := &profileList{empty: wrapped(""), others: wrapped("")}
	l.others.SizeName = theme.SizeNameCaptionText
	l.list = newKeyList(func() int { return len(l.items) }, func() fyne.CanvasObject { return newRow() },
		func(id widget.ListItemID, o fyne.CanvasObject) {
			if id < len(l.items) {
				o.(*row).show(l.items[id], l.theme)
			}
		}, func(id widget.ListItemID) {
			if !l.quiet && id < len(l.items) {
				l.chosen = l.items[id].Name
				selected(l.chosen)
			}
		})
	l.object = container.NewBorder(nil, l.others, nil, nil, container.NewStack(l.list, l.empty))
	return l
}

// words shows what is said beside the list, and says whether that may have made the list smaller or larger.
func (l *profileList) words(s view.Screen) bool {
	text := ""
	for _, o := range s.Others {
		text += o + "\n"
	}
	moved := l.others.Text != text
	set(l.empty, s.Empty)
	showIf(l.empty, len(s.Profiles) == 0)
	set(l.others, text)
	showIf(l.others, text != "")
	return moved
}

// show shows the profiles, and the selected one in what is seen of the list.
func (l *profileList) show(s view.Screen, th fyne.Theme) {
	there := func(i view.Item) bool { return i.Name == l.chosen }
	if at := slices.IndexFunc(s.Profiles, there); at < 0 || s.Profiles[at].Selected {
		l.chosen = ""
	}
	if slices.Equal(l.items, s.Profiles) && l.theme == th {
		return
	}
	l.items, l.theme = s.Profiles, th
	l.list.Refresh()
	l.quiet = true
	if at := slices.IndexFunc(l.items, func(i view.Item) bool { return i.Selected }); at >= 0 {
		l.list.Select(at)
	} else {
		l.list.UnselectAll()
	}
	l.quiet = false
}
