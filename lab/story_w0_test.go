//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// TestW0 is the article "Client VPN explained" by its page, with the stock AWS CLI: certificates, an endpoint, a subnet, rules,
// routes, the address that the network sees, a list of who is connected, a revoked client.
func TestW0(t *testing.T) {
	t.Parallel()
	needs(t, awsCLI, "curl", "nft", "/usr/share/easy-rsa/easyrsa", "openssl")
	w := newWorld(t)
	w.data = "adit-endpoint-data"
	w.ok(w.server.Do(func() error { return configure("eth1", []string{"10.1.1.5/24"}) }))
	// A network that is peered with the VPC: its router is the VPC's.
	peer := w.node("peer")
	w.wire(peer, "eth0", []string{"10.2.0.10/24"}, w.host, "eth2", []string{"10.2.0.1/24"})
	w.ok(peer.Route("", "10.2.0.1"))
	w.mirror(peer, netip.MustParseAddr("10.2.0.10"))
	service := w.aditd()
	before := w.system()
	p := w.page("client-vpn-api.md", map[string]*Node{"client": w.client, "endpoint": w.server, "host": w.host})
	p.Stays = []string{"adit-endpoint up"}
	p.Swap = [][2]string{{"scp ", "cp "}, {"client:", w.client.Dir + "/"}, {"exec aws ", "exec " + awsCLI + " "}}
	p.section("1. Certificates")
	p.section("2. The API")
	p.section("3. An endpoint")
	p.section("4. A subnet")
	p.section("5. A profile")
	p.section("6. Rules")
	p.section("7. The address that is seen")
	p.section("8. Who is connected")
	w.until(soon, "the client gave up", func() bool { return w.statusOf("work").Problem != nil })
	p.section("9. What the client says")
	p.section("10. Revoke a client")
	w.until(soon, "bob is back", func() bool {
		return strings.Count(service.Out.String(), "msg=connected profile=bob") == 2 && w.seenAs(worldHost) == endpointSeen
	})
	p.section("11. Who comes back")
	p.section("12. Take it down")
	w.same("at the end", before, w.system())
}

// TestW0RulesAndSNAT is steps 4 and 5 of the article with an endpoint of the file:
// nothing passes without a rule, a rule lets through what it names and nothing
// else, and the network sees the association's address.
func TestW0RulesAndSNAT(t *testing.T) {
	t.Parallel()
	needs(t)
	w := newWorld(t)
	w.endpointUp(w.worldYAML(true, nil, nil))
	w.aditd()
	w.importOwn()
	w.seen(webAddr, clientSeen) // the probe works
	w.adit("connect", "lab", "--timeout", "20s")

	// Before any rule.
	w.seen(worldHost, "")
	w.cannotReach(w.client, worldHost)
	w.seen(webAddr, "")

	// A rule for the VPC: sessions stay, packets pass there and nowhere else.
	if out := w.reload(w.worldYAML(true, nil, []string{"10.1.0.0/16"})); !strings.Contains(out, "0 sessions reset") {
		t.Errorf("reload: %s", out)
	}
	w.reaches(w.client, none, worldHost)
	w.seen(worldHost, endpointSeen)
	w.seen(webAddr, "")

	// A rule without a route, then with one: the internet through the endpoint.
	w.reload(w.worldYAML(true, nil, []string{"10.1.0.0/16", "0.0.0.0/0"}))
	w.seen(webAddr, "")
	w.reload(w.worldYAML(true, []string{"0.0.0.0/0"}, []string{"10.1.0.0/16", "0.0.0.0/0"}))
	w.seen(webAddr, endpointSeen)
	if st := w.status(); st.State != api.Connected {
		t.Errorf("the client is %s", st.State)
	}
	w.adit("disconnect", "lab")
	w.seen(webAddr, clientSeen)
}

// TestW0ExportAndTerminate is step 6 with an endpoint of the file: the exported profile with certificate and
// key as files, the connection list, and termination.
func TestW0ExportAndTerminate(t *testing.T) {
	t.Parallel()
	needs(t)
	w := newWorld(t)
	config := w.worldYAML(false, nil, []string{"10.1.0.0/16"})
	service := w.endpointUp(config)
	w.aditd()
	before := w.system()

	w.endpointCmd("pki", "client", "bob")
	exported := w.endpointCmd("export", "--config", filepath.Join(w.server.Dir, "endpoint.yaml"))
	if strings.Contains(exported, "PRIVATE KEY") {
		t.Error("the profile without --client has a key inside")
	}
	keys := filepath.Join(w.client.Dir, "keys")
	w.ok(os.Mkdir(keys, 0o700))
	for from, to := range map[string]string{"issued/bob.crt": "bob.crt", "private/bob.key": "bob.key"} {
		b, err := os.ReadFile(filepath.Join(w.dataDir(), "pki", from))
		w.ok(err)
		w.ok(os.WriteFile(filepath.Join(keys, to), b, 0o600))
	}
	for name, lines := range map[string]string{
		"unix":    fmt.Sprintf("cert %s\nkey \"%s\"\n", filepath.Join(keys, "bob.crt"), filepath.Join(keys, "bob.key")),
		"windows": "cert keys\\\\bob.crt\nkey \"keys\\\\bob.key\"\n",
	} {
		w.adit("import", w.write(w.client, name+".ovpn", exported+lines))
		w.adit("connect", name, "--timeout", "20s")
		w.seen(worldHost, endpointSeen)

		list := w.connections()
		if len(list) != 1 || list[0].Client != "bob" || list[0].RxBytes == 0 || list[0].TxBytes == 0 || list[0].ID == "" {
			t.Fatalf("connections: %+v", list)
		}
		if text := w.endpointCmd("connections"); !strings.Contains(text, list[0].ID) || !strings.Contains(text, "bob") {
			t.Errorf("connections: %s", text)
		}
		w.endpointCmd("terminate", list[0].ID)
		w.until(atOnce, "the client gave up", func() bool {
			st := w.statusOf(name)
			return st.State == api.Blocked && st.Problem != nil
		})
		if p := w.statusOf(name).Problem; p.Code != api.CodeSessionEnded || !strings.Contains(p.Message, "administrator ended the connection") {
			t.Errorf("the client says %+v", p)
		}
		if text := w.adit("status"); !strings.Contains(text, "administrator ended the connection") {
			t.Errorf("status: %s", text)
		}
		w.cannotReach(w.client, worldHost)
		if n := len(w.connections()); n != 0 {
			t.Errorf("%d connections after the termination", n)
		}
		w.adit("disconnect", name)
		w.same("after the termination", before, w.system())
	}
	if !strings.Contains(service.Out.String(), "terminated by the administrator") {
		t.Error("the endpoint's log has no termination")
	}
}
