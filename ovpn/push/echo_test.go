package push

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMessage(t *testing.T) {
	for _, c := range []struct {
		name, want string
		echo       []string
	}{
		{"none", "", []string{"hello", "setenv A b", "disable-save-passwords"}},
		{"never shown", "", []string{"msg half of it"}},
		{"empty", "", []string{"msg", "msg-window Title"}},
		{"two lines", "Authorized use only.\nAll is logged.", []string{"msg Authorized use only.", "msg All is logged.", "msg-window Welcome"}},
		{"parts", "one two\nthree", []string{"msg-n one ", "msg %20two", "msg three", "msg-notify x"}},
		{"blank line", "a\n\nb", []string{"msg a", "msg", "msg b", "msg-window x"}},
		{"two messages", "a\n\nb", []string{"msg a", "msg-window x", "msg b", "msg-notify y"}},
		{"encoded", "100% sure, #1; \"quoted\"", []string{"msg 100%25%20sure%2c%20%231%3B %22quoted%22", "msg-window x"}},
		{"no encoding", "100% of %zz and %4", []string{"msg 100% of %zz and %4", "msg-window x"}},
		{"quoted by the server's file", "two  spaces # here", []string{"'msg two  spaces # here'", "msg-window x"}},
		{"control characters", "red[31m bell\nline", []string{"msg %1B[31mred[31m%07 bell%0Aline", "msg-window x"}},
		{"in another order", "user txt.exe", []string{"msg user%20%e2%80%aetxt.exe%e2%81%a6", "msg-window x"}},
		{"blank lines", "a\n\nb\nc", []string{"msg", "msg a", "msg", "msg %20", "msg %07", "msg b", "msg c", "msg", "msg-window x"}},
		{"not UTF-8", "a�b", []string{"msg a%ffb", "msg-window x"}},
	} {
		want := c.want
		if c.name == "control characters" {
			want = "[31mred[31m bell\nline"
		}
		if got := (Reply{Echo: c.echo}).Message(); got != want {
			t.Errorf("%s: got %q, want %q", c.name, got, want)
		}
	}
	many := Reply{Echo: append(slices.Repeat([]string{"msg x"}, maxLines), "msg-window x")}
	if got := many.Message(); got != strings.Repeat("x\n", maxLines-1)+"x" {
		t.Errorf("as many lines as there may be: %q", got)
	}
	many.Echo = append([]string{"msg x"}, many.Echo...)
	if got := many.Message(); got != strings.Repeat("x\n", maxLines-1)+"…" {
		t.Errorf("a line too many: %q", got)
	}
	flood := Reply{Echo: slices.Repeat([]string{"msg " + strings.Repeat("x", 1000), "msg-window x"}, 1000)}
	if n := len(flood.Message()); n > maxMessage {
		t.Errorf("a flood gives %d bytes", n)
	}
}

func TestMessageEcho(t *testing.T) {
	if got := MessageEcho(" \n\n\x00\n", "x"); len(got) > 2 {
		t.Errorf("nothing to say: %q", got)
	}
	if got := MessageEcho("", "Welcome"); got != nil {
		t.Errorf("nothing to say: %q", got)
	}
	got := MessageEcho("Use it, for work only.\r\n\r\nYou're \"watched\": 100% \\o/", "Login banner")
	want := []string{"msg Use%20it%2C%20for%20work%20only.", "msg", "msg You%27re%20%22watched%22:%20100%25%20%5Co/", "msg-window Login%20banner"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for _, text := range []string{strings.Repeat("x", 1400), strings.Repeat(",", 1400), strings.Repeat("無断使用を禁ず。", 175), strings.Repeat("😀", 1400)} {
		checkEcho(t, text)
	}
}

// checkEcho: text arrives whole, in options that every OpenVPN reads as one command and one word.
func checkEcho(t *testing.T, text string) {
	t.Helper()
	r := Reply{PeerID: -1, Echo: MessageEcho(text, "Login banner")}
	if err := r.Check(); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	options := r.Options()
	if len(options) != len(r.Echo) {
		t.Fatalf("%q: %d options of %d", text, len(options), len(r.Echo))
	}
	for _, o := range options {
		words, err := Split(o)
		if len(o) > 200 || err != nil || len(words) > 3 || strings.Join(words, " ") != o {
			t.Fatalf("%q: option %q: %q, %v", text, o, words, err)
		}
	}
	back, err := Parse(options, nil)
	if err != nil || len(back.Notes) > 0 {
		t.Fatalf("%q: %v, %q", text, err, back.Notes)
	}
	if got, want := back.Message(), shown(text); got != want {
		t.Fatalf("%q: came back as %q", text, got)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("msg a,msg-n b%20,msg-window c")
	f.Add("Authorized use only.\n\nAll, is #logged; 100%\t\\")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		checkEcho(t, text)
		got := (Reply{Echo: strings.Split(text, ",")}).Message()
		if len(got) > 3*maxMessage || strings.Count(got, "\n") >= maxLines || strings.ContainsAny(got, "\u202e\u2066") || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
			t.Fatalf("%q shows %q", text, got)
		}
	})
}

// TestEnforceRoutes: no profile takes the wish back, and none makes it itself; but a profile may refuse the server for it, and the
// machine's policy may forbid it.
func TestEnforceRoutes(t *testing.T) {
	options := Reply{PeerID: -1, EnforceRoutes: true}.Options()
	if !slices.Equal(options, []string{"echo adit client-route-enforcement"}) {
		t.Fatalf("options %q", options)
	}
	for _, filter := range []Filter{nil, {{Ignore, "echo"}}, {{Accept, "echo"}, {Reject, "echo"}}} {
		if r, err := Parse(options, filter); err != nil || !r.EnforceRoutes || len(r.Echo) > 0 {
			t.Errorf("%v: %v, %v", filter, r, err)
		}
	}
	options = append(options, "route 10.0.0.0 255.0.0.0", "redirect-gateway def1", "dhcp-option DNS 10.0.0.2")
	if r, err := Parse(options, Filter{{Ignore, ""}}); err != nil || len(r.Routes) != 1 || r.Redirect == nil || len(r.DNS.Servers) != 0 || len(r.Notes) != 3 {
		t.Errorf("%v, %v", r, err)
	}
	update := []string{"route 10.1.0.0 255.255.0.0", "-redirect-gateway", "dns search-domains x"}
	for _, have := range [][]string{nil, options} {
		kept, err := Filter{{Ignore, ""}}.Update(have, update)
		if err != nil || len(kept) != 2*min(len(have), 1) {
			t.Errorf("an update to %q keeps %q, %v", have, kept, err)
		}
	}
	if r, err := Own([][]string{{"echo", "adit", "client-route-enforcement"}}); err != nil || r.EnforceRoutes {
		t.Errorf("own: %v, %v", r, err)
	}

	for _, filter := range []Filter{{{Reject, "echo"}}, {{Ignore, "redirect"}, {Reject, "route"}}, {{Reject, "redirect-gateway"}, NoEnforcement()}} {
		if r, err := Parse(options, filter); err == nil {
			t.Errorf("%v refuses nothing: %v", filter, r)
		}
	}
	if kept, err := (Filter{{Reject, "route"}}).Update(options, update); err == nil {
		t.Errorf("an update is not refused: %q", kept)
	}
	for _, filter := range []Filter{{NoEnforcement()}, {{Ignore, "redirect"}, NoEnforcement()}} {
		r, err := Parse(options, filter)
		if err != nil || r.EnforceRoutes || len(r.Routes) != 1 || (r.Redirect == nil) != (len(filter) > 1) || len(r.Notes) != len(filter) || !strings.Contains(r.Notes[0], "the policy of this machine") {
			t.Errorf("%v: %+v, %v", filter, r, err)
		}
	}
	if kept, err := (Filter{{Ignore, "route"}, NoEnforcement()}).Update(options, update); err != nil || len(kept) != 2 {
		t.Errorf("forbidden: an update keeps %q, %v", kept, err)
	}
}
