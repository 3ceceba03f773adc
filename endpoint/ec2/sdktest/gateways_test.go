//go:build linux

package sdktest

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/adit-vpn/adit/endpoint/model"
)

// TestTransitGateway goes through AWS's guide to transit gateways: an endpoint, its routes and zones, and an attachment that another
// account accepts.
func TestTransitGateway(t *testing.T) {
	w := start(t, "0s")
	with := func(gateway string, zones ...string) string {
		t.Helper()
		return w.mutual(func(in *ec2.CreateClientVpnEndpointInput) {
			in.TransitGatewayConfiguration = &types.TransitGatewayConfigurationInputStructure{TransitGatewayId: &gateway, AvailabilityZones: zones}
		})
	}
	id := with(ownGateway, "us-east-1a", "us-east-1c")
	e := w.describe(id)
	w.complete("a transit gateway of an endpoint", e.TransitGatewayConfiguration)
	if g := e.TransitGatewayConfiguration; e.Status.Code != types.ClientVpnEndpointStatusCodeAvailable || *g.TransitGatewayId != ownGateway || !slices.Equal(g.AvailabilityZones, []string{"us-east-1a", "us-east-1c"}) {
		t.Errorf("%+v, %+v", e.Status, g)
	}
	must(w.ec2.CreateClientVpnRoute(w.ctx, &ec2.CreateClientVpnRouteInput{ClientVpnEndpointId: &id, DestinationCidrBlock: aws.String("10.1.0.0/16")}))(w)
	routes := must(w.ec2.DescribeClientVpnRoutes(w.ctx, &ec2.DescribeClientVpnRoutesInput{ClientVpnEndpointId: &id}))(w).Routes
	if len(routes) != 1 || *routes[0].TransitGatewayAttachmentId != *e.TransitGatewayConfiguration.TransitGatewayAttachmentId || *routes[0].Origin != "add-route" {
		t.Errorf("%+v", routes)
	}
	more := must(w.ec2.AssociateClientVpnTargetNetwork(w.ctx, &ec2.AssociateClientVpnTargetNetworkInput{ClientVpnEndpointId: &id, AvailabilityZone: aws.String("us-east-1b")}))(w)
	networks := must(w.ec2.DescribeClientVpnTargetNetworks(w.ctx, &ec2.DescribeClientVpnTargetNetworksInput{ClientVpnEndpointId: &id, AssociationIds: []string{*more.AssociationId}}))(w).ClientVpnTargetNetworks
	if len(networks) != 1 || *networks[0].TargetNetworkId != ownGateway || !slices.Equal(networks[0].AvailabilityZones, []string{"us-east-1b"}) {
		t.Errorf("%+v", networks)
	}
	if cfg := w.fleet.configs[id]; len(cfg.Associations) != 3 || len(cfg.Routes) != 3 {
		t.Errorf("it runs with %+v, %+v", cfg.Associations, cfg.Routes)
	}
	must(w.ec2.DisassociateClientVpnTargetNetwork(w.ctx, &ec2.DisassociateClientVpnTargetNetworkInput{ClientVpnEndpointId: &id, AssociationId: more.AssociationId}))(w)
	must(w.ec2.DeleteClientVpnRoute(w.ctx, &ec2.DeleteClientVpnRouteInput{ClientVpnEndpointId: &id, DestinationCidrBlock: aws.String("10.1.0.0/16")}))(w)

	theirs := with(theirGateway)
	attachment := w.describe(theirs).TransitGatewayConfiguration.TransitGatewayAttachmentId
	if _, runs := w.fleet.configs[theirs]; runs {
		t.Error("it runs before it was accepted")
	}
	_, err := w.ec2.AcceptTransitGatewayClientVpnAttachment(w.ctx, &ec2.AcceptTransitGatewayClientVpnAttachmentInput{TransitGatewayAttachmentId: attachment, DryRun: aws.Bool(true)})
	w.refused(model.CodeDryRun, err)
	accepted := must(w.ec2.AcceptTransitGatewayClientVpnAttachment(w.ctx, &ec2.AcceptTransitGatewayClientVpnAttachmentInput{TransitGatewayAttachmentId: attachment}))(w).TransitGatewayClientVpnAttachment
	w.complete("an attachment", accepted)
	if *accepted.ClientVpnEndpointId != theirs || *accepted.TransitGatewayId != theirGateway || accepted.State != types.TransitGatewayAttachmentStatusTypeAvailable {
		t.Errorf("%+v", accepted)
	}
	_, err = w.ec2.RejectTransitGatewayClientVpnAttachment(w.ctx, &ec2.RejectTransitGatewayClientVpnAttachmentInput{TransitGatewayAttachmentId: attachment})
	w.refused(model.CodeIncorrectState, err)
	gone := must(w.ec2.DeleteTransitGatewayClientVpnAttachment(w.ctx, &ec2.DeleteTransitGatewayClientVpnAttachmentInput{TransitGatewayAttachmentId: attachment}))(w).TransitGatewayClientVpnAttachment
	if _, runs := w.fleet.configs[theirs]; runs || gone.State != types.TransitGatewayAttachmentStatusTypeDeleting {
		t.Errorf("%+v, runs %v", gone, runs)
	}
}
