package gui

import (
	"image/color"
	"reflect"
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"github.com/adit-vpn/adit/gui/view"
)

// detailPane is the selected profile.
type detailPane struct {
	object *container.Scroll
	do     func(view.Action)
	shown  view.Detail

	picture                        *picture
	title, text, sentence, elapsed *widget.Label
	managed                        *widget.Label
	notice                         *slot[view.Notice]
	buttons                        *fyne.Container
	graph                          *graph
	throughput                     *fyne.Container
	graphTitle, peak, rx, tx       *widget.Label
	rxSign, txSign                 *canvas.Rectangle // what is what in the graph: an area and a line
	rows                           *fyne.Container
	through                        *throughPane
}

func newDetailPane(do func(view.Action), search func(string)) *detailPane {
	d := &detailPane{do: do, picture: newPicture(52), title: heading(""), text: widget.NewLabel(""), elapsed: widget.NewLabel(""), sentence: wrapped(""), managed: wrapped(""),
		notice: newSlot(noticeOf), buttons: container.New(&column{}), graph: newGraph(), graphTitle: widget.NewLabel(""), peak: caption(""),
		rx: widget.NewLabel(""), tx: widget.NewLabel(""), rows: container.New(&form{}), through: newThroughPane(search)}
	d.title.SizeName, d.title.Truncation, d.title.Wrapping = theme.SizeNameHeadingText, fyne.TextTruncateOff, fyne.TextWrapWord
	d.rxSign, d.txSign = canvas.NewRectangle(color.Transparent), canvas.NewRectangle(color.Transparent)
	d.graphTitle.TextStyle.Bold = true
	d.elapsed.TextStyle.Monospace = true
	d.managed.SizeName = theme.SizeNameCaptionText
	d.throughput = container.NewVBox(container.NewBorder(nil, nil, d.graphTitle, container.New(&steady{}, d.peak)), inset(d.graph), container.New(&flow{},
		container.NewHBox(inset(container.NewCenter(d.rxSign)), container.New(&steady{}, d.rx)), container.NewHBox(inset(container.NewCenter(d.txSign)), container.New(&steady{}, d.tx))))
	d.rxSign.SetMinSize(fyne.NewSize(14, 12))
	d.txSign.SetMinSize(fyne.NewSize(14, 2))
	head := container.NewBorder(nil, nil, inset(d.picture.Image), container.NewVBox(d.elapsed), container.New(lines(), d.title, d.text))
	d.object = newPage(head, d.sentence, inset(d.notice.object), d.buttons, d.managed, d.throughput, d.rows, d.through.object)
	return d
}

func (d *detailPane) show(s *view.Detail, th fyne.Theme) {
	old := d.shown
	d.shown = *s
	d.picture.show(s.Icon, th)
	set(d.title, s.Title)
	text := s.Text
	if s.Since != "" {
		text += " · " + s.Since
	}
	set(d.text, text)
	set(d.elapsed, s.Elapsed)
	set(d.sentence, s.Sentence)
	showIf(d.sentence, s.Sentence != "")
	set(d.managed, s.Managed)
	showIf(d.managed, s.Managed != "")
	// What comes or goes moves what is below; the toolkit does not always find out by itself.
	moved := d.notice.show(s.Notice) || (old.Throughput == nil) != (s.Throughput == nil) || (old.Sentence == "") != (s.Sentence == "") ||
		(old.Managed == "") != (s.Managed == "") || len(old.Rows) != len(s.Rows)
	if !reflect.DeepEqual(old.Buttons, s.Buttons) || old.Name != s.Name {
		d.buttons.Objects = buttonRow(s.Buttons, d.do)
		d.buttons.Refresh()
	}
	if t := s.Throughput; t != nil {
		set(d.graphTitle, t.Title)
		set(d.peak, t.PeakText)
		set(d.rx, t.Rx)
		set(d.tx, t.Tx)
		variant := fyne.CurrentApp().Settings().ThemeVariant()
		paint(d.rxSign, th.Color(theme.ColorNamePrimary, variant))
		paint(d.txSign, th.Color(theme.ColorNameForeground, variant))
		if old.Throughput == nil || *old.Throughput != *t {
			d.graph.show(t)
		}
	}
	showIf(d.throughput, s.Throughput != nil)
	showFacts(d.rows, old.Rows, s.Rows)
	d.through.show(&s.Through)
	if moved {
		d.object.Content.Refresh()
	}
}

// search brings the search box into sight.
func (d *detailPane) search() *entry {
	d.object.ScrollToBottom()
	return d.through.filter
}

// paint colours a sign if it has another colour.
func paint(r *canvas.Rectangle, c color.Color) {
	if r.FillColor != c {
		r.FillColor = c
		r.Refresh()
	}
}

// showFacts shows rows in a form. Those whose values alone are others stay: counters change each second.
func showFacts(f *fyne.Container, old, rows []view.Row) {
	same := func(a, b view.Row) bool { return a.Label == b.Label && a.Warn == b.Warn }
	if len(f.Objects) != 2*len(rows) || !slices.EqualFunc(old, rows, same) {
		f.Objects = facts(rows)
		f.Refresh()
		return
	}
	for i, r := range rows {
		set(f.Objects[2*i+1].(*widget.Label), r.Value)
	}
}

// facts makes two columns.
func facts(rows []view.Row) []fyne.CanvasObject {
	var out []fyne.CanvasObject
	for _, r := range rows {
		label, value := wrapped(r.Label), wrapped(r.Value)
		label.Importance = widget.LowImportance
		value.Selectable = true
		if r.Warn {
			value.Importance = widget.WarningImportance
			value.TextStyle.Bold = true
		}
		out = append(out, label, value)
	}
	return out
}

// throughPane says what goes through the VPN.
type throughPane struct {
	object       *fyne.Container
	title, words *widget.Label
	filter       *entry
	count        *widget.Label
	list         *widget.List
	sized        *fyne.Container
	networks     []view.Network
}

// networksHeight is how much of the list of networks is seen at once.
const networksHeight = 220

func newThroughPane(search func(string)) *throughPane {
	t := &throughPane{title: widget.NewLabel(""), words: wrapped(""), filter: newSearch(search), count: caption("")}
	t.title.TextStyle.Bold = true
	t.list = widget.NewList(func() int { return len(t.networks) },
		func() fyne.CanvasObject {
			return container.New(squeezed{}, container.NewGridWithColumns(2, widget.NewLabel(""), widget.NewLabel("")))
		},
		func(id widget.ListItemID, o fyne.CanvasObject) {
			if id >= len(t.networks) {
				return
			}
			n, cells := t.networks[id], o.(*fyne.Container).Objects[0].(*fyne.Container).Objects
			to, why := cells[0].(*widget.Label), cells[1].(*widget.Label)
			to.TextStyle.Monospace = true
			to.Truncation, why.Truncation = fyne.TextTruncateEllipsis, fyne.TextTruncateEllipsis
			set(to, n.Destination)
			set(why, n.Reason)
		})
	t.list.HideSeparators = true
	t.sized = container.New(height{networksHeight}, t.list)
	t.object = container.New(&column{gap: theme.Padding()}, container.New(lines(), t.title, t.words), inset(container.NewBorder(nil, nil, nil, t.count, t.filter)), t.sized)
	return t
}

func (t *throughPane) show(s *view.Through) {
	set(t.title, s.Title)
	set(t.words, s.Words)
	showIf(t.title, s.Title != "")
	showIf(t.words, s.Words != "")
	if t.filter.PlaceHolder != s.Label {
		t.filter.SetPlaceHolder(s.Label)
	}
	set(t.count, s.Count)
	if !reflect.DeepEqual(t.networks, s.Networks) {
		t.networks = s.Networks
		t.list.Refresh()
	}
	some := len(s.Networks) > 0 || s.Filter != ""
	showIf(t.filter, some)
	showIf(t.count, some)
	showIf(t.sized, some)
}
