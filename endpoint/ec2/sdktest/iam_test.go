//go:build linux

package sdktest

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/adit-vpn/adit/endpoint/model"
	"github.com/adit-vpn/adit/saml/idp"
	"github.com/adit-vpn/adit/saml/sp"
)

// metadataOf is that of an identity provider.
func metadataOf(w *world) *string {
	w.Helper()
	now := func() time.Time { return w.clock }
	key, err := idp.NewKey(now())
	if err != nil {
		w.Fatal(err)
	}
	p, err := idp.New(idp.Config{Base: "http://127.0.0.1:8081", Audience: sp.EntityID, ACS: sp.ACS, Key: key, Now: now,
		SignIn: func(context.Context, string, string, string) (idp.Person, bool) { return idp.Person{}, false }})
	if err != nil {
		w.Fatal(err)
	}
	return aws.String(string(p.Metadata()))
}

// TestSAMLProviders begins as AWS's guide to federated authentication does: by creating the identity provider in IAM.
func TestSAMLProviders(t *testing.T) {
	w := start(t, "0s")
	client := func(secret string) *iam.Client {
		return iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: aws.String(w.url), Credentials: credentials("AKIDADIT", secret), RetryMaxAttempts: 1})
	}
	c := client("secret")
	metadata := metadataOf(w)
	made := must(c.CreateSAMLProvider(w.ctx, &iam.CreateSAMLProviderInput{
		Name: aws.String("office"), SAMLMetadataDocument: metadata, Tags: []iamtypes.Tag{{Key: aws.String("team"), Value: aws.String("<net>")}},
	}))(w)
	arn := made.SAMLProviderArn
	if *arn != "arn:aws:iam::123456789012:saml-provider/office" || len(made.Tags) != 1 || *made.Tags[0].Value != "<net>" {
		t.Errorf("%+v", made)
	}
	_, err := c.CreateSAMLProvider(w.ctx, &iam.CreateSAMLProviderInput{Name: aws.String("office"), SAMLMetadataDocument: metadata})
	w.refused(model.CodeAlreadyExists, err)
	_, err = c.CreateSAMLProvider(w.ctx, &iam.CreateSAMLProviderInput{Name: aws.String("other"), SAMLMetadataDocument: metadata, AssertionEncryptionMode: iamtypes.AssertionEncryptionModeTypeRequired})
	w.refused(model.CodeInvalidInput, err)
	got := must(c.GetSAMLProvider(w.ctx, &iam.GetSAMLProviderInput{SAMLProviderArn: arn}))(w)
	w.complete("a SAML provider", got, "AssertionEncryptionMode", "PrivateKeyList")
	if *got.SAMLMetadataDocument != *metadata || !got.CreateDate.Equal(w.clock) || got.ValidUntil.Before(w.clock) || len(got.Tags) != 1 {
		t.Errorf("%+v", got)
	}
	list := must(c.ListSAMLProviders(w.ctx, &iam.ListSAMLProvidersInput{}))(w).SAMLProviderList
	if len(list) != 2 || *list[0].Arn != samlARN || *list[1].Arn != *arn {
		t.Errorf("%+v", list)
	}
	w.complete("an item of the list", list[1])

	id := w.mutual(func(in *ec2.CreateClientVpnEndpointInput) {
		in.AuthenticationOptions = []types.ClientVpnAuthenticationRequest{{Type: types.ClientVpnAuthenticationTypeFederatedAuthentication,
			FederatedAuthentication: &types.FederatedAuthenticationRequest{SAMLProviderArn: arn}}}
	})
	w.associate(id, "subnet-0a")
	before := w.fleet.configs[id].Authentication[0].Federated.Metadata
	if again := must(c.UpdateSAMLProvider(w.ctx, &iam.UpdateSAMLProviderInput{SAMLProviderArn: arn, SAMLMetadataDocument: metadataOf(w)}))(w); *again.SAMLProviderArn != *arn {
		t.Errorf("%+v", again)
	}
	if after := w.fleet.configs[id].Authentication[0].Federated.Metadata; after == before || after == "" {
		t.Errorf("it runs with %s, as before", after)
	}
	_, err = c.DeleteSAMLProvider(w.ctx, &iam.DeleteSAMLProviderInput{SAMLProviderArn: arn})
	w.refused(model.CodeConflict, err)

	second := must(c.CreateSAMLProvider(w.ctx, &iam.CreateSAMLProviderInput{Name: aws.String("second"), SAMLMetadataDocument: metadata}))(w).SAMLProviderArn
	must(c.DeleteSAMLProvider(w.ctx, &iam.DeleteSAMLProviderInput{SAMLProviderArn: second}))(w)
	_, err = c.GetSAMLProvider(w.ctx, &iam.GetSAMLProviderInput{SAMLProviderArn: second})
	w.refused(model.CodeNoSuchEntity, err)
	_, err = c.ListUsers(w.ctx, &iam.ListUsersInput{})
	w.refused("InvalidAction", err)
	_, err = client("other").ListSAMLProviders(w.ctx, &iam.ListSAMLProvidersInput{})
	w.refused("SignatureDoesNotMatch", err)
}
