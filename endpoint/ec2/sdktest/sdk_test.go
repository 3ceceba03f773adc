//go:build linux

// Package sdktest talks to the EC2 API as programs do: with AWS's own SDK for Go, whose generated types say what an answer
// has to have. The API, its model and its state are the real ones; the fleet is a fake. It is a package of its own because
// the SDK's part for EC2 takes two minutes to compile; that is also why it is for Linux alone.
package sdktest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/adit-vpn/adit/endpoint"
	api "github.com/adit-vpn/adit/endpoint/ec2"
	"github.com/adit-vpn/adit/endpoint/model"
)

const (
	serverARN    = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-1111-1111-1111-111111111111"
	otherARN     = "arn:aws:acm:us-east-1:123456789012:certificate/22222222-2222-2222-2222-222222222222"
	clientsARN   = "arn:aws:acm:us-east-1:123456789012:certificate/33333333-3333-3333-3333-333333333333"
	directory    = "d-0123456789"
	samlARN      = "arn:aws:iam::123456789012:saml-provider/idp"
	ownGateway   = "tgw-0123456789abcdef0"
	theirGateway = "tgw-0123456789abcdef1"
	functionARN  = "arn:aws:lambda:us-east-1:123456789012:function:AWSClientVPN-gate"
	file         = `
network: userspace
api:
  listen: 127.0.0.1:8700
  certificates:
    - {arn: "` + serverARN + `", cert: server.crt, key: server.key}
    - {arn: "` + otherARN + `", cert: other.crt, key: other.key}
    - {arn: "` + clientsARN + `", cert: ca.crt}
  directories:
    - {id: ` + directory + `, url: "ldaps://dc1.corp.example.com", base_dn: "DC=corp,DC=example,DC=com", realm: corp.example.com}
  saml_providers:
    - {arn: "` + samlARN + `", idp_metadata: idp.xml}
  handlers:
    - {arn: "` + functionARN + `", exec: /bin/true}
  transit_gateways:
    - {id: ` + ownGateway + `, cidr: 10.99.0.0/24, zones: [{zone: us-east-1a, cidr: 10.99.0.0/27}, {zone: us-east-1b, cidr: 10.99.0.32/27}, {zone: us-east-1c, cidr: 10.99.0.64/27}]}
    - {id: ` + theirGateway + `, owner: "210987654321", cidr: 10.98.0.0/24, zones: [{zone: us-east-1a, cidr: 10.98.0.0/27}]}
networks:
  - vpc: vpc-0a
    cidr: 10.0.0.0/16
    subnets:
      - {id: subnet-0a, cidr: 10.0.0.0/24, zone: us-east-1a}
      - {id: subnet-0b, cidr: 10.0.1.0/24, zone: us-east-1b}
      - {id: subnet-0c, cidr: 10.0.2.0/24, zone: us-east-1a}
  - vpc: vpc-0b
    cidr: 172.20.0.0/16
    security_groups:
      - id: sg-0b
        description: web and ping
        ingress: [{protocol: tcp, ports: 443, group: sg-0b}]
        egress: [{protocol: tcp, ports: 80-443, cidr: 172.20.0.0/16, description: web}, {protocol: icmp, cidr: 0.0.0.0/0}, {protocol: all, cidr: "fd00::/8"}]
    subnets:
      - {id: subnet-0d, cidr: 172.20.0.0/24, zone: us-east-1a}
`
)

// fleet keeps what it is told, and runs nothing.
type fleet struct {
	mu          sync.Mutex
	configs     map[string]endpoint.Config
	connections []endpoint.Connection
}

func (f *fleet) Apply(_ context.Context, id string, cfg endpoint.Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.configs[id] = cfg
	return nil
}

func (f *fleet) Stop(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.configs, id)
	return nil
}

func (f *fleet) Running(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.configs[id]
	return ok
}

func (f *fleet) Policy(id string) (text string, shadow, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.configs[id].AuthorizationPolicy
	return a.Text, a.Shadow, a.Text != ""
}

func (f *fleet) Connections(string) []endpoint.Connection {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.connections)
}

func (f *fleet) Terminate(_, connection, user string) (ended []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connections = slices.DeleteFunc(f.connections, func(c endpoint.Connection) bool {
		if c.ID != connection && (user == "" || c.Username != user) {
			return false
		}
		ended = append(ended, c.ID)
		return true
	})
	return ended
}

func (f *fleet) SignedIn(_, _, user string) bool { return user == "carl" }

func (f *fleet) Export(id string, _ endpoint.Config) (string, error) {
	return "client\nremote " + id + "\n<ca>\n&\n</ca>\n", nil
}

// world is an API with its clients.
type world struct {
	*testing.T
	ctx   context.Context
	fleet *fleet
	ec2   *ec2.Client
	url   string
	clock time.Time
}

// start runs an API. The clients sign with a key that it knows.
func start(t *testing.T, delay string) *world {
	t.Helper()
	dir := t.TempDir()
	text := strings.Replace(file, "  certificates:", "  delay: "+delay+"\n  certificates:", 1)
	path := filepath.Join(dir, "endpoint.yaml")
	if err := os.WriteFile(path, []byte("data: "+dir+text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := endpoint.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, ctx: t.Context(), fleet: &fleet{configs: map[string]endpoint.Config{}}, clock: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	m, err := model.Open(filepath.Join(dir, "api.db"), model.Declared{Config: cfg}, w.fleet, model.Options{Now: func() time.Time { return w.clock }, ReadFile: os.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(api.New(m, api.Options{
		Region: cfg.API.Region, Account: cfg.API.Account, Secrets: api.Secrets{Keys: map[string]string{"AKIDADIT": "secret"}}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	w.ec2 = w.client("AKIDADIT", "secret", "us-east-1")
	return w
}

// client is one with its own idea of who it is and where.
func (w *world) client(key, secret, region string) *ec2.Client {
	return ec2.New(ec2.Options{Region: region, BaseEndpoint: aws.String(w.url), Credentials: credentials(key, secret), RetryMaxAttempts: 1})
}

func credentials(key, secret string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, nil
	})
}

// must is the answer to a call that has to work.
func must[T any](out T, err error) func(t *world) T {
	return func(w *world) T {
		w.Helper()
		if err != nil {
			w.Fatal(err)
		}
		return out
	}
}

// refused says that a call has to fail with one of AWS's codes.
func (w *world) refused(code string, err error) {
	w.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code || e.ErrorMessage() == "" {
		w.Errorf("%v, want %s", err, code)
	}
}

// mutual is an endpoint with certificates, as AWS's guide begins.
func (w *world) mutual(change ...func(*ec2.CreateClientVpnEndpointInput)) string {
	w.Helper()
	in := &ec2.CreateClientVpnEndpointInput{
		ClientCidrBlock: aws.String("10.64.0.0/22"), ServerCertificateArn: aws.String(serverARN),
		AuthenticationOptions: []types.ClientVpnAuthenticationRequest{{
			Type:                 types.ClientVpnAuthenticationTypeCertificateAuthentication,
			MutualAuthentication: &types.CertificateAuthenticationRequest{ClientRootCertificateChainArn: aws.String(clientsARN)},
		}},
		ConnectionLogOptions: &types.ConnectionLogOptions{Enabled: aws.Bool(false)},
	}
	for _, c := range change {
		c(in)
	}
	return *must(w.ec2.CreateClientVpnEndpoint(w.ctx, in))(w).ClientVpnEndpointId
}

func (w *world) associate(id, subnet string) string {
	w.Helper()
	return *must(w.ec2.AssociateClientVpnTargetNetwork(w.ctx, &ec2.AssociateClientVpnTargetNetworkInput{ClientVpnEndpointId: &id, SubnetId: &subnet}))(w).AssociationId
}

func (w *world) describe(id string) types.ClientVpnEndpoint {
	w.Helper()
	out := must(w.ec2.DescribeClientVpnEndpoints(w.ctx, &ec2.DescribeClientVpnEndpointsInput{ClientVpnEndpointIds: []string{id}}))(w)
	if len(out.ClientVpnEndpoints) != 1 {
		w.Fatalf("%d endpoints", len(out.ClientVpnEndpoints))
	}
	return out.ClientVpnEndpoints[0]
}

// complete says which fields of an answer are not there, but those that cannot be.
func (w *world) complete(what string, v any, not ...string) {
	w.Helper()
	s := reflect.Indirect(reflect.ValueOf(v))
	for i := range s.NumField() {
		field := s.Type().Field(i)
		if !field.IsExported() || slices.Contains(not, field.Name) || field.Name == "ResultMetadata" {
			continue
		}
		if f := s.Field(i); f.IsZero() {
			w.Errorf("%s has no %s", what, field.Name)
		}
	}
}

func filter(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

// TestEndpoint walks one from its making to its end, with all that it can say.
func TestEndpoint(t *testing.T) {
	w := start(t, "0s")
	created := must(w.ec2.CreateClientVpnEndpoint(w.ctx, &ec2.CreateClientVpnEndpointInput{
		ClientCidrBlock: aws.String("10.64.0.0/20"), ServerCertificateArn: aws.String(serverARN), Description: aws.String("büro <1> & \"2\""),
		AuthenticationOptions: []types.ClientVpnAuthenticationRequest{
			{Type: types.ClientVpnAuthenticationTypeCertificateAuthentication, MutualAuthentication: &types.CertificateAuthenticationRequest{ClientRootCertificateChainArn: aws.String(clientsARN)}},
			{Type: types.ClientVpnAuthenticationTypeFederatedAuthentication, FederatedAuthentication: &types.FederatedAuthenticationRequest{SAMLProviderArn: aws.String(samlARN), SelfServiceSAMLProviderArn: aws.String(samlARN)}},
		},
		ConnectionLogOptions:          &types.ConnectionLogOptions{Enabled: aws.Bool(true), CloudwatchLogGroup: aws.String("vpn"), CloudwatchLogStream: aws.String("one")},
		DnsServers:                    []string{"10.0.0.2", "10.0.0.3"},
		TransportProtocol:             types.TransportProtocolTcp,
		VpnPort:                       aws.Int32(1194),
		SplitTunnel:                   aws.Bool(true),
		VpcId:                         aws.String("vpc-0a"),
		SelfServicePortal:             types.SelfServicePortalEnabled,
		ClientConnectOptions:          &types.ClientConnectOptions{Enabled: aws.Bool(true), LambdaFunctionArn: aws.String(functionARN)},
		SessionTimeoutHours:           aws.Int32(8),
		DisconnectOnSessionTimeout:    aws.Bool(false),
		ClientLoginBannerOptions:      &types.ClientLoginBannerOptions{Enabled: aws.Bool(true), BannerText: aws.String("Welcome\nようこそ")},
		ClientRouteEnforcementOptions: &types.ClientRouteEnforcementOptions{Enforced: aws.Bool(true)},
		EndpointIpAddressType:         types.EndpointIpAddressTypeIpv4,
		TrafficIpAddressType:          types.TrafficIpAddressTypeIpv4,
		TagSpecifications:             []types.TagSpecification{{ResourceType: types.ResourceTypeClientVpnEndpoint, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("office")}}}},
	}))(w)
	w.complete("the answer to creating", created)
	if created.Status.Code != types.ClientVpnEndpointStatusCodePendingAssociate {
		t.Errorf("it is %s", created.Status.Code)
	}
	id := *created.ClientVpnEndpointId
	if want := "*." + id + ".prod.clientvpn.us-east-1.amazonaws.com"; *created.DnsName != want {
		t.Errorf("its name is %s", *created.DnsName)
	}

	w.associate(id, "subnet-0a")
	e := w.describe(id)
	w.complete("an endpoint", e, "DeletionTime", "TransitGatewayConfiguration")
	if *e.ClientVpnEndpointId != id || *e.Description != "büro <1> & \"2\"" || e.Status.Code != types.ClientVpnEndpointStatusCodeAvailable ||
		*e.ClientCidrBlock != "10.64.0.0/20" || *e.ServerCertificateArn != serverARN || *e.DnsName != *created.DnsName ||
		!slices.Equal(e.DnsServers, []string{"10.0.0.2", "10.0.0.3"}) || !*e.SplitTunnel || e.VpnProtocol != types.VpnProtocolOpenvpn ||
		e.TransportProtocol != types.TransportProtocolTcp || *e.VpnPort != 1194 || *e.VpcId != "vpc-0a" || len(e.SecurityGroupIds) != 1 ||
		*e.SessionTimeoutHours != 8 || *e.DisconnectOnSessionTimeout || !*e.ClientRouteEnforcementOptions.Enforced ||
		e.EndpointIpAddressType != types.EndpointIpAddressTypeIpv4 || e.TrafficIpAddressType != types.TrafficIpAddressTypeIpv4 || *e.SelfServicePortalUrl == "" {
		t.Errorf("%+v", e)
	}
	if _, err := time.Parse("2006-01-02T15:04:05", *e.CreationTime); err != nil {
		t.Error(err)
	}
	if l := e.ConnectionLogOptions; !*l.Enabled || *l.CloudwatchLogGroup != "vpn" || *l.CloudwatchLogStream != "one" {
		t.Errorf("%+v", l)
	}
	if n := e.AssociatedTargetNetworks; len(n) != 1 || *n[0].NetworkId != "subnet-0a" || n[0].NetworkType != types.AssociatedNetworkTypeVpc {
		t.Errorf("%+v", n)
	}
	if a := e.AuthenticationOptions; len(a) != 2 || *a[0].MutualAuthentication.ClientRootCertificateChain != clientsARN ||
		*a[1].FederatedAuthentication.SamlProviderArn != samlARN || *a[1].FederatedAuthentication.SelfServiceSamlProviderArn != samlARN || a[0].FederatedAuthentication != nil {
		t.Errorf("%+v", a)
	}
	if c := e.ClientConnectOptions; !*c.Enabled || *c.LambdaFunctionArn != functionARN || c.Status.Code != types.ClientVpnEndpointAttributeStatusCodeApplied {
		t.Errorf("%+v", c)
	}
	if b := e.ClientLoginBannerOptions; !*b.Enabled || *b.BannerText != "Welcome\nようこそ" {
		t.Errorf("%+v", b)
	}
	if len(e.Tags) != 1 || *e.Tags[0].Key != "Name" || *e.Tags[0].Value != "office" {
		t.Errorf("%+v", e.Tags)
	}

	modified := must(w.ec2.ModifyClientVpnEndpoint(w.ctx, &ec2.ModifyClientVpnEndpointInput{
		ClientVpnEndpointId: &id, Description: aws.String(""), ServerCertificateArn: aws.String(otherARN), SplitTunnel: aws.Bool(false), VpnPort: aws.Int32(443),
		DnsServers:                    &types.DnsServersOptionsModifyStructure{Enabled: aws.Bool(true), CustomDnsServers: []string{"10.0.0.9"}},
		ConnectionLogOptions:          &types.ConnectionLogOptions{Enabled: aws.Bool(false)},
		ClientConnectOptions:          &types.ClientConnectOptions{Enabled: aws.Bool(false)},
		ClientLoginBannerOptions:      &types.ClientLoginBannerOptions{Enabled: aws.Bool(false)},
		ClientRouteEnforcementOptions: &types.ClientRouteEnforcementOptions{Enforced: aws.Bool(false)},
		SelfServicePortal:             types.SelfServicePortalDisabled, SessionTimeoutHours: aws.Int32(24), DisconnectOnSessionTimeout: aws.Bool(true),
	}))(w)
	if !*modified.Return {
		t.Error("not modified")
	}
	e = w.describe(id)
	if *e.Description != "" || *e.ServerCertificateArn != otherARN || *e.SplitTunnel || *e.VpnPort != 443 || !slices.Equal(e.DnsServers, []string{"10.0.0.9"}) ||
		*e.ConnectionLogOptions.Enabled || *e.ClientConnectOptions.Enabled || *e.ClientLoginBannerOptions.Enabled || *e.ClientRouteEnforcementOptions.Enforced ||
		e.SelfServicePortalUrl != nil || *e.SessionTimeoutHours != 24 || !*e.DisconnectOnSessionTimeout {
		t.Errorf("%+v", e)
	}
	must(w.ec2.ModifyClientVpnEndpoint(w.ctx, &ec2.ModifyClientVpnEndpointInput{ClientVpnEndpointId: &id, DnsServers: &types.DnsServersOptionsModifyStructure{Enabled: aws.Bool(false)}}))(w)
	if e = w.describe(id); len(e.DnsServers) != 0 || *e.VpnPort != 443 {
		t.Errorf("%+v", e)
	}
	if cfg := w.fleet.configs[id]; cfg.SplitTunnel || cfg.ClientCIDR != netip.MustParsePrefix("10.64.0.0/20") || len(cfg.Associations) != 1 || cfg.Transport != "tcp" {
		t.Errorf("what runs: %+v", cfg)
	}

	_, err := w.ec2.DeleteClientVpnEndpoint(w.ctx, &ec2.DeleteClientVpnEndpointInput{ClientVpnEndpointId: &id})
	w.refused(model.CodeEndpointInUse, err)
	list := must(w.ec2.DescribeClientVpnTargetNetworks(w.ctx, &ec2.DescribeClientVpnTargetNetworksInput{ClientVpnEndpointId: &id}))(w)
	must(w.ec2.DisassociateClientVpnTargetNetwork(w.ctx, &ec2.DisassociateClientVpnTargetNetworkInput{ClientVpnEndpointId: &id, AssociationId: list.ClientVpnTargetNetworks[0].AssociationId}))(w)
	if _, runs := w.fleet.configs[id]; runs {
		t.Error("it runs without an association")
	}
	if gone := must(w.ec2.DeleteClientVpnEndpoint(w.ctx, &ec2.DeleteClientVpnEndpointInput{ClientVpnEndpointId: &id}))(w); gone.Status.Code != types.ClientVpnEndpointStatusCodeDeleting {
		t.Errorf("%+v", gone)
	}
	_, err = w.ec2.DescribeClientVpnEndpoints(w.ctx, &ec2.DescribeClientVpnEndpointsInput{ClientVpnEndpointIds: []string{id}})
	w.refused(model.CodeEndpointNotFound, err)
	if left := must(w.ec2.DescribeClientVpnEndpoints(w.ctx, &ec2.DescribeClientVpnEndpointsInput{}))(w); len(left.ClientVpnEndpoints) != 0 {
		t.Errorf("%+v", left.ClientVpnEndpoints)
	}
}

func TestDirectoryEndpoint(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual(func(in *ec2.CreateClientVpnEndpointInput) {
		in.AuthenticationOptions = []types.ClientVpnAuthenticationRequest{{
			Type: types.ClientVpnAuthenticationTypeDirectoryServiceAuthentication, ActiveDirectory: &types.DirectoryServiceAuthenticationRequest{DirectoryId: aws.String(directory)},
		}}
		in.SelfServicePortal = types.SelfServicePortalDisabled
	})
	if e := w.describe(id); len(e.AuthenticationOptions) != 1 || *e.AuthenticationOptions[0].ActiveDirectory.DirectoryId != directory || e.SelfServicePortalUrl != nil ||
		e.Status.Code != types.ClientVpnEndpointStatusCodePendingAssociate {
		t.Errorf("%+v", e)
	}
}

func TestTargetNetworks(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual()
	made := must(w.ec2.AssociateClientVpnTargetNetwork(w.ctx, &ec2.AssociateClientVpnTargetNetworkInput{ClientVpnEndpointId: &id, SubnetId: aws.String("subnet-0a")}))(w)
	w.complete("the answer to associating", made)
	if made.Status.Code != types.AssociationStatusCodeAssociating {
		t.Errorf("%+v", made.Status)
	}
	second := w.associate(id, "subnet-0b")

	describe := func(in ec2.DescribeClientVpnTargetNetworksInput) []types.TargetNetwork {
		in.ClientVpnEndpointId = &id
		return must(w.ec2.DescribeClientVpnTargetNetworks(w.ctx, &in))(w).ClientVpnTargetNetworks
	}
	list := describe(ec2.DescribeClientVpnTargetNetworksInput{AssociationIds: []string{*made.AssociationId}})
	if len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	w.complete("a target network", list[0])
	if n := list[0]; *n.AssociationId != *made.AssociationId || *n.VpcId != "vpc-0a" || *n.TargetNetworkId != "subnet-0a" || *n.ClientVpnEndpointId != id ||
		n.Status.Code != types.AssociationStatusCodeAssociated || len(n.SecurityGroups) != 1 || !slices.Equal(n.AvailabilityZones, []string{"us-east-1a"}) {
		t.Errorf("%+v", n)
	}
	for name, c := range map[string]struct {
		filters []types.Filter
		want    int
	}{
		"all":          {nil, 2},
		"a subnet":     {filter("target-network-id", "subnet-0b"), 1},
		"a VPC":        {filter("vpc-id", "vpc-0?"), 2},
		"another VPC":  {filter("vpc-id", "vpc-0b"), 0},
		"associations": {filter("association-id", second, "x"), 1},
	} {
		if got := describe(ec2.DescribeClientVpnTargetNetworksInput{Filters: c.filters}); len(got) != c.want {
			t.Errorf("%s: %d, want %d", name, len(got), c.want)
		}
	}

	for code, in := range map[string]ec2.AssociateClientVpnTargetNetworkInput{
		model.CodeAssociationTwice: {ClientVpnEndpointId: &id, SubnetId: aws.String("subnet-0a")},
		model.CodeZoneTwice:        {ClientVpnEndpointId: &id, SubnetId: aws.String("subnet-0c")},
		model.CodeSubnetNotFound:   {ClientVpnEndpointId: &id, SubnetId: aws.String("subnet-0x")},
		model.CodeEndpointNotFound: {ClientVpnEndpointId: aws.String("cvpn-endpoint-0"), SubnetId: aws.String("subnet-0a")},
		model.CodeMissing:          {ClientVpnEndpointId: &id},
		model.CodeBadCombination:   {ClientVpnEndpointId: &id, AvailabilityZone: aws.String("us-east-1a")},
	} {
		_, err := w.ec2.AssociateClientVpnTargetNetwork(w.ctx, &in)
		w.refused(code, err)
	}
	_, err := w.ec2.DescribeClientVpnTargetNetworks(w.ctx, &ec2.DescribeClientVpnTargetNetworksInput{ClientVpnEndpointId: &id, AssociationIds: []string{"cvpn-assoc-0"}})
	w.refused(model.CodeAssociationMissing, err)

	group := list[0].SecurityGroups[0]
	applied := must(w.ec2.ApplySecurityGroupsToClientVpnTargetNetwork(w.ctx, &ec2.ApplySecurityGroupsToClientVpnTargetNetworkInput{ClientVpnEndpointId: &id, VpcId: aws.String("vpc-0a"), SecurityGroupIds: []string{group}}))(w)
	if !slices.Equal(applied.SecurityGroupIds, []string{group}) {
		t.Errorf("%+v", applied)
	}
	_, err = w.ec2.ApplySecurityGroupsToClientVpnTargetNetwork(w.ctx, &ec2.ApplySecurityGroupsToClientVpnTargetNetworkInput{ClientVpnEndpointId: &id, VpcId: aws.String("vpc-0a"), SecurityGroupIds: []string{"sg-x"}})
	w.refused(model.CodeGroupNotFound, err)

	gone := must(w.ec2.DisassociateClientVpnTargetNetwork(w.ctx, &ec2.DisassociateClientVpnTargetNetworkInput{ClientVpnEndpointId: &id, AssociationId: &second}))(w)
	w.complete("the answer to disassociating", gone)
	if gone.Status.Code != types.AssociationStatusCodeDisassociating || *gone.AssociationId != second {
		t.Errorf("%+v", gone)
	}
	_, err = w.ec2.DisassociateClientVpnTargetNetwork(w.ctx, &ec2.DisassociateClientVpnTargetNetworkInput{ClientVpnEndpointId: &id, AssociationId: &second})
	w.refused(model.CodeAssociationMissing, err)
}

func TestRules(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual()
	made := must(w.ec2.AuthorizeClientVpnIngress(w.ctx, &ec2.AuthorizeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: aws.String("10.0.0.0/16"), AuthorizeAllGroups: aws.Bool(true), Description: aws.String("everybody")}))(w)
	if made.Status.Code != types.ClientVpnAuthorizationRuleStatusCodeAuthorizing {
		t.Errorf("%+v", made.Status)
	}
	must(w.ec2.AuthorizeClientVpnIngress(w.ctx, &ec2.AuthorizeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: aws.String("10.0.1.0/24"), AccessGroupId: aws.String("S-1-5-21-1-2-3-1105"), Description: aws.String("admins")}))(w)
	describe := func(filters []types.Filter) []types.AuthorizationRule {
		return must(w.ec2.DescribeClientVpnAuthorizationRules(w.ctx, &ec2.DescribeClientVpnAuthorizationRulesInput{ClientVpnEndpointId: &id, Filters: filters}))(w).AuthorizationRules
	}
	if list := describe(filter("destination-cidr", "10.0.1.0/24")); len(list) != 1 {
		t.Errorf("%+v", list)
	} else {
		w.complete("a rule", list[0])
		if r := list[0]; *r.GroupId != "S-1-5-21-1-2-3-1105" || *r.AccessAll || *r.DestinationCidr != "10.0.1.0/24" || *r.Description != "admins" || r.Status.Code != types.ClientVpnAuthorizationRuleStatusCodeActive {
			t.Errorf("%+v", r)
		}
	}
	if list := describe(filter("description", "every*")); len(list) != 1 || !*list[0].AccessAll || *list[0].DestinationCidr != "10.0.0.0/16" {
		t.Errorf("%+v", list)
	}
	if list := describe(filter("group-id", "S-1-5-*")); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	if list := describe(nil); len(list) != 2 {
		t.Errorf("%+v", list)
	}
	_, err := w.ec2.AuthorizeClientVpnIngress(w.ctx, &ec2.AuthorizeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: aws.String("10.0.0.0/16"), AuthorizeAllGroups: aws.Bool(true)})
	w.refused(model.CodeRuleTwice, err)
	_, err = w.ec2.AuthorizeClientVpnIngress(w.ctx, &ec2.AuthorizeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: aws.String("10.0.0.0/8"), AuthorizeAllGroups: aws.Bool(true), AccessGroupId: aws.String("g")})
	w.refused(model.CodeBadCombination, err)
	_, err = w.ec2.AuthorizeClientVpnIngress(w.ctx, &ec2.AuthorizeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: aws.String("10.0.0.0/33"), AuthorizeAllGroups: aws.Bool(true)})
	w.refused(model.CodeBadValue, err)
	_, err = w.ec2.RevokeClientVpnIngress(w.ctx, &ec2.RevokeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: aws.String("10.9.0.0/16"), RevokeAllGroups: aws.Bool(true)})
	w.refused(model.CodeRuleNotFound, err)
	gone := must(w.ec2.RevokeClientVpnIngress(w.ctx, &ec2.RevokeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: aws.String("10.0.0.0/16"), RevokeAllGroups: aws.Bool(true)}))(w)
	if gone.Status.Code != types.ClientVpnAuthorizationRuleStatusCodeRevoking {
		t.Errorf("%+v", gone.Status)
	}
	if list := describe(nil); len(list) != 1 {
		t.Errorf("%+v", list)
	}
}

func TestRoutes(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual()
	route := func(destination, target string) *ec2.CreateClientVpnRouteInput {
		return &ec2.CreateClientVpnRouteInput{ClientVpnEndpointId: &id, DestinationCidrBlock: &destination, TargetVpcSubnetId: &target, Description: aws.String("to " + destination)}
	}
	_, err := w.ec2.CreateClientVpnRoute(w.ctx, route("0.0.0.0/0", "subnet-0a"))
	w.refused(model.CodeNoAssociation, err)
	w.associate(id, "subnet-0a")
	if made := must(w.ec2.CreateClientVpnRoute(w.ctx, route("0.0.0.0/0", "subnet-0a")))(w); made.Status.Code != types.ClientVpnRouteStatusCodeCreating {
		t.Errorf("%+v", made.Status)
	}
	must(w.ec2.CreateClientVpnRoute(w.ctx, route("10.64.0.0/22", "local")))(w)
	describe := func(filters []types.Filter) []types.ClientVpnRoute {
		return must(w.ec2.DescribeClientVpnRoutes(w.ctx, &ec2.DescribeClientVpnRoutesInput{ClientVpnEndpointId: &id, Filters: filters}))(w).Routes
	}
	if list := describe(filter("origin", "associate")); len(list) != 1 || *list[0].DestinationCidr != "10.0.0.0/16" || *list[0].TargetSubnet != "subnet-0a" {
		t.Errorf("%+v", list)
	}
	list := describe(filter("destination-cidr", "0.0.0.0/0"))
	if len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	w.complete("a route", list[0], "TransitGatewayAttachmentId")
	if r := list[0]; *r.Origin != "add-route" || *r.TargetSubnet != "subnet-0a" || *r.Description != "to 0.0.0.0/0" || r.Status.Code != types.ClientVpnRouteStatusCodeActive || *r.Type != "Nat" {
		t.Errorf("%+v", r)
	}
	if list := describe(filter("target-subnet", "local")); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	_, err = w.ec2.CreateClientVpnRoute(w.ctx, route("0.0.0.0/0", "subnet-0a"))
	w.refused(model.CodeRouteTwice, err)
	_, err = w.ec2.CreateClientVpnRoute(w.ctx, route("10.64.0.0/24", "subnet-0a"))
	w.refused(model.CodeBadValue, err)
	_, err = w.ec2.DeleteClientVpnRoute(w.ctx, &ec2.DeleteClientVpnRouteInput{ClientVpnEndpointId: &id, DestinationCidrBlock: aws.String("10.9.0.0/16")})
	w.refused(model.CodeRouteNotFound, err)
	gone := must(w.ec2.DeleteClientVpnRoute(w.ctx, &ec2.DeleteClientVpnRouteInput{ClientVpnEndpointId: &id, DestinationCidrBlock: aws.String("0.0.0.0/0"), TargetVpcSubnetId: aws.String("subnet-0a")}))(w)
	if gone.Status.Code != types.ClientVpnRouteStatusCodeDeleting {
		t.Errorf("%+v", gone.Status)
	}
	if list := describe(nil); len(list) != 2 {
		t.Errorf("%+v", list)
	}
}

func TestConnections(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual()
	w.associate(id, "subnet-0a")
	for i := range 7 {
		w.fleet.connections = append(w.fleet.connections, endpoint.Connection{
			ID: fmt.Sprintf("cvpn-connection-%d", i), Client: "ann", Username: "ann", Status: endpoint.StatusActive, Posture: []string{"compliant", "quarantined, since Monday"}, Cert: "ann.example", From: "192.0.2.1:1", Address: netip.MustParseAddr("10.64.0.2"), Address6: netip.MustParseAddr("fd00::2"),
			Since: w.clock.Add(-time.Hour), Evaluated: w.clock.Add(-time.Minute), RxBytes: 1, TxBytes: 2, RxPackets: 3, TxPackets: 4,
		})
	}
	w.fleet.connections[5].Cert = "" // of somebody who signed in with a password alone
	bobs := &w.fleet.connections[6]
	bobs.Username, bobs.Client, bobs.Status, bobs.Ended, bobs.Reason = "bob", "bob", endpoint.StatusTerminated, w.clock.Add(-time.Minute), "terminated by the administrator"
	pages := ec2.NewDescribeClientVpnConnectionsPaginator(w.ec2, &ec2.DescribeClientVpnConnectionsInput{ClientVpnEndpointId: &id, MaxResults: aws.Int32(5)})
	var all []types.ClientVpnConnection
	for pages.HasMorePages() {
		all = append(all, must(pages.NextPage(w.ctx))(w).Connections...)
	}
	if len(all) != 7 {
		t.Fatalf("%d connections", len(all))
	}
	w.complete("a connection", all[0])
	if c := all[0]; *c.ClientVpnEndpointId != id || *c.ConnectionId != "cvpn-connection-0" || *c.Username != "ann" || *c.CommonName != "ann.example" || *c.ClientIp != "10.64.0.2" ||
		*c.ClientIpv6Address != "fd00::2" || *c.IngressBytes != "1" || *c.EgressBytes != "2" || *c.IngressPackets != "3" || *c.EgressPackets != "4" ||
		*c.ConnectionEstablishedTime != "2026-11-23 11:00:00" || c.Status.Code != types.ClientVpnConnectionStatusCodeActive || *c.ConnectionEndTime != "-" || *c.AuthorizationPolicyLastEvaluatedTime != "2026-11-23 11:59:00" ||
		!slices.Equal(c.PostureComplianceStatuses, []string{"compliant", "quarantined, since Monday"}) {
		t.Errorf("%+v", c)
	}
	if c := all[5]; c.CommonName == nil || *c.CommonName != "ann" {
		t.Errorf("%+v", c)
	}
	bob := must(w.ec2.DescribeClientVpnConnections(w.ctx, &ec2.DescribeClientVpnConnectionsInput{ClientVpnEndpointId: &id, Filters: filter("username", "bob")}))(w)
	if len(bob.Connections) != 1 {
		t.Fatalf("%+v", bob.Connections)
	}
	if c := bob.Connections[0]; c.Status.Code != types.ClientVpnConnectionStatusCodeTerminated || *c.Status.Message == "" || *c.ConnectionEndTime != "2026-11-23 11:59:00" || *c.Timestamp != *c.ConnectionEndTime {
		t.Errorf("%+v", c)
	}

	_, err := w.ec2.TerminateClientVpnConnections(w.ctx, &ec2.TerminateClientVpnConnectionsInput{ClientVpnEndpointId: &id, Username: aws.String("ann")})
	w.refused(model.CodeTerminateLimit, err)
	ended := must(w.ec2.TerminateClientVpnConnections(w.ctx, &ec2.TerminateClientVpnConnectionsInput{ClientVpnEndpointId: &id, ConnectionId: aws.String("cvpn-connection-0")}))(w)
	if len(ended.ConnectionStatuses) != 1 || *ended.ClientVpnEndpointId != id {
		t.Fatalf("%+v", ended)
	}
	w.complete("a connection that was ended", ended.ConnectionStatuses[0])
	if s := ended.ConnectionStatuses[0]; *s.ConnectionId != "cvpn-connection-0" || s.PreviousStatus.Code != types.ClientVpnConnectionStatusCodeActive || s.CurrentStatus.Code != types.ClientVpnConnectionStatusCodeTerminating {
		t.Errorf("%+v", s)
	}
	if ended := must(w.ec2.TerminateClientVpnConnections(w.ctx, &ec2.TerminateClientVpnConnectionsInput{ClientVpnEndpointId: &id, Username: aws.String("ann")}))(w); len(ended.ConnectionStatuses) != 5 || *ended.Username != "ann" {
		t.Errorf("%+v", ended)
	}
	if ended := must(w.ec2.TerminateClientVpnConnections(w.ctx, &ec2.TerminateClientVpnConnectionsInput{ClientVpnEndpointId: &id, Username: aws.String("carl")}))(w); len(ended.ConnectionStatuses) != 0 || *ended.Username != "carl" {
		t.Errorf("somebody who is away: %+v", ended)
	}
	_, err = w.ec2.TerminateClientVpnConnections(w.ctx, &ec2.TerminateClientVpnConnectionsInput{ClientVpnEndpointId: &id, ConnectionId: aws.String("cvpn-connection-0")})
	w.refused(model.CodeConnectionNotFound, err)
	_, err = w.ec2.TerminateClientVpnConnections(w.ctx, &ec2.TerminateClientVpnConnectionsInput{ClientVpnEndpointId: &id, Username: aws.String("ann")})
	w.refused(model.CodeUserNotFound, err)
}
