//go:build linux

package sdktest

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/adit-vpn/adit/endpoint/model"
)

// TestAuthorizationPolicy walks a policy from its making to its end, as AWS's guide does for device posture.
func TestAuthorizationPolicy(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual()
	w.associate(id, "subnet-0a")
	const document = "permit(principal, action, resource)\nwhen { context.crowdstrike.assessment.overall > 50 };"
	modify := func(in ec2.ModifyClientVpnEndpointAuthorizationPolicyInput) (*ec2.ModifyClientVpnEndpointAuthorizationPolicyOutput, error) {
		in.ClientVpnEndpointId = &id
		return w.ec2.ModifyClientVpnEndpointAuthorizationPolicy(w.ctx, &in)
	}
	get := &ec2.GetClientVpnEndpointAuthorizationPolicyInput{ClientVpnEndpointId: &id}
	_, err := modify(ec2.ModifyClientVpnEndpointAuthorizationPolicyInput{PolicyDocument: aws.String("permit everybody")})
	w.refused(model.CodeBadValue, err)
	_, err = modify(ec2.ModifyClientVpnEndpointAuthorizationPolicyInput{PolicyDocument: aws.String(document), DryRun: aws.Bool(true)})
	w.refused(model.CodeDryRun, err)
	made := must(modify(ec2.ModifyClientVpnEndpointAuthorizationPolicyInput{
		PolicyDocument: aws.String(document), Description: aws.String("Require <CrowdStrike> ZTA"), ShadowMode: types.ClientVpnAuthorizationPolicyShadowModeEnabled, ClientToken: aws.String("t"),
	}))(w)
	if made.Status != types.ClientVpnAuthorizationPolicyStatusCreating {
		t.Errorf("it is %s", made.Status)
	}
	p := must(w.ec2.GetClientVpnEndpointAuthorizationPolicy(w.ctx, get))(w)
	w.complete("a policy", p)
	if *p.ClientVpnEndpointId != id || *p.PolicyDocument != document || *p.Description != "Require <CrowdStrike> ZTA" || p.ShadowMode != types.ClientVpnAuthorizationPolicyShadowModeEnabled || p.Status != types.ClientVpnAuthorizationPolicyStatusActive {
		t.Errorf("%+v", p)
	}
	if s := must(modify(ec2.ModifyClientVpnEndpointAuthorizationPolicyInput{ShadowMode: types.ClientVpnAuthorizationPolicyShadowModeDisabled}))(w); s.Status != types.ClientVpnAuthorizationPolicyStatusUpdating {
		t.Errorf("it is %s", s.Status)
	}
	if a := w.fleet.configs[id].AuthorizationPolicy; a.Text != document || a.Shadow {
		t.Errorf("in force: %+v", a)
	}
	gone := must(w.ec2.DeleteClientVpnEndpointAuthorizationPolicy(w.ctx, &ec2.DeleteClientVpnEndpointAuthorizationPolicyInput{ClientVpnEndpointId: &id}))(w)
	if gone.Status != types.ClientVpnAuthorizationPolicyStatusDeleting {
		t.Errorf("it is %s", gone.Status)
	}
	_, err = w.ec2.GetClientVpnEndpointAuthorizationPolicy(w.ctx, get)
	w.refused(model.CodePolicyNotFound, err)
}

// TestDevicePosture: what an endpoint is told of trust providers is what it shows.
func TestDevicePosture(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual(func(in *ec2.CreateClientVpnEndpointInput) {
		in.DevicePostureOptions = &types.DevicePostureOptions{Enabled: aws.Bool(true), TrustProviders: []types.ClientVpnTrustProviderRequest{
			{TrustProviderType: types.ClientVpnDeviceTrustProviderTypeCrowdstrike, TenantId: aws.String("EXAMPLE-TENANT-ID"), PublicSigningKeyUrl: aws.String("https://assets.example.com/zta/jwk.json")},
			{TrustProviderType: types.ClientVpnDeviceTrustProviderTypeJamf, TenantId: aws.String("abc")},
		}}
		in.ConnectionLogOptions = &types.ConnectionLogOptions{Enabled: aws.Bool(true), CloudwatchLogGroup: aws.String("vpn"), IncludeAuthorizationPolicyContext: aws.Bool(true)}
	})
	e := w.describe(id)
	list := e.DevicePostureOptions.TrustProviders
	if len(list) != 2 || !*e.ConnectionLogOptions.IncludeAuthorizationPolicyContext {
		t.Fatalf("%+v, %+v", list, e.ConnectionLogOptions)
	}
	w.complete("a trust provider", list[0])
	if list[0].TrustProviderType != types.ClientVpnDeviceTrustProviderTypeCrowdstrike || *list[0].TenantId != "EXAMPLE-TENANT-ID" || *list[0].PublicSigningKeyUrl != "https://assets.example.com/zta/jwk.json" || list[1].TrustProviderType != types.ClientVpnDeviceTrustProviderTypeJamf {
		t.Errorf("%+v", list)
	}
	must(w.ec2.ModifyClientVpnEndpoint(w.ctx, &ec2.ModifyClientVpnEndpointInput{ClientVpnEndpointId: &id, DevicePostureOptions: &types.DevicePostureOptions{Enabled: aws.Bool(false)}}))(w)
	if e := w.describe(id); len(e.DevicePostureOptions.TrustProviders) != 0 {
		t.Errorf("%+v", e.DevicePostureOptions)
	}
}
