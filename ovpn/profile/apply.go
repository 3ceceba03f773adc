package profile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/ovpn/push"
)

// One function per directive that has values to check; rules names them.

func mode(p *parser, d *Directive, a []string) error {
	if a[0] == "server" {
		return errors.New("this is a server's file")
	}
	return oneOf("mode", a[0], "p2p")
}

func remote(p *parser, d *Directive, a []string) (err error) {
	r := Remote{Host: a[0], Line: d.Line, ExitNotify: -1}
	if err := hostName(a[0]); err != nil {
		return err
	}
	if len(a) > 1 {
		if r.Port, err = portNumber(a[1]); err != nil {
			return err
		}
	}
	if len(a) > 2 {
		if r.Proto, err = protocol(a[2]); err != nil {
			return err
		}
	}
	if p.conn != nil {
		p.conn.remotes = append(p.conn.remotes, pendingRemote{r})
	} else {
		p.remotes = append(p.remotes, pendingRemote{r})
	}
	return nil
}

func setPort(p *parser, d *Directive, a []string) error {
	port, err := portNumber(a[0])
	if err != nil {
		return err
	}
	if p.conn != nil {
		p.conn.port = port
	} else {
		p.port = port
	}
	return nil
}

func setProto(p *parser, d *Directive, a []string) error {
	proto, err := protocol(a[0])
	if err != nil {
		return err
	}
	if p.conn != nil {
		p.conn.proto = proto
	} else {
		p.proto = proto
	}
	return nil
}

func resolvRetry(p *parser, d *Directive, a []string) (err error) {
	if a[0] == "infinite" {
		p.p.ResolvRetry = -1
		return nil
	}
	p.p.ResolvRetry, err = seconds("value", a[0])
	return err
}

func connectRetry(p *parser, d *Directive, a []string) (err error) {
	for i, s := range a {
		if p.p.ConnectRetry[i], err = seconds("value", s); err != nil {
			return err
		}
	}
	return nil
}

func exitNotify(p *parser, d *Directive, a []string) error {
	if p.conn == nil {
		return ownOption(p, d, a)
	}
	n := 1
	if len(a) > 0 {
		var err error
		if n, err = number("value", a[0], 0, 100); err != nil {
			return err
		}
	}
	p.conn.over.ExitNotify = n
	return nil
}

func localAddress(p *parser, d *Directive, a []string) error {
	p.p.LocalAddr = a[0]
	return hostName(a[0])
}

func httpProxy(p *parser, d *Directive, a []string) error {
	d.Verdict, d.Note = Unsupported, "not supported yet: proxies"
	if len(a) < 3 || slices.Contains([]string{"auto", "auto-nct", "none", "basic", "ntlm2"}, a[2]) {
		return nil
	}
	body, err := p.read(a[2])
	if err != nil {
		return err
	}
	text := strings.TrimRight(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n")
	if strings.Contains(text, "<") && strings.Contains(text, "</http-proxy-user-pass>") {
		return fmt.Errorf("%s is not a file with user and password", a[2])
	}
	line := append([]string{"http-proxy", a[0], a[1], "auto"}, a[3:]...)
	p.out = append(p.out, string(push.AppendOption(nil, line...)), "<http-proxy-user-pass>", text, "</http-proxy-user-pass>")
	p.dropped = true
	return nil
}

func device(p *parser, d *Directive, a []string) error {
	p.p.Dev = a[0]
	if a[0] == "null" {
		d.Verdict, d.Note = Unsupported, "not supported yet: dev null"
	}
	return nil
}

func deviceType(p *parser, d *Directive, a []string) error {
	p.p.DevType = a[0]
	return oneOf("type", a[0], "tun", "tap")
}

// finishDev knows dev and dev-type.
func (p *parser) finishDev() {
	q := p.p
	switch {
	case q.DevType != "":
	case strings.HasPrefix(q.Dev, "tap"):
		q.DevType = "tap"
	default:
		q.DevType = "tun"
	}
	for i := range q.Directives {
		d := &q.Directives[i]
		if q.DevType == "tap" && d.Verdict == Used && (d.Words[0] == "dev" || d.Words[0] == "dev-type") {
			d.Verdict, d.Note = Unsupported, "not supported yet: TAP devices (Ethernet frames); ask for a server with dev tun"
		}
	}
}

// ownOption leaves the grammar to package push. All such lines together become Profile.Own.
func ownOption(p *parser, d *Directive, a []string) error {
	words := append([]string{d.Words[0]}, a...)
	r, err := push.Own([][]string{words})
	var e *push.OptionError
	switch {
	case errors.As(err, &e):
		return errors.New(e.Text)
	case err != nil:
		return err
	case len(r.Unknown) > 0:
		d.Verdict, d.Note = Ignored, "not needed by a tunnel of this kind"
	case len(r.Notes) > 0 && words[0] != "dns":
		_, d.Note, _ = strings.Cut(r.Notes[0], ": ")
	}
	p.own = append(p.own, words)
	p.ownLines = append(p.ownLines, d.Line)
	return nil
}

func compression(p *parser, d *Directive, a []string) error {
	d.Verdict, d.Note = Unsupported, "not supported yet: packets framed for compression"
	note := d.Note
	err := ownOption(p, d, a)
	d.Note = note
	return err
}

func tunMTU(p *parser, d *Directive, a []string) error {
	n, err := number("size", a[0], 68, 65535)
	if err != nil {
		return err
	}
	if p.conn != nil {
		p.conn.over.MTU = n
		return nil
	}
	return ownOption(p, d, a[:1])
}

func mssfix(p *parser, d *Directive, a []string) (err error) {
	m := Mssfix{Set: true, Value: 1492}
	if len(a) > 0 {
		if m.Value, err = number("size", a[0], 0, 65535); err != nil {
			return err
		}
	}
	if len(a) > 1 {
		m.Mode = a[1]
		if err := oneOf("mode", m.Mode, "mtu", "fixed"); err != nil {
			return err
		}
	}
	p.p.Mssfix = m
	return nil
}

func pullFilter(p *parser, d *Directive, a []string) error {
	actions := map[string]push.Action{"accept": push.Accept, "ignore": push.Ignore, "reject": push.Reject}
	action, ok := actions[a[0]]
	if !ok {
		return oneOf("action", a[0], "accept", "ignore", "reject")
	}
	p.p.Filter = append(p.p.Filter, push.FilterRule{Action: action, Prefix: strings.Join(a[1:], " ")})
	return nil
}

func fileRef(p *parser, d *Directive, a []string) error { return p.inline(d, a[0]) }

func crlVerify(p *parser, d *Directive, a []string) error {
	if len(a) > 1 {
		return errors.New("a directory cannot be imported: name one file")
	}
	return p.inline(d, a[0])
}

func tlsAuth(p *parser, d *Directive, a []string) error {
	var after []string
	if len(a) > 1 {
		if err := keyDirection(p, d, a[1:]); err != nil {
			return err
		}
		after = []string{"key-direction " + a[1]}
	}
	return p.inline(d, a[0], after...)
}

func keyDirection(p *parser, d *Directive, a []string) error {
	switch a[0] {
	case "0", "1":
		p.p.KeyDirection = int(a[0][0] - '0')
	case "bidirectional":
		p.p.KeyDirection = -1
	default:
		return fmt.Errorf("direction %q is not 0, 1 or bidirectional", a[0])
	}
	return nil
}

const noPasswordYet = "not supported yet: asking for user name and password"

func authUserPass(p *parser, d *Directive, a []string) error {
	p.p.AuthUserPass = true
	d.Verdict, d.Note = Unsupported, noPasswordYet
	if len(a) == 0 || a[0] == "username-only" {
		return nil
	}
	return p.inline(d, a[0])
}

// credentials reads <auth-user-pass>: user name and perhaps password, a line each.
func (p *parser) credentials(d *Directive, body string) error {
	p.p.AuthUserPass = true
	d.Verdict, d.Note = Unsupported, noPasswordYet
	user, rest, _ := strings.Cut(body, "\n")
	password, _, _ := strings.Cut(rest, "\n")
	p.p.Username, p.p.Password = strings.TrimSuffix(user, "\r"), push.Secret(strings.TrimSuffix(password, "\r"))
	if p.p.Username == "" {
		return errors.New("the user name is empty")
	}
	return nil
}

func staticChallenge(p *parser, d *Directive, a []string) error {
	c := &StaticChallenge{Text: a[0], Echo: a[1] == "1"}
	if err := oneOf("echo", a[1], "0", "1"); err != nil {
		return err
	}
	if len(a) > 2 {
		c.Concat = a[2] == "concat"
		if err := oneOf("format", a[2], "scrv1", "concat"); err != nil {
			return err
		}
	}
	p.p.StaticChallenge = c
	d.Verdict, d.Note = Unsupported, "not supported yet: one-time codes"
	return nil
}

func setEnv(p *parser, d *Directive, a []string) error {
	value := strings.Join(a[1:], " ")
	switch name := a[0]; {
	case name == "FORWARD_COMPATIBLE":
	case name == "CLIENT_CERT":
		p.p.NoClientCert = value == "0"
	case name == "PUSH_PEER_INFO":
		p.p.PushPeerInfo = true
	case name == "FRIENDLY_NAME" || name == "PROFILE_NAME":
		p.suggest(value)
	case strings.HasPrefix(name, "UV_") || strings.HasPrefix(name, "IV_"):
		if strings.ContainsFunc(name, func(r rune) bool {
			return !(r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9')
		}) {
			return fmt.Errorf("name %q has other characters than letters, digits and _", name)
		}
		p.p.SetEnv[name] = value
	default:
		d.Verdict, d.Note = Ignored, "no program is run that could read it"
	}
	return nil
}
