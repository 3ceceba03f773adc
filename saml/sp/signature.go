package sp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash
	_ "crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// Enveloped XML signatures (W3C xmldsig-core1), the one form that SAML allows (core, 5.4): one
// reference to the element that the signature is in, exclusive canonicalization, nothing
// weaker than SHA-256. goxmldsig canonicalizes; the rest is here because it takes other
// transforms and signatures in other places, and ECDSA only in ASN.1.

const (
	algEnveloped = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	algExclusive = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// digests and methods are the algorithms that are taken.
var digests = map[string]crypto.Hash{
	"http://www.w3.org/2001/04/xmlenc#sha256":       crypto.SHA256,
	"http://www.w3.org/2001/04/xmldsig-more#sha384": crypto.SHA384,
	"http://www.w3.org/2001/04/xmlenc#sha512":       crypto.SHA512,
}

var methods = map[string]struct {
	hash  crypto.Hash
	ecdsa bool
}{
	"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256":   {crypto.SHA256, false},
	"http://www.w3.org/2001/04/xmldsig-more#rsa-sha384":   {crypto.SHA384, false},
	"http://www.w3.org/2001/04/xmldsig-more#rsa-sha512":   {crypto.SHA512, false},
	"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256": {crypto.SHA256, true},
	"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384": {crypto.SHA384, true},
	"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512": {crypto.SHA512, true},
}

type algorithmXML struct {
	Algorithm string `xml:"Algorithm,attr"`
	Inclusive []struct {
		PrefixList string `xml:"PrefixList,attr"`
	} `xml:"http://www.w3.org/2001/10/xml-exc-c14n# InclusiveNamespaces"`
}

// signedInfo is SignedInfo, read from its canonical bytes.
type signedInfo struct {
	XMLName    xml.Name       `xml:"http://www.w3.org/2000/09/xmldsig# SignedInfo"`
	Canonical  []algorithmXML `xml:"http://www.w3.org/2000/09/xmldsig# CanonicalizationMethod"`
	Method     []algorithmXML `xml:"http://www.w3.org/2000/09/xmldsig# SignatureMethod"`
	References []struct {
		URI        string `xml:"URI,attr"`
		Transforms []struct {
			Each []algorithmXML `xml:"http://www.w3.org/2000/09/xmldsig# Transform"`
		} `xml:"http://www.w3.org/2000/09/xmldsig# Transforms"`
		Digest []algorithmXML `xml:"http://www.w3.org/2000/09/xmldsig# DigestMethod"`
		Value  []string       `xml:"http://www.w3.org/2000/09/xmldsig# DigestValue"`
	} `xml:"http://www.w3.org/2000/09/xmldsig# Reference"`
}

// verify checks the signature that is a child of e and covers e. It returns what was signed:
// e without the signature, in canonical form.
func verify(e *etree.Element, trusted []*x509.Certificate, now time.Time) ([]byte, error) {
	parts, err := signatureParts(e)
	if err != nil {
		return nil, err
	}
	// What decides how SignedInfo is canonicalized is itself signed, and checked below.
	method := parts.info.SelectElement("CanonicalizationMethod")
	var prefixes string
	if method != nil {
		if inclusive := method.SelectElement("InclusiveNamespaces"); inclusive != nil {
			prefixes = inclusive.SelectAttrValue("PrefixList", "")
		}
	}
	canonical, err := canonicalize(parts.info, prefixes, -1)
	if err != nil {
		return nil, err
	}
	var info signedInfo
	if err := xml.Unmarshal(canonical, &info); err != nil {
		return nil, fmt.Errorf("%w: SignedInfo: %w", ErrSignature, err)
	}
	if len(info.Canonical) != 1 || len(info.Method) != 1 || len(info.References) != 1 {
		return nil, fmt.Errorf("%w: SignedInfo has %d methods and %d references, not one of each", ErrSignature, len(info.Method), len(info.References))
	}
	if got := info.Canonical[0].Algorithm; got != algExclusive {
		return nil, fmt.Errorf("%w: canonicalization %q", ErrAlgorithm, got)
	}
	if err := checkSignature(info.Method[0].Algorithm, canonical, parts.value, trusted, now); err != nil {
		return nil, err
	}

	ref := &info.References[0]
	id := e.SelectAttrValue("ID", "")
	if id == "" || ref.URI != "#"+id {
		return nil, fmt.Errorf("%w: it refers to %q, not to the %s that it is in", ErrSignature, ref.URI, e.Tag)
	}
	if len(ref.Transforms) != 1 || len(ref.Transforms[0].Each) != 2 || len(ref.Digest) != 1 || len(ref.Value) != 1 {
		return nil, fmt.Errorf("%w: transforms or digests are not those of SAML", ErrAlgorithm)
	}
	steps := ref.Transforms[0].Each
	if steps[0].Algorithm != algEnveloped || steps[1].Algorithm != algExclusive {
		return nil, fmt.Errorf("%w: transforms %q and %q", ErrAlgorithm, steps[0].Algorithm, steps[1].Algorithm)
	}
	prefixes = ""
	if len(steps[1].Inclusive) == 1 {
		prefixes = steps[1].Inclusive[0].PrefixList
	}
	hash, ok := digests[ref.Digest[0].Algorithm]
	if !ok {
		return nil, fmt.Errorf("%w: digest %q", ErrAlgorithm, ref.Digest[0].Algorithm)
	}
	want, err := decode64(ref.Value[0])
	if err != nil {
		return nil, fmt.Errorf("%w: digest is not base64", ErrSignature)
	}
	signed, err := canonicalize(e, prefixes, parts.index)
	if err != nil {
		return nil, err
	}
	h := hash.New()
	h.Write(signed)
	if subtle.ConstantTimeCompare(h.Sum(nil), want) != 1 {
		return nil, fmt.Errorf("%w: the %s was changed after it was signed", ErrSignature, e.Tag)
	}
	return signed, nil
}

// parts are those of one Signature element; index is its place in the parent.
type parts struct {
	info  *etree.Element
	value []byte
	index int
}

// maxSignatureParts bounds the elements of a signature, which is canonicalized before it is
// known who made it.
const maxSignatureParts = 64

// signatureParts finds the one signature among e's children and takes it apart. KeyInfo is not
// looked at: the keys are those of the metadata.
func signatureParts(e *etree.Element) (parts, error) {
	var found *etree.Element
	for _, c := range e.ChildElements() {
		if c.Tag != "Signature" {
			continue
		}
		if found != nil {
			return parts{}, fmt.Errorf("%w: the %s has two", ErrSignature, e.Tag)
		}
		found = c
	}
	if found == nil {
		return parts{}, fmt.Errorf("%w: the %s has none; AWS Client VPN needs both response and assertion signed", ErrSignature, e.Tag)
	}
	if n := len(found.FindElements(".//*")); n > maxSignatureParts {
		return parts{}, fmt.Errorf("%w: it has %d parts", ErrSignature, n)
	}
	children := found.ChildElements()
	want := []string{"SignedInfo", "SignatureValue", "KeyInfo"}
	if len(children) < 2 || len(children) > len(want) {
		return parts{}, fmt.Errorf("%w: it has %d parts", ErrSignature, len(children))
	}
	for i, c := range children {
		if c.Tag != want[i] || c.NamespaceURI() != nsSignature {
			return parts{}, fmt.Errorf("%w: %s in place of %s", ErrSignature, c.Tag, want[i])
		}
	}
	value, err := decode64(children[1].Text())
	if err != nil {
		return parts{}, fmt.Errorf("%w: its value is not base64", ErrSignature)
	}
	return parts{info: children[0], value: value, index: found.Index()}, nil
}

// checkSignature tries the keys of the metadata.
func checkSignature(algorithm string, text, signature []byte, trusted []*x509.Certificate, now time.Time) error {
	method, ok := methods[algorithm]
	if !ok {
		return fmt.Errorf("%w: signature %q", ErrAlgorithm, algorithm)
	}
	h := method.hash.New()
	h.Write(text)
	digest := h.Sum(nil)
	for _, c := range trusted {
		good := false
		switch key := c.PublicKey.(type) {
		case *rsa.PublicKey:
			good = !method.ecdsa && rsa.VerifyPKCS1v15(key, method.hash, digest, signature) == nil
		case *ecdsa.PublicKey:
			good = method.ecdsa && verifyECDSA(key, digest, signature)
		}
		if !good {
			continue
		}
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return fmt.Errorf("%w: its certificate is valid from %s to %s only", ErrSignature, c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
		}
		return nil
	}
	return fmt.Errorf("%w: not of a key in the identity provider's metadata", ErrSignature)
}

// verifyECDSA reads r and s as two numbers of the order's length (xmldsig-core1, 6.4.3).
func verifyECDSA(key *ecdsa.PublicKey, digest, signature []byte) bool {
	n := (key.Curve.Params().N.BitLen() + 7) / 8
	if len(signature) != 2*n {
		return false
	}
	return ecdsa.Verify(key, digest, new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:]))
}

// canonicalize gives e's exclusive canonical form, without its child at index without (-1: with
// all). e itself does not change.
func canonicalize(e *etree.Element, prefixes string, without int) ([]byte, error) {
	alone := e.Copy()
	if without >= 0 {
		alone.RemoveChildAt(without)
	}
	declared := map[string]bool{}
	for up := e; up != nil; up = up.Parent() {
		for _, a := range up.Attr {
			if a.Space != "xmlns" && (a.Space != "" || a.Key != "xmlns") || declared[a.FullKey()] {
				continue
			}
			declared[a.FullKey()] = true
			if up != e {
				alone.Attr = append(alone.Attr, etree.Attr{Space: a.Space, Key: a.Key, Value: a.Value})
			}
		}
	}
	out, err := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList(prefixes).Canonicalize(alone)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return out, nil
}

func decode64(text string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
}
