//go:build linux

package sdktest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/adit-vpn/adit/endpoint/model"
)

// certificate signs itself.
func certificate(t *testing.T, name string) (cert, key []byte) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(0x1ff), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// TestCertificates begins as AWS's guide to mutual authentication does: by importing the server's certificate into ACM.
func TestCertificates(t *testing.T) {
	w := start(t, "0s")
	client := func(secret string) *acm.Client {
		return acm.New(acm.Options{Region: "us-east-1", BaseEndpoint: aws.String(w.url), Credentials: credentials("AKIDADIT", secret), RetryMaxAttempts: 1})
	}
	c := client("secret")
	cert, key := certificate(t, "vpn.example.com")
	arn := must(c.ImportCertificate(w.ctx, &acm.ImportCertificateInput{
		Certificate: cert, PrivateKey: key, CertificateChain: cert, Tags: []acmtypes.Tag{{Key: aws.String("Name"), Value: aws.String("server")}},
	}))(w).CertificateArn
	id := w.mutual(func(in *ec2.CreateClientVpnEndpointInput) {
		in.ServerCertificateArn, in.AuthenticationOptions[0].MutualAuthentication.ClientRootCertificateChainArn = arn, arn
	})
	w.associate(id, "subnet-0a")
	if cfg := w.fleet.configs[id]; cfg.ServerCertificate.Cert == "" || cfg.Authentication[0].Mutual.CA != cfg.ServerCertificate.Chain {
		t.Errorf("it runs with %+v", cfg.ServerCertificate)
	}

	d := must(c.DescribeCertificate(w.ctx, &acm.DescribeCertificateInput{CertificateArn: arn}))(w).Certificate
	if *d.DomainName != "vpn.example.com" || !slices.Equal(d.SubjectAlternativeNames, []string{"vpn.example.com"}) || d.Status != acmtypes.CertificateStatusIssued || d.Type != acmtypes.CertificateTypeImported ||
		*d.Serial != "01:ff" || *d.Issuer != "vpn.example.com" || !d.NotBefore.Equal(time.Unix(1e9, 0)) || !d.NotAfter.Equal(time.Unix(1<<33, 0)) || d.ImportedAt == nil ||
		d.KeyAlgorithm != "EC-prime256v1" || *d.SignatureAlgorithm != "SHA256WITHECDSA" ||
		!slices.Equal(d.InUseBy, []string{"arn:aws:ec2:us-east-1:123456789012:client-vpn-endpoint/" + id}) {
		t.Errorf("%+v; %s, %s, %s, %s", d, *d.DomainName, *d.Serial, *d.Issuer, *d.SignatureAlgorithm)
	}
	if got := must(c.GetCertificate(w.ctx, &acm.GetCertificateInput{CertificateArn: arn}))(w); *got.Certificate != string(cert) || *got.CertificateChain != string(cert) {
		t.Errorf("%+v", got)
	}
	if tags := must(c.ListTagsForCertificate(w.ctx, &acm.ListTagsForCertificateInput{CertificateArn: arn}))(w).Tags; len(tags) != 1 || *tags[0].Key != "Name" || *tags[0].Value != "server" {
		t.Errorf("%+v", tags)
	}
	list := must(c.ListCertificates(w.ctx, &acm.ListCertificatesInput{CertificateStatuses: []acmtypes.CertificateStatus{acmtypes.CertificateStatusIssued}}))(w).CertificateSummaryList
	if len(list) != 1 || *list[0].CertificateArn != *arn { // the files of the configuration's are not there in this test
		t.Errorf("%+v", list)
	}

	renewed, renewedKey := certificate(t, "vpn.example.com")
	if again := must(c.ImportCertificate(w.ctx, &acm.ImportCertificateInput{CertificateArn: arn, Certificate: renewed, PrivateKey: renewedKey, CertificateChain: cert}))(w).CertificateArn; *again != *arn {
		t.Errorf("renewed as %s", *again)
	}
	if got := must(c.GetCertificate(w.ctx, &acm.GetCertificateInput{CertificateArn: arn}))(w); *got.Certificate != string(renewed) {
		t.Error("not renewed")
	}

	_, err := c.DeleteCertificate(w.ctx, &acm.DeleteCertificateInput{CertificateArn: arn})
	w.refused(model.CodeResourceInUse, err)
	_, err = c.DescribeCertificate(w.ctx, &acm.DescribeCertificateInput{CertificateArn: aws.String("arn:aws:acm:us-east-1:123456789012:certificate/0")})
	w.refused(model.CodeResourceNotFound, err)
	_, err = c.ImportCertificate(w.ctx, &acm.ImportCertificateInput{Certificate: cert, PrivateKey: renewedKey})
	w.refused(model.CodeValidation, err)
	_, err = c.RequestCertificate(w.ctx, &acm.RequestCertificateInput{DomainName: aws.String("example.com")})
	w.refused("UnknownOperationException", err)
	_, err = client("other").ListCertificates(w.ctx, &acm.ListCertificatesInput{})
	w.refused("SignatureDoesNotMatch", err)

	other := must(c.ImportCertificate(w.ctx, &acm.ImportCertificateInput{Certificate: cert, PrivateKey: key}))(w).CertificateArn
	must(c.DeleteCertificate(w.ctx, &acm.DeleteCertificateInput{CertificateArn: other}))(w)
	_, err = c.GetCertificate(w.ctx, &acm.GetCertificateInput{CertificateArn: other})
	w.refused(model.CodeResourceNotFound, err)
}
