//go:build linux

package lab

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestConnectHandler: a program decides on Debian's openvpn and on ours, after the sign-in: it is let in, told why not, and
// held for as long as the program needs.
func TestConnectHandler(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.ok(s.server.Forward())
	s.ok(s.host.Route("", serverInner.String()))
	p := newPKI(t)
	said := filepath.Join(s.server.Dir, "answer.json")
	answer := func(text string) { t.Helper(); s.ok(os.WriteFile(said, []byte(text), 0o600)) }
	s.ok(os.WriteFile(filepath.Join(s.server.Dir, "handler"), []byte("#!/bin/sh\ncat > "+filepath.Join(s.server.Dir, "asked.json")+"\nsleep 2\ncat "+said+"\n"), 0o700))
	s.endpointUp(s.yaml(p, "", endpointConfig{Rules: vpcRules(), More: "client_connect_handler: {exec: ./handler, schema: v3}"}))

	answer(`{"allow": false, "error-msg-on-denied-connection": "Your machine is not up to date.", "posture-compliance-statuses": [], "schema-version": "v3"}`)
	stock := s.openvpn(s.client, clientProfile(p, "udp", "plain", ""))
	s.ok(stock.WaitFor("AUTH_FAILED,Your machine is not up to date.", soon))
	stock.Stop(syscall.SIGTERM, soon)
	if asked := s.read(filepath.Join(s.server.Dir, "asked.json")); !strings.Contains(asked, `"common-name":"alice"`) || !strings.Contains(asked, `"platform":"linux"`) || !strings.Contains(asked, `"public-ip":"198.51.100.2"`) {
		t.Errorf("the handler was asked %s", asked)
	}
	s.aditd()
	s.connectFails(clientProfile(p, "udp", "plain", ""), "Your machine is not up to date.")

	answer(`{"allow": true, "error-msg-on-denied-connection": "", "posture-compliance-statuses": ["compliant", "old, but allowed"], "schema-version": "v3"}`)
	begin := time.Now()
	s.connect(clientProfile(p, "udp", "plain", ""))
	if took := time.Since(begin); took < 2*time.Second {
		t.Errorf("connected after %v, before the handler had decided", took)
	}
	if list := s.connections(); len(list) != 1 || !slices.Equal(list[0].Posture, []string{"compliant", "old, but allowed"}) {
		t.Errorf("the endpoint shows %+v", list)
	}
	s.reaches(s.client, none, hostAddr)
	s.adit("disconnect", "lab")
	stock = s.openvpn(s.client, clientProfile(p, "udp", "plain", ""))
	s.ok(stock.WaitFor("Initialization Sequence Completed", soon))
	s.reaches(s.client, none, hostAddr)
	stock.Stop(syscall.SIGTERM, soon)
}
