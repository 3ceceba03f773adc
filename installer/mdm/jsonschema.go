package mdm

import (
	"github.com/adit-vpn/adit/client"
)

// valueSchema is the JSON schema of a key's value. The form of a management tool shows labels beside a choice's values.
func valueSchema(k client.PolicyKey, form bool) object {
	text := object{{"type", "string"}}
	if k.Pattern != "" && !form { // ECMAScript's patterns know no letters of other languages without a flag, which forms do not set
		text = append(text, member{"pattern", k.Pattern})
	}
	switch k.Kind {
	case client.PolicyBool:
		return object{{"type", "boolean"}}
	case client.PolicyInt:
		return object{{"type", "integer"}, {"minimum", k.Min}, {"maximum", k.Max}}
	case client.PolicyChoice:
		choice := object{{"type", "string"}, {"enum", k.Values()}}
		if form {
			labels := []string{}
			for _, c := range k.Choices {
				labels = append(labels, plain(c.Label.English))
			}
			choice = append(choice, member{"options", object{{"enum_titles", labels}}})
		}
		return choice
	case client.PolicyString:
		return append(text, member{"minLength", 1}, member{"maxLength", k.Most})
	case client.PolicyNetworks:
		text = object{{"type", "object"}, {"required", []string{"url", "cert_sha256"}}, {"additionalProperties", false}, {"properties", object{
			{"url", object{{"type", "string"}, {"pattern", "^https://"}}},
			{"cert_sha256", object{{"type", "string"}, {"pattern", `^\s*:*([0-9A-Fa-f]:*){64}\s*$`}}},
		}}}
	}
	if form {
		text = append(object{{"title", plain(k.Takes.English)}}, text...)
	}
	return object{{"type", "array"}, {"maxItems", k.Most}, {"items", text}}
}

// jsonSchema is that of /etc/adit/policy.json, for editors.
func jsonSchema() ([]byte, error) {
	properties := object{}
	for _, k := range client.PolicySchema() {
		about := object{{"title", plain(k.Title.English)}, {"description", plain(k.Meaning.English) + " Without the key: " + plain(unset(k).English) + ". Since " + k.Since + "."}}
		if k.Default != nil && k.Default != "" {
			about = append(about, member{"default", k.Default})
		}
		properties = append(properties, member{k.Name, append(about, valueSchema(k, false)...)})
	}
	is := func(key string, value any) object {
		return object{{"properties", object{{key, object{{"const", value}}}}}, {"required", []string{key}}}
	}
	// What client.ParsePolicy finds contradictory.
	return indented(object{
		{"$schema", "http://json-schema.org/draft-07/schema#"},
		{"title", "Adit: /etc/adit/policy.json"},
		{"type", "object"},
		{"additionalProperties", false},
		{"properties", properties},
		{"allOf", []object{
			{{"if", is("AlwaysOn", true)}, {"then", object{{"required", []string{"AutoConnect"}}}}},
			{{"if", is("BlockWhenDisconnected", true)}, {"then", object{{"properties", object{{"Guard", object{{"const", "lockdown"}}}}}}}},
			{{"if", is("AllowLocalNetwork", false)}, {"then", object{{"properties", object{{"Guard", object{{"not", object{{"const", "off"}}}}}}}}}},
		}},
	})
}
