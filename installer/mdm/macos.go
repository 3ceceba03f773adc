package mdm

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/adit-vpn/adit/client"
)

// mobileconfig is the policy as a configuration profile for the machine. macOS writes the inner payload's keys to
// /Library/Managed Preferences/com.adit.client.plist.
func mobileconfig(policy []Setting) []byte {
	d := newDocument()
	d.line(`<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">`)
	text := func(key, value string) {
		d.leaf("key", key)
		d.leaf("string", value)
	}
	about := func(kind, identifier, name string) {
		text("PayloadDisplayName", name)
		text("PayloadIdentifier", identifier)
		text("PayloadType", kind)
		text("PayloadUUID", uuid(identifier, policy))
		d.leaf("key", "PayloadVersion")
		d.leaf("integer", "1")
	}
	dict := func(inside func()) { d.in("dict", inside) }
	d.in("plist", func() {
		dict(func() {
			d.leaf("key", "PayloadContent")
			d.in("array", func() {
				dict(func() {
					for _, s := range policy {
						d.comment(plain(s.Key.Title.English))
						d.leaf("key", s.Key.Name)
						plistValue(d, s.Value)
					}
					about(domain, domain+".policy.settings", "Adit: policy")
				})
			})
			text("PayloadDescription", "Policy of the VPN client Adit")
			text("PayloadScope", "System")
			about("Configuration", domain+".policy", "Adit")
		})
	}, "version", "1.0")
	return d.bytes()
}

func plistValue(d *document, v any) {
	switch v := v.(type) {
	case bool:
		d.empty(fmt.Sprint(v))
	case int:
		d.leaf("integer", fmt.Sprint(v))
	case []string:
		d.in("array", func() {
			for _, s := range v {
				d.leaf("string", s)
			}
		})
	case []client.TrustedNetwork:
		d.in("array", func() {
			for _, n := range v {
				d.in("dict", func() {
					d.leaf("key", "url")
					d.leaf("string", n.URL)
					d.leaf("key", "cert_sha256")
					d.leaf("string", n.CertSHA256)
				})
			}
		})
	default:
		d.leaf("string", fmt.Sprint(v))
	}
}

// uuid is another one for each identifier and policy, and the same for the same ones (RFC 9562, version 8).
func uuid(identifier string, policy []Setting) string {
	h := sha256.New()
	fmt.Fprintln(h, identifier)
	for _, s := range policy {
		fmt.Fprintln(h, s.Key.Name, compact(s.Value))
	}
	b := h.Sum(nil)
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16]))
}

// jamfSchema is what Jamf Pro shows a form by (Application & Custom Settings). Its editor sets every key that has no way to
// say that it is not configured, and a key that is set is one that people cannot change: hence anyOf.
func jamfSchema() ([]byte, error) {
	properties := object{}
	for i, k := range client.PolicySchema() {
		value := object{{"title", "Configured"}}
		if k.Default != nil && k.Default != "" {
			value = append(value, member{"default", k.Default})
		}
		properties = append(properties, member{k.Name, object{
			{"title", plain(k.Title.English)},
			{"description", plain(k.Meaning.English) + " Not configured: " + plain(unset(k).English) + "."},
			{"property_order", (i + 1) * 10},
			{"anyOf", []any{object{{"type", "null"}, {"title", "Not configured"}}, append(value, valueSchema(k, true)...)}},
		}})
	}
	return indented(object{
		{"$schema", "http://json-schema.org/draft-04/schema#"},
		{"title", "Adit (" + domain + ")"},
		{"description", "Policy of the VPN client Adit"},
		{"type", "object"},
		{"options", object{{"remove_empty_properties", true}}},
		{"properties", properties},
	})
}
