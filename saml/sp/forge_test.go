package sp

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
)

// The test's identity provider: everything that it says can be edited before and after it signs.

const idpName = "https://idp.example.test/metadata"

var clock = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) string { return clock.Add(-d).Format(time.RFC3339) }

// keyPair is a key with its certificate, valid for a day around clock.
type keyPair struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func certify(t testing.TB, key crypto.Signer, from, until time.Time) keyPair {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"},
		NotBefore: from, NotAfter: until}, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{key, cert}
}

func newRSA(t testing.TB) keyPair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return certify(t, key, clock.Add(-12*time.Hour), clock.Add(12*time.Hour))
}

func newECDSA(t testing.TB) keyPair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return certify(t, key, clock.Add(-12*time.Hour), clock.Add(12*time.Hour))
}

// forge is a response in the making.
type forge struct {
	key, assertionKey     keyPair
	method, digest        string                                   // algorithms
	canonical, transforms string                                   // "" = exclusive; the Transform elements
	prefixes              string                                   // PrefixList of the assertion's transform
	uri                   string                                   // "" = "#" and the element's own ID
	unsigned              string                                   // element that is not signed: "Response" or "Assertion"
	edit                  []string                                 // pairs: text of the unsigned document, and what replaces it
	signedAssertion       func(response, assertion *etree.Element) // after the assertion was signed, before the response is
	finished              func(response *etree.Element)            // after all signatures
	text                  func(text string) string                 // the document's text, last of all
}

const request = "_0123456789abcdef"

// plainResponse is what a well-behaved provider says before it signs.
var plainResponse = `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_r1" Version="2.0" IssueInstant="` + ago(time.Second) + `" Destination="` + ACS + `" InResponseTo="` + request + `"><saml:Issuer>` + idpName + `</saml:Issuer>` +
	`<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>` +
	`<saml:Assertion xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ID="_a1" Version="2.0" IssueInstant="` + ago(2*time.Second) + `"><saml:Issuer>` + idpName + `</saml:Issuer>` +
	`<saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress">alice@example.test</saml:NameID>` +
	`<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="` + ago(-5*time.Minute) + `" Recipient="` + ACS + `" InResponseTo="` + request + `"/></saml:SubjectConfirmation></saml:Subject>` +
	`<saml:Conditions NotBefore="` + ago(30*time.Second) + `" NotOnOrAfter="` + ago(-4*time.Minute) + `"><saml:AudienceRestriction><saml:Audience>` + EntityID + `</saml:Audience></saml:AudienceRestriction></saml:Conditions>` +
	`<saml:AuthnStatement AuthnInstant="` + ago(time.Minute) + `" SessionNotOnOrAfter="` + ago(-8*time.Hour) + `"/>` +
	`<saml:AttributeStatement><saml:Attribute Name="memberOf"><saml:AttributeValue xsi:type="xs:string">VPN-Users</saml:AttributeValue><saml:AttributeValue xsi:type="xs:string">VPN-Admins</saml:AttributeValue></saml:Attribute>` +
	`<saml:Attribute Name="mail"><saml:AttributeValue xsi:type="xs:string">alice@example.test</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion></samlp:Response>`

// make says and signs it.
func (f forge) make(t testing.TB) []byte {
	t.Helper()
	text := plainResponse
	for i := 0; i < len(f.edit); i += 2 {
		if !strings.Contains(text, f.edit[i]) {
			t.Fatalf("%q is not in the response", f.edit[i])
		}
		text = strings.ReplaceAll(text, f.edit[i], f.edit[i+1])
	}
	response := tree(t, text)
	if assertion := response.SelectElement("Assertion"); assertion != nil {
		if f.unsigned != "Assertion" {
			f.sign(t, assertion, f.assertionKey)
		}
		if f.signedAssertion != nil {
			f.signedAssertion(response, assertion)
		}
	}
	if f.unsigned != "Response" {
		f.prefixes = ""
		f.sign(t, response, f.key)
	}
	if f.finished != nil {
		f.finished(response)
	}
	doc := etree.NewDocument()
	doc.SetRoot(response)
	out, err := doc.WriteToString()
	if err != nil {
		t.Fatal(err)
	}
	if f.text != nil {
		out = f.text(out)
	}
	return []byte(out)
}

func tree(t testing.TB, text string) *etree.Element {
	t.Helper()
	doc := etree.NewDocument()
	if err := doc.ReadFromString(text); err != nil {
		t.Fatal(err)
	}
	return doc.Root()
}

// sign puts a signature behind e's Issuer, or first.
func (f forge) sign(t testing.TB, e *etree.Element, pair keyPair) {
	t.Helper()
	if pair.key == nil {
		pair = f.key
	}
	canonical, err := canonicalize(e, f.prefixes, -1)
	if err != nil {
		t.Fatal(err)
	}
	digest := cmp.Or(f.digest, "http://www.w3.org/2001/04/xmlenc#sha256")
	hash, ok := digests[digest]
	if !ok {
		hash = crypto.SHA1
	}
	h := hash.New()
	h.Write(canonical)
	inclusive := ""
	if f.prefixes != "" {
		inclusive = `<ec:InclusiveNamespaces xmlns:ec="` + algExclusive + `" PrefixList="` + f.prefixes + `"/>`
	}
	transforms := cmp.Or(f.transforms, `<ds:Transform Algorithm="`+algEnveloped+`"/><ds:Transform Algorithm="`+algExclusive+`">`+inclusive+`</ds:Transform>`)
	method := f.method
	if method == "" {
		method = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
		if _, ok := pair.key.(*ecdsa.PrivateKey); ok {
			method = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
		}
	}
	signature := tree(t, fmt.Sprintf(`<ds:Signature xmlns:ds="%s"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="%s"/><ds:SignatureMethod Algorithm="%s"/>`+
		`<ds:Reference URI="%s"><ds:Transforms>%s</ds:Transforms><ds:DigestMethod Algorithm="%s"/><ds:DigestValue>%s</ds:DigestValue></ds:Reference></ds:SignedInfo>`+
		`<ds:SignatureValue/><ds:KeyInfo><ds:X509Data><ds:X509Certificate>%s</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>`, nsSignature,
		cmp.Or(f.canonical, algExclusive), method, cmp.Or(f.uri, "#"+e.SelectAttrValue("ID", "")), transforms, digest,
		base64.StdEncoding.EncodeToString(h.Sum(nil)), base64.StdEncoding.EncodeToString(pair.cert.Raw)))
	at := 0
	if issuer := e.SelectElement("Issuer"); issuer != nil {
		at = issuer.Index() + 1
	}
	e.InsertChildAt(at, signature)
	canonical, err = canonicalize(signature.SelectElement("SignedInfo"), "", -1)
	if err != nil {
		t.Fatal(err)
	}
	hash = crypto.SHA1
	if m, ok := methods[method]; ok {
		hash = m.hash
	}
	h = hash.New()
	h.Write(canonical)
	value, err := pair.key.Sign(rand.Reader, h.Sum(nil), hash)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := pair.key.(*ecdsa.PrivateKey); ok {
		var rs struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(value, &rs); err != nil {
			t.Fatal(err)
		}
		n := (key.Params().BitSize + 7) / 8
		value = append(rs.R.FillBytes(make([]byte, n)), rs.S.FillBytes(make([]byte, n))...)
	}
	signature.SelectElement("SignatureValue").SetText(base64.StdEncoding.EncodeToString(value))
}
