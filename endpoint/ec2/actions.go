package ec2

import (
	"context"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/model"
)

// Model is what the API is about. Its errors for callers are *model.Error.
type Model interface {
	CreateEndpoint(context.Context, model.Call, model.NewEndpoint) (model.Endpoint, error)
	ModifyEndpoint(ctx context.Context, call model.Call, id string, c model.Changes) error
	DeleteEndpoint(ctx context.Context, call model.Call, id string) (model.Status, error)
	Endpoints() []model.Endpoint

	Associate(ctx context.Context, call model.Call, endpoint, subnet string) (model.Association, error)
	Disassociate(ctx context.Context, call model.Call, endpoint, association string) (model.Association, error)
	Associations(endpoint string) ([]model.Association, error)
	ApplySecurityGroups(ctx context.Context, call model.Call, endpoint, vpc string, groups []string) ([]string, error)

	AuthorizeIngress(ctx context.Context, call model.Call, endpoint string, in model.Ingress) (model.Status, error)
	RevokeIngress(ctx context.Context, call model.Call, endpoint string, in model.Ingress) (model.Status, error)
	Rules(endpoint string) ([]model.Rule, error)
	CreateRoute(ctx context.Context, call model.Call, endpoint, destination, target, description string) (model.Status, error)
	DeleteRoute(ctx context.Context, call model.Call, endpoint, destination, target string) (model.Status, error)
	Routes(endpoint string) ([]model.Route, error)

	ModifyPolicy(ctx context.Context, call model.Call, endpoint string, c model.PolicyChange) (model.Status, error)
	AssociateZone(ctx context.Context, call model.Call, endpoint, zone string) (model.Association, error)
	AcceptAttachment(ctx context.Context, call model.Call, attachment string) (model.Attachment, error)
	RejectAttachment(ctx context.Context, call model.Call, attachment string) (model.Attachment, error)
	DeleteAttachment(ctx context.Context, call model.Call, attachment string) (model.Attachment, error)

	DeletePolicy(ctx context.Context, call model.Call, endpoint string) (model.Status, error)
	Policy(endpoint string) (model.Policy, error)

	Connections(endpoint string) ([]endpoint.Connection, error)
	Terminate(ctx context.Context, call model.Call, endpoint, connection, user string) ([]model.Terminated, error)
	Export(endpoint string) (string, error)
	ImportCRL(ctx context.Context, call model.Call, endpoint, pem string) error
	CRL(endpoint string) (pem string, status model.Status, err error)

	SetTags(ctx context.Context, call model.Call, resources []string, tags []model.Tag) error
	DeleteTags(ctx context.Context, call model.Call, resources []string, tags []model.TagMatch) error
	VPCs() []model.VPC
	Subnets() []model.Subnet
	SecurityGroups() []model.SecurityGroup

	ImportCertificate(ctx context.Context, n model.NewCertificate) (arn string, err error)
	DeleteCertificate(ctx context.Context, arn string) error
	Certificates() []model.Certificate

	CreateSAMLProvider(ctx context.Context, name, metadata string, tags []model.Tag) (arn string, err error)
	UpdateSAMLProvider(ctx context.Context, arn, metadata string) error
	DeleteSAMLProvider(ctx context.Context, arn string) error
	SAMLProviders() []model.SAMLProvider
}

// operations are the actions of EC2 that there are, by name.
func operations() map[string]operation {
	return map[string]operation{
		"CreateClientVpnEndpoint":                        changes(createEndpoint),
		"ModifyClientVpnEndpoint":                        changes(modifyEndpoint),
		"DeleteClientVpnEndpoint":                        changes(deleteEndpoint),
		"DescribeClientVpnEndpoints":                     reads(describeEndpoints),
		"AssociateClientVpnTargetNetwork":                changes(associate),
		"DisassociateClientVpnTargetNetwork":             changes(disassociate),
		"DescribeClientVpnTargetNetworks":                reads(describeAssociations),
		"ApplySecurityGroupsToClientVpnTargetNetwork":    changes(applySecurityGroups),
		"AuthorizeClientVpnIngress":                      changes(authorizeIngress),
		"RevokeClientVpnIngress":                         changes(revokeIngress),
		"DescribeClientVpnAuthorizationRules":            reads(describeRules),
		"CreateClientVpnRoute":                           changes(createRoute),
		"DeleteClientVpnRoute":                           changes(deleteRoute),
		"DescribeClientVpnRoutes":                        reads(describeRoutes),
		"DescribeClientVpnConnections":                   reads(describeConnections),
		"TerminateClientVpnConnections":                  changes(terminateConnections),
		"ExportClientVpnClientConfiguration":             reads(exportConfiguration),
		"ImportClientVpnClientCertificateRevocationList": changes(importCRL),
		"ExportClientVpnClientCertificateRevocationList": reads(exportCRL),
		"AcceptTransitGatewayClientVpnAttachment":        changes(acceptAttachment),
		"RejectTransitGatewayClientVpnAttachment":        changes(rejectAttachment),
		"DeleteTransitGatewayClientVpnAttachment":        changes(deleteAttachment),
		"ModifyClientVpnEndpointAuthorizationPolicy":     changes(modifyPolicy),
		"GetClientVpnEndpointAuthorizationPolicy":        reads(getPolicy),
		"DeleteClientVpnEndpointAuthorizationPolicy":     changes(deletePolicy),

		"CreateTags":                changes(createTags),
		"DeleteTags":                changes(deleteTags),
		"DescribeTags":              reads(describeTags),
		"DescribeVpcs":              reads(describeVPCs),
		"DescribeSubnets":           reads(describeSubnets),
		"DescribeSecurityGroups":    reads(describeSecurityGroups),
		"DescribeAvailabilityZones": reads(describeZones),
		"DescribeAccountAttributes": reads(describeAccount),
	}
}

// --- what several requests have

type inEndpoint struct {
	ID string `query:"ClientVpnEndpointId,required"`
}

type inToken struct {
	ClientToken string `query:"ClientToken"`
}

// with is what the model is told beside the change itself.
func (c *call) with(token string) model.Call {
	return model.Call{DryRun: c.dryRun, ClientToken: token}
}

// done is the answer to changes that say no more.
type done struct {
	head
	Return bool `xml:"return"`
}

// stateOf is the answer to changes that say a state.
type stateOf struct {
	head
	Status status `xml:"status"`
}

func answerStatus(s model.Status, err error) (*stateOf, error) {
	return &stateOf{Status: statusOf(s)}, err
}
