package ec2

import (
	"net/netip"
	"time"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/model"
)

// Elements of the answers, by the names of the service's own definition. Lists are there also when they are empty.

// response is an answer of EC2.
type response interface{ identify(id string) }

type head struct {
	RequestID string `xml:"requestId"`
}

func (h *head) identify(id string) { h.RequestID = id }

// set is a list: an element with an <item> for each.
type set[T any] struct {
	Items []T `xml:"item"`
}

func setOf[T, U any](in []T, f func(T) U) set[U] {
	out := make([]U, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return set[U]{out}
}

func same[T any](v T) T { return v }

type status struct {
	Code    string `xml:"code"`
	Message string `xml:"message,omitempty"`
}

func statusOf(s model.Status) status { return status(s) }

type tag struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

func tagOf(t model.Tag) tag { return tag(t) }

type endpointItem struct {
	ID                string              `xml:"clientVpnEndpointId"`
	Description       string              `xml:"description"`
	Status            status              `xml:"status"`
	Created           string              `xml:"creationTime"`
	Deleted           string              `xml:"deletionTime,omitempty"`
	DNSName           string              `xml:"dnsName"`
	ClientCIDR        string              `xml:"clientCidrBlock,omitempty"`
	DNSServers        set[string]         `xml:"dnsServer"`
	SplitTunnel       bool                `xml:"splitTunnel"`
	Protocol          string              `xml:"vpnProtocol"`
	Transport         string              `xml:"transportProtocol"`
	Port              int                 `xml:"vpnPort"`
	Networks          set[targetOf]       `xml:"associatedTargetNetwork"`
	ServerCertificate string              `xml:"serverCertificateArn"`
	Authentication    set[authentication] `xml:"authenticationOptions"`
	Log               connectionLog       `xml:"connectionLogOptions"`
	Tags              set[tag]            `xml:"tagSet"`
	SecurityGroups    set[string]         `xml:"securityGroupIdSet"`
	VPC               string              `xml:"vpcId,omitempty"`
	Portal            string              `xml:"selfServicePortalUrl,omitempty"`
	Handler           connectOptions      `xml:"clientConnectOptions"`
	SessionHours      int                 `xml:"sessionTimeoutHours"`
	Banner            bannerOptions       `xml:"clientLoginBannerOptions"`
	Enforcement       enforcement         `xml:"clientRouteEnforcementOptions"`
	Disconnect        bool                `xml:"disconnectOnSessionTimeout"`
	EndpointIPType    string              `xml:"endpointIpAddressType"`
	TrafficIPType     string              `xml:"trafficIpAddressType"`
	Posture           postureOptions      `xml:"devicePostureOptions"`
	Gateway           *gatewayOptions     `xml:"transitGatewayConfiguration"`
}

type targetOf struct {
	ID   string `xml:"networkId"`
	Type string `xml:"networkType"`
}

type authentication struct {
	Type      string          `xml:"type"`
	Directory *directoryAuth  `xml:"activeDirectory"`
	Mutual    *mutualAuth     `xml:"mutualAuthentication"`
	Federated *federatedItems `xml:"federatedAuthentication"`
}

type directoryAuth struct {
	ID string `xml:"directoryId"`
}

type mutualAuth struct {
	Chain string `xml:"clientRootCertificateChain"`
}

type federatedItems struct {
	Provider    string `xml:"samlProviderArn"`
	SelfService string `xml:"selfServiceSamlProviderArn,omitempty"`
}

// connectionLog has capital letters, unlike all others.
type connectionLog struct {
	Enabled bool   `xml:"Enabled"`
	Group   string `xml:"CloudwatchLogGroup,omitempty"`
	Stream  string `xml:"CloudwatchLogStream,omitempty"`
	Policy  bool   `xml:"IncludeAuthorizationPolicyContext"`
}

type connectOptions struct {
	Enabled  bool    `xml:"enabled"`
	Function string  `xml:"lambdaFunctionArn,omitempty"`
	Status   *status `xml:"status"`
}

type bannerOptions struct {
	Enabled bool   `xml:"enabled"`
	Text    string `xml:"bannerText,omitempty"`
}

type gatewayOptions struct {
	ID         string      `xml:"transitGatewayId"`
	Attachment string      `xml:"transitGatewayAttachmentId"`
	Zones      set[string] `xml:"availabilityZoneSet"`
	ZoneIDs    set[string] `xml:"availabilityZoneIdSet"`
}

type attachmentItem struct {
	ID       string `xml:"transitGatewayAttachmentId"`
	Gateway  string `xml:"transitGatewayId"`
	Endpoint string `xml:"clientVpnEndpointId"`
	Owner    string `xml:"clientVpnOwnerId"`
	State    string `xml:"state"`
	Created  string `xml:"creationTime"`
}

type postureOptions struct {
	Providers set[trustProvider] `xml:"trustProviderSet"`
}

type trustProvider struct {
	Type   string `xml:"trustProviderType"`
	Tenant string `xml:"tenantId"`
	KeyURL string `xml:"publicSigningKeyUrl,omitempty"`
}

func trustProviderOf(t endpoint.TrustProvider) trustProvider { return trustProvider(t) }

type enforcement struct {
	Enforced bool `xml:"enforced"`
}

func endpointOf(e model.Endpoint) endpointItem {
	item := endpointItem{
		ID: e.ID, Description: e.Description, Status: statusOf(e.Status), Created: e.Created.UTC().Format("2006-01-02T15:04:05"), DNSName: e.DNSName,
		DNSServers: setOf(e.DNSServers, netip.Addr.String), SplitTunnel: e.SplitTunnel, Protocol: "openvpn", Transport: e.Transport, Port: e.Port,
		Networks:          setOf(e.Subnets, func(id string) targetOf { return targetOf{id, "vpc"} }),
		ServerCertificate: e.ServerCertificate, Authentication: setOf(e.Authentication, authenticationOf),
		Log: connectionLog{e.ConnectionLog.Enabled, e.ConnectionLog.Group, e.ConnectionLog.Stream, e.ConnectionLog.PolicyContext}, Tags: setOf(e.Tags, tagOf), SecurityGroups: setOf(e.SecurityGroups, same), VPC: e.VPC, Portal: e.PortalURL,
		Handler:      connectOptions{Enabled: e.Handler.Enabled, Function: e.Handler.Function},
		SessionHours: e.SessionHours, Banner: bannerOptions(e.Banner), Enforcement: enforcement{e.RouteEnforcement}, Disconnect: e.DisconnectOnTimeout,
		EndpointIPType: e.EndpointIPType, TrafficIPType: e.TrafficIPType, Posture: postureOptions{setOf(e.Posture, trustProviderOf)},
	}
	if e.ClientCIDR.IsValid() {
		item.ClientCIDR = e.ClientCIDR.String()
	}
	if !e.Deleted.IsZero() {
		item.Deleted = e.Deleted.UTC().Format("2006-01-02T15:04:05")
	}
	if g := e.Gateway; g != nil {
		zones := setOf(g.Zones, same)
		item.Gateway = &gatewayOptions{g.Gateway, g.ID, zones, zones}
	}
	if e.Handler.Enabled {
		item.Handler.Status = &status{Code: "applied"}
	}
	return item
}

func authenticationOf(a model.Authentication) authentication {
	out := authentication{Type: a.Type}
	switch a.Type {
	case model.CertificateAuthentication:
		out.Mutual = &mutualAuth{a.RootChain}
	case model.DirectoryAuthentication:
		out.Directory = &directoryAuth{a.Directory}
	case model.FederatedAuthentication:
		out.Federated = &federatedItems{a.SAMLProvider, a.SelfServiceSAMLProvider}
	}
	return out
}

type associationItem struct {
	ID             string      `xml:"associationId"`
	VPC            string      `xml:"vpcId"`
	Network        string      `xml:"targetNetworkId"`
	Endpoint       string      `xml:"clientVpnEndpointId"`
	Status         status      `xml:"status"`
	SecurityGroups set[string] `xml:"securityGroups"`
	Zones          set[string] `xml:"availabilityZoneSet"`
	ZoneIDs        set[string] `xml:"availabilityZoneIdSet"`
}

func associationOf(a model.Association) associationItem {
	zone := set[string]{[]string{a.Zone}}
	return associationItem{a.ID, a.VPC, a.Subnet, a.Endpoint, statusOf(a.Status), setOf(a.SecurityGroups, same), zone, zone}
}

type ruleItem struct {
	Endpoint    string `xml:"clientVpnEndpointId"`
	Description string `xml:"description"`
	Group       string `xml:"groupId"`
	All         bool   `xml:"accessAll"`
	CIDR        string `xml:"destinationCidr"`
	Status      status `xml:"status"`
}

func ruleOf(r model.Rule) ruleItem {
	return ruleItem{r.Endpoint, r.Description, r.Group, r.All, r.CIDR.String(), statusOf(r.Status)}
}

type routeItem struct {
	Endpoint    string `xml:"clientVpnEndpointId"`
	Destination string `xml:"destinationCidr"`
	Target      string `xml:"targetSubnet"`
	Type        string `xml:"type"`
	Origin      string `xml:"origin"`
	Status      status `xml:"status"`
	Description string `xml:"description"`
	Attachment  string `xml:"transitGatewayAttachmentId,omitempty"`
}

func routeOf(r model.Route) routeItem {
	return routeItem{r.Endpoint, r.Destination.String(), r.Target, "Nat", r.Origin, statusOf(r.Status), r.Description, r.Attachment}
}

type connectionItem struct {
	Endpoint    string      `xml:"clientVpnEndpointId"`
	Timestamp   string      `xml:"timestamp"`
	ID          string      `xml:"connectionId"`
	Username    string      `xml:"username,omitempty"`
	Established string      `xml:"connectionEstablishedTime"`
	RxBytes     uint64      `xml:"ingressBytes"`
	TxBytes     uint64      `xml:"egressBytes"`
	RxPackets   uint64      `xml:"ingressPackets"`
	TxPackets   uint64      `xml:"egressPackets"`
	Address     string      `xml:"clientIp"`
	Address6    string      `xml:"clientIpv6Address,omitempty"`
	CommonName  string      `xml:"commonName,omitempty"`
	Status      status      `xml:"status"`
	Ended       string      `xml:"connectionEndTime"`
	Posture     set[string] `xml:"postureComplianceStatusSet"`
	Evaluated   string      `xml:"authorizationPolicyLastEvaluatedTime,omitempty"`
}

// moment is a time as DescribeClientVpnConnections writes it; one that has not come is a dash.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}

type terminatedItem struct {
	ID       string `xml:"connectionId"`
	Previous status `xml:"previousStatus"`
	Current  status `xml:"currentStatus"`
}
