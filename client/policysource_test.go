package client

import (
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
)

// values is a store in memory.
type values map[string]any

func (v values) Values() (map[string]any, error) {
	if v == nil {
		return nil, fs.ErrNotExist
	}
	return v, nil
}

// TestPolicyValues: what registries and preferences hold is the same policy as in a file, by the same rules.
func TestPolicyValues(t *testing.T) {
	network := `{"url": "https://here.example.com", "cert_sha256": "` + someSum + `"}`
	want, err := ParsePolicy([]byte(`{"AllowUserProfiles": false, "AlwaysOn": true, "AutoConnect": "corp", "MaxConnections": 2, "MinimumTLS": "1.3",
		"AllowedServers": ["vpn.example.com"], "SignInHosts": [], "TrustedNetworks": [` + network + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]values{
		"the registry's": {"AllowUserProfiles": int64(0), "AlwaysOn": int64(1), "AutoConnect": "corp", "MaxConnections": int64(2), "MinimumTLS": "1.3",
			"AllowedServers": []string{"VPN.example.com."}, "SignInHosts": []string{}, "TrustedNetworks": []string{network}},
		"preferences'": {"AllowUserProfiles": false, "AlwaysOn": true, "AutoConnect": "corp", "MaxConnections": uint64(2), "MinimumTLS": "1.3",
			"AllowedServers": []any{"vpn.example.com"}, "SignInHosts": []any{}, "TrustedNetworks": []any{map[string]any{"url": "https://here.example.com", "cert_sha256": someSum}}},
	} {
		if got, place, err := PolicyValues(v, "place").read(); err != nil || place != "place" || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	for _, c := range []struct {
		v   values
		err string
	}{
		{values{"Gard": "auto"}, "Gard: there is no such key"},
		{values{"guard": "auto"}, "guard: there is no such key: write Guard"},
		{values{"Guard": "on"}, `Guard: "on" is not one of off, auto, lockdown`},
		{values{"AlwaysOn": int64(2)}, "AlwaysOn: 2 is not true or false"},
		{values{"AlwaysOn": "1"}, `AlwaysOn: "1" is not true or false`},
		{values{"AlwaysOn": true}, "AlwaysOn: it needs AutoConnect, which names the profile"},
		{values{"MaxConnections": int64(6)}, "MaxConnections: 6 is not a number from 1 to 5"},
		{values{"MaxConnections": true}, "MaxConnections: true is not a number"},
		{values{"AllowedServers": "vpn.example.com"}, `AllowedServers: "vpn.example.com" is not a list of strings`},
		{values{"AllowedServers": []string{"*"}}, "AllowedServers: "},
		{values{"TrustedNetworks": []string{"https://here.example.com"}}, "TrustedNetworks: entry 1 is not JSON"},
		{values{"TrustedNetworks": []string{network, `{"url": "x"}`}}, "TrustedNetworks: entry 2"},
		{values{"Guard": func() {}}, "Guard: it is of a type that no key has"},
		{values{"AutoConnect": strings.Repeat("x", maxPolicyText)}, "AutoConnect: the policy has more than"},
	} {
		_, _, err := PolicyValues(c.v, "place").read()
		var p *PolicyError
		if !errors.As(err, &p) || p.Line != 0 || !strings.HasPrefix(err.Error(), c.err) {
			t.Errorf("%.80v: %v, want %s", c.v, err, c.err)
		}
	}
	if _, _, err := PolicyValues(values(nil), "place").read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no policy: %v", err)
	}
	marked := func(v values) mark { return PolicyValues(v, "p").marks()[0] }
	a, b := marked(values{"A": []string{"x"}}), marked(values{"A": []string{"y"}})
	if !a.equal(a) || a.equal(b) || a.equal(marked(nil)) {
		t.Error("marks do not tell values apart")
	}
}

// TestPolicyFirst: a later place counts only where nothing is in an earlier one, a bad policy included.
func TestPolicyFirst(t *testing.T) {
	file := func(text string) PolicySource {
		return PolicyFile(fstest.MapFS{"policy.json": {Data: []byte(text)}}, "policy.json", "/file")
	}
	none := PolicyFile(fstest.MapFS{}, "policy.json", "/file")
	for _, c := range []struct {
		store values
		file  PolicySource
		place string
		most  int // connections; 0: an error
	}{
		{values{"MaxConnections": 2}, file(`{"MaxConnections": 3}`), "store", 2},
		{nil, file(`{"MaxConnections": 3}`), "/file", 3},
		{values{"MaxConnections": 2}, none, "store", 2},
		{values{"MaxConnections": 9}, file(`{"MaxConnections": 3}`), "store", 0},
		{nil, none, "/file", 0},
	} {
		both := PolicyFirst(PolicyValues(c.store, "store"), c.file)
		p, place, err := both.read()
		if place != c.place || (err == nil) != (c.most > 0) || err == nil && p.MaxConnections != c.most {
			t.Errorf("%v: %d at %s, %v", c, p.MaxConnections, place, err)
		}
		if n := len(both.marks()); n != 2 {
			t.Errorf("%d marks", n)
		}
	}
}

// TestWrittenPolicy: what a policy says it was written with makes the same policy again, by way of a store.
func TestWrittenPolicy(t *testing.T) {
	text := `{"AllowUserProfiles": false, "AutoConnect": "corp", "AlwaysOn": true, "Guard": "lockdown", "AllowedServers": [],
		"AllowedCAs": ["` + strings.Repeat("AB:", 31) + `AB"], "MaxConnections": 3, "MinimumTLS": "1.3",
		"TrustedNetworks": [{"url": "https://office.example.com", "cert_sha256": "` + strings.Repeat("ab", 32) + `"}]}`
	want, err := ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := PolicyOf(want.Written())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v\nwant %v", err, got, want)
	}
	if n := len(want.Written()); n != 9 {
		t.Errorf("%d keys: %v", n, want.Written())
	}
	if written := DefaultPolicy().Written(); len(written) != 0 {
		t.Errorf("a policy that nobody wrote: %v", written)
	}
}
