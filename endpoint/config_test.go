package endpoint

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// whole is a file with every key that is served now.
const whole = `data: state
listen: [127.0.0.1:1194, "[::1]:1194"]
remote: {host: vpn.example.com, port: 443}
network: kernel
transport: tcp
client_cidr: 172.20.0.0/22
client_cidr_v6: fd64::/64
split_tunnel: true
dns_servers: [10.0.0.2, 10.0.0.3]
tun_mtu: 1400
server_certificate: {cert: server.crt, key: server.key}
control_wrap: {type: tls-crypt, key: ta.key}
ciphers: [CHACHA20-POLY1305, aes-128-gcm]
key_derivation: prf
authentication:
  - mutual: {ca: ca.crt, crl: crl.pem}
networks:
  - vpc: vpc-a
    cidr: 10.0.0.0/16
    cidr_v6: fd00:a::/48
    subnets:
      - {id: subnet-a, cidr: 10.0.0.0/24, zone: a, address: 10.0.0.5, interface: eth1}
      - {id: subnet-b, cidr: 10.0.1.0/24, zone: b}
associations: [{subnet: subnet-a, security_groups: []}, {subnet: subnet-b}]
routes: [{destination: 0.0.0.0/0, target: subnet-a}, {destination: 192.168.0.0/16, target: subnet-b}]
authorization_rules: [{cidr: 10.0.0.0/16, all: true}, {cidr: 0.0.0.0/0, all: true}]
security_groups: []
client_route_enforcement: false
banner: ""
`

func TestParseWhole(t *testing.T) {
	c, err := ParseConfig("/etc/endpoint.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Listen) != 2 || c.Remote != (Remote{"vpn.example.com", 443}) || c.Network != "kernel" || c.Transport != "tcp" ||
		c.ClientCIDR != netip.MustParsePrefix("172.20.0.0/22") || !c.SplitTunnel || len(c.DNSServers) != 2 || c.TunMTU != 1400 ||
		c.ControlWrap != (ControlWrap{Type: "tls-crypt", Key: "ta.key"}) || !c.PRF || len(c.Associations) != 2 || len(c.Routes) != 2 || len(c.Rules) != 2 {
		t.Errorf("%+v", c)
	}
	if got := strings.Join(c.Ciphers, " "); got != "CHACHA20-POLY1305 AES-128-GCM" {
		t.Errorf("ciphers %s", got)
	}
	if got := c.Path(c.ServerCertificate.Key); got != filepath.FromSlash("/etc/server.key") {
		t.Errorf("key file %s", got)
	}
	if m := c.Authentication[0].Mutual; m == nil || m.CA != "ca.crt" || m.CRL != "crl.pem" {
		t.Errorf("mutual %+v", m)
	}
	if _, s, ok := c.subnet("subnet-a"); !ok || s.Interface != "eth1" || s.Address != netip.MustParseAddr("10.0.0.5") {
		t.Errorf("subnet-a %+v", s)
	}
}

func TestParseDefaults(t *testing.T) {
	c, err := ParseConfig("f.yaml", []byte("listen: 0.0.0.0:443\nclient_cidr: 10.64.0.0/22\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Network != "userspace" || c.Transport != "udp" || c.SplitTunnel || c.TunMTU != 1500 || c.ControlWrap.Type != "none" ||
		len(c.Ciphers) != 3 || c.PRF || c.Authentication[0].Mutual == nil {
		t.Errorf("%+v", c)
	}
	if host, port := c.RemoteOrListen(); host != "127.0.0.1" || port != 443 {
		t.Errorf("profiles would say %s %d", host, port)
	}
}

func TestBuiltinTextIsValid(t *testing.T) {
	c, err := ParseConfig("x/adit-endpoint.yaml", []byte(BuiltinText(DefaultListen(), "udp", "userspace")))
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir() != "x" || !c.SplitTunnel || c.Associations[0].Subnet != "demo" {
		t.Errorf("%+v", c)
	}
}

// TestBadConfig: each line is a change of the whole file and the error it gives.
func TestBadConfig(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"unknown key", "tun_mtu: 1400", "tun_mut: 1400", "f.yaml:10: tun_mut: unknown key, did you mean tun_mtu?"},
		{"unknown key inside", "zone: b", "zome: b", "f.yaml:23: networks[0].subnets[1].zome: unknown key, did you mean zone?"},
		{"far from any key", "tun_mtu: 1400", "quux: 1", "f.yaml:10: quux: unknown key"},
		{"twice", "tun_mtu: 1400", "data: x", "f.yaml:10: data: given twice, first in line 1"},
		{"listen", "[127.0.0.1:1194,", "[localhost:1194,", `f.yaml:2: listen[0]: "localhost:1194" is not an address`},
		{"listen port", "[127.0.0.1:1194,", "[127.0.0.1:0,", "f.yaml:2: listen[0]: port 0"},
		{"listen twice", `"[::1]:1194"`, "127.0.0.1:1194", "f.yaml:2: listen[1]: 127.0.0.1:1194 is listed twice"},
		{"no listener", `listen: [127.0.0.1:1194, "[::1]:1194"]`, "listen: []", "f.yaml:2: listen: is empty"},
		{"remote host", "vpn.example.com", `"vpn_example com"`, "f.yaml:3: remote.host:"},
		{"remote port", "port: 443", "port: 70000", "f.yaml:3: remote.port: must be a number from 1 to 65535"},
		{"network", "network: kernel", "network: user", `f.yaml:4: network: "user" is not one of userspace, kernel`},
		{"transport", "transport: tcp", "transport: sctp", "f.yaml:5: transport:"},
		{"cidr small", "172.20.0.0/22", "172.20.0.0/23", "f.yaml:6: client_cidr: 172.20.0.0/23 must be between /12 and /22"},
		{"cidr large", "172.20.0.0/22", "172.0.0.0/11", "f.yaml:6: client_cidr:"},
		{"cidr host bits", "172.20.0.0/22", "172.20.1.0/22", "f.yaml:6: client_cidr: 172.20.1.0/22 has host bits: write 172.20.0.0/22"},
		{"cidr overlaps network", "172.20.0.0/22", "10.0.0.0/20", "f.yaml:19: networks[0].cidr: network 10.0.0.0/16 overlaps the client range 10.0.0.0/20"},
		{"cidr overlaps route", "172.20.0.0/22", "192.168.4.0/22", "f.yaml:25: routes[1].destination: route 192.168.0.0/16 overlaps"},
		{"cidr loopback", "172.20.0.0/22", "127.16.0.0/12", "f.yaml:6: client_cidr:"},
		{"cidr v6", "fd64::/64", "fd64::/120", "f.yaml:7: client_cidr_v6: fd64::/120 is smaller than client_cidr"},
		{"bool", "split_tunnel: true", "split_tunnel: maybe", `f.yaml:8: split_tunnel: must be true or false, not "maybe"`},
		{"dns", "10.0.0.3]", "dns1]", `f.yaml:9: dns_servers[1]: "dns1" is not an address`},
		{"dns three", "10.0.0.3]", "10.0.0.3, 10.0.0.4]", "f.yaml:9: dns_servers: at most 2"},
		{"mtu", "tun_mtu: 1400", "tun_mtu: 100", "f.yaml:10: tun_mtu: must be a number from 576 to 9000"},
		{"certificate", ", key: server.key}", "}", "f.yaml:11: server_certificate: needs both"},
		{"wrap", "type: tls-crypt,", "type: tls-cript,", "f.yaml:12: control_wrap.type:"},
		{"wrap key", "type: tls-crypt, key: ta.key", "type: tls-crypt", "f.yaml:12: control_wrap.key: is missing"},
		{"wrap age", "type: tls-crypt, key: ta.key", "type: tls-crypt, key: ta.key, max_age_days: 9", "f.yaml:12: control_wrap: also, max_age_days and force_cookie belong to tls-crypt-v2"},
		{"wrap age 0", "type: tls-crypt, key: ta.key", "type: tls-crypt-v2, max_age_days: 0", "f.yaml:12: control_wrap.max_age_days:"},
		{"wrap also", "type: tls-crypt, key: ta.key", "type: tls-crypt-v2, also: {type: tls-auth}", "f.yaml:12: control_wrap.also: needs type and key"},
		{"wrap also none", "type: tls-crypt, key: ta.key", "type: tls-crypt-v2, also: {type: none, key: k}", "f.yaml:12: control_wrap.also.type:"},
		{"cipher", "aes-128-gcm", "ROT13", `f.yaml:13: ciphers[1]: unknown cipher "ROT13"`},
		{"weak cipher", "aes-128-gcm", "none", "f.yaml:13: ciphers[1]: "},
		{"derivation", "key_derivation: prf", "key_derivation: ekm", "f.yaml:14: key_derivation:"},
		{"subnet outside", "10.0.1.0/24", "10.1.1.0/24", "f.yaml:23: networks[0].subnets[1].cidr: 10.1.1.0/24 is not inside 10.0.0.0/16 of vpc-a"},
		{"address outside", "address: 10.0.0.5", "address: 10.0.1.5", "f.yaml:22: networks[0].subnets[0].address: 10.0.1.5 is not inside"},
		{"interface", "interface: eth1", "interface: ../eth1", "f.yaml:22: networks[0].subnets[0].interface:"},
		{"gateway outside", "interface: eth1", "interface: eth1, gateway: 10.0.1.1", "f.yaml:22: networks[0].subnets[0].gateway: 10.0.1.1 is not inside the subnet's range"},
		{"gateway of no range", "interface: eth1", "interface: eth1, gateway_v6: \"fd00:a::1\"", "f.yaml:22: networks[0].subnets[0].gateway_v6: fd00:a::1 is not inside the subnet's range"},
		{"gateway without interface", "interface: eth1", "gateway: 10.0.0.1", "f.yaml:22: networks[0].subnets[0].gateway: needs an interface"},
		{"subnet twice", "id: subnet-b", "id: subnet-a", "f.yaml:23: networks[0].subnets[1].id: subnet-a is defined twice"},
		{"same zone", "zone: b", "zone: a", "f.yaml:24: associations[1].subnet: zone a has an association already, with subnet-a"},
		{"unknown subnet", "{subnet: subnet-b}", "{subnet: subnet-c}", "f.yaml:24: associations[1].subnet: subnet-c is not a subnet of networks"},
		{"groups of association", "security_groups: []}", "security_groups: [default]}", "f.yaml:24: associations[0].security_groups[0]: default is not a security group of vpc-a"},
		{"IPv6 outside", "address: 10.0.0.5,", `address: 10.0.0.5, cidr_v6: "fd00:b::/64",`, "f.yaml:22: networks[0].subnets[0].cidr_v6: fd00:b::/64 is not inside cidr_v6 of vpc-a"},
		{"IPv6 twice", "cidr: 10.0.0.0/24", `cidr: "fd00:a::/64", cidr_v6: "fd00:a::/64"`, "f.yaml:22: networks[0].subnets[0].cidr_v6: cidr is IPv6 already"},
		{"IPv6 address outside", "address: 10.0.0.5,", `address: 10.0.0.5, address_v6: "fd00:a::5",`, "f.yaml:22: networks[0].subnets[0].address_v6: fd00:a::5 is not inside cidr_v6 of the subnet"},
		{"IPv6 address wrong", "address: 10.0.0.5,", "address: 10.0.0.5, address_v6: clients,", `f.yaml:22: networks[0].subnets[0].address_v6: "clients" is not an address`},
		{"subnet small", "10.0.1.0/24", "10.0.1.0/28", "f.yaml:24: associations[1].subnet: 10.0.1.0/28 is smaller than /27"},
		{"subnet of another vpc", "interface: eth1}\n", "interface: eth1}\n  - vpc: vpc-b\n    cidr: 10.0.1.0/24\n    subnets:\n", "f.yaml:27: associations[1].subnet: subnet-b is in vpc-b, but the endpoint is in vpc-a"},
		{"subnet called local", "id: subnet-b", "id: local", "f.yaml:23: networks[0].subnets[1].id: local is the target of routes from client to client"},
		{"local route", "192.168.0.0/16, target: subnet-b", "172.20.0.0/21, target: local", "f.yaml:25: routes[1].destination: 172.20.0.0/21 is not inside the client range"},
		{"local routes", "192.168.0.0/16, target: subnet-b", manyLocal(), "f.yaml:25: routes[101].target: more than 100 routes to local"},
		{"route twice", "192.168.0.0/16, target: subnet-b", "0.0.0.0/0, target: subnet-a", "f.yaml:25: routes[1].destination: 0.0.0.0/0 to subnet-a is listed twice"},
		{"route of the association", "192.168.0.0/16, target: subnet-b", "10.0.0.0/16, target: subnet-b", "f.yaml:25: routes[1].destination: the association with subnet-b adds the route to 10.0.0.0/16 itself"},
		{"route target", "target: subnet-b", "target: subnet-c", "f.yaml:25: routes[1].target: subnet-c is not associated"},
		{"rule group and all", "10.0.0.0/16, all: true", "10.0.0.0/16, all: true, group: S-1-5", "f.yaml:26: authorization_rules[0]: is for everyone or for a group, not both"},
		{"rule group empty", "10.0.0.0/16, all: true", "10.0.0.0/16, group: \"\"", "f.yaml:26: authorization_rules[0].group: is empty"},
		{"rule group long", "10.0.0.0/16, all: true", "10.0.0.0/16, group: " + strings.Repeat("g", 256), "f.yaml:26: authorization_rules[0].group: is longer than 255 bytes"},
		{"rule for nobody", "10.0.0.0/16, all: true", "10.0.0.0/16", "f.yaml:26: authorization_rules[0]: needs all: true or a group"},
		{"rule twice", "{cidr: 0.0.0.0/0, all: true}", "{cidr: 10.0.0.0/16, all: true}", "f.yaml:26: authorization_rules[1].cidr: 10.0.0.0/16 is listed twice"},
		{"group rule twice", "{cidr: 0.0.0.0/0, all: true}", "{cidr: 10.9.0.0/16, group: x}, {cidr: 10.9.0.0/16, group: x}", "f.yaml:26: authorization_rules[2].cidr: 10.9.0.0/16 is listed twice for x"},
		{"security groups", "security_groups: []\n", "security_groups: [{id: default}]\n", "f.yaml:27: security_groups: belongs into its VPC"},
		{"enforcement", "enforcement: false", "enforcement: perhaps", `f.yaml:28: client_route_enforcement: must be true or false, not "perhaps"`},
		{"banner list", `banner: ""`, "banner: [hello]", "f.yaml:29: banner: must be text"},
		{"banner long", `banner: ""`, "banner: " + strings.Repeat("あ", 1401), "f.yaml:29: banner: has 1401 characters, 1400 are the most"},
		{"banner control", `banner: ""`, `banner: "a\tb"`, "f.yaml:29: banner: has a control character"},
		{"session timeout", `banner: ""`, "session_timeout_hours: 9", `f.yaml:29: session_timeout_hours: "9" is not one of 8, 10, 12, 24`},
		{"log nowhere", `banner: ""`, "connection_log: {keep: 3}", "f.yaml:29: connection_log: needs one of file, stdout: true and cloudwatch"},
		{"log twice", `banner: ""`, "connection_log: {file: x, stdout: true}", "f.yaml:29: connection_log: needs one of file, stdout: true and cloudwatch"},
		{"log cloudwatch, too", `banner: ""`, "connection_log: {file: x, cloudwatch: {log_group: vpn}}", "f.yaml:29: connection_log: needs one of"},
		{"log group", `banner: ""`, "connection_log: {cloudwatch: {log_stream: x}}", "f.yaml:29: connection_log.cloudwatch: needs log_group"},
		{"log group name", `banner: ""`, "connection_log: {cloudwatch: {log_group: a b}}", `f.yaml:29: connection_log.cloudwatch.log_group: "a b" is no name of a log group`},
		{"log stream name", `banner: ""`, "connection_log: {cloudwatch: {log_group: vpn, log_stream: \"a:b\"}}", `f.yaml:29: connection_log.cloudwatch.log_stream: "a:b" is no name`},
		{"log region", `banner: ""`, "connection_log: {cloudwatch: {log_group: vpn, region: evil.example/x}}", `f.yaml:29: connection_log.cloudwatch.region: "evil.example/x" is no region`},
		{"log url", `banner: ""`, "connection_log: {cloudwatch: {log_group: vpn, endpoint_url: \"127.0.0.1:4566\"}}", `f.yaml:29: connection_log.cloudwatch.endpoint_url: "127.0.0.1:4566" is no http`},
		{"log in the clear", `banner: ""`, "connection_log: {cloudwatch: {log_group: vpn, endpoint_url: \"http://logs.example\"}}", "f.yaml:29: connection_log.cloudwatch.endpoint_url: http://logs.example would be sent the log in the clear"},
		{"log size", `banner: ""`, "connection_log: {file: x, max_size: 0}", "f.yaml:29: connection_log.max_size: "},
		{"log key", `banner: ""`, "connection_log: {path: x}", "f.yaml:29: connection_log.path: "},
		{"metrics nowhere", `banner: ""`, "metrics: {}", "f.yaml:29: metrics: needs listen"},
		{"metrics port", `banner: ""`, "metrics: {listen: 127.0.0.1:0}", "f.yaml:29: metrics.listen: port 0"},
		{"api for all", `banner: ""`, "api: {listen: 192.0.2.1:8008}", "f.yaml:29: api.listen: 192.0.2.1:8008 is not loopback: others could change everything. Name keys, or listen on 127.0.0.1"},
		{"api account", `banner: ""`, "api: {account: 123456789012}", `f.yaml:29: api.account: "123456789012" is not twelve digits in quotes`},
		{"api ports", `banner: ""`, "api: {endpoints: {ports: 5-4}}", `f.yaml:29: api.endpoints.ports: "5-4" is not a range of ports like 20000-20999`},
		{"api arn", `banner: ""`, "api: {certificates: [{arn: server.crt, cert: server.crt}]}", `f.yaml:29: api.certificates[0].arn: "server.crt" is not an ARN like arn:aws:acm:…:certificate/…`},
		{"api function", `banner: ""`, "api: {handlers: [{arn: 'arn:aws:lambda:us-east-1:123456789012:function:check', exec: x}]}", `f.yaml:29: api.handlers[0].arn: "arn:aws:lambda:us-east-1:123456789012:function:check" is not an ARN like arn:aws:lambda:us-east-1:123456789012:function:AWSClientVPN-NAME`},
		{"api directory", `banner: ""`, "api: {directories: [{id: d-1, users: u.yaml}]}", `f.yaml:29: api.directories[0].id: "d-1" is not an id like d-0123456789`},
		{"api provider", `banner: ""`, "api: {saml_providers: [{arn: 'arn:aws:iam::123456789012:saml-provider/x'}]}", "f.yaml:29: api.saml_providers[0]: needs idp_metadata, or idp: demo"},
		{"api key", `banner: ""`, "api: {keys: [{id: AKIAEXAMPLE}]}", "f.yaml:29: api.keys[0].secret_file: is missing"},
		{"handler without", `banner: ""`, "client_connect_handler: {schema: v1}", "f.yaml:29: client_connect_handler: needs exec or url, and not both"},
		{"handler twice", `banner: ""`, "client_connect_handler: {exec: x, url: http://127.0.0.1/}", "f.yaml:29: client_connect_handler: needs exec or url, and not both"},
		{"handler url", `banner: ""`, "client_connect_handler: {url: \"file:///x\"}", `f.yaml:29: client_connect_handler.url: "file:///x" is no http or https address`},
		{"handler schema", `banner: ""`, "client_connect_handler: {exec: x, schema: v4}", `f.yaml:29: client_connect_handler.schema: "v4" is not one of v1, v2, v3`},
		{"alias", "data: state", "data: &x state", "f.yaml:1: anchors and aliases are not supported"},
		{"syntax", "tun_mtu: 1400", "tun_mtu: [", "f.yaml:"},
		{"not a mapping", whole, "- a\n", "f.yaml:1: must be a mapping"},
		{"empty", whole, "", "f.yaml: the file is empty"},
		{"two documents", `banner: ""`, "---\na: b", "f.yaml: more than one YAML document"},
		{"no listen", `listen: [127.0.0.1:1194, "[::1]:1194"]`, "", "f.yaml:1: listen: is missing"},
		{"demo in the kernel", "id: subnet-b", "id: demo", "f.yaml:23: networks[0].subnets[1].id: the built-in network demo exists in userspace only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(whole, tt.old, tt.new, 1)
			if text == whole {
				t.Fatalf("%q is not in the file", tt.old)
			}
			_, err := ParseConfig("f.yaml", []byte(text))
			var list ConfigErrors
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("got %v", err)
			}
			for _, e := range list {
				if strings.HasPrefix(e.Error(), tt.want) {
					return
				}
			}
			t.Errorf("got %q, want %q", list.Error(), tt.want)
		})
	}
}

// manyLocal are 101 routes from client to client.
func manyLocal() string {
	var list []string
	for i := range maxRoutes + 1 {
		list = append(list, fmt.Sprintf("172.20.0.%d/32, target: local", i))
	}
	return strings.Join(list, "}, {destination: ")
}

// What AWS takes, too: several rules for one range, and routes from client to client.
func TestGoodConfig(t *testing.T) {
	for name, tt := range map[string]struct{ old, new string }{
		"groups of a range": {"{cidr: 0.0.0.0/0, all: true}", "{cidr: 10.0.0.0/16, group: a}, {cidr: 10.0.0.0/16, group: b}"},
		"local":             {"192.168.0.0/16, target: subnet-b", "172.20.0.0/22, target: local"},
		"local v6":          {"192.168.0.0/16, target: subnet-b", "\"fd64::/64\", target: local"},
		"way twice":         {"192.168.0.0/16, target: subnet-b", "0.0.0.0/0, target: subnet-b"},
		"no association":    {"associations: [{subnet: subnet-a, security_groups: []}, {subnet: subnet-b}]\nroutes: [{destination: 0.0.0.0/0, target: subnet-a}, {destination: 192.168.0.0/16, target: subnet-b}]", "associations: []"},
	} {
		text := strings.Replace(whole, tt.old, tt.new, 1)
		if _, err := ParseConfig("f.yaml", []byte(text)); err != nil || text == whole {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadConfigTooLarge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(file, make([]byte, maxConfigSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(file); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("got %v", err)
	}
}

// What is wrong with a file is said a hundred times at most: a file of 1 MiB with nothing but
// unknown keys, each compared with every known one, took seconds.
func TestParseStopsAtManyMistakes(t *testing.T) {
	var keys, items strings.Builder
	items.WriteString("routes:\n")
	for i := range 20_000 {
		fmt.Fprintf(&keys, "route%d: 1\n", i)
		items.WriteString("  - {destinatio: 10.0.0.0/8}\n")
	}
	for name, text := range map[string]string{"keys": keys.String(), "items": items.String()} {
		_, err := ParseConfig("f.yaml", []byte(plainText+text))
		var list ConfigErrors
		if !errors.As(err, &list) || len(list) != maxMistakes || list[0].Line != strings.Count(plainText, "\n")+1+strings.Count(name, "items") {
			t.Errorf("%s: %d mistakes: %v", name, len(list), err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(BuiltinText(DefaultListen(), "tcp", "kernel")))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte(grouped))
	f.Add([]byte("listen: 1.1.1.1:1\nclient_cidr: 10.0.0.0/12\nclient_cidr_v6: ::/0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig("f.yaml", text)
		if err != nil {
			var list ConfigErrors
			if !errors.As(err, &list) || len(list) == 0 || list[0].Text == "" {
				t.Fatalf("error without a mistake: %v", err)
			}
			return
		}
		// What passed must be usable.
		if len(c.Listen) == 0 || !c.ClientCIDR.IsValid() {
			t.Fatalf("incomplete: %+v", c)
		}
		g := &generation{cfg: c, pool: newPool(c.ClientCIDR, c.ClientCIDR6, c.Topology)}
		g.layout = g.pool.deal(nil, c.targets())
		g.buildWanted()
		g.buildReply()
		if err := g.wanted.Check(); err != nil {
			t.Fatalf("contradiction: %v", err)
		}
	})
}

func TestControlWrapV2(t *testing.T) {
	c, err := ParseConfig("f.yaml", []byte(strings.Replace(whole, "{type: tls-crypt, key: ta.key}",
		"{type: tls-crypt-v2, max_age_days: 30, force_cookie: true, also: {type: tls-auth, key: ta.key}}", 1)))
	if err != nil {
		t.Fatal(err)
	}
	want := ControlWrap{Type: "tls-crypt-v2", Also: WrapKey{Type: "tls-auth", Key: "ta.key"}, MaxAgeDays: 30, ForceCookie: true}
	if c.ControlWrap != want || c.ControlWrap.KeyAge() != 30*24*time.Hour {
		t.Errorf("got %+v", c.ControlWrap)
	}
}
