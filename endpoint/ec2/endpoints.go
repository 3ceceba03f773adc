package ec2

import (
	"slices"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/model"
)

type inLog struct {
	Enabled bool   `query:"Enabled"`
	Group   string `query:"CloudwatchLogGroup"`
	Stream  string `query:"CloudwatchLogStream"`
	Policy  bool   `query:"IncludeAuthorizationPolicyContext"`
}

type inHandler struct {
	Enabled  bool   `query:"Enabled"`
	Function string `query:"LambdaFunctionArn"`
}

type inBanner struct {
	Enabled bool   `query:"Enabled"`
	Text    string `query:"BannerText"`
}

type inPosture struct {
	Enabled   bool `query:"Enabled"`
	Providers []struct {
		Type   string `query:"TrustProviderType"`
		Tenant string `query:"TenantId"`
		KeyURL string `query:"PublicSigningKeyUrl"`
	} `query:"TrustProvider"`
}

type inGateway struct {
	ID      string   `query:"TransitGatewayId"`
	Zones   []string `query:"AvailabilityZone"`
	ZoneIDs []string `query:"AvailabilityZoneId"`
}

// inSettings is what both creating and modifying can say.
type inSettings struct {
	Description       *string    `query:"Description"`
	ServerCertificate *string    `query:"ServerCertificateArn"`
	Log               *inLog     `query:"ConnectionLogOptions"`
	Port              *int       `query:"VpnPort"`
	SplitTunnel       *bool      `query:"SplitTunnel"`
	VPC               *string    `query:"VpcId"`
	SecurityGroups    []string   `query:"SecurityGroupId"`
	Portal            *string    `query:"SelfServicePortal"`
	Handler           *inHandler `query:"ClientConnectOptions"`
	SessionHours      *int       `query:"SessionTimeoutHours"`
	Disconnect        *bool      `query:"DisconnectOnSessionTimeout"`
	Banner            *inBanner  `query:"ClientLoginBannerOptions"`
	Enforcement       *struct {
		Enforced bool `query:"Enforced"`
	} `query:"ClientRouteEnforcementOptions"`
	Posture *inPosture `query:"DevicePostureOptions"`
	Gateway *inGateway `query:"TransitGatewayConfiguration"`
}

func (in *inSettings) changes() model.Changes {
	c := model.Changes{
		Description: in.Description, ServerCertificate: in.ServerCertificate, Port: in.Port, SplitTunnel: in.SplitTunnel, VPC: in.VPC,
		Portal: in.Portal, SessionHours: in.SessionHours, DisconnectOnTimeout: in.Disconnect,
	}
	if in.Posture != nil {
		c.Posture = &model.Posture{Enabled: in.Posture.Enabled}
		for _, t := range in.Posture.Providers {
			c.Posture.Providers = append(c.Posture.Providers, endpoint.TrustProvider(t))
		}
	}
	if in.Log != nil {
		c.ConnectionLog = &model.ConnectionLog{Enabled: in.Log.Enabled, Group: in.Log.Group, Stream: in.Log.Stream, PolicyContext: in.Log.Policy}
	}
	if in.SecurityGroups != nil {
		c.SecurityGroups = &in.SecurityGroups
	}
	if in.Handler != nil {
		c.Handler = &model.ConnectHandler{Enabled: in.Handler.Enabled, Function: in.Handler.Function}
	}
	if in.Banner != nil {
		c.Banner = &model.Banner{Enabled: in.Banner.Enabled, Text: in.Banner.Text}
	}
	if in.Enforcement != nil {
		c.RouteEnforcement = &in.Enforcement.Enforced
	}
	return c
}

type inTags struct {
	Type string  `query:"ResourceType"`
	Tags []inTag `query:"Tag"`
}

type inTag struct {
	Key   string `query:"Key"`
	Value string `query:"Value"`
}

func tagsOf(in []inTag) (tags []model.Tag) {
	for _, t := range in {
		tags = append(tags, model.Tag(t))
	}
	return tags
}

const endpointResource = "client-vpn-endpoint" // as tags name it

type inCreate struct {
	inToken
	inSettings
	ClientCIDR     string   `query:"ClientCidrBlock"`
	DNSServers     []string `query:"DnsServers"`
	Transport      *string  `query:"TransportProtocol"`
	EndpointIPType *string  `query:"EndpointIpAddressType"`
	TrafficIPType  *string  `query:"TrafficIpAddressType"`
	Authentication []struct {
		Type      string `query:"Type"`
		Directory struct {
			ID string `query:"DirectoryId"`
		} `query:"ActiveDirectory"`
		Mutual struct {
			Chain string `query:"ClientRootCertificateChainArn"`
		} `query:"MutualAuthentication"`
		Federated struct {
			Provider    string `query:"SAMLProviderArn"`
			SelfService string `query:"SelfServiceSAMLProviderArn"`
		} `query:"FederatedAuthentication"`
	} `query:"Authentication"`
	Tags []inTags `query:"TagSpecification"`
}

type created struct {
	head
	ID      string `xml:"clientVpnEndpointId"`
	Status  status `xml:"status"`
	DNSName string `xml:"dnsName"`
}

func createEndpoint(c *call, in inCreate) (*created, error) {
	n := model.NewEndpoint{
		ClientCIDR: in.ClientCIDR, Transport: in.Transport, EndpointIPType: in.EndpointIPType, TrafficIPType: in.TrafficIPType,
		Changes: in.changes(),
	}
	if g := in.Gateway; g != nil {
		if len(g.Zones) > 0 && len(g.ZoneIDs) > 0 {
			return nil, &model.Error{Code: model.CodeBadCombination, Message: "AvailabilityZone and AvailabilityZoneId cannot both be specified."}
		}
		n.Gateway = &model.NewGateway{ID: g.ID, Zones: append(g.Zones, g.ZoneIDs...)}
	}
	if in.DNSServers != nil {
		n.DNSServers = &in.DNSServers
	}
	for _, a := range in.Authentication {
		n.Authentication = append(n.Authentication, model.Authentication{
			Type: a.Type, RootChain: a.Mutual.Chain, Directory: a.Directory.ID, SAMLProvider: a.Federated.Provider, SelfServiceSAMLProvider: a.Federated.SelfService,
		})
	}
	for _, t := range in.Tags {
		if t.Type != endpointResource {
			return nil, badValue(quoted(t.Type) + " is not a valid taggable resource type for this operation.")
		}
		n.Tags = append(n.Tags, tagsOf(t.Tags)...)
	}
	e, err := c.m.CreateEndpoint(c.ctx, c.with(in.ClientToken), n)
	return &created{ID: e.ID, Status: statusOf(e.Status), DNSName: e.DNSName}, err
}

type inModify struct {
	inEndpoint
	inSettings
	DNSServers *struct {
		Enabled *bool    `query:"Enabled"`
		Custom  []string `query:"CustomDnsServers"`
	} `query:"DnsServers"`
}

func modifyEndpoint(c *call, in inModify) (*done, error) {
	if in.Gateway != nil {
		return nil, &model.Error{Code: model.CodeUnsupported, Message: "The transit gateway of an endpoint cannot be changed: associate and disassociate its zones."}
	}
	change := in.changes()
	if dns := in.DNSServers; dns != nil {
		servers := dns.Custom
		if dns.Enabled != nil && !*dns.Enabled {
			servers = []string{}
		}
		change.DNSServers = &servers
	}
	return &done{Return: true}, c.m.ModifyEndpoint(c.ctx, c.with(""), in.ID, change)
}

func deleteEndpoint(c *call, in inEndpoint) (*stateOf, error) {
	return answerStatus(c.m.DeleteEndpoint(c.ctx, c.with(""), in.ID))
}

type endpointsAnswer struct {
	head
	Endpoints set[endpointItem] `xml:"clientVpnEndpoint"`
	Next      string            `xml:"nextToken,omitempty"`
}

func describeEndpoints(c *call, in struct {
	paging
	filtering
	IDs []string `query:"ClientVpnEndpointId"`
}) (*endpointsAnswer, error) {
	list, err := wanted(c.m.Endpoints(), in.IDs, endpointID, func(id string) error {
		return &model.Error{Code: model.CodeEndpointNotFound, Message: "The Client VPN endpoint ID '" + id + "' does not exist"}
	})
	if err != nil {
		return nil, err
	}
	list, err = filtered(in.filtering, list, columns[model.Endpoint]{
		"endpoint-id":        one(endpointID),
		"transport-protocol": one(func(e model.Endpoint) string { return e.Transport }),
	}, func(e model.Endpoint) []model.Tag { return e.Tags })
	if err != nil {
		return nil, err
	}
	list, next, err := page(c, in.paging, list, endpointID)
	return &endpointsAnswer{Endpoints: setOf(list, endpointOf), Next: next}, err
}

func endpointID(e model.Endpoint) string { return e.ID }

// wanted is what of list has one of the ids, or all when there are none; an id that nothing has is an error.
func wanted[T any](list []T, ids []string, id func(T) string, missing func(id string) error) ([]T, error) {
	if len(ids) == 0 {
		return list, nil
	}
	for _, want := range ids {
		if !slices.ContainsFunc(list, func(v T) bool { return id(v) == want }) {
			return nil, missing(want)
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return !slices.Contains(ids, id(v)) }), nil
}

type profileAnswer struct {
	head
	Profile string `xml:"clientConfiguration"`
}

func exportConfiguration(c *call, in inEndpoint) (*profileAnswer, error) {
	text, err := c.m.Export(in.ID)
	return &profileAnswer{Profile: text}, err
}

// --- revocation lists

func importCRL(c *call, in struct {
	inEndpoint
	List string `query:"CertificateRevocationList,required"`
}) (*done, error) {
	return &done{Return: true}, c.m.ImportCRL(c.ctx, c.with(""), in.ID, in.List)
}

type crlAnswer struct {
	head
	List   string `xml:"certificateRevocationList"`
	Status status `xml:"status"`
}

func exportCRL(c *call, in inEndpoint) (*crlAnswer, error) {
	list, state, err := c.m.CRL(in.ID)
	return &crlAnswer{List: list, Status: statusOf(state)}, err
}
