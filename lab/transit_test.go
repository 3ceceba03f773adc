//go:build linux

package lab

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestTransitGateway: an endpoint behind a transit gateway sends its clients' packets with their own addresses to a router, wherever its routes
// lead, and nowhere else; an authorization policy ends the session, and says so to whom it denies.
func TestTransitGateway(t *testing.T) {
	t.Parallel()
	needs(t, "nft", "curl")
	w := newWorld(t)
	// What AWS's guide calls return routes.
	w.ok(w.host.Route("10.64.0.0/22", "10.1.0.5"))
	w.ok(w.internet.Route("10.64.0.0/22", "198.18.1.1"))
	machine := func() string {
		return w.run(w.server, "nft", "list", "ruleset") + w.run(w.server, "ip", "-br", "link") + w.run(w.server, "ip", "rule") + w.run(w.server, "ip", "route", "show", "table", "all")
	}
	before := machine()
	const gateway = "tgw-0123456789abcdef0"
	p := w.start(w.server, "adit-endpoint", bin(t, "adit-endpoint"), "up", "-v", "--config", w.write(w.server, "endpoint.yaml", fmt.Sprintf(`data: %s
network: kernel
api:
  endpoints: {addresses: [203.0.113.1], ports: 20000-20009}
  transit_gateways:
    - {id: %s, owner: "210987654321", cidr: 10.1.0.0/24, zones: [{zone: us-east-1a, cidr: 10.1.0.0/24, interface: eth1, gateway: %s}]}
`, w.dataDir(), gateway, worldHost)))
	w.ok(p.WaitFor("EC2 API:", soon))
	arn := regexp.MustCompile(`arn:aws:acm:\S+`).FindString(w.endpointCmd("arns"))
	id := w.element(w.ec2("CreateClientVpnEndpoint", "ClientCidrBlock", "10.64.0.0/22", "ServerCertificateArn", arn, "SplitTunnel", "true",
		"Authentication.1.Type", "certificate-authentication", "Authentication.1.MutualAuthentication.ClientRootCertificateChainArn", arn,
		"ConnectionLogOptions.Enabled", "true", "ConnectionLogOptions.CloudwatchLogGroup", "group", "TransitGatewayConfiguration.TransitGatewayId", gateway), "clientVpnEndpointId")
	of := func(action string, params ...string) string {
		t.Helper()
		return w.ec2(action, append([]string{"ClientVpnEndpointId", id}, params...)...)
	}
	of("CreateClientVpnRoute", "DestinationCidrBlock", "10.1.0.0/16")
	of("AuthorizeClientVpnIngress", "TargetNetworkCidr", "0.0.0.0/0", "AuthorizeAllGroups", "true")
	described := w.ec2("DescribeClientVpnEndpoints", "ClientVpnEndpointId.1", id)
	attachment := w.element(described, "transitGatewayAttachmentId")
	if !strings.Contains(described, "<code>pending-associate</code>") {
		t.Errorf("before it was accepted: %s", described)
	}
	if got := w.element(w.ec2("AcceptTransitGatewayClientVpnAttachment", "TransitGatewayAttachmentId", attachment), "state"); got != "available" {
		t.Errorf("the attachment is %s", got)
	}

	w.aditd()
	w.adit("import", w.write(w.client, "lab.ovpn", w.endpointCmd("export", "--endpoint", id, "--client", "client")))
	w.adit("connect", "lab", "--timeout", "20s")
	list := w.connections()
	if len(list) != 1 {
		t.Fatalf("connections %+v", list)
	}
	own := list[0].Address.String()
	w.seen(worldHost, own)
	if got := w.seenAs(webAddr); got == own {
		t.Error("without a route the client reaches what is behind the gateway")
	}
	of("CreateClientVpnRoute", "DestinationCidrBlock", "192.0.2.0/24")
	w.until(soon, "what is behind the gateway sees the client's own address", func() bool {
		list := w.connections()
		return len(list) == 1 && w.seenAs(webAddr) == list[0].Address.String()
	})

	// A policy that forbids the client ends its session; nobody is asked to try again for ever.
	of("ModifyClientVpnEndpointAuthorizationPolicy", "PolicyDocument", `forbid(principal, action, resource) when { context["mutual-authentication"]["common-name"] == "client" };`)
	w.until(soon, "the session is over", func() bool { return len(w.connections()) == 0 })
	w.adit("disconnect", "lab")
	if out, err := w.try(w.client, bin(t, "adit"), "connect", "lab", "--timeout", "20s"); err == nil || !strings.Contains(out+err.Error(), "Authorization policy evaluation failed") {
		t.Errorf("a client that the policy forbids: %v, %s", err, out)
	}
	w.adit("disconnect", "lab")
	of("DeleteClientVpnEndpointAuthorizationPolicy")
	w.adit("connect", "lab", "--timeout", "20s")
	w.until(soon, "the client is back", func() bool { return w.seenAs(worldHost) != "" })

	w.ec2("DeleteTransitGatewayClientVpnAttachment", "TransitGatewayAttachmentId", attachment)
	if list := w.connections(); len(list) != 0 {
		t.Errorf("without an attachment: %+v", list)
	}
	w.adit("disconnect", "lab")
	w.ok(p.Stop(syscall.SIGTERM, soon))
	w.same("the endpoint's machine", before, machine())
}
