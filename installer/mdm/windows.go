package mdm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// regFile is the policy as a file of the registry's editor: it replaces the whole policy. UTF-16 with a mark, as the
// editor writes it.
func regFile(policy []Setting) []byte {
	const root = `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Adit`
	var own, lists strings.Builder
	for _, s := range policy {
		texts, list := s.texts()
		switch {
		case list && len(texts) == 0: // REG_MULTI_SZ: a key without values would be no list at all
			fmt.Fprintf(&own, "\"%s\"=hex(7):00,00\r\n", s.Key.Name)
		case list:
			fmt.Fprintf(&lists, "\r\n[%s\\%s]\r\n", root, s.Key.Name)
			for i, t := range texts {
				fmt.Fprintf(&lists, "\"%d\"=%s\r\n", i+1, regText(t))
			}
		default:
			fmt.Fprintf(&own, "\"%s\"=%s\r\n", s.Key.Name, regValue(s.Value))
		}
	}
	text := "Windows Registry Editor Version 5.00\r\n\r\n[-" + root + "]\r\n\r\n[" + root + "]\r\n" + own.String() + lists.String()
	out := []byte{0xff, 0xfe}
	for _, c := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, c)
	}
	return out
}

// regValue is a value that is no list, as the registry's editor writes it.
func regValue(v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "dword:00000001"
		}
		return "dword:00000000"
	case int:
		return fmt.Sprintf("dword:%08x", v)
	}
	return regText(fmt.Sprint(v))
}

func regText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Addresses in the policy provider of Windows, by which Intune sets what a template describes.
const (
	ingestURI = "./Device/Vendor/MSFT/Policy/ConfigOperations/ADMXInstall/Adit/Policy/adit"
	policyURI = "./Device/Vendor/MSFT/Policy/Config/Adit~Policy~" + category + "/"
)

// payload is what a policy is set to, in the form of "Understanding ADMX policies" (Microsoft).
func payload(s Setting) (string, error) {
	data := func(value string) string {
		// A list is one text of names and values with U+F000 between them.
		return fmt.Sprintf(`<enabled/><data id="%s" value="%s"/>`, s.Key.Name, strings.ReplaceAll(escaper.Replace(value), "\uf000", "&#xF000;"))
	}
	if texts, list := s.texts(); list {
		if len(texts) == 0 {
			return "", errors.New(s.Key.Name + ": an empty list cannot be set by group policies or Intune; leave the key out of the policy")
		}
		var pairs []string
		for i, t := range texts {
			pairs = append(pairs, fmt.Sprint(i+1), t)
		}
		return data(strings.Join(pairs, "\uf000")), nil
	}
	switch s.Value {
	case true:
		return "<enabled/>", nil
	case false:
		return "<disabled/>", nil
	}
	return data(fmt.Sprint(s.Value)), nil
}

// omaURIs is a page with what to enter in Intune for each policy.
func omaURIs(policy []Setting) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Adit's policy in Intune, by OMA-URI

Devices, Configuration, a new policy for Windows 10 and later, templates, Custom. Each of these is one setting of data type String.
The first one makes the others known; its value is the whole text of `+"`windows/adit.admx`"+`. `+"`custom-profile.json`"+` beside this page is
all of it for Microsoft Graph.

| | |
|---|---|
| Name | Adit: template |
| OMA-URI | `+"`%s`"+` |
| Value | the text of `+"`windows/adit.admx`"+` |
`, ingestURI)
	for _, s := range policy {
		value, err := payload(s)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "\n## %s\n%s (`%s`)\n\n", s.Key.Name, plain(s.Key.Title.English), s.Key.Kind)
		fmt.Fprintf(&b, "    %s\n", policyURI+s.Key.Name)
		if !hasElements(s.Key) {
			b.WriteString("\ntrue:\n\n    <enabled/>\n\nfalse:\n\n    <disabled/>\n")
			continue
		}
		fmt.Fprintf(&b, "\nset:\n\n    %s\n\nnot set:\n\n    <disabled/>\n", value)
	}
	return b.Bytes(), nil
}

// customProfile is the template and the policy as Microsoft Graph takes them (windows10CustomConfiguration).
func customProfile(policy []Setting) ([]byte, error) {
	one := func(name, description, uri, value string) object {
		return object{{"@odata.type", "#microsoft.graph.omaSettingString"}, {"displayName", name}, {"description", description}, {"omaUri", uri}, {"value", value}}
	}
	settings := []object{one("Adit: template", "the administrative template adit.admx", ingestURI, string(admx()))}
	for _, s := range policy {
		value, err := payload(s)
		if err != nil {
			return nil, err
		}
		settings = append(settings, one("Adit: "+s.Key.Name, plain(s.Key.Title.English), policyURI+s.Key.Name, value))
	}
	return indented(object{{"@odata.type", "#microsoft.graph.windows10CustomConfiguration"}, {"displayName", "Adit"},
		{"description", "Policy of the VPN client Adit"}, {"omaSettings", settings}})
}
