package client

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/adit-vpn/adit/client/api"
)

// maxPolicyText is the size of a policy in bytes.
const maxPolicyText = 256 << 10

// maxPolicyItems bounds each list of a policy.
const maxPolicyItems = 256

// Policy is what the administrator of the machine decides for everybody on it. The zero Policy is not the default:
// DefaultPolicy is. It does not change once it is read.
type Policy struct {
	AllowUserProfiles     bool
	AllowSavedPasswords   bool
	AutoConnect           string
	AlwaysOn              bool
	Guard                 string
	BlockWhenDisconnected bool
	AllowLocalNetwork     bool
	AllowRouteEnforcement bool
	AllowedServers        []string
	AllowedCAs            []string // SHA-256 in lower-case hex digits
	SignInHosts           []string
	MaxConnections        int
	TrustedNetworks       []TrustedNetwork
	MinimumTLS            string
	Language              string

	set map[string]bool // the keys that were written
}

// TrustedNetwork is a network that is known by a server which only that network has.
type TrustedNetwork struct {
	URL        string `json:"url"`         // https; its host and port are what counts: nothing is asked for there
	CertSHA256 string `json:"cert_sha256"` // of the server's own certificate, in lower-case hex digits
}

// DefaultPolicy is that of a machine without one.
func DefaultPolicy() Policy {
	p := Policy{set: map[string]bool{}}
	for _, k := range PolicySchema() {
		if k.Default != nil {
			k.put(&p, k.Default)
		}
	}
	return p
}

// Values are those of a Choice.
func (k PolicyKey) Values() []string {
	out := []string{}
	for _, c := range k.Choices {
		out = append(out, c.Value)
	}
	return out
}

// put sets the key's field to a value of its kind's type.
func (k PolicyKey) put(p *Policy, value any) {
	switch to := k.field(p).(type) {
	case *bool:
		*to = value.(bool)
	case *string:
		*to = value.(string)
	case *int:
		*to = value.(int)
	case *[]string:
		*to = value.([]string)
	case *[]TrustedNetwork:
		*to = value.([]TrustedNetwork)
	}
}

// PolicyError is what is wrong with a policy's text.
type PolicyError struct {
	Line int    // from 1; 0: there are no lines
	Key  string // empty: it is about no key
	Text string
}

func (e *PolicyError) Error() string {
	switch {
	case e.Line == 0:
		return e.Key + ": " + e.Text
	case e.Key == "":
		return fmt.Sprintf("line %d: %s", e.Line, e.Text)
	}
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Key, e.Text)
}

// ParsePolicy reads one JSON object with keys of the schema, each at most once. What is not written has its
// default. A key that is not known is an error, so that no wish of the administrator is dropped in silence.
// Errors are *PolicyError.
func ParsePolicy(text []byte) (Policy, error) {
	b := newPolicyBuilder()
	fail := func(line int, key, format string, args ...any) (Policy, error) {
		return Policy{}, &PolicyError{Line: line, Key: key, Text: fmt.Sprintf(format, args...)}
	}
	if len(text) > maxPolicyText {
		return fail(1, "", "it has more than %d bytes", maxPolicyText)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	lineAt := func(offset int64) int { return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n")) }
	if !utf8.Valid(text) {
		i := 0
		for i < len(text) {
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			i += n
		}
		return fail(lineAt(int64(i)), "", "it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	broken := func(key string, err error) (Policy, error) {
		at := d.InputOffset()
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			if at = syntax.Offset; strings.Contains(err.Error(), `'\n'`) {
				at-- // it is behind the line break that it is about
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fail(lineAt(int64(len(text))), key, "the text ends too early")
		}
		return fail(lineAt(at), key, "it is not JSON: %v", err)
	}
	open, err := d.Token()
	if err != nil {
		return broken("", err)
	}
	if open != json.Delim('{') {
		return fail(lineAt(d.InputOffset()), "", "it is not a JSON object")
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return broken("", err)
		}
		name, _ := token.(string) // a JSON object has no other keys
		line := lineAt(d.InputOffset())
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return broken(name, err)
		}
		k, ok := b.key(name)
		switch {
		case !ok:
			return Policy{}, b.unknown(line, name)
		case b.p.set[name]:
			return fail(line, name, "it is there twice")
		}
		if err := b.set(k, line, raw); err != nil {
			return Policy{}, err
		}
	}
	if _, err := d.Token(); err != nil {
		return broken("", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fail(lineAt(d.InputOffset()), "", "there is more behind the object")
	}
	return b.done()
}

// policyBuilder makes a policy out of its keys, wherever they come from. Its errors are *PolicyError.
type policyBuilder struct {
	schema []PolicyKey
	p      Policy
	lines  map[string]int // of each key; 0: there are none
}

func newPolicyBuilder() *policyBuilder {
	return &policyBuilder{schema: PolicySchema(), p: DefaultPolicy(), lines: map[string]int{}}
}

// key is the row of the schema with a name.
func (b *policyBuilder) key(name string) (PolicyKey, bool) {
	i := slices.IndexFunc(b.schema, func(k PolicyKey) bool { return k.Name == name })
	if i < 0 {
		return PolicyKey{}, false
	}
	return b.schema[i], true
}

func (b *policyBuilder) unknown(line int, name string) error {
	return &PolicyError{Line: line, Key: name, Text: "there is no such key" + nearly(b.schema, name)}
}

// set takes a key's value in JSON.
func (b *policyBuilder) set(k PolicyKey, line int, raw json.RawMessage) error {
	value, err := k.value(raw)
	if err != nil {
		return &PolicyError{Line: line, Key: k.Name, Text: err.Error()}
	}
	k.put(&b.p, value)
	b.p.set[k.Name], b.lines[k.Name] = true, line
	return nil
}

// done is the policy, unless its keys contradict each other.
func (b *policyBuilder) done() (Policy, error) {
	p := b.p
	fail := func(key, format string, args ...any) (Policy, error) {
		return Policy{}, &PolicyError{Line: b.lines[key], Key: key, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case p.BlockWhenDisconnected && p.set["Guard"] && p.Guard != guardLockdown:
		return fail("Guard", "%s contradicts BlockWhenDisconnected, which is lockdown", p.Guard)
	case !p.AllowLocalNetwork && p.set["Guard"] && p.Guard == guardOff:
		return fail("AllowLocalNetwork", "without a guard (Guard off) the local network cannot be closed")
	case p.AlwaysOn && p.AutoConnect == "":
		return fail("AlwaysOn", "it needs AutoConnect, which names the profile")
	}
	return p, nil
}

// nearly names the key that differs from a wrong one in case only.
func nearly(schema []PolicyKey, name string) string {
	for _, k := range schema {
		if strings.EqualFold(k.Name, name) {
			return ": write " + k.Name
		}
	}
	return ""
}

// value reads a value of the key's kind.
func (k PolicyKey) value(raw json.RawMessage) (any, error) {
	got := shortened(raw)
	switch k.Kind {
	case PolicyBool:
		switch string(raw) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, fmt.Errorf("%s is not true or false", got)
	case PolicyInt:
		var n int
		if raw[0] == 'n' || json.Unmarshal(raw, &n) != nil || n < k.Min || n > k.Max {
			return nil, fmt.Errorf("%s is not a number from %d to %d", got, k.Min, k.Max)
		}
		return n, nil
	case PolicyChoice:
		var s string
		values := k.Values()
		if raw[0] != '"' || json.Unmarshal(raw, &s) != nil || !slices.Contains(values, s) {
			return nil, fmt.Errorf("%s is not one of %s", got, strings.Join(values, ", "))
		}
		return s, nil
	case PolicyString:
		var s string
		if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
			return nil, fmt.Errorf("%s is not a string", got)
		}
		return s, k.proper(&s)
	case PolicyNetworks:
		return trustedNetworks(raw)
	}
	var list []*string
	if raw[0] != '[' || json.Unmarshal(raw, &list) != nil || slices.Contains(list, nil) {
		return nil, fmt.Errorf("%s is not a list of strings", got)
	}
	if len(list) > k.Most {
		return nil, fmt.Errorf("it has more than %d entries", k.Most)
	}
	out := []string{}
	for _, s := range list {
		if err := k.proper(s); err != nil {
			return nil, err
		}
		out = append(out, *s)
	}
	return out, nil
}

// proper makes a text of the key tidy, or says what is wrong with it.
func (k PolicyKey) proper(s *string) error {
	if k.tidy != nil {
		*s = k.tidy(*s)
	}
	if k.check == nil {
		return nil
	}
	return k.check(*s)
}

// shortened is a value as an error shows it.
func shortened(raw json.RawMessage) string {
	const limit = 60 // bytes
	s := strings.Join(strings.Fields(string(raw)), " ")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

func tidyHost(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// tidyFingerprint takes what openssl prints (AB:CD:…), too.
func tidyFingerprint(s string) string { return strings.ToLower(strings.ReplaceAll(s, ":", "")) }

func checkFingerprint(s string) error {
	if b, err := hex.DecodeString(s); err != nil || len(b) != 32 {
		return fmt.Errorf("%q is not a SHA-256 fingerprint: 64 hex digits", s)
	}
	return nil
}

// checkHost takes a host name or an address.
func checkHost(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	if strings.Contains(s, "*") {
		return fmt.Errorf("%q: a pattern has no addresses; name each host", s)
	}
	if len(s) == 0 || len(s) > 253 {
		return fmt.Errorf("%q is not a host name", s)
	}
	for label := range strings.SplitSeq(s, ".") {
		odd := func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		}
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, odd) {
			return fmt.Errorf("%q is not a host name", s)
		}
	}
	return nil
}

// checkPattern takes a host, or "*." and the end of one.
func checkPattern(s string) error {
	if err := checkHost(strings.TrimPrefix(s, "*.")); err != nil {
		return fmt.Errorf("%q is neither a host nor a pattern like *.example.com", s)
	}
	return nil
}

// matches says whether a host fits a pattern of checkPattern.
func matches(pattern, host string) bool {
	host = tidyHost(host)
	if end, wild := strings.CutPrefix(pattern, "*"); wild {
		return strings.HasSuffix(host, end) && len(host) > len(end)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		b, err := netip.ParseAddr(pattern)
		return err == nil && a.Unmap() == b.Unmap()
	}
	return pattern == host
}

// allowsServer says whether profiles may connect to host.
func (p Policy) allowsServer(host string) bool {
	return !p.set["AllowedServers"] || slices.ContainsFunc(p.AllowedServers, func(pattern string) bool { return matches(pattern, host) })
}

// limitsCAs says whether only some roots are taken.
func (p Policy) limitsCAs() bool { return p.set["AllowedCAs"] }

// guard is the mode that a profile has with settings; pinned says which key decides that, and is empty where the
// person does.
func (p Policy) guard(s api.Settings) (mode, pinned string) {
	switch mode = guardMode(s); {
	case p.BlockWhenDisconnected:
		return guardLockdown, "BlockWhenDisconnected"
	case p.set["Guard"]:
		return p.Guard, "Guard"
	case !p.AllowLocalNetwork && mode == guardOff:
		return guardAuto, "AllowLocalNetwork"
	}
	return mode, ""
}

// guardFor is guard without the reason.
func (p Policy) guardFor(s api.Settings) string {
	mode, _ := p.guard(s)
	return mode
}

// apply is what settings become under the policy.
func (p Policy) apply(s api.Settings) api.Settings {
	s.Guard = p.guardFor(s)
	s.SavePassword = s.SavePassword && p.AllowSavedPasswords
	s.AutoConnect = s.AutoConnect && !p.set["AutoConnect"] // that one is a managed profile
	return s
}

// pins says which key of the policy keeps a change of settings (as in adit set) from having its effect; empty: none.
func (p Policy) pins(change string) string {
	name, value, _ := strings.Cut(change, "=")
	switch name {
	case "guard":
		if mode, pinned := p.guard(api.Settings{Guard: strings.TrimSpace(value)}); pinned != "" && mode != strings.TrimSpace(value) {
			return pinned
		}
	case "auto_connect":
		if on, err := parseSwitch(strings.TrimSpace(value)); err == nil && on && p.set["AutoConnect"] {
			return "AutoConnect"
		}
	case "save_password":
		if on, err := parseSwitch(strings.TrimSpace(value)); err == nil && on && !p.AllowSavedPasswords {
			return "AllowSavedPasswords"
		}
	}
	return ""
}

// shown are the keys that were written, for people.
func (p Policy) shown() []api.PolicyKey {
	out := []api.PolicyKey{}
	for _, k := range PolicySchema() {
		if p.set[k.Name] {
			value, err := json.Marshal(k.field(&p))
			if err != nil { // each kind has JSON
				continue
			}
			out = append(out, api.PolicyKey{Name: k.Name, Value: value})
		}
	}
	return out
}
