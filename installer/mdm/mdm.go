// Package mdm makes what management tools want to know of the policy: templates for group policies and Intune, a
// configuration profile and a Jamf schema for macOS, a JSON schema for editors, an Ansible role. All of it comes out of
// the schema that the service itself reads policies by (client.PolicySchema), so that nothing is missing and nothing
// differs. It writes no files and starts no goroutine.
package mdm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/adit-vpn/adit/client"
)

// Where the service reads the policy (cmd/aditd).
const (
	registryKey = `Software\Policies\Adit`
	domain      = "com.adit.client"
)

// Setting is a key of the policy with a value: bool, int, string, []string or []client.TrustedNetwork.
type Setting struct {
	Key   client.PolicyKey
	Value any
}

// Settings reads a policy as in /etc/adit/policy.json, in the order of the schema. Its errors are client.ParsePolicy's.
func Settings(text []byte) ([]Setting, error) {
	if _, err := client.ParsePolicy(text); err != nil {
		return nil, err
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), &raw); err != nil {
		return nil, err
	}
	var out []Setting
	for _, k := range client.PolicySchema() {
		if value, ok := raw[k.Name]; ok {
			s, err := setting(k, value)
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// setting is a key with a value in JSON that the parser of policies has taken.
func setting(k client.PolicyKey, raw json.RawMessage) (Setting, error) {
	var err error
	s := Setting{Key: k}
	switch k.Kind {
	case client.PolicyBool:
		s.Value, err = decoded[bool](raw)
	case client.PolicyInt:
		s.Value, err = decoded[int](raw)
	case client.PolicyString, client.PolicyChoice:
		s.Value, err = decoded[string](raw)
	case client.PolicyStrings:
		s.Value, err = decoded[[]string](raw)
	case client.PolicyNetworks:
		s.Value, err = decoded[[]client.TrustedNetwork](raw)
	default:
		err = fmt.Errorf("%s: no template knows the kind %s", k.Name, k.Kind)
	}
	return s, err
}

func decoded[T any](raw json.RawMessage) (T, error) {
	var v T
	err := json.Unmarshal(raw, &v)
	return v, err
}

// Example is a policy with every key, made of the schema's examples.
func Example() ([]Setting, error) {
	var members object
	for _, k := range client.PolicySchema() {
		members = append(members, member{k.Name, json.RawMessage(k.Example)})
	}
	text, err := indented(members)
	if err != nil {
		return nil, err
	}
	return Settings(text)
}

// File is one that is generated; Path has slashes and begins at the folder of all of them.
type File struct {
	Path string
	Text []byte
}

// Files are all templates, and the policy in each form that carries values.
func Files(policy []Setting) ([]File, error) {
	var files []File
	var errs []error
	add := func(path string, text []byte, err error) {
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		files, errs = append(files, File{path, text}), append(errs, err)
	}
	put := func(path string, text []byte) { add(path, text, nil) }
	text, err := policyJSON(policy)
	add("policy.json", text, err)
	text, err = jsonSchema()
	add("policy.schema.json", text, err)

	put("windows/adit.admx", admx())
	for _, l := range languages() {
		put("windows/"+l.tag+"/adit.adml", adml(l))
	}
	put("windows/adit-policy.reg", regFile(policy))
	text, err = omaURIs(policy)
	add("intune/oma-uri.md", text, err)
	text, err = customProfile(policy)
	add("intune/custom-profile.json", text, err)

	put("macos/"+domain+".mobileconfig", mobileconfig(policy))
	text, err = jamfSchema()
	add("macos/jamf-schema.json", text, err)

	role, err := ansible(policy)
	errs = append(errs, err)
	for _, f := range role {
		put(path.Join("ansible", f.Path), f.Text)
	}
	return files, errors.Join(errs...)
}

// policyJSON is the policy as on Linux.
func policyJSON(policy []Setting) ([]byte, error) {
	o := object{}
	for _, s := range policy {
		o = append(o, member{s.Key.Name, s.Value})
	}
	return indented(o)
}

// texts are the entries of a list as a registry holds them; false: the value is no list.
func (s Setting) texts() ([]string, bool) {
	switch v := s.Value.(type) {
	case []string:
		return v, true
	case []client.TrustedNetwork:
		var out []string
		for _, n := range v {
			out = append(out, compact(n))
		}
		return out, true
	}
	return nil, false
}

// plain is a text of the schema where nothing can be set apart.
func plain(s string) string { return strings.ReplaceAll(s, "`", "") }

// unset is what is in force without the key.
func unset(k client.PolicyKey) client.PolicyWords {
	if k.Unset != (client.PolicyWords{}) {
		return k.Unset
	}
	value := fmt.Sprint(k.Default)
	return client.PolicyWords{English: value, Japanese: value}
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := unescaped(m.name)
		if err != nil {
			return nil, err
		}
		value, err := unescaped(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// unescaped is JSON in which <, > and & stand for themselves.
func unescaped(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// indented is JSON for people.
func indented(v any) ([]byte, error) {
	text, err := unescaped(v)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// compact is the JSON of a value of strings, which has always some.
func compact(v any) string {
	text, err := unescaped(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}
