package report

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{5}, Spread{5, 5, 5}},
		{[]float64{9, 1}, Spread{1, 5, 9}},
		{[]float64{9, 2, 1}, Spread{1, 2, 9}},
		{[]float64{9, 4, 2, 1}, Spread{1, 3, 9}},
	} {
		if got := SpreadOf(c.values); got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
	hundred := make([]float64, 101)
	for i := range hundred {
		hundred[i] = float64(i)
	}
	if got := Percentile(hundred, 99); got != 99 {
		t.Errorf("p99 of 0 to 100 is %v", got)
	}
	if got := Percentile([]float64{1, 2}, 75); got != 1.75 {
		t.Errorf("p75 of 1 and 2 is %v", got)
	}
}

var up = Metric{ID: "up", Title: "one stream <up>", Unit: "Mbit/s"}

// sample is openvpn at 100 and adit at 300 Mbit/s, and a ping of 2 and 3 ms.
func sample() *Figures {
	f := &Figures{}
	for i := range 3 {
		f.Add(up, "openvpn", []float64{100, 90, 110}[i])
		f.Add(up, "adit", []float64{300, 180, 310}[i])
	}
	ping := Metric{ID: "ping", Title: "ping", Unit: "ms", Less: true}
	f.Add(ping, "openvpn", 2)
	f.Add(ping, "adit", 3)
	f.Add(ping, "veth", 0.001)
	f.Add(Metric{ID: "zero", Title: "zero", Unit: "%", Hide: true}, "openvpn", 0)
	return f
}

func goals() []Goal {
	return []Goal{
		{Line: "1", Text: "stream", Ours: Ref{"up", "adit"}, Theirs: Ref{"up", "openvpn"}, Bound: 2.5, Aim: 8},
		{Line: "2", Text: "ping", Ours: Ref{"ping", "adit"}, Theirs: Ref{"ping", "openvpn"}, Bound: 1, Most: true},
		{Line: "3", Text: "ping itself", Ours: Ref{"ping", "adit"}, Bound: 5, Most: true, Unit: "ms"},
		{Line: "4", Text: "not there", Ours: Ref{"x", "adit"}, Theirs: Ref{"up", "openvpn"}, Bound: 1},
		{Line: "5", Text: "over nothing", Ours: Ref{"up", "adit"}, Theirs: Ref{"zero", "openvpn"}, Bound: 1},
	}
}

func TestRatio(t *testing.T) {
	if got, ok := sample().Ratio(Ref{"up", "adit"}, Ref{"up", "openvpn"}); !ok || got != (Spread{2, 3, 3}) {
		t.Errorf("%v %v", got, ok)
	}
}

func TestJudge(t *testing.T) {
	v := sample().Judge(goals())
	for i, want := range []string{"met", "falls short", "met", "not measured", "not measured"} {
		if got := v[i].said(); got != want {
			t.Errorf("goal %s: %s, want %s", v[i].Line, got, want)
		}
	}
	if got := strings.Join(Short(v), "\n"); got != "2. ping: 1.5× (1.5 to 1.5), wanted ≤ 1×" {
		t.Errorf("falls short: %s", got)
	}
	if got := v[0].bound() + "; " + v[2].bound() + "; " + v[2].value(); got != "≥ 2.5× (aim 8×); ≤ 5 ms; 3 ms (3 to 3)" {
		t.Errorf("%s", got)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0123: "0.012", 0.1: "0.1", 1.005: "1", 2.346: "2.35", 12.34: "12.3", 123.4: "123", 40000: "40000", 10: "10"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestText(t *testing.T) {
	f := sample()
	got := f.Text(nil) + GoalText(f.Judge(goals()))
	for _, want := range []string{"one stream <up>, Mbit/s", "300  310     3×  (2 to 3)", "falls short", "not measured"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got := f.Text(func(m Metric) bool { return m.ID == "ping" }); strings.Contains(got, "stream") || !strings.Contains(got, "1.5×") {
		t.Errorf("not only ping:\n%s", got)
	}
}

func TestMarkdown(t *testing.T) {
	f := sample()
	got := Page{
		Title: "Performance", Chart: "performance.svg", Method: []string{"Once."}, Facts: []Fact{{"machine", "a|b"}},
		Goals: f.Judge(goals()), Figures: f, Sections: []Section{{"Profile", "Where.", "42% main\n"}},
	}.Markdown()
	for _, want := range []string{
		"# Performance\n", "(performance.svg)", "2 of 3 measured goals are met; 2 were not", "| 2 | ping | ≤ 1× | 1.5× (1.5 to 1.5) | **falls short** |",
		`a\|b`, "| one stream <up>, Mbit/s | openvpn | 100 | 90 to 110 |  |  |", "|  | adit | 300 | 180 to 310 | 3× | 2 to 3 |", "```\n42% main\n```\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestChart(t *testing.T) {
	got := sample().Chart("Figures & more", "veth")
	d := xml.NewDecoder(strings.NewReader(got))
	rects := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not XML: %v\n%s", err, got)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			rects++
		}
	}
	if rects != 4 {
		t.Errorf("%d bars, want 4", rects)
	}
	for _, want := range []string{"Figures &amp; more", "one stream &lt;up&gt;", "less is better", "prefers-color-scheme:dark", `class="ours"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q", want)
		}
	}
}
