//go:build linux

package sdktest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/adit-vpn/adit/endpoint/model"
)

func TestProfile(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual()
	out := must(w.ec2.ExportClientVpnClientConfiguration(w.ctx, &ec2.ExportClientVpnClientConfigurationInput{ClientVpnEndpointId: &id}))(w)
	if *out.ClientConfiguration != "client\nremote "+id+"\n<ca>\n&\n</ca>\n" {
		t.Errorf("%q", *out.ClientConfiguration)
	}
	_, err := w.ec2.ExportClientVpnClientConfiguration(w.ctx, &ec2.ExportClientVpnClientConfigurationInput{ClientVpnEndpointId: aws.String("cvpn-endpoint-0")})
	w.refused(model.CodeEndpointNotFound, err)
}

// revocations is a list of n serial numbers in PEM.
func revocations(t *testing.T, n int) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Unix(1, 0), NextUpdate: time.Unix(1<<33, 0)}
	for i := range n {
		serial := new(big.Int).Lsh(big.NewInt(int64(i)+1), 100) // as long as those of easy-rsa
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: time.Unix(1, 0)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, ca, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

func TestRevocationLists(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual()
	w.associate(id, "subnet-0a")
	text := revocations(t, 20000) // as many as AWS takes
	in := must(w.ec2.ImportClientVpnClientCertificateRevocationList(w.ctx, &ec2.ImportClientVpnClientCertificateRevocationListInput{ClientVpnEndpointId: &id, CertificateRevocationList: &text}))(w)
	if !*in.Return {
		t.Error("not imported")
	}
	out := must(w.ec2.ExportClientVpnClientCertificateRevocationList(w.ctx, &ec2.ExportClientVpnClientCertificateRevocationListInput{ClientVpnEndpointId: &id}))(w)
	if *out.CertificateRevocationList != text || out.Status.Code != types.ClientCertificateRevocationListStatusCodeActive {
		t.Errorf("%.40q, %+v", *out.CertificateRevocationList, out.Status)
	}
	_, err := w.ec2.ImportClientVpnClientCertificateRevocationList(w.ctx, &ec2.ImportClientVpnClientCertificateRevocationListInput{ClientVpnEndpointId: &id, CertificateRevocationList: aws.String("a list")})
	w.refused(model.CodeBadValue, err)
	_, err = w.ec2.ImportClientVpnClientCertificateRevocationList(w.ctx, &ec2.ImportClientVpnClientCertificateRevocationListInput{ClientVpnEndpointId: &id, CertificateRevocationList: aws.String(revocations(t, 20001))})
	w.refused(model.CodeCRLLimit, err)
}

func TestTags(t *testing.T) {
	w := start(t, "0s")
	one, two := w.mutual(), w.mutual()
	tags := func(pairs ...string) (list []types.Tag) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
		}
		return list
	}
	must(w.ec2.CreateTags(w.ctx, &ec2.CreateTagsInput{Resources: []string{one, two}, Tags: tags("team", "net", "cost", "7")}))(w)
	must(w.ec2.CreateTags(w.ctx, &ec2.CreateTagsInput{Resources: []string{two}, Tags: tags("cost", "8")}))(w)
	describe := func(filters []types.Filter) (list []string) {
		pages := ec2.NewDescribeTagsPaginator(w.ec2, &ec2.DescribeTagsInput{Filters: filters, MaxResults: aws.Int32(5)})
		for pages.HasMorePages() {
			for _, d := range must(pages.NextPage(w.ctx))(w).Tags {
				w.complete("a tag", d)
				list = append(list, map[string]string{one: "1", two: "2"}[*d.ResourceId]+" "+string(d.ResourceType)+" "+*d.Key+"="+*d.Value)
			}
		}
		slices.Sort(list)
		return list
	}
	if got := describe(nil); !slices.Equal(got, []string{"1 client-vpn-endpoint cost=7", "1 client-vpn-endpoint team=net", "2 client-vpn-endpoint cost=8", "2 client-vpn-endpoint team=net"}) {
		t.Errorf("%q", got)
	}
	if got := describe(append(filter("key", "c*"), filter("value", "8")...)); !slices.Equal(got, []string{"2 client-vpn-endpoint cost=8"}) {
		t.Errorf("%q", got)
	}
	if got := describe(filter("resource-id", one)); len(got) != 2 {
		t.Errorf("%q", got)
	}
	if got := must(w.ec2.DescribeClientVpnEndpoints(w.ctx, &ec2.DescribeClientVpnEndpointsInput{Filters: filter("tag:cost", "8")}))(w); len(got.ClientVpnEndpoints) != 1 {
		t.Errorf("%+v", got.ClientVpnEndpoints)
	}
	must(w.ec2.DeleteTags(w.ctx, &ec2.DeleteTagsInput{Resources: []string{one, two}, Tags: []types.Tag{{Key: aws.String("team")}, {Key: aws.String("cost"), Value: aws.String("7")}}}))(w)
	if got := describe(nil); !slices.Equal(got, []string{"2 client-vpn-endpoint cost=8"}) {
		t.Errorf("%q", got)
	}
	// An empty value is one, too.
	must(w.ec2.DeleteTags(w.ctx, &ec2.DeleteTagsInput{Resources: []string{two}, Tags: []types.Tag{{Key: aws.String("cost"), Value: aws.String("")}}}))(w)
	if got := describe(nil); len(got) != 1 {
		t.Errorf("%q", got)
	}
	// All resources or none: of these, one is not there.
	_, err := w.ec2.CreateTags(w.ctx, &ec2.CreateTagsInput{Resources: []string{one, "cvpn-endpoint-0"}, Tags: tags("a", "b")})
	w.refused(model.CodeEndpointNotFound, err)
	if got := describe(filter("resource-id", one)); len(got) != 0 {
		t.Errorf("%q", got)
	}
	_, err = w.ec2.CreateTags(w.ctx, &ec2.CreateTagsInput{Resources: []string{one}, Tags: tags("aws:x", "b")})
	w.refused(model.CodeBadValue, err)
	_, err = w.ec2.CreateClientVpnEndpoint(w.ctx, &ec2.CreateClientVpnEndpointInput{
		ServerCertificateArn: aws.String(serverARN), AuthenticationOptions: []types.ClientVpnAuthenticationRequest{}, ConnectionLogOptions: &types.ConnectionLogOptions{},
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVpc, Tags: tags("a", "b")}},
	})
	w.refused(model.CodeBadValue, err)
}

// TestNetworks: what the configuration declares is there as AWS describes it.
func TestNetworks(t *testing.T) {
	w := start(t, "0s")
	vpcs := must(w.ec2.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{}))(w).Vpcs
	if len(vpcs) != 2 || *vpcs[0].VpcId != "vpc-0a" || *vpcs[0].CidrBlock != "10.0.0.0/16" || vpcs[0].State != types.VpcStateAvailable || *vpcs[0].OwnerId != "123456789012" || len(vpcs[0].CidrBlockAssociationSet) != 1 {
		t.Errorf("%+v", vpcs)
	}
	if got := must(w.ec2.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-0b"}, Filters: filter("cidr", "172.20.*")}))(w).Vpcs; len(got) != 1 {
		t.Errorf("%+v", got)
	}
	_, err := w.ec2.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-0x"}})
	w.refused(model.CodeVPCNotFound, err)

	subnets := must(w.ec2.DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{Filters: append(filter("vpc-id", "vpc-0a"), filter("availability-zone", "us-east-1b")...)}))(w).Subnets
	if len(subnets) != 1 || *subnets[0].SubnetId != "subnet-0b" || *subnets[0].CidrBlock != "10.0.1.0/24" || *subnets[0].AvailableIpAddressCount != 251 ||
		*subnets[0].SubnetArn != "arn:aws:ec2:us-east-1:123456789012:subnet/subnet-0b" || *subnets[0].AvailabilityZone != "us-east-1b" || subnets[0].State != types.SubnetStateAvailable {
		t.Errorf("%+v", subnets)
	}
	_, err = w.ec2.DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{"subnet-0x"}})
	w.refused("InvalidSubnetID.NotFound", err)

	groups := must(w.ec2.DescribeSecurityGroups(w.ctx, &ec2.DescribeSecurityGroupsInput{Filters: append(filter("vpc-id", "vpc-0b"), filter("group-name", "default")...)}))(w).SecurityGroups
	if len(groups) != 1 || !strings.HasPrefix(*groups[0].GroupId, "sg-") || *groups[0].VpcId != "vpc-0b" || *groups[0].OwnerId != "123456789012" {
		t.Errorf("%+v", groups)
	}
	rules := must(w.ec2.DescribeSecurityGroups(w.ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{"sg-0b"}}))(w).SecurityGroups[0]
	if in := rules.IpPermissions; *rules.Description != "web and ping" || len(in) != 1 || *in[0].IpProtocol != "tcp" || *in[0].FromPort != 443 || *in[0].ToPort != 443 || *in[0].UserIdGroupPairs[0].GroupId != "sg-0b" {
		t.Errorf("%+v", in)
	}
	if out := rules.IpPermissionsEgress; len(out) != 3 || *out[0].FromPort != 80 || *out[0].ToPort != 443 || *out[0].IpRanges[0].CidrIp != "172.20.0.0/16" || *out[0].IpRanges[0].Description != "web" ||
		*out[1].IpProtocol != "icmp" || *out[1].FromPort != -1 || *out[2].IpProtocol != "-1" || out[2].FromPort != nil || *out[2].Ipv6Ranges[0].CidrIpv6 != "fd00::/8" {
		t.Errorf("%+v", out)
	}
	_, err = w.ec2.DescribeSecurityGroups(w.ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{"sg-0"}})
	w.refused(model.CodeGroupNotFound, err)

	zones := must(w.ec2.DescribeAvailabilityZones(w.ctx, &ec2.DescribeAvailabilityZonesInput{Filters: filter("state", "available")}))(w).AvailabilityZones
	if len(zones) != 2 || *zones[0].ZoneName != "us-east-1a" || *zones[1].ZoneName != "us-east-1b" || zones[0].State != types.AvailabilityZoneStateAvailable || *zones[0].RegionName != "us-east-1" {
		t.Errorf("%+v", zones)
	}
	_, err = w.ec2.DescribeAvailabilityZones(w.ctx, &ec2.DescribeAvailabilityZonesInput{ZoneNames: []string{"mars-1a"}})
	w.refused(model.CodeBadValue, err)
	if got := must(w.ec2.DescribeAccountAttributes(w.ctx, &ec2.DescribeAccountAttributesInput{AttributeNames: []types.AccountAttributeName{types.AccountAttributeNameSupportedPlatforms}}))(w).AccountAttributes; len(got) != 1 || *got[0].AttributeValues[0].AttributeValue != "VPC" {
		t.Errorf("%+v", got)
	}
}

// TestPaginators: the SDK's own way through long lists finds everything once.
func TestPaginators(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual()
	w.associate(id, "subnet-0a")
	for i := range 12 {
		cidr := fmt.Sprintf("10.0.%d.0/24", i)
		must(w.ec2.AuthorizeClientVpnIngress(w.ctx, &ec2.AuthorizeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: &cidr, AuthorizeAllGroups: aws.Bool(true)}))(w)
		must(w.ec2.CreateClientVpnRoute(w.ctx, &ec2.CreateClientVpnRouteInput{ClientVpnEndpointId: &id, DestinationCidrBlock: &cidr, TargetVpcSubnetId: aws.String("subnet-0a")}))(w)
	}
	seen := map[string]int{}
	rules := ec2.NewDescribeClientVpnAuthorizationRulesPaginator(w.ec2, &ec2.DescribeClientVpnAuthorizationRulesInput{ClientVpnEndpointId: &id, MaxResults: aws.Int32(5)})
	for rules.HasMorePages() {
		for _, r := range must(rules.NextPage(w.ctx))(w).AuthorizationRules {
			seen["rule "+*r.DestinationCidr]++
		}
	}
	routes := ec2.NewDescribeClientVpnRoutesPaginator(w.ec2, &ec2.DescribeClientVpnRoutesInput{ClientVpnEndpointId: &id, MaxResults: aws.Int32(6)})
	for routes.HasMorePages() {
		for _, r := range must(routes.NextPage(w.ctx))(w).Routes {
			seen["route "+*r.DestinationCidr]++
		}
	}
	if len(seen) != 12+13 {
		t.Errorf("%v", seen)
	}
	for what, times := range seen {
		if times != 1 {
			t.Errorf("%s came %d times", what, times)
		}
	}
	_, err := w.ec2.DescribeClientVpnRoutes(w.ctx, &ec2.DescribeClientVpnRoutesInput{ClientVpnEndpointId: &id, NextToken: aws.String("a-token-of-mine")})
	w.refused("InvalidNextToken", err)
	_, err = w.ec2.DescribeClientVpnRoutes(w.ctx, &ec2.DescribeClientVpnRoutesInput{ClientVpnEndpointId: &id, MaxResults: aws.Int32(2)})
	w.refused(model.CodeBadValue, err)
	_, err = w.ec2.DescribeClientVpnRoutes(w.ctx, &ec2.DescribeClientVpnRoutesInput{ClientVpnEndpointId: &id, Filters: filter("color", "red")})
	w.refused(model.CodeBadValue, err)
}

// TestPagesOfWhatGoes: what goes and has been made again is there twice, also where a page ends between the two.
func TestPagesOfWhatGoes(t *testing.T) {
	w := start(t, "1m")
	id := w.mutual()
	w.associate(id, "subnet-0a")
	for i := range 5 {
		cidr := fmt.Sprintf("10.0.%d.0/24", i)
		must(w.ec2.AuthorizeClientVpnIngress(w.ctx, &ec2.AuthorizeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: &cidr, AuthorizeAllGroups: aws.Bool(true)}))(w)
		must(w.ec2.CreateClientVpnRoute(w.ctx, &ec2.CreateClientVpnRouteInput{ClientVpnEndpointId: &id, DestinationCidrBlock: &cidr, TargetVpcSubnetId: aws.String("subnet-0a")}))(w)
	}
	w.clock = w.clock.Add(time.Second)
	last := aws.String("10.0.4.0/24")
	must(w.ec2.RevokeClientVpnIngress(w.ctx, &ec2.RevokeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: last, RevokeAllGroups: aws.Bool(true)}))(w)
	must(w.ec2.AuthorizeClientVpnIngress(w.ctx, &ec2.AuthorizeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: last, AuthorizeAllGroups: aws.Bool(true)}))(w)
	must(w.ec2.DeleteClientVpnRoute(w.ctx, &ec2.DeleteClientVpnRouteInput{ClientVpnEndpointId: &id, DestinationCidrBlock: last}))(w)
	must(w.ec2.CreateClientVpnRoute(w.ctx, &ec2.CreateClientVpnRouteInput{ClientVpnEndpointId: &id, DestinationCidrBlock: last, TargetVpcSubnetId: aws.String("subnet-0a")}))(w)
	var states []string
	rules := ec2.NewDescribeClientVpnAuthorizationRulesPaginator(w.ec2, &ec2.DescribeClientVpnAuthorizationRulesInput{ClientVpnEndpointId: &id, MaxResults: aws.Int32(5)})
	for rules.HasMorePages() {
		for _, r := range must(rules.NextPage(w.ctx))(w).AuthorizationRules {
			if *r.DestinationCidr == *last {
				states = append(states, string(r.Status.Code))
			}
		}
	}
	routes := ec2.NewDescribeClientVpnRoutesPaginator(w.ec2, &ec2.DescribeClientVpnRoutesInput{ClientVpnEndpointId: &id, MaxResults: aws.Int32(5), Filters: filter("origin", "add-route")})
	for routes.HasMorePages() {
		for _, r := range must(routes.NextPage(w.ctx))(w).Routes {
			if *r.DestinationCidr == *last {
				states = append(states, string(r.Status.Code))
			}
		}
	}
	if !slices.Equal(states, []string{"revoking", "authorizing", "deleting", "creating"}) {
		t.Errorf("%q", states)
	}
	other := w.mutual()
	must(w.ec2.DeleteClientVpnEndpoint(w.ctx, &ec2.DeleteClientVpnEndpointInput{ClientVpnEndpointId: &other}))(w)
	going := must(w.ec2.DescribeClientVpnEndpoints(w.ctx, &ec2.DescribeClientVpnEndpointsInput{ClientVpnEndpointIds: []string{other}}))(w).ClientVpnEndpoints[0]
	if going.DeletionTime == nil || *going.DeletionTime != "2026-11-23T12:00:01" {
		t.Errorf("deleted at %v", going.DeletionTime)
	}
}

// TestDryRun: each action says that it would work, with the status that AWS gives it, and changes nothing.
func TestDryRun(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual()
	association := w.associate(id, "subnet-0a")
	before := w.describe(id)
	yes, list := aws.Bool(true), revocations(t, 1)
	for name, call := range map[string]func() error{
		"create": func() error {
			_, err := w.ec2.CreateClientVpnEndpoint(w.ctx, &ec2.CreateClientVpnEndpointInput{DryRun: yes, ClientCidrBlock: aws.String("10.80.0.0/22"), ServerCertificateArn: aws.String(serverARN),
				AuthenticationOptions: []types.ClientVpnAuthenticationRequest{{Type: types.ClientVpnAuthenticationTypeCertificateAuthentication, MutualAuthentication: &types.CertificateAuthenticationRequest{ClientRootCertificateChainArn: aws.String(clientsARN)}}},
				ConnectionLogOptions:  &types.ConnectionLogOptions{Enabled: aws.Bool(false)}})
			return err
		},
		"modify": func() error {
			_, err := w.ec2.ModifyClientVpnEndpoint(w.ctx, &ec2.ModifyClientVpnEndpointInput{DryRun: yes, ClientVpnEndpointId: &id, SplitTunnel: yes})
			return err
		},
		"associate": func() error {
			_, err := w.ec2.AssociateClientVpnTargetNetwork(w.ctx, &ec2.AssociateClientVpnTargetNetworkInput{DryRun: yes, ClientVpnEndpointId: &id, SubnetId: aws.String("subnet-0b")})
			return err
		},
		"disassociate": func() error {
			_, err := w.ec2.DisassociateClientVpnTargetNetwork(w.ctx, &ec2.DisassociateClientVpnTargetNetworkInput{DryRun: yes, ClientVpnEndpointId: &id, AssociationId: &association})
			return err
		},
		"authorize": func() error {
			_, err := w.ec2.AuthorizeClientVpnIngress(w.ctx, &ec2.AuthorizeClientVpnIngressInput{DryRun: yes, ClientVpnEndpointId: &id, TargetNetworkCidr: aws.String("10.0.0.0/16"), AuthorizeAllGroups: yes})
			return err
		},
		"route": func() error {
			_, err := w.ec2.CreateClientVpnRoute(w.ctx, &ec2.CreateClientVpnRouteInput{DryRun: yes, ClientVpnEndpointId: &id, DestinationCidrBlock: aws.String("0.0.0.0/0"), TargetVpcSubnetId: aws.String("subnet-0a")})
			return err
		},
		"list": func() error {
			_, err := w.ec2.ImportClientVpnClientCertificateRevocationList(w.ctx, &ec2.ImportClientVpnClientCertificateRevocationListInput{DryRun: yes, ClientVpnEndpointId: &id, CertificateRevocationList: &list})
			return err
		},
		"tags": func() error {
			_, err := w.ec2.CreateTags(w.ctx, &ec2.CreateTagsInput{DryRun: yes, Resources: []string{id}, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
			return err
		},
		"describe": func() error {
			_, err := w.ec2.DescribeClientVpnRoutes(w.ctx, &ec2.DescribeClientVpnRoutesInput{DryRun: yes, ClientVpnEndpointId: &id})
			return err
		},
	} {
		err := call()
		var response *smithyhttp.ResponseError
		if w.refused("DryRunOperation", err); !errors.As(err, &response) || response.HTTPStatusCode() != http.StatusPreconditionFailed {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What would not work says why instead.
	_, err := w.ec2.DeleteClientVpnEndpoint(w.ctx, &ec2.DeleteClientVpnEndpointInput{DryRun: yes, ClientVpnEndpointId: &id})
	w.refused(model.CodeEndpointInUse, err)
	after, all := w.describe(id), must(w.ec2.DescribeClientVpnEndpoints(w.ctx, &ec2.DescribeClientVpnEndpointsInput{}))(w)
	if len(all.ClientVpnEndpoints) != 1 || *after.SplitTunnel != *before.SplitTunnel || len(after.AssociatedTargetNetworks) != 1 || len(after.Tags) != 0 {
		t.Errorf("%+v", after)
	}
}

// TestClientToken: a call that is repeated because its answer was lost happens once.
func TestClientToken(t *testing.T) {
	w := start(t, "0s")
	token := func(in *ec2.CreateClientVpnEndpointInput) { in.ClientToken = aws.String("once") }
	one := w.mutual(token)
	if again := w.mutual(token); again != one {
		t.Errorf("%s, then %s", one, again)
	}
	_, err := w.ec2.CreateClientVpnEndpoint(w.ctx, &ec2.CreateClientVpnEndpointInput{ClientToken: aws.String("once"), ClientCidrBlock: aws.String("10.99.0.0/22"), ServerCertificateArn: aws.String(serverARN),
		AuthenticationOptions: []types.ClientVpnAuthenticationRequest{{Type: types.ClientVpnAuthenticationTypeCertificateAuthentication, MutualAuthentication: &types.CertificateAuthenticationRequest{ClientRootCertificateChainArn: aws.String(clientsARN)}}},
		ConnectionLogOptions:  &types.ConnectionLogOptions{Enabled: aws.Bool(false)}})
	w.refused(model.CodeTokenMismatch, err)
	in := &ec2.AssociateClientVpnTargetNetworkInput{ClientVpnEndpointId: &one, SubnetId: aws.String("subnet-0a"), ClientToken: aws.String("net")}
	first := must(w.ec2.AssociateClientVpnTargetNetwork(w.ctx, in))(w)
	if second := must(w.ec2.AssociateClientVpnTargetNetwork(w.ctx, in))(w); *second.AssociationId != *first.AssociationId {
		t.Errorf("%s, then %s", *first.AssociationId, *second.AssociationId)
	}
}

func TestCreateIsChecked(t *testing.T) {
	w := start(t, "0s")
	for name, c := range map[string]struct {
		code   string
		change func(*ec2.CreateClientVpnEndpointInput)
	}{
		"a small range":          {model.CodeBadValue, func(in *ec2.CreateClientVpnEndpointInput) { in.ClientCidrBlock = aws.String("10.64.0.0/23") }},
		"a large range":          {model.CodeBadValue, func(in *ec2.CreateClientVpnEndpointInput) { in.ClientCidrBlock = aws.String("10.0.0.0/11") }},
		"no certificate of ours": {model.CodeBadValue, func(in *ec2.CreateClientVpnEndpointInput) { in.ServerCertificateArn = aws.String("file:///etc/passwd") }},
		"another hour":           {model.CodeBadValue, func(in *ec2.CreateClientVpnEndpointInput) { in.SessionTimeoutHours = aws.Int32(9) }},
		"another port":           {model.CodeBadValue, func(in *ec2.CreateClientVpnEndpointInput) { in.VpnPort = aws.Int32(1195) }},
		"three DNS servers": {model.CodeBadValue, func(in *ec2.CreateClientVpnEndpointInput) {
			in.DnsServers = []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}
		}},
		"another transport": {model.CodeBadValue, func(in *ec2.CreateClientVpnEndpointInput) { in.TransportProtocol = "sctp" }},
		"no VPC":            {model.CodeVPCNotFound, func(in *ec2.CreateClientVpnEndpointInput) { in.VpcId = aws.String("vpc-0x") }},
		"a transit gateway that is not there": {model.CodeGatewayNotFound, func(in *ec2.CreateClientVpnEndpointInput) {
			in.TransitGatewayConfiguration = &types.TransitGatewayConfigurationInputStructure{TransitGatewayId: aws.String("tgw-1")}
		}},
		"device posture": {model.CodeBadCombination, func(in *ec2.CreateClientVpnEndpointInput) {
			in.DevicePostureOptions = &types.DevicePostureOptions{Enabled: aws.Bool(true)}
		}},
	} {
		in := &ec2.CreateClientVpnEndpointInput{
			ClientCidrBlock: aws.String("10.64.0.0/22"), ServerCertificateArn: aws.String(serverARN),
			AuthenticationOptions: []types.ClientVpnAuthenticationRequest{{
				Type:                 types.ClientVpnAuthenticationTypeCertificateAuthentication,
				MutualAuthentication: &types.CertificateAuthenticationRequest{ClientRootCertificateChainArn: aws.String(clientsARN)},
			}},
			ConnectionLogOptions: &types.ConnectionLogOptions{Enabled: aws.Bool(false)},
		}
		c.change(in)
		_, err := w.ec2.CreateClientVpnEndpoint(w.ctx, in)
		var e smithy.APIError
		if !errors.As(err, &e) || e.ErrorCode() != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}

// TestNotThere: what AWS has and this API has not, says so.
func TestNotThere(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual()
	_, err := w.ec2.AcceptTransitGatewayClientVpnAttachment(w.ctx, &ec2.AcceptTransitGatewayClientVpnAttachmentInput{TransitGatewayAttachmentId: aws.String("tgw-attach-1")})
	w.refused("InvalidTransitGatewayAttachmentID.NotFound", err)
	_, err = w.ec2.GetClientVpnEndpointAuthorizationPolicy(w.ctx, &ec2.GetClientVpnEndpointAuthorizationPolicyInput{ClientVpnEndpointId: &id})
	w.refused(model.CodePolicyNotFound, err)
	_, err = w.ec2.DescribeInstances(w.ctx, &ec2.DescribeInstancesInput{})
	w.refused("InvalidAction", err)
}

func TestCredentials(t *testing.T) {
	w := start(t, "0s")
	describe := func(key, secret, region string) error {
		_, err := w.client(key, secret, region).DescribeClientVpnEndpoints(w.ctx, &ec2.DescribeClientVpnEndpointsInput{})
		return err
	}
	if err := describe("AKIDADIT", "secret", "us-east-1"); err != nil {
		t.Error(err)
	}
	w.refused("AuthFailure", describe("AKIDOTHER", "secret", "us-east-1"))
	w.refused("AuthFailure", describe("AKIDADIT", "other", "us-east-1"))
	w.refused("AuthFailure", describe("AKIDADIT", "secret", "eu-west-1"))

	identity := sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: aws.String(w.url), Credentials: credentials("AKIDADIT", "secret"), RetryMaxAttempts: 1})
	who := must(identity.GetCallerIdentity(w.ctx, &sts.GetCallerIdentityInput{}))(w)
	w.complete("who asks", who)
	if *who.Account != "123456789012" || *who.Arn != "arn:aws:iam::123456789012:root" {
		t.Errorf("%+v", who)
	}
	identity = sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: aws.String(w.url), Credentials: credentials("AKIDADIT", "other"), RetryMaxAttempts: 1})
	_, err := identity.GetCallerIdentity(w.ctx, &sts.GetCallerIdentityInput{})
	w.refused("SignatureDoesNotMatch", err)
	_, err = identity.GetSessionToken(w.ctx, &sts.GetSessionTokenInput{})
	w.refused("SignatureDoesNotMatch", err)
}

// TestConcurrentCalls: ten scripts at once (AWS's limit) each get their own answers.
func TestConcurrentCalls(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual()
	errs := make(chan error, 10)
	for i := range 10 {
		go func() {
			cidr, group := fmt.Sprintf("10.%d.0.0/16", i), fmt.Sprintf("group-%d", i)
			_, err := w.ec2.AuthorizeClientVpnIngress(context.WithoutCancel(w.ctx), &ec2.AuthorizeClientVpnIngressInput{ClientVpnEndpointId: &id, TargetNetworkCidr: &cidr, AccessGroupId: &group})
			errs <- err
		}()
	}
	for range 10 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := must(w.ec2.DescribeClientVpnAuthorizationRules(w.ctx, &ec2.DescribeClientVpnAuthorizationRulesInput{ClientVpnEndpointId: &id}))(w); len(got.AuthorizationRules) != 10 {
		t.Errorf("%d rules", len(got.AuthorizationRules))
	}
}

// TestBrowser: what a web page can send to the API that the SDK talks to changes nothing.
func TestBrowser(t *testing.T) {
	w := start(t, "0s")
	id := w.mutual()
	for name, change := range map[string]func(*http.Request){
		"a form":         func(*http.Request) {},
		"its Origin":     func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"its fetch":      func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "no-cors") },
		"a rebound name": func(r *http.Request) { r.Host = "evil.example" },
	} {
		r, err := http.NewRequestWithContext(w.ctx, http.MethodPost, w.url, bytes.NewBufferString("Action=DeleteClientVpnEndpoint&Version=2016-11-15&ClientVpnEndpointId="+id))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		change(r)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode < 400 {
			t.Errorf("%s: %s", name, answer.Status)
		}
	}
	w.describe(id)
}
