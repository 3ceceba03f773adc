package ec2

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/adit-vpn/adit/endpoint/model"
)

// The part of AWS Certificate Manager that brings certificates (AWS Certificate Manager API reference; JSON protocol 1.1).

// acmOperations are its actions that there are, by name.
func acmOperations() map[string]func(s *Server, ctx context.Context, body []byte) (any, error) {
	return map[string]func(s *Server, ctx context.Context, body []byte) (any, error){
		"ImportCertificate":      acm(importCertificate),
		"DeleteCertificate":      acm(deleteCertificate),
		"DescribeCertificate":    acm(describeCertificate),
		"GetCertificate":         acm(getCertificate),
		"ListCertificates":       acm(listCertificates),
		"ListTagsForCertificate": acm(listCertificateTags),
	}
}

func (s *Server) answerACM(r *http.Request, body []byte, _ string) ([]byte, error) {
	action, _ := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "CertificateManager.")
	do, ok := acmOperations()[action]
	if !ok {
		return nil, &model.Error{Code: "UnknownOperationException", Message: "The operation " + quoted(action) + " is not there: certificates can be imported, shown, listed and deleted."}
	}
	out, err := do(s, r.Context(), body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// acm makes an operation of a function with typed parameters.
func acm[In any](do func(*Server, context.Context, In) (any, error)) func(*Server, context.Context, []byte) (any, error) {
	return func(s *Server, ctx context.Context, body []byte) (any, error) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, &model.Error{Code: "SerializationException", Message: "The request is not the JSON of this operation: " + err.Error()}
		}
		return do(s, ctx, in)
	}
}

// acmTag has a capital letter where EC2's has none.
type acmTag struct{ Key, Value string }

type inARN struct{ CertificateArn string }

func importCertificate(s *Server, ctx context.Context, in struct {
	inARN
	Certificate, PrivateKey, CertificateChain []byte
	Tags                                      []acmTag
}) (any, error) {
	n := model.NewCertificate{ARN: in.CertificateArn, Text: string(in.Certificate), Key: string(in.PrivateKey), Chain: string(in.CertificateChain)}
	for _, t := range in.Tags {
		n.Tags = append(n.Tags, model.Tag(t))
	}
	arn, err := s.m.ImportCertificate(ctx, n)
	return inARN{arn}, err
}

func deleteCertificate(s *Server, ctx context.Context, in inARN) (any, error) {
	return struct{}{}, s.m.DeleteCertificate(ctx, in.CertificateArn)
}

func (s *Server) certificate(arn string) (model.Certificate, error) {
	for _, c := range s.m.Certificates() {
		if c.ARN == arn {
			return c, nil
		}
	}
	return model.Certificate{}, &model.Error{Code: model.CodeResourceNotFound, Message: "Could not find certificate " + quoted(arn)}
}

func getCertificate(s *Server, _ context.Context, in inARN) (any, error) {
	c, err := s.certificate(in.CertificateArn)
	return struct {
		Certificate      string
		CertificateChain string `json:",omitempty"`
	}{c.Text, c.Chain}, err
}

func listCertificateTags(s *Server, _ context.Context, in inARN) (any, error) {
	c, err := s.certificate(in.CertificateArn)
	out := struct{ Tags []acmTag }{[]acmTag{}}
	for _, t := range c.Tags {
		out.Tags = append(out.Tags, acmTag(t))
	}
	return out, err
}

// certificateDetail is what DescribeCertificate says; a list has the same of each. Times are seconds since 1970. Algorithms of keys
// have hyphens there, other than in ACM's list of them.
type certificateDetail struct {
	CertificateArn          string
	DomainName              string
	SubjectAlternativeNames []string
	Serial                  string `json:",omitempty"`
	Subject                 string `json:",omitempty"`
	Issuer                  string `json:",omitempty"`
	ImportedAt              int64  `json:",omitempty"`
	NotBefore               int64  `json:",omitempty"`
	NotAfter                int64  `json:",omitempty"`
	Status                  string
	Type                    string
	KeyAlgorithm            string `json:",omitempty"`
	SignatureAlgorithm      string `json:",omitempty"`
	InUseBy                 []string
	RenewalEligibility      string
}

func (s *Server) detail(c model.Certificate) certificateDetail {
	d := certificateDetail{CertificateArn: c.ARN, SubjectAlternativeNames: []string{}, Status: "FAILED", Type: "IMPORTED", InUseBy: []string{}, RenewalEligibility: "INELIGIBLE"}
	for _, id := range c.InUse {
		d.InUseBy = append(d.InUseBy, "arn:aws:ec2:"+s.o.Region+":"+s.o.Account+":"+endpointResource+"/"+id)
	}
	if !c.Imported.IsZero() {
		d.ImportedAt = c.Imported.Unix()
	}
	block, _ := pem.Decode([]byte(c.Text))
	if block == nil {
		return d // the file that declares it cannot be read
	}
	x, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return d
	}
	d.DomainName = x.Subject.CommonName
	d.SubjectAlternativeNames = append(d.SubjectAlternativeNames, x.DNSNames...)
	if d.DomainName == "" && len(x.DNSNames) > 0 {
		d.DomainName = x.DNSNames[0]
	}
	d.Serial, d.Subject, d.Issuer = colons(x.SerialNumber.Bytes()), x.Subject.String(), x.Issuer.CommonName
	d.NotBefore, d.NotAfter = x.NotBefore.Unix(), x.NotAfter.Unix()
	if hash, with, ok := strings.Cut(x.SignatureAlgorithm.String(), "-"); ok { // "SHA256-RSA", but "ECDSA-SHA256"
		if hash == "ECDSA" {
			hash, with = with, hash
		}
		d.SignatureAlgorithm = hash + "WITH" + with
	}
	switch key := x.PublicKey.(type) {
	case *rsa.PublicKey:
		d.KeyAlgorithm = "RSA-" + strconv.Itoa(key.N.BitLen())
	case *ecdsa.PublicKey:
		d.KeyAlgorithm = map[string]string{"P-256": "EC-prime256v1", "P-384": "EC-secp384r1", "P-521": "EC-secp521r1"}[key.Curve.Params().Name]
	}
	d.Status = "ISSUED"
	if s.o.Now().After(x.NotAfter) {
		d.Status = "EXPIRED"
	}
	return d
}

// colons writes bytes as ACM writes serial numbers.
func colons(b []byte) string {
	h := make([]string, len(b))
	for i := range b {
		h[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(h, ":")
}

func describeCertificate(s *Server, _ context.Context, in inARN) (any, error) {
	c, err := s.certificate(in.CertificateArn)
	if err != nil {
		return nil, err
	}
	return struct{ Certificate certificateDetail }{s.detail(c)}, nil
}

// listCertificates answers all at once: there are at most two hundred.
func listCertificates(s *Server, _ context.Context, in struct {
	CertificateStatuses []string
	NextToken           string
}) (any, error) {
	if in.NextToken != "" {
		return nil, &model.Error{Code: model.CodeValidation, Message: "The NextToken is not one of this server."}
	}
	out := struct{ CertificateSummaryList []certificateDetail }{[]certificateDetail{}}
	for _, c := range s.m.Certificates() {
		if d := s.detail(c); len(in.CertificateStatuses) == 0 || slices.Contains(in.CertificateStatuses, d.Status) {
			out.CertificateSummaryList = append(out.CertificateSummaryList, d)
		}
	}
	return out, nil
}
