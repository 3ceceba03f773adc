package mdm

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/adit-vpn/adit/client"
	"github.com/adit-vpn/adit/platform/managed"
)

// registry is what is below a key: the values of it, under "", and of its subkeys.
type registry map[string]map[string]managed.RegistryValue

func (r registry) values() (map[string]any, error) {
	lists := map[string]map[string]managed.RegistryValue{}
	for name, values := range r {
		if name != "" {
			lists[name] = values
		}
	}
	return managed.RegistryValues(r[""], lists)
}

func (r registry) put(key, name string, kind uint32, data []byte) {
	if r[key] == nil {
		r[key] = map[string]managed.RegistryValue{}
	}
	r[key][name] = managed.RegistryValue{Kind: kind, Data: data}
}

func (r registry) putText(key, name, text string) {
	var b []byte
	for _, c := range utf16.Encode([]rune(text + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	r.put(key, name, managed.RegText, b)
}

func (r registry) putNumber(key, name string, n uint32) {
	r.put(key, name, managed.RegNumber, binary.LittleEndian.AppendUint32(nil, n))
}

// fromUTF16 is a text with a mark of its byte order in UTF-8.
func fromUTF16(t *testing.T, b []byte) []byte {
	t.Helper()
	if !bytes.HasPrefix(b, []byte{0xff, 0xfe}) || len(b)%2 != 0 {
		t.Fatal("it is not UTF-16 with a mark")
	}
	var text []uint16
	for b = b[2:]; len(b) > 0; b = b[2:] {
		text = append(text, binary.LittleEndian.Uint16(b))
	}
	return []byte(string(utf16.Decode(text)))
}

// readReg does what the registry's editor does with a file.
func readReg(t *testing.T, file []byte) registry {
	t.Helper()
	const root = `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Adit`
	lines := strings.Split(string(fromUTF16(t, file)), "\r\n")
	if lines[0] != "Windows Registry Editor Version 5.00" {
		t.Fatalf("it begins with %q", lines[0])
	}
	r, key := registry{"": {"Old": {Kind: managed.RegNumber}}, "OldList": {}}, "none"
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(strings.TrimPrefix(line, `"`), `"=`)
		switch {
		case line == "":
		case line == "[-"+root+"]":
			clear(r)
		case strings.HasPrefix(line, "["+root):
			key = strings.TrimPrefix(strings.TrimSuffix(strings.TrimPrefix(line, "["+root), "]"), `\`)
		case strings.HasPrefix(value, "dword:"):
			n, err := strconv.ParseUint(strings.TrimPrefix(value, "dword:"), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			r.putNumber(key, name, uint32(n))
		case value == "hex(7):00,00":
			r.put(key, name, managed.RegTexts, []byte{0, 0})
		case strings.HasPrefix(value, `"`) && strings.HasSuffix(value, `"`):
			r.putText(key, name, strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(value[1:len(value)-1]))
		default:
			t.Fatalf("a line that is not understood: %q", line)
		}
	}
	return r
}

// admxFile is what the editor of group policies and Windows' provider of policies take from a template.
type admxFile struct {
	Policies []struct {
		Name     string  `xml:"name,attr"`
		Class    string  `xml:"class,attr"`
		Key      string  `xml:"key,attr"`
		Value    string  `xml:"valueName,attr"`
		Enabled  *number `xml:"enabledValue>decimal"`
		Disabled *number `xml:"disabledValue>decimal"`
		Elements struct {
			Decimal []struct {
				element
				Min uint32 `xml:"minValue,attr"`
				Max uint32 `xml:"maxValue,attr"`
			} `xml:"decimal"`
			Text []struct {
				element
				Most int `xml:"maxLength,attr"`
			} `xml:"text"`
			Enum []struct {
				element
				Items []string `xml:"item>value>string"`
			} `xml:"enum"`
			List []struct {
				element
				Prefix *string `xml:"valuePrefix,attr"`
			} `xml:"list"`
		} `xml:"elements"`
	} `xml:"policies>policy"`
}

type number struct {
	Value uint32 `xml:"value,attr"`
}

type element struct {
	ID   string `xml:"id,attr"`
	Key  string `xml:"key,attr"`
	Name string `xml:"valueName,attr"`
}

func template(t *testing.T, text []byte) *admxFile {
	t.Helper()
	var a admxFile
	if err := xml.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	return &a
}

// entered is what a person writes into a policy's form: by element, a list as names and values.
func entered(s Setting) map[string][]string {
	if texts, list := s.texts(); list {
		var pairs []string
		for i, text := range texts {
			pairs = append(pairs, fmt.Sprint(i+1), text)
		}
		return map[string][]string{s.Key.Name: pairs}
	}
	if s.Key.Kind == client.PolicyBool {
		return nil
	}
	return map[string][]string{s.Key.Name: {fmt.Sprint(s.Value)}}
}

// set writes to the registry what a policy of the template means when it is enabled with data, or disabled.
func (a *admxFile) set(t *testing.T, r registry, name string, on bool, data map[string][]string) {
	t.Helper()
	below := func(key string) string {
		rest, ok := strings.CutPrefix(key, `Software\Policies\Adit`)
		if !ok {
			t.Fatalf("%s writes to %s", name, key)
		}
		return strings.TrimPrefix(rest, `\`)
	}
	for _, p := range a.Policies {
		if p.Name != name {
			continue
		}
		if p.Class != "Machine" {
			t.Errorf("%s is for %s", name, p.Class)
		}
		if p.Value != "" {
			n := p.Disabled
			if on {
				n = p.Enabled
			}
			r.putNumber(below(p.Key), p.Value, n.Value)
		}
		if !on {
			return
		}
		one := func(e element) string {
			v := data[e.ID]
			delete(data, e.ID)
			if len(v) != 1 {
				t.Fatalf("%s: %q", name, v)
			}
			return v[0]
		}
		for _, e := range p.Elements.Decimal {
			n, err := strconv.ParseUint(one(e.element), 10, 32)
			if err != nil || uint32(n) < e.Min || uint32(n) > e.Max {
				t.Fatalf("%s: %d, %v", name, n, err)
			}
			r.putNumber(below(p.Key), e.Name, uint32(n))
		}
		for _, e := range p.Elements.Text {
			text := one(e.element)
			if len(utf16.Encode([]rune(text))) > e.Most {
				t.Fatalf("%s: %q is too long", name, text)
			}
			r.putText(below(p.Key), e.Name, text)
		}
		for _, e := range p.Elements.Enum {
			text := one(e.element)
			if !slices.Contains(e.Items, text) {
				t.Fatalf("%s: %q is none of %q", name, text, e.Items)
			}
			r.putText(below(p.Key), e.Name, text)
		}
		for _, e := range p.Elements.List {
			if e.Prefix == nil || *e.Prefix != "" {
				t.Fatalf("%s: the names of values have no numbers alone", name)
			}
			for pair := range slices.Chunk(data[e.ID], 2) {
				r.putText(below(e.Key), pair[0], pair[1])
			}
			delete(data, e.ID)
		}
		if len(data) > 0 {
			t.Fatalf("%s: nobody takes %v", name, data)
		}
		return
	}
	t.Fatalf("the template has no policy %s", name)
}

// readPayload is what a payload sets: whether the policy is enabled, and the values of its elements.
func readPayload(t *testing.T, text string) (on bool, data map[string][]string) {
	t.Helper()
	var p struct {
		Enabled  *struct{} `xml:"enabled"`
		Disabled *struct{} `xml:"disabled"`
		Data     []struct {
			ID    string `xml:"id,attr"`
			Value string `xml:"value,attr"`
		} `xml:"data"`
	}
	if err := xml.Unmarshal([]byte("<p>"+text+"</p>"), &p); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if (p.Enabled == nil) == (p.Disabled == nil) {
		t.Fatalf("%s: neither or both", text)
	}
	data = map[string][]string{}
	for _, d := range p.Data {
		data[d.ID] = strings.Split(d.Value, "\uf000")
	}
	return p.Enabled != nil, data
}

// The elements of both files with what they may hold in this order, and their attributes (! must be there), as in
// PolicyDefinitionFiles.xsd, PolicyDefinitions.xsd and BaseTypes.xsd, as far as the templates use them.
var (
	definitionGrammar = map[string][2]string{
		"policyDefinitions": {"policyNamespaces resources supportedOn categories policies", "xmlns revision! schemaVersion!"},
		"policyNamespaces":  {"target", ""}, "target": {"", "prefix! namespace!"}, "resources": {"", "minRequiredRevision! fallbackCulture"},
		"supportedOn": {"products definitions", "ref"}, "products": {"product", ""}, "product": {"", "name! displayName!"},
		"definitions": {"definition", ""}, "definition": {"and", "name! displayName!"}, "and": {"reference", ""}, "reference": {"", "ref!"},
		"categories": {"category", ""}, "category": {"", "name! displayName!"}, "policies": {"policy", ""},
		"policy":         {"parentCategory supportedOn enabledValue disabledValue elements", "name! class! displayName! explainText presentation key! valueName"},
		"parentCategory": {"", "ref!"}, "enabledValue": {"decimal", ""}, "disabledValue": {"decimal", ""}, "elements": {"decimal text enum list", ""},
		"decimal": {"", "id valueName required minValue maxValue value"}, "text": {"", "id! valueName! required maxLength"},
		"enum": {"item", "id! valueName! required"}, "item": {"value", "displayName!"}, "value": {"string", ""}, "string": {"", ""}, "list": {"", "id! key valuePrefix"},
	}
	resourceGrammar = map[string][2]string{
		"policyDefinitionResources": {"displayName description resources", "xmlns revision! schemaVersion!"}, "displayName": {"", ""}, "description": {"", ""},
		"resources": {"stringTable presentationTable", ""}, "stringTable": {"string", ""}, "string": {"", "id!"},
		"presentationTable": {"presentation", ""}, "presentation": {"decimalTextBox textBox dropdownList listBox", "id!"},
		"decimalTextBox": {"", "refId! defaultValue"}, "textBox": {"label", "refId!"}, "label": {"", ""},
		"dropdownList": {"", "refId! noSort defaultItem"}, "listBox": {"", "refId!"},
	}
)

// checkGrammar holds a document to a grammar, and returns its elements with attributes.
func checkGrammar(t *testing.T, name string, text []byte, grammar map[string][2]string) []xml.StartElement {
	t.Helper()
	type open struct {
		name string
		at   int // which of the elements inside was last
	}
	var stack []open
	var all []xml.StartElement
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			rule, known := grammar[e.Name.Local]
			if !known || e.Name.Space != definitions {
				t.Fatalf("%s: there is no element %v", name, e.Name)
			}
			if len(stack) > 0 {
				up := &stack[len(stack)-1]
				i := slices.Index(strings.Fields(grammar[up.name][0]), e.Name.Local)
				if i < up.at {
					t.Errorf("%s: %s in %s, or there", name, e.Name.Local, up.name)
				}
				up.at = i
			}
			for _, a := range e.Attr {
				if may := strings.Fields(rule[1]); !slices.Contains(may, a.Name.Local) && !slices.Contains(may, a.Name.Local+"!") {
					t.Errorf("%s: %s has an attribute %s", name, e.Name.Local, a.Name.Local)
				}
			}
			for _, must := range strings.Fields(rule[1]) {
				if must, yes := strings.CutSuffix(must, "!"); yes && attribute(e, must) == "" {
					t.Errorf("%s: %s has no %s", name, e.Name.Local, must)
				}
			}
			stack, all = append(stack, open{name: e.Name.Local}), append(all, e.Copy())
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		}
	}
	return all
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// TestTemplates: the templates are as Microsoft's schema wants them, each reference leads somewhere, and every text and
// form of both languages is one that the template asks for.
func TestTemplates(t *testing.T) {
	_, files := example(t)
	asked, forms, names := map[string]bool{}, map[string]string{}, map[string]bool{}
	reference := regexp.MustCompile(`^\$\((string|presentation)\.([0-9A-Za-z_]+)\)$`)
	policy := ""
	parts := checkGrammar(t, "adit.admx", files["windows/adit.admx"], definitionGrammar)
	for _, e := range parts {
		for _, a := range e.Attr {
			if m := reference.FindStringSubmatch(a.Value); m != nil {
				asked[m[1]+" "+m[2]] = true
			} else if slices.Contains([]string{"displayName", "explainText", "presentation"}, a.Name.Local) {
				t.Errorf("%s is no reference", a.Value)
			}
		}
		switch e.Name.Local {
		case "policy":
			policy = attribute(e, "name")
		case "text", "enum", "list":
			forms[policy] = e.Name.Local
		case "decimal":
			if attribute(e, "id") != "" {
				forms[policy] = "decimal"
			}
		case "product", "definition", "category":
			names[attribute(e, "name")] = true
		}
		if id := attribute(e, "id"); id != "" && id != policy {
			t.Errorf("an element %s in %s", id, policy)
		}
	}
	for _, e := range parts {
		if ref := attribute(e, "ref"); ref != "" && !names[ref] {
			t.Errorf("%s refers to %s", e.Name.Local, ref)
		}
	}
	boxes := map[string]string{"decimalTextBox": "decimal", "textBox": "text", "dropdownList": "enum", "listBox": "list"}
	for _, l := range languages() {
		name := l.tag + "/adit.adml"
		there, shown := map[string]bool{}, map[string]string{}
		inForm := ""
		for _, e := range checkGrammar(t, name, files["windows/"+name], resourceGrammar) {
			id := attribute(e, "id")
			switch e.Name.Local {
			case "string", "presentation":
				what := e.Name.Local + " " + id
				if there[what] || !asked[what] {
					t.Errorf("%s: %s is there twice, or nobody asks for it", name, what)
				}
				there[what], inForm = true, id
			case "decimalTextBox", "textBox", "dropdownList", "listBox":
				if attribute(e, "refId") != inForm {
					t.Errorf("%s: %s in %s", name, attribute(e, "refId"), inForm)
				}
				shown[inForm] = boxes[e.Name.Local]
			}
		}
		for what := range asked {
			if !there[what] {
				t.Errorf("%s lacks %s", name, what)
			}
		}
		for p, kind := range forms {
			if shown[p] != kind {
				t.Errorf("%s: %s shows %q for %q", name, p, shown[p], kind)
			}
		}
	}
}
