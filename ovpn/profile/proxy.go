package profile

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Proxy is http-proxy or socks-proxy.
type Proxy struct {
	Kind string `json:"kind"` // "http", "socks5"
	Host string `json:"host"` // name or IP literal
	Port uint16 `json:"port"`
	// Auth is how to sign in at an HTTP proxy: none, basic, digest, ntlm2, auto (what
	// it offers), auto-nct (what it offers, but never in clear text).
	Auth     string        `json:"auth,omitempty"`
	Username string        `json:"username,omitempty"` // empty: no credentials
	Password push.Secret   `json:"password,omitempty"`
	Version  string        `json:"version,omitempty"` // of HTTP, "1.0" or "1.1"; empty: any
	Agent    string        `json:"agent,omitempty"`   // User-Agent
	Headers  []ProxyHeader `json:"headers,omitempty"`
}

// ProxyHeader is a line that a request to an HTTP proxy has beside its own.
type ProxyHeader struct {
	Name  string      `json:"name"`
	Value push.Secret `json:"value"`
}

type login struct {
	user     string
	password push.Secret
}

const maxProxyHeaders = 10 // openvpn's MAX_CUSTOM_HTTP_HEADER

func proxyAddress(kind string, a []string) (*Proxy, error) {
	x := &Proxy{Kind: kind, Host: a[0], Port: 1080}
	if err := hostName(a[0]); err != nil {
		return nil, err
	}
	if len(a) > 1 {
		var err error
		if x.Port, err = portNumber(a[1]); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// proxyMethod reads the fourth value of http-proxy.
func proxyMethod(d *Directive, s string) (string, error) {
	switch s = strings.ToLower(s); s {
	case "ntlm":
		d.Note = "NTLM version 1 is broken: version 2 is used"
		return "ntlm2", nil
	case "none", "basic", "digest", "ntlm2", "auto", "auto-nct":
		return s, nil
	}
	return "", oneOf("method", s, "none", "basic", "digest", "ntlm2")
}

func isProxyMethod(s string) bool {
	return slices.Contains([]string{"auto", "auto-nct", "none", "basic", "digest", "ntlm", "ntlm2"}, s)
}

// httpProxy reads: http-proxy host port [file|auto|auto-nct] [method].
func httpProxy(p *parser, d *Directive, a []string) error {
	x, err := proxyAddress("http", a)
	if err != nil {
		return err
	}
	s := p.scope()
	if s.proxy != nil && s.proxy.Kind != "http" {
		return errors.New("cannot be used beside socks-proxy")
	}
	x.Auth = "none"
	s.proxy, s.proxyLine = x, d.Line
	if len(a) < 3 {
		return nil
	}
	method, file := "basic", !isProxyMethod(a[2])
	if !file {
		method = a[2]
	}
	if len(a) > 3 {
		method = a[3]
	}
	if x.Auth, err = proxyMethod(d, method); err != nil || !file || a[2] == "stdin" {
		return err
	}
	return p.proxyFile(d, "http-proxy", a[2], a[0], a[1], "auto", method)
}

func socksProxy(p *parser, d *Directive, a []string) error {
	x, err := proxyAddress("socks5", a)
	if err != nil {
		return err
	}
	s := p.scope()
	if s.proxy != nil && s.proxy.Kind != "socks5" {
		return errors.New("cannot be used beside http-proxy")
	}
	s.proxy, s.proxyLine = x, d.Line
	if len(a) < 3 || a[2] == "stdin" || a[2] == "[inline]" {
		return nil
	}
	return p.proxyFile(d, "socks-proxy", a[2], a[0], a[1])
}

// proxyFile replaces a line that names a file with credentials by one without and an inline block.
func (p *parser) proxyFile(d *Directive, name, file string, words ...string) error {
	body, err := p.read(file)
	if err != nil {
		return err
	}
	tag := name + "-user-pass"
	text := strings.TrimRight(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n")
	if strings.Contains(text, "</"+tag+">") {
		return fmt.Errorf("%s is not a file with user and password", file)
	}
	if err := proxyLogin(p, d, text); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	p.out = append(p.out, string(push.AppendOption(nil, append([]string{name}, words...)...)), "<"+tag+">", text, "</"+tag+">")
	p.dropped = true
	return nil
}

// proxyLogin reads <http-proxy-user-pass> and <socks-proxy-user-pass>: a line each.
func proxyLogin(p *parser, d *Directive, body string) error {
	user, password, err := userAndPassword(body)
	if err != nil {
		return err
	}
	p.scope().proxyLogin = &login{user, push.Secret(password)}
	return nil
}

// httpProxyOption reads: http-proxy-option VERSION|AGENT|CUSTOM-HEADER value [value].
func httpProxyOption(p *parser, d *Directive, a []string) error {
	var set func(x *Proxy)
	bad := func(s string) bool {
		return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
	}
	switch value := a[1]; strings.ToUpper(a[0]) {
	case "VERSION":
		if err := oneOf("version", value, "1.0", "1.1"); err != nil {
			return err
		}
		set = func(x *Proxy) { x.Version = value }
	case "AGENT":
		if bad(value) {
			return remark("control_character")
		}
		set = func(x *Proxy) { x.Agent = value }
	case "CUSTOM-HEADER", "EXT1", "EXT2":
		name, content, _ := strings.Cut(value, ":")
		if len(a) > 2 {
			name, content = value, a[2]
		}
		name, content = strings.TrimSpace(name), strings.TrimSpace(content)
		if name == "" || bad(content) || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}`", r) }) {
			return errors.New(`a header of HTTP is written NAME VALUE or "NAME: VALUE"`) // what stands there may be the secret
		}
		set = func(x *Proxy) { x.Headers = append(x.Headers, ProxyHeader{name, push.Secret(content)}) }
	default:
		return oneOf("option", a[0], "VERSION", "AGENT", "CUSTOM-HEADER")
	}
	s := p.scope()
	s.proxyExtra = append(s.proxyExtra, set)
	if len(s.proxyExtra) > maxProxyHeaders+2 {
		return fmt.Errorf("more than %d headers", maxProxyHeaders)
	}
	return nil
}

// httpProxyOverride reads: http-proxy-override host port [nct].
func httpProxyOverride(p *parser, d *Directive, a []string) error {
	x, err := proxyAddress("http", a)
	if err != nil {
		return err
	}
	x.Auth, x.Version, x.Agent = "auto", "1.0", "OpenVPN-Autoproxy/1.0" // as openvpn's options.c sets it
	if len(a) > 2 && a[2] == "nct" {
		x.Auth = "auto-nct"
	}
	p.override, p.overrideLine = x, d.Line
	return nil
}

// finishProxy joins a scope's proxy with its options. A block's proxy without
// credentials of its own uses the file's.
func (p *parser) finishProxy(s *scope) {
	x := s.proxy
	if x == nil || s.proxyDone {
		return
	}
	s.proxyDone = true
	if l := first(s.proxyLogin, p.global.proxyLogin); l != nil {
		x.Username, x.Password = l.user, l.password
	}
	if x.Kind == "http" {
		for _, set := range slices.Concat(p.global.proxyExtra, s.ownExtra(&p.global)) {
			set(x)
		}
	}
	if x.Kind == "http" && x.Auth != "none" && x.Username == "" || x.Username != "" && x.Password == "" {
		i := slices.IndexFunc(p.p.Directives, func(d Directive) bool { return d.Line == s.proxyLine })
		switch d := &p.p.Directives[i]; {
		case d.Verdict != Used:
		case x.Auth == "auto" || x.Auth == "auto-nct":
			d.Note = "if the proxy wants a password, name it in <http-proxy-user-pass>"
		default:
			d.say(Unsupported, remark("proxy_password", "directive", d.Words[0]))
		}
	}
}

func (s *scope) ownExtra(global *scope) []func(*Proxy) {
	if s == global {
		return nil
	}
	return s.proxyExtra
}

// finishProxies knows all remotes: an HTTP proxy carries no UDP, so that such
// remotes are left out, and http-proxy-override replaces every proxy.
func (p *parser) finishProxies() {
	q := p.p
	line := p.overrideLine
	judge := func(verdict Verdict, why *Remark) {
		for i := range q.Directives {
			if d := &q.Directives[i]; d.Line == line && d.Verdict == Used {
				d.say(verdict, why)
				if verdict == Refused {
					p.fail(line, d.Words[0], why)
				}
			}
		}
	}
	if p.override != nil {
		if !slices.ContainsFunc(q.Remotes, func(r Remote) bool { return !r.udp() }) {
			judge(Ignored, remark("no_tcp"))
			return
		}
		for i := range q.Remotes {
			q.Remotes[i].Proxy = p.override
		}
	}
	if i := slices.IndexFunc(q.Remotes, func(r Remote) bool { return !r.carried() }); i >= 0 {
		if p.override == nil {
			line = first(p.global.proxyLine, q.Remotes[i].Line)
		}
		if slices.ContainsFunc(q.Remotes, Remote.carried) {
			judge(Used, remark("udp_left_out"))
		} else {
			line = first(p.proxyLine(), line)
			judge(Refused, remark("proxy_udp"))
		}
		q.Remotes = slices.DeleteFunc(q.Remotes, func(r Remote) bool { return !r.carried() })
	}
}

// ParseProxy reads how people write a proxy in one word: http://HOST:PORT or socks5://HOST:PORT, where SOCKS5 has the port 1080 unless
// there is another. It has no credentials: the word is shown, and they are not to be.
func ParseProxy(s string) (*Proxy, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "socks5" {
		return nil, errors.New("want http://HOST:PORT or socks5://HOST:PORT")
	}
	if u.User != nil {
		return nil, errors.New("it cannot keep a password: write it into the profile, between <http-proxy-user-pass> and </http-proxy-user-pass>")
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("nothing may stand behind HOST:PORT")
	}
	words := []string{u.Hostname()}
	switch {
	case u.Port() != "":
		words = append(words, u.Port())
	case u.Scheme == "http":
		return nil, errors.New("the port is missing: http://HOST:PORT")
	}
	if strings.Contains(words[0], "%") {
		return nil, errors.New("an address with a zone is none for a proxy")
	}
	x, err := proxyAddress(u.Scheme, words)
	if err == nil && x.Kind == "http" {
		x.Auth = "auto"
	}
	return x, err
}

// String is what ParseProxy reads.
func (x *Proxy) String() string {
	return x.Kind + "://" + net.JoinHostPort(x.Host, strconv.Itoa(int(x.Port)))
}

// Through are the servers by way of x in place of the file's proxies; nil is straight to them. A proxy without credentials has the file's, if it
// names some for all servers. Servers over UDP are left out where x is an HTTP proxy; if no other is there, that is an error.
func (p *Profile) Through(x *Proxy) ([]Remote, error) {
	if x != nil && x.Username == "" && p.proxyLogin != nil {
		with := *x
		with.Username, with.Password = p.proxyLogin.user, p.proxyLogin.password
		x = &with
	}
	var out []Remote
	for _, r := range p.written {
		if r.Proxy = x; r.carried() {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, remark("proxy_udp")
	}
	return out, nil
}

// proxyLine is the first line that names an HTTP proxy.
func (p *parser) proxyLine() int { return p.p.lineOf("http-proxy-override", "http-proxy") }

// carried says whether its proxy, if it has one, can carry it.
func (r Remote) carried() bool { return !r.udp() || r.Proxy == nil || r.Proxy.Kind != "http" }

func (r Remote) udp() bool { return strings.HasPrefix(r.Proto, "udp") }
