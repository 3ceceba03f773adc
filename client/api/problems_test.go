package api

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestEveryCodeHasWords reads the constants from the source, so that a code added
// without words fails.
func TestEveryCodeHasWords(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "problems.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		if declared[code] {
			t.Errorf("code %s is declared twice", code)
		}
		declared[code] = true
		return true
	})
	if len(declared) < 40 {
		t.Fatalf("found %d codes in problems.go: the search is broken", len(declared))
	}
	// These arguments may appear in templates; whoever makes a Problem passes them.
	known := map[string]bool{}
	for _, name := range strings.Fields("server transport detail option reason profile after method what line setting destination limit action owner socket start proxy flag file url key now from until network other address") {
		known[name] = true
	}
	argument := regexp.MustCompile(`\{([^}]*)\}`)
	for code := range declared {
		message, hint, ok := Template(code)
		if !ok || message == "" || hint == "" {
			t.Errorf("%s: message %q, hint %q: both are needed", code, message, hint)
		}
		if !regexp.MustCompile(`^[a-z_]+$`).MatchString(code) {
			t.Errorf("%s: not a code", code)
		}
		if strings.Contains(message, "\n") || strings.HasSuffix(message, ".") {
			t.Errorf("%s: message %q: one line, no full stop", code, message)
		}
		full := map[string]string{}
		for _, m := range argument.FindAllStringSubmatch(message+hint, -1) {
			if !known[m[1]] {
				t.Errorf("%s: unknown argument %q", code, m[1])
			}
			full[m[1]] = "<" + m[1] + ">"
		}
		p := NewProblem(code, full)
		if strings.ContainsAny(p.Message+p.Hint, "{}[]") || strings.Contains(p.Message+p.Hint, "unknown ") {
			t.Errorf("%s: badly filled: %q, %q", code, p.Message, p.Hint)
		}
		for name, value := range full {
			if !strings.Contains(p.Message+p.Hint, value) {
				t.Errorf("%s: argument %s is lost", code, name)
			}
		}
	}
	if len(Codes()) != len(declared) {
		t.Errorf("%d codes have words, %d are declared", len(Codes()), len(declared))
	}
}

func TestSessionEndedWithoutAProfileName(t *testing.T) {
	p := NewProblem(CodeSessionEnded, map[string]string{"reason": "bye"})
	if p.Hint != "connect again with: adit connect" {
		t.Errorf("hint %q", p.Hint)
	}
}

func TestFill(t *testing.T) {
	for _, tc := range []struct {
		template string
		args     map[string]string
		want     string
	}{
		{"plain", nil, "plain"},
		{"no {x}", nil, "no unknown"},
		{"no {x}[: {detail}] end", map[string]string{"x": "1"}, "no 1 end"},
		{"no {x}[: {detail}] end", map[string]string{"x": "1", "detail": "because"}, "no 1: because end"},
		{"{x}", map[string]string{"x": "{y}[z]"}, "{y}[z]"},
		{"open [", nil, "open "},
		{"open {", nil, "open unknown"},
	} {
		if got := Fill(tc.template, tc.args); got != tc.want {
			t.Errorf("Fill(%q, %v) = %q, want %q", tc.template, tc.args, got, tc.want)
		}
	}
}

func TestNewProblemTamesForeignText(t *testing.T) {
	p := NewProblem(CodeAuthFailed, map[string]string{"reason": "no\x1b[31m\nhint: run rm " + strings.Repeat("x", 5000)})
	if strings.ContainsAny(p.Message, "\x1b\n") || len(p.Message) > 1200 {
		t.Errorf("message of %d bytes: %q", len(p.Message), p.Message)
	}
}

func TestUnknownCodeIsInternal(t *testing.T) {
	p := NewProblem("no_such", nil)
	if p.Code != CodeInternal || !strings.Contains(p.Message, "no_such") {
		t.Errorf("got %+v", p)
	}
}

func TestAsProblem(t *testing.T) {
	p := NewProblem(CodeTimeout, map[string]string{"after": "5s"})
	if got := AsProblem(fmt.Errorf("attempt: %w", p)); got != p {
		t.Errorf("wrapped: got %v", got)
	}
	if got := AsProblem(errors.New("boom")); got.Code != CodeInternal || !strings.Contains(got.Message, "boom") {
		t.Errorf("plain: got %v", got)
	}
	if AsProblem(nil) != nil || IsCode(nil, CodeTimeout) {
		t.Error("nil is a problem")
	}
	if !IsCode(fmt.Errorf("x: %w", p), CodeTimeout) || IsCode(p, CodeInternal) {
		t.Error("IsCode is wrong")
	}
}
