//go:build linux

package lab

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRulesAtOnce: 500 clients of an endpoint with 200 rules and 100 routes ping a host all the time. A rule that is added or removed holds for
// all of them at once; the log says how soon. Nobody's session ends.
func TestRulesAtOnce(t *testing.T) {
	t.Parallel()
	needs(t)
	const clients, rules, routes = 500, 200, 100
	s := newSite(t)
	ca := newAuthority(t, "lab CA")
	p := pki{ca.PEM, ca.server("lab server"), ca.client("alice")}
	config := func(open bool) string {
		c := endpointConfig{Full: true, Rules: []string{"10.0.0.0/24"}}
		if !open {
			c.Rules[0] = "10.0.9.0/24"
		}
		for i := range rules - 1 {
			c.Rules = append(c.Rules, fmt.Sprintf("172.16.%d.0/24", i))
		}
		for i := range routes {
			c.Routes = append(c.Routes, fmt.Sprintf("172.16.%d.0/24", i))
		}
		return s.yaml(p, "", c)
	}
	s.endpointUp(config(false))
	crowd := newCrowd(s, ca)
	crowd.asks = hostAddr
	defer crowd.leave()
	s.ok(crowd.join(context.Background(), clients))
	if n, _ := crowd.since(time.Time{}); n != 0 {
		t.Fatalf("%d clients have an answer before there is a rule", n)
	}
	for range 3 {
		for _, open := range []bool{true, false} {
			s.write(s.server, "endpoint.yaml", config(open))
			start := time.Now()
			if out := s.endpointCmd("reload"); !strings.Contains(out, "0 sessions reset") {
				t.Fatalf("reload: %s", out)
			}
			done := time.Now()
			if open {
				// All have an answer to what they asked when the rule was there.
				s.until(soon, "every client has an answer", func() bool { n, _ := crowd.since(done); return n == clients })
				t.Logf("a rule was added: the reload took %v; the last client has an answer after %v", done.Sub(start), time.Since(start))
				continue
			}
			time.Sleep(time.Second) // for what is on its way
			quiet := time.Now()
			time.Sleep(time.Second)
			n, last := crowd.since(quiet)
			if n != 0 {
				t.Errorf("%d clients have answers two seconds after the rule went", n)
			}
			t.Logf("a rule was removed: the reload took %v; the last answer came after %v", done.Sub(start), last.Sub(start))
		}
	}
	if n := len(s.connections()); n != clients {
		t.Errorf("%d connections", n)
	}
}
