package model

import (
	"context"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/endpoint"
)

// Attachments to transit gateways. An endpoint has one, from its making on, in place of target networks in a VPC: its zones are its
// associations, clients' addresses are not translated, and all of its routes lead through it.

const (
	attachmentPrefix = "tgw-attach-"
	defaultZones     = 2 // that AWS chooses
)

// attach makes the attachment of a new endpoint.
func (d *draft) attach(r *record, n NewGateway) error {
	s := &r.Settings
	g, ok := d.declared.gateway(n.ID)
	switch {
	case n.ID == "":
		return missing("TransitGatewayConfiguration.TransitGatewayId")
	case !ok:
		return errorf(CodeGatewayNotFound, "The transit gateway ID '%s' does not exist", n.ID)
	case s.VPC != "":
		return errorf(CodeBadCombination, "TransitGatewayConfiguration cannot be combined with VpcId and SecurityGroupId")
	case s.ClientCIDR.Overlaps(g.CIDR):
		return badValue("The client CIDR range %s overlaps the range %s of transit gateway %s", s.ClientCIDR, g.CIDR, g.ID)
	}
	zones := n.Zones
	if len(zones) == 0 {
		for _, z := range g.Subnets[:min(defaultZones, len(g.Subnets))] {
			zones = append(zones, z.Zone)
		}
	}
	r.Gateway = &attachment{ID: newID(attachmentPrefix), Gateway: g.ID, Created: d.at}
	if g.Owner == "" || g.Owner == d.declared.Config.API.Account {
		r.Gateway.Accepted = d.at
	}
	for _, zone := range zones {
		if _, err := d.associateZone(r, zone); err != nil {
			return err
		}
	}
	return nil
}

// associateZone makes a zone of an endpoint's transit gateway carry clients.
func (d *draft) associateZone(r *record, zone string) (association, error) {
	g, _ := d.declared.gateway(r.Gateway.Gateway)
	i := slices.IndexFunc(g.Subnets, func(s endpoint.Subnet) bool { return s.Zone == zone })
	switch {
	case !r.Gateway.Deleted.IsZero() || !r.Gateway.Rejected.IsZero():
		return association{}, errorf(CodeIncorrectState, "The attachment %s of Client VPN endpoint %s was rejected or deleted", r.Gateway.ID, r.ID)
	case i < 0:
		return association{}, badValue("The Availability Zone '%s' is not supported by transit gateway %s", zone, r.Gateway.Gateway)
	case r.associated(g.Subnets[i].ID):
		return association{}, errorf(CodeZoneTwice, "The Availability Zone '%s' is already associated with Client VPN endpoint %s", zone, r.ID)
	}
	a := association{ID: newID(associationPrefix), Subnet: g.Subnets[i].ID, Created: d.at}
	r.Associations = append(r.Associations, a)
	return a, nil
}

// AssociateZone adds a zone to an endpoint with a transit gateway.
func (m *Model) AssociateZone(ctx context.Context, call Call, id, zone string) (Association, error) {
	aid, err := m.mutate(ctx, call, "AssociateClientVpnTargetNetwork", []string{id, "zone", zone}, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		if r.Gateway == nil {
			return "", errorf(CodeBadCombination, "Client VPN endpoint %s has no transit gateway: name a SubnetId", id)
		}
		a, err := d.associateZone(r, zone)
		return a.ID, err
	})
	return Association{ID: aid, Endpoint: id, Zone: zone, Status: Status{Code: Associating}}, err
}

// attachment shows an endpoint's; ok is false when it is gone.
func (m *Model) attachment(s *snapshot, r *record) (Attachment, bool) {
	a := r.Gateway
	state, ok := a.state(m.o.Now().UTC(), s.delay())
	out := Attachment{ID: a.ID, Gateway: a.Gateway, Endpoint: r.ID, State: state, Created: a.Created}
	for _, x := range r.live() {
		out.Zones = append(out.Zones, strings.TrimPrefix(x.Subnet, a.Gateway+"."))
	}
	return out, ok
}

// AcceptAttachment has clients' packets go through a transit gateway of another account, as its owner would.
func (m *Model) AcceptAttachment(ctx context.Context, call Call, id string) (Attachment, error) {
	return m.changeAttachment(ctx, call, "AcceptTransitGatewayClientVpnAttachment", id, func(d *draft, r *record, a *attachment) error {
		if !a.Accepted.IsZero() || !a.Rejected.IsZero() {
			return errorf(CodeIncorrectState, "The transit gateway attachment %s does not wait to be accepted", id)
		}
		a.Accepted = d.at
		return nil
	})
}

// RejectAttachment refuses one that waits to be accepted.
func (m *Model) RejectAttachment(ctx context.Context, call Call, id string) (Attachment, error) {
	return m.changeAttachment(ctx, call, "RejectTransitGatewayClientVpnAttachment", id, func(d *draft, r *record, a *attachment) error {
		if !a.Accepted.IsZero() || !a.Rejected.IsZero() {
			return errorf(CodeIncorrectState, "The transit gateway attachment %s does not wait to be accepted", id)
		}
		a.Rejected, d.less = d.at, true
		return nil
	})
}

// DeleteAttachment ends all sessions. The endpoint stays, and nobody can connect to it any more.
func (m *Model) DeleteAttachment(ctx context.Context, call Call, id string) (Attachment, error) {
	return m.changeAttachment(ctx, call, "DeleteTransitGatewayClientVpnAttachment", id, func(d *draft, r *record, a *attachment) error {
		a.Deleted, d.less = d.at, true
		for i := range r.Associations {
			if r.Associations[i].Deleted.IsZero() {
				r.Associations[i].Deleted = d.at
			}
		}
		r.Routes = nil
		return nil
	})
}

// changeAttachment changes one that is there.
func (m *Model) changeAttachment(ctx context.Context, call Call, action, id string, do func(d *draft, r *record, a *attachment) error) (Attachment, error) {
	of, err := m.mutate(ctx, call, action, id, func(d *draft) (string, error) {
		for _, r := range d.sorted() {
			if r.Gateway == nil || r.Gateway.ID != id || !r.Gateway.Deleted.IsZero() || !r.Deleted.IsZero() {
				continue
			}
			r, err := d.edit(r.ID)
			if err != nil {
				return "", err
			}
			next := *r.Gateway
			r.Gateway = &next
			return r.ID, do(d, r, &next)
		}
		return "", errorf(CodeAttachmentNotFound, "Transit Gateway Attachment '%s' was deleted or does not exist.", id)
	})
	if err != nil {
		return Attachment{}, err
	}
	s := m.now.Load()
	out, _ := m.attachment(s, s.records[of])
	return out, nil
}

// gateway finds a declared transit gateway.
func (d *Declared) gateway(id string) (endpoint.TransitGateway, bool) {
	if d.Config.API != nil {
		for _, g := range d.Config.API.TransitGateways {
			if g.ID == id {
				return g, true
			}
		}
	}
	return endpoint.TransitGateway{}, false
}

// zoneOf finds a zone of a transit gateway by the name of its subnet. In kernel mode its network sees the clients' own addresses, as on AWS; in
// userspace mode there are only sockets.
func (d *Declared) zoneOf(id string) (endpoint.VPC, endpoint.Subnet, bool) {
	name, _, _ := strings.Cut(id, ".")
	g, ok := d.gateway(name)
	if !ok {
		return endpoint.VPC{}, endpoint.Subnet{}, false
	}
	v := g.VPC
	v.Subnets = slices.Clone(v.Subnets)
	if d.Config.Network == "kernel" {
		for i := range v.Subnets {
			v.Subnets[i].Plain4, v.Subnets[i].Plain6 = true, true
		}
	}
	for _, s := range v.Subnets {
		if s.ID == id {
			return v, s, true
		}
	}
	return endpoint.VPC{}, endpoint.Subnet{}, false
}
