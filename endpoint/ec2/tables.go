package ec2

import (
	"cmp"
	"time"

	"github.com/adit-vpn/adit/endpoint/model"
)

// The tables of an endpoint: target networks, authorization rules and routes.

// --- target networks

type associationAnswer struct {
	head
	ID     string `xml:"associationId"`
	Status status `xml:"status"`
}

func answerAssociation(a model.Association, err error) (*associationAnswer, error) {
	return &associationAnswer{ID: a.ID, Status: statusOf(a.Status)}, err
}

func associate(c *call, in struct {
	inEndpoint
	inToken
	Subnet string `query:"SubnetId"`
	Zone   string `query:"AvailabilityZone"`
	ZoneID string `query:"AvailabilityZoneId"`
}) (*associationAnswer, error) {
	if zone := cmp.Or(in.Zone, in.ZoneID); in.Subnet == "" && zone != "" { // a zone's id is its name
		return answerAssociation(c.m.AssociateZone(c.ctx, c.with(in.ClientToken), in.ID, zone))
	}
	return answerAssociation(c.m.Associate(c.ctx, c.with(in.ClientToken), in.ID, in.Subnet))
}

func disassociate(c *call, in struct {
	inEndpoint
	Association string `query:"AssociationId,required"`
}) (*associationAnswer, error) {
	return answerAssociation(c.m.Disassociate(c.ctx, c.with(""), in.ID, in.Association))
}

type associationsAnswer struct {
	head
	Networks set[associationItem] `xml:"clientVpnTargetNetworks"`
	Next     string               `xml:"nextToken,omitempty"`
}

func describeAssociations(c *call, in struct {
	inEndpoint
	paging
	filtering
	IDs []string `query:"AssociationIds"`
}) (*associationsAnswer, error) {
	list, err := c.m.Associations(in.ID)
	if err != nil {
		return nil, err
	}
	id := func(a model.Association) string { return a.ID }
	list, err = wanted(list, in.IDs, id, func(id string) error {
		return &model.Error{Code: model.CodeAssociationMissing, Message: "The association ID '" + id + "' does not exist"}
	})
	if err != nil {
		return nil, err
	}
	list, err = filtered(in.filtering, list, columns[model.Association]{
		"association-id":    one(id),
		"target-network-id": one(func(a model.Association) string { return a.Subnet }),
		"vpc-id":            one(func(a model.Association) string { return a.VPC }),
	}, nil)
	if err != nil {
		return nil, err
	}
	list, next, err := page(c, in.paging, list, id)
	return &associationsAnswer{Networks: setOf(list, associationOf), Next: next}, err
}

type groupsAnswer struct {
	head
	Groups set[string] `xml:"securityGroupIds"`
}

func applySecurityGroups(c *call, in struct {
	inEndpoint
	VPC    string   `query:"VpcId,required"`
	Groups []string `query:"SecurityGroupId,required"`
}) (*groupsAnswer, error) {
	groups, err := c.m.ApplySecurityGroups(c.ctx, c.with(""), in.ID, in.VPC, in.Groups)
	return &groupsAnswer{Groups: setOf(groups, same)}, err
}

// --- transit gateways

type inAttachment struct {
	ID string `query:"TransitGatewayAttachmentId,required"`
}

type attachmentAnswer struct {
	head
	Attachment attachmentItem `xml:"transitGatewayClientVpnAttachment"`
}

func (c *call) attachment(a model.Attachment, err error) (*attachmentAnswer, error) {
	return &attachmentAnswer{Attachment: attachmentItem{a.ID, a.Gateway, a.Endpoint, c.o.Account, a.State, a.Created.UTC().Format("2006-01-02T15:04:05")}}, err
}

func acceptAttachment(c *call, in inAttachment) (*attachmentAnswer, error) {
	return c.attachment(c.m.AcceptAttachment(c.ctx, c.with(""), in.ID))
}

func rejectAttachment(c *call, in inAttachment) (*attachmentAnswer, error) {
	return c.attachment(c.m.RejectAttachment(c.ctx, c.with(""), in.ID))
}

func deleteAttachment(c *call, in inAttachment) (*attachmentAnswer, error) {
	return c.attachment(c.m.DeleteAttachment(c.ctx, c.with(""), in.ID))
}

// --- authorization rules

func authorizeIngress(c *call, in struct {
	inEndpoint
	inToken
	CIDR        string `query:"TargetNetworkCidr,required"`
	Group       string `query:"AccessGroupId"`
	All         bool   `query:"AuthorizeAllGroups"`
	Description string `query:"Description"`
}) (*stateOf, error) {
	return answerStatus(c.m.AuthorizeIngress(c.ctx, c.with(in.ClientToken), in.ID, model.Ingress{CIDR: in.CIDR, Group: in.Group, All: in.All, Description: in.Description}))
}

func revokeIngress(c *call, in struct {
	inEndpoint
	CIDR  string `query:"TargetNetworkCidr,required"`
	Group string `query:"AccessGroupId"`
	All   bool   `query:"RevokeAllGroups"`
}) (*stateOf, error) {
	return answerStatus(c.m.RevokeIngress(c.ctx, c.with(""), in.ID, model.Ingress{CIDR: in.CIDR, Group: in.Group, All: in.All}))
}

type rulesAnswer struct {
	head
	Rules set[ruleItem] `xml:"authorizationRule"`
	Next  string        `xml:"nextToken,omitempty"`
}

// inList asks for the list of something of one endpoint.
type inList struct {
	inEndpoint
	paging
	filtering
}

func describeRules(c *call, in inList) (*rulesAnswer, error) {
	list, err := c.m.Rules(in.ID)
	if err != nil {
		return nil, err
	}
	cidr := func(r model.Rule) string { return r.CIDR.String() }
	list, err = filtered(in.filtering, list, columns[model.Rule]{
		"description":      one(func(r model.Rule) string { return r.Description }),
		"destination-cidr": one(cidr),
		"group-id":         one(func(r model.Rule) string { return r.Group }),
	}, nil)
	if err != nil {
		return nil, err
	}
	list, next, err := page(c, in.paging, list, func(r model.Rule) string { return cidr(r) + " " + r.Group + made(r.Created) })
	return &rulesAnswer{Rules: setOf(list, ruleOf), Next: next}, err
}

// made tells apart what goes and what has been made again meanwhile, in the order of their times.
func made(t time.Time) string { return t.UTC().Format(" 2006-01-02T15:04:05.000000000") }

// --- routes

func createRoute(c *call, in struct {
	inEndpoint
	inToken
	Destination string `query:"DestinationCidrBlock,required"`
	Target      string `query:"TargetVpcSubnetId"`
	Description string `query:"Description"`
}) (*stateOf, error) {
	return answerStatus(c.m.CreateRoute(c.ctx, c.with(in.ClientToken), in.ID, in.Destination, in.Target, in.Description))
}

func deleteRoute(c *call, in struct {
	inEndpoint
	Destination string `query:"DestinationCidrBlock,required"`
	Target      string `query:"TargetVpcSubnetId"`
}) (*stateOf, error) {
	return answerStatus(c.m.DeleteRoute(c.ctx, c.with(""), in.ID, in.Destination, in.Target))
}

type routesAnswer struct {
	head
	Routes set[routeItem] `xml:"routes"`
	Next   string         `xml:"nextToken,omitempty"`
}

func describeRoutes(c *call, in inList) (*routesAnswer, error) {
	list, err := c.m.Routes(in.ID)
	if err != nil {
		return nil, err
	}
	destination := func(r model.Route) string { return r.Destination.String() }
	list, err = filtered(in.filtering, list, columns[model.Route]{
		"destination-cidr": one(destination),
		"origin":           one(func(r model.Route) string { return r.Origin }),
		"target-subnet":    one(func(r model.Route) string { return r.Target }),
	}, nil)
	if err != nil {
		return nil, err
	}
	list, next, err := page(c, in.paging, list, func(r model.Route) string { return destination(r) + " " + r.Target + made(r.Created) })
	return &routesAnswer{Routes: setOf(list, routeOf), Next: next}, err
}
