package client

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

const someSum = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func TestParsePolicy(t *testing.T) {
	full := `{
	"AllowUserProfiles": false, "AllowSavedPasswords": false, "AutoConnect": "corp", "AlwaysOn": true,
	"Guard": "lockdown", "BlockWhenDisconnected": true, "AllowLocalNetwork": false, "AllowRouteEnforcement": false,
	"AllowedServers": ["VPN.example.com.", "*.corp.example.com", "192.0.2.1"],
	"AllowedCAs": ["` + strings.ToUpper(someSum[:2]) + `:` + someSum[2:] + `"], "SignInHosts": ["Login.example.com"],
	"MaxConnections": 2, "MinimumTLS": "1.3", "Language": "ja",
	"TrustedNetworks": [{"url": "https://Here.example.com:8443/", "cert_sha256": "` + strings.ToUpper(someSum) + `"}]
}`
	p, err := ParsePolicy([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	got := p
	got.set = nil
	want := Policy{AutoConnect: "corp", AlwaysOn: true, Guard: "lockdown", BlockWhenDisconnected: true,
		AllowedServers: []string{"vpn.example.com", "*.corp.example.com", "192.0.2.1"}, AllowedCAs: []string{someSum},
		SignInHosts: []string{"login.example.com"}, MaxConnections: 2, MinimumTLS: "1.3", Language: "ja",
		TrustedNetworks: []TrustedNetwork{{URL: "https://Here.example.com:8443/", CertSHA256: someSum}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if n := len(p.shown()); n != len(PolicySchema()) {
		t.Errorf("%d keys are shown", n)
	}
	empty, err := ParsePolicy([]byte("\xef\xbb\xbf{}\n"))
	if err != nil || !reflect.DeepEqual(empty, DefaultPolicy()) || len(empty.shown()) != 0 {
		t.Errorf("an empty policy: %+v, %v", empty, err)
	}

	for _, c := range []struct{ text, err string }{
		{``, "line 1: the text ends too early"},
		{"{\n\"AlwaysOn\"", "line 2: AlwaysOn: the text ends too early"},
		{"{\n\n,}", "line 3: it is not JSON"},
		{`[]`, "line 1: it is not a JSON object"},
		{`{} {}`, "line 1: there is more behind the object"},
		{"{\n\"Gard\": \"auto\"}", "line 2: Gard: there is no such key"},
		{"{\n\"guard\": \"auto\"}", "line 2: guard: there is no such key: write Guard"},
		{"{\"Guard\": \"auto\",\n\"Guard\": \"off\"}", "line 2: Guard: it is there twice"},
		{"{\"Guard\": \"\xff\"}", "line 1: it is not UTF-8"},
		{`{"Guard": "on"}`, `line 1: Guard: "on" is not one of off, auto, lockdown`},
		{`{"Guard": null}`, `Guard: null is not one of`},
		{`{"AlwaysOn": "true"}`, `AlwaysOn: "true" is not true or false`},
		{`{"AlwaysOn": true}`, `AlwaysOn: it needs AutoConnect`},
		{`{"AutoConnect": "../x"}`, `AutoConnect: `},
		{`{"AutoConnect": 7}`, `AutoConnect: 7 is not a string`},
		{`{"MaxConnections": 6}`, `MaxConnections: 6 is not a number from 1 to 5`},
		{`{"MaxConnections": 0}`, `from 1 to 5`},
		{`{"MaxConnections": 1.5}`, `from 1 to 5`},
		{`{"MaxConnections": null}`, `from 1 to 5`},
		{`{"MinimumTLS": 1.3}`, `MinimumTLS: 1.3 is not one of 1.2, 1.3`},
		{`{"AllowedServers": "a"}`, `is not a list of strings`},
		{`{"AllowedServers": [null]}`, `is not a list of strings`},
		{`{"AllowedServers": ["a.*.b"]}`, `neither a host nor a pattern`},
		{`{"AllowedServers": ["*"]}`, `neither a host nor a pattern`},
		{`{"AllowedCAs": ["` + someSum[1:] + `"]}`, `is not a SHA-256 fingerprint`},
		{`{"SignInHosts": ["*.example.com"]}`, `a pattern has no addresses`},
		{`{"SignInHosts": ["https://a.example.com"]}`, `is not a host name`},
		{`{"TrustedNetworks": ["https://a.example.com"]}`, "is not a list of objects with url and cert_sha256"},
		{`{"TrustedNetworks": [null]}`, "entry 1: an object with url and cert_sha256 is needed"},
		{`{"TrustedNetworks": [{"url": "https://a.example.com"}]}`, "entry 1: an object"},
		{`{"TrustedNetworks": [{"url": "https://a.example.com", "cert_sha256": null}]}`, "entry 1: an object"},
		{`{"TrustedNetworks": [{"url": "https://a.example.com", "cert_sha256": "` + someSum + `", "ssid": "home"}]}`, "and nothing else"},
		{`{"TrustedNetworks": [{"url": "https://a.example.com", "cert_sha256": "00"}]}`, "is not a SHA-256 fingerprint"},
		{`{"TrustedNetworks": [{"url": "http://a.example.com", "cert_sha256": "` + someSum + `"}]}`, "is not an address like https://"},
		{`{"TrustedNetworks": [{"url": "https://me@a.example.com", "cert_sha256": "` + someSum + `"}]}`, "is not an address like https://"},
		{`{"TrustedNetworks": [{"url": "https://a.example.com:0", "cert_sha256": "` + someSum + `"}]}`, "there is no port 0"},
		{`{"TrustedNetworks": [{"url": "https:///x", "cert_sha256": "` + someSum + `"}]}`, "is not a host name"},
		{`{"BlockWhenDisconnected": true, "Guard": "auto"}`, "Guard: auto contradicts BlockWhenDisconnected"},
		{`{"AllowLocalNetwork": false, "Guard": "off"}`, "AllowLocalNetwork: without a guard"},
		{`{"AllowedServers": [` + strings.Repeat(`"a",`, maxPolicyItems) + `"a"]}`, "more than 256 entries"},
		{strings.Repeat(" ", maxPolicyText) + "{}", "more than"},
	} {
		_, err := ParsePolicy([]byte(c.text))
		var p *PolicyError
		if !errors.As(err, &p) || p.Line < 1 || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%.60q: %v, want %s", c.text, err, c.err)
		}
	}
}

// TestPolicySchema: every key can be documented, and its default is one that the key takes.
func TestPolicySchema(t *testing.T) {
	d, seen := DefaultPolicy(), map[string]bool{}
	for _, k := range PolicySchema() {
		if k.Name == "" || k.Since == "" || k.Kind == "" || seen[k.Name] {
			t.Errorf("an incomplete row: %+v", k)
		}
		words := []PolicyWords{k.Title, k.Meaning}
		if k.Kind == PolicyString || k.Kind == PolicyStrings || k.Kind == PolicyNetworks {
			words = append(words, k.Takes, k.Unset)
		}
		for _, c := range k.Choices {
			words = append(words, c.Label)
		}
		for _, w := range words {
			if w.English == "" || w.Japanese == "" || !slices.Equal(quoted(w.English), quoted(w.Japanese)) {
				t.Errorf("%s: words are missing: %+v", k.Name, w)
			}
		}
		if (k.Kind == PolicyStrings || k.Kind == PolicyNetworks || k.Kind == PolicyString) != (k.Most > 0) || (k.Kind == PolicyChoice) != (len(k.Choices) > 0) {
			t.Errorf("%s: the limits are not those of its kind", k.Name)
		}
		if _, err := k.value(json.RawMessage(k.Example)); err != nil {
			t.Errorf("%s: the example: %v", k.Name, err)
		}
		seen[k.Name] = true
		if k.field(&d) == nil {
			t.Errorf("%s goes nowhere", k.Name)
		}
	}
	if !d.AllowUserProfiles || !d.AllowSavedPasswords || !d.AllowLocalNetwork || !d.AllowRouteEnforcement || d.Guard != guardAuto || d.MaxConnections != 5 || d.MinimumTLS != "1.2" || d.Language != "auto" {
		t.Errorf("defaults: %+v", d)
	}
}

// quoted are the names between backquotes in a text, each once and in order; a backquote alone is one of them.
func quoted(s string) []string {
	parts := strings.Split(s, "`")
	var out []string
	for i, name := range parts {
		if i%2 == 1 {
			out = append(out, name)
		}
	}
	if len(parts)%2 == 0 {
		out = append(out, "`")
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestPolicyMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"vpn.example.com", "VPN.example.com.", true},
		{"vpn.example.com", "xvpn.example.com", false},
		{"*.example.com", "a.b.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", ".example.com", false},
		{"*.example.com", "evilexample.com", false},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:DB8:0::1", true},
		{"192.0.2.1", "192.0.2.10", false},
	} {
		if got := matches(c.pattern, c.host); got != c.want {
			t.Errorf("%s for %s: %t", c.pattern, c.host, got)
		}
	}
}

func TestPolicyPins(t *testing.T) {
	for _, c := range []struct{ policy, change, key, guard string }{
		{`{}`, "guard=off", "", "auto"},
		{`{"Guard": "auto"}`, "guard=off", "Guard", "auto"},
		{`{"Guard": "auto"}`, "guard=auto", "", "auto"},
		{`{"Guard": "off"}`, "guard=auto", "Guard", "off"},
		{`{"BlockWhenDisconnected": true}`, "guard=auto", "BlockWhenDisconnected", "lockdown"},
		{`{"AllowLocalNetwork": false}`, "guard=off", "AllowLocalNetwork", "auto"},
		{`{"AllowLocalNetwork": false}`, "guard=lockdown", "", "auto"},
		{`{"AllowSavedPasswords": false}`, "save_password=yes", "AllowSavedPasswords", "auto"},
		{`{"AllowSavedPasswords": false}`, "save_password=no", "", "auto"},
		{`{"AutoConnect": "corp"}`, "auto_connect=true", "AutoConnect", "auto"},
		{`{"AutoConnect": "corp"}`, "auto_connect=false", "", "auto"},
		{`{"Guard": "auto"}`, "route+=10.0.0.0/8", "", "auto"},
	} {
		p, err := ParsePolicy([]byte(c.policy))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.pins(c.change); got != c.key {
			t.Errorf("%s, %s: %q, want %q", c.policy, c.change, got, c.key)
		}
		if got := p.apply(api.Settings{}).Guard; got != c.guard {
			t.Errorf("%s: guard %s, want %s", c.policy, got, c.guard)
		}
	}
}

// FuzzPolicy: any text is a policy whose values are in their bounds, or an error in one line that names where it is.
func FuzzPolicy(f *testing.F) {
	for _, s := range []string{"", "{}", `{"Guard":"auto"}`, `{"AllowedServers":["*.a",""]}`, `{"MaxConnections":3,"MinimumTLS":"1.3"}`,
		`{"AllowedCAs":["` + someSum + `"]}`, "{\"a\":{\"b\":[1,2,{}]}}", `{"AutoConnect":"\u0000"}`, "\xef\xbb\xbf{}", `{"AlwaysOn":true,"AutoConnect":"x"}`,
		`{"TrustedNetworks":[{"url":"https://[2001:db8::1]:443/","cert_sha256":"` + someSum + `"}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePolicy(text)
		if err != nil {
			var e *PolicyError
			if !errors.As(err, &e) || e.Line < 1 {
				t.Fatalf("%v", err)
			}
			return
		}
		if p.MaxConnections < 1 || p.MaxConnections > maxConnections || p.tlsVersion() == 0 || p.Guard == "" || p.guardFor(api.Settings{}) == "" {
			t.Fatalf("%+v", p)
		}
		for _, n := range p.TrustedNetworks {
			if host, port, err := n.server(); host == "" || port == 0 || err != nil || checkFingerprint(n.CertSHA256) != nil {
				t.Fatalf("network %q: %v", n, err)
			}
		}
		for _, h := range p.AllowedServers {
			if checkPattern(h) != nil {
				t.Fatalf("server %q", h)
			}
		}
		p.shown()
		p.allowsServer("vpn.example.com")
	})
}
