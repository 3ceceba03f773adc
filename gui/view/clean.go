package view

import (
	"strings"
	"unicode"
)

// Bounds of foreign text in runes: what servers, files and other people's programs say.
const (
	maxTitle  = 48   // a profile's name in a heading or a menu
	maxPhrase = 300  // a sentence, a prompt
	maxBanner = 2000 // of maxBannerLines
	maxDetail = 200  // one value in a list

	maxBannerLines = 30
)

// clean keeps a foreign text to one line of at most limit runes. Control characters become spaces; those
// that reorder or hide what is around them (bidi controls, zero-width ones) are left out, so that no name can
// look like another's or turn a sentence round.
func clean(s string, limit int) string {
	if len(s) > 16*limit {
		s = s[:16*limit] // before anything is counted: it may be megabytes
	}
	var out strings.Builder
	n, space := 0, false
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			space = n > 0
			continue
		case hidden(r):
			continue
		}
		if space {
			out.WriteByte(' ')
			n, space = n+1, false
		}
		if n >= limit-1 { // room for the ellipsis, if there is more
			rest := strings.TrimSpace(out.String())
			return rest + "…"
		}
		out.WriteRune(r)
		n++
	}
	return strings.TrimSpace(out.String())
}

// hidden says whether r shows nothing and changes how its neighbours look.
func hidden(r rune) bool {
	switch {
	case r == 0x200C || r == 0x200D: // joiners: Persian, Indic scripts and emoji need them
		return false
	case r == 0x061C, r >= 0x200B && r <= 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2060 && r <= 0x206F, r == 0xFEFF, r == 0xFFF9, r == 0xFFFA, r == 0xFFFB, r >= 0xE0000 && r <= 0xE0FFF:
		return true
	}
	return false
}

// paragraphs is clean for a text of several lines: a banner.
func paragraphs(s string) string {
	if len(s) > 16*maxBanner {
		s = s[:16*maxBanner]
	}
	var lines []string
	left, blank := maxBanner, false
	for line := range strings.SplitSeq(strings.ReplaceAll(s, "\r\n", "\n"), "\n") {
		if len(lines) == maxBannerLines || left <= 1 {
			lines = append(lines, "…")
			break
		}
		line = clean(line, left)
		if line == "" {
			blank = len(lines) > 0
			continue
		}
		if blank {
			lines, blank = append(lines, ""), false
		}
		left -= len([]rune(line))
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
