package mdm

import (
	"strings"
)

// document writes XML with one element a line. The zero value is empty.
type document struct {
	b     strings.Builder
	depth int
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func newDocument() *document {
	d := &document{}
	d.line(`<?xml version="1.0" encoding="UTF-8"?>`)
	return d
}

func (d *document) line(s string) {
	d.b.WriteString(strings.Repeat("  ", d.depth) + s + "\n")
}

// tag is the beginning of an element; attributes are pairs of a name and a value.
func tag(name string, attributes []string) string {
	s := "<" + name
	for i := 0; i+1 < len(attributes); i += 2 {
		s += " " + attributes[i] + `="` + escaper.Replace(attributes[i+1]) + `"`
	}
	return s
}

// in writes an element with what is inside.
func (d *document) in(name string, inside func(), attributes ...string) {
	d.line(tag(name, attributes) + ">")
	d.depth++
	inside()
	d.depth--
	d.line("</" + name + ">")
}

// leaf writes an element with a text.
func (d *document) leaf(name, text string, attributes ...string) {
	d.line(tag(name, attributes) + ">" + escaper.Replace(text) + "</" + name + ">")
}

// empty writes an element without contents.
func (d *document) empty(name string, attributes ...string) { d.line(tag(name, attributes) + "/>") }

func (d *document) comment(text string) {
	d.line("<!-- " + strings.ReplaceAll(text, "--", "- -") + " -->")
}

func (d *document) bytes() []byte { return []byte(d.b.String()) }
