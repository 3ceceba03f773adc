package endpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/adit-vpn/adit/endpoint/handler"
)

// API is the EC2 API of the process, and what the names in its requests stand for: a request names an ARN or an id that is
// listed here, never a file.
type API struct {
	Listen  netip.AddrPort
	Hosts   []string // names by which clients may call it, besides its address and localhost
	Region  string
	Account string   // twelve digits
	Keys    []APIKey // that requests must be signed with; none: any signature will do, on loopback
	// TLS is the certificate with which it is served as https; empty: plain HTTP, on loopback.
	TLS CertificateFiles
	// Delay is how long things stay in AWS's passing states.
	Delay time.Duration

	// Endpoints listen on one of Addresses: on the port that was asked for where it is free, else on one of the range.
	Addresses           []netip.Addr
	FirstPort, LastPort uint16 // 0: there is no range

	Certificates  []APICertificate
	Directories   []APIDirectory
	SAMLProviders []APIProvider
	Handlers      []APIHandler
	// TransitGateways are what the ids of transit gateways stand for.
	TransitGateways []TransitGateway
}

// TransitGateway is a router that leads to networks which only its own routes tell. VPC is it as a network whose subnets are its zones.
type TransitGateway struct {
	VPC
	// Owner is the account that has it: attachments of another one than the API's wait to be accepted.
	Owner string
}

// APIKey is an access key.
type APIKey struct {
	ID         string
	SecretFile string
}

// APICertificate is what an ARN of ACM stands for. Files are PEM.
type APICertificate struct {
	ARN   string
	Cert  string
	Key   string // empty: it is for clients' certificates only
	Chain string // CAs that signed Cert, from the nearest on; empty: they are in Cert, or Cert is the CA
}

// APIDirectory is what the id of a directory stands for.
type APIDirectory struct {
	ID string
	Directory
}

// APIProvider is what the ARN of a SAML provider stands for.
type APIProvider struct {
	ARN string
	Federated
}

// APIHandler is what the ARN of a Lambda function stands for.
type APIHandler struct {
	ARN string
	Handler
}

// DefaultAPI is the API without any key of the file.
func DefaultAPI(listen netip.AddrPort) *API {
	return &API{
		Listen: listen, Region: "us-east-1", Account: "123456789012",
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, FirstPort: 20000, LastPort: 20999,
	}
}

// defaultAPIListen is where the API is when the file does not say.
var defaultAPIListen = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 8700)

// The bounds of the API's part of the file.
const (
	maxAPIDelay   = time.Hour
	maxAPIHandles = 100 // of one kind
	maxAPIKeys    = 16

	maxGatewayZones = 5 // AWS's limit for an endpoint
)

// CompleteAPI gives names to what the endpoint has anyway, where the file gives none of the kind: its own certificates, and
// the directory or identity provider of its authentication. They follow from account and region.
func (c *Config) CompleteAPI() error {
	if c.API == nil {
		return nil
	}
	api := *c.API
	if len(api.Certificates) == 0 {
		dir, err := filepath.Abs(c.DataDir())
		if err != nil {
			return err
		}
		in := func(parts ...string) string { return filepath.Join(append([]string{dir, "pki"}, parts...)...) }
		api.Certificates = []APICertificate{
			{ARN: CertificateARN(&api, ServerName), Cert: in("issued", ServerName+".crt"), Key: in("private", ServerName+".key"), Chain: in("ca.crt")},
			{ARN: CertificateARN(&api, "ca"), Cert: in("ca.crt")},
		}
	}
	_, directory, federated := c.Methods()
	if directory != nil && len(api.Directories) == 0 {
		api.Directories = []APIDirectory{{ID: "d-" + api.hash("directory")[:10], Directory: *directory}}
	}
	if federated != nil && len(api.SAMLProviders) == 0 {
		api.SAMLProviders = []APIProvider{{ARN: ARN{"aws", "iam", "", api.Account, "saml-provider/adit-endpoint"}.String(), Federated: *federated}}
	}
	c.API = &api
	return nil
}

// OwnAPICertificates says whether the API's certificates are those of the PKI in the data directory.
func (c *Config) OwnAPICertificates() bool {
	return c.API != nil && slices.ContainsFunc(c.API.Certificates, func(a APICertificate) bool { return a.ARN == CertificateARN(c.API, ServerName) })
}

// CertificateARN is an ARN in ACM's form that stays the same for a name.
func CertificateARN(a *API, name string) string {
	h := a.hash(name)
	return fmt.Sprintf("arn:aws:acm:%s:%s:certificate/%s-%s-%s-%s-%s", a.Region, a.Account, h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}

// hash is 32 hexadecimal digits that follow from account, region and a name.
func (a *API) hash(name string) string {
	sum := sha256.Sum256([]byte(a.Account + "/" + a.Region + "/" + name))
	return hex.EncodeToString(sum[:16])
}

// ARN is an Amazon resource name in its parts: arn:Partition:Service:Region:Account:Resource.
type ARN struct{ Partition, Service, Region, Account, Resource string }

var (
	arnPartition = form(`^aws(-[a-z]{2,4}(-[a-z])?)?$`)
	arnRegion    = form(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	arnAccount   = form(`^[0-9]{12}$`)
	arnResource  = form(`^[A-Za-z0-9._+=,@/:-]{1,512}$`)
	directoryID  = form(`^d-[0-9a-f]{10}$`)
	gatewayID    = form(`^tgw-[0-9a-f]{8,17}$`)
	functionName = form(`^function:AWSClientVPN-[A-Za-z0-9_-]{1,51}(:[A-Za-z0-9$_-]{1,128})?$`)
	keyID        = form(`^[A-Za-z0-9]{4,128}$`)
)

var errARN = errors.New("is not an ARN like arn:aws:acm:us-east-1:123456789012:certificate/…")

// ParseARN takes an ARN apart. Region may be empty, as IAM's is.
func ParseARN(text string) (ARN, error) {
	f := strings.SplitN(text, ":", 6)
	if len(f) != 6 || f[0] != "arn" {
		return ARN{}, errARN
	}
	a := ARN{f[1], f[2], f[3], f[4], f[5]}
	ok := arnPartition().MatchString(a.Partition) && a.Service != "" && len(a.Service) < 64 && arnAccount().MatchString(a.Account) && arnResource().MatchString(a.Resource) &&
		(a.Region == "" || arnRegion().MatchString(a.Region)) && !strings.ContainsAny(a.Service, " \t\r\n")
	if !ok {
		return ARN{}, errARN
	}
	return a, nil
}

func (a ARN) String() string {
	return strings.Join([]string{"arn", a.Partition, a.Service, a.Region, a.Account, a.Resource}, ":")
}

// IsHandlerARN says whether text is the ARN of a function that may be a connect handler.
func IsHandlerARN(text string) bool {
	a, err := ParseARN(text)
	return err == nil && a.Service == "lambda" && functionName().MatchString(a.Resource)
}

// ParsePorts reads a port, or a range like 20000-20999.
func ParsePorts(text string) (first, last uint16, err error) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	a, errA := strconv.ParseUint(low, 10, 16)
	b, errB := strconv.ParseUint(high, 10, 16)
	if errA != nil || errB != nil || a == 0 || a > b {
		return 0, 0, fmt.Errorf("%q is not a range of ports like 20000-20999", text)
	}
	return uint16(a), uint16(b), nil
}

// api reads the key.
func (p *parsing) api(n *yaml.Node, path string) {
	a := DefaultAPI(defaultAPIListen)
	p.c.API = a
	seen := map[string]bool{}
	arn := func(into *string, service, resource string) func(*yaml.Node, string) {
		return p.set(func(n *yaml.Node, at string) {
			p.text(n, at, into)
			got, err := ParseARN(*into)
			switch {
			case *into == "":
			case err != nil || got.Service != service || !strings.HasPrefix(got.Resource, resource):
				p.fail(n, at, "%q is not an ARN like arn:aws:%s:…:%s…", *into, service, resource)
			case seen[*into]:
				p.fail(n, at, "%s is listed twice", *into)
			}
			seen[*into] = true
		})
	}
	text := func(into *string) func(*yaml.Node, string) {
		return p.set(func(n *yaml.Node, at string) { p.text(n, at, into) })
	}
	p.mapping(n, path, fields{
		"listen": p.set(func(n *yaml.Node, at string) {
			if l, ok := p.addrPort(n, at); ok {
				a.Listen = l
			}
		}),
		"hosts": func(n *yaml.Node, at string) {
			p.list(n, at, func(n *yaml.Node, at string) {
				var v string
				if p.text(n, at, &v); v != "" && (len(v) > 253 || !hostName().MatchString(v)) {
					p.fail(n, at, "%q is not a host name", v)
				}
				a.Hosts = append(a.Hosts, strings.ToLower(strings.TrimSuffix(v, ".")))
			})
		},
		"region": p.set(func(n *yaml.Node, at string) {
			if p.text(n, at, &a.Region); !arnRegion().MatchString(a.Region) {
				p.fail(n, at, "%q is not a region like us-east-1", a.Region)
			}
		}),
		"account": p.set(func(n *yaml.Node, at string) {
			if p.text(n, at, &a.Account); !arnAccount().MatchString(a.Account) || n.Tag != "!!str" {
				p.fail(n, at, "%q is not twelve digits in quotes", n.Value)
			}
		}),
		"delay": func(n *yaml.Node, at string) {
			d, err := time.ParseDuration(n.Value)
			if n.Kind != yaml.ScalarNode || err != nil || d < 0 || d > maxAPIDelay {
				p.fail(n, at, "must be a time from 0s to %s, not %q", maxAPIDelay, n.Value)
				return
			}
			a.Delay = d
		},
		"keys": p.set(func(n *yaml.Node, at string) {
			p.list(n, at, func(n *yaml.Node, at string) {
				var k APIKey
				p.mapping(n, at, fields{
					"id": p.set(func(n *yaml.Node, at string) {
						if p.text(n, at, &k.ID); k.ID != "" && !keyID().MatchString(k.ID) {
							p.fail(n, at, "an access key id has 4 to 128 letters and digits")
						}
						if slices.ContainsFunc(a.Keys, func(o APIKey) bool { return o.ID == k.ID }) {
							p.fail(n, at, "%s is listed twice", k.ID)
						}
					}),
					"secret_file": text(&k.SecretFile),
				})
				p.need(n, at, "id", "secret_file")
				a.Keys = append(a.Keys, k)
			})
			if len(a.Keys) > maxAPIKeys {
				p.fail(n, at, "at most %d keys", maxAPIKeys)
			}
		}),
		"tls": p.set(func(n *yaml.Node, at string) {
			p.mapping(n, at, fields{"cert": text(&a.TLS.Cert), "key": text(&a.TLS.Key)})
			p.need(n, at, "cert", "key")
		}),
		"endpoints": func(n *yaml.Node, at string) { p.apiEndpoints(n, at, a) },
		"certificates": p.handles(func(n *yaml.Node, at string) int {
			var c APICertificate
			p.mapping(n, at, fields{"arn": arn(&c.ARN, "acm", "certificate/"), "cert": text(&c.Cert), "key": text(&c.Key), "chain": text(&c.Chain)})
			p.need(n, at, "arn", "cert")
			a.Certificates = append(a.Certificates, c)
			return len(a.Certificates)
		}),
		"directories": p.handles(func(n *yaml.Node, at string) int {
			var d APIDirectory
			d.Directory = *p.directory(n, at, fields{"id": p.set(func(n *yaml.Node, at string) {
				if p.text(n, at, &d.ID); d.ID != "" && !directoryID().MatchString(d.ID) {
					p.fail(n, at, "%q is not an id like d-0123456789", d.ID)
				}
				if slices.ContainsFunc(a.Directories, func(o APIDirectory) bool { return o.ID == d.ID }) {
					p.fail(n, at, "%s is listed twice", d.ID)
				}
			})})
			p.need(n, at, "id")
			a.Directories = append(a.Directories, d)
			return len(a.Directories)
		}),
		"saml_providers": p.handles(func(n *yaml.Node, at string) int {
			var f APIProvider
			f.Federated = *p.federated(n, at, fields{"arn": arn(&f.ARN, "iam", "saml-provider/")})
			p.need(n, at, "arn")
			a.SAMLProviders = append(a.SAMLProviders, f)
			return len(a.SAMLProviders)
		}),
		"transit_gateways": p.handles(func(n *yaml.Node, at string) int {
			a.TransitGateways = append(a.TransitGateways, p.transitGateway(n, at, a))
			return len(a.TransitGateways)
		}),
		"handlers": p.handles(func(n *yaml.Node, at string) int {
			h := APIHandler{Handler: Handler{Schema: "v2"}}
			p.handlerInto(n, at, &h.Handler, fields{"arn": p.set(func(n *yaml.Node, at string) {
				if p.text(n, at, &h.ARN); h.ARN != "" && !IsHandlerARN(h.ARN) {
					p.fail(n, at, "%q is not an ARN like arn:aws:lambda:us-east-1:123456789012:function:AWSClientVPN-NAME", h.ARN)
				}
				if seen[h.ARN] {
					p.fail(n, at, "%s is listed twice", h.ARN)
				}
				seen[h.ARN] = true
			})})
			p.need(n, at, "arn")
			a.Handlers = append(a.Handlers, h)
			return len(a.Handlers)
		}),
	})
	if err := a.Exposed(); err != nil {
		p.fail(p.at[path+".listen"], path+".listen", "%v", err)
	}
}

// transitGateway reads one.
func (p *parsing) transitGateway(n *yaml.Node, path string, a *API) TransitGateway {
	g := TransitGateway{VPC: VPC{Transit: true}}
	p.mapping(n, path, fields{
		"id": p.set(func(n *yaml.Node, at string) {
			if p.text(n, at, &g.ID); g.ID != "" && !gatewayID().MatchString(g.ID) {
				p.fail(n, at, "%q is not an id like tgw-0123456789abcdef0", g.ID)
			}
			if slices.ContainsFunc(a.TransitGateways, func(o TransitGateway) bool { return o.ID == g.ID }) {
				p.fail(n, at, "%s is listed twice", g.ID)
			}
		}),
		"owner": p.set(func(n *yaml.Node, at string) {
			if p.text(n, at, &g.Owner); !arnAccount().MatchString(g.Owner) || n.Tag != "!!str" {
				p.fail(n, at, "%q is not twelve digits in quotes", n.Value)
			}
		}),
		"cidr":    p.set(func(n *yaml.Node, at string) { p.prefix(n, at, &g.CIDR) }),
		"cidr_v6": p.set(func(n *yaml.Node, at string) { p.prefix(n, at, &g.CIDR6) }),
		"zones": p.set(func(n *yaml.Node, at string) {
			p.list(n, at, func(n *yaml.Node, at string) {
				s := p.subnet(n, at, "zone", "cidr")
				if slices.ContainsFunc(g.Subnets, func(o Subnet) bool { return o.Zone == s.Zone }) {
					p.fail(n, at, "%s is listed twice", s.Zone)
				}
				if s.ID != "" || s.Plain6 || s.Address6.IsValid() {
					p.fail(n, at, "a zone of a transit gateway has no id and no address_v6")
				}
				g.Subnets = append(g.Subnets, s)
			})
			if len(g.Subnets) == 0 || len(g.Subnets) > maxGatewayZones {
				p.fail(n, at, "needs 1 to %d zones", maxGatewayZones)
			}
		}),
	})
	p.need(n, path, "id", "cidr", "zones")
	for i := range g.Subnets {
		g.Subnets[i].ID = g.ID + "." + g.Subnets[i].Zone
	}
	return g
}

// checkGateways is checkNetworks for transit gateways. Whether their ranges leave room for clients is seen with each endpoint.
func (p *parsing) checkGateways() {
	if p.c.API == nil {
		return
	}
	for i, g := range p.c.API.TransitGateways {
		at := "api.transit_gateways[" + strconv.Itoa(i) + "]"
		for j, s := range g.Subnets {
			p.checkSubnet(at+".zones["+strconv.Itoa(j)+"]", g.VPC, s)
		}
	}
}

// Exposed is what is wrong with a listener that other machines reach: it needs keys, and TLS, since a request may be repeated for
// 15 minutes by whoever has seen it, and ImportCertificate has a private key in it.
func (a *API) Exposed() error {
	switch {
	case a.Listen.Addr().IsLoopback():
		return nil
	case len(a.Keys) == 0:
		return fmt.Errorf("%s is not loopback: others could change everything. Name keys, or listen on 127.0.0.1", a.Listen)
	case a.TLS.Cert == "":
		return fmt.Errorf("%s is not loopback: others could read and repeat requests. Name tls: {cert: …, key: …}, or listen on 127.0.0.1", a.Listen)
	}
	return nil
}

// handles reads a list of a bounded length; item says how many there are.
func (p *parsing) handles(item func(n *yaml.Node, at string) int) func(*yaml.Node, string) {
	return func(n *yaml.Node, at string) {
		most := 0
		p.list(n, at, func(n *yaml.Node, at string) { most = item(n, at) })
		if most > maxAPIHandles {
			p.fail(n, at, "at most %d", maxAPIHandles)
		}
	}
}

// apiEndpoints reads where endpoints of the API may listen.
func (p *parsing) apiEndpoints(n *yaml.Node, path string, a *API) {
	p.mapping(n, path, fields{
		"addresses": func(n *yaml.Node, at string) {
			a.Addresses = nil
			p.list(n, at, func(n *yaml.Node, at string) {
				addr, err := netip.ParseAddr(n.Value)
				if n.Kind != yaml.ScalarNode || err != nil || addr.Is4In6() || addr.IsMulticast() {
					p.fail(n, at, "%q is not an address", n.Value)
					return
				}
				if slices.Contains(a.Addresses, addr) {
					p.fail(n, at, "%s is listed twice", addr)
				}
				a.Addresses = append(a.Addresses, addr)
			})
			if len(a.Addresses) == 0 || len(a.Addresses) > maxAPIHandles {
				p.fail(n, at, "needs 1 to %d addresses", maxAPIHandles)
			}
		},
		"ports": func(n *yaml.Node, at string) {
			first, last, err := ParsePorts(n.Value)
			if n.Kind != yaml.ScalarNode || err != nil {
				p.fail(n, at, "%q is not a range of ports like 20000-20999", n.Value)
				return
			}
			a.FirstPort, a.LastPort = first, last
		},
	})
}

// Check is what LoadConfig finds wrong with the values together, for a configuration that was not read from a file's text.
func (c *Config) Check() error {
	p := &parsing{reader: &reader{file: c.File}, c: *c, at: map[string]*yaml.Node{}}
	p.check()
	_, err := p.result()
	return err
}

// handlerInto reads a connect handler, with more keys beside.
func (p *parsing) handlerInto(n *yaml.Node, path string, h *Handler, more fields) {
	known := fields{
		"exec":   func(n *yaml.Node, at string) { p.text(n, at, &h.Exec) },
		"url":    func(n *yaml.Node, at string) { p.handlerURL(n, at, h) },
		"schema": func(n *yaml.Node, at string) { p.word(n, at, &h.Schema, handler.Schemas()...) },
	}
	maps.Copy(known, more)
	p.mapping(n, path, known)
	if (h.Exec == "") == (h.URL == "") {
		p.fail(n, path, "needs exec or url, and not both")
	}
}
