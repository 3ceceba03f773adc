package profile

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
)

// formatName writes a distinguished name as openvpn does for verify-x509-name:
// in the certificate's order, "C=DE, O=Example, CN=server".
func formatName(raw []byte) string {
	var rdns pkix.RDNSequence
	if _, err := asn1.Unmarshal(raw, &rdns); err != nil {
		return "(unreadable name)"
	}
	var parts []string
	for _, rdn := range rdns {
		var values []string
		for _, a := range rdn {
			values = append(values, attributeName(a.Type.String())+"="+printableValue(fmt.Sprint(a.Value)))
		}
		parts = append(parts, strings.Join(values, " + "))
	}
	return strings.Join(parts, ", ")
}

func attributeName(oid string) string {
	if name, ok := attributeNames()[oid]; ok {
		return name
	}
	return oid
}

func attributeNames() map[string]string {
	return map[string]string{
		"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "street",
		"2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description", "2.5.4.17": "postalCode", "2.5.4.41": "name", "2.5.4.42": "GN",
		"2.5.4.43": "initials", "2.5.4.44": "generationQualifier", "2.5.4.46": "dnQualifier", "2.5.4.65": "pseudonym",
		"1.2.840.113549.1.9.1": "emailAddress", "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC",
	}
}

// printableValue escapes control characters as OpenSSL's ASN1_STRFLGS_ESC_CTRL does.
func printableValue(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			fmt.Fprintf(&b, "\\%02X", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
