package ec2

import (
	"context"
	"encoding/xml"
	"time"

	"github.com/adit-vpn/adit/endpoint/ec2/query"
	"github.com/adit-vpn/adit/endpoint/model"
)

// The part of AWS Identity and Access Management that brings SAML providers (IAM API reference, version 2010-05-08).

// iamOperations are its actions that there are, by name. What they return stands in <ActionResult>; nil: there is none.
func iamOperations() map[string]func(s *Server, ctx context.Context, form query.Form) (any, error) {
	return map[string]func(s *Server, ctx context.Context, form query.Form) (any, error){
		"CreateSAMLProvider": iam(createSAMLProvider),
		"UpdateSAMLProvider": iam(updateSAMLProvider),
		"DeleteSAMLProvider": iam(deleteSAMLProvider),
		"GetSAMLProvider":    iam(getSAMLProvider),
		"ListSAMLProviders":  iam(listSAMLProviders),
	}
}

// iam makes an operation of a function with typed parameters.
func iam[In any](do func(*Server, context.Context, In) (any, error)) func(*Server, context.Context, query.Form) (any, error) {
	return func(s *Server, ctx context.Context, form query.Form) (any, error) {
		var in In
		if err := query.Decode(form, &in); err != nil {
			return nil, err
		}
		return do(s, ctx, in)
	}
}

func (s *Server) answerIAM(ctx context.Context, form query.Form, id string) ([]byte, error) {
	action, version := form.Take("Action"), form.Take("Version")
	do, ok := iamOperations()[action]
	if !ok || version != iamVersion {
		return nil, &model.Error{Code: "InvalidAction", Message: "Could not find operation " + quoted(action) + " for version " + quoted(version) + ": of IAM there are SAML providers alone."}
	}
	out, err := do(s, ctx, form)
	if err != nil {
		return nil, err
	}
	return element(action+"Response", iamSpace, &iamAnswer{Result: out, result: action + "Result", Metadata: metadata{id}})
}

// iamAnswer has its result in an element that is called as the action.
type iamAnswer struct {
	Result   any
	result   string
	Metadata metadata
}

// MarshalXML implements xml.Marshaler.
func (a *iamAnswer) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	if a.Result != nil {
		if err := e.EncodeElement(a.Result, xml.StartElement{Name: xml.Name{Local: a.result}}); err != nil {
			return err
		}
	}
	if err := e.EncodeElement(a.Metadata, xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}}); err != nil {
		return err
	}
	return e.EncodeToken(start.End())
}

// members is a list as IAM writes it.
type members[T any] struct {
	Items []T `xml:"member"`
}

// iamTag has capital letters where EC2's has none.
type iamTag struct {
	Key   string `xml:"Key"`
	Value string `xml:"Value"`
}

func iamTags(in []model.Tag) (out members[iamTag]) {
	for _, t := range in {
		out.Items = append(out.Items, iamTag(t))
	}
	return out
}

// inMetadata is what both creating and updating say. Assertions are never encrypted here.
type inMetadata struct {
	Document   string `query:"SAMLMetadataDocument"`
	Encryption string `query:"AssertionEncryptionMode"`
	Key        string `query:"AddPrivateKey"`
}

func (in *inMetadata) check() error {
	switch {
	case in.Document == "":
		return &model.Error{Code: model.CodeValidation, Message: "SAMLMetadataDocument is required here."}
	case in.Encryption != "" || in.Key != "":
		return &model.Error{Code: model.CodeInvalidInput, Message: "Encrypted assertions are not read here: leave AssertionEncryptionMode and AddPrivateKey out."}
	}
	return nil
}

type inProvider struct {
	ARN string `query:"SAMLProviderArn,required"`
}

type providerArn struct {
	ARN string `xml:"SAMLProviderArn"`
}

func createSAMLProvider(s *Server, ctx context.Context, in struct {
	inMetadata
	Name string `query:"Name,required"`
	Tags struct {
		Members []inTag `query:"member"`
	} `query:"Tags"`
}) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	tags := tagsOf(in.Tags.Members)
	arn, err := s.m.CreateSAMLProvider(ctx, in.Name, in.Document, tags)
	return struct {
		providerArn
		Tags members[iamTag] `xml:"Tags"`
	}{providerArn{arn}, iamTags(tags)}, err
}

func updateSAMLProvider(s *Server, ctx context.Context, in struct {
	inProvider
	inMetadata
}) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return providerArn{in.ARN}, s.m.UpdateSAMLProvider(ctx, in.ARN, in.Document)
}

func deleteSAMLProvider(s *Server, ctx context.Context, in inProvider) (any, error) {
	return nil, s.m.DeleteSAMLProvider(ctx, in.ARN)
}

// validFor is what IAM says of providers whose metadata names no end: a hundred years.
const validFor = 100

func iamTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func getSAMLProvider(s *Server, _ context.Context, in inProvider) (any, error) {
	for _, p := range s.m.SAMLProviders() {
		if p.ARN == in.ARN {
			return struct {
				UUID     string          `xml:"SAMLProviderUUID,omitempty"`
				Document string          `xml:"SAMLMetadataDocument"`
				Created  string          `xml:"CreateDate"`
				Until    string          `xml:"ValidUntil"`
				Tags     members[iamTag] `xml:"Tags"`
			}{p.UUID, p.Metadata, iamTime(p.Created), iamTime(p.Created.AddDate(validFor, 0, 0)), iamTags(p.Tags)}, nil
		}
	}
	return nil, &model.Error{Code: model.CodeNoSuchEntity, Message: "SAML provider " + quoted(in.ARN) + " does not exist"}
}

func listSAMLProviders(s *Server, _ context.Context, _ struct{}) (any, error) {
	type item struct {
		ARN     string `xml:"Arn"`
		Until   string `xml:"ValidUntil"`
		Created string `xml:"CreateDate"`
	}
	var out struct {
		List members[item] `xml:"SAMLProviderList"`
	}
	for _, p := range s.m.SAMLProviders() {
		out.List.Items = append(out.List.Items, item{p.ARN, iamTime(p.Created.AddDate(validFor, 0, 0)), iamTime(p.Created)})
	}
	return out, nil
}
