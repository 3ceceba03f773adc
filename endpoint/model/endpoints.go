package model

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/adit-vpn/adit/endpoint"
)

// The quotas of AWS Client VPN that are its defaults.
const (
	maxEndpoints      = 5
	maxAssociations   = 5
	maxRules          = 200
	maxRoutes         = 100 // of one target
	maxSecurityGroups = 5
	maxTerminate      = 5
	maxBanner         = 1400 // characters
	maxDescription    = 255
	maxProviders      = 3 // of device posture: there is one of each kind
	maxTags           = 50
	maxGroupID        = 255
	minSubnetBits     = 27
	maxListBytes      = 3 << 19 // of a revocation list; as a form it fits into a request
	maxListEntries    = 20000
)

const dualStack = "dual-stack"

// Endpoints are all there are: that of the file first.
func (m *Model) Endpoints() []Endpoint {
	s := m.now.Load()
	var out []Endpoint
	if s.declared.Endpoint != "" {
		out = append(out, s.declared.inFile(m))
	}
	for _, r := range s.sorted() {
		if e, ok := m.show(s, r); ok {
			out = append(out, e)
		}
	}
	return out
}

// show is a record as people see it now; ok is false when it is gone.
func (m *Model) show(s *snapshot, r *record) (Endpoint, bool) {
	now, delay := m.o.Now().UTC(), s.delay()
	status, ok := phase(r.Created, r.Deleted, now, 0, "", PendingAssociate, Deleting)
	if !r.Deleted.IsZero() {
		ok = now.Sub(r.Deleted) < delay
	}
	e := Endpoint{ID: r.ID, Status: status, Created: r.Created, Deleted: r.Deleted, DNSName: dnsName(r.ID, s.declared.Config.API.Region), Tags: slices.Clone(r.Tags), Settings: r.clone().Settings, Listen: slices.Clone(r.Listen)}
	if r.Gateway != nil {
		if a, there := m.attachment(s, r); there {
			e.Gateway = &a
		}
	}
	for _, a := range r.Associations {
		if st, there := phase(a.Created, a.Deleted, now, delay, Associating, Associated, Disassociating); there {
			if r.Gateway == nil {
				e.Subnets = append(e.Subnets, a.Subnet)
			}
			if st.Code == Associated && r.Deleted.IsZero() && (r.Gateway == nil || e.Gateway != nil && e.Gateway.State == Available) {
				e.Status.Code = Available
			}
		}
	}
	e.Status.Message = m.fault(r)
	if e.Portal {
		e.PortalURL = portalURL(r.ID)
	}
	return e, ok
}

// CreateEndpoint makes an endpoint that nobody can connect to until Associate. Its Status is the one that AWS answers with.
func (m *Model) CreateEndpoint(ctx context.Context, call Call, n NewEndpoint) (Endpoint, error) {
	id, err := m.mutate(ctx, call, "CreateClientVpnEndpoint", n, func(d *draft) (string, error) {
		if len(d.records) >= maxEndpoints {
			return "", errorf(CodeEndpointLimit, "You have reached the limit of %d Client VPN endpoints", maxEndpoints)
		}
		r := &record{ID: newID(endpointPrefix), Created: d.at}
		s := &r.Settings
		*s = Settings{Transport: "udp", Port: 443, SessionHours: 24, DisconnectOnTimeout: true, EndpointIPType: "ipv4", TrafficIPType: "ipv4"}
		for _, x := range []struct {
			name    string
			value   *string
			into    *string
			allowed []string
		}{
			{"TransportProtocol", n.Transport, &s.Transport, []string{"udp", "tcp"}},
			{"EndpointIpAddressType", n.EndpointIPType, &s.EndpointIPType, []string{"ipv4", "ipv6", dualStack}},
			{"TrafficIpAddressType", n.TrafficIPType, &s.TrafficIPType, []string{"ipv4", dualStack}},
		} {
			if x.value == nil {
				continue
			}
			if x.name == "TrafficIpAddressType" && *x.value == "ipv6" {
				return "", errorf(CodeUnsupported, "TrafficIpAddressType ipv6 alone is not supported here: use dual-stack")
			}
			if !slices.Contains(x.allowed, *x.value) {
				return "", notOneOf(*x.value, x.name, x.allowed)
			}
			*x.into = *x.value
		}
		if n.ClientCIDR == "" {
			return "", missing("ClientCidrBlock")
		}
		cidr, err := clientCIDR(n.ClientCIDR)
		if err != nil {
			return "", err
		}
		s.ClientCIDR = cidr
		if n.ServerCertificate == nil || *n.ServerCertificate == "" {
			return "", missing("ServerCertificateArn")
		}
		if s.Authentication, err = d.authenticationOptions(n.Authentication); err != nil {
			return "", err
		}
		_, withPassword := passwords(s.Authentication)
		s.Portal = withPassword // AWS's default, where there is something to sign in with
		if n.ConnectionLog == nil {
			return "", missing("ConnectionLogOptions")
		}
		if err := checkTags(nil, n.Tags); err != nil {
			return "", err
		}
		r.Tags = putTags(nil, n.Tags)
		if err := m.change(d, r, n.Changes); err != nil {
			return "", err
		}
		if n.Gateway != nil {
			if err := d.attach(r, *n.Gateway); err != nil {
				return "", err
			}
		}
		if err := m.place(d, r); err != nil {
			return "", err
		}
		d.put(r)
		return r.ID, nil
	})
	if err != nil {
		return Endpoint{}, err
	}
	e, _ := m.endpoint(id)
	e.ID, e.Status = id, Status{Code: PendingAssociate}
	if e.DNSName == "" { // deleted since; the client token knows it still
		e.DNSName = dnsName(id, m.Region())
	}
	return e, nil
}

// endpoint finds one.
func (m *Model) endpoint(id string) (Endpoint, bool) {
	for _, e := range m.Endpoints() {
		if e.ID == id {
			return e, true
		}
	}
	return Endpoint{}, false
}

// ModifyEndpoint changes what AWS lets change.
func (m *Model) ModifyEndpoint(ctx context.Context, call Call, id string, c Changes) error {
	_, err := m.mutate(ctx, call, "ModifyClientVpnEndpoint", struct {
		ID string
		C  Changes
	}{id, c}, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		port := r.Settings.Port
		if err := m.change(d, r, c); err != nil {
			return "", err
		}
		if r.Settings.Port != port {
			return "", m.place(d, r)
		}
		return "", nil
	})
	return err
}

// DeleteEndpoint deletes one that has no associations.
func (m *Model) DeleteEndpoint(ctx context.Context, call Call, id string) (Status, error) {
	_, err := m.mutate(ctx, call, "DeleteClientVpnEndpoint", id, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		if live := r.live(); len(live) > 0 {
			ids := make([]string, len(live))
			for i, a := range live {
				ids[i] = a.ID
			}
			return "", errorf(CodeEndpointInUse, "The endpoint that you're trying to delete has associations %s", strings.Join(ids, ", "))
		}
		r.Deleted = d.at
		return "", nil
	})
	return Status{Code: Deleting}, err
}

// change checks changes and makes them.
func (m *Model) change(d *draft, r *record, c Changes) error {
	s := &r.Settings
	if p := c.Posture; p != nil {
		if err := p.check(); err != nil {
			return err
		}
		s.Posture = slices.Clone(p.Providers)
	}
	if c.Description != nil {
		if utf8.RuneCountInString(*c.Description) > maxDescription {
			return badValue("Description is longer than %d characters", maxDescription)
		}
		s.Description = *c.Description
	}
	if c.ServerCertificate != nil {
		if cert, ok := d.declared.certificate(*c.ServerCertificate); !ok || cert.Key == "" {
			return notDeclared(&d.declared, "server certificate", *c.ServerCertificate, "certificates")
		}
		s.ServerCertificate = *c.ServerCertificate
	}
	if l := c.ConnectionLog; l != nil {
		if l.Enabled && l.Group == "" {
			return errorf(CodeBadCombination, "ConnectionLogOptions.CloudwatchLogGroup is needed when the connection log is enabled")
		}
		s.ConnectionLog = *l
		if !l.Enabled {
			s.ConnectionLog = ConnectionLog{}
		}
	}
	if c.DNSServers != nil {
		servers, err := dnsServers(*c.DNSServers)
		if err != nil {
			return err
		}
		s.DNSServers = servers
	}
	if c.Port != nil {
		if *c.Port != 443 && *c.Port != 1194 {
			return badValue("VpnPort %d is not valid: it is 443 or 1194", *c.Port)
		}
		s.Port = *c.Port
	}
	if c.SplitTunnel != nil {
		s.SplitTunnel = *c.SplitTunnel
	}
	if p := c.Portal; p != nil {
		if *p != "enabled" && *p != "disabled" {
			return notOneOf(*p, "SelfServicePortal", []string{"enabled", "disabled"})
		}
		_, withPassword := passwords(s.Authentication)
		if *p == "enabled" && !withPassword {
			return errorf(CodeBadCombination, "The self-service portal is not available with mutual authentication alone")
		}
		s.Portal = *p == "enabled"
	}
	if h := c.Handler; h != nil {
		if err := d.checkFunction(*h); err != nil {
			return err
		}
		s.Handler = *h
	}
	if c.SessionHours != nil {
		if !slices.Contains([]int{8, 10, 12, 24}, *c.SessionHours) {
			return badValue("SessionTimeoutHours %d is not valid: it is 8, 10, 12 or 24", *c.SessionHours)
		}
		s.SessionHours = *c.SessionHours
	}
	if c.DisconnectOnTimeout != nil {
		s.DisconnectOnTimeout = *c.DisconnectOnTimeout
	}
	if b := c.Banner; b != nil {
		switch {
		case b.Enabled && b.Text == "":
			return errorf(CodeBadCombination, "ClientLoginBannerOptions.BannerText is needed when the banner is enabled")
		case !utf8.ValidString(b.Text) || utf8.RuneCountInString(b.Text) > maxBanner:
			return badValue("BannerText must be UTF-8 of at most %d characters", maxBanner)
		case strings.ContainsFunc(b.Text, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }):
			return badValue("BannerText has a control character")
		}
		s.Banner = *b
		if !b.Enabled {
			s.Banner = Banner{}
		}
	}
	if c.RouteEnforcement != nil {
		s.RouteEnforcement = *c.RouteEnforcement
	}
	return d.network(r, c.VPC, c.SecurityGroups)
}

func (d *draft) checkFunction(h ConnectHandler) error {
	switch {
	case !h.Enabled:
		return nil
	case h.Function == "":
		return errorf(CodeBadCombination, "ClientConnectOptions.LambdaFunctionArn is needed when the client connect handler is enabled")
	case !endpoint.IsHandlerARN(h.Function):
		return badValue("'%s' is not the ARN of a Lambda function whose name begins with AWSClientVPN-", h.Function)
	}
	if _, ok := d.declared.function(h.Function); !ok {
		return notDeclared(&d.declared, "Lambda function", h.Function, "handlers")
	}
	return nil
}

// network checks and sets the VPC and the security groups.
func (d *draft) network(r *record, vpc *string, groups *[]string) error {
	s := &r.Settings
	if r.Gateway != nil && (vpc != nil || groups != nil) {
		return errorf(CodeBadCombination, "Client VPN endpoint %s has a transit gateway, and with it neither VpcId nor SecurityGroupId", r.ID)
	}
	if vpc == nil {
		if groups != nil && len(*groups) > 0 {
			return badValue("Security Groups cannot be modified without specifying Vpc Id")
		}
		return nil
	}
	v, ok := d.declared.vpc(*vpc)
	switch {
	case !ok:
		return errorf(CodeVPCNotFound, "The vpc ID '%s' does not exist", *vpc)
	case s.ClientCIDR.Overlaps(v.CIDR):
		return badValue("The client CIDR range %s overlaps the range %s of VPC %s", s.ClientCIDR, v.CIDR, v.ID)
	case s.VPC != "" && s.VPC != *vpc && len(r.live()) > 0:
		return badValue("The VPC of the endpoint cannot change from %s to %s while it has target networks", s.VPC, *vpc)
	}
	ids := []string{d.declared.groups(v)[0].ID}
	if groups != nil && len(*groups) > 0 {
		if err := d.checkGroups(v, *groups); err != nil {
			return err
		}
		ids = slices.Clone(*groups)
	}
	s.VPC, s.SecurityGroups = *vpc, ids
	return nil
}

// checkGroups says whether all are security groups of a network.
func (d *draft) checkGroups(v endpoint.VPC, ids []string) error {
	if len(ids) > maxSecurityGroups {
		return errorf(CodeGroupLimit, "At most %d security groups can be applied", maxSecurityGroups)
	}
	for i, id := range ids {
		if !slices.ContainsFunc(d.declared.groups(v), func(g SecurityGroup) bool { return g.ID == id }) {
			return errorf(CodeGroupNotFound, "The security group '%s' does not exist in VPC '%s'", id, v.ID)
		}
		if slices.Contains(ids[:i], id) {
			return badValue("The security group '%s' is listed twice", id)
		}
	}
	return nil
}

// clientCIDR reads and checks the range of the clients.
func clientCIDR(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || !p.Addr().Is4():
		return p, badValue("Value (%s) for parameter ClientCidrBlock is invalid. It must be an IPv4 range like 10.0.0.0/22", text)
	case p.Bits() < 12 || p.Bits() > 22:
		return p, badValue("Value (%s) for parameter ClientCidrBlock is invalid. The size of the range must be between /12 and /22", text)
	}
	return p.Masked(), nil
}

// dnsServers reads at most two addresses.
func dnsServers(texts []string) ([]netip.Addr, error) {
	if len(texts) > 2 {
		return nil, badValue("At most 2 DNS servers can be specified")
	}
	var out []netip.Addr
	for _, t := range texts {
		a, err := netip.ParseAddr(t)
		if err != nil || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			return nil, badValue("Value (%s) for parameter DnsServers is invalid. It must be an IP address", t)
		}
		out = append(out, a)
	}
	return out, nil
}

func notOneOf(value, parameter string, allowed []string) *Error {
	return badValue("Value (%s) for parameter %s is invalid. Valid values are %s", value, parameter, strings.Join(allowed, ", "))
}

// passwords says which of the methods are there.
func passwords(list []Authentication) (certificate, other bool) {
	for _, a := range list {
		if a.Type == CertificateAuthentication {
			certificate = true
		} else {
			other = true
		}
	}
	return certificate, other
}

// authenticationOptions checks how clients prove who they are: one way, or certificates and another one.
func (d *draft) authenticationOptions(list []Authentication) ([]Authentication, error) {
	if len(list) == 0 {
		return nil, missing("Authentication")
	}
	for i, a := range list {
		var err error
		switch a.Type {
		case CertificateAuthentication:
			if a.RootChain == "" {
				err = missing("Authentication.MutualAuthentication.ClientRootCertificateChainArn")
			} else if _, ok := d.declared.certificate(a.RootChain); !ok {
				err = notDeclared(&d.declared, "certificate", a.RootChain, "certificates")
			}
		case DirectoryAuthentication:
			if a.Directory == "" {
				err = missing("Authentication.ActiveDirectory.DirectoryId")
			} else if _, ok := d.declared.directory(a.Directory); !ok {
				err = notDeclared(&d.declared, "directory", a.Directory, "directories")
			}
		case FederatedAuthentication:
			if a.SAMLProvider == "" {
				err = missing("Authentication.FederatedAuthentication.SAMLProviderArn")
			} else if _, ok := d.declared.samlProvider(a.SAMLProvider); !ok {
				err = notDeclared(&d.declared, "SAML provider", a.SAMLProvider, "saml_providers")
			}
		case "":
			err = missing("Authentication.Type")
		default:
			err = notOneOf(a.Type, "Authentication.Type", []string{CertificateAuthentication, DirectoryAuthentication, FederatedAuthentication})
		}
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list[:i], func(b Authentication) bool { return b.Type == a.Type }) {
			return nil, errorf(CodeBadCombination, "Authentication type %s is specified twice", a.Type)
		}
	}
	if certificate, _ := passwords(list); len(list) > 2 || len(list) == 2 && !certificate {
		return nil, errorf(CodeBadCombination, "Active Directory and federated authentication cannot be combined: use one of them, alone or with certificate-authentication")
	}
	return slices.Clone(list), nil
}

// place finds where an endpoint listens: its port where that is free, else the next free one of the range.
func (m *Model) place(d *draft, r *record) error {
	api := d.declared.Config.API
	taken := func(a netip.AddrPort) bool {
		for id, other := range d.records {
			if id != r.ID && other.Settings.Transport == r.Settings.Transport && slices.Contains(other.Listen, a) {
				return true
			}
		}
		own := d.declared.Endpoint != "" && d.declared.Config.Transport == r.Settings.Transport && slices.Contains(d.declared.Config.Listen, a)
		return own || !slices.Contains(r.Listen, a) && !m.o.Free(a, r.Settings.Transport)
	}
	find := func(four bool) (netip.AddrPort, bool) {
		for _, addr := range api.Addresses {
			if a := netip.AddrPortFrom(addr, uint16(r.Settings.Port)); addr.Is4() == four && !taken(a) {
				return a, true
			}
		}
		for port := int(api.FirstPort); port > 0 && port <= int(api.LastPort); port++ {
			for _, addr := range api.Addresses {
				if a := netip.AddrPortFrom(addr, uint16(port)); addr.Is4() == four && !taken(a) {
					return a, true
				}
			}
		}
		return netip.AddrPort{}, false
	}
	var listen []netip.AddrPort
	for _, four := range []bool{true, false} {
		if four && r.Settings.EndpointIPType == "ipv6" || !four && r.Settings.EndpointIPType == "ipv4" {
			continue
		}
		a, ok := find(four)
		if !ok {
			family := "IPv4"
			if !four {
				family = "IPv6"
			}
			return errorf(CodeNotPermitted, "no address is free for the endpoint: api.endpoints of %s has no %s address with %s port %d free, and no free port in its range",
				d.declared.Config.File, family, r.Settings.Transport, r.Settings.Port)
		}
		listen = append(listen, a)
	}
	r.Listen = listen
	return nil
}
