package idp

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/xml"
	"math/big"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// Key signs a provider's responses.
type Key struct {
	Private     *rsa.PrivateKey
	Certificate *x509.Certificate
}

// keyLife is long: nobody renews a test provider's key.
const keyLife = 10 * 365 * 24 * time.Hour

// NewKey makes a key of 2048 bits and a certificate that it signs itself.
func NewKey(now time.Time) (*Key, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "adit-endpoint test identity provider"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(keyLife), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Key{private, certificate}, nil
}

const (
	emailFormat  = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
	nsAssertion  = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsProtocol   = "urn:oasis:names:tc:SAML:2.0:protocol"
	validFor     = 5 * time.Minute
	sessionFor   = 8 * time.Hour
	clockWording = "2006-01-02T15:04:05Z"
)

// response answers a request: an assertion about who, signed, in a response that is signed, too.
func (p *Provider) response(request string, who Person) ([]byte, error) {
	now := p.cfg.Now().UTC()
	at := func(d time.Duration) string { return now.Add(d).Format(clockWording) }

	assertion := etree.NewElement("saml:Assertion")
	set(assertion, "xmlns:saml", nsAssertion, "ID", newID(), "Version", "2.0", "IssueInstant", at(0))
	add(assertion, "saml:Issuer", p.EntityID())
	subject := add(assertion, "saml:Subject", "")
	set(add(subject, "saml:NameID", who.Name), "Format", emailFormat)
	confirmation := set(add(subject, "saml:SubjectConfirmation", ""), "Method", "urn:oasis:names:tc:SAML:2.0:cm:bearer")
	set(add(confirmation, "saml:SubjectConfirmationData", ""), "InResponseTo", request, "NotOnOrAfter", at(validFor), "Recipient", p.cfg.ACS)
	conditions := set(add(assertion, "saml:Conditions", ""), "NotBefore", at(-time.Minute), "NotOnOrAfter", at(validFor))
	add(add(conditions, "saml:AudienceRestriction", ""), "saml:Audience", p.cfg.Audience)
	authn := set(add(assertion, "saml:AuthnStatement", ""), "AuthnInstant", at(0), "SessionIndex", newID(), "SessionNotOnOrAfter", at(sessionFor))
	add(add(authn, "saml:AuthnContext", ""), "saml:AuthnContextClassRef", "urn:oasis:names:tc:SAML:2.0:ac:classes:Password")
	if len(who.Groups) > 0 {
		attribute := set(add(add(assertion, "saml:AttributeStatement", ""), "saml:Attribute", ""),
			"Name", "memberOf", "NameFormat", "urn:oasis:names:tc:SAML:2.0:attrname-format:basic")
		for _, g := range who.Groups {
			add(attribute, "saml:AttributeValue", g)
		}
	}
	if err := p.sign(assertion); err != nil {
		return nil, err
	}

	response := etree.NewElement("samlp:Response")
	set(response, "xmlns:samlp", nsProtocol, "xmlns:saml", nsAssertion, "ID", newID(), "Version", "2.0", "IssueInstant", at(0),
		"Destination", p.cfg.ACS, "InResponseTo", request)
	add(response, "saml:Issuer", p.EntityID())
	set(add(add(response, "samlp:Status", ""), "samlp:StatusCode", ""), "Value", "urn:oasis:names:tc:SAML:2.0:status:Success")
	response.AddChild(assertion)
	if err := p.sign(response); err != nil {
		return nil, err
	}
	doc := etree.NewDocument()
	doc.SetRoot(response)
	return doc.WriteToBytes()
}

// add gives e a child with text; XML has no place for control characters, which are left out.
func add(e *etree.Element, name, text string) *etree.Element {
	child := e.CreateElement(name)
	if text != "" {
		child.SetText(printable(text))
	}
	return child
}

func set(e *etree.Element, pairs ...string) *etree.Element {
	for i := 0; i < len(pairs); i += 2 {
		e.CreateAttr(pairs[i], printable(pairs[i+1]))
	}
	return e
}

func printable(text string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(text)) // replaces what XML cannot carry
	var clean string
	if err := xml.Unmarshal([]byte("<t>"+b.String()+"</t>"), &clean); err != nil {
		return ""
	}
	return clean
}

// sign puts a signature behind e's Issuer, which is its first child. e declares the namespaces
// that it uses.
func (p *Provider) sign(e *etree.Element) error {
	ctx, err := dsig.NewSigningContext(p.cfg.Key.Private, [][]byte{p.cfg.Key.Certificate.Raw})
	if err != nil {
		return err
	}
	ctx.Hash = crypto.SHA256
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	signature, err := ctx.ConstructSignature(e.Copy(), true)
	if err != nil {
		return err
	}
	e.InsertChildAt(1, signature)
	return nil
}

// newID is an XML ID of 160 random bits.
func newID() string {
	b := make([]byte, 20)
	rand.Read(b)
	return "_" + hex.EncodeToString(b)
}
