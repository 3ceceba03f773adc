package profile

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// scope collects what may stand in a <connection> block as well as outside of
// all blocks, where it is the default for every remote (openvpn(8),
// "Connection profiles"). Nil means not written.
type scope struct {
	line    int // of <connection>
	remotes []pendingRemote

	port       uint16
	proto      string
	timeout    time.Duration
	mtu        int
	exitNotify *int
	fragment   *int
	mssfix     *Mssfix
	nobind     *bool
	localAddr  *string
	localPort  *uint16
	proxy      *Proxy
	proxyLine  int
	proxyDone  bool
	proxyLogin *login         // http-proxy-user-pass or socks-proxy-user-pass
	proxyExtra []func(*Proxy) // http-proxy-option
	keys       *ControlKeys
}

// pendingRemote waits for defaults from later lines.
type pendingRemote struct {
	remote Remote // Port 0, Proto "": default
	scope  *scope
}

// scope is where the current line stands.
func (p *parser) scope() *scope {
	if p.conn != nil {
		return p.conn
	}
	return &p.global
}

// perConnection are the directives that openvpn takes in a <connection> block
// (options.c, OPT_P_CONNECTION).
func perConnection() []string {
	return []string{
		"remote", "port", "rport", "lport", "proto", "local", "bind", "nobind", "float", "multihome", "connect-retry", "connect-retry-max", "connect-timeout",
		"server-poll-timeout", "http-proxy", "http-proxy-option", "http-proxy-retry", "http-proxy-timeout", "http-proxy-user-pass", "socks-proxy", "socks-proxy-retry",
		"socks-proxy-user-pass", "link-mtu", "udp-mtu", "tun-mtu", "tun-mtu-extra", "tun-mtu-max", "max-packet-size", "mtu-dynamic", "fragment", "mtu-disc", "mssfix",
		"explicit-exit-notify", "tls-auth", "tls-crypt", "tls-crypt-v2", "key-direction",
	}
}

// endConnection closes a <connection> block.
func (p *parser) endConnection(line int) {
	c := p.conn
	if c == nil {
		p.fail(line, "</connection>", errors.New("closes nothing"))
		return
	}
	p.conn = nil
	if len(c.remotes) == 0 {
		p.fail(c.line, "<connection>", remark("connection_empty"))
	}
	p.remotes = append(p.remotes, c.remotes...)
}

// finishRemotes gives every remote what its block, or else the whole file, says.
func (p *parser) finishRemotes() {
	g := &p.global
	p.finishProxy(g)
	for _, pending := range p.remotes {
		r, s := pending.remote, pending.scope
		if s != g {
			p.finishProxy(s)
		}
		r.Port = first(r.Port, s.port, g.port, 1194)
		r.Proto = first(r.Proto, s.proto, g.proto, "udp")
		r.ExitNotify = -1
		if s != g {
			r.Timeout, r.MTU, r.Keys = s.timeout, s.mtu, s.keys
			if s.exitNotify != nil {
				r.ExitNotify = *s.exitNotify
			}
		}
		if r.udp() { // openvpn takes fragment over UDP only
			r.Fragment = *first(s.fragment, g.fragment, new(int))
		}
		r.Mssfix = *first(s.mssfix, g.mssfix, &Mssfix{})
		r.Proxy = first(s.proxy, g.proxy)
		r.Nobind = *first(s.nobind, g.nobind, new(bool))
		r.LocalAddr = *first(s.localAddr, g.localAddr, new(string))
		r.LocalPort = *first(s.localPort, g.localPort, new(uint16))
		p.p.Remotes = append(p.p.Remotes, r)
	}
	if len(p.p.Remotes) == 0 && len(p.p.errs) == 0 {
		p.fail(0, "remote", remark("no_server"))
	}
	q := p.p
	q.written, q.proxyLogin = slices.Clone(q.Remotes), g.proxyLogin
	p.finishProxies()
	if !slices.ContainsFunc(q.Remotes, func(r Remote) bool { return !r.udp() }) {
		q.Fragment = *first(g.fragment, new(int))
	}
	q.Mssfix = *first(g.mssfix, &Mssfix{})
	q.Nobind = *first(g.nobind, new(bool))
	q.LocalAddr = *first(g.localAddr, new(string))
	q.LocalPort = *first(g.localPort, new(uint16))
	q.ExitNotify = *first(g.exitNotify, new(int))
	q.MTU, q.ServerPollTimeout, q.Proxy = g.mtu, g.timeout, g.proxy
	if k := g.keys; k != nil {
		q.TLSAuth, q.TLSCrypt, q.TLSCryptV2 = k.TLSAuth, k.TLSCrypt, k.TLSCryptV2
	}
	for _, k := range p.allKeys() {
		n := 0
		for _, key := range []string{k.TLSAuth.Reveal(), k.TLSCrypt.Reveal(), k.TLSCryptV2.Reveal()} {
			if key != "" {
				n++
			}
		}
		if n > 1 {
			p.fail(0, "tls-auth", remark("control_keys"))
		}
	}
}

// allKeys lists the control channel keys of the file and of its blocks.
func (p *parser) allKeys() (all []*ControlKeys) {
	if p.global.keys != nil {
		all = append(all, p.global.keys)
	}
	for _, r := range p.p.Remotes {
		if r.Keys != nil && !slices.Contains(all, r.Keys) {
			all = append(all, r.Keys)
		}
	}
	return all
}

// first returns the first value that is set.
func first[T comparable](values ...T) (zero T) {
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}

func remote(p *parser, d *Directive, a []string) (err error) {
	r := Remote{Host: a[0], Line: d.Line}
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
	s := p.scope()
	if p.conn != nil {
		s.remotes = append(s.remotes, pendingRemote{r, s})
	} else {
		p.remotes = append(p.remotes, pendingRemote{r, s})
	}
	return nil
}

func setPort(p *parser, d *Directive, a []string) (err error) {
	p.scope().port, err = portNumber(a[0])
	return err
}

func setProto(p *parser, d *Directive, a []string) (err error) {
	p.scope().proto, err = protocol(a[0])
	return err
}

func localAddress(p *parser, d *Directive, a []string) error {
	p.scope().localAddr = &a[0]
	return hostName(a[0])
}

func localPort(p *parser, d *Directive, a []string) error {
	n, err := number("port", a[0], 0, 65535)
	port := uint16(n)
	p.scope().localPort = &port
	return err
}

func nobind(p *parser, d *Directive, a []string) error {
	v := d.Words[0] == "nobind"
	p.scope().nobind = &v
	return nil
}

func exitNotify(p *parser, d *Directive, a []string) (err error) {
	n := 1
	if len(a) > 0 {
		if n, err = number("value", a[0], 0, 100); err != nil {
			return err
		}
	}
	p.scope().exitNotify = &n
	return nil
}

func tunMTU(p *parser, d *Directive, a []string) (err error) {
	p.scope().mtu, err = number("size", a[0], 68, 65535)
	return err
}

func fragment(p *parser, d *Directive, a []string) error {
	const headers = 40 + 8 // IPv6 and UDP: "mtu" counts them, Remote.Fragment does not
	n, err := number("size", a[0], 68, 65535)
	switch {
	case err != nil:
		return err
	case len(a) > 1 && a[1] != "mtu":
		return oneOf("flag", a[1], "mtu")
	case len(a) > 1:
		n = max(n-headers, 68)
	}
	p.scope().fragment = &n
	return nil
}

func mssfix(p *parser, d *Directive, a []string) (err error) {
	var m Mssfix // without a number it means the default (openvpn(8))
	if len(a) > 0 {
		m.Set = true
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
	p.scope().mssfix = &m
	return nil
}

// control stores a key of the control channel.
func (p *parser) control(set func(k *ControlKeys)) {
	s := p.scope()
	if s.keys == nil {
		s.keys = &ControlKeys{Direction: -1}
	}
	set(s.keys)
}

func keyDirection(p *parser, d *Directive, a []string) error {
	direction := -1
	switch a[0] {
	case "0", "1":
		direction = int(a[0][0] - '0')
	case "bidirectional":
	default:
		return fmt.Errorf("direction %q is not 0, 1 or bidirectional", a[0])
	}
	if p.conn == nil {
		p.p.KeyDirection = direction
	}
	p.control(func(k *ControlKeys) { k.Direction = direction })
	return nil
}

// finishKeys gives a key without a direction the one of the whole file.
func (p *parser) finishKeys() {
	for _, remotes := range [][]Remote{p.p.Remotes, p.p.written} { // the same keys, and some that are left out of the first
		for i := range remotes {
			k := remotes[i].Keys
			switch {
			case k == nil:
			case k.TLSAuth == "" && k.TLSCrypt == "" && k.TLSCryptV2 == "":
				remotes[i].Keys = nil // only a key-direction
			case k.Direction < 0:
				k.Direction = p.p.KeyDirection
			}
		}
	}
}
