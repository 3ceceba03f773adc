package mdm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/adit-vpn/adit/client"
	"github.com/adit-vpn/adit/installer/toolstest"
	"github.com/adit-vpn/adit/platform/managed"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"howett.net/plist"
)

// example is the policy with every key, and its files by name.
func example(t *testing.T) ([]Setting, map[string][]byte) {
	t.Helper()
	policy, err := Example()
	if err != nil {
		t.Fatal(err)
	}
	return policy, filesOf(t, policy)
}

func filesOf(t *testing.T, policy []Setting) map[string][]byte {
	t.Helper()
	files, err := Files(policy)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		if out[f.Path] != nil {
			t.Errorf("%s is there twice", f.Path)
		}
		out[f.Path] = f.Text
	}
	return out
}

// TestEveryKey: every key of the schema is in every file that has keys, and the same policy makes the same bytes.
func TestEveryKey(t *testing.T) {
	policy, files := example(t)
	if len(policy) != len(client.PolicySchema()) {
		t.Errorf("the example has %d keys", len(policy))
	}
	for name, text := range files {
		if name == "windows/adit-policy.reg" {
			text = fromUTF16(t, text)
		}
		if !utf8.Valid(text) || bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) || len(text) == 0 {
			t.Errorf("%s is not plain UTF-8", name)
		}
		if strings.HasPrefix(name, "ansible/") && name != "ansible/group_vars/adit.yml" && name != "ansible/roles/adit/vars/main.yml" {
			continue
		}
		for _, k := range client.PolicySchema() {
			if !bytes.Contains(text, []byte(k.Name)) {
				t.Errorf("%s has no %s", name, k.Name)
			}
		}
	}
	if again := filesOf(t, policy); !reflect.DeepEqual(files, again) {
		t.Error("the files are not the same twice")
	}
}

// TestRoundTrip: what each form says is read by the service's own readers as the policy that it was made of.
func TestRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	templates := template(t, admx())
	for range 150 {
		text := randomPolicy(t, random)
		want, err := client.ParsePolicy(text)
		if err != nil {
			t.Fatal(err)
		}
		policy, err := Settings(text)
		if err != nil {
			t.Fatal(err)
		}
		same := func(form string, got client.Policy, err error) {
			t.Helper()
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s of %s\nis   %+v, %v\nwant %+v", form, text, got, err, want)
			}
		}
		out, err := policyJSON(policy)
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.ParsePolicy(out)
		same("policy.json", got, err)

		got, err = policyOf(readReg(t, regFile(policy)).values())
		same(".reg", got, err)

		for _, form := range []int{plist.XMLFormat, plist.BinaryFormat} {
			store := managed.Preferences{Files: fstest.MapFS{domain + ".plist": {Data: preferences(t, mobileconfig(policy), form)}}, Name: domain + ".plist"}
			got, err = policyOf(store.Values())
			same("mobileconfig", got, err)
		}

		byEditor, byIntune := registry{}, registry{}
		for _, s := range policy {
			if texts, list := s.texts(); list && len(texts) == 0 {
				t.Fatal("an empty list cannot be in a random policy")
			}
			templates.set(t, byEditor, s.Key.Name, s.Value != false, entered(s))
			p, err := payload(s)
			if err != nil {
				t.Fatal(err)
			}
			on, data := readPayload(t, p)
			templates.set(t, byIntune, s.Key.Name, on, data)
		}
		got, err = policyOf(byEditor.values())
		same("admx", got, err)
		got, err = policyOf(byIntune.values())
		same("OMA-URI", got, err)
	}
}

func policyOf(values map[string]any, err error) (client.Policy, error) {
	if err != nil {
		return client.Policy{}, err
	}
	return client.PolicyOf(values)
}

// randomPolicy has some keys, at least one, which do not contradict each other.
func randomPolicy(t *testing.T, r *rand.Rand) []byte {
	t.Helper()
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	host := func() string {
		return pick("vpn", "b-1", "Büro"[:1]+"x", "login_2") + "." + pick("example.com", "Example.ORG.", "corp.example.net")
	}
	sum := func() string {
		b := make([]byte, 32)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if r.IntN(2) == 0 {
			return strings.ReplaceAll(fmt.Sprintf("% X", b), " ", ":")
		}
		return fmt.Sprintf("%x", b)
	}
	for {
		o := object{}
		for _, k := range client.PolicySchema() {
			if r.IntN(2) == 0 {
				continue
			}
			var v any
			switch k.Kind {
			case client.PolicyBool:
				v = r.IntN(2) == 0
			case client.PolicyInt:
				v = k.Min + r.IntN(k.Max-k.Min+1)
			case client.PolicyChoice:
				v = pick(k.Values()...)
			case client.PolicyString:
				v = pick("corp", "Zürich (2)", "本社 VPN", "a.b@c_d+e-f")
			case client.PolicyStrings:
				list := []string{}
				for range 1 + r.IntN(12) {
					switch k.Name {
					case "AllowedCAs":
						list = append(list, sum())
					case "SignInHosts":
						list = append(list, pick(host(), "192.0.2.1", "2001:db8::1"))
					default:
						list = append(list, pick(host(), "*."+host(), "192.0.2.1", "2001:DB8::1"))
					}
				}
				v = list
			case client.PolicyNetworks:
				list := []client.TrustedNetwork{}
				for range 1 + r.IntN(k.Most) {
					list = append(list, client.TrustedNetwork{URL: "https://" + pick("here.example.com", "[2001:db8::1]:8443", "x.example.com:444/a?b=c&d=\"<>\\e") + "", CertSHA256: sum()})
				}
				v = list
			default:
				t.Fatalf("%s: make values of the kind %s", k.Name, k.Kind)
			}
			o = append(o, member{k.Name, v})
		}
		text, err := indented(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.ParsePolicy(text); err == nil && len(o) > 0 {
			return text
		}
	}
}

// TestEmptyList: a list without entries allows nothing. It is in each form that can say it, and refused by the others.
func TestEmptyList(t *testing.T) {
	policy, err := Settings([]byte(`{"AllowedServers": []}`))
	if err != nil {
		t.Fatal(err)
	}
	for form, read := range map[string]func() (map[string]any, error){
		".reg": readReg(t, regFile(policy)).values,
		"mobileconfig": managed.Preferences{Files: fstest.MapFS{"p": {Data: preferences(t, mobileconfig(policy), plist.XMLFormat)}},
			Name: "p"}.Values,
	} {
		values, err := read()
		if list, ok := values["AllowedServers"].([]string); err != nil || !ok || len(list) != 0 {
			t.Errorf("%s: %v, %v", form, values, err)
		}
	}
	if _, err := Files(policy); err == nil || !strings.Contains(err.Error(), "AllowedServers: an empty list cannot be set") {
		t.Errorf("Intune: %v", err)
	}
	if _, err := Settings([]byte(`{"Gard": "off"}`)); err == nil {
		t.Error("a wrong key is taken")
	}
}

// preferences is what macOS makes of a configuration profile: the inner payload's keys in a property list of the domain.
func preferences(t *testing.T, profile []byte, form int) []byte {
	t.Helper()
	var outer map[string]any
	if _, err := plist.Unmarshal(profile, &outer); err != nil {
		t.Fatal(err)
	}
	if outer["PayloadType"] != "Configuration" || outer["PayloadScope"] != "System" || outer["PayloadVersion"] != uint64(1) {
		t.Errorf("the profile: %v", outer)
	}
	inner, ok := outer["PayloadContent"].([]any)
	if !ok || len(inner) != 1 {
		t.Fatalf("%d payloads", len(inner))
	}
	payload, ok := inner[0].(map[string]any)
	if !ok || payload["PayloadType"] != domain || payload["PayloadUUID"] == outer["PayloadUUID"] || payload["PayloadIdentifier"] == outer["PayloadIdentifier"] {
		t.Fatalf("the payload: %v", payload)
	}
	out, err := plist.Marshal(payload, form)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPlistlib: Python's reader of property lists finds the same in the profile.
func TestPlistlib(t *testing.T) {
	toolstest.Needs(t, "python3")
	policy, files := example(t)
	c := exec.Command("python3", "-c", `import json, plistlib, sys
p = plistlib.load(sys.stdin.buffer, fmt=plistlib.FMT_XML)
json.dump({k: v for k, v in p["PayloadContent"][0].items() if not k.startswith("Payload")}, sys.stdout)`)
	c.Stdin = bytes.NewReader(files["macos/"+domain+".mobileconfig"])
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Settings(out)
	if err != nil || !reflect.DeepEqual(describe(got), describe(policy)) {
		t.Errorf("%v, %v\nwant %v", describe(got), err, describe(policy))
	}
	changed := append([]Setting{}, policy...)
	changed[0].Value = changed[0].Value == false
	if a, b := uuid("x", policy), uuid("x", changed); a == b || a == uuid("y", policy) || len(a) != 36 {
		t.Errorf("identifiers %s, %s", a, b)
	}
}

// describe are settings without the functions of their keys.
func describe(policy []Setting) []string {
	var out []string
	for _, s := range policy {
		out = append(out, fmt.Sprintf("%s=%#v", s.Key.Name, s.Value))
	}
	return out
}

// compiled is a JSON schema of the files, which fits its own meta-schema.
func compiled(t *testing.T, text []byte) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instance(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestJSONSchemas: editors and Jamf's form take what the service takes, and find most of what it refuses.
func TestJSONSchemas(t *testing.T) {
	_, files := example(t)
	editor, jamf := compiled(t, files["policy.schema.json"]), compiled(t, files["macos/jamf-schema.json"])
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 200 {
		text := files["policy.json"]
		if i > 0 {
			text = randomPolicy(t, random)
		}
		for name, s := range map[string]*jsonschema.Schema{"editors'": editor, "Jamf's": jamf} {
			if err := s.Validate(instance(t, text)); err != nil {
				t.Fatalf("%s schema: %v\n%s", name, err, text)
			}
		}
	}
	for _, bad := range []string{
		`{"Gard": "auto"}`, `{"Guard": "on"}`, `{"AlwaysOn": "true"}`, `{"AlwaysOn": true}`, `{"AutoConnect": "../x"}`, `{"AutoConnect": ""}`, `{"MaxConnections": 6}`, `{"MaxConnections": 0}`,
		`{"MaxConnections": 1.5}`, `{"MinimumTLS": 1.3}`, `{"AllowedServers": "a"}`, `{"AllowedServers": ["a.*.b"]}`, `{"AllowedServers": ["*"]}`, `{"AllowedCAs": ["00"]}`,
		`{"SignInHosts": ["*.example.com"]}`, `{"SignInHosts": ["https://a.example.com"]}`, `{"TrustedNetworks": [{"url": "https://a.example.com"}]}`,
		`{"TrustedNetworks": ["https://a.example.com"]}`, `{"BlockWhenDisconnected": true, "Guard": "auto"}`, `{"AllowLocalNetwork": false, "Guard": "off"}`, `[]`,
	} {
		if _, err := client.ParsePolicy([]byte(bad)); err == nil {
			t.Errorf("the service takes %s", bad)
		}
		if editor.Validate(instance(t, []byte(bad))) == nil {
			t.Errorf("the editors' schema takes %s", bad)
		}
	}
	var form struct {
		Properties map[string]struct {
			Title, Description string
			Order              int `json:"property_order"`
			AnyOf              []struct{ Type string }
		}
	}
	if err := json.Unmarshal(files["macos/jamf-schema.json"], &form); err != nil {
		t.Fatal(err)
	}
	before := 0
	for _, k := range client.PolicySchema() {
		p := form.Properties[k.Name]
		if p.Title == "" || p.Description == "" || p.Order <= before || len(p.AnyOf) != 2 || p.AnyOf[0].Type != "null" || strings.Contains(p.Description, "`") {
			t.Errorf("Jamf's %s: %+v", k.Name, p)
		}
		before = p.Order
	}
	if len(form.Properties) != len(client.PolicySchema()) {
		t.Errorf("Jamf's form has %d keys", len(form.Properties))
	}
}

// TestCustomProfile: what Microsoft Graph is given has the template first and then each policy where the template puts it.
func TestCustomProfile(t *testing.T) {
	policy, files := example(t)
	var got struct {
		Settings []struct {
			Type string `json:"@odata.type"`
			Name string `json:"displayName"`
			URI  string `json:"omaUri"`
			Text string `json:"value"`
		} `json:"omaSettings"`
	}
	if err := json.Unmarshal(files["intune/custom-profile.json"], &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Settings) != 1+len(policy) || got.Settings[0].Text != string(files["windows/adit.admx"]) {
		t.Fatalf("%d settings", len(got.Settings))
	}
	page := string(files["intune/oma-uri.md"])
	for i, s := range policy {
		c := got.Settings[i+1]
		p, err := payload(s)
		if err != nil || c.Text != p || c.URI != policyURI+s.Key.Name || c.Type != "#microsoft.graph.omaSettingString" {
			t.Errorf("%+v, %v", c, err)
		}
		if !strings.Contains(page, "\n    "+c.URI+"\n") || !strings.Contains(page, "\n    "+p+"\n") {
			t.Errorf("oma-uri.md lacks %s", c.URI)
		}
	}
}
