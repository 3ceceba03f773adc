package push

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxOptions = 16384          // per reply; a session's own limit is far lower
	maxTimer   = 24 * time.Hour // longest timer that a server may set
	maxBuffer  = 64 << 20       // bytes, sndbuf and rcvbuf
	noPeerID   = -1             // Reply.PeerID when not pushed; 24 bits otherwise
	maxPeerID  = 1<<24 - 1
	minMTU     = 68 // RFC 791
	maxMTU     = 65535
)

// OptionError says that one option makes the whole reply unusable.
type OptionError struct {
	Option string // its name only: values may be secret
	Text   string
}

func (e *OptionError) Error() string { return fmt.Sprintf("option %s: %s", e.Option, e.Text) }

// Parse reads the options of a PUSH_REPLY (SplitReply). An unknown option is
// kept in Unknown; a known one with a bad value is dropped with a note. It
// returns an *OptionError for a hit of a reject rule, and where going on without
// the option would give a wrong tunnel: ifconfig, topology, cipher,
// protocol-flags, peer-id, compression.
func Parse(options []string, filter Filter) (Reply, error) {
	p := newParser(false)
	if len(options) > maxOptions {
		return Reply{}, fmt.Errorf("%d options are too many", len(options))
	}
	enforced, forbidden := filter.enforced(options)
	for _, text := range options {
		text = trim(text)
		if text == "" {
			continue
		}
		name := optionName(text)
		if !clean(text) {
			p.note(name, "control characters, commas or invalid UTF-8; dropped")
			continue
		}
		words, bad := Split(text)
		action := filter.Decide(text)
		if action == Ignore && enforced && len(words) > 0 && leads(words[0]) {
			p.note(name, "a pull-filter rule of the profile does not hold: the server enforces its routes")
			action = Accept
		}
		if text == enforceRoutes && action != Reject { // ignore holds here no more than for routes
			if p.r.EnforceRoutes = enforced; forbidden {
				p.note(name, "the policy of this machine forbids that the server enforces its routes; ignored")
			}
			continue
		}
		switch action {
		case Reject:
			return Reply{}, &OptionError{name, "rejected by a pull-filter rule of the profile"}
		case Ignore:
			p.note(name, "ignored by a pull-filter rule of the profile")
			continue
		}
		if name == "echo" { // its text is free: no quoting rules
			p.echo(strings.TrimSpace(text[len("echo"):]))
			continue
		}
		if bad != nil {
			p.note(name, bad.Error()+"; dropped")
			continue
		}
		if len(words) == 0 {
			continue // a comment
		}
		if err := p.option(words, text); err != nil {
			return Reply{}, err
		}
	}
	return p.finish()
}

// Own reads the same options from a client's own file, each line split into
// words. Host names are allowed as destinations of routes there, and every bad
// value is an *OptionError.
func Own(lines [][]string) (Reply, error) {
	p := newParser(true)
	for _, words := range lines {
		if len(words) == 0 {
			continue
		}
		text := string(AppendOption(nil, words...))
		if !clean(strings.ReplaceAll(text, ",", "")) {
			p.note(words[0], "control characters or invalid UTF-8; dropped")
			continue
		}
		if words[0] == "echo" {
			p.echo(strings.Join(words[1:], " "))
			continue
		}
		if err := p.option(words, text); err != nil {
			return Reply{}, err
		}
	}
	return p.finish()
}

// parser collects what can only be decided when all options are known.
type parser struct {
	own        bool
	r          Reply
	ifconfig   []string // its two arguments
	dhcp       []netip.AddrPort
	domains    []string // DOMAIN, ADAPTER_DOMAIN_SUFFIX
	search     []string // DOMAIN-SEARCH
	dnsSearch  []string // dns search-domains
	split      []string // DOMAIN-ROUTE
	routeAll   bool     // DOMAIN-ROUTE .
	dnsServers map[int]*dnsServer
}

func newParser(own bool) *parser {
	return &parser{own: own, r: Reply{PeerID: noPeerID}, dnsServers: map[int]*dnsServer{}}
}

func (p *parser) note(name, text string) {
	p.r.Notes = append(p.r.Notes, fmt.Sprintf("%s: %s", name, text))
}

// trim is an option without the spaces around it.
func trim(option string) string {
	return strings.TrimFunc(option, func(r rune) bool { return r < 0x80 && isSpace(byte(r)) })
}

// leads says whether an option decides what goes into the tunnel.
func leads(name string) bool {
	return slices.Contains([]string{"route", "route-ipv6", "redirect-gateway", "redirect-private", "block-ipv6"}, name)
}

func (p *parser) echo(text string) {
	if text != "" { // AWS pushes bare ones
		p.r.Echo = append(p.r.Echo, text)
	}
}

// dangerous options would run, read or redirect something on the client's machine.
var dangerous = []string{
	"up", "down", "route-up", "route-pre-down", "ipchange", "tls-verify", "plugin", "script-security",
	"client-connect", "client-disconnect", "learn-address", "auth-user-pass-verify", "dns-updown",
	"up-restart", "down-pre", "up-delay", "cd", "chroot", "user", "group", "daemon", "log", "log-append",
	"status", "writepid", "config", "capath", "ca", "cert", "key", "extra-certs", "pkcs12", "crl-verify",
	"tls-auth", "tls-crypt", "tls-crypt-v2", "secret", "dh", "askpass", "auth-user-pass", "auth", "tls-cipher",
	"tls-ciphersuites", "tls-groups", "tls-cert-profile", "tls-version-min", "tls-version-max", "remote-cert-tls", "verify-x509-name",
	"verify-hash", "peer-fingerprint", "ns-cert-type", "remote", "proto", "port", "rport", "lport", "local",
	"dev", "dev-type", "dev-node", "management", "http-proxy", "socks-proxy", "pull-filter", "engine",
	"pkcs11-providers", "pkcs11-id", "cryptoapicert", "setenv", "route-nopull", "iproute", "tmp-dir", "replay-persist",
}

// inert options are known, and harmless to leave undone.
var inert = map[string]string{
	"route-delay": "routes are added at once", "route-method": "routes are set by system calls",
	"ifconfig-nowarn": "there is no such warning", "lladdr": "a TUN device has no link address",
	"route-ipv6-gateway": "IPv6 routes go into the tunnel device",
	"dhcp-renew":         "not needed", "dhcp-release": "not needed", "ip-win32": "addresses are set by system calls",
	"tap-sleep": "not needed", "ping-timer-rem": "timers run while a server is chosen", "ncp-ciphers": "pushing it has no effect",
	"socket-flags": "chosen by the client", "bind-dev": "chosen by the client", "comp-noadapt": "nothing is compressed",
	"setenv-safe": "no program is run that could read it", "verb": "chosen by the user", "mute": "chosen by the user",
	"shaper": "not supported", "allow-pull-fqdn": "chosen by the user", "block-ipv4": "not supported",
	"max-routes": "there is no such limit",
}

// option applies one option. text is it as received.
func (p *parser) option(words []string, text string) error {
	if p.own && words[0] == "setenv" && len(words) > 2 && words[1] == "opt" { // a file's only (openvpn's options.c, add_option)
		words = words[2:]
		text = string(AppendOption(nil, words...))
		if words[0] == "echo" {
			p.echo(strings.Join(words[1:], " "))
			return nil
		}
	}
	name, args := words[0], words[1:]
	known, err := p.apply(name, args)
	var fatal *OptionError
	switch {
	case errors.As(err, &fatal):
		return fatal
	case err != nil && p.own:
		return &OptionError{name, err.Error()}
	case err != nil:
		p.note(name, err.Error()+"; dropped")
	case known:
	case slices.Contains(dangerous, name):
		p.note(name, "a server may not set this; dropped")
	default:
		why, ok := inert[name]
		if !ok {
			why = "unknown option"
		}
		p.r.Unknown = append(p.r.Unknown, text)
		p.note(name, why+"; ignored")
	}
	return nil
}

// apply reports whether name is an option that we act on. A plain error drops
// the option, an *OptionError the whole reply.
func (p *parser) apply(name string, args []string) (known bool, err error) {
	r := &p.r
	switch name {
	case "topology":
		if len(args) != 1 || !slices.Contains([]string{"subnet", "net30", "p2p"}, args[0]) {
			return true, &OptionError{name, "want subnet, net30 or p2p"}
		}
		r.Topology = args[0]
	case "ifconfig":
		if len(args) != 2 {
			return true, &OptionError{name, "want an address and a mask or peer"}
		}
		p.ifconfig = args
	case "ifconfig-ipv6":
		return true, p.ifconfig6(args)
	case "route":
		return true, p.route(args)
	case "route-ipv6":
		return true, p.route6(args)
	case "route-gateway":
		r.RouteGateway, err = oneAddress(args)
	case "route-metric":
		r.RouteMetric, err = oneNumber(args, 0, math.MaxInt32)
	case "redirect-gateway", "redirect-private":
		p.redirect(name, args)
	case "block-ipv6":
		r.BlockIPv6 = true
	case "block-outside-dns":
		r.BlockDNS = true
	case "register-dns":
		r.RegisterDN = true
	case "dhcp-option":
		return p.dhcpOption(args)
	case "dns":
		return true, p.dns(args)
	case "ping":
		err = p.timer(name, args, &r.Ping)
	case "ping-restart":
		if err = p.timer(name, args, &r.PingRestart); err == nil {
			r.PingNever = r.PingRestart == 0
		}
	case "ping-exit":
		err = p.timer(name, args, &r.PingExit)
	case "keepalive":
		var ping, restart time.Duration
		if len(args) != 2 {
			return true, errors.New("want an interval and a timeout")
		}
		if err = errors.Join(p.timer(name, args[:1], &ping), p.timer(name, args[1:], &restart)); err == nil {
			r.Ping, r.PingRestart, r.PingNever = ping, restart, restart == 0
		}
	case "inactive":
		return true, p.inactive(args)
	case "client-nat":
		return true, p.clientNAT(args)
	case "session-timeout":
		err = p.timer(name, args, &r.SessionTimeout)
	case "peer-id":
		n, err := oneNumber(args, 0, maxPeerID)
		if err != nil {
			return true, &OptionError{name, err.Error()}
		}
		r.PeerID = n
	case "cipher":
		if len(args) != 1 || !isToken(args[0]) {
			return true, &OptionError{name, "not the name of a cipher"}
		}
		r.Cipher = strings.ToUpper(args[0])
	case "key-derivation":
		if len(args) != 1 || args[0] != "tls-ekm" {
			return true, &OptionError{name, "want tls-ekm"}
		}
		r.TLSExport = true
	case "protocol-flags":
		return true, p.protocolFlags(args)
	case "auth-token":
		if len(args) > 0 { // AWS pushes a bare one
			r.AuthToken = Secret(args[0])
		}
	case "auth-token-user":
		if len(args) == 0 {
			return true, nil
		}
		user, err := base64.StdEncoding.DecodeString(args[0])
		if err != nil || !printable(string(user)) {
			return true, errors.New("not base64 of a user name")
		}
		r.TokenUser = string(user)
	case "tun-mtu":
		r.TunMTU, err = keep(r.TunMTU, args[:min(len(args), 1)], minMTU, maxMTU)
	case "explicit-exit-notify":
		if len(args) == 0 {
			args = []string{"1"}
		}
		r.ExitNotify, err = keep(r.ExitNotify, args, 0, 100)
	case "sndbuf":
		r.SndBuf, err = keep(r.SndBuf, args, 0, maxBuffer)
	case "rcvbuf":
		r.RcvBuf, err = keep(r.RcvBuf, args, 0, maxBuffer)
	case "compress", "comp-lzo":
		return true, p.compress(name, args)
	case "socket-flags": // TCP_NODELAY is always set
		return slices.Equal(args, []string{"TCP_NODELAY"}), nil
	case "push-continuation", "persist-tun", "persist-key":
		// the session's business; the other two are what we do anyway
	default:
		return false, nil
	}
	return true, err
}

func (p *parser) timer(name string, args []string, d *time.Duration) error {
	n, err := oneNumber(args, 0, math.MaxInt32)
	if err != nil {
		return err
	}
	if time.Duration(n) > maxTimer/time.Second {
		n = int(maxTimer / time.Second)
		p.note(name, "longer than a day; set to 24 hours")
	}
	*d = time.Duration(n) * time.Second
	return nil
}

// inactive reads: inactive seconds [bytes].
func (p *parser) inactive(args []string) error {
	if len(args) > 2 {
		return errors.New("want seconds and bytes")
	}
	var bytes int64
	if len(args) == 2 {
		var err error
		if bytes, err = strconv.ParseInt(args[1], 10, 64); err != nil || bytes < 0 {
			return fmt.Errorf("%q is not a number of bytes", shorten(args[1]))
		}
	}
	if err := p.timer("inactive", args[:min(len(args), 1)], &p.r.Inactive); err != nil {
		return err
	}
	p.r.InactiveBytes = 0
	if p.r.Inactive > 0 {
		p.r.InactiveBytes = bytes
	}
	return nil
}

func (p *parser) protocolFlags(args []string) error {
	for _, flag := range args {
		switch flag {
		case "cc-exit", "dyn-tls-crypt", "aead-epoch":
		case "tls-ekm":
			p.r.TLSExport = true
		default: // what it means for the wire is unknown, so going on is not safe
			return &OptionError{"protocol-flags", fmt.Sprintf("unknown flag %q", flag)}
		}
		if !slices.Contains(p.r.Flags, flag) {
			p.r.Flags = append(p.r.Flags, flag)
		}
	}
	return nil
}

func (p *parser) compress(name string, args []string) error {
	arg := ""
	if len(args) > 0 {
		arg = args[0]
	}
	switch name + " " + arg {
	case "comp-lzo no":
		p.r.Compress = "lzo-no"
	case "comp-lzo ", "comp-lzo yes", "comp-lzo adaptive", "compress lzo":
		p.r.Compress = "lzo"
	case "compress ", "compress stub":
		p.r.Compress = "stub"
	case "compress stub-v2", "compress lz4", "compress lz4-v2":
		p.r.Compress = arg
	case "compress migrate":
		return errors.New("migrate is for servers")
	default: // the peer would frame packets in a way that we do not know
		return &OptionError{name, fmt.Sprintf("unknown algorithm %q", arg)}
	}
	return nil
}

func (p *parser) finish() (Reply, error) {
	if err := p.finishIfconfig(); err != nil {
		return Reply{}, err
	}
	p.finishDNS()
	return p.r, nil
}

// keep returns the number in args, or old beside an error.
func keep(old int, args []string, low, high int) (int, error) {
	n, err := oneNumber(args, low, high)
	if err != nil {
		return old, err
	}
	return n, nil
}

func oneNumber(args []string, low, high int) (int, error) {
	if len(args) != 1 {
		return 0, errors.New("want one number")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < low || n > high || args[0][0] == '+' {
		return 0, fmt.Errorf("%q is not a number from %d to %d", shorten(args[0]), low, high)
	}
	return n, nil
}

// optionName is the first word of an option for messages, made safe to print.
func optionName(text string) string {
	if i := strings.IndexFunc(text, func(r rune) bool { return r <= ' ' }); i >= 0 {
		text = text[:i]
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, shorten(text)), "")
}

func shorten(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// clean reports that text can stand in a PUSH_REPLY and in a log.
func clean(text string) bool { return printable(text) && !strings.Contains(text, ",") }

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029'
	})
}

// isToken reports a name made of letters, digits, - and _, as ciphers have.
func isToken(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	})
}
