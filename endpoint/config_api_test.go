package endpoint

import (
	"strconv"
	"strings"
	"testing"
)

// apiText is a file with everything that api may have, and no endpoint of its own.
const apiText = `
networks: [{vpc: vpc-1, cidr: 10.1.0.0/16, subnets: [{id: subnet-1, cidr: 10.1.0.0/24, zone: us-east-1a}]}]
api:
  listen: 192.0.2.1:8700
  hosts: [Adit.Example.com]
  region: eu-west-1
  account: "210987654321"
  delay: 2s
  keys: [{id: AKIAEXAMPLE, secret_file: secret}]
  tls: {cert: api.crt, key: api.key}
  endpoints: {addresses: [192.0.2.1, "2001:db8::1"], ports: 30000-30009}
  certificates:
    - {arn: "arn:aws:acm:eu-west-1:210987654321:certificate/a", cert: s.crt, key: s.key, chain: ca.crt}
    - {arn: "arn:aws:acm:eu-west-1:210987654321:certificate/b", cert: ca.crt}
  directories: [{id: d-0123456789, users: users.yaml}, {id: d-0123456780, url: "ldaps://dc", base_dn: "DC=x", realm: x}]
  saml_providers: [{arn: "arn:aws:iam::210987654321:saml-provider/x", idp: demo}]
  handlers: [{arn: "arn:aws:lambda:eu-west-1:210987654321:function:AWSClientVPN-x", exec: x, schema: v3}]
  transit_gateways: [{id: tgw-0123456789abcdef0, owner: "123456789012", cidr: 10.9.0.0/24, cidr_v6: "fd09::/64", zones: [{zone: a, cidr: 10.9.0.0/27}, {zone: b, cidr: 10.9.0.32/27, address: 10.9.0.34}]}]
`

func TestAPIConfig(t *testing.T) {
	c, err := ParseConfig("f.yaml", []byte(apiText))
	if err != nil {
		t.Fatal(err)
	}
	a := c.API
	if a.Region != "eu-west-1" || a.Account != "210987654321" || a.Delay.String() != "2s" || len(a.Keys) != 1 || len(a.Addresses) != 2 || a.FirstPort != 30000 || a.LastPort != 30009 ||
		len(a.Certificates) != 2 || a.Certificates[0].Chain != "ca.crt" || len(a.Directories) != 2 || a.Directories[1].Realm != "x" || !a.SAMLProviders[0].Demo ||
		a.Handlers[0].Schema != "v3" || a.Hosts[0] != "adit.example.com" || a.TLS.Cert != "api.crt" || a.TLS.Key != "api.key" ||
		len(a.TransitGateways) != 1 || a.TransitGateways[0].Owner != "123456789012" || !a.TransitGateways[0].Transit || a.TransitGateways[0].Subnets[1].ID != "tgw-0123456789abcdef0.b" {
		t.Errorf("%+v", a)
	}
	if err := c.CompleteAPI(); err != nil || len(c.API.Certificates) != 2 || c.OwnAPICertificates() {
		t.Errorf("own certificates beside those of the file: %v", err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"function:AWSClientVPN-x", "function:x", "f.yaml:17: api.handlers[0].arn: "},
		{"certificate/b", "certificate/a", "f.yaml:14: api.certificates[1].arn: arn:aws:acm:eu-west-1:210987654321:certificate/a is listed twice"},
		{"d-0123456780", "d-0123456789", "f.yaml:15: api.directories[1].id: d-0123456789 is listed twice"},
		{"users: users.yaml", "users: users.yaml, realm: x", "f.yaml:15: api.directories[0]: users is the whole"},
		{"eu-west-1\n", "Europe\n", `f.yaml:6: api.region: "Europe" is not a region`},
		{"keys: [{id: AKIAEXAMPLE, secret_file: secret}]", "keys: []", "f.yaml:4: api.listen: 192.0.2.1:8700 is not loopback: others could change everything"},
		{"  tls: {cert: api.crt, key: api.key}\n", "", "f.yaml:4: api.listen: 192.0.2.1:8700 is not loopback: others could read and repeat requests. Name tls"},
		{"api.crt, key: api.key", "api.crt", "f.yaml:10: api.tls.key: is missing"},
		{"delay: 2s", "delay: 2h", `f.yaml:8: api.delay: must be a time from 0s to 1h0m0s, not "2h"`},
		{"addresses: [192.0.2.1", "addresses: [host", `f.yaml:11: api.endpoints.addresses[0]: "host" is not an address`},
		{"tgw-0123456789abcdef0", "tgw", `f.yaml:18: api.transit_gateways[0].id: "tgw" is not an id like`},
		{"zone: b, cidr: 10.9.0.32", "zone: a, cidr: 10.9.0.32", "f.yaml:18: api.transit_gateways[0].zones[1]: a is listed twice"},
		{"10.9.0.32/27, address", "10.9.1.32/27, address", "f.yaml:18: api.transit_gateways[0].zones[1].cidr: 10.9.1.32/27 is not inside 10.9.0.0/24"},
		{"{zone: a, cidr: 10.9.0.0/27}", "{cidr: 10.9.0.0/27}", "f.yaml:18: api.transit_gateways[0].zones[0].zone: is missing"},
		{"{zone: a, ", "{zone: a, gateway: 10.9.0.1, ", "f.yaml:18: api.transit_gateways[0].zones[0].gateway: needs an interface"},
		{"{zone: a, ", "{zone: a, id: x, ", "f.yaml:18: api.transit_gateways[0].zones[0]: a zone of a transit gateway has no id"},
		{"zones: [{zone: a, cidr: 10.9.0.0/27}, {zone: b, cidr: 10.9.0.32/27, address: 10.9.0.34}]", "zones: []", "f.yaml:18: api.transit_gateways[0].zones: needs 1 to 5 zones"},
		{"\napi:", "\nlisten: 127.0.0.1:1194\napi:", "f.yaml:2: client_cidr: is missing"},
	} {
		_, err := ParseConfig("f.yaml", []byte(strings.Replace(apiText, tt.old, tt.new, 1)))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.new, err, tt.want)
		}
	}
	own, err := ParseConfig("f.yaml", []byte("api: {}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := own.CompleteAPI(); err != nil || !own.OwnAPICertificates() || !strings.HasSuffix(own.API.Certificates[0].Key, "pki/private/server.key") {
		t.Errorf("own certificates: %v, %+v", err, own.API.Certificates)
	}
}

// FuzzARN: what is an ARN is written as it was read, and never looks like a path to files.
func FuzzARN(f *testing.F) {
	f.Add("arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555")
	f.Add("arn:aws:iam::123456789012:saml-provider/okta")
	f.Add("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:AWSClientVPN-x:$LATEST")
	f.Add("arn:aws:acm:us-east-1:1:../../etc/passwd")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseARN(text)
		if err == nil && a.String() != text {
			t.Fatalf("%q is read as %q", text, a)
		}
		if IsHandlerARN(text) && (err != nil || !strings.Contains(text, ":function:AWSClientVPN-")) {
			t.Fatalf("%q is no function", text)
		}
	})
}

// FuzzPorts: a range is one of ports, and has its ends in order.
func FuzzPorts(f *testing.F) {
	f.Add("20000-20999")
	f.Add("443")
	f.Add("0-1")
	f.Add("5-4")
	f.Fuzz(func(t *testing.T, text string) {
		first, last, err := ParsePorts(text)
		if err != nil {
			return
		}
		if first == 0 || first > last {
			t.Fatalf("%q: %d to %d", text, first, last)
		}
		if n, err := strconv.Atoi(text); err == nil && n != int(first) {
			t.Fatalf("%q is %d", text, first)
		}
	})
}
