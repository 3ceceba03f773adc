package model

import (
	"context"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/adit-vpn/adit/endpoint"
)

// known is the snapshot, and whether it has an endpoint that people see.
func (m *Model) known(id string) (*snapshot, *record, error) {
	s := m.now.Load()
	if id != "" && id == s.declared.Endpoint {
		return s, nil, nil
	}
	if r, ok := s.records[id]; ok {
		if _, there := m.show(s, r); there {
			return s, r, nil
		}
	}
	if id == "" {
		return nil, nil, missing("ClientVpnEndpointId")
	}
	return nil, nil, endpointNotFound(id)
}

// Associations are the target networks of an endpoint.
func (m *Model) Associations(id string) ([]Association, error) {
	s, r, err := m.known(id)
	if err != nil {
		return nil, err
	}
	show := func(aid, subnet string, st Status, groups []string) Association {
		v, sub, _ := s.declared.subnet(subnet)
		return Association{ID: aid, Endpoint: id, Subnet: subnet, VPC: v.ID, Zone: m.zone(sub), Status: st, SecurityGroups: slices.Clone(groups)}
	}
	out := []Association{}
	if r == nil {
		e := s.declared.inFile(m)
		for _, subnet := range e.Subnets {
			out = append(out, show(associationPrefix+defaultGroup(id + subnet)[3:], subnet, Status{Code: Associated}, e.SecurityGroups))
		}
		return out, nil
	}
	now, delay := m.o.Now().UTC(), s.delay()
	for _, a := range r.Associations {
		if st, ok := phase(a.Created, a.Deleted, now, delay, Associating, Associated, Disassociating); ok {
			x := show(a.ID, a.Subnet, st, r.Settings.SecurityGroups)
			if r.Gateway != nil {
				x.Subnet, x.VPC = r.Gateway.Gateway, ""
			}
			out = append(out, x)
		}
	}
	return out, nil
}

// Associate makes a subnet a target network of an endpoint; with the first one clients may connect.
func (m *Model) Associate(ctx context.Context, call Call, id, subnet string) (Association, error) {
	aid, err := m.mutate(ctx, call, "AssociateClientVpnTargetNetwork", []string{id, subnet}, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		if r.Gateway != nil {
			return "", errorf(CodeBadCombination, "Client VPN endpoint %s has a transit gateway: name an AvailabilityZone of it", id)
		}
		if subnet == "" {
			return "", missing("SubnetId")
		}
		v, s, ok := d.declared.subnet(subnet)
		live := r.live()
		switch {
		case !ok:
			return "", errorf(CodeSubnetNotFound, "The subnet ID '%s' does not exist", subnet)
		case r.associated(subnet):
			return "", errorf(CodeAssociationTwice, "The subnet '%s' is already associated with Client VPN endpoint %s", subnet, id)
		case r.Settings.VPC != "" && r.Settings.VPC != v.ID:
			return "", errorf(CodeSubnetNotFound, "The subnet '%s' is in VPC %s, and the Client VPN endpoint in %s", subnet, v.ID, r.Settings.VPC)
		case s.CIDR.Addr().Is4() && s.CIDR.Bits() > minSubnetBits:
			return "", badValue("The subnet '%s' (%s) is too small: a target network is a /%d or larger", subnet, s.CIDR, minSubnetBits)
		case r.Settings.ClientCIDR.Overlaps(v.CIDR):
			return "", errorf(CodeSubnetOverlaps, "The range %s of VPC %s overlaps the client CIDR range %s", v.CIDR, v.ID, r.Settings.ClientCIDR)
		case len(live) >= maxAssociations:
			return "", errorf(CodeAssociationLimit, "You have reached the limit of %d associations of Client VPN endpoint %s", maxAssociations, id)
		}
		for _, a := range live {
			if _, other, _ := d.declared.subnet(a.Subnet); m.zone(other) == m.zone(s) {
				return "", errorf(CodeZoneTwice, "The subnet '%s' is in the same Availability Zone (%s) as %s, which is associated already", subnet, m.zone(s), a.Subnet)
			}
		}
		if r.Settings.VPC == "" {
			r.Settings.VPC, r.Settings.SecurityGroups = v.ID, []string{d.declared.groups(v)[0].ID}
		}
		a := association{ID: newID(associationPrefix), Subnet: subnet, Created: d.at}
		r.Associations = append(r.Associations, a)
		return a.ID, nil
	})
	return Association{ID: aid, Endpoint: id, Subnet: subnet, Status: Status{Code: Associating}}, err
}

// Disassociate ends the sessions through a target network, and all of them with the last one. Routes through it go too.
func (m *Model) Disassociate(ctx context.Context, call Call, id, aid string) (Association, error) {
	var subnet string
	_, err := m.mutate(ctx, call, "DisassociateClientVpnTargetNetwork", []string{id, aid}, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		if aid == "" {
			return "", missing("AssociationId")
		}
		i := slices.IndexFunc(r.Associations, func(a association) bool { return a.ID == aid && a.Deleted.IsZero() })
		if i < 0 {
			return "", errorf(CodeAssociationMissing, "The association ID '%s' does not exist", aid)
		}
		r.Associations[i].Deleted, d.less = d.at, true
		subnet = r.Associations[i].Subnet
		r.Routes = slices.DeleteFunc(r.Routes, func(x route) bool { return x.Target == subnet })
		if len(r.live()) == 0 { // from client to client, too, is a way only while there are clients
			r.Routes = nil
		}
		return "", nil
	})
	return Association{ID: aid, Endpoint: id, Subnet: subnet, Status: Status{Code: Disassociating}}, err
}

// ApplySecurityGroups replaces the groups of an endpoint's associations.
func (m *Model) ApplySecurityGroups(ctx context.Context, call Call, id, vpc string, groups []string) ([]string, error) {
	_, err := m.mutate(ctx, call, "ApplySecurityGroupsToClientVpnTargetNetwork", []any{id, vpc, groups}, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		v, ok := d.declared.vpc(vpc)
		switch {
		case vpc == "":
			return "", missing("VpcId")
		case len(groups) == 0:
			return "", missing("SecurityGroupId")
		case !ok:
			return "", errorf(CodeVPCNotFound, "The vpc ID '%s' does not exist", vpc)
		case len(r.live()) == 0:
			return "", errorf(CodeNoAssociation, "Client VPN endpoint %s has no target network", id)
		case r.Settings.VPC != vpc:
			return "", badValue("Client VPN endpoint %s is in VPC %s, not in %s", id, r.Settings.VPC, vpc)
		}
		if err := d.checkGroups(v, groups); err != nil {
			return "", err
		}
		r.Settings.SecurityGroups = slices.Clone(groups)
		return "", nil
	})
	return slices.Clone(groups), err
}

// Rules are the authorization rules of an endpoint.
func (m *Model) Rules(id string) ([]Rule, error) {
	s, r, err := m.known(id)
	if err != nil {
		return nil, err
	}
	out := []Rule{}
	if r == nil {
		for _, x := range s.declared.Config.Rules {
			out = append(out, Rule{Endpoint: id, CIDR: x.CIDR, All: x.All, Group: x.Group, Status: Status{Code: Active}})
		}
		return out, nil
	}
	now, delay := m.o.Now().UTC(), s.delay()
	for _, x := range r.Rules {
		if st, ok := phase(x.Created, x.Deleted, now, delay, Authorizing, Active, Revoking); ok {
			out = append(out, Rule{Endpoint: id, CIDR: x.CIDR, All: x.All, Group: x.Group, Description: x.Description, Status: st, Created: x.Created})
		}
	}
	return out, nil
}

// Ingress is what AuthorizeIngress and RevokeIngress take: a range, and either everyone or one group.
type Ingress struct {
	CIDR        string
	Group       string
	All         bool
	Description string // of AuthorizeIngress
}

func (in Ingress) check(all string) (netip.Prefix, error) {
	cidr, err := anyCIDR(in.CIDR, "TargetNetworkCidr")
	switch {
	case err != nil:
		return cidr, err
	case in.All && in.Group != "":
		return cidr, errorf(CodeBadCombination, "AccessGroupId and %s cannot be specified together", all)
	case !in.All && in.Group == "":
		return cidr, errorf(CodeBadCombination, "Either AccessGroupId or %s must be specified", all)
	case len(in.Group) > maxGroupID || !utf8.ValidString(in.Group):
		return cidr, badValue("AccessGroupId must be UTF-8 of at most %d bytes", maxGroupID)
	}
	return cidr, checkDescription(in.Description)
}

func checkDescription(text string) error {
	if utf8.RuneCountInString(text) > maxDescription {
		return badValue("Description is longer than %d characters", maxDescription)
	}
	return nil
}

// anyCIDR reads a range. Host bits are dropped, as EC2 does.
func anyCIDR(text, parameter string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, missing(parameter)
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return p, badValue("Value (%s) for parameter %s is invalid. This is not a valid CIDR block.", text, parameter)
	}
	return p.Masked(), nil
}

func (in Ingress) is(x rule, cidr netip.Prefix) bool {
	return x.Deleted.IsZero() && x.CIDR == cidr && x.All == in.All && x.Group == in.Group
}

// AuthorizeIngress adds an authorization rule.
func (m *Model) AuthorizeIngress(ctx context.Context, call Call, id string, in Ingress) (Status, error) {
	_, err := m.mutate(ctx, call, "AuthorizeClientVpnIngress", []any{id, in}, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		cidr, err := in.check("AuthorizeAllGroups")
		if err != nil {
			return "", err
		}
		live := 0
		for _, x := range r.Rules {
			if in.is(x, cidr) {
				return "", errorf(CodeRuleTwice, "The authorization rule for %s already exists on Client VPN endpoint %s", cidr, id)
			}
			if x.Deleted.IsZero() {
				live++
			}
		}
		if live >= maxRules {
			return "", errorf(CodeRuleLimit, "You have reached the limit of %d authorization rules of Client VPN endpoint %s", maxRules, id)
		}
		r.Rules = append(r.Rules, rule{CIDR: cidr, All: in.All, Group: in.Group, Description: in.Description, Created: d.at})
		return "", nil
	})
	return Status{Code: Authorizing}, err
}

// RevokeIngress removes an authorization rule.
func (m *Model) RevokeIngress(ctx context.Context, call Call, id string, in Ingress) (Status, error) {
	_, err := m.mutate(ctx, call, "RevokeClientVpnIngress", []any{id, in}, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		cidr, err := in.check("RevokeAllGroups")
		if err != nil {
			return "", err
		}
		i := slices.IndexFunc(r.Rules, func(x rule) bool { return in.is(x, cidr) })
		if i < 0 {
			return "", errorf(CodeRuleNotFound, "The authorization rule for %s does not exist on Client VPN endpoint %s", cidr, id)
		}
		r.Rules[i].Deleted, d.less = d.at, true
		return "", nil
	})
	return Status{Code: Revoking}, err
}

// Routes are the route table of an endpoint: the automatic ones of its associations, and those that people added.
func (m *Model) Routes(id string) ([]Route, error) {
	s, r, err := m.known(id)
	if err != nil {
		return nil, err
	}
	out := []Route{}
	automatic := func(subnet string, six bool, st Status, made time.Time) {
		v, _, ok := s.declared.subnet(subnet)
		for _, p := range vpcRanges(v, six) {
			if ok {
				out = append(out, Route{Endpoint: id, Destination: p, Target: subnet, Origin: OriginAssociate, Description: "Default Route", Status: st, Created: made})
			}
		}
	}
	if r == nil {
		c := &s.declared.Config
		for _, a := range c.Associations {
			automatic(a.Subnet, c.ClientCIDR6.IsValid(), Status{Code: Active}, time.Time{})
		}
		for _, x := range c.Routes {
			out = append(out, Route{Endpoint: id, Destination: x.Destination, Target: x.Target, Origin: OriginAdded, Status: Status{Code: Active}})
		}
		return out, nil
	}
	now, delay := m.o.Now().UTC(), s.delay()
	for _, a := range r.Associations {
		if st, ok := phase(a.Created, a.Deleted, now, delay, Creating, Active, Deleting); ok {
			automatic(a.Subnet, r.Settings.TrafficIPType == dualStack, st, a.Created)
		}
	}
	for _, x := range r.Routes {
		if st, ok := phase(x.Created, x.Deleted, now, delay, Creating, Active, Deleting); ok {
			out = append(out, Route{Endpoint: id, Destination: x.Destination, Target: x.Target, Origin: OriginAdded, Description: x.Description, Status: st, Created: x.Created})
			if r.Gateway != nil && x.Target == "" {
				out[len(out)-1].Attachment = r.Gateway.ID
			}
		}
	}
	return out, nil
}

func vpcRanges(v endpoint.VPC, six bool) []netip.Prefix {
	if v.Transit {
		return nil
	}
	out := []netip.Prefix{v.CIDR}
	if six && v.CIDR6.IsValid() {
		out = append(out, v.CIDR6)
	}
	return out
}

// CreateRoute adds a route through an associated subnet, or from client to client (LocalTarget).
func (m *Model) CreateRoute(ctx context.Context, call Call, id, destination, target, description string) (Status, error) {
	_, err := m.mutate(ctx, call, "CreateClientVpnRoute", []string{id, destination, target, description}, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		dst, err := anyCIDR(destination, "DestinationCidrBlock")
		if err != nil {
			return "", err
		}
		if err := checkDescription(description); err != nil {
			return "", err
		}
		switch {
		case target == "" && r.Gateway == nil:
			return "", missing("TargetVpcSubnetId")
		case target != "" && target != LocalTarget && r.Gateway != nil:
			return "", errorf(CodeBadCombination, "Client VPN endpoint %s has a transit gateway, through which its routes lead: leave TargetVpcSubnetId out", id)
		case len(r.live()) == 0:
			return "", errorf(CodeNoAssociation, "Client VPN endpoint %s has no target network", id)
		case target != LocalTarget && target != "" && !r.associated(target):
			return "", errorf(CodeNoAssociation, "The subnet '%s' is not associated with Client VPN endpoint %s", target, id)
		case target != LocalTarget && dst.Bits() > 0 && dst.Overlaps(r.Settings.ClientCIDR):
			return "", badValue("The route %s overlaps the client CIDR range %s", dst, r.Settings.ClientCIDR)
		case target == LocalTarget && !d.ofClients(r, dst):
			return "", badValue("The route %s is not inside the client CIDR range %s: the target local leads from client to client", dst, r.Settings.ClientCIDR)
		}
		twice := errorf(CodeRouteTwice, "The route to %s through %s already exists on Client VPN endpoint %s", dst, target, id)
		if v, _, ok := d.declared.subnet(target); ok && slices.Contains(vpcRanges(v, true), dst) {
			return "", twice
		}
		live := 0
		for _, x := range r.Routes {
			if !x.Deleted.IsZero() || x.Target != target {
				continue
			}
			if x.Destination == dst {
				return "", twice
			}
			live++
		}
		if live >= maxRoutes {
			return "", errorf(CodeRouteLimit, "You have reached the limit of %d routes through %s", maxRoutes, target)
		}
		r.Routes = append(r.Routes, route{Destination: dst, Target: target, Description: description, Created: d.at})
		return "", nil
	})
	return Status{Code: Creating}, err
}

// ofClients says whether a range is one of an endpoint's clients.
func (d *draft) ofClients(r *record, p netip.Prefix) bool {
	of := r.Settings.ClientCIDR
	if p.Addr().Is6() && r.Settings.TrafficIPType == dualStack {
		of = cidr6(r.ID)
	}
	return p.Bits() >= of.Bits() && of.Contains(p.Addr())
}

// DeleteRoute removes a route that people added. Without a target it must be the only one to its destination.
func (m *Model) DeleteRoute(ctx context.Context, call Call, id, destination, target string) (Status, error) {
	_, err := m.mutate(ctx, call, "DeleteClientVpnRoute", []string{id, destination, target}, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		dst, err := anyCIDR(destination, "DestinationCidrBlock")
		if err != nil {
			return "", err
		}
		var found []int
		for i, x := range r.Routes {
			if x.Deleted.IsZero() && x.Destination == dst && (target == "" || x.Target == target) {
				found = append(found, i)
			}
		}
		switch {
		case len(found) == 1:
			r.Routes[found[0]].Deleted, d.less = d.at, true
			return "", nil
		case len(found) > 1:
			return "", missing("TargetVpcSubnetId")
		}
		for _, a := range r.live() {
			v, _, _ := d.declared.subnet(a.Subnet)
			if (target == "" || target == a.Subnet) && slices.Contains(vpcRanges(v, true), dst) {
				return "", errorf(CodeNotPermitted, "The route to %s came with the association of %s: it goes with it, and cannot be deleted", dst, a.Subnet)
			}
		}
		return "", errorf(CodeRouteNotFound, "The route to %s does not exist on Client VPN endpoint %s", dst, id)
	})
	return Status{Code: Deleting}, err
}
