package sp

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Metadata is what an identity provider says of itself.
type Metadata struct {
	EntityID string
	SSO      string              // where browsers ask for a sign-in (HTTP-Redirect)
	Signing  []*x509.Certificate // at least one; any of them may have signed
}

// Bounds of a metadata file.
const (
	MaxMetadata     = 1 << 20
	maxSSO          = 2048
	maxCertificates = 16
	minRSA          = 2048 // bits
)

// The parts of metadata that matter (SAML metadata, 2.3 and 2.4).
type entityXML struct {
	XMLName    xml.Name
	ID         string        `xml:"entityID,attr"`
	ValidUntil string        `xml:"validUntil,attr"`
	Entities   []entityXML   `xml:"urn:oasis:names:tc:SAML:2.0:metadata EntityDescriptor"`
	Groups     []entityXML   `xml:"urn:oasis:names:tc:SAML:2.0:metadata EntitiesDescriptor"`
	Providers  []providerXML `xml:"urn:oasis:names:tc:SAML:2.0:metadata IDPSSODescriptor"`
}

type providerXML struct {
	Protocols  string `xml:"protocolSupportEnumeration,attr"`
	ValidUntil string `xml:"validUntil,attr"`
	Keys       []struct {
		Use          string   `xml:"use,attr"`
		Certificates []string `xml:"http://www.w3.org/2000/09/xmldsig# KeyInfo>X509Data>X509Certificate"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:metadata KeyDescriptor"`
	SSO []struct {
		Binding  string `xml:"Binding,attr"`
		Location string `xml:"Location,attr"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:metadata SingleSignOnService"`
}

// ParseMetadata reads an identity provider's metadata file. Its signature, if it has one, is not
// checked: the file is the administrator's. Exactly one identity provider must be in it.
func ParseMetadata(text []byte, now time.Time) (Metadata, error) {
	if len(text) > MaxMetadata {
		return Metadata{}, fmt.Errorf("saml metadata: larger than %d bytes", MaxMetadata)
	}
	if err := scan(text, true); err != nil {
		return Metadata{}, fmt.Errorf("saml metadata: %w", err)
	}
	var root entityXML
	if err := xml.Unmarshal(text, &root); err != nil {
		return Metadata{}, fmt.Errorf("saml metadata: %w", err)
	}
	if n := root.XMLName; n.Space != nsMetadata || n.Local != "EntityDescriptor" && n.Local != "EntitiesDescriptor" {
		return Metadata{}, fmt.Errorf("saml metadata: the file holds %q, not an EntityDescriptor", n.Local)
	}
	var found []Metadata
	if err := root.collect(now, &found); err != nil {
		return Metadata{}, fmt.Errorf("saml metadata: %w", err)
	}
	switch len(found) {
	case 0:
		return Metadata{}, errors.New("saml metadata: no identity provider (IDPSSODescriptor of SAML 2.0) in the file")
	case 1:
		return found[0], nil
	}
	return Metadata{}, fmt.Errorf("saml metadata: %d identity providers in the file, of which none is chosen", len(found))
}

// collect finds the identity providers of e and below. The scanner bounds its depth.
func (e *entityXML) collect(now time.Time, into *[]Metadata) error {
	if err := expired(e.ValidUntil, now); err != nil {
		return err
	}
	for i := range e.Groups {
		if err := e.Groups[i].collect(now, into); err != nil {
			return err
		}
	}
	for i := range e.Entities {
		if err := e.Entities[i].collect(now, into); err != nil {
			return err
		}
	}
	for _, p := range e.Providers {
		if !strings.Contains(" "+p.Protocols+" ", " "+nsProtocol+" ") {
			continue
		}
		if err := expired(p.ValidUntil, now); err != nil {
			return err
		}
		m, err := p.metadata(e.ID, now)
		if err != nil {
			return err
		}
		*into = append(*into, m)
	}
	return nil
}

func expired(until string, now time.Time) error {
	if until == "" {
		return nil
	}
	t, err := parseTime(until)
	if err != nil {
		return fmt.Errorf("validUntil: %w", err)
	}
	if !now.Before(t) {
		return fmt.Errorf("the file was valid until %s: get a new one from the identity provider", until)
	}
	return nil
}

func (p *providerXML) metadata(entity string, now time.Time) (Metadata, error) {
	m := Metadata{EntityID: entity}
	if entity == "" {
		return Metadata{}, errors.New("the identity provider has no entityID")
	}
	for _, s := range p.SSO {
		if s.Binding == bindingRedirect && m.SSO == "" {
			m.SSO = s.Location
		}
	}
	if m.SSO == "" {
		return Metadata{}, fmt.Errorf("%s has no SingleSignOnService with the HTTP-Redirect binding", entity)
	}
	if err := checkSSO(m.SSO); err != nil {
		return Metadata{}, fmt.Errorf("SingleSignOnService of %s: %w", entity, err)
	}
	for _, k := range p.Keys {
		if k.Use != "" && k.Use != "signing" {
			continue
		}
		for _, text := range k.Certificates {
			c, err := parseCertificate(text)
			if err != nil {
				return Metadata{}, fmt.Errorf("signing certificate of %s: %w", entity, err)
			}
			m.Signing = append(m.Signing, c)
		}
	}
	if n := len(m.Signing); n == 0 || n > maxCertificates {
		return Metadata{}, fmt.Errorf("%s has %d signing certificates, not 1 to %d", entity, n, maxCertificates)
	}
	if !slices.ContainsFunc(m.Signing, func(c *x509.Certificate) bool { return !now.After(c.NotAfter) }) {
		return Metadata{}, fmt.Errorf("the signing certificate of %s expired on %s: get a new file from the identity provider", entity, m.Signing[0].NotAfter.Format(time.DateOnly))
	}
	return m, nil
}

func checkSSO(location string) error {
	u, err := url.Parse(location)
	switch {
	case len(location) > maxSSO:
		return fmt.Errorf("the address is longer than %d bytes", maxSSO)
	case err != nil:
		return errors.New("the address cannot be read")
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		return fmt.Errorf("%q is no http or https address", location)
	case u.Fragment != "" || u.User != nil || strings.ContainsFunc(location, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fmt.Errorf("%q is no plain address", location)
	}
	return nil
}

func parseCertificate(text string) (*x509.Certificate, error) {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, errors.New("not base64")
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA {
			return nil, fmt.Errorf("an RSA key of %d bits is too short, %d is the least", bits, minRSA)
		}
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize < 256 {
			return nil, fmt.Errorf("an ECDSA key of %d bits is too short", key.Curve.Params().BitSize)
		}
	default:
		return nil, errors.New("its key is neither RSA nor ECDSA")
	}
	return c, nil
}
