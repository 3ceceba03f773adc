package model

import (
	"net/netip"
	"time"

	"github.com/adit-vpn/adit/endpoint"
)

// Call is what all mutations have in common.
type Call struct {
	// DryRun: check everything, then fail with DryRunOperation; nothing is changed.
	DryRun bool
	// ClientToken makes a repeated call give the first answer; empty: each call counts.
	ClientToken string
}

// Status is the state of a thing: AWS's code, and a message where there is more to say, such as why an endpoint does not run.
type Status struct{ Code, Message string }

// The states (EC2 API reference, the …StatusCode types of Client VPN).
const (
	PendingAssociate = "pending-associate" // endpoint: nobody can connect, there is no association
	Available        = "available"
	Deleting         = "deleting" // endpoint, route

	Associating    = "associating"
	Associated     = "associated"
	Disassociating = "disassociating"

	Authorizing = "authorizing"
	Active      = "active" // rule, route
	Revoking    = "revoking"

	// Of an attachment, with Available, Deleting and Rejected.
	PendingAcceptance = "pending-acceptance"
	Pending           = "pending"
	Rejected          = "rejected"

	Creating = "creating"
	Updating = "updating" // authorization policy
)

// The types of authentication.
const (
	CertificateAuthentication = "certificate-authentication"
	DirectoryAuthentication   = "directory-service-authentication"
	FederatedAuthentication   = "federated-authentication"
)

// Authentication is one way to prove who one is, by what the file declares.
type Authentication struct {
	Type         string // one of the above
	RootChain    string `json:",omitempty"` // certificate: ARN of the clients' CA
	Directory    string `json:",omitempty"` // directory: its id
	SAMLProvider string `json:",omitempty"` // federated: its ARN
	// SelfServiceSAMLProvider is kept and shown; there is no portal.
	SelfServiceSAMLProvider string `json:",omitempty"`
}

// ConnectionLog is where the connection log of an endpoint goes.
type ConnectionLog struct {
	Enabled       bool
	Group, Stream string // of CloudWatch Logs
	// PolicyContext adds to each entry what the authorization policy was shown.
	PolicyContext bool `json:",omitempty"`
}

// ConnectHandler is the client connect handler of an endpoint.
type ConnectHandler struct {
	Enabled  bool
	Function string // ARN that the file declares
}

// Banner is shown to people when they connect.
type Banner struct {
	Enabled bool
	Text    string // at most 1400 characters
}

// Tag is a name with a value.
type Tag struct{ Key, Value string }

// Settings are what people choose for an endpoint.
type Settings struct {
	Description         string
	ClientCIDR          netip.Prefix
	ServerCertificate   string // ARN
	Authentication      []Authentication
	ConnectionLog       ConnectionLog
	DNSServers          []netip.Addr
	Transport           string // "udp" or "tcp"
	Port                int    // 443 or 1194
	SplitTunnel         bool
	VPC                 string // empty: none yet
	SecurityGroups      []string
	Portal              bool // self-service portal
	Handler             ConnectHandler
	SessionHours        int
	DisconnectOnTimeout bool
	Banner              Banner
	RouteEnforcement    bool
	EndpointIPType      string // "ipv4", "ipv6" or "dual-stack": outside
	TrafficIPType       string // inside
	// Posture are the device trust providers; none: device posture is off.
	Posture []endpoint.TrustProvider `json:",omitempty"`
}

// Endpoint is one Client VPN endpoint.
type Endpoint struct {
	ID        string
	Status    Status
	Created   time.Time
	Deleted   time.Time // zero: it is not being deleted
	DNSName   string    // in AWS's form; nobody serves it
	PortalURL string    // in AWS's form, empty when the portal is off; nobody serves it
	Subnets   []string
	Tags      []Tag
	Settings
	// Gateway is the attachment to a transit gateway; nil: the endpoint is associated with subnets.
	Gateway *Attachment
	// InFile: the file declares it, and the API cannot change it.
	InFile bool
	// Listen is where it listens really, or will.
	Listen []netip.AddrPort
}

// NewEndpoint is what CreateEndpoint takes. Nil pointers: AWS's default.
type NewEndpoint struct {
	ClientCIDR     string
	Authentication []Authentication
	Transport      *string
	EndpointIPType *string
	TrafficIPType  *string
	Gateway        *NewGateway // nil: VPCs
	Tags           []Tag
	Changes
}

// Changes is what ModifyEndpoint takes; nil: stays.
type Changes struct {
	Description         *string
	ServerCertificate   *string
	ConnectionLog       *ConnectionLog
	DNSServers          *[]string // empty: none
	Port                *int
	SplitTunnel         *bool
	VPC                 *string
	SecurityGroups      *[]string // with VPC
	Portal              *string   // "enabled" or "disabled"
	Handler             *ConnectHandler
	SessionHours        *int
	DisconnectOnTimeout *bool
	Banner              *Banner
	RouteEnforcement    *bool
	Posture             *Posture
}

// Posture turns device posture on with some providers, or off.
type Posture struct {
	Enabled   bool
	Providers []endpoint.TrustProvider
}

// Policy is the authorization policy of an endpoint.
type Policy struct {
	Endpoint    string
	Document    string // Cedar
	Description string
	Shadow      bool // it denies nobody
	Status      Status
}

// PolicyChange is what ModifyPolicy takes; nil: stays, or AWS's default.
type PolicyChange struct {
	Document, Description *string
	Shadow                *string // "enabled" or "disabled"
}

// NewGateway asks for an attachment to a transit gateway, in zones of it; none: the first two.
type NewGateway struct {
	ID    string
	Zones []string
}

// Attachment is that of an endpoint to a transit gateway.
type Attachment struct {
	ID, Gateway, Endpoint string
	State                 string
	Created               time.Time
	Zones                 []string // that are associated
}

// Association is a target network of an endpoint.
type Association struct {
	ID, Endpoint, Subnet, VPC string // Subnet may be a transit gateway, which is in no VPC
	Zone                      string // of the subnet, or the gateway
	Status                    Status
	SecurityGroups            []string
}

// The origins of routes.
const (
	OriginAssociate = "associate" // came with an association
	OriginAdded     = "add-route"
)

// LocalTarget is the target of routes from client to client.
const LocalTarget = "local"

// Route is a row of an endpoint's route table.
type Route struct {
	Endpoint    string
	Destination netip.Prefix
	Target      string // subnet, or LocalTarget
	Origin      string
	Description string
	Status      Status
	Created     time.Time // zero: of the file
	Attachment  string    // to a transit gateway, in place of a Target; empty: none
}

// Rule lets everyone, or one group, reach a range.
type Rule struct {
	Endpoint    string
	CIDR        netip.Prefix
	All         bool
	Group       string
	Description string
	Status      Status
	Created     time.Time // zero: of the file
}

// Terminated is one connection that Terminate ended.
type Terminated struct{ ID, Previous, Current string }

// VPC is a declared network.
type VPC struct {
	ID           string
	CIDR, CIDRv6 netip.Prefix // the second may be invalid
}

// Subnet is a part of a declared network.
type Subnet struct {
	ID, VPC, Zone string
	CIDR          netip.Prefix
}

// SecurityGroup is a declared group, or the default one of a VPC, which lets everything out.
type SecurityGroup struct {
	ID, Name, Description, VPC string
	Ingress, Egress            []endpoint.SecurityRule
}
