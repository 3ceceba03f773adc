package migrate

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const maxKeys = 2000 // of one keyfile

// keyfile is a file in GLib's key file format: groups of keys, in order. A key that is written twice counts as the
// last time.
type keyfile struct {
	groups []string
	keys   map[string][]string          // of a group
	values map[string]map[string]string // as written, with their escapes
}

// parseKeyfile reads one. Source: the Desktop Entry Specification, which GLib's key files follow.
func parseKeyfile(text []byte) (*keyfile, error) {
	k := &keyfile{keys: map[string][]string{}, values: map[string]map[string]string{}}
	if !utf8.Valid(text) {
		return nil, errors.New("not a keyfile: it is not UTF-8")
	}
	group, count := "", 0
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimRight(line, "\r\n")
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#':
			continue
		case trimmed[0] == '[' && trimmed[len(trimmed)-1] == ']':
			group = trimmed[1 : len(trimmed)-1]
			if k.values[group] == nil {
				k.groups, k.values[group] = append(k.groups, group), map[string]string{}
			}
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" || group == "" {
			return nil, fmt.Errorf("line %d: neither [group] nor key=value", number)
		}
		if count++; count > maxKeys {
			return nil, fmt.Errorf("line %d: there are more than %d keys", number, maxKeys)
		}
		if _, there := k.values[group][key]; !there {
			k.keys[group] = append(k.keys[group], key)
		}
		k.values[group][key] = strings.TrimLeft(value, " \t")
	}
	return k, nil
}

// text is a key's value without escapes; "" if there is none.
func (k *keyfile) text(group, key string) string { return unescape(k.values[group][key]) }

// list is a value of texts that end in semicolons.
func (k *keyfile) list(group, key string) []string {
	var all []string
	var item strings.Builder
	raw := k.values[group][key]
	for i := 0; i < len(raw); i++ {
		switch {
		case raw[i] == '\\' && i+1 < len(raw):
			if raw[i+1] != ';' {
				item.WriteByte('\\')
			}
			item.WriteByte(raw[i+1])
			i++
		case raw[i] == ';':
			all = append(all, unescape(item.String()))
			item.Reset()
		default:
			item.WriteByte(raw[i])
		}
	}
	if item.Len() > 0 {
		all = append(all, unescape(item.String()))
	}
	return all
}

// unescape reads \s, \n, \t, \r and \\; what else follows a backslash stays with it.
func unescape(raw string) string {
	if !strings.Contains(raw, `\`) {
		return raw
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' || i+1 == len(raw) {
			b.WriteByte(raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 's':
			b.WriteByte(' ')
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case '\\':
			b.WriteByte('\\')
		default:
			b.WriteByte('\\')
			b.WriteByte(raw[i])
		}
	}
	return b.String()
}

// octets reads the \ooo that NetworkManager writes for bytes of a path that are not UTF-8, and \\ for a backslash.
func octets(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	octal := func(c byte) bool { return c >= '0' && c <= '7' }
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '\\' || i+1 == len(text):
			b.WriteByte(text[i])
		case text[i+1] == '\\':
			b.WriteByte('\\')
			i++
		case octal(text[i+1]):
			n, digits := 0, 0
			for digits < 3 && i+1 < len(text) && octal(text[i+1]) {
				n, digits, i = n*8+int(text[i+1]-'0'), digits+1, i+1
			}
			b.WriteByte(byte(n))
		default:
			b.WriteByte('\\')
		}
	}
	return b.String()
}
