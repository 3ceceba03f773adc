package endpoint

import (
	"errors"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parsing is a Config in the making, with the nodes that checks point at.
type parsing struct {
	*reader
	c  Config
	at map[string]*yaml.Node // by path

	broken []brokenCipher // that the file names
}

// ParseConfig checks a file's text; file is its name in errors, which are ConfigErrors.
func ParseConfig(file string, text []byte) (Config, error) {
	return parseConfig(file, text).result()
}

func parseConfig(file string, text []byte) *parsing {
	p := &parsing{reader: &reader{file: file}, c: defaults(), at: map[string]*yaml.Node{}}
	p.c.File = file
	p.parse(text)
	if len(p.errs) == 0 {
		p.check()
	}
	return p
}

// result is the configuration, or all mistakes in the order of their lines.
func (p *parsing) result() (Config, error) {
	if len(p.errs) > 0 {
		slices.SortStableFunc(p.errs, func(a, b *ConfigError) int { return a.Line - b.Line })
		return Config{}, p.errs
	}
	return p.c, nil
}

func (p *parsing) parse(text []byte) {
	if len(text) > maxConfigSize {
		p.fail(nil, "", "%v", errTooLarge)
		return
	}
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			p.fail(nil, "", "the file is empty")
			return
		}
		line, msg := yamlLine(err)
		p.errs = append(p.errs, &ConfigError{File: p.file, Line: line, Text: msg})
		return
	}
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		p.fail(nil, "", "more than one YAML document")
		return
	}
	if len(doc.Content) != 1 || !p.plain(&doc, 0) {
		return
	}
	p.root(doc.Content[0])
}

// form is a pattern that is compiled when something is held against it: most are of keys that few configurations have, and
// compiling all of them took most of the program's start.
func form(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

var yamlErrorLine = form(`^yaml: (?:line (\d+): )?(.*)`)

// yamlLine takes the line out of the YAML library's text.
func yamlLine(err error) (int, string) {
	first, _, _ := strings.Cut(err.Error(), "\n")
	m := yamlErrorLine().FindStringSubmatch(first)
	if m == nil {
		return 0, first
	}
	line, _ := strconv.Atoi(m[1])
	return line, m[2]
}

// set stores the node beside reading it, for later checks.
func (p *parsing) set(read func(n *yaml.Node, path string)) func(n *yaml.Node, path string) {
	return func(n *yaml.Node, path string) {
		p.at[path] = n
		read(n, path)
	}
}

func (p *parsing) root(n *yaml.Node) {
	c := &p.c
	text := func(into *string) func(*yaml.Node, string) {
		return p.set(func(n *yaml.Node, path string) { p.text(n, path, into) })
	}
	known := fields{
		"data":      text(&c.Data),
		"listen":    p.set(p.listen),
		"remote":    p.set(p.remote),
		"network":   p.set(func(n *yaml.Node, at string) { p.word(n, at, &c.Network, "userspace", "kernel") }),
		"transport": p.set(func(n *yaml.Node, at string) { p.word(n, at, &c.Transport, "udp", "tcp") }),
		"client_cidr": p.set(func(n *yaml.Node, at string) {
			p.prefix(n, at, &c.ClientCIDR)
		}),
		"client_cidr_v6": p.set(func(n *yaml.Node, at string) { p.prefix(n, at, &c.ClientCIDR6) }),
		"split_tunnel":   p.set(func(n *yaml.Node, at string) { p.boolean(n, at, &c.SplitTunnel) }),
		"dns_servers":    p.set(p.dnsServers),
		"tun_mtu":        p.set(func(n *yaml.Node, at string) { p.number(n, at, 576, 9000, &c.TunMTU) }),
		"floating":       p.set(func(n *yaml.Node, at string) { p.boolean(n, at, &c.Floating) }),
		"push_update":    p.set(func(n *yaml.Node, at string) { p.boolean(n, at, &c.PushUpdate) }),
		"connect_freq": p.set(func(n *yaml.Node, at string) {
			p.mapping(n, at, fields{
				"sessions": func(n *yaml.Node, at string) { p.number(n, at, 1, 10000, &c.ConnectFreq.Sessions) },
				"seconds":  func(n *yaml.Node, at string) { p.number(n, at, 1, 3600, &c.ConnectFreq.Seconds) },
			})
		}),
		"server_certificate": p.set(func(n *yaml.Node, at string) {
			p.mapping(n, at, fields{"cert": text(&c.ServerCertificate.Cert), "key": text(&c.ServerCertificate.Key), "chain": text(&c.ServerCertificate.Chain)})
			if (c.ServerCertificate.Cert == "") != (c.ServerCertificate.Key == "") {
				p.fail(n, at, "needs both cert and key")
			}
		}),
		"control_wrap": p.set(p.controlWrap),
		"ciphers":      p.set(p.ciphers),
		"key_derivation": p.set(func(n *yaml.Node, at string) {
			var v string
			p.word(n, at, &v, "auto", "prf")
			c.PRF = v == "prf"
		}),
		"authentication": p.set(p.authentication),
		"networks": p.set(func(n *yaml.Node, at string) {
			p.list(n, at, p.vpc)
		}),
		"associations":             p.set(func(n *yaml.Node, at string) { p.list(n, at, p.association) }),
		"routes":                   p.set(func(n *yaml.Node, at string) { p.list(n, at, p.route) }),
		"authorization_rules":      p.set(func(n *yaml.Node, at string) { p.list(n, at, p.rule) }),
		"connection_log":           p.set(p.connectionLog),
		"client_connect_handler":   p.set(p.handler),
		"authorization_policy":     p.set(p.authorizationPolicy),
		"device_posture":           p.set(func(n *yaml.Node, at string) { p.list(n, at, p.trustProvider) }),
		"banner":                   p.banner,
		"client_route_enforcement": func(n *yaml.Node, at string) { p.boolean(n, at, &c.RouteEnforcement) },
		"security_groups":          p.movedGroups,
		"metrics":                  p.set(p.metrics),
		"api":                      p.set(p.api),
	}
	p.legacy(known)
	p.sessionKeys(known)
	p.mapping(n, "", known)
	for _, key := range []string{"listen", "client_cidr"} {
		if p.at["listen"] == nil && p.at["client_cidr"] == nil && p.at["api"] != nil {
			break // all endpoints are the API's
		}
		if _, ok := p.at[key]; !ok && isMapping(n) {
			p.fail(n, key, "is missing")
		}
	}
}

func isMapping(n *yaml.Node) bool { return n.Kind == yaml.MappingNode }

func (p *parsing) listen(n *yaml.Node, path string) {
	add := func(n *yaml.Node, path string) {
		a, ok := p.addrPort(n, path)
		if !ok {
			return
		}
		if slices.Contains(p.c.Listen, a) {
			p.fail(n, path, "%s is listed twice", a)
			return
		}
		p.c.Listen = append(p.c.Listen, a)
	}
	if n.Kind == yaml.ScalarNode {
		add(n, path)
		return
	}
	p.list(n, path, add)
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		p.fail(n, path, "is empty")
	}
}

var hostName = form(`^[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62}))*\.?$`)

func (p *parsing) metrics(n *yaml.Node, path string) {
	p.mapping(n, path, fields{"listen": func(n *yaml.Node, at string) {
		if a, ok := p.addrPort(n, at); ok {
			p.c.Metrics = a
		}
	}})
	if !p.c.Metrics.IsValid() && isMapping(n) && len(n.Content) == 0 {
		p.fail(n, path, "needs listen: an address with a port")
	}
}

func (p *parsing) connectionLog(n *yaml.Node, path string) {
	l := &p.c.ConnectionLog
	l.MaxMB, l.Keep = 64, 5
	p.mapping(n, path, fields{
		"file":                                 func(n *yaml.Node, at string) { p.text(n, at, &l.File) },
		"stdout":                               func(n *yaml.Node, at string) { p.boolean(n, at, &l.Stdout) },
		"cloudwatch":                           p.cloudWatch,
		"max_size":                             func(n *yaml.Node, at string) { p.number(n, at, 1, 1<<20, &l.MaxMB) },
		"keep":                                 func(n *yaml.Node, at string) { p.number(n, at, 0, 1000, &l.Keep) },
		"include_authorization_policy_context": func(n *yaml.Node, at string) { p.boolean(n, at, &l.PolicyContext) },
	})
	places := 0
	for _, named := range []bool{l.File != "", l.Stdout, l.CloudWatch != CloudWatch{}} {
		if named {
			places++
		}
	}
	if places != 1 && isMapping(n) {
		p.fail(n, path, "needs one of file, stdout: true and cloudwatch")
	}
}

// What CloudWatch Logs takes for names ("CreateLogGroup", "CreateLogStream" in AWS's reference), and AWS for regions.
var (
	logGroupName  = form(`^[.\-_/#A-Za-z0-9]{1,512}$`)
	logStreamName = form(`^[^:*\x00-\x1f\x7f]{1,512}$`)
	regionName    = form(`^[a-z0-9-]{1,63}$`)
)

func (p *parsing) cloudWatch(n *yaml.Node, path string) {
	c := &p.c.ConnectionLog.CloudWatch
	name := func(into *string, form *regexp.Regexp, what string) func(*yaml.Node, string) {
		return func(n *yaml.Node, at string) {
			if p.text(n, at, into); n.Kind == yaml.ScalarNode && *into != "" && !form.MatchString(*into) {
				p.fail(n, at, "%q is no %s", *into, what)
			}
		}
	}
	p.mapping(n, path, fields{
		"log_group":  name(&c.Group, logGroupName(), "name of a log group: letters, digits and . - _ / #"),
		"log_stream": name(&c.Stream, logStreamName(), "name of a log stream: no : and *"),
		"region":     name(&c.Region, regionName(), "region, like eu-west-1"),
		"endpoint_url": func(n *yaml.Node, at string) {
			p.text(n, at, &c.URL)
			u, err := url.Parse(c.URL)
			switch {
			case n.Kind != yaml.ScalarNode:
			case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
				p.fail(n, at, "%q is no http or https address", c.URL)
			case u.Scheme == "http" && !loopbackName(u.Hostname()):
				p.fail(n, at, "%s would be sent the log in the clear: use https", c.URL)
			}
		},
	})
}

// loopbackName says whether a host of an address is this machine.
func loopbackName(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// banner may have several lines.
func (p *parsing) banner(n *yaml.Node, path string) {
	text := strings.TrimRight(n.Value, "\n")
	switch {
	case n.Kind != yaml.ScalarNode:
		p.fail(n, path, "must be text")
	case isNull(n):
	case utf8.RuneCountInString(text) > maxBanner:
		p.fail(n, path, "has %d characters, %d are the most", utf8.RuneCountInString(text), maxBanner)
	case strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }):
		p.fail(n, path, "has a control character")
	default:
		p.c.Banner = text
	}
}

func (p *parsing) handler(n *yaml.Node, path string) {
	p.c.Handler.Schema = "v2"
	p.handlerInto(n, path, &p.c.Handler, nil)
}

func (p *parsing) handlerURL(n *yaml.Node, at string, h *Handler) {
	p.text(n, at, &h.URL)
	if u, err := url.Parse(h.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		p.fail(n, at, "%q is no http or https address", h.URL)
	}
}

func (p *parsing) remote(n *yaml.Node, path string) {
	p.mapping(n, path, fields{
		"host": func(n *yaml.Node, at string) {
			var host string
			p.text(n, at, &host)
			if _, err := netip.ParseAddr(host); host != "" && err != nil && (len(host) > 253 || !hostName().MatchString(host)) {
				p.fail(n, at, "%q is neither a host name nor an address", host)
			}
			p.c.Remote.Host = host
		},
		"port": func(n *yaml.Node, at string) {
			var port int
			p.number(n, at, 1, 65535, &port)
			p.c.Remote.Port = uint16(port)
		},
	})
}

func (p *parsing) dnsServers(n *yaml.Node, path string) {
	p.list(n, path, func(n *yaml.Node, path string) {
		var a netip.Addr
		if p.addr(n, path, &a); a.IsValid() {
			p.c.DNSServers = append(p.c.DNSServers, a)
		}
	})
	if len(p.c.DNSServers) > maxDNSServers {
		p.fail(n, path, "at most %d servers", maxDNSServers)
	}
}

var identifier = form(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// id reads a name that other keys refer to.
func (p *parsing) id(n *yaml.Node, path string, into *string) {
	p.text(n, path, into)
	if *into != "" && !identifier().MatchString(*into) {
		p.fail(n, path, "%q: letters, digits, dots, dashes and underscores only", *into)
	}
}

// need reports keys that are missing in the mapping n.
func (p *parsing) need(n *yaml.Node, path string, keys ...string) {
	if !isMapping(n) {
		return
	}
	for _, k := range keys {
		if _, ok := p.at[join(path, k)]; !ok {
			p.fail(n, join(path, k), "is missing")
		}
	}
}

// check is everything that concerns more than one value.
func (p *parsing) check() {
	c := &p.c
	cidr := c.ClientCIDR
	switch {
	case !cidr.IsValid() && c.API != nil && len(c.Listen) == 0: // there is no endpoint but the API's
	case !cidr.Addr().Is4():
		p.fail(p.at["client_cidr"], "client_cidr", "%s is not IPv4; IPv6 goes into client_cidr_v6", cidr)
	case cidr.Bits() < minClientBits || cidr.Bits() > maxClientBits:
		p.fail(p.at["client_cidr"], "client_cidr", "%s must be between /%d and /%d", cidr, minClientBits, maxClientBits)
	case unusable(cidr):
		p.fail(p.at["client_cidr"], "client_cidr", "%s has addresses that hosts cannot have", cidr)
	}
	if six := c.ClientCIDR6; six.IsValid() {
		n := p.at["client_cidr_v6"]
		switch {
		case !six.Addr().Is6():
			p.fail(n, "client_cidr_v6", "%s is not IPv6", six)
		case six.Bits() > 128-(32-cidr.Bits()):
			p.fail(n, "client_cidr_v6", "%s is smaller than client_cidr %s", six, cidr)
		case unusable(six):
			p.fail(n, "client_cidr_v6", "%s has addresses that hosts cannot have", six)
		}
	}
	if w := c.ConnectionLog.CloudWatch; w != (CloudWatch{}) && w.Group == "" && len(c.Listen) > 0 { // endpoints of the API name theirs
		p.fail(p.at["connection_log"], "connection_log.cloudwatch", "needs log_group")
	}
	p.checkPolicy()
	p.checkNetworks()
	p.checkGateways()
	p.checkRoutes()
	p.checkGroups()
	p.checkLegacy()
	p.checkAuth()
}
