package endpoint

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader walks a YAML tree and collects mistakes with their lines. Aliases are
// refused, so that the tree is a tree and its size is that of the file.
type reader struct {
	file string
	errs ConfigErrors
}

// fields is what a mapping may contain.
type fields map[string]func(n *yaml.Node, path string)

// maxMistakes bounds what is said about one file, and the search for it: a file of
// 1 MiB may have a hundred thousand unknown keys, each compared with all that are known.
const maxMistakes = 100

func (r *reader) full() bool { return len(r.errs) >= maxMistakes }

func (r *reader) fail(n *yaml.Node, path, format string, args ...any) {
	if r.full() {
		return
	}
	line := 0
	if n != nil {
		line = n.Line
	}
	r.errs = append(r.errs, &ConfigError{File: r.file, Line: line, Field: path, Text: fmt.Sprintf(format, args...)})
}

// maxDepth bounds the nesting; the schema needs six levels.
const maxDepth = 32

// plain refuses what would make the tree more than the text: anchors and aliases.
func (r *reader) plain(n *yaml.Node, depth int) bool {
	if depth > maxDepth {
		r.fail(n, "", "nested too deeply")
		return false
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		r.fail(n, "", "anchors and aliases are not supported: write the value out")
		return false
	}
	for _, c := range n.Content {
		if !r.plain(c, depth+1) {
			return false
		}
	}
	return true
}

// mapping calls the function of each key. Unknown and repeated keys are mistakes.
func (r *reader) mapping(n *yaml.Node, path string, known fields) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "must be a mapping with the keys %s", strings.Join(sortedKeys(known), ", "))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content) && !r.full(); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		if key.Kind != yaml.ScalarNode {
			r.fail(key, path, "a key must be a word")
			continue
		}
		if line, twice := seen[key.Value]; twice {
			r.fail(key, at, "given twice, first in line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		read, ok := known[key.Value]
		if !ok {
			if near := nearest(key.Value, known); near != "" {
				r.fail(key, at, "unknown key, did you mean %s?", near)
			} else {
				r.fail(key, at, "unknown key")
			}
			continue
		}
		read(value, at)
	}
}

// list calls item for each element.
func (r *reader) list(n *yaml.Node, path string, item func(n *yaml.Node, path string)) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n, path, "must be a list")
		return
	}
	for i, c := range n.Content {
		if r.full() {
			return
		}
		item(c, path+"["+strconv.Itoa(i)+"]")
	}
}

func (r *reader) text(n *yaml.Node, path string, into *string) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		r.fail(n, path, "must be text")
		return
	}
	if n.Value == "" {
		r.fail(n, path, "is empty")
		return
	}
	if strings.ContainsAny(n.Value, "\x00\n\r") {
		r.fail(n, path, "must be one line")
		return
	}
	*into = n.Value
}

// word is text out of a closed list.
func (r *reader) word(n *yaml.Node, path string, into *string, allowed ...string) {
	var v string
	r.text(n, path, &v)
	switch {
	case v == "":
	case !slices.Contains(allowed, v):
		r.fail(n, path, "%q is not one of %s", v, strings.Join(allowed, ", "))
	default:
		*into = v
	}
}

func (r *reader) boolean(n *yaml.Node, path string, into *bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(into) != nil {
		r.fail(n, path, "must be true or false, not %q", n.Value)
	}
}

func (r *reader) number(n *yaml.Node, path string, low, high int, into *int) {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || v < low || v > high {
		r.fail(n, path, "must be a number from %d to %d, not %q", low, high, n.Value)
		return
	}
	*into = v
}

func (r *reader) prefix(n *yaml.Node, path string, into *netip.Prefix) {
	p, err := netip.ParsePrefix(n.Value)
	switch {
	case n.Kind != yaml.ScalarNode || err != nil || p.Addr().Is4In6() || p.Addr().Zone() != "":
		r.fail(n, path, "%q is not a range like 10.0.0.0/16", n.Value)
	case p != p.Masked():
		r.fail(n, path, "%s has host bits: write %s", p, p.Masked())
	default:
		*into = p
	}
}

func (r *reader) addr(n *yaml.Node, path string, into *netip.Addr) {
	a, err := netip.ParseAddr(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		r.fail(n, path, "%q is not an address", n.Value)
		return
	}
	*into = a
}

// addrPort reads a listen address. Port 0 is refused: a profile must name the port.
func (r *reader) addrPort(n *yaml.Node, path string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddrPort(n.Value)
	switch {
	case n.Kind != yaml.ScalarNode || err != nil || a.Addr().Is4In6() || a.Addr().IsMulticast():
		r.fail(n, path, "%q is not an address with a port, like 127.0.0.1:1194 or [::1]:1194", n.Value)
	case a.Port() == 0:
		r.fail(n, path, "port 0 is not possible: clients must know the port")
	default:
		return a, true
	}
	return netip.AddrPort{}, false
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func sortedKeys(m fields) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// nearest finds the known key that differs from word by at most two edits.
func nearest(word string, known fields) string {
	best, name := 3, ""
	if len(word) > 64 {
		return ""
	}
	for _, k := range sortedKeys(known) {
		if d := distance(word, k); d < best && d < len(k) {
			best, name = d, k
		}
	}
	return name
}

// distance is the number of single-letter edits from a to b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost = 1 + min(last, row[j], row[j+1])
			}
			last, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

var errTooLarge = errors.New("larger than 1 MiB")

func readAtMost(f io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooLarge
	}
	return b, err
}
