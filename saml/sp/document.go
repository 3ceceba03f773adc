package sp

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/beevik/etree"
)

// Bounds of a document: what a parser may be made to do for one answer.
const (
	maxDepth      = 32
	maxElements   = 8192
	maxAttributes = 64 // of one element
	maxPrefixes   = 64 // declared from the root to one element
)

// scan reads a document as tokens and refuses what two parsers could understand in two
// ways, or what makes one work hard: a DTD (entities, default attributes), processing
// instructions and comments (which split text; metadata may have them), another encoding than
// UTF-8, an attribute or an ID twice, more than one root, and odd names.
func scan(text []byte, comments bool) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	var open []xml.Name
	prefixes := []int{0} // declared up to each open element
	ids := map[string]bool{}
	elements, roots := 0, 0
	for first := true; ; first = false {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		switch t := token.(type) {
		case xml.Directive:
			return fmt.Errorf("%w: a DTD", ErrMalformed)
		case xml.Comment:
			if !comments {
				return fmt.Errorf("%w: a comment", ErrMalformed)
			}
		case xml.ProcInst:
			if !comments && (t.Target != "xml" || !first) {
				return fmt.Errorf("%w: a processing instruction", ErrMalformed)
			}
		case xml.CharData:
			if len(open) == 0 && len(bytes.TrimSpace(t)) > 0 {
				return fmt.Errorf("%w: text outside of the document", ErrMalformed)
			}
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != t.Name {
				return fmt.Errorf("%w: element %s ends where it did not begin", ErrMalformed, t.Name.Local)
			}
			open, prefixes = open[:len(open)-1], prefixes[:len(prefixes)-1]
		case xml.StartElement:
			if len(open) == 0 {
				roots++
			}
			elements++
			n, err := checkElement(t, ids)
			if err != nil {
				return err
			}
			n += prefixes[len(prefixes)-1]
			open, prefixes = append(open, t.Name), append(prefixes, n)
			switch {
			case roots > 1:
				return fmt.Errorf("%w: more than one root", ErrMalformed)
			case len(open) > maxDepth, elements > maxElements, n > maxPrefixes:
				return fmt.Errorf("%w: too many elements or namespaces", ErrMalformed)
			}
		}
	}
	if roots != 1 || len(open) != 0 {
		return fmt.Errorf("%w: the document is not complete", ErrMalformed)
	}
	return nil
}

// checkElement checks one start tag; it counts the namespaces that it declares.
func checkElement(t xml.StartElement, ids map[string]bool) (declared int, err error) {
	if len(t.Attr) > maxAttributes {
		return 0, fmt.Errorf("%w: too many attributes", ErrMalformed)
	}
	seen := map[xml.Name]bool{}
	for _, name := range append([]xml.Name{t.Name}, names(t.Attr)...) {
		if strings.Contains(name.Local, ":") || name.Local == "" {
			return 0, fmt.Errorf("%w: name %q", ErrMalformed, name.Space+":"+name.Local)
		}
	}
	for _, a := range t.Attr {
		if seen[a.Name] {
			return 0, fmt.Errorf("%w: attribute %s twice", ErrMalformed, a.Name.Local)
		}
		seen[a.Name] = true
		switch {
		case a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns":
			declared++
		case strings.EqualFold(a.Name.Local, "id"):
			if ids[a.Value] {
				return 0, fmt.Errorf("%w: ID %q twice", ErrMalformed, a.Value)
			}
			ids[a.Value] = true
		}
	}
	return declared, nil
}

func names(attrs []xml.Attr) []xml.Name {
	out := make([]xml.Name, len(attrs))
	for i, a := range attrs {
		out[i] = a.Name
	}
	return out
}

// document reads a response as a tree that scan found unambiguous.
func document(text []byte) (*etree.Element, error) {
	if len(text) > MaxResponse {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrMalformed, MaxResponse)
	}
	if err := scan(text, false); err != nil {
		return nil, err
	}
	doc := etree.NewDocument()
	doc.ReadSettings = etree.ReadSettings{PreserveDuplicateAttrs: true, MaxDepth: maxDepth + 1}
	if err := doc.ReadFromBytes(text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if doc.Root() == nil {
		return nil, fmt.Errorf("%w: no element", ErrMalformed)
	}
	return doc.Root(), nil
}

// layout finds the assertion of a response and refuses every other arrangement than
// response/assertion with their own signatures: what a wrapped response needs.
func layout(root *etree.Element) (assertion *etree.Element, err error) {
	if root.Tag != "Response" || root.NamespaceURI() != nsProtocol {
		return nil, fmt.Errorf("%w: the document is %q, not a response", ErrMalformed, root.Tag)
	}
	assertions, signatures := 0, 0
	var walk func(e *etree.Element) error
	walk = func(e *etree.Element) error {
		switch e.Tag {
		case "EncryptedAssertion", "EncryptedID", "EncryptedAttribute":
			return fmt.Errorf("%w: it is encrypted, which AWS Client VPN does not support", ErrMalformed)
		case "Assertion":
			if assertions++; e.Parent() != root || e.NamespaceURI() != nsAssertion || assertions > 1 {
				return fmt.Errorf("%w: more than one assertion, or one in another place", ErrMalformed)
			}
			assertion = e
		case "Signature":
			if signatures++; e.NamespaceURI() != nsSignature || e.Parent() != root && e.Parent() != assertion || signatures > 2 {
				return fmt.Errorf("%w: one in another place than the response or the assertion", ErrSignature)
			}
		case "Response":
			if e != root {
				return fmt.Errorf("%w: a response inside", ErrMalformed)
			}
		}
		for _, c := range e.ChildElements() {
			if err := walk(c); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(root); err != nil {
		return nil, err
	}
	return assertion, nil
}
