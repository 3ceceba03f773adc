package ec2

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/model"
)

// What clients ask beside Client VPN itself: tags, and the networks that the configuration declares.

// --- tags

type inTagging struct {
	Resources []string `query:"ResourceId,required"`
	Tags      []inTag  `query:"Tag"`
}

func createTags(c *call, in inTagging) (*done, error) {
	if len(in.Tags) == 0 {
		return nil, &model.Error{Code: model.CodeMissing, Message: "The request must contain the parameter Tag"}
	}
	return &done{Return: true}, c.m.SetTags(c.ctx, c.with(""), in.Resources, tagsOf(in.Tags))
}

// deleteTags removes the tags of a key whatever their value, if the request says none; an empty one is one.
func deleteTags(c *call, in struct {
	Resources []string `query:"ResourceId,required"`
	Tags      []struct {
		Key   string  `query:"Key"`
		Value *string `query:"Value"`
	} `query:"Tag"`
}) (*done, error) {
	var tags []model.TagMatch
	for _, t := range in.Tags {
		tags = append(tags, model.TagMatch(t))
	}
	return &done{Return: true}, c.m.DeleteTags(c.ctx, c.with(""), in.Resources, tags)
}

type taggedItem struct {
	Resource string `xml:"resourceId"`
	Type     string `xml:"resourceType"`
	tag
}

type tagsAnswer struct {
	head
	Tags set[taggedItem] `xml:"tagSet"`
	Next string          `xml:"nextToken,omitempty"`
}

func describeTags(c *call, in struct {
	paging
	filtering
}) (*tagsAnswer, error) {
	var list []taggedItem
	for _, e := range c.m.Endpoints() {
		for _, t := range e.Tags {
			list = append(list, taggedItem{e.ID, endpointResource, tagOf(t)})
		}
	}
	list, err := filtered(in.filtering, list, columns[taggedItem]{
		"key":           one(func(t taggedItem) string { return t.Key }),
		"value":         one(func(t taggedItem) string { return t.Value }),
		"resource-id":   one(func(t taggedItem) string { return t.Resource }),
		"resource-type": one(func(t taggedItem) string { return t.Type }),
	}, func(t taggedItem) []model.Tag { return []model.Tag{{Key: t.Key, Value: t.Value}} })
	if err != nil {
		return nil, err
	}
	list, next, err := page(c, in.paging, list, func(t taggedItem) string { return t.Resource + " " + t.Key })
	return &tagsAnswer{Tags: set[taggedItem]{list}, Next: next}, err
}

// --- networks

type vpcItem struct {
	ID      string         `xml:"vpcId"`
	Owner   string         `xml:"ownerId"`
	State   string         `xml:"state"`
	CIDR    string         `xml:"cidrBlock"`
	CIDRs   set[vpcRange]  `xml:"cidrBlockAssociationSet"`
	CIDRs6  set[vpcRange6] `xml:"ipv6CidrBlockAssociationSet"`
	DHCP    string         `xml:"dhcpOptionsId"`
	Tenancy string         `xml:"instanceTenancy"`
	Default bool           `xml:"isDefault"`
	Tags    set[tag]       `xml:"tagSet"`
}

type rangeState struct {
	State string `xml:"state"`
}

type vpcRange struct {
	ID    string     `xml:"associationId"`
	CIDR  string     `xml:"cidrBlock"`
	State rangeState `xml:"cidrBlockState"`
}

type vpcRange6 struct {
	ID    string     `xml:"associationId"`
	CIDR  string     `xml:"ipv6CidrBlock"`
	State rangeState `xml:"ipv6CidrBlockState"`
}

type vpcsAnswer struct {
	head
	VPCs set[vpcItem] `xml:"vpcSet"`
	Next string       `xml:"nextToken,omitempty"`
}

func describeVPCs(c *call, in struct {
	paging
	filtering
	IDs []string `query:"VpcId"`
}) (*vpcsAnswer, error) {
	id := func(v model.VPC) string { return v.ID }
	list, err := wanted(c.m.VPCs(), in.IDs, id, func(id string) error {
		return &model.Error{Code: model.CodeVPCNotFound, Message: "The vpc ID '" + id + "' does not exist"}
	})
	if err != nil {
		return nil, err
	}
	cidr := one(func(v model.VPC) string { return v.CIDR.String() })
	list, err = filtered(in.filtering, list, columns[model.VPC]{
		"vpc-id": one(id), "cidr": cidr, "cidr-block-association.cidr-block": cidr, "owner-id": constant[model.VPC](c.o.Account),
		"state": constant[model.VPC]("available"), "is-default": constant[model.VPC]("false"), "isDefault": constant[model.VPC]("false"),
	}, func(model.VPC) []model.Tag { return nil })
	if err != nil {
		return nil, err
	}
	list, next, err := page(c, in.paging, list, id)
	return &vpcsAnswer{Next: next, VPCs: setOf(list, func(v model.VPC) vpcItem {
		item := vpcItem{ID: v.ID, Owner: c.o.Account, State: "available", CIDR: v.CIDR.String(), DHCP: "default", Tenancy: "default"}
		item.CIDRs.Items = []vpcRange{{"vpc-cidr-assoc-" + v.ID, v.CIDR.String(), rangeState{"associated"}}}
		if v.CIDRv6.IsValid() {
			item.CIDRs6.Items = []vpcRange6{{"vpc-cidr-assoc-v6-" + v.ID, v.CIDRv6.String(), rangeState{"associated"}}}
		}
		return item
	})}, err
}

type subnetItem struct {
	ID      string         `xml:"subnetId"`
	ARN     string         `xml:"subnetArn"`
	State   string         `xml:"state"`
	Owner   string         `xml:"ownerId"`
	VPC     string         `xml:"vpcId"`
	CIDR    string         `xml:"cidrBlock"`
	CIDRs6  set[vpcRange6] `xml:"ipv6CidrBlockAssociationSet"`
	Free    int            `xml:"availableIpAddressCount"`
	Zone    string         `xml:"availabilityZone"`
	ZoneID  string         `xml:"availabilityZoneId"`
	Default bool           `xml:"defaultForAz"`
	Public  bool           `xml:"mapPublicIpOnLaunch"`
	Tags    set[tag]       `xml:"tagSet"`
}

type subnetsAnswer struct {
	head
	Subnets set[subnetItem] `xml:"subnetSet"`
	Next    string          `xml:"nextToken,omitempty"`
}

func describeSubnets(c *call, in struct {
	paging
	filtering
	IDs []string `query:"SubnetId"`
}) (*subnetsAnswer, error) {
	id := func(s model.Subnet) string { return s.ID }
	list, err := wanted(c.m.Subnets(), in.IDs, id, func(id string) error {
		return &model.Error{Code: "InvalidSubnetID.NotFound", Message: "The subnet ID '" + id + "' does not exist"}
	})
	if err != nil {
		return nil, err
	}
	cidr := one(func(s model.Subnet) string { return s.CIDR.String() })
	zone := one(func(s model.Subnet) string { return s.Zone })
	list, err = filtered(in.filtering, list, columns[model.Subnet]{
		"subnet-id": one(id), "vpc-id": one(func(s model.Subnet) string { return s.VPC }),
		"cidr-block": cidr, "cidrBlock": cidr, "cidr": cidr,
		"availability-zone": zone, "availabilityZone": zone, "availability-zone-id": zone, "availabilityZoneId": zone,
		"state": constant[model.Subnet]("available"), "owner-id": constant[model.Subnet](c.o.Account),
		"default-for-az": constant[model.Subnet]("false"), "map-public-ip-on-launch": constant[model.Subnet]("false"),
	}, func(model.Subnet) []model.Tag { return nil })
	if err != nil {
		return nil, err
	}
	list, next, err := page(c, in.paging, list, id)
	return &subnetsAnswer{Next: next, Subnets: setOf(list, func(s model.Subnet) subnetItem {
		return subnetItem{
			ID: s.ID, ARN: "arn:aws:ec2:" + c.o.Region + ":" + c.o.Account + ":subnet/" + s.ID, State: "available", Owner: c.o.Account, VPC: s.VPC,
			CIDR: s.CIDR.String(), Free: freeAddresses(s.CIDR), Zone: s.Zone, ZoneID: s.Zone,
		}
	})}, err
}

// freeAddresses are those of an empty subnet: AWS keeps five for itself.
func freeAddresses(p netip.Prefix) int {
	if !p.Addr().Is4() {
		return 0
	}
	return max(1<<(32-p.Bits())-5, 0)
}

type groupItem struct {
	ID          string          `xml:"groupId"`
	Name        string          `xml:"groupName"`
	Description string          `xml:"groupDescription"`
	Owner       string          `xml:"ownerId"`
	VPC         string          `xml:"vpcId"`
	In          set[permission] `xml:"ipPermissions"`
	Out         set[permission] `xml:"ipPermissionsEgress"`
	Tags        set[tag]        `xml:"tagSet"`
}

// permission is a rule of a security group. AWS puts those of equal protocol and ports together; here each is one.
type permission struct {
	Protocol string          `xml:"ipProtocol"`
	From     *int            `xml:"fromPort"`
	To       *int            `xml:"toPort"`
	Ranges   set[rangeItem]  `xml:"ipRanges"`
	Ranges6  set[rangeItem6] `xml:"ipv6Ranges"`
	Groups   set[groupPair]  `xml:"groups"`
	Lists    set[string]     `xml:"prefixListIds"`
}

type rangeItem struct {
	CIDR        string `xml:"cidrIp"`
	Description string `xml:"description,omitempty"`
}

type rangeItem6 struct {
	CIDR        string `xml:"cidrIpv6"`
	Description string `xml:"description,omitempty"`
}

type groupPair struct {
	Group       string `xml:"groupId"`
	Owner       string `xml:"userId"`
	Description string `xml:"description,omitempty"`
}

func (s *Server) permissionOf(r endpoint.SecurityRule) permission {
	p := permission{Protocol: r.Protocol}
	first, last := int(r.First), int(r.Last)
	switch r.Protocol {
	case "all":
		p.Protocol = "-1"
	case "tcp", "udp":
		p.From, p.To = &first, &last
	default: // all types and codes of ICMP
		first, last = -1, -1
		p.From, p.To = &first, &last
	}
	switch {
	case r.Group != "":
		p.Groups.Items = []groupPair{{r.Group, s.o.Account, r.Description}}
	case r.CIDR.Addr().Is4():
		p.Ranges.Items = []rangeItem{{r.CIDR.String(), r.Description}}
	default:
		p.Ranges6.Items = []rangeItem6{{r.CIDR.String(), r.Description}}
	}
	return p
}

type securityGroupsAnswer struct {
	head
	Groups set[groupItem] `xml:"securityGroupInfo"`
	Next   string         `xml:"nextToken,omitempty"`
}

func describeSecurityGroups(c *call, in struct {
	paging
	filtering
	IDs   []string `query:"GroupId"`
	Names []string `query:"GroupName"`
}) (*securityGroupsAnswer, error) {
	missing := func(id string) error {
		return &model.Error{Code: model.CodeGroupNotFound, Message: "The security group '" + id + "' does not exist"}
	}
	id, name := func(g model.SecurityGroup) string { return g.ID }, func(g model.SecurityGroup) string { return g.Name }
	list, err := wanted(c.m.SecurityGroups(), in.IDs, id, missing)
	if err == nil {
		list, err = wanted(list, in.Names, name, missing)
	}
	if err != nil {
		return nil, err
	}
	list, err = filtered(in.filtering, list, columns[model.SecurityGroup]{
		"group-id": one(id), "group-name": one(name), "vpc-id": one(func(g model.SecurityGroup) string { return g.VPC }),
		"description": one(func(g model.SecurityGroup) string { return g.Description }), "owner-id": constant[model.SecurityGroup](c.o.Account),
	}, func(model.SecurityGroup) []model.Tag { return nil })
	if err != nil {
		return nil, err
	}
	list, next, err := page(c, in.paging, list, func(g model.SecurityGroup) string { return g.VPC + " " + g.ID })
	return &securityGroupsAnswer{Next: next, Groups: setOf(list, func(g model.SecurityGroup) groupItem {
		return groupItem{
			ID: g.ID, Name: g.Name, Description: g.Description, Owner: c.o.Account, VPC: g.VPC,
			In: setOf(g.Ingress, c.permissionOf), Out: setOf(g.Egress, c.permissionOf),
		}
	})}, err
}

type zoneItem struct {
	Name   string `xml:"zoneName"`
	ID     string `xml:"zoneId"`
	State  string `xml:"zoneState"`
	Region string `xml:"regionName"`
	Type   string `xml:"zoneType"`
	OptIn  string `xml:"optInStatus"`
	Group  string `xml:"groupName"`
	Border string `xml:"networkBorderGroup"`
}

type zonesAnswer struct {
	head
	Zones set[zoneItem] `xml:"availabilityZoneInfo"`
}

func describeZones(c *call, in struct {
	filtering
	Names []string `query:"ZoneName"`
	IDs   []string `query:"ZoneId"`
	All   bool     `query:"AllAvailabilityZones"`
}) (*zonesAnswer, error) {
	var list []zoneItem
	for _, s := range c.m.Subnets() {
		list = append(list, zoneItem{s.Zone, s.Zone, "available", c.o.Region, "availability-zone", "opt-in-not-required", c.o.Region, c.o.Region})
	}
	name := func(z zoneItem) string { return z.Name }
	slices.SortFunc(list, func(a, b zoneItem) int { return cmp.Compare(a.Name, b.Name) })
	list, err := wanted(slices.Compact(list), append(in.Names, in.IDs...), name, func(id string) error {
		return badValue("Invalid availability zone: [" + id + "]")
	})
	if err != nil {
		return nil, err
	}
	list, err = filtered(in.filtering, list, columns[zoneItem]{
		"zone-name": one(name), "zone-id": one(name), "region-name": constant[zoneItem](c.o.Region), "group-name": constant[zoneItem](c.o.Region),
		"state": constant[zoneItem]("available"), "zone-state": constant[zoneItem]("available"), "zone-type": constant[zoneItem]("availability-zone"),
		"opt-in-status": constant[zoneItem]("opt-in-not-required"),
	}, nil)
	return &zonesAnswer{Zones: set[zoneItem]{list}}, err
}

// --- the account

type attributeItem struct {
	Name   string              `xml:"attributeName"`
	Values set[attributeValue] `xml:"attributeValueSet"`
}

type attributeValue struct {
	Value string `xml:"attributeValue"`
}

type accountAnswer struct {
	head
	Attributes set[attributeItem] `xml:"accountAttributeSet"`
}

// describeAccount answers what clients once asked to learn whether an account has networks at all.
func describeAccount(_ *call, in struct {
	Names []string `query:"AttributeName"`
}) (*accountAnswer, error) {
	attribute := func(name, value string) attributeItem {
		return attributeItem{name, set[attributeValue]{[]attributeValue{{value}}}}
	}
	list, err := wanted([]attributeItem{attribute("default-vpc", "none"), attribute("supported-platforms", "VPC")}, in.Names,
		func(a attributeItem) string { return a.Name },
		func(name string) error { return badValue(quoted(name) + " is not an attribute that is known here") })
	return &accountAnswer{Attributes: set[attributeItem]{list}}, err
}
