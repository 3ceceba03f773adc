package mdm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/client"
)

// Administrative templates (ADMX and ADML), as the schema PolicyDefinitionFiles.xsd has them that Microsoft publishes
// with [MS-GPREG]. They refer to no other template, which Intune would have to be given first.

const (
	definitions = "http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions"
	category    = "Adit"
	product     = "Adit_Product"
)

// language is one of the templates' texts.
type language struct {
	tag  string // "en-US"
	of   func(client.PolicyWords) string
	word func(english, japanese string) string
}

func languages() []language {
	return []language{
		{"en-US", func(w client.PolicyWords) string { return w.English }, func(english, _ string) string { return english }},
		{"ja-JP", func(w client.PolicyWords) string { return w.Japanese }, func(_, japanese string) string { return japanese }},
	}
}

// identifier is a name that templates can refer to: letters, digits and underscores.
func identifier(parts ...string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, strings.Join(parts, "_"))
}

func stringRef(id string) string { return "$(string." + id + ")" }

// sinceID is the name of "supported from that version on".
func sinceID(version string) string { return identifier(category, version) }

// versions are those in which keys came, each once.
func versions() []string {
	var out []string
	for _, k := range client.PolicySchema() {
		if !slices.Contains(out, k.Since) {
			out = append(out, k.Since)
		}
	}
	return out
}

// hasElements says whether a policy has a value beside being enabled.
func hasElements(k client.PolicyKey) bool { return k.Kind != client.PolicyBool }

// admx is the template without texts.
func admx() []byte {
	d := newDocument()
	d.in("policyDefinitions", func() {
		d.in("policyNamespaces", func() { d.empty("target", "prefix", "adit", "namespace", "Adit.Policies.Adit") })
		d.empty("resources", "minRequiredRevision", "1.0", "fallbackCulture", "en-US")
		d.in("supportedOn", func() {
			d.in("products", func() { d.empty("product", "name", product, "displayName", stringRef(product)) })
			d.in("definitions", func() {
				for _, v := range versions() {
					d.in("definition", func() {
						d.in("and", func() { d.empty("reference", "ref", product) })
					}, "name", sinceID(v), "displayName", stringRef(sinceID(v)))
				}
			})
		})
		d.in("categories", func() { d.empty("category", "name", category, "displayName", stringRef(category)) })
		d.in("policies", func() {
			for _, k := range client.PolicySchema() {
				admxPolicy(d, k)
			}
		})
	}, "xmlns", definitions, "revision", "1.0", "schemaVersion", "1.0")
	return d.bytes()
}

func admxPolicy(d *document, k client.PolicyKey) {
	attributes := []string{"name", k.Name, "class", "Machine", "displayName", stringRef(k.Name), "explainText", stringRef(identifier(k.Name, "Explain"))}
	if hasElements(k) {
		attributes = append(attributes, "presentation", "$(presentation."+k.Name+")", "key", registryKey)
	} else {
		attributes = append(attributes, "key", registryKey, "valueName", k.Name)
	}
	d.in("policy", func() {
		d.empty("parentCategory", "ref", category)
		d.empty("supportedOn", "ref", sinceID(k.Since))
		if !hasElements(k) {
			d.in("enabledValue", func() { d.empty("decimal", "value", "1") })
			d.in("disabledValue", func() { d.empty("decimal", "value", "0") })
			return
		}
		d.in("elements", func() {
			switch k.Kind {
			case client.PolicyInt:
				d.empty("decimal", "id", k.Name, "valueName", k.Name, "required", "true", "minValue", fmt.Sprint(k.Min), "maxValue", fmt.Sprint(k.Max))
			case client.PolicyString:
				d.empty("text", "id", k.Name, "valueName", k.Name, "required", "true", "maxLength", fmt.Sprint(k.Most))
			case client.PolicyChoice:
				d.in("enum", func() {
					for _, c := range k.Choices {
						d.in("item", func() {
							d.in("value", func() { d.leaf("string", c.Value) })
						}, "displayName", stringRef(identifier(k.Name, c.Value)))
					}
				}, "id", k.Name, "valueName", k.Name, "required", "true")
			default: // lists: an empty prefix names the values 1, 2 and so on
				d.empty("list", "id", k.Name, "key", registryKey+`\`+k.Name, "valuePrefix", "")
			}
		})
	}, attributes...)
}

// adml are the texts of the template in a language.
func adml(l language) []byte {
	d := newDocument()
	d.in("policyDefinitionResources", func() {
		d.leaf("displayName", l.word("Adit", "Adit"))
		d.leaf("description", l.word("Policy of the VPN client Adit", "VPN クライアント Adit のポリシー"))
		d.in("resources", func() {
			d.in("stringTable", func() {
				text := func(id, s string) { d.leaf("string", s, "id", id) }
				text(category, "Adit")
				text(product, "Adit")
				for _, v := range versions() {
					text(sinceID(v), l.word("Adit "+v+" or later", "Adit "+v+" 以降"))
				}
				for _, k := range client.PolicySchema() {
					text(k.Name, plain(l.of(k.Title)))
					text(identifier(k.Name, "Explain"), explanation(k, l))
					for _, c := range k.Choices {
						text(identifier(k.Name, c.Value), plain(l.of(c.Label)))
					}
				}
			})
			d.in("presentationTable", func() {
				for _, k := range client.PolicySchema() {
					if hasElements(k) {
						d.in("presentation", func() { presentation(d, k, l) }, "id", k.Name)
					}
				}
			})
		})
	}, "xmlns", definitions, "revision", "1.0", "schemaVersion", "1.0")
	return d.bytes()
}

// presentation is what the editor of group policies shows for a policy's value.
func presentation(d *document, k client.PolicyKey, l language) {
	label := plain(l.of(k.Title))
	switch k.Kind {
	case client.PolicyInt:
		d.leaf("decimalTextBox", label, "refId", k.Name, "defaultValue", fmt.Sprint(k.Default))
	case client.PolicyString:
		d.in("textBox", func() { d.leaf("label", label) }, "refId", k.Name)
	case client.PolicyChoice:
		i := slices.IndexFunc(k.Choices, func(c client.PolicyOption) bool { return c.Value == k.Default })
		d.leaf("dropdownList", label, "refId", k.Name, "noSort", "true", "defaultItem", fmt.Sprint(i))
	default:
		d.leaf("listBox", label, "refId", k.Name)
	}
}

// explanation is the help of a policy: what it means, what to write, and what its three states do.
func explanation(k client.PolicyKey, l language) string {
	out := []string{plain(l.of(k.Meaning))}
	if k.Kind == client.PolicyStrings || k.Kind == client.PolicyNetworks {
		out = append(out, l.word("One entry in each line: ", "1 行に 1 項目: ")+plain(l.of(k.Takes))+l.word(fmt.Sprintf("; at most %d.", k.Most), fmt.Sprintf("（最大 %d 項目）。", k.Most)))
	}
	if k.Kind == client.PolicyNetworks {
		out = append(out, l.word("For example: ", "例: ")+compact(client.TrustedNetwork{URL: "https://office.example.com", CertSHA256: "9f86…0a08"}))
	}
	without := plain(l.of(unset(k)))
	if hasElements(k) {
		return strings.Join(append(out, l.word("Disabled or not configured: "+without+".", "無効または未構成の場合: "+without+"。")), "\n\n")
	}
	return strings.Join(append(out, l.word("Enabled: true. Disabled: false. Not configured: "+without+".", "有効の場合: true。無効の場合: false。未構成の場合: "+without+"。")), "\n\n")
}
