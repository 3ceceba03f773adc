package token

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
)

// maxID bounds the text of an ID, in bytes.
const maxID = 1024

// ID names a certificate on a token and its key: pkcs11-id. Empty fields match everything.
type ID struct {
	Manufacturer, Model, Serial, Token string // of the token
	Object                             string // the certificate's label
	Key                                []byte // CKA_ID of certificate and key
}

// ParseID reads a PKCS#11 URI (RFC 7512), as openvpn --show-pkcs11-ids prints it, or
// pkcs11-helper's older form manufacturer/model/serial/token/id, the last in hex. The empty text
// is the zero ID.
func ParseID(text string) (ID, error) {
	bad := func(why string) (ID, error) { return ID{}, fmt.Errorf("pkcs11-id %.80q: %s", text, why) }
	switch {
	case text == "":
		return ID{}, nil
	case len(text) > maxID:
		return bad("too long")
	}
	var id ID
	rest, isURI := strings.CutPrefix(text, "pkcs11:")
	if !isURI {
		parts := strings.Split(text, "/")
		if len(parts) != 5 {
			return bad("neither a pkcs11: URI nor manufacturer/model/serial/token/id")
		}
		for i, to := range []*string{&id.Manufacturer, &id.Model, &id.Serial, &id.Token} {
			value, err := unescape(parts[i])
			if err != nil {
				return bad(err.Error())
			}
			*to = value
		}
		key, err := hex.DecodeString(parts[4])
		if err != nil || len(key) == 0 {
			return bad("the id is not in hex")
		}
		id.Key = key
		return id, nil
	}
	rest, _, _ = strings.Cut(rest, "?") // where the module and its PIN may be: not for a profile to say
	for attribute := range strings.SplitSeq(rest, ";") {
		if attribute == "" {
			continue
		}
		name, value, ok := strings.Cut(attribute, "=")
		plain, err := url.PathUnescape(value)
		if !ok || err != nil {
			return bad("cannot be read")
		}
		switch name {
		case "manufacturer":
			id.Manufacturer = plain
		case "model":
			id.Model = plain
		case "serial":
			id.Serial = plain
		case "token":
			id.Token = plain
		case "object":
			id.Object = plain
		case "id":
			id.Key = []byte(plain)
		case "type": // cert or private: both are looked for
		default:
			return bad("attribute " + name + " is not known")
		}
	}
	return id, nil
}

// String is the URI: the inverse of ParseID.
func (id ID) String() string {
	var parts []string
	put := func(name, value string) {
		if value != "" {
			parts = append(parts, name+"="+escape(value))
		}
	}
	put("model", id.Model)
	put("token", id.Token)
	put("manufacturer", id.Manufacturer)
	put("serial", id.Serial)
	put("object", id.Object)
	if len(id.Key) > 0 {
		var b strings.Builder
		for _, c := range id.Key {
			fmt.Fprintf(&b, "%%%02X", c)
		}
		parts = append(parts, "id="+b.String())
	}
	return "pkcs11:" + strings.Join(parts, ";")
}

// Matches says whether every field that id has is so in other.
func (id ID) Matches(other ID) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return is(id.Manufacturer, other.Manufacturer) && is(id.Model, other.Model) && is(id.Serial, other.Serial) &&
		is(id.Token, other.Token) && is(id.Object, other.Object) && is(string(id.Key), string(other.Key))
}

// escape leaves what RFC 7512 lets stand everywhere.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// unescape reads pkcs11-helper's \xHH.
func unescape(s string) (string, error) {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, `\x`)
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		if len(after) < 2 {
			return "", fmt.Errorf(`\x without two digits`)
		}
		c, err := hex.DecodeString(after[:2])
		if err != nil {
			return "", fmt.Errorf(`\x without two digits`)
		}
		b.Write(c)
		s = after[2:]
	}
}
