package gui

import (
	"image/color"
	"maps"
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
	buttons                        *buttons
	graph                          *graph
	throughput                     *fyne.Container
	graphTitle, peak, rx, tx       *widget.Label
	rxSign, txSign                 *canvas.Rectangle // what is what in the graph: an area and a line
	rows                           *facts
	through                        *throughPane
}

func newDetailPane(do func(view.Action), search func(string)) *detailPane {
	d := &detailPane{do: do, picture: newPicture(52), title: heading(""), text: widget.NewLabel(""), elapsed: widget.NewLabel(""), sentence: wrapped(""), managed: wrapped(""),
		notice: newSlot(noticeOf), buttons: newButtons(do), graph: newGraph(), graphTitle: widget.NewLabel(""), peak: caption(""),
		rx: widget.NewLabel(""), tx: widget.NewLabel(""), rows: newFacts(), through: newThroughPane(search)}
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
	d.through.page = func(e *fyne.ScrollEvent) { d.object.Scrolled(e) }
	d.object = newPage(head, d.sentence, inset(d.notice.object), d.buttons.object, d.managed, d.through.object, d.throughput, d.rows.object)
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
	showIf(d.elapsed, s.Elapsed != "") // which spares its font at the start
	set(d.sentence, s.Sentence)
	showIf(d.sentence, s.Sentence != "")
	set(d.managed, s.Managed)
	showIf(d.managed, s.Managed != "")
	// What comes or goes moves what is below; the toolkit does not always find out by itself.
	moved := d.notice.show(s.Notice) || (old.Throughput == nil) != (s.Throughput == nil) || (old.Sentence == "") != (s.Sentence == "") ||
		(old.Managed == "") != (s.Managed == "") || len(old.Rows) != len(s.Rows)
	moved = d.through.show(&s.Through) || moved
	if !reflect.DeepEqual(old.Buttons, s.Buttons) || old.Name != s.Name {
		d.buttons.show(s.Buttons)
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
	d.rows.show(s.Rows)
	if moved {
		d.object.Content.Refresh()
	}
}

// search brings the search box into sight.
func (d *detailPane) search() *entry {
	d.object.ScrollToOffset(fyne.NewPos(0, d.through.object.Position().Y))
	return d.through.filter
}

// paint colours a sign if it has another colour.
func paint(r *canvas.Rectangle, c color.Color) {
	if r.FillColor != c {
		r.FillColor = c
		r.Refresh()
	}
}

// facts are rows in two columns. What was made for a row stays for the next one of its label: counters change each
// second, and most rows come back with the next connection.
type facts struct {
	object *fyne.Container
	made   map[string]fact
	shown  []view.Row
}

// fact is a row.
type fact struct{ label, value *widget.Label }

func newFacts() *facts { return &facts{object: container.New(&form{}), made: map[string]fact{}} }

func (f *facts) show(rows []view.Row) {
	same := func(a, b view.Row) bool { return a.Label == b.Label && a.Warn == b.Warn }
	if !slices.EqualFunc(f.shown, rows, same) {
		made := map[string]fact{}
		f.object.Objects = nil
		for _, r := range rows {
			x, there := f.made[r.Label]
			if _, twice := made[r.Label]; twice || !there {
				x = newFact(r.Label)
			}
			made[r.Label] = x
			x.warn(r.Warn)
			f.object.Objects = append(f.object.Objects, x.label, x.value)
		}
		maps.Copy(f.made, made)
		f.object.Refresh()
	}
	f.shown = rows
	for i, r := range rows {
		set(f.object.Objects[2*i+1].(*widget.Label), r.Value)
	}
}

func newFact(label string) fact {
	f := fact{wrapped(label), wrapped("")}
	f.label.Importance = widget.LowImportance
	f.value.Selectable = true
	return f
}

// warn makes the value stand out, or not.
func (f fact) warn(on bool) {
	if f.value.TextStyle.Bold == on {
		return
	}
	f.value.TextStyle.Bold, f.value.Importance = on, widget.MediumImportance
	if on {
		f.value.Importance = widget.WarningImportance
	}
	f.value.Refresh()
}

// throughPane says what goes through the VPN.
type throughPane struct {
	object       *fyne.Container
	title, words *widget.Label
	filter       *entry
	count        *widget.Label
	list         *keyList
	sized        *fyne.Container
	networks     []view.Network
	seen         int                     // how many the list has room for
	page         func(*fyne.ScrollEvent) // turns the page that this is on
}

// networksSeen is how many networks are seen at once at most.
const networksSeen = 5

func newThroughPane(find func(string)) *throughPane {
	t := &throughPane{title: widget.NewLabel(""), words: wrapped(""), filter: newSearch(find), count: caption("")}
	t.title.TextStyle.Bold = true
	line := func() fyne.CanvasObject {
		return container.New(squeezed{}, container.NewGridWithColumns(2, widget.NewLabel(""), widget.NewLabel("")))
	}
	t.list = newKeyList(func() int { return len(t.networks) }, line,
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
		}, nil)
	t.sized = container.New(&rows{of: line(), count: &t.seen}, t.list, newWheel(t.wheel))
	search := container.NewStack(t.filter, newWheel(func(e *fyne.ScrollEvent) { t.page(e) }))
	t.object = container.New(&column{gap: theme.Padding()}, container.New(lines(), t.title, t.words), inset(container.NewBorder(nil, nil, nil, t.count, search)), t.sized)
	return t
}

// wheel turns the list, and the page where the list is at its end.
func (t *throughPane) wheel(e *fyne.ScrollEvent) {
	before := t.list.GetScrollOffset()
	t.list.ScrollToOffset(before - e.Scrolled.DY)
	if t.list.GetScrollOffset() == before {
		t.page(e)
	}
}

// show says whether it is of another height than before.
func (t *throughPane) show(s *view.Through) (moved bool) {
	before := [4]any{t.seen, t.words.Text, t.title.Text == "", t.sized.Visible()}
	switch {
	case s.Filter == "":
		t.seen = min(len(s.Networks), networksSeen)
	case t.seen == 0:
		t.seen = networksSeen
	} // what a search leaves moves nothing
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
		t.list.UnselectAll() // which was another line
		t.list.Refresh()
	}
	some := len(s.Networks) > 0 || s.Filter != ""
	showIf(t.filter, some)
	showIf(t.count, s.Count != "")
	showIf(t.sized, some)
	return before != [4]any{t.seen, s.Words, s.Title == "", some}
}
