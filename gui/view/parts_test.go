package view

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/adit-vpn/adit/client/api"
)

func TestClean(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 10, ""},
		{"  a \r\n\t b  ", 10, "a b"},
		{"a\x1b[31mb\x00c\u0085d", 20, "a [31mb c d"},
		{"user\u202egnp.exe", 20, "usergnp.exe"},
		{"zero\u200bwidth\ufeff", 20, "zerowidth"},
		{"می\u200cخواهم", 20, "می\u200cخواهم"},
		{"abcdefghij", 10, "abcdefghi…"},
		{"abcdefghi", 10, "abcdefghi"},
		{"日本語の長い名前です", 5, "日本語の…"},
		{"\xff\xfe", 10, "\ufffd"},
		{strings.Repeat(" ", 1<<20) + "x", 10, ""},
	} {
		if got := clean(c.in, c.limit); got != c.want {
			t.Errorf("clean(%.40q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"a\r\nb\n\n\n\nc\n\n", "a\nb\n\nc"},
		{"\n\n a\x07b", "a b"},
	} {
		if got := paragraphs(c.in); got != c.want {
			t.Errorf("paragraphs(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	if got := strings.Count(paragraphs(strings.Repeat("x\n", 10_000)), "\n"); got != maxBannerLines {
		t.Errorf("%d lines", got+1)
	}
}

// FuzzClean: what is left of any text is bounded, of one line, and stays as it is when cleaned again.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"a", "\x1b[0m\u202e", "日本語\n\n\nx", "\xff", strings.Repeat("é\u0301", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, limit := range []int{2, 48, 300} {
			got := clean(s, limit)
			if utf8.RuneCountInString(got) > limit || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) || hidden(r) }) {
				t.Fatalf("%q becomes %q", s, got)
			}
			if again := clean(got, limit); again != got {
				t.Fatalf("%q becomes %q, then %q", s, got, again)
			}
		}
		if got := paragraphs(s); strings.Count(got, "\n") > maxBannerLines || utf8.RuneCountInString(got) > maxBanner+2*maxBannerLines {
			t.Fatalf("%d runes, %d lines", utf8.RuneCountInString(got), strings.Count(got, "\n"))
		}
	})
}

// TestThroughput: seconds are known, zero, or gaps.
func TestThroughput(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	sec := func(s float64) time.Time { return begin.Add(time.Duration(s * float64(time.Second))) }
	newest := func(m *meter, now float64, n int) []Sample {
		g := m.graph(sec(now))
		return g[samples-n:]
	}
	var m meter
	// Once a second 1000 bytes, a little late or early.
	for i := range 20 {
		m.count(sec(float64(i)+0.1*float64(i%3)), begin, api.Counters{RxBytes: uint64(i) * 1000, TxBytes: uint64(i) * 10})
	}
	for i, s := range newest(&m, 20, 18) {
		if !s.Known || s.Rx < 6000 || s.Rx > 10_500 || s.Tx*99 > s.Rx || s.Tx*101 < s.Rx {
			t.Errorf("second %d: %+v", i, s)
		}
	}
	if g := m.graph(sec(20)); g[0].Known || g[50].Known {
		t.Error("known before it began")
	}
	// Nothing for ten seconds, then 5000 bytes at once: zeros, then a peak, not ten seconds of a little.
	last := api.Counters{RxBytes: 19_000, TxBytes: 190}
	last.RxBytes += 5000
	m.count(sec(30), begin, last)
	g := newest(&m, 31, 8)
	for i, s := range g[:7] {
		if !s.Known || s.Rx != 0 {
			t.Errorf("quiet second %d: %+v", i, s)
		}
	}
	if g[7].Rx != 40_000 {
		t.Errorf("peak %+v", g[7])
	}
	// Quiet since, and the service is still listened to: zeros.
	if g := newest(&m, 40, 5); !g[0].Known || g[4] != (Sample{Known: true}) {
		t.Errorf("quiet: %+v", g)
	}
	// The service is lost for five seconds: a gap, whatever went through meanwhile.
	m.gap()
	last.RxBytes += 1_000_000
	m.count(sec(45), begin, last)
	last.RxBytes += 1000
	m.count(sec(46), begin, last)
	g = newest(&m, 47, 10)
	if g[9] != (Sample{Known: true, Rx: 8000}) || g[8].Known || g[5].Known {
		t.Errorf("gap: %+v", g)
	}
	// Another session begins anew, and so do counters that went back.
	m.count(sec(50), sec(49), api.Counters{RxBytes: 7})
	if g := newest(&m, 51, 100); g[99].Known || g[50].Known {
		t.Errorf("the old session shows: %+v", g[99])
	}
	m.count(sec(52), sec(49), api.Counters{RxBytes: 3})
	m.count(sec(51), sec(49), api.Counters{RxBytes: 4}) // the clock went back
	if g := newest(&m, 54, 1); g[0].Rx != 0 {
		t.Errorf("%+v", g)
	}
	// It stays as large as the graph.
	for i := range 10_000 {
		m.count(sec(60+float64(i)), sec(49), api.Counters{RxBytes: uint64(100 + i)})
	}
	if len(m.spans) > samples+5 {
		t.Errorf("%d spans", len(m.spans))
	}
}

func TestPreferencesFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "adit", "gui.json")
	if p, err := loadPreferences(file); err != nil || p.Language != "auto" || !p.Notifications {
		t.Errorf("no file: %+v, %v", p, err)
	}
	p := defaultPreferences()
	p.Theme, p.TextSize, p.CertificatesTold = "dark", "large", map[string]time.Time{"work": now}
	if err := savePreferences(file, p); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got, err := loadPreferences(file); err != nil || got.Theme != "dark" || got.TextSize != "large" || !got.CertificatesTold["work"].Equal(now) {
		t.Errorf("%+v, %v", got, err)
	}
	// A newer version's keys stay, and its version; values of the wrong form are as if they were not there.
	newer := `{"version": 7, "hologram": {"on": [1, 2.50]}, "theme": "sepia", "text_size": "huge", "language": 5, "notifications": false, "certificates_told": null}`
	if err := os.WriteFile(file, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := loadPreferences(file)
	if err != nil || p.Theme != "auto" || p.TextSize != "normal" || p.Language != "auto" || p.Notifications || p.CertificatesTold == nil {
		t.Errorf("%+v, %v", p, err)
	}
	if err := savePreferences(file, p); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(file)
	var kept map[string]json.RawMessage
	if err := json.Unmarshal(b, &kept); err != nil || string(kept["version"]) != "7" || !bytes.Contains(bytes.Join(bytes.Fields(kept["hologram"]), nil), []byte(`{"on":[1,2.50]}`)) {
		t.Errorf("%s, %v", b, err)
	}
	// What cannot be read is said, and not taken.
	for name, f := range map[string]func() error{
		"nonsense": func() error { return os.WriteFile(file, []byte("[]"), 0o600) },
		"huge":     func() error { return os.Truncate(file, maxPreferences+1) },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
		if p, err := loadPreferences(file); err == nil || p.Language != "auto" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := loadPreferences(dir); err == nil {
		t.Error("a directory was read")
	}
}

// FuzzPreferences: a file of any content gives settings that can be written and read again.
func FuzzPreferences(f *testing.F) {
	f.Add([]byte(`{"version":1,"language":"ja","certificates_told":{"a":"2026-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"version":"x","theme":null,"":{}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePreferences(b)
		if err != nil {
			return
		}
		out, err := p.encode()
		if err != nil {
			return // a time that JSON cannot say
		}
		q, err := parsePreferences(out)
		if err != nil || q.Language != p.Language || q.Theme != p.Theme || q.Notifications != p.Notifications || q.OnClose != p.OnClose || q.BackgroundTold != p.BackgroundTold || len(q.unknown) != len(p.unknown) && len(q.unknown) != len(p.unknown)+1 {
			t.Fatalf("%q becomes %q: %+v, %v", b, out, q, err)
		}
	})
}
