package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// script is a handler in the shell's language.
func script(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "handler")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

func reason(err error) string {
	var f *Failure
	if !errors.As(err, &f) {
		return fmt.Sprint(err)
	}
	return f.Reason
}

const good = `{"allow": true, "error-msg-on-denied-connection": "", "posture-compliance-statuses": ["compliant", "with antivirus"], "schema-version": "v2"}`

// TestExec: a program answers, denies, dies, talks nonsense or too much, and is ended with what it started when it hangs.
func TestExec(t *testing.T) {
	left := filepath.Join(t.TempDir(), "left")
	for _, c := range []struct {
		name, text string
		timeout    time.Duration
		want       string // reason; empty: an answer
	}{
		{"allows", "cat >/dev/null; echo '" + good + "'", 0, ""},
		{"denies", `echo '{"allow": false, "error-msg-on-denied-connection": "no", "posture-compliance-statuses": [], "schema-version": "v2"}'`, 0, ""},
		{"dies", "echo oh >&2; exit 3", 0, OtherError},
		{"says nothing", "", 0, InvalidAnswer},
		{"talks nonsense", "echo hello", 0, InvalidAnswer},
		{"talks too much", "head -c 10000000 /dev/zero", 0, InvalidAnswer},
		{"forgets a key", `echo '{"allow": true, "posture-compliance-statuses": [], "schema-version": "v2"}'`, 0, InvalidAnswer},
		{"hangs", "sleep 600 & echo $! > " + left + "; wait", 3 * time.Second, TimedOut},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := Ask(t.Context(), Config{Exec: script(t, c.text), Schema: "v2", Timeout: c.timeout}, nil, Request{})
			if c.want != "" {
				if reason(err) != c.want {
					t.Errorf("%v, not %s", err, c.want)
				}
				return
			}
			if err != nil || a.Allow != (c.name == "allows") || a.Allow == (a.Message != "") {
				t.Errorf("%+v %v", a, err)
			}
		})
	}
	pid, err := os.ReadFile(left)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		if err != nil || strings.Contains(string(b), ") Z ") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("what it started still runs: %s", b)
		}
	}
	if _, err := Ask(t.Context(), Config{Exec: "/nowhere/handler", Schema: "v2"}, nil, Request{}); reason(err) != OtherError {
		t.Errorf("no program: %v", err)
	}
	for _, name := range []string{"sh", "./handler", "bin/sh"} {
		if _, err := Ask(t.Context(), Config{Exec: name, Schema: "v2"}, nil, Request{}); reason(err) != OtherError || !strings.Contains(err.Error(), "absolute") {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ask(ctx, Config{Exec: script(t, "sleep 600"), Schema: "v2"}, nil, Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that has gone: %v", err)
	}
}

// TestRequest: each schema has its keys, on both ways to the handler.
func TestRequest(t *testing.T) {
	r := Request{ConnectionID: "cvpn-connection-1", EndpointID: "cvpn-endpoint-1", CommonName: "ann", Username: "ann@example.com", Platform: "mac", PlatformVersion: "14.1",
		PublicIP: "192.0.2.1", ClientVersion: "2.6.0", AWSVersion: "5.2.0", Groups: []string{"a", "b"}}
	first := "connection-id endpoint-id common-name username platform platform-version public-ip client-openvpn-version "
	for schema, keys := range map[string]string{"v1": first + "schema-version", "v2": first + "groups schema-version", "v3": first + "aws-client-version groups schema-version"} {
		message := "error-msg-on-denied-connection"
		if schema == "v1" {
			message = "error-msg-on-failed-posture-compliance"
		}
		answer := fmt.Sprintf(`{"allow": true, %q: "", "posture-compliance-statuses": [], "schema-version": %q}`, message, schema)
		got := filepath.Join(t.TempDir(), "question")
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			var b json.RawMessage
			if err := json.NewDecoder(q.Body).Decode(&b); err != nil || q.Method != "POST" || q.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %v", q.Method, err)
			}
			os.WriteFile(got, b, 0o600)
			fmt.Fprint(w, answer)
		}))
		for _, cfg := range []Config{{URL: server.URL, Schema: schema}, {Exec: script(t, "cat > "+got+"; echo '"+answer+"'"), Schema: schema}} {
			if a, err := Ask(t.Context(), cfg, server.Client(), r); err != nil || !a.Allow {
				t.Errorf("%s: %+v %v", schema, a, err)
			}
			b, _ := os.ReadFile(got)
			d := json.NewDecoder(strings.NewReader(string(b)))
			var names []string
			d.Token()
			for d.More() {
				key, _ := d.Token()
				var value any
				if err := d.Decode(&value); err != nil {
					t.Fatal(err)
				}
				names = append(names, key.(string))
				if key == "schema-version" && value != schema {
					t.Errorf("schema %v", value)
				}
			}
			if !slices.Equal(names, strings.Fields(keys)) {
				t.Errorf("%s: %q", schema, names)
			}
		}
		server.Close()
	}
}

// TestHTTP: what a server's answers mean.
func TestHTTP(t *testing.T) {
	status := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, good)
	}))
	for code, want := range map[int]string{200: "<nil>", 429: Throttled, 500: ServiceFailure, 503: ServiceFailure, 404: OtherError, 403: OtherError} {
		status = code
		if _, err := Ask(t.Context(), Config{URL: server.URL, Schema: "v2"}, server.Client(), Request{}); reason(err) != want {
			t.Errorf("%d: %v, not %s", code, err, want)
		}
	}
	server.Close()
	if _, err := Ask(t.Context(), Config{URL: server.URL, Schema: "v2"}, server.Client(), Request{}); reason(err) != ServiceFailure {
		t.Errorf("no server: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{good, `{}`, `[]`, `{"allow": null}`, strings.Replace(good, "compliant", strings.Repeat("x", 256), 1), strings.Replace(good, `""`, `"`+strings.Repeat("é", 255)+`"`, 1)} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, second bool) {
		schema := "v1"
		if second {
			schema = "v2"
		}
		a, err := parse(text, schema)
		if err != nil {
			return
		}
		if len(a.Message) > 4*maxMessage || len(a.Statuses) > maxStatuses || a.Statuses == nil {
			t.Fatalf("%+v", a)
		}
	})
}
