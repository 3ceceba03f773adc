package sp

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/xml"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"
)

const plainMetadata = `<?xml version="1.0" encoding="utf-8"?>
<!-- as vendors write it -->
<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID="` + idpName + `">
  <md:SPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"/>
  <md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:1.1:protocol urn:oasis:names:tc:SAML:2.0:protocol">
    <md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>ONE</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>
    <md:KeyDescriptor><ds:KeyInfo><ds:X509Data><ds:X509Certificate>
      TWO
    </ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>
    <md:KeyDescriptor use="encryption"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>not for signing</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>
    <md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://idp.example.test/post"/>
    <md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example.test/sso?realm=a"/>
  </md:IDPSSODescriptor>
</md:EntityDescriptor>`

func TestMetadata(t *testing.T) {
	rsaKey, ec := newRSA(t), newECDSA(t)
	tiny, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	short := certify(t, tiny, clock, clock.Add(time.Hour))
	encode := func(k keyPair) string { return base64.StdEncoding.EncodeToString(k.cert.Raw) }
	good := strings.NewReplacer("ONE", encode(rsaKey), "TWO", encode(ec)[:64]+"\n   "+encode(ec)[64:]).Replace(plainMetadata)
	m, err := ParseMetadata([]byte(good), clock)
	if err != nil {
		t.Fatal(err)
	}
	if m.EntityID != idpName || m.SSO != "https://idp.example.test/sso?realm=a" || len(m.Signing) != 2 || !m.Signing[0].Equal(rsaKey.cert) || !m.Signing[1].Equal(ec.cert) {
		t.Errorf("%+v", m)
	}
	group := `<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">` + good[strings.Index(good, "<md:Entity"):] + `</md:EntitiesDescriptor>`
	if m, err := ParseMetadata([]byte(group), clock); err != nil || m.EntityID != idpName {
		t.Errorf("in a group: %+v, %v", m, err)
	}
	if _, err := ParseMetadata([]byte(good), clock.Add(13*time.Hour)); err == nil || !strings.Contains(err.Error(), "expired on 2026-03-02") {
		t.Errorf("with expired certificates: %v", err)
	}
	for _, tc := range []struct{ name, old, with, want string }{
		{"a DTD", "<!-- as", `<!DOCTYPE x SYSTEM "http://evil.example.test/x.dtd"><!-- as`, "DTD"},
		{"an external entity", "<!-- as", `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><!-- as`, "DTD"},
		{"another root", "EntityDescriptor", "Descriptor", "not an EntityDescriptor"},
		{"no identity provider", "IDPSSODescriptor", "AttributeAuthorityDescriptor", "no identity provider"},
		{"SAML 1.1 only", " urn:oasis:names:tc:SAML:2.0:protocol\">", `">`, "no identity provider"},
		{"no redirect", "HTTP-Redirect", "SOAP", "HTTP-Redirect"},
		{"no name", ` entityID="` + idpName + `"`, "", "no entityID"},
		{"another scheme", "https://idp.example.test/sso", "javascript:alert(1)//", "no http"},
		{"a user in the address", "https://idp.example.test/sso", "https://u@idp.example.test/sso", "no plain address"},
		{"an address without end", "/sso?", "/" + strings.Repeat("s", maxSSO) + "?", "longer than"},
		{"no certificate", `use="signing"`, `use="encryption"`, ""},
		{"no base64", encode(rsaKey), "?", "not base64"},
		{"a short key", encode(rsaKey), encode(short), "1024 bits"},
		{"expired", ` entityID=`, ` validUntil="2026-02-01T00:00:00Z" entityID=`, "valid until"},
		{"two providers", "</md:EntityDescriptor>", "</md:EntityDescriptor>", ""},
		{"cut", "</md:EntityDescriptor>", "", "not complete"},
		{"too large", "as vendors", strings.Repeat("x", MaxMetadata), "larger than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := strings.ReplaceAll(good, tc.old, tc.with)
			if tc.name == "two providers" {
				one := good[strings.Index(good, "<md:Entity"):]
				text, tc.want = `<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">`+one+one+`</md:EntitiesDescriptor>`, "2 identity providers"
			}
			if tc.name == "no certificate" {
				text, tc.want = strings.Replace(text, "<md:KeyDescriptor>", `<md:KeyDescriptor use="encryption">`, 1), "0 signing certificates"
			}
			if _, err := ParseMetadata([]byte(text), clock); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	for _, tc := range []struct{ sso, want string }{
		{"https://idp.example.test/sso", "https://idp.example.test/sso?SAMLRequest="},
		{"https://idp.example.test/sso?realm=a&b=%26", "https://idp.example.test/sso?realm=a&b=%26&SAMLRequest="},
	} {
		p := New(Metadata{EntityID: idpName, SSO: tc.sso}, func() time.Time { return clock })
		address := p.URL(asked(), "a+b/c")
		if !strings.HasPrefix(address, tc.want) {
			t.Errorf("%s", address)
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.Query().Get("RelayState"); got != "a+b/c" {
			t.Errorf("RelayState %q", got)
		}
		packed, err := base64.StdEncoding.DecodeString(u.Query().Get("SAMLRequest"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
		if err != nil {
			t.Fatal(err)
		}
		var r struct {
			XMLName     xml.Name `xml:"urn:oasis:names:tc:SAML:2.0:protocol AuthnRequest"`
			ID          string   `xml:",attr"`
			Destination string   `xml:",attr"`
			ACS         string   `xml:"AssertionConsumerServiceURL,attr"`
			Binding     string   `xml:"ProtocolBinding,attr"`
			At          string   `xml:"IssueInstant,attr"`
			Issuer      string   `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
			Signature   *string  `xml:"http://www.w3.org/2000/09/xmldsig# Signature"`
		}
		if err := xml.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		if r.ID != request || r.Destination != tc.sso || r.ACS != "http://127.0.0.1:35001" || r.Issuer != "urn:amazon:webservices:clientvpn" ||
			!strings.HasSuffix(r.Binding, "HTTP-POST") || r.At != "2026-03-01T12:00:00Z" || r.Signature != nil {
			t.Errorf("%+v", r)
		}
	}
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(plainMetadata))
	f.Add([]byte(`<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata"/>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseMetadata(text, clock)
		if err == nil && (m.EntityID == "" || len(m.Signing) == 0 || checkSSO(m.SSO) != nil) {
			t.Errorf("accepted %+v", m)
		}
	})
}
