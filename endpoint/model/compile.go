package model

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/platform/durable"
)

// Endpoints is the folder in the data directory with what belongs to the API's endpoints alone: each has one in it, by its id.
const Endpoints = "endpoints"

// DataDir is where an endpoint of the API keeps what is its own, below the data directory of the process.
func DataDir(c *endpoint.Config, id string) (string, error) {
	dir, err := filepath.Abs(c.DataDir())
	return filepath.Join(dir, Endpoints, id), err
}

// compile turns a record into the configuration that it means here. What AWS does not know (MTU, ciphers, network) is the file's.
// The error says what of it the file does not have, or what is wrong with it.
func (m *Model) compile(d *Declared, r *record) (endpoint.Config, error) {
	s := &r.Settings
	c := d.Config
	c.API = nil
	dir, err := DataDir(&d.Config, r.ID)
	if err != nil {
		return c, err
	}
	for _, a := range r.Listen {
		if !slices.Contains(d.Config.API.Addresses, a.Addr()) {
			return c, badValue("The endpoint listens on %s: api.endpoints.addresses of %s does not have it (modify VpnPort, or make the endpoint again)", a.Addr(), d.Config.File)
		}
		if d.Config.Transport == s.Transport && slices.ContainsFunc(d.Config.Listen, func(own netip.AddrPort) bool { return overlap(own, a) }) {
			return c, badValue("The endpoint listens on %s, as the endpoint of %s does: change its listen there, or VpnPort here", a, d.Config.File)
		}
	}
	c.Data, c.Listen, c.Transport = dir, r.Listen, s.Transport
	c.Remote.Port = 0 // the listener's own
	c.ClientCIDR, c.ClientCIDR6 = s.ClientCIDR, netip.Prefix{}
	if s.TrafficIPType == dualStack {
		c.ClientCIDR6 = cidr6(r.ID)
	}
	c.SplitTunnel, c.DNSServers = s.SplitTunnel, s.DNSServers
	c.SessionTimeout, c.DisconnectOnTimeout = time.Duration(s.SessionHours)*time.Hour, s.DisconnectOnTimeout
	c.ControlWrap = endpoint.ControlWrap{Type: "none"}
	c.AuthToken.Secret = "" // a token is good for one endpoint
	if _, withPassword := passwords(s.Authentication); !withPassword {
		c.AuthToken = endpoint.AuthToken{}
	}
	c.Banner, c.RouteEnforcement, c.Metrics = s.Banner.Text, s.RouteEnforcement, netip.AddrPort{}
	c.Handler = endpoint.Handler{}
	if s.Handler.Enabled {
		h, ok := d.function(s.Handler.Function)
		if !ok {
			return c, notDeclared(d, "Lambda function", s.Handler.Function, "handlers")
		}
		c.Handler = h
	}
	c.AuthorizationPolicy, c.DevicePosture = endpoint.AuthorizationPolicy{}, s.Posture
	if p := r.inForce(); p != nil {
		c.AuthorizationPolicy = endpoint.AuthorizationPolicy{Text: p.Document, Shadow: p.Shadow, Every: endpoint.PolicyEvery}
	}
	cert, ok := d.certificate(s.ServerCertificate)
	if !ok || cert.Key == "" {
		return c, notDeclared(d, "server certificate", s.ServerCertificate, "certificates")
	}
	c.ServerCertificate = endpoint.CertificateFiles{Cert: cert.Cert, Key: cert.Key, Chain: cert.Chain}
	if c.Authentication, err = d.authentication(r, dir); err != nil {
		return c, err
	}
	c.ConnectionLog = connectionLog(d.Config.ConnectionLog, s.ConnectionLog, dir)
	c.Networks, c.Associations, c.Routes, c.Rules = nil, nil, nil, nil
	for _, a := range r.live() {
		v, _, ok := d.subnet(a.Subnet)
		switch {
		case !ok && r.Gateway != nil:
			return c, notDeclared(d, "zone of a transit gateway", a.Subnet, "api.transit_gateways")
		case !ok:
			return c, notDeclared(d, "subnet", a.Subnet, "networks")
		}
		if len(c.Networks) == 0 { // all are in one; others may overlap the clients' range
			c.Networks = []endpoint.VPC{v}
		}
		groups, err := d.restricting(v, s.SecurityGroups)
		if err != nil {
			return c, err
		}
		c.Associations = append(c.Associations, endpoint.Association{Subnet: a.Subnet, SecurityGroups: groups})
	}
	for _, x := range r.Routes {
		switch {
		case !x.Deleted.IsZero():
		case x.Target == "": // through the transit gateway, in all zones
			for _, a := range c.Associations {
				c.Routes = append(c.Routes, endpoint.Route{Destination: x.Destination, Target: a.Subnet})
			}
		default:
			c.Routes = append(c.Routes, endpoint.Route{Destination: x.Destination, Target: x.Target})
		}
	}
	for _, x := range r.Rules {
		if x.Deleted.IsZero() {
			c.Rules = append(c.Rules, endpoint.Rule{CIDR: x.CIDR, All: x.All, Group: x.Group})
		}
	}
	return c, c.Check()
}

// overlap says whether two listeners want the same packets: 0.0.0.0 has those of all of IPv4, and :: may have all.
func overlap(a, b netip.AddrPort) bool {
	all := func(a, b netip.Addr) bool { return a.IsUnspecified() && (a.Is6() || b.Is4()) }
	return a.Port() == b.Port() && (a.Addr() == b.Addr() || all(a.Addr(), b.Addr()) || all(b.Addr(), a.Addr()))
}

// notDeclared is what the file does not have.
func notDeclared(d *Declared, what, name, key string) error {
	return badValue("The %s '%s' does not exist: %s of %s has none of this name", what, name, key, d.Config.File)
}

// connectionLog is where the log of an endpoint of the API goes: to the standard output if the file's own does; if that goes
// to CloudWatch Logs, to the group and stream of the API there; else into the endpoint's directory.
func connectionLog(file endpoint.ConnectionLog, of ConnectionLog, dir string) endpoint.ConnectionLog {
	switch {
	case !of.Enabled:
		return endpoint.ConnectionLog{}
	}
	file.PolicyContext = of.PolicyContext
	switch {
	case file.Stdout:
		return file
	case file.CloudWatch != endpoint.CloudWatch{}:
		file.CloudWatch.Group, file.CloudWatch.Stream = of.Group, of.Stream
		return file
	case file.File == "":
		file.MaxMB, file.Keep = 64, 5
	}
	file.File = filepath.Join(dir, "connections.jsonl")
	return file
}

// cidr6 is the range of an endpoint's clients in IPv6: a unique local one that follows from the id (RFC 4193).
func cidr6(id string) netip.Prefix {
	sum := sha256.Sum256([]byte(id))
	a := [16]byte{0xfd}
	copy(a[1:6], sum[:])
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// authentication maps what the API says onto the files and servers of the configuration.
func (d *Declared) authentication(r *record, dir string) ([]endpoint.Authentication, error) {
	var out []endpoint.Authentication
	for _, a := range r.Settings.Authentication {
		switch a.Type {
		case CertificateAuthentication:
			ca, ok := d.certificate(a.RootChain)
			if !ok {
				return nil, notDeclared(d, "certificate", a.RootChain, "certificates")
			}
			m := &endpoint.Mutual{CA: ca.Cert, CRL: noList}
			if ca.Chain != "" {
				m.CA = ca.Chain
			}
			if r.CRL != "" {
				m.CRL = crlFile(dir, r.CRL)
			}
			out = append(out, endpoint.Authentication{Mutual: m})
		case DirectoryAuthentication:
			dir, ok := d.directory(a.Directory)
			if !ok {
				return nil, notDeclared(d, "directory", a.Directory, "directories")
			}
			out = append(out, endpoint.Authentication{Directory: &dir})
		default:
			f, ok := d.samlProvider(a.SAMLProvider)
			if !ok {
				return nil, notDeclared(d, "SAML provider", a.SAMLProvider, "saml_providers")
			}
			out = append(out, endpoint.Authentication{Federated: &f})
		}
	}
	return out, nil
}

// noList is no revocation list at all: the data directory of an endpoint of the API has no PKI, whose list an empty name would mean.
const noList = ""

const crlPrefix = "crl-"

// crlFile is where a revocation list lies for the endpoint: a list has a file of its own, so that one that is refused
// has not overwritten the one in force.
func crlFile(dir, sum string) string { return filepath.Join(dir, crlPrefix+sum+".pem") }

// newList names a list: each import has a name of its own, so that the endpoint takes it as another one and resets its sessions, as
// AWS does also for a list that is there already.
func newList() string { return newID("") }

// writeCRL puts a record's list where compile says that it is.
func writeCRL(d *Declared, r *record, text string) error {
	dir, err := DataDir(&d.Config, r.ID)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return durable.Write(crlFile(dir, r.CRL), []byte(text), 0o600)
}

// What the file declares, by name.

func (d *Declared) certificate(arn string) (endpoint.APICertificate, bool) {
	for _, c := range d.Config.API.Certificates {
		if c.ARN == arn {
			return c, true
		}
	}
	h, ok, err := d.importedHandle(arn)
	return h, ok && err == nil
}

func (d *Declared) directory(id string) (endpoint.Directory, bool) {
	for _, x := range d.Config.API.Directories {
		if x.ID == id {
			return x.Directory, true
		}
	}
	return endpoint.Directory{}, false
}

func (d *Declared) samlProvider(arn string) (endpoint.Federated, bool) {
	for _, x := range d.Config.API.SAMLProviders {
		if x.ARN == arn {
			return x.Federated, true
		}
	}
	if p := d.importedProvider(arn); p != nil {
		file, err := p.file(&d.Config)
		return endpoint.Federated{Metadata: file}, err == nil
	}
	return endpoint.Federated{}, false
}

func (d *Declared) function(arn string) (endpoint.Handler, bool) {
	for _, x := range d.Config.API.Handlers {
		if x.ARN == arn {
			return x.Handler, true
		}
	}
	return endpoint.Handler{}, false
}

func (d *Declared) subnet(id string) (endpoint.VPC, endpoint.Subnet, bool) {
	for _, v := range d.Config.Networks {
		for _, s := range v.Subnets {
			if s.ID == id {
				return v, s, true
			}
		}
	}
	return d.zoneOf(id)
}

func (d *Declared) vpc(id string) (endpoint.VPC, bool) {
	for _, v := range d.Config.Networks {
		if v.ID == id {
			return v, true
		}
	}
	return endpoint.VPC{}, false
}

// groups are the security groups of a network; the first is the default.
func (d *Declared) groups(v endpoint.VPC) []SecurityGroup {
	open := []endpoint.SecurityRule{{Protocol: "all", CIDR: netip.MustParsePrefix("0.0.0.0/0")}, {Protocol: "all", CIDR: netip.MustParsePrefix("::/0")}}
	out := []SecurityGroup{{ID: defaultGroup(v.ID), Name: "default", Description: "default VPC security group", VPC: v.ID, Egress: open}}
	for _, g := range v.SecurityGroups {
		out = append(out, SecurityGroup{ID: g.ID, Name: g.ID, Description: g.Description, VPC: v.ID, Ingress: g.Ingress, Egress: g.Egress})
	}
	return out
}

// restricting are groups as the configuration has them: none where the default one, which lets everything out, is among them.
func (d *Declared) restricting(v endpoint.VPC, ids []string) ([]string, error) {
	for _, id := range ids {
		if !slices.ContainsFunc(d.groups(v), func(g SecurityGroup) bool { return g.ID == id }) {
			return nil, notDeclared(d, "security group", id, "networks")
		}
	}
	if slices.Contains(ids, defaultGroup(v.ID)) {
		return nil, nil
	}
	return ids, nil
}

// defaultGroup is the id of the group that a network has by itself.
func defaultGroup(vpc string) string {
	sum := sha256.Sum256([]byte(vpc))
	return "sg-" + hex.EncodeToString(sum[:])[:17]
}

// VPCs are the declared networks.
func (m *Model) VPCs() []VPC {
	var out []VPC
	for _, v := range m.now.Load().declared.Config.Networks {
		out = append(out, VPC{ID: v.ID, CIDR: v.CIDR, CIDRv6: v.CIDR6})
	}
	return out
}

// Subnets are their parts.
func (m *Model) Subnets() []Subnet {
	var out []Subnet
	for _, v := range m.now.Load().declared.Config.Networks {
		for _, s := range v.Subnets {
			out = append(out, Subnet{ID: s.ID, VPC: v.ID, Zone: m.zone(s), CIDR: s.CIDR})
		}
	}
	return out
}

// SecurityGroups are those of all networks.
func (m *Model) SecurityGroups() []SecurityGroup {
	var out []SecurityGroup
	d := &m.now.Load().declared
	for _, v := range d.Config.Networks {
		out = append(out, d.groups(v)...)
	}
	return out
}

// zone is a subnet's availability zone; one that the file names none for is in the region's first.
func (m *Model) zone(s endpoint.Subnet) string {
	if s.Zone != "" {
		return s.Zone
	}
	return m.Region() + "a"
}

// Region and Account are the file's.
func (m *Model) Region() string { return m.now.Load().declared.Config.API.Region }

// Account is the owner of everything: twelve digits.
func (m *Model) Account() string { return m.now.Load().declared.Config.API.Account }

// PortalURL is where AWS's self-service portal of an endpoint would be.
func portalURL(id string) string {
	return "https://self-service.clientvpn.amazonaws.com/endpoints/" + id
}

func dnsName(id, region string) string {
	return fmt.Sprintf("*.%s.prod.clientvpn.%s.amazonaws.com", id, region)
}

// inFile shows the endpoint that the file declares in the API's terms. What the API has no name for has none.
func (d *Declared) inFile(m *Model) Endpoint {
	c := &d.Config
	e := Endpoint{ID: d.Endpoint, Status: Status{Code: PendingAssociate}, Created: m.began, DNSName: dnsName(d.Endpoint, c.API.Region), InFile: true, Listen: c.Listen,
		Settings: Settings{
			Description: "declared in " + filepath.Base(c.File), ClientCIDR: c.ClientCIDR, Transport: c.Transport, SplitTunnel: c.SplitTunnel,
			ServerCertificate: d.certificateARN(c.ServerCertificate.Cert, filepath.Join("issued", endpoint.ServerName+".crt")), DNSServers: c.DNSServers, Port: int(c.Listen[0].Port()),
			SessionHours: int(c.SessionTimeout / time.Hour), DisconnectOnTimeout: c.DisconnectOnTimeout,
			EndpointIPType: "ipv4", TrafficIPType: "ipv4",
			ConnectionLog: ConnectionLog{Enabled: c.ConnectionLog != endpoint.ConnectionLog{}, Group: c.ConnectionLog.CloudWatch.Group, Stream: c.ConnectionLog.CloudWatch.Stream, PolicyContext: c.ConnectionLog.PolicyContext},
			Handler:       ConnectHandler{Enabled: c.Handler != endpoint.Handler{}},
			Banner:        Banner{c.Banner != "", c.Banner}, RouteEnforcement: c.RouteEnforcement,
			Posture: c.DevicePosture,
		}}
	if c.ClientCIDR6.IsValid() {
		e.TrafficIPType = dualStack
	}
	if c.Listen[0].Addr().Is6() {
		e.EndpointIPType = "ipv6"
	}
	for _, a := range c.Associations {
		e.Status.Code = Available
		e.Subnets = append(e.Subnets, a.Subnet)
		if v, _, ok := d.subnet(a.Subnet); ok && e.VPC == "" {
			e.VPC, e.SecurityGroups = v.ID, []string{defaultGroup(v.ID)}
			if len(a.SecurityGroups) > 0 {
				e.SecurityGroups = a.SecurityGroups
			}
		}
	}
	mutual, directory, federated := c.Methods()
	if mutual != nil {
		e.Authentication = append(e.Authentication, Authentication{Type: CertificateAuthentication, RootChain: d.certificateARN(mutual.CA, "ca.crt")})
	}
	if directory != nil {
		x := Authentication{Type: DirectoryAuthentication}
		for _, a := range c.API.Directories {
			if reflect.DeepEqual(a.Directory, *directory) {
				x.Directory = a.ID
			}
		}
		e.Authentication = append(e.Authentication, x)
	}
	if federated != nil {
		x := Authentication{Type: FederatedAuthentication}
		for _, a := range c.API.SAMLProviders {
			if a.Federated == *federated {
				x.SAMLProvider = a.ARN
			}
		}
		e.Authentication = append(e.Authentication, x)
	}
	return e
}

// certificateARN is the name of a file; an empty one is of the PKI.
func (d *Declared) certificateARN(file, name string) string {
	if file == "" {
		file = d.own(name)
	}
	for _, c := range d.Config.API.Certificates {
		if c.Cert == file {
			return c.ARN
		}
	}
	return ""
}

// own is a file of the PKI in the data directory.
func (d *Declared) own(name string) string {
	dir, err := filepath.Abs(d.Config.DataDir())
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "pki", name)
}
