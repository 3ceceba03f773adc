package sp

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
)

func provider(trusted ...keyPair) *Provider {
	m := Metadata{EntityID: idpName, SSO: "https://idp.example.test/sso"}
	for _, k := range trusted {
		m.Signing = append(m.Signing, k.cert)
	}
	return New(m, func() time.Time { return clock })
}

func asked() Request { return Request{ID: request, Expires: clock.Add(5 * time.Minute)} }

// swap is one edit of the unsigned text.
func swap(pairs ...string) func(*forge) {
	return func(f *forge) { f.edit = pairs }
}

// evil is an assertion that nobody signed, for someone else.
func evil(t testing.TB, id string) *etree.Element {
	text := strings.ReplaceAll(plainResponse, "alice@", "mallory@")
	e := tree(t, strings.ReplaceAll(text, `ID="_a1"`, `ID="`+id+`"`)).SelectElement("Assertion")
	return e.Copy()
}

func TestGoodResponses(t *testing.T) {
	rsaKey, other, ec := newRSA(t), newRSA(t), newECDSA(t)
	for _, tc := range []struct {
		name string
		edit func(f *forge)
		want Identity
	}{
		{"plain", func(f *forge) {}, Identity{Name: "alice@example.test", Groups: []string{"VPN-Users", "VPN-Admins"}}},
		{"the second key of the metadata", func(f *forge) { f.key = other }, Identity{}},
		{"two keys", func(f *forge) { f.assertionKey = other }, Identity{}},
		{"ECDSA", func(f *forge) { f.key = ec }, Identity{}},
		{"SHA-512", func(f *forge) {
			f.method, f.digest = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512", "http://www.w3.org/2001/04/xmlenc#sha512"
		}, Identity{}},
		{"prefixes of types are signed, too", func(f *forge) { f.prefixes = "xs xsi" }, Identity{}},
		{"clocks differ", swap(ago(30*time.Second), ago(-2*time.Minute), ago(-4*time.Minute), ago(2*time.Minute)), Identity{}},
		{"without issuer of the response", swap("<saml:Issuer>"+idpName+"</saml:Issuer><samlp:Status>", "<samlp:Status>"), Identity{}},
		{"no groups", swap(`Name="memberOf"`, `Name="roles"`), Identity{Name: "alice@example.test"}},
		{"one time use", swap(`</saml:AudienceRestriction>`, `</saml:AudienceRestriction><saml:OneTimeUse/>`), Identity{}},
		{"several audiences", swap(`<saml:Audience>`, `<saml:Audience>https://other.example.test</saml:Audience><saml:Audience>`), Identity{}},
		{"several confirmations", swap(`<saml:SubjectConfirmation `, `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"/><saml:SubjectConfirmation `), Identity{}},
		{"an XML declaration", func(f *forge) {
			f.text = func(s string) string { return `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + s }
		}, Identity{}},
		{"space and characters of other scripts", swap(">alice@example.test</saml:NameID", ">\n  alicé@例え.test\n</saml:NameID"), Identity{Name: "alicé@例え.test", Groups: []string{"VPN-Users", "VPN-Admins"}}},
		{"a character reference", swap(">VPN-Users<", ">R&amp;D &#60;all&#62;<"), Identity{Name: "alice@example.test", Groups: []string{"R&D <all>", "VPN-Admins"}}},
		{"a long name", swap(">alice@example.test</saml:NameID", ">"+strings.Repeat("é", 300)+"</saml:NameID"), Identity{Name: strings.Repeat("é", 255), Groups: []string{"VPN-Users", "VPN-Admins"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := forge{key: rsaKey}
			tc.edit(&f)
			got, err := provider(rsaKey, other, ec).Check(f.make(t), asked())
			if err != nil {
				t.Fatal(err)
			}
			if tc.want.Name == "" {
				tc.want = Identity{Name: "alice@example.test", Groups: []string{"VPN-Users", "VPN-Admins"}}
			}
			if got.Name != tc.want.Name || !slices.Equal(got.Groups, tc.want.Groups) || got.Ignored != 0 {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// recorded is what SimpleSAMLphp 1.19 said to request at one moment.
func recorded(t testing.TB) (m Metadata, response []byte, at time.Time) {
	t.Helper()
	at = time.Date(2026, 11, 22, 9, 55, 30, 0, time.UTC)
	text, err := os.ReadFile("testdata/simplesamlphp-metadata.xml")
	if err != nil {
		t.Fatal(err)
	}
	if m, err = ParseMetadata(text, at); err != nil {
		t.Fatal(err)
	}
	if response, err = os.ReadFile("testdata/simplesamlphp-response.xml"); err != nil {
		t.Fatal(err)
	}
	return m, response, at
}

func TestRecordedResponse(t *testing.T) {
	m, response, at := recorded(t)
	r := Request{ID: request, Expires: at.Add(time.Minute)}
	check := func(text []byte) (Identity, error) {
		return New(m, func() time.Time { return at }).Check(text, r)
	}
	who, err := check(response)
	if err != nil || who.Name != "alice@example.test" || !slices.Equal(who.Groups, []string{"VPN-Users", "VPN-Admins"}) {
		t.Errorf("%+v, %v", who, err)
	}
	for _, old := range []string{"alice@", "VPN-Admins", request, "35001", EntityID, "09:55:17Z", "<saml:Subject>", "Success"} {
		changed := bytes.ReplaceAll(response, []byte(old), []byte(old[:len(old)-1]+"X"))
		if bytes.Equal(changed, response) {
			t.Errorf("%q is not in the response", old)
		}
		if who, err := check(changed); err == nil {
			t.Errorf("without %q: accepted as %+v", old, who)
		}
	}
}

func TestGroupsBeyondTheLimits(t *testing.T) {
	key := newRSA(t)
	var values strings.Builder
	for i := range 250 {
		fmt.Fprintf(&values, "<saml:AttributeValue>g%d</saml:AttributeValue>", i)
	}
	long := strings.Repeat("x", MaxGroup+1)
	f := forge{key: key, edit: []string{`<saml:AttributeValue xsi:type="xs:string">VPN-Users</saml:AttributeValue>`,
		"<saml:AttributeValue>" + long + "</saml:AttributeValue><saml:AttributeValue>g0</saml:AttributeValue>" + values.String()}}
	who, err := provider(key).Check(f.make(t), asked())
	if err != nil {
		t.Fatal(err)
	}
	if len(who.Groups) != MaxGroups || who.Groups[0] != "g0" || who.Groups[199] != "g199" || who.Ignored != 52 {
		t.Errorf("%d groups, %d ignored", len(who.Groups), who.Ignored)
	}
}

// TestForgedResponses: each response is a good one, signed by the right key where nothing else is said,
// with one thing wrong.
func TestForgedResponses(t *testing.T) {
	key, stranger := newRSA(t), newRSA(t)
	weak := key
	weak.cert = certify(t, key.key, clock.Add(-48*time.Hour), clock.Add(-24*time.Hour)).cert
	wrap := func(f func(response, assertion *etree.Element)) func(*forge) {
		return func(g *forge) {
			g.finished = func(response *etree.Element) { f(response, response.SelectElement("Assertion")) }
		}
	}
	text := func(edit func(s string) string) func(*forge) { return func(f *forge) { f.text = edit } }
	replace := func(old, with string) func(*forge) {
		return text(func(s string) string {
			if !strings.Contains(s, old) {
				t.Errorf("%q is not in the response", old)
			}
			return strings.ReplaceAll(s, old, with)
		})
	}
	for _, tc := range []struct {
		name string
		edit func(f *forge)
		want error
	}{
		// Who signed.
		{"a stranger's key", func(f *forge) { f.key = stranger }, ErrSignature},
		{"a stranger's key under the assertion", func(f *forge) { f.assertionKey = stranger }, ErrSignature},
		{"a stranger's key under the response", func(f *forge) { f.key, f.assertionKey = stranger, key }, ErrSignature},
		{"no signature at all", func(f *forge) {
			f.unsigned = "Response"
			f.signedAssertion = func(_, a *etree.Element) { a.RemoveChild(a.SelectElement("Signature")) }
		}, ErrSignature},
		{"only the response signed", func(f *forge) { f.unsigned = "Assertion" }, ErrSignature},
		{"only the assertion signed", func(f *forge) { f.unsigned = "Response" }, ErrSignature},
		{"an expired certificate", func(f *forge) { f.key = weak }, ErrSignature},
		{"an empty signature", text(func(s string) string {
			a, b := strings.Index(s, "<ds:SignatureValue>"), strings.Index(s, "</ds:SignatureValue>")
			return s[:a+len("<ds:SignatureValue>")] + s[b:]
		}), ErrSignature},

		// What was signed.
		{"the name changed", replace(">alice@example.test</saml:NameID", ">admin@example.test</saml:NameID"), ErrSignature},
		{"a group added", replace(">VPN-Users<", ">VPN-Root<"), ErrSignature},
		{"the destination changed", replace(`Destination="`+ACS+`"`, `Destination="http://127.0.0.1:35001/"`), ErrSignature},
		{"the request's id changed", replace(`InResponseTo="`+request+`"`, `InResponseTo="_other"`), ErrSignature},
		{"the reference is to nothing", func(f *forge) { f.uri = "#_other" }, ErrSignature},
		{"the reference is to the whole document", func(f *forge) { f.uri = "#" }, ErrSignature},
		{"two references", text(func(s string) string {
			a, b := strings.Index(s, "<ds:Reference"), strings.Index(s, "</ds:Reference>")+len("</ds:Reference>")
			return s[:b] + s[a:b] + s[b:]
		}), ErrSignature},
		{"a signature without end", replace("<ds:SignedInfo>", "<ds:SignedInfo>"+strings.Repeat("<ds:Object/>", 100)), ErrSignature},
		{"a second SignedInfo", text(func(s string) string {
			a, b := strings.Index(s, "<ds:SignedInfo"), strings.Index(s, "</ds:SignedInfo>")+len("</ds:SignedInfo>")
			return s[:b] + s[a:b] + s[b:]
		}), ErrSignature},

		// Algorithms.
		{"SHA-1 signature", func(f *forge) { f.method = "http://www.w3.org/2000/09/xmldsig#rsa-sha1" }, ErrAlgorithm},
		{"SHA-1 digest", func(f *forge) { f.digest = "http://www.w3.org/2000/09/xmldsig#sha1" }, ErrAlgorithm},
		{"HMAC with the public key", func(f *forge) { f.method = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256" }, ErrAlgorithm},
		{"inclusive canonicalization", func(f *forge) { f.canonical = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315" }, ErrAlgorithm},
		{"canonicalization with comments", func(f *forge) { f.canonical = "http://www.w3.org/2001/10/xml-exc-c14n#WithComments" }, ErrAlgorithm},
		{"an XSLT transform", func(f *forge) {
			f.transforms = `<ds:Transform Algorithm="` + algEnveloped + `"/><ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/>`
		}, ErrAlgorithm},
		{"a third transform", func(f *forge) {
			f.transforms = `<ds:Transform Algorithm="` + algEnveloped + `"/><ds:Transform Algorithm="` + algExclusive + `"/><ds:Transform Algorithm="` + algExclusive + `"/>`
		}, ErrAlgorithm},
		{"no enveloped transform", func(f *forge) { f.transforms = `<ds:Transform Algorithm="` + algExclusive + `"/>` }, ErrAlgorithm},

		// Signature wrapping, in the eight arrangements of Somorovsky et al., "On Breaking SAML" (2012).
		{"XSW1: the signed response inside its signature", func(f *forge) {
			f.finished = func(r *etree.Element) {
				copied := r.Copy()
				r.CreateAttr("ID", "_evil")
				r.SelectElement("Signature").AddChild(copied)
				r.SelectElement("Assertion").FindElement("Subject/NameID").SetText("mallory@example.test")
			}
		}, ErrMalformed},
		{"XSW2: the signed response beside its signature", func(f *forge) {
			f.finished = func(r *etree.Element) {
				copied := r.Copy()
				copied.RemoveChild(copied.SelectElement("Signature"))
				r.CreateAttr("ID", "_evil")
				r.AddChild(copied)
			}
		}, ErrMalformed},
		{"XSW3: a forged assertion before the signed one", wrap(func(r, a *etree.Element) { r.InsertChildAt(a.Index(), evil(t, "_evil")) }), ErrMalformed},
		{"XSW4: the signed assertion inside a forged one", wrap(func(r, a *etree.Element) {
			e := evil(t, "_evil")
			r.RemoveChild(a)
			e.AddChild(a)
			r.AddChild(e)
		}), ErrMalformed},
		{"XSW5: a forged assertion with the signature of the signed one", wrap(func(r, a *etree.Element) {
			e := evil(t, "_evil")
			e.InsertChildAt(1, a.SelectElement("Signature"))
			r.InsertChildAt(a.Index(), e)
		}), ErrMalformed},
		{"XSW6: the signed assertion inside the signature of a forged one", wrap(func(r, a *etree.Element) {
			e := evil(t, "_evil")
			s := a.SelectElement("Signature")
			r.RemoveChild(a)
			e.InsertChildAt(1, s)
			s.AddChild(a)
			r.AddChild(e)
		}), ErrMalformed},
		{"XSW7: the forged assertion in an extension", wrap(func(r, a *etree.Element) {
			e := r.CreateElement("samlp:Extensions")
			e.AddChild(evil(t, "_a1x"))
		}), ErrMalformed},
		{"XSW8: the signed assertion in an object of the signature", wrap(func(r, a *etree.Element) {
			e := evil(t, "_evil")
			s := a.SelectElement("Signature")
			r.RemoveChild(a)
			e.InsertChildAt(1, s)
			s.CreateElement("ds:Object").AddChild(a)
			r.AddChild(e)
		}), ErrMalformed},
		{"the same ID twice", wrap(func(r, a *etree.Element) { r.AddChild(evil(t, "_a1")) }), ErrMalformed},
		{"the ID in another attribute", replace(`ID="_a1"`, `ID="_evil" Id="_a1" xml:id="_a1"`), ErrMalformed},
		{"an attribute twice", replace(`ID="_r1"`, `ID="_r1" ID="_r2"`), ErrMalformed},
		{"an assertion of another namespace", wrap(func(r, a *etree.Element) {
			r.InsertChildAt(a.Index(), tree(t, `<Assertion xmlns="urn:evil" ID="_e"/>`))
		}), ErrMalformed},
		{"an assertion that was signed for another response", func(f *forge) {
			f.signedAssertion = func(r, a *etree.Element) { a.FindElement("Subject/NameID").SetText("mallory@example.test") }
		}, ErrSignature},

		// What splits or multiplies text.
		{"a comment in the name", replace(">alice@example.test</saml:NameID", ">alice@example.test<!-- -->.evil.test</saml:NameID"), ErrMalformed},
		{"a signed comment in the name", swap(">alice@example.test</saml:NameID", ">admin@example.test<!-- -->.evil.test</saml:NameID"), ErrMalformed},
		{"a processing instruction", replace(">alice@example.test</saml:NameID", ">alice@example.test<?x y?></saml:NameID"), ErrMalformed},
		{"a signed element in the name", swap(">alice@example.test</saml:NameID", ">admin@<saml:x/>example.test</saml:NameID"), ErrSubject},
		{"a DTD", text(func(s string) string { return `<!DOCTYPE r [<!ENTITY a "alice">]>` + s }), ErrMalformed},
		{"an entity", replace(">alice@example.test</saml:NameID", ">&xxe;</saml:NameID"), ErrMalformed},
		{"another encoding", text(func(s string) string { return `<?xml version="1.0" encoding="UTF-16"?>` + s }), ErrMalformed},
		{"a second root", text(func(s string) string { return s + `<x/>` }), ErrMalformed},
		{"text behind the document", text(func(s string) string { return s + "x" }), ErrMalformed},
		{"an odd name", replace("<samlp:Status>", "<samlp::Status>"), ErrMalformed},
		{"cut", text(func(s string) string { return s[:len(s)-40] }), ErrMalformed},
		{"empty", text(func(string) string { return "" }), ErrMalformed},
		{"too large", swap("VPN-Users", strings.Repeat("x", MaxResponse)), ErrMalformed},
		{"too deep", text(func(string) string { return strings.Repeat("<a>", 4000) + strings.Repeat("</a>", 4000) }), ErrMalformed},
		{"too many namespaces", replace("<samlp:Status>", "<samlp:Status"+manyPrefixes(60)+"><x"+manyPrefixes(60)+"/>"), ErrMalformed},
		{"no response", text(func(string) string { return `<x xmlns="urn:oasis:names:tc:SAML:2.0:protocol"/>` }), ErrMalformed},
		{"an encrypted assertion", wrap(func(r, a *etree.Element) { a.Tag = "EncryptedAssertion" }), ErrMalformed},

		// What it says.
		{"no success", swap("status:Success", "status:Responder"), ErrStatus},
		{"no success and no assertion", func(f *forge) {
			a, b := strings.Index(plainResponse, "<saml:Assertion"), strings.Index(plainResponse, "</samlp:Response>")
			f.edit = []string{"status:Success", "status:Responder", plainResponse[a:b], ""}
		}, ErrStatus},
		{"success without assertion", func(f *forge) {
			a, b := strings.Index(plainResponse, "<saml:Assertion"), strings.Index(plainResponse, "</samlp:Response>")
			f.edit = []string{plainResponse[a:b], ""}
		}, ErrMalformed},
		{"no status", swap(`<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>`, ""), ErrMalformed},
		{"SAML 1.1", swap(`Version="2.0"`, `Version="1.1"`), ErrMalformed},
		{"another provider", swap(idpName, "https://other.example.test"), ErrIssuer},
		{"another provider in the assertion", swap("</samlp:Status><saml:Assertion", "</samlp:Status><saml:Assertion", ">"+idpName+"</saml:Issuer><saml:Subject>", ">https://other.example.test</saml:Issuer><saml:Subject>"), ErrIssuer},
		{"another destination", swap(`Destination="`+ACS+`"`, `Destination="https://other.example.test/acs"`), ErrDestination},
		{"no destination", swap(` Destination="`+ACS+`"`, ""), ErrDestination},
		{"another recipient", swap(`Recipient="`+ACS+`"`, `Recipient="https://other.example.test/acs"`), ErrDestination},
		{"another audience", swap("<saml:Audience>"+EntityID, "<saml:Audience>https://other.example.test"), ErrAudience},
		{"no audience", swap(`<saml:AudienceRestriction><saml:Audience>`+EntityID+`</saml:Audience></saml:AudienceRestriction>`, ""), ErrAudience},
		{"a second restriction to others", swap(`</saml:AudienceRestriction>`, `</saml:AudienceRestriction><saml:AudienceRestriction><saml:Audience>https://other.example.test</saml:Audience></saml:AudienceRestriction>`), ErrAudience},
		{"a condition that nobody knows", swap(`</saml:AudienceRestriction>`, `</saml:AudienceRestriction><saml:Condition/>`), ErrAudience},
		{"no request", swap(` InResponseTo="`+request+`"`, ""), ErrRequest},
		{"another request", swap(request, "_fedcba9876543210"), ErrRequest},
		{"another request in the confirmation", swap(`Recipient="`+ACS+`" InResponseTo="`+request+`"`, `Recipient="`+ACS+`" InResponseTo="_other"`), ErrRequest},
		{"expired", swap(ago(-4*time.Minute), ago(4*time.Minute)), ErrTime},
		{"the confirmation expired", swap(ago(-5*time.Minute), ago(5*time.Minute)), ErrTime},
		{"the confirmation never expires", swap(` NotOnOrAfter="`+ago(-5*time.Minute)+`"`, ""), ErrTime},
		{"the session expired", swap(ago(-8*time.Hour), ago(8*time.Hour)), ErrTime},
		{"not yet", swap(ago(30*time.Second), ago(-4*time.Minute-time.Second)), ErrTime},
		{"issued in the future", swap(ago(time.Second), ago(-time.Hour)), ErrTime},
		{"the assertion issued in the future", swap(ago(2*time.Second), ago(-time.Hour)), ErrTime},
		{"no time at all", swap(ago(-4*time.Minute), "tomorrow"), ErrTime},
		{"holder of key", swap("cm:bearer", "cm:holder-of-key"), ErrSubject},
		{"no confirmation data", swap(`<saml:SubjectConfirmationData NotOnOrAfter="`+ago(-5*time.Minute)+`" Recipient="`+ACS+`" InResponseTo="`+request+`"/>`, ""), ErrSubject},
		{"no authentication", swap(`<saml:AuthnStatement AuthnInstant="`+ago(time.Minute)+`" SessionNotOnOrAfter="`+ago(-8*time.Hour)+`"/>`, ""), ErrSubject},
		{"no name", swap(">alice@example.test</saml:NameID", "> </saml:NameID"), ErrSubject},
		{"two names", swap("</saml:NameID>", "</saml:NameID><saml:NameID>bob</saml:NameID>"), ErrSubject},
		{"a line break in the name", swap(">alice@example.test</saml:NameID", ">alice@example.test&#10;admin</saml:NameID"), ErrSubject},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := forge{key: key}
			tc.edit(&f)
			trusted := []keyPair{key}
			if f.key == weak {
				trusted = []keyPair{weak}
			}
			p := provider(trusted...)
			who, err := p.Check(f.make(t), asked())
			if !errors.Is(err, tc.want) {
				t.Errorf("got %+v, %v; want %v", who, err, tc.want)
			}
			if who.Name != "" || who.Groups != nil {
				t.Errorf("refused, but names %+v", who)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("more than one line: %q", err)
			}
			// What was refused did not use the request up.
			if _, err := p.Check(forge{key: key}.make(t), asked()); f.key != weak && err != nil {
				t.Errorf("the good answer afterwards: %v", err)
			}
		})
	}
}

func manyPrefixes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ` xmlns:p%d="urn:%d"`, i, i)
	}
	return b.String()
}

func TestSingleUse(t *testing.T) {
	key := newRSA(t)
	now := clock
	p := New(provider(key).idp, func() time.Time { return now })
	response := forge{key: key}.make(t)
	if _, err := p.Check(response, asked()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Check(response, asked()); !errors.Is(err, ErrReplayed) {
		t.Errorf("the same again: %v", err)
	}
	again := forge{key: key, edit: []string{`ID="_a1"`, `ID="_a2"`, `ID="_r1"`, `ID="_r2"`}}.make(t)
	if _, err := p.Check(again, asked()); !errors.Is(err, ErrReplayed) {
		t.Errorf("a second assertion for the same request: %v", err)
	}
	now = clock.Add(5 * time.Minute)
	if _, err := p.Check(response, asked()); !errors.Is(err, ErrRequest) {
		t.Errorf("after the request expired: %v", err)
	}
}

// What is remembered is bounded; a full memory refuses rather than forgets.
func TestUsedIsBounded(t *testing.T) {
	p := provider(newRSA(t))
	for i := range maxUsed {
		if err := p.use(Request{ID: fmt.Sprint(i), Expires: clock.Add(time.Minute)}, clock); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.use(Request{ID: "more", Expires: clock.Add(time.Minute)}, clock); !errors.Is(err, ErrReplayed) {
		t.Errorf("a full memory: %v", err)
	}
	if err := p.use(Request{ID: "more", Expires: clock.Add(time.Hour)}, clock.Add(time.Minute)); err != nil || len(p.used) != 1 {
		t.Errorf("after all expired: %v, %d remembered", err, len(p.used))
	}
}

func TestECDSAIsNotRSA(t *testing.T) {
	ec, rsaKey := newECDSA(t), newRSA(t)
	f := forge{key: ec, method: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"}
	if _, err := provider(ec, rsaKey).Check(f.make(t), asked()); !errors.Is(err, ErrSignature) {
		t.Errorf("an ECDSA signature under RSA's name: %v", err)
	}
	f = forge{key: rsaKey, method: "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"}
	if _, err := provider(ec, rsaKey).Check(f.make(t), asked()); !errors.Is(err, ErrSignature) {
		t.Errorf("an RSA signature under ECDSA's name: %v", err)
	}
}

// FuzzCheck: no input is accepted but the signed one, none panics, and what is accepted says what
// was signed.
func FuzzCheck(f *testing.F) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	pair := certify(f, key, clock.Add(-time.Hour), clock.Add(time.Hour))
	good := forge{key: pair}.make(f)
	f.Add(good)
	f.Add(bytes.ReplaceAll(good, []byte("saml:"), []byte("s:")))
	f.Add(forge{key: pair, unsigned: "Response"}.make(f))
	f.Add([]byte(`<?xml version="1.0"?><a xmlns:b="c"><b:d/></a>`))
	f.Add([]byte(plainResponse))
	_, real, _ := recorded(f)
	f.Add(real)
	f.Fuzz(func(t *testing.T, text []byte) {
		who, err := New(Metadata{EntityID: idpName, Signing: []*x509.Certificate{pair.cert}}, func() time.Time { return clock }).Check(text, asked())
		if err == nil && (who.Name != "alice@example.test" || !slices.Equal(who.Groups, []string{"VPN-Users", "VPN-Admins"})) {
			t.Errorf("accepted as %+v", who)
		}
	})
}
