// Package query reads the parameters of AWS's EC2 Query protocol out of a form: names with dots and numbers, such as
// Filter.1.Value.2, into structs. The form of names and the words of errors are EC2's (Amazon EC2 API Reference, "Query requests"
// and "Error codes"). It does no I/O and keeps nothing.
package query

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxParameters = 4096 // in one request
	maxDepth      = 6    // dots in a name, and one
	maxName       = 255  // bytes of a name
)

// Error is a request that cannot be read, with EC2's code for it.
type Error struct{ Code, Message string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func failf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Form is what a request says: each parameter once, as it came.
type Form map[string]string

// Parse reads a body of type application/x-www-form-urlencoded; errors are *Error. Names come once, and values are text that
// XML can say again. The caller bounds the body.
func Parse(body string) (Form, error) {
	form := Form{}
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return nil, failf("MalformedQueryString", "The request body is not a form: %v", err)
		}
		if name == "" || len(name) > maxName || !isText(name) {
			return nil, failf("MalformedQueryString", "The request body has a parameter without a usable name")
		}
		if !isText(value) {
			return nil, failf("InvalidParameterValue", "The value for parameter %s is not text", name)
		}
		if _, twice := form[name]; twice {
			return nil, failf("InvalidParameterCombination", "The parameter %s is there more than once", name)
		}
		if len(form) == maxParameters {
			return nil, failf("InvalidParameterCombination", "The request has more than %d parameters", maxParameters)
		}
		form[name] = value
	}
	return form, nil
}

// isText says whether s can stand in XML 1.0 (its production 2, Char).
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	})
}

// Take removes a parameter and returns its value, empty when it is not there.
func (f Form) Take(name string) string {
	v := f[name]
	delete(f, name)
	return v
}

// Canonical is the form as one text, equal for equal forms, without the parameters in except.
func (f Form) Canonical(except ...string) string {
	var pairs []string
	for name, value := range f {
		if !slices.Contains(except, name) {
			pairs = append(pairs, strconv.Quote(name)+"="+strconv.Quote(value))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// node is one step of the parameters' names: what A.B=v is below A.
type node struct {
	path     string
	value    *string
	children map[string]*node
}

// tree puts a form's names together where they begin alike.
func tree(f Form) (*node, error) {
	root := &node{}
	for _, name := range f.names() {
		steps := strings.Split(name, ".")
		if len(steps) > maxDepth {
			return nil, unknown(name)
		}
		at := root
		for i, step := range steps {
			if step == "" {
				return nil, unknown(name)
			}
			next := at.children[step]
			if next == nil {
				next = &node{path: strings.Join(steps[:i+1], ".")}
				if at.children == nil {
					at.children = map[string]*node{}
				}
				at.children[step] = next
			}
			at = next
		}
		value := f[name]
		at.value = &value
	}
	return root, nil
}

// names are sorted, so that of several mistakes the same one is told each time.
func (f Form) names() []string {
	names := make([]string, 0, len(f))
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func unknown(path string) *Error {
	return failf("UnknownParameter", "The parameter %s is not recognized", path)
}

func missing(path string) *Error {
	return failf("MissingParameter", "The request must contain the parameter %s", path)
}

// first is the name of the first parameter at or below n.
func (n *node) first() string {
	if n.value != nil {
		return n.path
	}
	var least string
	for step := range n.children {
		if least == "" || step < least {
			least = step
		}
	}
	return n.children[least].first()
}

func sortedSteps(children map[string]*node) []string {
	steps := make([]string, 0, len(children))
	for step := range children {
		steps = append(steps, step)
	}
	slices.Sort(steps)
	return steps
}
