//go:build linux

package sdktest

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/adit-vpn/adit/endpoint/model"
)

// TestTerraform makes the calls of Terraform's aws_ec2_client_vpn_* resources, in their order, with the states that the provider waits
// for and the codes by which it knows that something is gone (hashicorp/terraform-provider-aws, internal/service/ec2). The API
// lets AWS's passing states last a minute, so that each of them is seen.
func TestTerraform(t *testing.T) {
	w := start(t, "1m")
	later := func() { w.clock = w.clock.Add(time.Minute) }

	// aws_ec2_client_vpn_endpoint: create, read.
	id := w.mutual(func(in *ec2.CreateClientVpnEndpointInput) {
		in.ClientToken, in.TransportProtocol, in.VpnPort, in.SessionTimeoutHours = aws.String("terraform-1"), types.TransportProtocolUdp, aws.Int32(443), aws.Int32(24)
		in.SplitTunnel, in.SelfServicePortal = aws.Bool(true), types.SelfServicePortalDisabled
		in.ClientConnectOptions = &types.ClientConnectOptions{Enabled: aws.Bool(false)}
		in.ClientLoginBannerOptions = &types.ClientLoginBannerOptions{Enabled: aws.Bool(false)}
		in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeClientVpnEndpoint, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("tf")}}}}
	})
	if e := w.describe(id); e.Status.Code != types.ClientVpnEndpointStatusCodePendingAssociate || e.SelfServicePortalUrl != nil || len(e.DnsServers) != 0 || e.VpcId != nil {
		t.Errorf("%+v", e)
	}

	// aws_ec2_client_vpn_network_association: create, wait from associating to associated, read.
	association := w.associate(id, "subnet-0a")
	network := func() (types.TargetNetwork, error) {
		out, err := w.ec2.DescribeClientVpnTargetNetworks(w.ctx, &ec2.DescribeClientVpnTargetNetworksInput{ClientVpnEndpointId: &id, AssociationIds: []string{association}})
		if err != nil || len(out.ClientVpnTargetNetworks) != 1 {
			return types.TargetNetwork{}, err
		}
		return out.ClientVpnTargetNetworks[0], nil
	}
	if n := must(network())(w); n.Status.Code != types.AssociationStatusCodeAssociating {
		t.Errorf("%+v", n)
	}
	if e := w.describe(id); e.Status.Code != types.ClientVpnEndpointStatusCodePendingAssociate {
		t.Errorf("%+v", e.Status)
	}
	later()
	if n := must(network())(w); n.Status.Code != types.AssociationStatusCodeAssociated || *n.TargetNetworkId != "subnet-0a" || *n.VpcId != "vpc-0a" {
		t.Errorf("%+v", n)
	}
	if e := w.describe(id); e.Status.Code != types.ClientVpnEndpointStatusCodeAvailable {
		t.Errorf("%+v", e.Status)
	}

	// aws_ec2_client_vpn_authorization_rule: create, wait from authorizing to active, read by the filters of its id.
	must(w.ec2.AuthorizeClientVpnIngress(w.ctx, &ec2.AuthorizeClientVpnIngressInput{ClientVpnEndpointId: &id, ClientToken: aws.String("terraform-2"), TargetNetworkCidr: aws.String("10.0.0.0/16"), AuthorizeAllGroups: aws.Bool(true)}))(w)
	must(w.ec2.AuthorizeClientVpnIngress(w.ctx, &ec2.AuthorizeClientVpnIngressInput{ClientVpnEndpointId: &id, ClientToken: aws.String("terraform-3"), TargetNetworkCidr: aws.String("10.0.1.0/24"), AccessGroupId: aws.String("ops")}))(w)
	rules := func(filters []types.Filter) []types.AuthorizationRule {
		return must(w.ec2.DescribeClientVpnAuthorizationRules(w.ctx, &ec2.DescribeClientVpnAuthorizationRulesInput{ClientVpnEndpointId: &id, Filters: filters}))(w).AuthorizationRules
	}
	everybody, group := filter("destination-cidr", "10.0.0.0/16"), append(filter("destination-cidr", "10.0.1.0/24"), filter("group-id", "ops")...)
	if r := rules(everybody); len(r) != 1 || r[0].Status.Code != types.ClientVpnAuthorizationRuleStatusCodeAuthorizing {
		t.Errorf("%+v", r)
	}
	later()
	for _, f := range [][]types.Filter{everybody, group} {
		if r := rules(f); len(r) != 1 || r[0].Status.Code != types.ClientVpnAuthorizationRuleStatusCodeActive {
			t.Errorf("%+v", r)
		}
	}

	// aws_ec2_client_vpn_route: create, wait from creating to active, read by its three parts.
	must(w.ec2.CreateClientVpnRoute(w.ctx, &ec2.CreateClientVpnRouteInput{ClientVpnEndpointId: &id, ClientToken: aws.String("terraform-4"), DestinationCidrBlock: aws.String("0.0.0.0/0"), TargetVpcSubnetId: aws.String("subnet-0a")}))(w)
	routes := func() []types.ClientVpnRoute {
		return must(w.ec2.DescribeClientVpnRoutes(w.ctx, &ec2.DescribeClientVpnRoutesInput{ClientVpnEndpointId: &id, Filters: append(filter("destination-cidr", "0.0.0.0/0"), filter("target-subnet", "subnet-0a")...)}))(w).Routes
	}
	if r := routes(); len(r) != 1 || r[0].Status.Code != types.ClientVpnRouteStatusCodeCreating {
		t.Errorf("%+v", r)
	}
	later()
	if r := routes(); len(r) != 1 || r[0].Status.Code != types.ClientVpnRouteStatusCodeActive || *r[0].Origin != "add-route" || *r[0].Type == "" {
		t.Errorf("%+v", r)
	}

	// Update: what changed, then tags; with security groups comes the VPC.
	security := w.describe(id).SecurityGroupIds
	must(w.ec2.ModifyClientVpnEndpoint(w.ctx, &ec2.ModifyClientVpnEndpointInput{
		ClientVpnEndpointId: &id, Description: aws.String("tf 2"), SecurityGroupIds: security, VpcId: aws.String("vpc-0a"), SessionTimeoutHours: aws.Int32(12),
		ClientConnectOptions: &types.ClientConnectOptions{Enabled: aws.Bool(true), LambdaFunctionArn: aws.String(functionARN)},
	}))(w)
	if e := w.describe(id); e.ClientConnectOptions.Status.Code != types.ClientVpnEndpointAttributeStatusCodeApplied || *e.Description != "tf 2" || *e.SessionTimeoutHours != 12 {
		t.Errorf("%+v", e)
	}
	_, err := w.ec2.ModifyClientVpnEndpoint(w.ctx, &ec2.ModifyClientVpnEndpointInput{ClientVpnEndpointId: &id, SecurityGroupIds: security})
	w.refused(model.CodeBadValue, err)
	must(w.ec2.DeleteTags(w.ctx, &ec2.DeleteTagsInput{Resources: []string{id}, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("tf")}}}))(w)
	must(w.ec2.CreateTags(w.ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: []types.Tag{{Key: aws.String("Env"), Value: aws.String("test")}}}))(w)
	if tags := w.describe(id).Tags; len(tags) != 1 || *tags[0].Key != "Env" {
		t.Errorf("%+v", tags)
	}

	// Destroy, in the order of dependencies; each waits until what it deletes is not found.
	must(w.ec2.DeleteClientVpnRoute(w.ctx, &ec2.DeleteClientVpnRouteInput{ClientVpnEndpointId: &id, DestinationCidrBlock: aws.String("0.0.0.0/0"), TargetVpcSubnetId: aws.String("subnet-0a")}))(w)
	if r := routes(); len(r) != 1 || r[0].Status.Code != types.ClientVpnRouteStatusCodeDeleting {
		t.Errorf("%+v", r)
	}
	must(w.ec2.RevokeClientVpnIngress(w.ctx, &ec2.RevokeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: aws.String("10.0.0.0/16"), RevokeAllGroups: aws.Bool(true)}))(w)
	must(w.ec2.RevokeClientVpnIngress(w.ctx, &ec2.RevokeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: aws.String("10.0.1.0/24"), AccessGroupId: aws.String("ops")}))(w)
	if r := rules(everybody); len(r) != 1 || r[0].Status.Code != types.ClientVpnAuthorizationRuleStatusCodeRevoking {
		t.Errorf("%+v", r)
	}
	later()
	if r, s := routes(), rules(nil); len(r) != 0 || len(s) != 0 {
		t.Errorf("%+v, %+v", r, s)
	}
	must(w.ec2.DisassociateClientVpnTargetNetwork(w.ctx, &ec2.DisassociateClientVpnTargetNetworkInput{ClientVpnEndpointId: &id, AssociationId: &association}))(w)
	if n := must(network())(w); n.Status.Code != types.AssociationStatusCodeDisassociating {
		t.Errorf("%+v", n)
	}
	later()
	_, err = network()
	w.refused("InvalidClientVpnAssociationIdNotFound", err)
	must(w.ec2.DeleteClientVpnEndpoint(w.ctx, &ec2.DeleteClientVpnEndpointInput{ClientVpnEndpointId: &id}))(w)
	if e := w.describe(id); e.Status.Code != types.ClientVpnEndpointStatusCodeDeleting {
		t.Errorf("%+v", e.Status)
	}
	later()
	_, err = w.ec2.DescribeClientVpnEndpoints(w.ctx, &ec2.DescribeClientVpnEndpointsInput{ClientVpnEndpointIds: []string{id}})
	w.refused("InvalidClientVpnEndpointId.NotFound", err)

	// A second destroy finds nothing, by the codes that the provider takes for done.
	_, err = w.ec2.DeleteClientVpnEndpoint(w.ctx, &ec2.DeleteClientVpnEndpointInput{ClientVpnEndpointId: &id})
	w.refused("InvalidClientVpnEndpointId.NotFound", err)
	_, err = w.ec2.RevokeClientVpnIngress(w.ctx, &ec2.RevokeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: aws.String("10.0.0.0/16"), RevokeAllGroups: aws.Bool(true)})
	w.refused("InvalidClientVpnEndpointId.NotFound", err)
}
