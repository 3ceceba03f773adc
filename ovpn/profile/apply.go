package profile

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
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

func auth(p *parser, d *Directive, a []string) error {
	p.p.Auth = strings.ToUpper(a[0])
	if p.p.Auth == "NONE" {
		return errors.New("without a digest packets could be forged")
	}
	return nil
}

// finishAuth knows whether tls-auth, the only user of auth, is there.
func (p *parser) finishAuth() {
	for i := range p.p.Directives {
		d := &p.p.Directives[i]
		if d.Words[0] != "auth" || d.Verdict != Used {
			continue
		}
		switch {
		case p.p.TLSAuth == "":
			d.Note = "only tls-auth and old ciphers need it: nothing does here"
			d.Verdict = Ignored
		case !slices.Contains([]string{"SHA1", "SHA224", "SHA256", "SHA384", "SHA512"}, p.p.Auth):
			d.Verdict, d.Note = Unsupported, "not supported yet: digest "+p.p.Auth+" for tls-auth"
		}
	}
}

func cipher(p *parser, d *Directive, a []string) error {
	name := strings.ToUpper(a[0])
	switch classify(name) {
	case aead:
		p.p.Fallback = name
	case weak:
		if name == "NONE" {
			return errors.New("packets would not be encrypted")
		}
		d.Verdict, d.Note = Ignored, name+" is broken; a better one is negotiated, or the connection fails"
	case legacy:
		d.Verdict, d.Note = Ignored, "AES-GCM or ChaCha20-Poly1305 is negotiated; "+name+" itself is not supported yet"
	default:
		return fmt.Errorf("unknown cipher %q", a[0])
	}
	return nil
}

func dataCiphers(p *parser, d *Directive, a []string) error {
	var list, skipped []string
	kinds := map[cipherKind]int{}
	for name := range strings.SplitSeq(strings.ToUpper(a[0]), ":") {
		optional := strings.HasPrefix(name, "?")
		name = strings.TrimPrefix(name, "?")
		if name == "DEFAULT" {
			list = append(list, "AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305")
			continue
		}
		kind := classify(name)
		switch {
		case kind == aead:
			list = append(list, name)
		case kind == strange && !optional:
			return fmt.Errorf("unknown cipher %q", name)
		default:
			kinds[kind]++
			skipped = append(skipped, name)
		}
	}
	switch {
	case len(list) > 0:
		p.p.Ciphers = dedupe(list)
		if len(skipped) > 0 {
			d.Note = "not offered: " + strings.Join(dedupe(skipped), ", ")
		}
	case kinds[legacy] > 0:
		d.Verdict, d.Note = Unsupported, "not supported yet: "+strings.Join(skipped, ", ")
	default:
		return fmt.Errorf("names only broken ciphers: %s", strings.Join(skipped, ", "))
	}
	return nil
}

func dedupe(list []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func keyMethod(p *parser, d *Directive, a []string) error {
	if a[0] != "2" {
		return errors.New("key-method 1 has no forward secrecy")
	}
	return nil
}

func tlsMin(p *parser, d *Directive, a []string) error {
	v, err := tlsVersion(a[0])
	if err != nil {
		return err
	}
	if v < tls.VersionTLS12 {
		d.Note = "TLS 1.2 is the oldest that is spoken"
		v = tls.VersionTLS12
	}
	p.p.TLSMin = v
	return p.versions()
}

func tlsMax(p *parser, d *Directive, a []string) error {
	v, err := tlsVersion(a[0])
	if err != nil {
		return err
	}
	if v < tls.VersionTLS12 {
		return fmt.Errorf("TLS %s is broken; 1.2 is the oldest that is spoken", a[0])
	}
	p.p.TLSMax = v
	return p.versions()
}

func (p *parser) versions() error {
	if p.p.TLSMax != 0 && p.p.TLSMin > p.p.TLSMax {
		return errors.New("tls-version-min is above tls-version-max")
	}
	return nil
}

func tlsCipher(p *parser, d *Directive, a []string) error {
	if p.p.TLSCiphers = suites(a[0]); len(p.p.TLSCiphers) == 0 {
		d.Verdict, d.Note = Ignored, "names no suite that crypto/tls has; its default is used"
	}
	return nil
}

func tlsGroups(p *parser, d *Directive, a []string) error {
	p.p.TLSGroups = nil
	for name := range strings.SplitSeq(a[0], ":") {
		if _, ok := curve(name); ok {
			p.p.TLSGroups = append(p.p.TLSGroups, name)
		} else {
			d.Note = "not available: " + name
		}
	}
	if len(p.p.TLSGroups) == 0 {
		d.Verdict, d.Note = Ignored, "names no group that crypto/tls has; its default is used"
	}
	return nil
}

func certProfile(p *parser, d *Directive, a []string) error {
	if a[0] == "insecure" {
		d.Verdict, d.Note = Ignored, "SHA-1 signatures stay refused"
		return nil
	}
	p.p.CertProfile = a[0]
	return oneOf("profile", a[0], "legacy", "preferred", "suiteb", "insecure")
}

func remoteCertTLS(p *parser, d *Directive, a []string) error {
	p.p.RemoteCertTLS = a[0]
	return oneOf("type", a[0], "server", "client")
}

func remoteCertKU(p *parser, d *Directive, a []string) error {
	p.p.RemoteCertKU = []uint16{}
	if len(a) == 0 {
		p.p.RemoteCertKU = append(p.p.RemoteCertKU, 0) // any, but there must be one
	}
	for _, s := range a {
		n, err := strconv.ParseUint(s, 16, 16)
		if err != nil {
			return fmt.Errorf("usage %q is not hexadecimal", s)
		}
		p.p.RemoteCertKU = append(p.p.RemoteCertKU, uint16(n))
	}
	return nil
}

func remoteCertEKU(p *parser, d *Directive, a []string) error {
	names := map[string]string{"TLS Web Server Authentication": oidServerAuth, "serverAuth": oidServerAuth,
		"TLS Web Client Authentication": oidClientAuth, "clientAuth": oidClientAuth}
	p.p.RemoteCertEKU = a[0]
	if oid, ok := names[a[0]]; ok {
		p.p.RemoteCertEKU = oid
	}
	if !strings.Contains(p.p.RemoteCertEKU, ".") || strings.Trim(p.p.RemoteCertEKU, "0123456789.") != "" {
		return fmt.Errorf("usage %q is neither an OID nor a known name", a[0])
	}
	return nil
}

func nsCertType(p *parser, d *Directive, a []string) error {
	p.p.NSCertType = a[0]
	d.Note = "remote-cert-tls has replaced it"
	return oneOf("type", a[0], "server", "client")
}

func verifyName(p *parser, d *Directive, a []string) error {
	v := VerifyName{Type: "subject", Value: a[0]}
	if len(a) > 1 {
		v.Type = a[1]
	}
	if v.Value == "" {
		return errors.New("the name is empty")
	}
	p.p.VerifyName = v
	return oneOf("type", v.Type, "subject", "name", "name-prefix")
}

func verifyHash(p *parser, d *Directive, a []string) (err error) {
	h := &VerifyHash{Algorithm: "SHA1"}
	if len(a) > 1 {
		h.Algorithm = strings.ToUpper(a[1])
	}
	size := map[string]int{"SHA1": 20, "SHA256": 32}[h.Algorithm]
	if size == 0 {
		return oneOf("algorithm", h.Algorithm, "SHA1", "SHA256")
	}
	h.Sum, err = fingerprint(a[0], size)
	p.p.VerifyHash = h
	return err
}

func peerFingerprint(p *parser, d *Directive, a []string) error {
	for _, s := range a {
		sum, err := fingerprint(s, 32)
		if err != nil {
			return err
		}
		p.p.Fingerprints = append(p.p.Fingerprints, sum)
	}
	return nil
}

func usernameField(p *parser, d *Directive, a []string) error {
	if len(a) != 1 || a[0] != "CN" {
		return fmt.Errorf("only CN is looked at, not %s", strings.Join(a, " "))
	}
	return nil
}

const noPasswordYet = "not supported yet: sign-in with user name and password"

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
