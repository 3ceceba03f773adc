// Package i18n has the words of the desktop app in English and Japanese, and writes durations,
// sizes, rates and dates as each language does. It decides nothing: which words are shown is
// package view's to say. Nothing in it changes while the program runs; all of it is safe for
// concurrent use.
package i18n

import (
	"fmt"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// Language is one that there are words in. The zero value is English.
type Language uint8

// The languages.
const (
	English Language = iota
	Japanese
)

// Languages are all of them.
func Languages() []Language { return []Language{English, Japanese} }

// Tag is the language's BCP 47 tag, as settings and the policy name it.
func (l Language) Tag() string {
	if l == Japanese {
		return "ja"
	}
	return "en"
}

func (l Language) String() string { return l.Tag() }

// Choose returns the language that a setting ("auto", "en" or "ja") means. With "auto", and with what
// this version does not know, the first locale that is set decides: on Unix the values of LC_ALL,
// LC_MESSAGES and LANG, in this order; elsewhere what the system says ("ja-JP").
func Choose(setting string, locales ...string) Language {
	switch setting {
	case "en":
		return English
	case "ja":
		return Japanese
	}
	for _, locale := range locales {
		if locale == "" {
			continue
		}
		tag, _, _ := strings.Cut(locale, ".") // ja_JP.UTF-8
		tag, _, _ = strings.Cut(tag, "@")
		tag, _, _ = strings.Cut(strings.ReplaceAll(tag, "-", "_"), "_")
		if strings.EqualFold(tag, "ja") {
			return Japanese
		}
		return English
	}
	return English
}

// Key is one text in all languages. The set is closed: only this package makes keys (words.go). In a text,
// {name} stands for an argument, and a part in [brackets] is left out when an argument in it is missing.
type Key struct{ en, ja string }

// In returns the key's words in l. Arguments are pairs of a name and a value: "profile", "work".
func (k Key) In(l Language, args ...string) string {
	values := make(map[string]string, len(args)/2)
	for i := 0; i+1 < len(args); i += 2 {
		values[args[i]] = args[i+1]
	}
	return api.Fill(k.template(l), values)
}

func (k Key) template(l Language) string {
	if l == Japanese {
		return k.ja
	}
	return k.en
}

// IsZero says whether k is no key at all.
func (k Key) IsZero() bool { return k == Key{} }

// Problem words a problem: one sentence, and hints, each a line of its own. For a code that only a newer
// service knows, the service's own English words stay.
func Problem(l Language, p *api.Problem) (message string, hints []string) {
	w, ok := problems[p.Code]
	if !ok {
		return p.Message, lines(p.Hint)
	}
	args := make(map[string]string, len(p.Args))
	for name, value := range p.Args {
		args[name] = argument(l, name, value)
	}
	hints = lines(api.Fill(w.hint.template(l), args))
	if args[api.ArgPortal] != "" {
		hints = append(hints, api.Fill(portalHint.template(l), args))
	}
	if args[api.ArgNoTime] != "" {
		hints = append(hints, api.Fill(noTimeHint.template(l), args))
	}
	return api.Fill(w.message.template(l), args), hints
}

// argument words an argument that is itself words, or a duration.
func argument(l Language, name, value string) string {
	if name == "after" {
		if d, err := time.ParseDuration(value); err == nil {
			return Duration(l, d)
		}
	}
	if k, ok := arguments[value]; ok && (name == "what" || name == "detail") {
		return k.In(l)
	}
	return value
}

func lines(s string) []string {
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		if line != "" {
			out = append(out, line)
		}
	}
	return out
}

// Duration writes d in its two largest units: "42 s", "3 min", "3 h 12 min", "2 d 4 h".
func Duration(l Language, d time.Duration) string {
	d = max(d, 0)
	s, m, h, days := int(d/time.Second)%60, int(d/time.Minute)%60, int(d/time.Hour)%24, int(d/(24*time.Hour))
	units := [4]string{" s", " min", " h", " d"}
	gap := " "
	if l == Japanese {
		units, gap = [4]string{"秒", "分", "時間", "日"}, ""
	}
	two := func(a int, ua string, b int, ub string) string {
		if b == 0 {
			return fmt.Sprintf("%d%s", a, ua)
		}
		return fmt.Sprintf("%d%s%s%d%s", a, ua, gap, b, ub)
	}
	switch {
	case days > 0:
		return two(days, units[3], h, units[2])
	case h > 0:
		return two(h, units[2], m, units[1])
	case m > 0:
		return fmt.Sprintf("%d%s", m, units[1])
	}
	return fmt.Sprintf("%d%s", s, units[0])
}

// Clock writes how long something has been going on as a stopwatch does, "1:02:03", the same in all languages.
func Clock(d time.Duration) string {
	s := int(max(d, 0) / time.Second)
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// Bytes writes a size in the decimal units that networks are sold in: "1.2 MB".
func Bytes(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	return scaled(float64(n)) + "B"
}

// Rate writes bits per second: "1.2 Mbit/s", in Japanese "1.2 Mbps".
func Rate(l Language, bits float64) string {
	unit := "bit/s"
	if l == Japanese {
		unit = "bps"
	}
	if bits < 999.5 {
		return fmt.Sprintf("%.0f %s", max(bits, 0), unit)
	}
	return scaled(bits) + unit
}

func scaled(v float64) string {
	unit := 0
	for v >= 999.95 && unit < 5 {
		v, unit = v/1000, unit+1
	}
	return fmt.Sprintf("%.1f %c", v, " kMGTP"[unit])
}

// Date writes a day: "5 Jan 2027", "2027年1月5日". The time's zone is the caller's to choose.
func Date(l Language, t time.Time) string {
	if l == Japanese {
		return t.Format("2006年1月2日")
	}
	return t.Format("2 Jan 2006")
}

// Moment writes a day and the time of it, and the time alone when it is on the day of now.
func Moment(l Language, t, now time.Time) string {
	clock := t.Format("15:04")
	if y, m, d := t.Date(); func() bool { ny, nm, nd := now.In(t.Location()).Date(); return y == ny && m == nm && d == nd }() {
		return clock
	}
	return Date(l, t) + " " + clock
}

// List joins words: "a, b", "a、b".
func List(l Language, words []string) string {
	if l == Japanese {
		return strings.Join(words, "、")
	}
	return strings.Join(words, ", ")
}
