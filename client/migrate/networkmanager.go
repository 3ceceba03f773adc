package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/push"
)

const (
	nmFolder  = "etc/NetworkManager/system-connections"
	nmService = "org.freedesktop.NetworkManager.openvpn"
	// nmCertPass is how the passphrase in a keyfile is called where a profile names a file.
	nmCertPass = "cert-pass of the keyfile"
)

var errNotOpenVPN = errors.New("it is no connection of NetworkManager's OpenVPN plugin")

// networkManager reads the keyfiles of NetworkManager that belong to its OpenVPN plugin. They are root's alone.
func (f *finder) networkManager(at string) {
	if at != "" && f.single {
		p := f.nmProfile(f.s.name(at))
		f.add(p)
		return
	}
	dir := nmFolder
	if at != "" {
		dir = f.s.name(at)
	} else if f.s.OS != "linux" {
		return
	}
	f.looked = append(f.looked, f.s.native(dir))
	closed := 0
	f.walk(dir, maxDepth, func(file string, folder bool) bool {
		if folder || strings.HasPrefix(path.Base(file), ".") || f.full() {
			return false
		}
		switch p := f.nmProfile(file); {
		case errors.Is(p.Err, fs.ErrPermission):
			closed++
		case !errors.Is(p.Err, errNotOpenVPN):
			f.add(p)
		}
		return true
	})
	if closed > 0 {
		f.add(Profile{Name: path.Base(dir), Path: f.s.native(dir), Err: fmt.Errorf("%d of its files: %w", closed, fs.ErrPermission)})
	}
}

// nmProfile reads one keyfile.
func (f *finder) nmProfile(file string) Profile {
	p := Profile{Name: bare(file, ".nmconnection"), Path: f.s.native(file)}
	text, err := f.read(file)
	if err != nil {
		p.Err = err
		return p
	}
	k, err := parseKeyfile(text)
	if err != nil {
		p.Err = err
		if !bytes.Contains(text, []byte(nmService)) {
			p.Err = errNotOpenVPN
		}
		return p
	}
	if k.text("connection", "type") != "vpn" || k.text("vpn", "service-type") != nmService {
		p.Err = errNotOpenVPN
		return p
	}
	if id := k.text("connection", "id"); id != "" {
		p.Name = id
	}
	files := f.s.beside(path.Dir(file))
	p.Files = func(name string) ([]byte, error) {
		if name == nmCertPass {
			return []byte(k.text("vpn-secrets", "cert-pass") + "\n"), nil
		}
		return files(name)
	}
	p.Text, p.Notes, p.Err = convert(k, p.Files)
	return p
}

// nmKeys are the plugin's keys that convert gives to a line of the same meaning, word for word, unless they are empty:
// the directive, in the order in which they are written.
var nmKeys = []struct{ key, directive string }{
	{"cipher", "cipher"}, {"data-ciphers", "data-ciphers"}, {"data-ciphers-fallback", "data-ciphers-fallback"}, {"tls-cipher", "tls-cipher"},
	{"keysize", "keysize"}, {"auth", "auth"}, {"ping", "ping"}, {"ping-exit", "ping-exit"}, {"ping-restart", "ping-restart"},
	{"connect-timeout", "connect-timeout"}, {"max-routes", "max-routes"}, {"tunnel-mtu", "tun-mtu"}, {"fragment-size", "fragment"}, {"mtu-disc", "mtu-disc"},
	{"remote-cert-tls", "remote-cert-tls"}, {"ns-cert-type", "ns-cert-type"}, {"tls-version-max", "tls-version-max"}, {"dev-type", "dev-type"},
	{"allow-compression", "allow-compression"},
}

// nmFlags are those with yes or no.
var nmFlags = []string{"remote-random", "remote-random-hostname", "push-peer-info", "float", "ncp-disable", "allow-pull-fqdn", "tun-ipv6"}

// nmFiles are those that name a file.
var nmFiles = []struct{ key, directive string }{{"tls-crypt", "tls-crypt"}, {"tls-crypt-v2", "tls-crypt-v2"}, {"extra-certs", "extra-certs"}, {"crl-verify-file", "crl-verify"}}

// nmKnown are the keys that convert looks at elsewhere, by group, and those without a meaning for a tunnel of ours.
var nmKnown = map[string][]string{
	"vpn": {
		"service-type", "connection-type", "remote", "port", "proto-tcp", "ca", "cert", "key", "static-key", "static-key-direction", "ta", "ta-dir", "tls-remote",
		"verify-x509-name", "tls-version-min", "tls-version-min-or-highest", "crl-verify-dir", "comp-lzo", "compress", "mssfix", "dev", "tap-dev", "local-ip", "remote-ip",
		"reneg-seconds", "username", "proxy-type", "proxy-server", "proxy-port", "http-proxy-username",
		"password-flags", "cert-pass-flags", "http-proxy-password-flags", "challenge-response-flags", "no-secret", "user-name", "timeout",
	},
	"vpn-secrets": {"password", "cert-pass", "http-proxy-password", "challenge-response", "no-secret"},
	"connection":  {"id", "uuid", "type", "timestamp", "read-only", "autoconnect"},
	"ipv4":        {"method", "never-default", "ignore-auto-routes", "ignore-auto-dns", "dns", "dns-search", "route-metric"},
	"ipv6":        {"method", "never-default", "ignore-auto-routes", "ignore-auto-dns", "dns", "dns-search", "addr-gen-mode", "ip6-privacy"},
}

// nmUsual are values that say what is so here anyway.
var nmUsual = map[string]string{"vpn.proxy-retry": "no", "connection.permissions": "", "ipv4.may-fail": "true", "ipv6.may-fail": "true"}

// convert writes a keyfile as a profile, with what NetworkManager adds when it starts openvpn, and notes what cannot be
// said in one. Source: the plugin's keys, its export, and what it starts openvpn with.
func convert(k *keyfile, files profile.Files) (text []byte, notes []string, err error) {
	c := &converter{k: k, files: files}
	kind := c.get("connection-type")
	switch kind {
	case "tls", "password", "password-tls":
		c.line("client")
	case "static-key":
	default:
		return nil, nil, fmt.Errorf("its connection-type is %q: none of tls, password, password-tls and static-key", kind)
	}
	c.remotes()
	c.device()
	for _, x := range nmFlags {
		if c.get(x) == "yes" {
			c.line(x)
		}
	}
	for _, x := range nmKeys {
		if v := c.get(x.key); v != "" {
			c.line(x.directive, v)
		}
	}
	c.compression()
	switch v := c.get("mssfix"); v {
	case "", "no":
	case "yes":
		c.line("mssfix")
	default:
		c.line("mssfix", v)
	}
	if v := c.get("tls-version-min"); v != "" {
		words := []string{"tls-version-min", v}
		if c.get("tls-version-min-or-highest") == "yes" {
			words = append(words, "or-highest")
		}
		c.line(words...)
	}
	if local, remote := c.get("local-ip"), c.get("remote-ip"); local != "" && remote != "" {
		c.line("ifconfig", local, remote)
	}
	c.server()
	c.credentials(kind)
	c.proxy()
	c.line("nobind")
	c.addresses()
	c.leftOver()
	if c.err != nil {
		return nil, nil, c.err
	}
	return c.text, c.notes, nil
}

// converter writes one profile.
type converter struct {
	k     *keyfile
	files profile.Files
	text  []byte
	notes []string
	err   error // the first
}

func (c *converter) get(key string) string  { return c.k.text("vpn", key) }
func (c *converter) file(key string) string { return octets(c.get(key)) }

// line writes a directive; a value must not begin another line.
func (c *converter) line(words ...string) {
	for _, w := range words {
		if strings.ContainsFunc(w, control) {
			c.fail("%s: its value has a control character", words[0])
			return
		}
	}
	c.text = append(push.AppendOption(c.text, words...), '\n')
}

// block writes lines inside a tag.
func (c *converter) block(tag string, lines ...string) {
	if strings.ContainsFunc(strings.Join(lines, ""), control) {
		c.fail("%s: its value has a control character", tag)
		return
	}
	c.text = fmt.Appendf(c.text, "<%s>\n%s\n</%s>\n", tag, strings.Join(lines, "\n"), tag)
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

func (c *converter) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

func (c *converter) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// remotes writes the servers: host[:port[:proto]], separated by commas or spaces.
func (c *converter) remotes() {
	port, proto := c.get("port"), "udp"
	if port == "" {
		port = "1194"
	}
	if c.get("proto-tcp") == "yes" {
		proto = "tcp-client"
	}
	streams, count := 0, 0
	for _, r := range strings.FieldsFunc(c.get("remote"), func(r rune) bool { return strings.ContainsRune(" \t,", r) }) {
		host, p, pr := splitRemote(r)
		if p == "" {
			p = port
		}
		switch pr {
		case "":
			pr = proto
		case "tcp", "tcp4", "tcp6":
			pr += "-client"
		}
		count++
		if strings.HasPrefix(pr, "tcp") {
			streams++
		}
		c.line("remote", host, p, pr)
	}
	switch {
	case count == 0:
		c.fail("it names no server")
	case streams == 0:
		c.line("explicit-exit-notify")
	}
}

// splitRemote cuts one server apart: an IPv6 address may stand alone or in brackets.
func splitRemote(s string) (host, port, proto string) {
	literal := func(s string) bool {
		a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
		return err == nil && a.Is6()
	}
	host = s
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !literal(host) {
		host, port = host[:i], host[i+1:]
		if i := strings.LastIndexByte(host, ':'); i >= 0 && !literal(host) {
			host, port, proto = host[:i], host[i+1:], port
		}
	}
	if literal(host) {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	return host, port, proto
}

func (c *converter) device() {
	dev := c.file("dev")
	if dev == "" {
		dev = c.get("dev-type")
	}
	if dev == "" && c.get("tap-dev") == "yes" {
		dev = "tap"
	}
	if dev == "" {
		dev = "tun"
	}
	c.line("dev", dev)
}

// compression: "comp-lzo=no" means no compression at all, and "no-by-default" means openvpn's comp-lzo no; openvpn is
// started with compress instead of comp-lzo yes.
func (c *converter) compression() {
	if c.get("allow-compression") == "no" {
		return
	}
	switch v := c.get("compress"); v {
	case "lzo", "lz4", "lz4-v2":
		c.line("compress", v)
		return
	case "yes":
		c.line("compress")
		return
	}
	switch c.get("comp-lzo") {
	case "yes":
		c.line("compress", "lzo")
	case "no-by-default":
		c.line("comp-lzo", "no")
	case "adaptive":
		c.line("comp-lzo", "adaptive")
	}
}

// server writes who the server is, and how control packets are protected.
func (c *converter) server() {
	if v := c.get("verify-x509-name"); v != "" {
		kind, name, ok := strings.Cut(v, ":")
		if !ok {
			kind, name = "subject", v
		}
		c.line("verify-x509-name", name, kind)
	} else if v := c.get("tls-remote"); v != "" {
		c.line("verify-x509-name", v, "name")
	}
	if v := c.file("ta"); v != "" {
		words := []string{"tls-auth", v}
		if d := c.get("ta-dir"); d != "" {
			words = append(words, d)
		}
		c.line(words...)
	}
	for _, x := range nmFiles {
		if v := c.file(x.key); v != "" {
			c.line(x.directive, v)
		}
	}
	if v := c.file("crl-verify-dir"); v != "" && c.get("crl-verify-file") == "" {
		c.line("crl-verify", v, "dir")
	}
}

// credentials writes certificates and what the sign-in asks for.
func (c *converter) credentials(kind string) {
	if kind == "static-key" {
		words := []string{"secret", c.file("static-key")}
		if d := c.get("static-key-direction"); d != "" {
			words = append(words, d)
		}
		c.line(words...)
		return
	}
	if v := c.get("reneg-seconds"); v != "" {
		c.line("reneg-sec", v)
	} else {
		c.line("reneg-sec", "0")
	}
	if v := c.file("ca"); v != "" && !c.isPKCS12(v) {
		c.line("ca", v)
	}
	if cert := c.file("cert"); kind != "password" && cert != "" {
		if c.isPKCS12(cert) {
			c.line("pkcs12", cert)
		} else {
			c.line("cert", cert)
			if key := c.file("key"); key != "" {
				c.line("key", key)
			}
		}
		if c.k.text("vpn-secrets", "cert-pass") != "" {
			c.line("askpass", nmCertPass)
		}
	}
	if kind == "tls" {
		return
	}
	if user := c.get("username"); user != "" {
		c.block("auth-user-pass", user)
	} else {
		c.line("auth-user-pass")
	}
	c.line("auth-retry", "interact")
	if flags, _ := strconv.Atoi(c.get("password-flags")); flags&2 != 0 { // never saved
		c.line("auth-nocache")
	}
	if c.k.text("vpn-secrets", "password") != "" {
		c.note("its saved password is not taken: the first sign-in asks for it")
	}
}

// isPKCS12 looks into the file: the plugin does not say it otherwise.
func (c *converter) isPKCS12(file string) bool {
	b, err := c.files(file)
	return err == nil && len(b) > 0 && b[0] == 0x30 && !bytes.Contains(b, []byte("-----BEGIN"))
}

func (c *converter) proxy() {
	kind, host, port := c.get("proxy-type"), c.get("proxy-server"), c.get("proxy-port")
	switch {
	case kind == "" || host == "":
	case kind == "http":
		if port == "" {
			port = "8080"
		}
		c.line("http-proxy", host, port, "auto")
		user, password := c.get("http-proxy-username"), c.k.text("vpn-secrets", "http-proxy-password")
		switch {
		case user != "" && password != "":
			c.block("http-proxy-user-pass", user, password)
		case user != "":
			c.note("the password of %s for the proxy is not in the file: the proxy will refuse until the profile has it", user)
		}
	case kind == "socks":
		if port == "" {
			port = "1080"
		}
		c.line("socks-proxy", host, port)
	default:
		c.fail("its proxy-type is %q: neither http nor socks", kind)
	}
}

// addresses writes what NetworkManager itself does with routes and names. It sends all traffic through a tunnel unless
// it is told otherwise, whatever the server says.
func (c *converter) addresses() {
	yes := func(family, key string) bool {
		v := strings.ToLower(c.k.text(family, key))
		return v == "true" || v == "yes" || v == "1"
	}
	six := !slices.Contains([]string{"disabled", "ignore"}, c.k.text("ipv6", "method"))
	if !six {
		c.line("pull-filter", "ignore", "ifconfig-ipv6 ")
		c.line("pull-filter", "ignore", "route-ipv6 ")
	}
	if yes("ipv4", "never-default") {
		c.line("pull-filter", "ignore", "redirect-gateway")
	} else {
		words := []string{"redirect-gateway", "def1"}
		if six && !yes("ipv6", "never-default") {
			words = append(words, "ipv6")
		}
		c.line(words...)
		c.note("all traffic goes through it, as with NetworkManager (ipv4.never-default is not set)")
	}
	if yes("ipv4", "ignore-auto-routes") {
		c.line("pull-filter", "ignore", "route ")
	}
	if six && yes("ipv6", "ignore-auto-routes") {
		c.line("pull-filter", "ignore", "route-ipv6 ")
	}
	if yes("ipv4", "ignore-auto-dns") || yes("ipv6", "ignore-auto-dns") {
		c.line("pull-filter", "ignore", "dhcp-option")
		c.line("pull-filter", "ignore", "dns ")
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		if m := c.k.text(family, "method"); m != "" && m != "auto" && (family == "ipv4" || six) {
			c.note("no counterpart here: %s.method=%s", family, m)
		}
		for _, server := range c.k.list(family, "dns") {
			c.line("dhcp-option", "DNS", server)
		}
		for _, domain := range c.k.list(family, "dns-search") {
			if routed, ok := strings.CutPrefix(domain, "~"); ok {
				c.line("dhcp-option", "DOMAIN-ROUTE", routed)
			} else {
				c.line("dhcp-option", "DOMAIN-SEARCH", domain)
			}
		}
		for _, key := range c.k.keys[family] {
			if numbered(key, "route") {
				c.route(family, key)
			}
		}
	}
	if v := c.k.text("ipv4", "route-metric"); v != "" && v != "-1" {
		c.line("route-metric", v)
	}
}

// numbered says whether key is word and a number: route1.
func numbered(key, word string) bool {
	n, ok := strings.CutPrefix(key, word)
	_, err := strconv.ParseUint(n, 10, 16)
	return ok && err == nil
}

// route writes "destination/bits[,gateway[,metric]]".
func (c *converter) route(family, key string) {
	parts := strings.Split(c.k.text(family, key), ",")
	dst, err := netip.ParsePrefix(parts[0])
	if err != nil || dst.Addr().Is4() != (family == "ipv4") {
		c.fail("%s.%s: %q is not a network of this kind", family, key, parts[0])
		return
	}
	gateway, metric := "", ""
	if len(parts) > 1 {
		gateway = parts[1]
	}
	if len(parts) > 2 && parts[2] != "0" {
		metric = parts[2]
	}
	if a, err := netip.ParseAddr(gateway); err == nil && a.IsUnspecified() {
		gateway = ""
	}
	if gateway == "" && metric != "" {
		gateway = map[string]string{"ipv4": "vpn_gateway", "ipv6": "default"}[family]
	}
	words := []string{"route-ipv6", dst.Masked().String()}
	if family == "ipv4" {
		words = []string{"route", dst.Masked().Addr().String(), mask(dst.Bits())}
	}
	for _, w := range []string{gateway, metric} {
		if w != "" {
			words = append(words, w)
		}
	}
	c.line(words...)
}

func mask(bits int) string {
	m := ^uint32(0) << (32 - bits)
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}

// leftOver names what nothing above has looked at.
func (c *converter) leftOver() {
	if c.k.text("connection", "autoconnect") == "true" {
		c.note("it connected by itself: adit set NAME auto_connect=true does that here")
	}
	for _, group := range c.k.groups {
		for _, key := range c.k.keys[group] {
			known := slices.Contains(nmKnown[group], key) || (group == "ipv4" || group == "ipv6") && numbered(key, "route")
			if group == "vpn" {
				known = known || slices.Contains(nmFlags, key)
				for _, x := range append(slices.Clone(nmKeys), nmFiles...) {
					known = known || x.key == key
				}
			}
			if usual, ok := nmUsual[group+"."+key]; !known && (!ok || c.k.text(group, key) != usual) {
				c.note("no counterpart here: %s.%s", group, key)
			}
		}
	}
}
