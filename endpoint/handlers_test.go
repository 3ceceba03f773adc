package endpoint

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/adit-vpn/adit/endpoint/handler"
	"github.com/adit-vpn/adit/ovpn"
)

// TestConnectHandler: a handler decides on each connection after the sign-in, by a program and by a server; what it says, or
// fails to say, is what the client and the connection log get.
func TestConnectHandler(t *testing.T) {
	var mu sync.Mutex
	var asked handler.Request
	answer := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = handler.Request{}
		if err := json.NewDecoder(q.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, answer)
	}))
	defer server.Close()
	say := func(text string) { mu.Lock(); defer mu.Unlock(); answer = text }
	const form = `{"allow": %t, "error-msg-on-denied-connection": %q, "posture-compliance-statuses": [%s], "schema-version": "v2"}`
	r := startWith(t, "udp", withUsers(t, "  - directory: {users: USERS}\n"))
	r.text += "client_connect_handler: {url: \"" + server.URL + "\"}\n"
	if _, err := r.Reload(t.Context(), r.config(t, r.text)); err != nil {
		t.Fatal(err)
	}
	cfg := r.tlsConfig(t, "ann")
	cfg.Certificates = nil
	r.user, r.password, r.peerInfo = "ann", "secret", []string{"IV_PLAT=win", "IV_PLAT_VER=10.0", "IV_GUI_VER=Adit_1"}

	say(fmt.Sprintf(form, true, "", `"compliant", "antivirus"`))
	d := r.dial(t, cfg)
	reply := wait[ovpn.PushReply](t, d).Reply
	d.ping(t, reply.Address.Addr())
	mu.Lock()
	if asked.Username != "ann" || asked.CommonName != "" || len(asked.Groups) != 1 || asked.Groups[0] != "admins" || asked.Platform != "win" || asked.PlatformVersion != "10.0" ||
		asked.PublicIP != "127.0.0.1" || asked.EndpointID != EndpointID("test") || !strings.HasPrefix(asked.ConnectionID, "cvpn-connection-") || asked.ClientVersion == "" || asked.Schema != "v2" {
		t.Errorf("asked %+v", asked)
	}
	mu.Unlock()
	e := r.entries(t, 1)[0]
	like(t, e, "connection-attempt-status", "successful", "posture-compliance-statuses", "compliant, antivirus", "connection-id", asked.ConnectionID)
	d.cancel()
	r.entries(t, 2)

	for i, c := range []struct{ answer, told, reason string }{
		{fmt.Sprintf(form, false, "Your virus scanner is old.", `"old"`), "Your virus scanner is old.", handler.Denied},
		{fmt.Sprintf(form, false, "", ""), handler.Told, handler.Denied},
		{"hello", handler.Told, handler.InvalidAnswer},
	} {
		say(c.answer)
		if ev := wait[ovpn.AuthFailed](t, r.dial(t, cfg)); ev.Kind != ovpn.Denied || ev.Reason != c.told {
			t.Errorf("%s: told %+v", c.answer, ev)
		}
		like(t, r.entries(t, 3+i)[2+i], "connection-attempt-status", "failed", "connection-attempt-failure-reason", c.reason, "username", "ann", "client-ip", "NA")
	}
	// A wrong password never gets to the handler.
	say(fmt.Sprintf(form, true, "", ""))
	mu.Lock()
	asked = handler.Request{}
	mu.Unlock()
	r.password = "wrong"
	wait[ovpn.AuthFailed](t, r.dial(t, cfg))
	mu.Lock()
	if asked.ConnectionID != "" {
		t.Error("the handler was asked")
	}
	mu.Unlock()

	// A program, put in force by a reload; one that is not there is refused, and the old one stays.
	r.password = "secret"
	program := filepath.Join(r.dir, "handler")
	if err := os.WriteFile(program, []byte("#!/bin/sh\ncat >/dev/null\necho '"+fmt.Sprintf(form, false, "by the program", "")+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(r.text, "url: \""+server.URL+"\"", "exec: NAME", 1)
	for name, want := range map[string]string{"nothing": "no such file", "pki": "it is no program"} {
		if _, err := r.Reload(t.Context(), r.config(t, strings.Replace(text, "NAME", name, 1))); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Reload(t.Context(), r.config(t, strings.Replace(text, "NAME", "handler", 1))); err != nil {
		t.Fatal(err)
	}
	if ev := wait[ovpn.AuthFailed](t, r.dial(t, cfg)); ev.Reason != "by the program" {
		t.Errorf("told %+v", ev)
	}
	if m := r.Metrics(); m.HandlerDenied != 3 || m.HandlerInvalid != 1 || m.HandlerTimeouts+m.HandlerOther+m.HandlerThrottled+m.HandlerService != 0 || m.AuthenticationFailures != 1 {
		t.Errorf("counted %+v", m)
	}
}

// TestConnectHandlerPath: the program lies beside the file, wherever the endpoint was started.
func TestConnectHandlerPath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for file, want := range map[string]string{"endpoint.yaml": dir + "/handler", "sub/endpoint.yaml": dir + "/sub/handler", "/etc/x/endpoint.yaml": "/etc/x/handler"} {
		cfg := Config{File: file, Handler: Handler{Exec: "./handler", Schema: "v2"}}
		if h, there := cfg.handler(); !there || h.Exec != want {
			t.Errorf("%s: %q, not %q", file, h.Exec, want)
		}
	}
}

// TestConnectHandlerCrowd: when too many run, others are denied at once, and those that run are waited for at the end.
func TestConnectHandlerCrowd(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		select {
		case <-release:
		case <-q.Context().Done():
		}
	}))
	defer server.Close()
	defer close(release)
	r := start(t, "udp")
	r.text += "client_connect_handler: {url: \"" + server.URL + "\"}\n"
	if _, err := r.Reload(t.Context(), r.config(t, r.text)); err != nil {
		t.Fatal(err)
	}
	for range maxHandlers {
		r.Server.handlers.places <- struct{}{}
	}
	if ev := wait[ovpn.AuthFailed](t, r.dial(t, r.tlsConfig(t, "ann"))); ev.Reason != handler.Told {
		t.Errorf("told %+v", ev)
	}
	like(t, r.entries(t, 1)[0], "connection-attempt-failure-reason", handler.Throttled, "common-name", "ann")
	for range maxHandlers {
		<-r.Server.handlers.places
	}
	d := r.dial(t, r.tlsConfig(t, "bob")) // and the endpoint ends while it waits
	wait[ovpn.Established](t, d)
}
