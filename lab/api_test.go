//go:build linux

package lab

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// awsCLI is Debian's. Another one may be earlier in the PATH, of another version.
const awsCLI = "/usr/bin/aws"

// apiWorld is a world whose endpoint's machine serves the EC2 API; endpoints come from there alone.
type apiWorld struct{ *world }

func newAPIWorld(t *testing.T) *apiWorld {
	t.Helper()
	w := &apiWorld{world: newWorld(t)}
	w.write(w.server, "secret", "a secret of the lab\n")
	w.up()
	return w
}

// up starts the API's process. Its file declares networks, and no endpoint.
func (w *apiWorld) up() *Proc {
	w.t.Helper()
	file := w.write(w.server, "endpoint.yaml", fmt.Sprintf(`data: %s
network: kernel
networks:
  - vpc: vpc-a
    cidr: 10.1.0.0/16
    subnets:
      - {id: subnet-a, cidr: 10.1.0.0/24, zone: us-east-1a, address: 10.1.0.5, interface: eth1}
      - {id: subnet-b, cidr: 10.1.1.0/24, zone: us-east-1a, address: 10.1.1.5, interface: eth1}
api:
  keys: [{id: AKIDLAB, secret_file: secret}]
  endpoints: {addresses: [203.0.113.1]}
`, w.dataDir()))
	p := w.start(w.server, "adit-endpoint", bin(w.t, "adit-endpoint"), "up", "-v", "--config", file, "--api", "127.0.0.1:8700")
	w.ok(p.WaitFor("EC2 API", soon))
	return p
}

// tryAWS runs the AWS CLI on the endpoint's machine.
func (w *apiWorld) tryAWS(secret string, args ...string) (string, error) {
	return w.try(w.server, append([]string{"env", "AWS_ACCESS_KEY_ID=AKIDLAB", "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_DEFAULT_REGION=us-east-1",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_PAGER=", awsCLI, "--endpoint-url", "http://127.0.0.1:8700", "--output", "json"}, args...)...)
}

// aws is the answer to a call of EC2, or the part of it that query names.
func (w *apiWorld) aws(query string, args ...string) string {
	w.t.Helper()
	args = append([]string{"ec2"}, args...)
	if query != "" {
		args = append(args, "--query", query, "--output", "text")
	}
	out, err := w.tryAWS("a secret of the lab", args...)
	w.ok(err)
	return strings.TrimSpace(out)
}

// refused demands the code of AWS with which a call of EC2 fails; the CLI ends with 254 then.
func (w *apiWorld) refused(code string, args ...string) {
	w.t.Helper()
	out, err := w.tryAWS("a secret of the lab", append([]string{"ec2"}, args...)...)
	if err == nil || !strings.Contains(out, "An error occurred ("+code+") when calling") || !strings.Contains(err.Error(), "exit status 254") {
		w.t.Errorf("aws %s: %v %s, want %s", args[0], err, out, code)
	}
}

// TestAPI is a day of an administrator with the AWS CLI: every step of AWS's guide, and its mistakes, against a tunnel that
// is really there.
func TestAPI(t *testing.T) {
	t.Parallel()
	needs(t, awsCLI, "curl")
	w := newAPIWorld(t)
	pki := filepath.Join(w.dataDir(), "pki")
	importServer := func(more ...string) string {
		t.Helper()
		out, err := w.tryAWS("a secret of the lab", append([]string{"acm", "import-certificate", "--certificate", "fileb://" + filepath.Join(pki, "issued", "server.crt"),
			"--private-key", "fileb://" + filepath.Join(pki, "private", "server.key"), "--certificate-chain", "fileb://" + filepath.Join(pki, "ca.crt"), "--query", "CertificateArn", "--output", "text"}, more...)...)
		w.ok(err)
		return strings.TrimSpace(out)
	}
	serverCert := importServer()
	var clientCA string // the API knows the CA by itself
	var handles []struct{ Name, Means string }
	w.ok(json.Unmarshal([]byte(w.endpointCmd("arns", "--json", "--config", filepath.Join(w.server.Dir, "endpoint.yaml"))), &handles))
	for _, h := range handles {
		if strings.HasPrefix(h.Means, "CA of clients") {
			clientCA = h.Name
		}
	}

	// An endpoint: a range that is too small is refused, as is one that overlaps the network.
	// The clients' CA is the one in the chain of the server's certificate, as in AWS's guide, or has a name of its own.
	create := func(cidr, clientCA string) []string {
		return []string{"create-client-vpn-endpoint", "--client-cidr-block", cidr, "--server-certificate-arn", serverCert,
			"--authentication-options", "Type=certificate-authentication,MutualAuthentication={ClientRootCertificateChainArn=" + clientCA + "}",
			"--connection-log-options", "Enabled=false", "--tag-specifications", "ResourceType=client-vpn-endpoint,Tags=[{Key=Name,Value=lab}]"}
	}
	w.refused("InvalidParameterValue", create("10.64.0.0/24", clientCA)...)
	w.refused("InvalidParameterValue", append(create("10.1.0.0/22", clientCA), "--vpc-id", "vpc-a")...)
	id := w.aws("ClientVpnEndpointId", create("10.64.0.0/22", serverCert)...)
	endpoint := func() string {
		return w.aws("ClientVpnEndpoints[0].[Status.Code,ClientCidrBlock,Tags[0].Value]", "describe-client-vpn-endpoints", "--client-vpn-endpoint-ids", id)
	}
	if got := endpoint(); got != "pending-associate\t10.64.0.0/22\tlab" {
		t.Errorf("the endpoint is %q", got)
	}
	with := func(action string, args ...string) []string {
		return append([]string{action, "--client-vpn-endpoint-id", id}, args...)
	}

	// Its target network. The route to the VPC comes by itself, and there is one subnet in a zone.
	association := w.aws("AssociationId", with("associate-client-vpn-target-network", "--subnet-id", "subnet-a")...)
	w.refused("InvalidClientVpnSubnetId.DuplicateAz", with("associate-client-vpn-target-network", "--subnet-id", "subnet-b")...)
	if got := endpoint(); !strings.HasPrefix(got, "available\t") {
		t.Errorf("the endpoint is %q", got)
	}
	if got := w.aws("Routes[].[DestinationCidr,TargetSubnet,Origin,Status.Code]", with("describe-client-vpn-routes")...); got != "10.1.0.0/16\tsubnet-a\tassociate\tactive" {
		t.Errorf("routes: %q", got)
	}

	// Two people with certificates of the CA; the API knows of neither.
	profile := w.aws("ClientConfiguration", with("export-client-vpn-client-configuration", "--output", "text")...)
	w.aditd()
	for _, name := range []string{"bob", "eve"} {
		w.endpointCmd("pki", "client", name)
		w.adit("import", w.write(w.client, name+".ovpn", profile+
			"\n<cert>\n"+w.read(filepath.Join(pki, "issued", name+".crt"))+"</cert>\n<key>\n"+w.read(filepath.Join(pki, "private", name+".key"))+"</key>\n"))
	}
	w.adit("connect", "bob", "--timeout", "20s")

	// What they reach: nothing, then the VPC, then the internet, with a rule and a route.
	w.seen(worldHost, "")
	authorize := func(cidr string) []string {
		return with("authorize-client-vpn-ingress", "--target-network-cidr", cidr, "--authorize-all-groups")
	}
	w.aws("", authorize("10.1.0.0/16")...)
	w.seen(worldHost, endpointSeen)
	w.seen(webAddr, "")
	w.aws("", with("create-client-vpn-route", "--destination-cidr-block", "0.0.0.0/0", "--target-vpc-subnet-id", "subnet-a")...)
	w.seen(webAddr, "")
	w.aws("", authorize("0.0.0.0/0")...)
	w.seen(webAddr, endpointSeen)

	// The connection, its counters and its end.
	active := func() []string {
		t.Helper()
		return strings.Split(w.aws("Connections[?Status.Code=='active'].[ConnectionId,CommonName,IngressBytes,EgressBytes]", with("describe-client-vpn-connections")...), "\t")
	}
	connection := active()
	if len(connection) != 4 || !strings.HasPrefix(connection[0], "cvpn-connection-") || connection[1] != "bob" || connection[2] == "0" || connection[3] == "0" {
		t.Fatalf("connections: %q", connection)
	}
	connectionID := connection[0]
	w.aws("", with("terminate-client-vpn-connections", "--connection-id", connectionID)...)
	w.until(atOnce, "bob's client says who ended it", func() bool {
		p := w.statusOf("bob").Problem
		return p != nil && p.Code == api.CodeSessionEnded
	})
	if got := w.aws("Connections[].Status.Code", with("describe-client-vpn-connections", "--filters", "Name=connection-id,Values="+connectionID)...); got != "terminated" {
		t.Errorf("the connection is %q", got)
	}
	w.adit("disconnect", "bob")

	// Another one of the same CA needs no upload. A list with the first one's certificate ends all sessions: he is out, she
	// comes back.
	w.adit("connect", "eve", "--timeout", "20s")
	w.endpointCmd("pki", "revoke", "bob")
	list := filepath.Join(w.dataDir(), "pki", "crl.pem")
	w.aws("", with("import-client-vpn-client-certificate-revocation-list", "--certificate-revocation-list", "file://"+list)...)
	if got := w.aws("CertificateRevocationList", with("export-client-vpn-client-certificate-revocation-list")...); got != strings.TrimSpace(w.read(list)) {
		t.Errorf("the list is %q", got)
	}
	if _, err := w.try(w.client, bin(t, "adit"), "connect", "bob", "--timeout", "5s"); err == nil {
		t.Error("a revoked certificate is let in")
	}
	w.adit("disconnect", "bob")
	w.until(soon, "the other one is back", func() bool { return w.seenAs(worldHost) == endpointSeen })

	// A renewed certificate, whose chain stays: the session does, too.
	before := active()[0]
	w.endpointCmd("pki", "renew", "server")
	if arn := importServer("--certificate-arn", serverCert); arn != serverCert {
		t.Errorf("renewed as %s", arn)
	}
	if got := w.seenAs(worldHost); got != endpointSeen {
		t.Errorf("after a renewal the client is seen as %q", got)
	}
	if after := active()[0]; !strings.HasPrefix(before, "cvpn-connection-") || after != before {
		t.Errorf("the renewal made connection %q of %q", after, before)
	}

	// Nobody else: a wrong secret, and web pages.
	out, err := w.tryAWS("another secret", "ec2", "describe-client-vpn-endpoints")
	if err == nil || !strings.Contains(out, "(AuthFailure)") {
		t.Errorf("a wrong secret: %v %s", err, out)
	}
	if out, err := w.tryAWS("a secret of the lab", "sts", "get-caller-identity", "--query", "Account", "--output", "text"); err != nil || strings.TrimSpace(out) != "123456789012" {
		t.Errorf("who asks: %v %s", err, out)
	}
	for _, header := range []string{"Origin: http://127.0.0.1:8700", "Sec-Fetch-Mode: no-cors", "Host: evil.example", "X-Nothing: at all"} {
		code := w.run(w.server, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", header, "-d", "Action=DisassociateClientVpnTargetNetwork&Version=2016-11-15&ClientVpnEndpointId="+id+"&AssociationId="+association, "http://127.0.0.1:8700/")
		if !strings.HasPrefix(code, "4") {
			t.Errorf("a web page with %s: %s", header, code)
		}
	}
	if code := w.run(w.server, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8700/?Action=DeleteClientVpnEndpoint&ClientVpnEndpointId="+id); code != "405" {
		t.Errorf("GET: %s", code)
	}
	if got := w.seenAs(worldHost); got != endpointSeen {
		t.Errorf("after all that the client is seen as %q", got)
	}

	// The end, in order; with the last association everybody is out.
	w.refused("ClientVpnEndpointAssociationExists", with("delete-client-vpn-endpoint")...)
	w.aws("", with("disassociate-client-vpn-target-network", "--association-id", association)...)
	w.until(soon, "the session is over", func() bool { return w.seenAs(worldHost) == "" })
	w.adit("disconnect", "eve")
	w.aws("", with("delete-client-vpn-endpoint")...)
	w.refused("InvalidClientVpnEndpointId.NotFound", "describe-client-vpn-endpoints", "--client-vpn-endpoint-ids", id)
}
