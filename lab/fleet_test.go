//go:build linux

package lab

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// ec2 asks the endpoint's API, as a program on its machine does, and returns the answer.
func (s *site) ec2(action string, params ...string) string {
	s.t.Helper()
	form := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for i := 0; i+1 < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	const signed = "Authorization: AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000"
	out := s.run(s.server, "curl", "-sS", "-H", signed, "-H", "X-Amz-Date: "+time.Now().UTC().Format("20060102T150405Z"), "--data", form.Encode(), "http://127.0.0.1:8700/")
	if strings.Contains(out, "<Errors>") {
		s.t.Fatalf("%s: %s", action, out)
	}
	return out
}

// element is what an answer has between a tag and its end.
func (s *site) element(answer, name string) string {
	s.t.Helper()
	m := regexp.MustCompile("<" + name + ">([^<]*)</" + name + ">").FindStringSubmatch(answer)
	if m == nil {
		s.t.Fatalf("no %s in %s", name, answer)
	}
	return m[1]
}

// TestFleet: one process runs several endpoints in the kernel's network. They come and go without a break for the clients of
// the others, are there again after a kill -9, and leave nothing behind.
func TestFleet(t *testing.T) {
	t.Parallel()
	needs(t, "nft", "curl")
	w := newWorld(t)
	machine := func() string {
		return w.run(w.server, "nft", "list", "ruleset") + w.run(w.server, "ip", "-br", "link") + w.run(w.server, "ip", "rule") + w.run(w.server, "ip", "route", "show", "table", "all")
	}
	before := machine()
	file := w.write(w.server, "endpoint.yaml", fmt.Sprintf(`data: %s
network: kernel
networks: [{vpc: vpc-a, cidr: 10.1.0.0/16, subnets: [{id: subnet-a, cidr: 10.1.0.0/24, zone: us-east-1a, address: 10.1.0.5, interface: eth1}]}]
api: {endpoints: {addresses: [203.0.113.1], ports: 20000-20009}}
`, w.dataDir()))
	up := func() *Proc {
		t.Helper()
		p := w.start(w.server, "adit-endpoint", bin(t, "adit-endpoint"), "up", "-v", "--config", file)
		w.ok(p.WaitFor("EC2 API:", soon))
		return p
	}
	p := up()
	arn := regexp.MustCompile(`arn:aws:acm:\S+`).FindString(w.endpointCmd("arns"))
	ids, targets := map[string]string{}, map[string]string{}
	associate := func(name string) {
		t.Helper()
		targets[name] = w.element(w.ec2("AssociateClientVpnTargetNetwork", "ClientVpnEndpointId", ids[name], "SubnetId", "subnet-a"), "associationId")
	}
	for name, cidr := range map[string]string{"one": "10.64.0.0/22", "two": "10.68.0.0/22"} {
		ids[name] = w.element(w.ec2("CreateClientVpnEndpoint", "ClientCidrBlock", cidr, "ServerCertificateArn", arn, "SplitTunnel", "true",
			"Authentication.1.Type", "certificate-authentication", "Authentication.1.MutualAuthentication.ClientRootCertificateChainArn", arn,
			"ConnectionLogOptions.Enabled", "true", "ConnectionLogOptions.CloudwatchLogGroup", "group"), "clientVpnEndpointId")
		associate(name)
		w.ec2("AuthorizeClientVpnIngress", "ClientVpnEndpointId", ids[name], "TargetNetworkCidr", "10.1.0.0/16", "AuthorizeAllGroups", "true")
	}
	w.aditd()
	for name, id := range ids {
		w.adit("import", w.write(w.client, name+".ovpn", w.endpointCmd("export", "--endpoint", id, "--client", "client")))
	}
	w.adit("connect", "one", "--timeout", "20s")
	w.seen(worldHost, endpointSeen)
	first := w.connections()
	if len(first) != 1 || first[0].Endpoint != ids["one"] {
		t.Fatalf("connections %+v", first)
	}

	w.ec2("DisassociateClientVpnTargetNetwork", "ClientVpnEndpointId", ids["two"], "AssociationId", targets["two"])
	w.seen(worldHost, endpointSeen)
	without, err := os.ReadFile(w.dataDir() + "/api.db")
	w.ok(err)
	associate("two")
	w.seen(worldHost, endpointSeen)
	if list := w.connections(); len(list) != 1 || list[0].ID != first[0].ID {
		t.Fatalf("another endpoint came and went: %+v became %+v", first, list)
	}
	w.adit("disconnect", "one")
	w.adit("connect", "two", "--timeout", "20s")
	w.seen(worldHost, endpointSeen)

	w.adit("disconnect", "two")
	p.Stop(syscall.SIGKILL, soon) // its error says that it was killed
	p = up()
	w.adit("connect", "two", "--timeout", "20s")
	w.seen(worldHost, endpointSeen)
	if list := w.connections(); len(list) != 1 || list[0].Endpoint != ids["two"] {
		t.Errorf("after the kill: %+v", list)
	}
	w.ec2("DisassociateClientVpnTargetNetwork", "ClientVpnEndpointId", ids["two"], "AssociationId", targets["two"])
	if list := w.connections(); len(list) != 0 {
		t.Errorf("after the last disassociation: %+v", list)
	}
	w.seen(worldHost, "")
	if st := w.status(); st.State == api.Connected {
		t.Error("connected to an endpoint without association")
	}
	text, err := os.ReadFile(w.dataDir() + "/endpoints/" + ids["two"] + "/connections.jsonl")
	if w.ok(err); !strings.Contains(string(text), `"client-vpn-endpoint-id":"`+ids["two"]+`"`) {
		t.Errorf("connection log: %s", text)
	}

	// Killed after an endpoint has been started, and before the request was written: nobody starts it again, and it leaves nothing.
	associate("two")
	tables := func() int { return strings.Count(w.run(w.server, "nft", "list", "tables"), "adit_endpoint") }
	if n := tables(); n != 2 {
		t.Errorf("%d tables of two endpoints", n)
	}
	p.Stop(syscall.SIGKILL, soon)
	w.ok(os.WriteFile(w.dataDir()+"/api.db", without, 0o600))
	p = up()
	if n := tables(); n != 1 {
		t.Errorf("%d tables of one endpoint", n)
	}
	w.ok(p.Stop(syscall.SIGTERM, soon))
	w.same("the endpoint's machine", before, machine())
}
