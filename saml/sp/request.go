package sp

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/xml"
	"net/url"
	"strings"
	"time"
)

// The namespaces of SAML 2.0 and of XML signatures.
const (
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsSignature = "http://www.w3.org/2000/09/xmldsig#"
	nsMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"

	bindingRedirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
	bindingPost     = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
	emailFormat     = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
)

// URL is where a browser asks for the sign-in of r (SAML bindings, 3.4): the identity
// provider's address with the request, deflated and in base64, and relayState, which
// it gives back as it is (at most 80 bytes).
func (p *Provider) URL(r Request, relayState string) string {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		panic(err) // only for a level that does not exist
	}
	w.Write(authnRequest(r.ID, p.idp.SSO, p.now()))
	w.Close() // a bytes.Buffer takes everything
	query := "SAMLRequest=" + url.QueryEscape(base64.StdEncoding.EncodeToString(packed.Bytes()))
	if relayState != "" {
		query += "&RelayState=" + url.QueryEscape(relayState)
	}
	if strings.Contains(p.idp.SSO, "?") {
		return p.idp.SSO + "&" + query
	}
	return p.idp.SSO + "?" + query
}

// authnRequest is the request's XML, with what AWS's says.
func authnRequest(id, destination string, now time.Time) []byte {
	var b bytes.Buffer
	b.WriteString(`<samlp:AuthnRequest xmlns:samlp="` + nsProtocol + `" ID="`)
	xml.EscapeText(&b, []byte(id))
	b.WriteString(`" Version="2.0" IssueInstant="` + now.UTC().Format("2006-01-02T15:04:05Z") + `" Destination="`)
	xml.EscapeText(&b, []byte(destination))
	b.WriteString(`" ProtocolBinding="` + bindingPost + `" AssertionConsumerServiceURL="` + ACS + `">` +
		`<saml:Issuer xmlns:saml="` + nsAssertion + `">` + EntityID + `</saml:Issuer>` +
		`<samlp:NameIDPolicy Format="` + emailFormat + `" AllowCreate="true"/></samlp:AuthnRequest>`)
	return b.Bytes()
}
