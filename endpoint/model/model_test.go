package model

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/adit-vpn/adit/endpoint"
)

const (
	certARN    = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
	caARN      = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-666666666666"
	samlARN    = "arn:aws:iam::123456789012:saml-provider/okta"
	handlerARN = "arn:aws:lambda:us-east-1:123456789012:function:AWSClientVPN-check"
	strayARN   = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
)

// declaredText is the file of the tests.
const declaredText = `
data: data
networks:
  - {vpc: vpc-0a, cidr: 10.1.0.0/16, cidr_v6: "fd00:1::/64", subnets: [{id: subnet-0a1, cidr: 10.1.1.0/24, zone: us-east-1a}, {id: subnet-0a2, cidr: 10.1.2.0/24, zone: us-east-1b},
      {id: subnet-0a3, cidr: 10.1.3.0/24, zone: us-east-1a}, {id: subnet-0a4, cidr: 10.1.4.0/28, zone: us-east-1c}]}
  - {vpc: vpc-0b, cidr: 10.2.0.0/16, subnets: [{id: subnet-0b1, cidr: 10.2.1.0/24, zone: us-east-1d}]}
api:
  endpoints: {addresses: [127.0.0.1], ports: 20000-20003}
  certificates:
    - {arn: "` + certARN + `", cert: server.crt, key: server.key, chain: ca.crt}
    - {arn: "` + caARN + `", cert: ca.crt}
  directories: [{id: d-0123456789, users: users.yaml}]
  saml_providers: [{arn: "` + samlARN + `", idp_metadata: idp.xml}]
  handlers: [{arn: "` + handlerARN + `", url: "http://127.0.0.1:9/"}]
  transit_gateways:
    - {id: ` + ownGateway + `, cidr: 10.99.0.0/24, zones: [{zone: us-east-1a, cidr: 10.99.0.0/27}, {zone: us-east-1b, cidr: 10.99.0.32/27, address: 10.99.0.40}, {zone: us-east-1c, cidr: 10.99.0.64/27}]}
    - {id: ` + theirGateway + `, owner: "210987654321", cidr: 10.98.0.0/24, zones: [{zone: us-east-1a, cidr: 10.98.0.0/27}]}
`

const (
	ownGateway   = "tgw-0123456789abcdef0"
	theirGateway = "tgw-0123456789abcdef1"
)

func declared(t *testing.T, dir, more string) Declared {
	t.Helper()
	cfg, err := endpoint.ParseConfig(filepath.Join(dir, "adit.yaml"), []byte(declaredText+more))
	if err != nil {
		t.Fatal(err)
	}
	return Declared{Config: cfg}
}

// fleet is a Runtime that remembers.
type fleet struct {
	mu      sync.Mutex
	running map[string]endpoint.Config
	applied int
	fail    error
	failID  string // only of this one; empty: of all
}

func (f *fleet) Apply(_ context.Context, id string, cfg endpoint.Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil && (f.failID == "" || f.failID == id) {
		return f.fail
	}
	f.applied++
	if f.running == nil {
		f.running = map[string]endpoint.Config{}
	}
	f.running[id] = cfg
	return nil
}

func (f *fleet) Stop(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.running, id)
	return nil
}

func (f *fleet) Running(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.running[id]
	return ok
}

func (f *fleet) Policy(id string) (text string, shadow, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.running[id].AuthorizationPolicy
	return a.Text, a.Shadow, a.Text != ""
}

func (f *fleet) Connections(string) []endpoint.Connection {
	return []endpoint.Connection{{ID: "cvpn-connection-1", Client: "ann", Status: endpoint.StatusActive}, {ID: "cvpn-connection-2", Client: "bob", Status: endpoint.StatusTerminated}}
}

func (f *fleet) Terminate(_, connection, user string) []string {
	switch user {
	case "ann":
		return []string{"cvpn-connection-1"}
	case "carl":
		return nil
	}
	return []string{connection}
}

// SignedIn: carl has no connection.
func (f *fleet) SignedIn(_, _, user string) bool { return user == "carl" }

func (f *fleet) Export(_ string, cfg endpoint.Config) (string, error) {
	host, port := cfg.RemoteOrListen()
	return fmt.Sprintf("remote %s %d\n", host, port), nil
}

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

type bench struct {
	t     *testing.T
	dir   string
	m     *Model
	fleet *fleet
	clock *clock
	more  string
}

func open(t *testing.T, more string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), fleet: &fleet{}, clock: &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, more: more}
	b.open()
	t.Cleanup(func() { b.m.Close() })
	return b
}

func (b *bench) open() {
	b.t.Helper()
	m, err := Open(filepath.Join(b.dir, "api.db"), declared(b.t, b.dir, b.more), b.fleet, Options{Now: b.clock.now, ReadFile: os.ReadFile})
	if err != nil {
		b.t.Fatal(err)
	}
	b.m = m
}

// again is what a restart does.
func (b *bench) again() {
	b.t.Helper()
	if err := b.m.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.fleet = &fleet{}
	b.open()
}

func ptr[T any](v T) *T { return &v }

// mutual is the smallest good request.
func mutual() NewEndpoint {
	return NewEndpoint{
		ClientCIDR: "10.64.0.0/22", Authentication: []Authentication{{Type: CertificateAuthentication, RootChain: caARN}},
		Changes: Changes{ServerCertificate: ptr(certARN), ConnectionLog: &ConnectionLog{}},
	}
}

func (b *bench) create() string {
	b.t.Helper()
	e, err := b.m.CreateEndpoint(context.Background(), Call{}, mutual())
	if err != nil {
		b.t.Fatal(err)
	}
	return e.ID
}

func (b *bench) associate(id, subnet string) string {
	b.t.Helper()
	a, err := b.m.Associate(context.Background(), Call{}, id, subnet)
	if err != nil {
		b.t.Fatal(err)
	}
	return a.ID
}

// remove takes an endpoint away, with its one association.
func (b *bench) remove(id string) {
	b.t.Helper()
	ctx := context.Background()
	as, err := b.m.Associations(id)
	if err != nil || len(as) != 1 {
		b.t.Fatal(as, err)
	}
	if _, err := b.m.Disassociate(ctx, Call{}, id, as[0].ID); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.m.DeleteEndpoint(ctx, Call{}, id); err != nil {
		b.t.Fatal(err)
	}
}

func code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// TestLife goes through the life of an endpoint, with a restart after each step.
func TestLife(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	id := b.create()
	if !strings.HasPrefix(id, "cvpn-endpoint-") || len(id) != len("cvpn-endpoint-")+17 {
		t.Errorf("id %q", id)
	}
	status := func(want string) {
		t.Helper()
		e, ok := b.m.endpoint(id)
		if !ok || e.Status.Code != want {
			t.Fatalf("status %+v, %v; want %s", e.Status, ok, want)
		}
	}
	status(PendingAssociate)
	if len(b.fleet.running) != 0 {
		t.Error("an endpoint without association runs")
	}
	aid := b.associate(id, "subnet-0a1")
	b.again()
	status(Available)
	cfg := b.fleet.running[id]
	if got := cfg.Listen[0].String(); got != "127.0.0.1:443" || cfg.Transport != "udp" || len(cfg.Associations) != 1 {
		t.Errorf("listens on %s/%s with %d associations", got, cfg.Transport, len(cfg.Associations))
	}
	if m, _, _ := cfg.Methods(); m == nil || cfg.Path(m.CA) != filepath.Join(b.dir, "ca.crt") {
		t.Errorf("clients' CA %+v", m)
	}
	if _, err := b.m.AuthorizeIngress(ctx, Call{}, id, Ingress{CIDR: "10.1.0.0/16", All: true, Description: "all"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.m.CreateRoute(ctx, Call{}, id, "192.0.2.7/24", "subnet-0a1", "out"); err != nil {
		t.Fatal(err)
	}
	b.again()
	rules, _ := b.m.Rules(id)
	routes, _ := b.m.Routes(id)
	if len(rules) != 1 || rules[0].Status.Code != Active || rules[0].Description != "all" {
		t.Errorf("rules %+v", rules)
	}
	if len(routes) != 2 || routes[0].Origin != OriginAssociate || routes[1].Destination.String() != "192.0.2.0/24" || routes[1].Origin != OriginAdded {
		t.Errorf("routes %+v", routes)
	}
	if cfg := b.fleet.running[id]; len(cfg.Rules) != 1 || len(cfg.Routes) != 1 {
		t.Errorf("%d rules and %d routes in force", len(cfg.Rules), len(cfg.Routes))
	}
	if err := b.m.ModifyEndpoint(ctx, Call{}, id, Changes{SplitTunnel: ptr(true), DNSServers: ptr([]string{"10.1.0.2"}), SessionHours: ptr(8)}); err != nil {
		t.Fatal(err)
	}
	if cfg := b.fleet.running[id]; !cfg.SplitTunnel || len(cfg.DNSServers) != 1 || cfg.SessionTimeout != 8*time.Hour {
		t.Errorf("in force: split %v, dns %v, %v", cfg.SplitTunnel, cfg.DNSServers, cfg.SessionTimeout)
	}
	applied := b.fleet.applied
	if err := b.m.SetTags(ctx, Call{}, []string{id}, []Tag{{"Name", "office"}}); err != nil || b.fleet.applied != applied {
		t.Errorf("a tag: %v, applied %d times more", err, b.fleet.applied-applied)
	}
	if text, err := b.m.Export(id); err != nil || text != "remote 127.0.0.1 443\n" {
		t.Errorf("export %q, %v", text, err)
	}
	if _, err := b.m.DeleteEndpoint(ctx, Call{}, id); code(err) != CodeEndpointInUse || !strings.Contains(err.Error(), aid) {
		t.Errorf("deleted in use: %v", err)
	}
	if _, err := b.m.Disassociate(ctx, Call{}, id, aid); err != nil {
		t.Fatal(err)
	}
	status(PendingAssociate)
	if len(b.fleet.running) != 0 {
		t.Error("an endpoint whose last association has gone runs")
	}
	if routes, _ := b.m.Routes(id); len(routes) != 0 {
		t.Errorf("routes through nothing: %+v", routes)
	}
	if _, err := b.m.DeleteEndpoint(ctx, Call{}, id); err != nil {
		t.Fatal(err)
	}
	b.again()
	if list := b.m.Endpoints(); len(list) != 0 {
		t.Errorf("still there: %+v", list)
	}
	if _, err := b.m.Rules(id); code(err) != CodeEndpointNotFound {
		t.Errorf("rules of a deleted endpoint: %v", err)
	}
}

// TestCreateRefused: AWS's checks of CreateClientVpnEndpoint.
func TestCreateRefused(t *testing.T) {
	b := open(t, "")
	both := func(a ...Authentication) func(*NewEndpoint) { return func(n *NewEndpoint) { n.Authentication = a } }
	for _, tt := range []struct {
		name string
		do   func(n *NewEndpoint)
		want string
	}{
		{"no range", func(n *NewEndpoint) { n.ClientCIDR = "" }, CodeMissing},
		{"no range at all", func(n *NewEndpoint) { n.ClientCIDR = "ten" }, CodeBadValue},
		{"IPv6 range", func(n *NewEndpoint) { n.ClientCIDR = "fd00::/64" }, CodeBadValue},
		{"too small", func(n *NewEndpoint) { n.ClientCIDR = "10.64.0.0/23" }, CodeBadValue},
		{"too large", func(n *NewEndpoint) { n.ClientCIDR = "10.0.0.0/11" }, CodeBadValue},
		{"loopback", func(n *NewEndpoint) { n.ClientCIDR = "127.0.0.0/16" }, CodeBadValue},
		{"no certificate", func(n *NewEndpoint) { n.ServerCertificate = nil }, CodeMissing},
		{"unknown certificate", func(n *NewEndpoint) { n.ServerCertificate = ptr(strayARN) }, CodeBadValue},
		{"certificate without key", func(n *NewEndpoint) { n.ServerCertificate = ptr(caARN) }, CodeBadValue},
		{"a path for an ARN", func(n *NewEndpoint) { n.ServerCertificate = ptr("server.crt") }, CodeBadValue},
		{"no authentication", both(), CodeMissing},
		{"no type", both(Authentication{}), CodeMissing},
		{"unknown type", both(Authentication{Type: "kerberos"}), CodeBadValue},
		{"no root", both(Authentication{Type: CertificateAuthentication}), CodeMissing},
		{"unknown root", both(Authentication{Type: CertificateAuthentication, RootChain: strayARN}), CodeBadValue},
		{"no directory", both(Authentication{Type: DirectoryAuthentication}), CodeMissing},
		{"unknown directory", both(Authentication{Type: DirectoryAuthentication, Directory: "d-ffffffffff"}), CodeBadValue},
		{"no provider", both(Authentication{Type: FederatedAuthentication}), CodeMissing},
		{"unknown provider", both(Authentication{Type: FederatedAuthentication, SAMLProvider: samlARN + "2"}), CodeBadValue},
		{"twice", both(Authentication{Type: CertificateAuthentication, RootChain: caARN}, Authentication{Type: CertificateAuthentication, RootChain: caARN}), CodeBadCombination},
		{"directory and provider", both(Authentication{Type: DirectoryAuthentication, Directory: "d-0123456789"}, Authentication{Type: FederatedAuthentication, SAMLProvider: samlARN}), CodeBadCombination},
		{"no log options", func(n *NewEndpoint) { n.ConnectionLog = nil }, CodeMissing},
		{"log without group", func(n *NewEndpoint) { n.ConnectionLog = &ConnectionLog{Enabled: true} }, CodeBadCombination},
		{"transport", func(n *NewEndpoint) { n.Transport = ptr("sctp") }, CodeBadValue},
		{"port", func(n *NewEndpoint) { n.Port = ptr(1195) }, CodeBadValue},
		{"hours", func(n *NewEndpoint) { n.SessionHours = ptr(9) }, CodeBadValue},
		{"three DNS servers", func(n *NewEndpoint) { n.DNSServers = ptr([]string{"10.1.0.2", "10.1.0.3", "10.1.0.4"}) }, CodeBadValue},
		{"DNS server by name", func(n *NewEndpoint) { n.DNSServers = ptr([]string{"dns"}) }, CodeBadValue},
		{"groups without VPC", func(n *NewEndpoint) { n.SecurityGroups = ptr([]string{"sg-1"}) }, CodeBadValue},
		{"unknown VPC", func(n *NewEndpoint) { n.VPC = ptr("vpc-0c") }, CodeVPCNotFound},
		{"unknown group", func(n *NewEndpoint) { n.VPC, n.SecurityGroups = ptr("vpc-0a"), ptr([]string{"sg-1"}) }, CodeGroupNotFound},
		{"six groups", func(n *NewEndpoint) {
			n.VPC, n.SecurityGroups = ptr("vpc-0a"), ptr([]string{"sg-1", "sg-2", "sg-3", "sg-4", "sg-5", "sg-6"})
		}, CodeGroupLimit},
		{"portal", func(n *NewEndpoint) { n.Portal = ptr("on") }, CodeBadValue},
		{"portal with certificates", func(n *NewEndpoint) { n.Portal = ptr("enabled") }, CodeBadCombination},
		{"handler without function", func(n *NewEndpoint) { n.Handler = &ConnectHandler{Enabled: true} }, CodeBadCombination},
		{"function of another name", func(n *NewEndpoint) {
			n.Handler = &ConnectHandler{Enabled: true, Function: strings.Replace(handlerARN, "AWSClientVPN-", "", 1)}
		}, CodeBadValue},
		{"unknown function", func(n *NewEndpoint) { n.Handler = &ConnectHandler{Enabled: true, Function: handlerARN + "2"} }, CodeBadValue},
		{"banner without text", func(n *NewEndpoint) { n.Banner = &Banner{Enabled: true} }, CodeBadCombination},
		{"long banner", func(n *NewEndpoint) { n.Banner = &Banner{true, strings.Repeat("ä", 1401)} }, CodeBadValue},
		{"outer addresses", func(n *NewEndpoint) { n.EndpointIPType = ptr("ipx") }, CodeBadValue},
		{"IPv6 outside without an address for it", func(n *NewEndpoint) { n.EndpointIPType = ptr("ipv6") }, CodeNotPermitted},
		{"IPv6 alone inside", func(n *NewEndpoint) { n.TrafficIPType = ptr("ipv6") }, CodeUnsupported},
		{"unknown transit gateway", func(n *NewEndpoint) { n.Gateway = &NewGateway{ID: "tgw-00000000"} }, CodeGatewayNotFound},
		{"transit gateway of no name", func(n *NewEndpoint) { n.Gateway = &NewGateway{} }, CodeMissing},
		{"unknown zone of a transit gateway", func(n *NewEndpoint) { n.Gateway = &NewGateway{ownGateway, []string{"us-east-1z"}} }, CodeBadValue},
		{"zone twice", func(n *NewEndpoint) { n.Gateway = &NewGateway{ownGateway, []string{"us-east-1a", "us-east-1a"}} }, CodeZoneTwice},
		{"transit gateway and VPC", func(n *NewEndpoint) { n.Gateway, n.VPC = &NewGateway{ID: ownGateway}, ptr("vpc-0a") }, CodeBadCombination},
		{"clients in its range", func(n *NewEndpoint) { n.Gateway, n.ClientCIDR = &NewGateway{ID: ownGateway}, "10.99.0.0/22" }, CodeBadValue},
		{"device posture without a provider", func(n *NewEndpoint) { n.Posture = &Posture{Enabled: true} }, CodeBadCombination},
		{"a provider without device posture", func(n *NewEndpoint) {
			n.Posture = &Posture{Providers: []endpoint.TrustProvider{{Type: "jamf", Tenant: "a"}}}
		}, CodeBadCombination},
		{"a provider that is none", func(n *NewEndpoint) {
			n.Posture = &Posture{true, []endpoint.TrustProvider{{Type: "intune", Tenant: "a"}}}
		}, CodeBadValue},
		{"a provider twice", func(n *NewEndpoint) {
			n.Posture = &Posture{true, []endpoint.TrustProvider{{Type: "jamf", Tenant: "a"}, {Type: "jamf", Tenant: "b"}}}
		}, CodeBadValue},
		{"long description", func(n *NewEndpoint) { n.Description = ptr(strings.Repeat("x", 256)) }, CodeBadValue},
		{"reserved tag", func(n *NewEndpoint) { n.Tags = []Tag{{"aws:x", ""}} }, CodeBadValue},
		{"tag without key", func(n *NewEndpoint) { n.Tags = []Tag{{"", "x"}} }, CodeBadValue},
		{"dry run", func(*NewEndpoint) {}, CodeDryRun},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := mutual()
			tt.do(&n)
			_, err := b.m.CreateEndpoint(context.Background(), Call{DryRun: true}, n)
			if code(err) != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if list := b.m.Endpoints(); len(list) != 0 {
				t.Errorf("made %d endpoints", len(list))
			}
		})
	}
}

// TestTablesRefused: AWS's checks of target networks, rules and routes.
func TestTablesRefused(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	id := b.create()
	empty := b.create()
	b.associate(id, "subnet-0a1")
	must := func(_ Status, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.m.AuthorizeIngress(ctx, Call{}, id, Ingress{CIDR: "10.1.0.0/16", Group: "dev"}))
	must(b.m.CreateRoute(ctx, Call{}, id, "0.0.0.0/0", "subnet-0a1", ""))
	associate := func(id, subnet string) error { _, err := b.m.Associate(ctx, Call{}, id, subnet); return err }
	authorize := func(in Ingress) error { _, err := b.m.AuthorizeIngress(ctx, Call{}, id, in); return err }
	revoke := func(in Ingress) error { _, err := b.m.RevokeIngress(ctx, Call{}, id, in); return err }
	add := func(id, dst, target string) error {
		_, err := b.m.CreateRoute(ctx, Call{}, id, dst, target, "")
		return err
	}
	remove := func(dst, target string) error { _, err := b.m.DeleteRoute(ctx, Call{}, id, dst, target); return err }
	groups := func(id, vpc string, list ...string) error {
		_, err := b.m.ApplySecurityGroups(ctx, Call{}, id, vpc, list)
		return err
	}
	overlapping := mutual()
	overlapping.ClientCIDR = "10.0.0.0/12"
	over, err := b.m.CreateEndpoint(ctx, Call{}, overlapping)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"no endpoint named", associate("", "subnet-0a2"), CodeMissing},
		{"unknown endpoint", associate("cvpn-endpoint-00000000000000000", "subnet-0a2"), CodeEndpointNotFound},
		{"no subnet", associate(id, ""), CodeMissing},
		{"unknown subnet", associate(id, "subnet-0f"), CodeSubnetNotFound},
		{"subnet twice", associate(id, "subnet-0a1"), CodeAssociationTwice},
		{"zone twice", associate(id, "subnet-0a3"), CodeZoneTwice},
		{"small subnet", associate(id, "subnet-0a4"), CodeBadValue},
		{"subnet of another VPC", associate(id, "subnet-0b1"), CodeSubnetNotFound},
		{"overlapping clients", associate(over.ID, "subnet-0a1"), CodeSubnetOverlaps},
		{"rule without range", authorize(Ingress{All: true}), CodeMissing},
		{"rule with a bad range", authorize(Ingress{CIDR: "10.1.0.0", All: true}), CodeBadValue},
		{"rule for both", authorize(Ingress{CIDR: "10.1.0.0/16", All: true, Group: "dev"}), CodeBadCombination},
		{"rule for nobody", authorize(Ingress{CIDR: "10.1.0.0/16"}), CodeBadCombination},
		{"long group", authorize(Ingress{CIDR: "10.1.0.0/16", Group: strings.Repeat("x", 256)}), CodeBadValue},
		{"rule twice", authorize(Ingress{CIDR: "10.1.0.0/16", Group: "dev"}), CodeRuleTwice},
		{"rule twice, with host bits", authorize(Ingress{CIDR: "10.1.2.3/16", Group: "dev"}), CodeRuleTwice},
		{"unknown rule", revoke(Ingress{CIDR: "10.1.0.0/16", All: true}), CodeRuleNotFound},
		{"route without association", add(empty, "192.0.2.0/24", "subnet-0a1"), CodeNoAssociation},
		{"route without target", add(id, "192.0.2.0/24", ""), CodeMissing},
		{"route without destination", add(id, "", "subnet-0a1"), CodeMissing},
		{"route through another subnet", add(id, "192.0.2.0/24", "subnet-0a2"), CodeNoAssociation},
		{"route to the clients", add(id, "10.64.1.0/24", "subnet-0a1"), CodeBadValue},
		{"route twice", add(id, "0.0.0.0/0", "subnet-0a1"), CodeRouteTwice},
		{"route that is automatic", add(id, "10.1.0.0/16", "subnet-0a1"), CodeRouteTwice},
		{"unknown route", remove("198.51.100.0/24", "subnet-0a1"), CodeRouteNotFound},
		{"automatic route", remove("10.1.0.0/16", "subnet-0a1"), CodeNotPermitted},
		{"groups without VPC", groups(id, "", "sg-1"), CodeMissing},
		{"no groups", groups(id, "vpc-0a"), CodeMissing},
		{"groups of an unknown VPC", groups(id, "vpc-0c", "sg-1"), CodeVPCNotFound},
		{"groups of another VPC", groups(id, "vpc-0b", defaultGroup("vpc-0b")), CodeBadValue},
		{"unknown group", groups(id, "vpc-0a", "sg-1"), CodeGroupNotFound},
		{"groups without association", groups(empty, "vpc-0a", defaultGroup("vpc-0a")), CodeNoAssociation},
		{"good groups", groups(id, "vpc-0a", defaultGroup("vpc-0a")), ""},
	} {
		if code(tt.err) != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, tt.err, tt.want)
		}
	}
	for i := range maxRules - 1 {
		must(b.m.AuthorizeIngress(ctx, Call{}, id, Ingress{CIDR: fmt.Sprintf("172.16.%d.0/24", i), All: true}))
	}
	if err := authorize(Ingress{CIDR: "172.17.0.0/24", All: true}); code(err) != CodeRuleLimit {
		t.Errorf("rule 201: %v", err)
	}
	for range maxEndpoints - 3 {
		b.create()
	}
	if _, err := b.m.CreateEndpoint(ctx, Call{}, mutual()); code(err) != CodeEndpointLimit {
		t.Errorf("endpoint 6: %v", err)
	}
}

// TestPlaces: an endpoint's port is its own, and stays.
func TestPlaces(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	busy := netip.MustParseAddrPort("127.0.0.1:20000")
	b.m.o.Free = func(a netip.AddrPort, transport string) bool { return a != busy }
	make := func(transport string, port int) string {
		n := mutual()
		n.Transport, n.Port = &transport, &port
		e, err := b.m.CreateEndpoint(ctx, Call{}, n)
		if err != nil {
			t.Fatal(err)
		}
		return e.ID
	}
	at := func(id string) string { e, _ := b.m.endpoint(id); return fmt.Sprint(e.Listen) }
	first, second, stream, fourth := make("udp", 443), make("udp", 443), make("tcp", 443), make("udp", 1194)
	b.again()
	for _, tt := range []struct{ id, want string }{
		{first, "[127.0.0.1:443]"}, {second, "[127.0.0.1:20001]"}, {stream, "[127.0.0.1:443]"}, {fourth, "[127.0.0.1:1194]"},
	} {
		if got := at(tt.id); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
	if err := b.m.ModifyEndpoint(ctx, Call{}, first, Changes{Port: ptr(1194)}); err != nil || at(first) == "[127.0.0.1:443]" || at(first) == at(fourth) {
		t.Errorf("after another port: %s, %v", at(first), err)
	}
}

// TestStates: with a delay, things go through AWS's states, and stay in sight while they go.
func TestStates(t *testing.T) {
	ctx := context.Background()
	b := open(t, "  delay: 10s\n")
	id := b.create()
	aid := b.associate(id, "subnet-0a1")
	if _, err := b.m.AuthorizeIngress(ctx, Call{}, id, Ingress{CIDR: "10.1.0.0/16", All: true}); err != nil {
		t.Fatal(err)
	}
	see := func() string {
		var s []string
		for _, e := range b.m.Endpoints() {
			s = append(s, e.Status.Code)
		}
		as, _ := b.m.Associations(id)
		for _, a := range as {
			s = append(s, a.Status.Code)
		}
		rs, _ := b.m.Rules(id)
		for _, r := range rs {
			s = append(s, r.Status.Code)
		}
		ts, _ := b.m.Routes(id)
		for _, r := range ts {
			s = append(s, r.Status.Code)
		}
		return strings.Join(s, " ")
	}
	expect := func(want string) {
		t.Helper()
		if got := see(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	expect("pending-associate associating authorizing creating")
	b.clock.t = b.clock.t.Add(10 * time.Second)
	expect("available associated active active")
	if _, err := b.m.RevokeIngress(ctx, Call{}, id, Ingress{CIDR: "10.1.0.0/16", All: true}); err != nil {
		t.Fatal(err)
	}
	expect("available associated revoking active")
	if _, err := b.m.Disassociate(ctx, Call{}, id, aid); err != nil {
		t.Fatal(err)
	}
	expect("pending-associate disassociating revoking deleting")
	b.again()
	expect("pending-associate disassociating revoking deleting")
	b.clock.t = b.clock.t.Add(10 * time.Second)
	expect("pending-associate")
	if _, err := b.m.DeleteEndpoint(ctx, Call{}, id); err != nil {
		t.Fatal(err)
	}
	expect("deleting")
	if _, err := b.m.DeleteEndpoint(ctx, Call{}, id); code(err) != CodeEndpointNotFound {
		t.Errorf("deleted again: %v", err)
	}
	b.clock.t = b.clock.t.Add(10 * time.Second)
	expect("")
}

// TestClientTokens: a repeated call has the first answer, also after a restart; another one with the token is refused.
func TestClientTokens(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	call := Call{ClientToken: "once"}
	first, err := b.m.CreateEndpoint(ctx, call, mutual())
	if err != nil {
		t.Fatal(err)
	}
	b.again()
	second, err := b.m.CreateEndpoint(ctx, call, mutual())
	if err != nil || second.ID != first.ID || len(b.m.Endpoints()) != 1 {
		t.Errorf("again: %s, %v, %d endpoints", second.ID, err, len(b.m.Endpoints()))
	}
	other := mutual()
	other.ClientCIDR = "10.65.0.0/22"
	if _, err := b.m.CreateEndpoint(ctx, call, other); code(err) != CodeTokenMismatch {
		t.Errorf("with other parameters: %v", err)
	}
	b.clock.t = b.clock.t.Add(tokenLife)
	if third, err := b.m.CreateEndpoint(ctx, call, other); err != nil || third.ID == first.ID {
		t.Errorf("a day later: %s, %v", third.ID, err)
	}
}

// TestNotApplied: what the Runtime refuses has not happened.
func TestNotApplied(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	id := b.create()
	b.fleet.fail = errors.New("port is taken")
	if _, err := b.m.Associate(ctx, Call{}, id, "subnet-0a1"); code(err) != CodeNotPermitted || !strings.Contains(err.Error(), "port is taken") {
		t.Errorf("associate: %v", err)
	}
	if as, _ := b.m.Associations(id); len(as) != 0 {
		t.Errorf("associations %+v", as)
	}
	b.fleet.fail = nil
	b.associate(id, "subnet-0a1")
}

// TestFilesEndpoint: the endpoint of the file is in sight, and cannot be changed.
func TestFilesEndpoint(t *testing.T) {
	ctx := context.Background()
	const more = `
listen: 127.0.0.1:1194
client_cidr: 10.66.0.0/22
associations: [{subnet: subnet-0b1}]
authorization_rules: [{cidr: 10.2.0.0/16, all: true}]
`
	b := open(t, more)
	const id = "cvpn-endpoint-0123456789abcdef0"
	now := *b.m.now.Load()
	now.declared.Endpoint = id
	b.m.now.Store(&now)
	e, ok := b.m.endpoint(id)
	if !ok || e.Created.IsZero() || e.Status.Code != Available || !e.InFile || e.Port != 1194 || !slices.Equal(e.Subnets, []string{"subnet-0b1"}) {
		t.Fatalf("%+v, %v", e, ok)
	}
	as, _ := b.m.Associations(id)
	rules, _ := b.m.Rules(id)
	routes, _ := b.m.Routes(id)
	if len(as) != 1 || as[0].VPC != "vpc-0b" || len(rules) != 1 || len(routes) != 1 {
		t.Errorf("%+v %+v %+v", as, rules, routes)
	}
	if list, err := b.m.Terminate(ctx, Call{}, id, "", "ann"); err != nil || len(list) != 1 {
		t.Errorf("terminate: %v, %v", list, err)
	}
	if _, err := b.m.Terminate(ctx, Call{}, id, "", "bob"); code(err) != CodeUserNotFound {
		t.Errorf("terminate one that has ended: %v", err)
	}
	if list, err := b.m.Terminate(ctx, Call{}, id, "", "carl"); err != nil || len(list) != 0 {
		t.Errorf("terminate one who is away: %v, %v", list, err)
	}
	if _, err := b.m.Terminate(ctx, Call{DryRun: true}, id, "", "carl"); code(err) != CodeDryRun {
		t.Errorf("terminate one who is away, not really: %v", err)
	}
	// Its revocation list is that of the PKI, once there is one, unless the file names another.
	list := func(want string) {
		t.Helper()
		if got, status, err := b.m.CRL(id); err != nil || got != want || status.Code != Active {
			t.Errorf("list %q, %v, %v; want %q", got, status, err, want)
		}
	}
	list("")
	pki := now.declared.own("")
	if err := errors.Join(os.MkdirAll(pki, 0o700), os.WriteFile(filepath.Join(pki, "crl.pem"), []byte("the PKI's"), 0o600), os.WriteFile(filepath.Join(b.dir, "own.pem"), []byte("its own"), 0o600)); err != nil {
		t.Fatal(err)
	}
	list("the PKI's")
	mutual, _, _ := now.declared.Config.Methods()
	mutual.CRL = "own.pem"
	list("its own")
	if _, err := b.m.Associate(ctx, Call{}, id, "subnet-0b1"); code(err) != CodeUnsupported || !strings.Contains(err.Error(), "adit.yaml") {
		t.Errorf("changed: %v", err)
	}
}

// TestStore: files of a later version, of another kind, and of another process are refused and left alone.
func TestStore(t *testing.T) {
	b := open(t, "")
	file := filepath.Join(b.dir, "api.db")
	if _, err := openStore(filepath.Join(file, "api.db")); err == nil {
		t.Error("opened below a file")
	}
	if err := b.m.store.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, []byte("2")) }); err != nil {
		t.Fatal(err)
	}
	b.m.Close()
	if _, err := openStore(file); err == nil || !strings.Contains(err.Error(), "later version") {
		t.Errorf("a later version: %v", err)
	}
	junk := filepath.Join(b.dir, "junk.db")
	text := []byte(strings.Repeat("this is not a database ", 1000))
	if err := os.WriteFile(junk, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(junk); err == nil {
		t.Error("junk was opened")
	}
	if after, _ := os.ReadFile(junk); string(after) != string(text) {
		t.Error("junk was changed")
	}
}

// TestRedeclare: a file that takes away what an endpoint uses is refused, and names both; another one is put in force.
func TestRedeclare(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	id := b.create()
	b.associate(id, "subnet-0a1")
	for _, tt := range []struct{ old, new, lacks string }{
		{"{id: subnet-0a1, cidr: 10.1.1.0/24, zone: us-east-1a}, ", "", "subnet-0a1"},
		{"    - {arn: \"" + caARN + "\", cert: ca.crt}\n", "", caARN},
		{", key: server.key", "", certARN},
		{"cidr: 10.1.0.0/16", "cidr: 10.0.0.0/9", "10.64.0.0/22"},
	} {
		text := strings.Replace(declaredText, tt.old, tt.new, 1)
		cfg, err := endpoint.ParseConfig(filepath.Join(b.dir, "adit.yaml"), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		done, err := b.m.Redeclare(ctx, Declared{Config: cfg}, func() error { t.Error("others follow a file that is refused"); return nil })
		if err == nil || done || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), tt.lacks) || !strings.Contains(err.Error(), "adit.yaml") {
			t.Errorf("without %s: %v", tt.lacks, err)
		}
	}
	text := strings.Replace(declaredText, "cert: ca.crt", "cert: other.crt", 1)
	cfg, err := endpoint.ParseConfig(filepath.Join(b.dir, "adit.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	if done, err := b.m.Redeclare(ctx, Declared{Config: cfg}, func() error { return no }); !errors.Is(err, no) || done {
		t.Errorf("after something else that does not follow: %v, %v", done, err)
	}
	running := b.fleet.running[id]
	if m, _, _ := running.Methods(); m.CA != "ca.crt" {
		t.Errorf("clients' CA is %s", m.CA)
	}
	if done, err := b.m.Redeclare(ctx, Declared{Config: cfg}, follow); err != nil || !done {
		t.Fatal(done, err)
	}
	running = b.fleet.running[id]
	if m, _, _ := running.Methods(); m.CA != "other.crt" {
		t.Errorf("clients' CA is %s", m.CA)
	}
	b.fleet.fail = no
	if done, err := b.m.Redeclare(ctx, Declared{Config: cfg}, follow); err == nil || !done || !strings.Contains(err.Error(), id) {
		t.Errorf("with an endpoint that does not follow: %v, %v", done, err)
	}
}

// follow is for a Redeclare beside which nothing else follows.
func follow() error { return nil }

// TestRevocationList: it is checked, has its file before it is in force, and a restart brings it back.
func TestRevocationList(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	id := b.create()
	b.associate(id, "subnet-0a1")
	for name, text := range map[string]string{"empty": "", "prose": "revoke ann", "a certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})),
		"a broken list": string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte("x")}))} {
		if err := b.m.ImportCRL(ctx, Call{}, id, text); code(err) != CodeBadValue && code(err) != CodeMissing {
			t.Errorf("%s: %v", name, err)
		}
	}
	inForce := func() string {
		running := b.fleet.running[id]
		m, _, _ := running.Methods()
		text, err := os.ReadFile(m.CRL)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	ca := newAuthority(t)
	ca.in(t, b.dir)
	if err := b.m.ImportCRL(ctx, Call{}, id, newAuthority(t).list(t)); code(err) != CodeBadValue || !strings.Contains(err.Error(), "not signed by") {
		t.Errorf("the list of another CA: %v", err)
	}
	for range 2 {
		text := ca.list(t)
		if err := b.m.ImportCRL(ctx, Call{}, id, text); err != nil {
			t.Fatal(err)
		}
		if inForce() != text {
			t.Error("another list is in force")
		}
		if got, _, err := b.m.CRL(id); err != nil || got != text {
			t.Errorf("export: %v", err)
		}
	}
	b.fleet.fail = errors.New("not now")
	if err := b.m.ImportCRL(ctx, Call{}, id, ca.list(t)); err != nil || b.fleet.Running(id) {
		t.Errorf("a list that cannot be put in force: %v, runs %v", err, b.fleet.Running(id))
	}
	b.fleet.fail = nil
	if _, err := b.m.Redeclare(ctx, declared(t, b.dir, ""), follow); err != nil {
		t.Fatal(err)
	}
	running := b.fleet.running[id]
	m, _, _ := running.Methods()
	if files, _ := filepath.Glob(filepath.Join(filepath.Dir(m.CRL), crlPrefix+"*")); len(files) != 1 {
		t.Errorf("lists: %v", files)
	}
	want := inForce()
	if err := os.Remove(m.CRL); err != nil {
		t.Fatal(err)
	}
	b.again()
	if inForce() != want {
		t.Error("another list after the restart")
	}
}

// TestDamage: a file that is cut off, or has a page of nonsense or of nothing, is an error that names it, or is read: never a crash.
func TestDamage(t *testing.T) {
	b := open(t, "")
	id := b.create()
	b.associate(id, "subnet-0a1")
	if err := b.m.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(b.dir, "api.db"))
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, text []byte) (refused bool) {
		t.Helper()
		dir := t.TempDir()
		file := filepath.Join(dir, "api.db")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Open(file, declared(t, dir, ""), &fleet{}, Options{Now: b.clock.now, ReadFile: os.ReadFile})
		if err == nil {
			m.Close()
		} else if !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", what, err)
		}
		return err != nil
	}
	const page = 4096
	refused := 0
	for at := 0; at+page <= len(good); at += page {
		for name, fill := range map[string]byte{"nothing": 0, "nonsense": 0xa5} {
			text := slices.Clone(good)
			for i := range page {
				text[at+i] = fill
			}
			if try(fmt.Sprintf("%s at %d", name, at), text) {
				refused++
			}
		}
		if try(fmt.Sprintf("cut off at %d", at), good[:at]) {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}
