package signin

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/adit-vpn/adit/ovpn/challenge"
)

// maxRequest bounds an AuthnRequest that is unpacked, in bytes; real ones have about 1 KiB.
const maxRequest = 64 << 10

// protocolNS is the namespace of requests and responses (saml-core-2.0-os, 3).
const protocolNS = "urn:oasis:names:tc:SAML:2.0:protocol"

// requestID is the ID of the AuthnRequest that an address carries (HTTP-Redirect binding,
// saml-bindings-2.0-os, 3.4), or "" when it carries none.
func requestID(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("%w: the sign-in address cannot be read", challenge.ErrMalformed)
	}
	// Other parameters may be malformed, as long as the identity provider likes them.
	values, _ := url.ParseQuery(u.RawQuery)
	field, there := values["SAMLRequest"]
	if !there && !strings.Contains(u.RawQuery, "SAMLRequest=") {
		return "", nil
	}
	id := ""
	if len(field) == 1 {
		id, err = authnRequestID(field[0])
	}
	if id == "" {
		return "", fmt.Errorf("%w: the SAMLRequest in the sign-in address cannot be read", challenge.ErrMalformed)
	}
	return id, nil
}

func authnRequestID(text string) (string, error) {
	packed, err := base64.StdEncoding.DecodeString(trimSpace(text))
	if err != nil {
		return "", err
	}
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxRequest+1))
	switch {
	case len(plain) > maxRequest:
		return "", errors.New("too large")
	case err != nil:
		return "", err
	}
	return rootAttribute(plain, "AuthnRequest", "ID")
}

// responseTo is the InResponseTo of a response in base64, "" when it has none. All else in it is
// for the server to judge.
func responseTo(text string) (string, error) {
	plain, err := base64.StdEncoding.DecodeString(trimSpace(text))
	if err != nil {
		return "", err
	}
	return rootAttribute(plain, "Response", "InResponseTo")
}

// rootAttribute reads the outermost element of an XML text up to its attributes and no further. A
// document type is refused, and with it entities.
func rootAttribute(text []byte, element, attribute string) (string, error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // what is read here is ASCII in all of them
	for {
		token, err := d.RawToken()
		if err != nil {
			return "", err
		}
		switch token := token.(type) {
		case xml.Directive:
			return "", errors.New("a document type")
		case xml.StartElement:
			if token.Name.Local != element || namespace(token) != protocolNS {
				return "", fmt.Errorf("not a SAML %s", element)
			}
			value := ""
			for _, a := range token.Attr {
				if a.Name.Space == "" && a.Name.Local == attribute {
					if value != "" {
						return "", errors.New("an attribute comes twice")
					}
					value = a.Value
				}
			}
			return value, nil
		}
	}
}

// namespace is what the prefix of an outermost element means.
func namespace(root xml.StartElement) string {
	for _, a := range root.Attr {
		if root.Name.Space == "" && a.Name.Space == "" && a.Name.Local == "xmlns" ||
			root.Name.Space != "" && a.Name.Space == "xmlns" && a.Name.Local == root.Name.Space {
			return a.Value
		}
	}
	return ""
}

// trimSpace takes the line breaks out that some identity providers put into base64.
func trimSpace(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, s)
}
