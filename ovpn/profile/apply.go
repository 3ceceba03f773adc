package profile

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// One function per directive that has values to check; rules names them.

func mode(p *parser, d *Directive, a []string) error {
	if a[0] == "server" {
		return remark("server_file")
	}
	return oneOf("mode", a[0], "p2p")
}

// resolvRetry checks a limit that we need not have: a name is looked up once in each try.
func resolvRetry(p *parser, d *Directive, a []string) error {
	if a[0] == "infinite" {
		return nil
	}
	_, err := seconds("value", a[0])
	d.say(Ignored, remark("each_try"))
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

func device(p *parser, d *Directive, a []string) error {
	const longest = 15 // bytes: IFNAMSIZ without the NUL
	if strings.Trim(a[0], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		return fmt.Errorf("%q is not a device's name", a[0])
	}
	p.p.Dev = a[0]
	if len(a[0]) > longest {
		p.p.Dev, d.Note = a[0][:3], "the name is too long: another one is chosen"
	}
	if a[0] == "null" {
		d.say(Unsupported, remark("dev_null"))
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
			d.say(Unsupported, remark("tap"))
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
		d.say(Ignored, remark("not_needed_here"))
	case len(r.Notes) > 0 && words[0] != "dns":
		_, d.Note, _ = strings.Cut(r.Notes[0], ": ")
	}
	p.own = append(p.own, words)
	p.ownLines = append(p.ownLines, d.Line)
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

// changeDir: where files can be read, they are read from there (Parse has gone there before the first line). A stored profile
// has none to read.
func changeDir(p *parser, d *Directive, _ []string) error {
	if p.files == nil {
		d.say(Ignored, remark("service_decides"))
	}
	return nil
}

func crlVerify(p *parser, d *Directive, a []string) error {
	if len(a) > 1 {
		return remark("crl_directory")
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

func authUserPass(p *parser, d *Directive, a []string) error {
	p.p.AuthUserPass = true
	if len(a) == 0 || a[0] == "username-only" {
		return nil
	}
	return p.inline(d, a[0])
}

// credentials reads <auth-user-pass>: user name and perhaps password, a line each.
func (p *parser) credentials(d *Directive, body string) error {
	p.p.AuthUserPass = true
	user, password, err := userAndPassword(body)
	p.p.Username, p.p.Password = user, push.Secret(password)
	return err
}

// userAndPassword reads a line each. A file that a profile names and that holds
// something else must not be sent to a server as a password.
func userAndPassword(body string) (user, password string, err error) {
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(body, "\r\n", "\n"), "\n"), "\n")
	switch {
	case len(lines) > 2 || strings.HasPrefix(lines[0], "-----BEGIN"):
		return "", "", remark("not_login")
	case strings.ContainsFunc(strings.Join(lines, ""), func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", "", remark("control_character")
	case lines[0] == "":
		return "", "", errors.New("the user name is empty")
	case len(lines) == 2:
		password = lines[1]
	}
	return lines[0], password, nil
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
		d.say(Ignored, remark("no_program_reads"))
	}
	return nil
}

func nothing(p *parser, d *Directive, a []string) error { return nil }

func renegSeconds(p *parser, d *Directive, a []string) (err error) {
	p.p.RenegSet = true
	if p.p.RenegSec, err = seconds("value", a[0]); err != nil || len(a) < 2 {
		return err
	}
	p.p.RenegMin, err = seconds("minimum", a[1])
	return err
}

// replayWindow has openvpn's limits (packet_id.h).
func replayWindow(p *parser, d *Directive, a []string) (err error) {
	if p.p.ReplayWindow, err = number("window", a[0], 1, 65536); err != nil || len(a) < 2 {
		return err
	}
	n, err := number("seconds", a[1], 0, 600)
	p.p.ReplayTime = time.Duration(n) * time.Second
	return err
}

// askPass keeps the passphrase that a file holds for Unlock. The file is not
// needed any more then, and the line stays without its name.
func askPass(p *parser, d *Directive, a []string) error {
	d.say(Ignored, remark("passphrase_once"))
	if len(a) == 0 || p.files == nil || a[0] == "stdin" {
		return nil
	}
	body, err := p.read(a[0])
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(body), "\n")
	p.p.Passphrase = push.Secret(strings.TrimSuffix(first, "\r"))
	p.out = append(p.out, "askpass")
	p.dropped = true
	d.Note = "its passphrase opens the key at import"
	return nil
}
