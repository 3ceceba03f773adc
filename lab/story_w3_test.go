//go:build linux

package lab

import (
	"encoding/json"
	"strings"
	"testing"
)

// fixedAddr is what the internet sees of whoever comes through W3's NAT gateway.
const fixedAddr = "198.51.100.77"

// TestW3 is the article "A fixed address for a remote company" by its page: sign-in at a real identity provider with a real
// browser, one address for every user and from every network, groups of the provider's, and the connection log.
func TestW3(t *testing.T) {
	t.Parallel()
	needs(t, "chromium", "php", "script", "curl", "nft", "ip")
	w := newWorld(t)
	w.data = "adit-endpoint-data"
	// A second network for the client, and the NAT gateway's address.
	w.wire(w.client, "eth1", []string{"192.168.30.2/24"}, w.router, "eth4", []string{"192.168.30.1/24"})
	w.ok(w.client.Link("eth1", false))
	w.ok(w.host.Do(func() error { return configure("lo", []string{fixedAddr + "/32"}) }))
	w.ok(w.internet.Route(fixedAddr+"/32", "198.18.1.1"))
	w.simpleSAML(w.internet, webAddr, false)
	w.aditd()

	p := w.page("fixed-address.md", map[string]*Node{"client": w.client, "endpoint": w.server, "gateway": w.host})
	p.Stays = []string{"adit-endpoint up"}
	p.Swap = [][2]string{{"scp ", "cp "}, {"client:", w.client.Dir + "/"}}
	person := func(name string) {
		p.Wrap = map[string]func([]string) []string{"adit connect work": func(argv []string) []string {
			return append(w.signedIn(name, name+"pw"), onTerminal(argv...)...)
		}}
	}
	p.section("1. The NAT gateway")
	p.section("2. The endpoint")
	person("alice")
	p.section("3. Alice signs in")
	p.section("4. The fixed address")
	p.section("5. The office is cut off")
	w.until(soon, "the tunnel goes by the second network", func() bool { return w.seenAs(webAddr) == fixedAddr })
	p.section("6. The second path")
	person("bob")
	p.section("7. Bob signs in")
	p.section("8. Who may sign in and not connect")
	p.section("9. The connection log")
	users := map[string]int{}
	for line := range strings.Lines(w.read(w.server.Dir + "/connections.jsonl")) {
		var e map[string]string
		w.ok(json.Unmarshal([]byte(line), &e))
		if e["connection-attempt-status"] == "successful" {
			users[e["username"]]++
		}
	}
	if len(users) != 2 || users["alice@example.test"] != 1 || users["bob@example.test"] != 1 {
		t.Errorf("sign-ins in the connection log: %v", users)
	}
}
