package cedar

import (
	"errors"
	"strings"
	"testing"
)

func context() map[string]any {
	return map[string]any{
		"connection": map[string]any{"platform": "linux", "public-ip": "198.51.100.7", "new": true, "age": 7},
		"saml":       map[string]any{"memberOf": []string{"Engineering", "All"}},
	}
}

// TestEvaluate: statements decide as AWS's guide says.
func TestEvaluate(t *testing.T) {
	for _, c := range []struct{ policy, decision, why string }{
		{`permit(principal, action, resource);`, Permit, "permitted by the statement in line 1"},
		{`permit(principal, action, resource) when { context.saml.memberOf.contains("Engineering") };`, Permit, "line 1"},
		{`permit(principal, action, resource) when { context.saml.memberOf.contains("Sales") };`, Deny, "no permit statement holds"},
		{"permit(principal, action, resource);\nforbid(principal, action, resource) when { context.connection.platform == \"linux\" };", Deny, "forbidden by the statement in line 2"},
		{`permit(principal, action, resource) when { ip(context.connection["public-ip"]).isInRange(ip("198.51.100.0/24")) };`, Permit, ""},
		{`permit(principal, action, resource) when { context.connection.age > 5 && context.connection.new };`, Permit, ""},
		{`permit(principal, action, resource) when { context.connection.platform like "l*x" };`, Permit, ""},
		{`permit(principal, action, resource) unless { context has jamf };`, Permit, ""},
		// What is not there cannot be evaluated, and Cedar would pass over a forbid like this.
		{`permit(principal, action, resource) when { context.crowdstrike.assessment.overall > 50 };`, Failed, "the statement in line 1 cannot be evaluated"},
		{"permit(principal, action, resource);\n\nforbid(principal, action, resource) when { context.crowdstrike.jailbroken };", Failed, "line 3"},
		{"forbid(principal, action, resource);\npermit(principal, action, resource) when { context.jamf.risk == \"LOW\" };", Deny, "line 1"},
		{`permit(principal == User::"ann", action, resource);`, Deny, ""},
	} {
		p, err := Parse(c.policy)
		if err != nil {
			t.Errorf("%s: %v", c.policy, err)
			continue
		}
		if got := p.Evaluate(context()); got.Decision != c.decision || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: %+v", c.policy, got)
		}
	}
	p, err := Parse(`permit(principal, action, resource);`)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Evaluate(map[string]any{"x": map[string]any{"y": 1.5}}); got.Decision != Failed || got.Why != "x: y: a float64 is no value of Cedar" {
		t.Errorf("%+v", got)
	}
}

// TestParse: a document that is none says where.
func TestParse(t *testing.T) {
	const good = "permit(principal, action, resource);"
	for _, c := range []struct {
		policy string
		line   int
		text   string
	}{
		{"", 0, "has no statement"},
		{"// nothing\n", 0, "has no statement"},
		{strings.Repeat("/", MaxPolicy+1), 0, "has 10001 bytes, 10000 are the most"},
		{good + "\xff", 0, "is not UTF-8"},
		{good + "\nallow(principal);", 2, "unexpected effect: allow"},
		{good + "\n\npermit(principal, action, resource)\n  when { context. };", 4, "expected ident"},
		{"permit(principal, action, resource)", 1, "want ;"},
		{`permit(principal, action, resource) when { "open };`, 1, "literal not terminated"},
		{`permit(principal == ?principal, action, resource);`, 1, ""},
	} {
		_, err := Parse(c.policy)
		var e *Error
		if !errors.As(err, &e) || e.Line != c.line || !strings.Contains(e.Text, c.text) {
			t.Errorf("%.60q: %v", c.policy, err)
		}
	}
	// The deepest nesting that fits.
	for _, open := range []string{"(", "[", "!", "-", "{a:", "if ", "ip("} {
		if _, err := Parse("permit(principal, action, resource) when { " + strings.Repeat(open, (MaxPolicy-50)/len(open))); err == nil {
			t.Errorf("%s is taken", open)
		}
	}
	if _, err := Parse(good + strings.Repeat(" ", MaxPolicy-len(good))); err != nil {
		t.Error(err)
	}
}

// FuzzParse: no document, however odd, stops the endpoint, and what is taken decides in one of three ways.
func FuzzParse(f *testing.F) {
	f.Add(`permit(principal, action, resource) when { context.saml.memberOf.contains("Engineering") };`)
	f.Add(`@id("a") forbid(principal in G::"x", action in [A::"y"], resource is R) unless { ip("1.2.3.4").isLoopback() || -context.connection.age * 9223372036854775807 > 0 };`)
	f.Add(strings.Repeat("(", 500) + strings.Repeat("!", 500))
	f.Add(`permit(principal, action, resource) when { if {"a": [1, datetime("2026-01-01")]} has a then "\u{41}" like "*a*" else decimal("1.5").lessThan(decimal("2.0")) };`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 0 {
				t.Fatalf("%v", err)
			}
			return
		}
		switch got := p.Evaluate(context()); got.Decision {
		case Permit, Deny, Failed:
		default:
			t.Fatalf("%+v", got)
		}
	})
}
