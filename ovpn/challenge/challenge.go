// Package challenge is the text of the questions that an OpenVPN server asks in a
// sign-in, and of the answers to them: static challenges (SCRV1), dynamic ones (CRV1), and
// those while the server waits (CR_TEXT, WEB_AUTH, OPEN_URL). AWS Client VPN carries SAML in
// the dynamic kind. Text ↔ values, for both ends; who asks a person, and who opens
// a browser, is elsewhere.
//
// The formats are those of openvpn's doc/management-notes.txt, "Challenge/Response Protocol".
package challenge

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Dynamic is a dynamic challenge: AUTH_FAILED,CRV1:flags:state:base64(user):text. The
// session ends with it; the answer is the password of the next one.
type Dynamic struct {
	Response bool // R: an answer is expected
	Echo     bool // E: what is typed may be shown
	State    string
	Username string
	Text     string // the question; AWS's SAML: the identity provider's URL
}

// Prefix begins a dynamic challenge, and the answer to one.
const Prefix = "CRV1:"

// ErrMalformed is wrapped by all errors of the parsers.
var ErrMalformed = errors.New("malformed challenge")

// ParseDynamic reads what follows "AUTH_FAILED,".
func ParseDynamic(text string) (Dynamic, error) {
	rest, ok := strings.CutPrefix(text, Prefix)
	if !ok {
		return Dynamic{}, fmt.Errorf("%w: no %s in front", ErrMalformed, Prefix)
	}
	part := strings.SplitN(rest, ":", 4)
	if len(part) < 4 || part[1] == "" {
		return Dynamic{}, fmt.Errorf("%w: not flags, state, user and text", ErrMalformed)
	}
	d := Dynamic{State: part[1], Text: part[3]}
	for flag := range strings.SplitSeq(part[0], ",") {
		d.Response = d.Response || flag == "R"
		d.Echo = d.Echo || flag == "E"
		// Others, such as the address in AWS's "R,192.0.2.1", ask nothing of us.
	}
	encoded := part[2]
	if inner, ok := strings.CutPrefix(encoded, "b'"); ok { // AWS: bytes as Python prints them
		encoded = strings.TrimSuffix(inner, "'")
	}
	user, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Dynamic{}, fmt.Errorf("%w: user name: %w", ErrMalformed, err)
	}
	d.Username = string(user)
	return d, nil
}

// String is what follows "AUTH_FAILED,": the inverse of ParseDynamic.
func (d Dynamic) String() string {
	return d.format(base64.StdEncoding.EncodeToString([]byte(d.Username)))
}

// AWS is String with the user name in AWS's own form: b'…'.
func (d Dynamic) AWS() string {
	return d.format("b'" + base64.StdEncoding.EncodeToString([]byte(d.Username)) + "'")
}

func (d Dynamic) format(user string) string {
	var flags []string
	if d.Response {
		flags = append(flags, "R")
	}
	if d.Echo {
		flags = append(flags, "E")
	}
	return Prefix + strings.Join(flags, ",") + ":" + d.State + ":" + user + ":" + d.Text
}

// URL is the address that a browser shall open, if the text is one (AWS's SAML).
func (d Dynamic) URL() (string, bool) {
	if err := CheckURL(d.Text); err != nil {
		return "", false
	}
	return d.Text, true
}

// Answer is the password that answers d.
func (d Dynamic) Answer(response push.Secret) push.Secret {
	return push.Secret(Prefix+":"+d.State+"::") + response
}

// ParseAnswer takes the answer to a dynamic challenge out of a password; ok is false when it
// is another password.
func ParseAnswer(password push.Secret) (state string, response push.Secret, ok bool) {
	rest, ok := strings.CutPrefix(string(password), Prefix+":")
	if !ok {
		return "", "", false
	}
	state, answer, ok := strings.Cut(rest, "::")
	if !ok || state == "" {
		return "", "", false
	}
	return state, push.Secret(answer), true
}

// The prefix and the separator of a static challenge's answer.
const staticPrefix = "SCRV1:"

// Static is the password that carries a password and the answer to a static challenge.
func Static(password, response push.Secret) push.Secret {
	encode := func(s push.Secret) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	return push.Secret(staticPrefix + encode(password) + ":" + encode(response))
}

// ParseStatic takes password and answer apart; ok is false when it is another password. A
// password that begins like one and is none is an error.
func ParseStatic(text push.Secret) (password, response push.Secret, ok bool, err error) {
	rest, ok := strings.CutPrefix(string(text), staticPrefix)
	if !ok {
		return "", "", false, nil
	}
	first, second, ok := strings.Cut(rest, ":")
	if !ok {
		return "", "", true, fmt.Errorf("%w: %s without an answer", ErrMalformed, staticPrefix)
	}
	p, err := base64.StdEncoding.DecodeString(first)
	if err != nil {
		return "", "", true, fmt.Errorf("%w: password", ErrMalformed) // not what it is
	}
	r, err := base64.StdEncoding.DecodeString(second)
	if err != nil {
		return "", "", true, fmt.Errorf("%w: answer", ErrMalformed)
	}
	return push.Secret(p), push.Secret(r), true, nil
}

// Pending is a question while the session waits: INFO_PRE or INFO, then a kind.
// Exactly one of URL and Text is set.
type Pending struct {
	URL      string // WEB_AUTH and OPEN_URL: to be opened in a browser, which alone gives the answer
	Hidden   bool   // WEB_AUTH: may be opened without being shown
	External bool   // WEB_AUTH: only in a browser of the person's own

	Text     string // CR_TEXT
	Response bool   // R: an answer is expected (CR_RESPONSE)
	Echo     bool   // E: what is typed may be shown
}

// ParsePending reads a whole control message. ok is false when it asks nothing that this version
// knows.
func ParsePending(message string) (p Pending, ok bool, err error) {
	kind, body, ok := strings.Cut(message, ",")
	if !ok || kind != "INFO_PRE" && kind != "INFO" {
		return Pending{}, false, nil
	}
	word, rest, _ := strings.Cut(body, ":")
	switch word {
	case "OPEN_URL":
		p.URL = rest
	case "WEB_AUTH":
		flags, address, ok := strings.Cut(rest, ":")
		if !ok {
			return Pending{}, true, fmt.Errorf("%w: WEB_AUTH without flags", ErrMalformed)
		}
		for flag := range strings.SplitSeq(flags, ",") {
			p.Hidden = p.Hidden || flag == "hidden"
			p.External = p.External || flag == "external"
			if flag == "proxy" || strings.HasPrefix(flag, "proxy=") {
				return Pending{}, true, fmt.Errorf("%w: a proxy for the browser is not supported", ErrMalformed)
			}
		}
		p.URL = address
	case "CR_TEXT":
		flags, text, ok := strings.Cut(rest, ":")
		if !ok || text == "" {
			return Pending{}, true, fmt.Errorf("%w: CR_TEXT without flags or text", ErrMalformed)
		}
		for flag := range strings.SplitSeq(flags, ",") {
			p.Response = p.Response || flag == "R"
			p.Echo = p.Echo || flag == "E"
		}
		p.Text = text
		return p, true, nil
	default:
		return Pending{}, false, nil
	}
	if err := CheckURL(p.URL); err != nil {
		return Pending{}, true, err
	}
	return p, true, nil
}

// Info is p as Session.Pending takes it: what follows "INFO_PRE,".
func (p Pending) Info() string {
	var flags []string
	put := func(on bool, flag string) {
		if on {
			flags = append(flags, flag)
		}
	}
	if p.URL != "" {
		put(p.Hidden, "hidden")
		put(p.External, "external")
		return "WEB_AUTH:" + strings.Join(flags, ",") + ":" + p.URL
	}
	put(p.Response, "R")
	put(p.Echo, "E")
	return "CR_TEXT:" + strings.Join(flags, ",") + ":" + p.Text
}

// CheckURL refuses what no browser shall be given: only http and https with a host and without
// a user name, in printable ASCII (openvpn-gui 11.57 learnt that other schemes run programs).
func CheckURL(text string) error {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f || text[i] == '"' || text[i] == '\\' || text[i] == '`' {
			return fmt.Errorf("%w: character %q in the sign-in address", ErrMalformed, text[i])
		}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("%w: the sign-in address cannot be read", ErrMalformed)
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%w: the sign-in address is %q, not http or https", ErrMalformed, u.Scheme)
	case u.Hostname() == "":
		return fmt.Errorf("%w: the sign-in address names no host", ErrMalformed)
	case u.User != nil:
		return fmt.Errorf("%w: the sign-in address carries a user name", ErrMalformed)
	}
	return nil
}

// AWS Client VPN's own words (federated authentication).
const (
	// AWSUser is the user name of every federated sign-in.
	AWSUser = "N/A"
	// AWSHello is the first password: the port on loopback where the assertion is awaited.
	AWSHello = "ACS::35001"
	// AWSPort is that port.
	AWSPort = 35001
)
