// Package cedar evaluates the authorization policies of AWS Client VPN: Cedar documents whose statements are about context alone
// ("How Client VPN uses Cedar" in its administrator guide). The language is github.com/cedar-policy/cedar-go's.
//
// No goroutines; a Policy is safe for concurrent use.
package cedar

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
)

// MaxPolicy is AWS's limit for a document, in bytes ("Considerations when writing policies").
const MaxPolicy = 10000

// Policy is a document with its permit and forbid statements.
type Policy struct{ statements *cedar.PolicySet }

// Error is what is wrong with a document. Line and Column count from 1; 0 is the document as a whole.
type Error struct {
	Line, Column int
	Text         string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Text
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
}

// Parse reads a document. An error is an *Error.
func Parse(document string) (*Policy, error) {
	switch {
	case len(document) > MaxPolicy:
		return nil, &Error{Text: fmt.Sprintf("has %d bytes, %d are the most", len(document), MaxPolicy)}
	case !utf8.ValidString(document):
		return nil, &Error{Text: "is not UTF-8"}
	}
	set, err := cedar.NewPolicySetFromBytes("", []byte(document))
	if err != nil {
		return nil, located(err)
	}
	for range set.All() {
		return &Policy{set}, nil
	}
	return nil, &Error{Text: "has no statement: nobody could connect"}
}

// position is what the library says of where a mistake is.
var position = regexp.MustCompile(`(?s)^(?:parser error: )?(?:parse error at )?<input>:(\d+):(\d+):? (.*)$`)

func located(err error) *Error {
	text := err.Error()
	m := position.FindStringSubmatch(text)
	if m == nil {
		return &Error{Text: text}
	}
	e := &Error{Text: m[3]}
	e.Line, _ = strconv.Atoi(m[1])
	e.Column, _ = strconv.Atoi(m[2])
	return e
}

// What comes of an evaluation, in the words of AWS's connection log.
const (
	Permit = "permit"
	Deny   = "deny"
	Failed = "error"
)

// Result is the outcome of an evaluation.
type Result struct {
	Decision string // Permit, Deny or Failed
	// Why is for people: the statement that decided, or what could not be evaluated.
	Why string
}

// Evaluate judges a context: strings, booleans, whole numbers, lists and maps of them by name. A connection is allowed if a permit
// statement holds and no forbid statement does. A statement that cannot be evaluated, such as one about an attribute that there is
// not, makes the result Failed unless a forbid statement holds anyway: Cedar itself would pass over it, a forbid too.
func (p *Policy) Evaluate(context map[string]any) Result {
	values, err := record(context)
	if err != nil {
		return Result{Failed, err.Error()}
	}
	// Principal, action and resource are nobody's: AWS documents no names for them.
	decision, found := cedar.Authorize(p.statements, nil, cedar.Request{Context: values})
	switch {
	case decision == cedar.Deny && len(found.Reasons) > 0:
		return Result{Deny, "forbidden by the statement in line " + lines(found.Reasons)}
	case len(found.Errors) > 0:
		// The order of the library's is that of a map.
		first := slices.MinFunc(found.Errors, func(a, b cedar.DiagnosticError) int { return a.Position.Offset - b.Position.Offset })
		return Result{Failed, fmt.Sprintf("the statement in line %d cannot be evaluated: %s", first.Position.Line, first.Message)}
	case decision == cedar.Allow:
		return Result{Permit, "permitted by the statement in line " + lines(found.Reasons)}
	}
	return Result{Deny, "no permit statement holds"}
}

// lines are those of statements, each once.
func lines(of []cedar.DiagnosticReason) string {
	var all []int
	for _, r := range of {
		all = append(all, r.Position.Line)
	}
	slices.Sort(all)
	var out []string
	for _, n := range slices.Compact(all) {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, ", ")
}

func record(m map[string]any) (cedar.Record, error) {
	out := cedar.RecordMap{}
	for name, v := range m {
		c, err := value(v)
		if err != nil {
			return cedar.Record{}, fmt.Errorf("%s: %w", name, err)
		}
		out[cedar.String(name)] = c
	}
	return cedar.NewRecord(out), nil
}

func value(v any) (cedar.Value, error) {
	switch v := v.(type) {
	case string:
		return cedar.String(v), nil
	case bool:
		return cedar.Boolean(v), nil
	case int:
		return cedar.Long(v), nil
	case []string:
		list := make([]cedar.Value, len(v))
		for i, s := range v {
			list[i] = cedar.String(s)
		}
		return cedar.NewSet(list...), nil
	case map[string]any:
		return record(v)
	}
	return nil, fmt.Errorf("a %T is no value of Cedar", v)
}
