package push

import (
	"errors"
	"fmt"
	"strings"
)

// MaxWords is how many words one option may have (openvpn's MAX_PARMS).
const MaxWords = 16

// ErrTooManyWords comes with the first MaxWords words, which are valid.
var ErrTooManyWords = errors.New("more than 16 words")

// Split cuts one option or configuration line into words. Words may stand in
// "double" quotes, where a backslash escapes, or in 'single' quotes, where
// nothing does; outside of single quotes a backslash may stand before a
// backslash, a double quote or white space only. A ; or # where a word would
// start begins a comment. The grammar is openvpn(8)'s.
func Split(line string) ([]string, error) {
	const (
		between = iota
		plain
		double
		single
	)
	var words []string
	var word []byte
	state, escaped := between, false
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '\\' && !escaped && state != single {
			escaped = true
			continue
		}
		if state == between && !escaped {
			switch {
			case isSpace(c):
				continue
			case c == ';' || c == '#':
				return words, nil
			}
			if len(words) == MaxWords {
				return words, ErrTooManyWords
			}
			switch c {
			case '"':
				state = double
				continue
			case '\'':
				state = single
				continue
			}
		}
		if escaped {
			if c != '\\' && c != '"' && !isSpace(c) {
				return nil, fmt.Errorf("backslash before %q: write two backslashes, or put the word in single quotes", c)
			}
			if state == between && len(words) == MaxWords {
				return words, ErrTooManyWords
			}
			escaped = false
			word = append(word, c)
			if state == between {
				state = plain
			}
			continue
		}
		ends := false
		switch state {
		case between:
			state = plain
		case plain:
			ends = isSpace(c)
		case double:
			ends = c == '"'
		case single:
			ends = c == '\''
		}
		if ends {
			words, word, state = append(words, string(word)), word[:0], between
			continue
		}
		word = append(word, c)
	}
	switch {
	case escaped:
		return nil, errors.New("backslash at the end of the line")
	case state == double || state == single:
		return nil, errors.New("no closing quote")
	case state == plain:
		words = append(words, string(word))
	}
	return words, nil
}

// AppendOption appends words in a form that Split reads back.
func AppendOption(b []byte, words ...string) []byte {
	for i, w := range words {
		if i > 0 {
			b = append(b, ' ')
		}
		if w != "" && w[0] != ';' && w[0] != '#' && !strings.ContainsAny(w, " \t\r\n\v\f\"'\\") {
			b = append(b, w...)
			continue
		}
		b = append(b, '"')
		for j := 0; j < len(w); j++ {
			if w[j] == '"' || w[j] == '\\' {
				b = append(b, '\\')
			}
			b = append(b, w[j])
		}
		b = append(b, '"')
	}
	return b
}

// SplitReply cuts the text of a PUSH_REPLY, with or without that word in front,
// at its commas. The grammar knows no quoted comma.
func SplitReply(text string) []string {
	if rest, ok := strings.CutPrefix(text, "PUSH_REPLY"); ok && (rest == "" || rest[0] == ',') {
		text = rest
	}
	var options []string
	for option := range strings.SplitSeq(text, ",") {
		if option != "" {
			options = append(options, option)
		}
	}
	return options
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
