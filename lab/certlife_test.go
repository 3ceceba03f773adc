//go:build linux

package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/network"
	certs "github.com/adit-vpn/adit/endpoint/pki"
)

// figures asks the endpoint as Prometheus does. Labels but for the endpoint's are part of the name.
func (s *site) figures() map[string]float64 {
	s.t.Helper()
	c, err := s.server.Dial("tcp", "127.0.0.1:9180", soon)
	s.ok(err)
	defer c.Close()
	s.ok(c.SetDeadline(time.Now().Add(soon)))
	q, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:9180/metrics", nil)
	s.ok(err)
	s.ok(q.Write(c))
	res, err := http.ReadResponse(bufio.NewReader(c), q)
	s.ok(err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("metrics: %s", res.Status)
	}
	out := map[string]float64{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), "} ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		name, labels, _ := strings.Cut(strings.TrimPrefix(name, "adit_endpoint_"), "{")
		if _, more, ok := strings.Cut(labels, ","); ok {
			name += "{" + more + "}"
		}
		out[name], err = strconv.ParseFloat(value, 64)
		s.ok(err)
	}
	return out
}

// TestCertificateLife: an endpoint with a PKI of its own, from the first certificate over a renewal, a revocation list that
// has expired and a revocation to another CA. The client says each time what is wrong, also with tls-crypt-v2; the
// metrics and the list of ended sessions tell the same story.
func TestCertificateLife(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, args := range [][]string{{"init"}, {"server"}, {"client", "alice"}} {
		s.endpointCmd(append([]string{"pki"}, args...)...)
	}
	text := endpoint.BuiltinText(netip.MustParseAddrPort("198.51.100.1:1194"), "udp", "userspace")
	up := s.endpointUp(strings.Replace(text, "data: .", "data: data", 1) + "metrics: {listen: 127.0.0.1:9180}\n")
	s.aditd()
	profile := func() string { return s.endpointCmd("export", "--client", "alice") }
	reload := func(reset int) {
		t.Helper()
		if out := s.endpointCmd("reload"); out != fmt.Sprintf("reloaded, %d sessions reset\n", reset) {
			t.Errorf("want %d sessions reset: %s", reset, out)
		}
	}
	ping := func() { t.Helper(); s.reaches(s.client, none, network.DemoAddress()) }

	s.connect(profile())
	ping()
	s.endpointCmd("pki", "renew", "server", "--days", "20")
	reload(0)
	ping()
	if id := s.connections()[0].ID; strings.Count(up.Out.String(), id) == 0 || strings.Contains(up.Out.String(), "client disconnected") {
		t.Error("the session did not outlive the renewal")
	}
	if f := s.figures(); f["active_connections"] != 1 || f["ingress_packets_total"] < 2 || f[`certificate_days_to_expiry{kind="server",name="server"}`] > 20 {
		t.Errorf("metrics %v", f)
	}
	s.adit("disconnect", "lab")
	s.adit("connect", "lab", "--timeout", "20s")
	ping()
	s.adit("disconnect", "lab")
	s.until(soon, "no session", func() bool { return len(s.connections()) == 0 })
	var ended []endpoint.Connection
	s.ok(json.Unmarshal([]byte(s.endpointCmd("connections", "--all", "--json")), &ended))
	before := s.figures()
	var packets uint64
	for _, c := range ended {
		packets += c.RxPackets
		if c.Status != endpoint.StatusTerminated || c.Ended.IsZero() || c.Cert != "alice" {
			t.Errorf("ended: %+v", c)
		}
	}
	if len(ended) != 2 || before["ingress_packets_total"] != float64(packets) || before["active_connections"] != 0 {
		t.Errorf("%d sessions with %d packets; metrics %v", len(ended), packets, before)
	}

	// A list that has expired, and its successor.
	past, err := certs.OpenAt(filepath.Join(s.dataDir(), "pki"), func() time.Time { return time.Now().AddDate(0, 0, -200) })
	s.ok(err)
	_, err = past.CRL(0)
	s.ok(err)
	reload(0)
	s.connectFails(profile(), "the server refuses your certificate")
	s.ok(up.WaitFor("the revocation list has expired: all clients with certificates are refused", soon))
	if f := s.figures(); f["crl_days_to_expiry"] > -19 || f["authentication_failures_total"] == 0 {
		t.Errorf("metrics %v", f)
	}
	s.endpointCmd("pki", "crl")
	reload(0)
	s.connect(profile())
	ping()
	s.adit("disconnect", "lab")

	// Another CA: the old profile's client is told by the server's certificate, the new one works at once.
	old := profile()
	s.until(soon, "no session", func() bool { return len(s.connections()) == 0 })
	s.endpointCmd("pki", "replace-ca", "--common-name", "New CA")
	s.endpointCmd("pki", "client", "alice")
	reload(0)
	s.connectFails(old, "is not signed by a CA that the profile trusts")
	s.connect(profile())
	ping()
	s.adit("disconnect", "lab")

	old = profile()
	s.endpointCmd("pki", "revoke", "alice")
	s.until(soon, "no session", func() bool { return len(s.connections()) == 0 })
	reload(0)
	s.connectFails(old, "the server refuses your certificate")
}
