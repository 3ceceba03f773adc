package i18n

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
)

var placeholder = regexp.MustCompile(`\{([a-z_]+)\}`)

func argumentsOf(s string) []string {
	var names []string
	for _, m := range placeholder.FindAllStringSubmatch(s, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// declared reads the keys from words.go, so that none can be forgotten here.
func declared(t *testing.T) map[string]Key {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "words.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]Key{}
	for _, d := range file.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range group.Specs {
			spec, ok := s.(*ast.ValueSpec)
			if !ok || !spec.Names[0].IsExported() {
				continue
			}
			words := spec.Values[0].(*ast.CompositeLit).Elts
			text := func(i int) string {
				s, err := strconv.Unquote(words[i].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			if len(words) != 2 {
				t.Fatalf("%s has words in %d languages", spec.Names[0].Name, len(words))
			}
			keys[spec.Names[0].Name] = Key{text(0), text(1)}
		}
	}
	if len(keys) < 200 {
		t.Fatalf("found %d keys: the search is broken", len(keys))
	}
	return keys
}

func check(t *testing.T, name string, k Key) {
	t.Helper()
	if k.en == "" || k.ja == "" {
		t.Errorf("%s: words are missing: %q, %q", name, k.en, k.ja)
	}
	if en, ja := argumentsOf(k.en), argumentsOf(k.ja); !slices.Equal(en, ja) {
		t.Errorf("%s: arguments %v in English, %v in Japanese", name, en, ja)
	}
	for _, s := range []string{k.en, k.ja} {
		if strings.Count(s, "{") != strings.Count(s, "}") || strings.Count(s, "[") != strings.Count(s, "]") || strings.TrimSpace(s) != s {
			t.Errorf("%s: %q", name, s)
		}
	}
	// Required in one language is required in the other, too.
	part := regexp.MustCompile(`\[[^\]]*\]`)
	en, ja := argumentsOf(part.ReplaceAllString(k.en, "")), argumentsOf(part.ReplaceAllString(k.ja, ""))
	if !slices.Equal(en, ja) {
		t.Errorf("%s: required are %v in English, %v in Japanese", name, en, ja)
	}
}

func japanese(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.In(r, unicode.Hiragana, unicode.Katakana, unicode.Han) })
}

// These are the same in all languages, or are written in their own.
var untranslated = []string{"OK", "PageProfiles", "LanguageEnglish", "LanguageJapanese", "TrayState", "ServerThroughPort", "RowMTU", "ExplainNamed"}

func TestKeysAreComplete(t *testing.T) {
	for name, k := range declared(t) {
		check(t, name, k)
		if !japanese(k.ja) && !slices.Contains(untranslated, name) {
			t.Errorf("%s: %q is not Japanese", name, k.ja)
		}
		if japanese(k.en) && name != "LanguageJapanese" {
			t.Errorf("%s: %q is not English", name, k.en)
		}
	}
	for value, k := range arguments {
		check(t, value, k)
		if k.en != value {
			t.Errorf("argument %q reads %q", value, k.en)
		}
	}
}

// TestKeysAreUsed: every key is shown somewhere in gui.
func TestKeysAreUsed(t *testing.T) {
	used := map[string]bool{}
	name := regexp.MustCompile(`\bi18n\.([A-Z]\w*)`)
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range name.FindAllStringSubmatch(string(b), -1) {
			used[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range declared(t) {
		if !used[name] {
			t.Errorf("%s is shown nowhere", name)
		}
	}
}

func TestEveryProblemHasWords(t *testing.T) {
	for _, code := range api.Codes() {
		w, ok := problems[code]
		if !ok {
			t.Errorf("%s has no words", code)
			continue
		}
		check(t, code+" message", w.message)
		check(t, code+" hint", w.hint)
		if !japanese(w.message.ja) || !japanese(w.hint.ja) {
			t.Errorf("%s is not Japanese", code)
		}
		// An argument that nobody passes would read "unknown".
		message, hint, _ := api.Template(code)
		known := argumentsOf(message + hint)
		for _, a := range argumentsOf(w.message.en + w.hint.en) {
			if !slices.Contains(known, a) {
				t.Errorf("%s: {%s} is none of its arguments %v", code, a, known)
			}
		}
	}
	if len(problems) != len(api.Codes()) {
		t.Errorf("%d problems have words, of %d", len(problems), len(api.Codes()))
	}
}

// TestEveryRemarkHasWords: each finding of a check, in each language, the English as the check itself has it.
func TestEveryRemarkHasWords(t *testing.T) {
	for _, code := range profile.Codes() {
		k, ok := remarks[code]
		if !ok {
			t.Errorf("%s has no words", code)
			continue
		}
		if k.en != profile.Template(code) {
			t.Errorf("%s: %q, the check says %q", code, k.en, profile.Template(code))
		}
		if !japanese(k.ja) {
			t.Errorf("%s is not Japanese: %q", code, k.ja)
		}
		known := argumentsOf(k.en)
		for _, a := range argumentsOf(k.ja) {
			if !slices.Contains(known, a) {
				t.Errorf("%s: {%s} is none of its arguments %v", code, a, known)
			}
		}
	}
	if len(remarks) != len(profile.Codes()) {
		t.Errorf("%d remarks have words, of %d", len(remarks), len(profile.Codes()))
	}
}

func TestRemark(t *testing.T) {
	ignored := profile.Finding{Directive: "up", Ignored: true, Code: "no_program", Text: "up is ignored: no program named by a profile is ever run"}
	refused := profile.Finding{Directive: "port", Code: "number", Args: map[string]string{"field": "port", "value": `"{low}"`, "low": "1", "high": "65535"}, Text: "port: …"}
	for _, c := range []struct {
		f    profile.Finding
		l    Language
		want string
	}{
		{ignored, English, ignored.Text},
		{ignored, Japanese, "upは無視されます。プロファイルで指定されたプログラムは、決して実行しません。"},
		{refused, Japanese, `port："{low}"は1から65535までの数値ではありません。`},
		{profile.Finding{Code: "from_the_future", Text: "something new"}, Japanese, "something new"},
		{profile.Finding{Code: "key_mismatch"}, Japanese, "秘密鍵とクライアント証明書が一致しません。"},
	} {
		if got := Remark(c.l, c.f); got != c.want {
			t.Errorf("%s: %q, want %q", c.f.Code, got, c.want)
		}
	}
}

func TestProblem(t *testing.T) {
	for _, c := range []struct {
		p       *api.Problem
		l       Language
		message string
		hints   int
	}{
		{api.NewProblem(api.CodePasswordRefused, map[string]string{"what": "user name and password"}), English, "The server did not accept user name and password.", 1},
		{api.NewProblem(api.CodePasswordRefused, map[string]string{"what": "user name and password", "reason": "locked"}), Japanese, "ユーザー名とパスワードが受け付けられませんでした（locked）。", 2},
		{api.NewProblem(api.CodeSignInTimedOut, map[string]string{"after": "10m0s"}), Japanese, "10分以内にサインインがありませんでした。", 1},
		{api.NewProblem(api.CodeServerUnreachable, map[string]string{"server": "vpn.example.com"}), English, "vpn.example.com does not answer.", 2},
		{&api.Problem{Code: "from_the_future", Message: "something new", Hint: "do this\nor that"}, Japanese, "something new", 2},
		{&api.Problem{Code: api.CodeOffline}, English, "This computer is offline: no network leads to unknown.", 1},
	} {
		message, hints := Problem(c.l, c.p)
		if message != c.message || len(hints) != c.hints {
			t.Errorf("%s in %s: %q, hints %q", c.p.Code, c.l, message, hints)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		setting string
		locales []string
		want    Language
	}{
		{"auto", nil, English},
		{"auto", []string{"", "", "ja_JP.UTF-8"}, Japanese},
		{"auto", []string{"", "ja-JP"}, Japanese},
		{"auto", []string{"C", "", "ja_JP.UTF-8"}, English},
		{"auto", []string{"", "ja_JP.UTF-8", "en_US.UTF-8"}, Japanese},
		{"auto", []string{"ja"}, Japanese},
		{"auto", []string{"ja@latin"}, Japanese},
		{"auto", []string{"jam_JM"}, English},
		{"", []string{"ja_JP"}, Japanese},
		{"en", []string{"ja_JP"}, English},
		{"ja", []string{"en_US"}, Japanese},
		{"klingon", []string{"ja_JP"}, Japanese},
	} {
		if got := Choose(c.setting, c.locales...); got != c.want {
			t.Errorf("%q with %q: %s, want %s", c.setting, c.locales, got, c.want)
		}
	}
	if len(Languages()) != 2 || !(Key{}).IsZero() || OK.IsZero() {
		t.Error("languages or keys")
	}
}

func TestFormats(t *testing.T) {
	at := time.Date(2027, 1, 5, 9, 4, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for _, c := range []struct{ got, want string }{
		{Duration(English, 42*time.Second), "42 s"},
		{Duration(Japanese, 42*time.Second), "42秒"},
		{Duration(English, -time.Second), "0 s"},
		{Duration(English, 3*time.Minute+59*time.Second), "3 min"},
		{Duration(English, 3*time.Hour+12*time.Minute), "3 h 12 min"},
		{Duration(Japanese, 3*time.Hour+12*time.Minute), "3時間12分"},
		{Duration(English, 3*time.Hour), "3 h"},
		{Duration(English, 2*day+4*time.Hour), "2 d 4 h"},
		{Duration(Japanese, 2*day+4*time.Hour), "2日4時間"},
		{Clock(3*time.Hour + 2*time.Minute + 9*time.Second), "3:02:09"},
		{Clock(-time.Hour), "0:00:00"},
		{Bytes(999), "999 B"},
		{Bytes(1000), "1.0 kB"},
		{Bytes(1<<64 - 1), "18446.7 PB"},
		{Bytes(999_960), "1.0 MB"},
		{Rate(English, 12.4), "12 bit/s"},
		{Rate(English, 1_234_000), "1.2 Mbit/s"},
		{Rate(Japanese, 1_234_000), "1.2 Mbps"},
		{Rate(Japanese, -1), "0 bps"},
		{Date(English, at), "5 Jan 2027"},
		{Date(Japanese, at), "2027年1月5日"},
		{Moment(English, at, at.Add(time.Hour)), "09:04"},
		{Moment(English, at, at.Add(-day)), "5 Jan 2027 09:04"},
		{Moment(Japanese, at, at.Add(-day)), "2027年1月5日 09:04"},
		{List(English, []string{"a", "b"}), "a, b"},
		{List(Japanese, []string{"a", "b"}), "a、b"},
		{TrayConnect.In(Japanese, "profile", "社内"), "「社内」に接続"},
		{ServiceBroken.In(English), "The connection to the Adit service is lost."},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// TestNoTimeHint: a closed guard is one more hint of a problem that a wrong clock may be behind.
func TestNoTimeHint(t *testing.T) {
	check(t, "noTimeHint", noTimeHint)
	p := api.NewProblem(api.CodeClockWrong, map[string]string{"now": "1970", "from": "2026", "until": "2027", api.ArgNoTime: "corp"})
	for _, l := range []Language{English, Japanese} {
		if _, hints := Problem(l, p); !strings.Contains(hints[len(hints)-1], "corp") {
			t.Errorf("%v: %q", l, hints)
		}
	}
	if !strings.Contains(p.Hint, "\nthe guard of corp stops time servers") {
		t.Errorf("%q", p.Hint)
	}
}

// TestPortalHint: a network's sign-in page is one more hint of any problem.
func TestPortalHint(t *testing.T) {
	check(t, "portalHint", portalHint)
	p := api.NewProblem(api.CodeServerUnreachable, map[string]string{"server": "vpn.example.com", api.ArgPortal: "https://portal.example.com/"})
	for _, l := range []Language{English, Japanese} {
		_, plain := Problem(l, api.NewProblem(api.CodeServerUnreachable, map[string]string{"server": "vpn.example.com"}))
		_, hints := Problem(l, p)
		if len(hints) != len(plain)+1 || !strings.Contains(hints[len(hints)-1], "https://portal.example.com/") {
			t.Errorf("%v: %q", l, hints)
		}
	}
	if !strings.Contains(p.Hint, "\nthis network names a sign-in page, https://portal.example.com/:") {
		t.Errorf("%q", p.Hint)
	}
}
