package client

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/udp"
)

const (
	// mssfixDefault is the outer packet size that TCP inside is fitted to (openvpn(8), --mssfix).
	mssfixDefault = 1492
	mtuDefault    = 1500
	// handshakeDefault is how long one server may take from the first packet to the push reply.
	handshakeDefault = 30 * time.Second
	// pollSeveral is how long it may take for its first word when there are others to try.
	pollSeveral = 10 * time.Second
	// pingRestartDefault is openvpn's for clients that pull, over UDP (init.c, update_options_ce_post).
	pingRestartDefault = 120 * time.Second
)

// spec is what a connection needs of a profile, as values.
type spec struct {
	remotes     []remote
	random      bool
	randomLabel bool
	retryFirst  time.Duration // 0 = default
	retryLast   time.Duration
	rounds      int // over all remotes, before giving up; 0 = no limit

	own            push.Reply
	noPull         bool
	pingExit       time.Duration // 0 = never
	inactive       time.Duration // 0 = never
	inactiveBytes  int64
	sessionTimeout time.Duration // 0 = never
	signIn         signIn
	maySave        bool   // the profile's WhyNotSaved says nothing
	forbidsSaving  bool   // it says something of a password
	device         string // wish; empty = any
	mtu            int
	socket         udp.Options
	ca             []byte // PEM

	expires *time.Time // of the own certificate
	// announce says that the server shall know which machine this is (push-peer-info).
	announce bool
	// session is for one goroutine.
	session func(r remote, cr credentials) (ovpn.Config, error)
}

// holds says whether a guard can be closed with it.
func (s *spec) holds() bool { return len(s.remotes) > 0 }

// specOf checks that a connection can be made with p and these settings and takes what it needs. With insecure the
// broken ciphers that p names are offered, too. Its errors are *api.Problem. Where the spec has no session beside the error, its servers are what they
// are, and it is good for a guard: for want of a good certificate, or of what p needs and we have not.
func specOf(p *profile.Profile, settings api.Settings, insecure bool) (spec, error) {
	s := spec{
		random: p.RemoteRandom, randomLabel: p.RandomHostname,
		retryFirst: p.ConnectRetry[0], retryLast: p.ConnectRetry[1], rounds: p.ConnectRetryMax,
		own: p.Own, noPull: p.RouteNoPull, pingExit: p.PingExit,
		inactive: p.Inactive, inactiveBytes: p.InactiveBytes, sessionTimeout: p.SessionTimeout,
		signIn: signInOf(p), maySave: p.WhyNotSaved() == "", forbidsSaving: forbidsSaving(p), mtu: p.MTU,
		socket:  udp.Options{SendBuffer: p.SndBuf, ReceiveBuffer: p.RcvBuf, Mark: p.Mark},
		expires: certificateExpiry(p.Cert), ca: p.CA,
	}
	if s.mtu == 0 {
		s.mtu = mtuDefault
	}
	if p.Dev != "" && strings.TrimLeft(p.Dev, "abcdefghijklmnopqrstuvwxyz") != "" {
		s.device = p.Dev // "tun" alone means any
	}
	if a, err := netip.ParseAddr(p.LocalAddr); err == nil {
		s.socket.Local = netip.AddrPortFrom(a, 0)
	}
	if p.LocalPort != 0 && !p.Nobind {
		s.socket.Local = netip.AddrPortFrom(s.socket.Local.Addr(), p.LocalPort)
	}
	remotes, err := remotesOf(p, settings.Proxy)
	if err != nil {
		return spec{}, err
	}
	timeouts := map[remote]profile.Remote{}
	for _, r := range remotes {
		m := remote{host: r.Host, port: r.Port, stream: strings.HasPrefix(r.Proto, "tcp"), via: proxyOf(r.Proxy), aws: p.AuthFederate || onAWS(r.Host)}
		switch {
		case strings.HasSuffix(r.Proto, "4"):
			m.family = 4
		case strings.HasSuffix(r.Proto, "6"):
			m.family = 6
		}
		m.poll = cmp.Or(r.Timeout, p.ServerPollTimeout)
		m.fit = fitOf(r.Mssfix, cmp.Or(r.Fragment, p.Fragment), cmp.Or(r.MTU, p.MTU))
		m.mtu = r.MTU
		var err error
		if m.wrap, err = wrapOf(p, r); err != nil {
			return spec{}, profileProblem(api.CodeProfileInvalid, err)
		}
		timeouts[m] = r
		s.remotes = append(s.remotes, m)
	}
	if len(s.remotes) == 0 {
		return spec{}, api.NewProblem(api.CodeProfileInvalid, map[string]string{"reason": "it names no server (remote)"})
	}
	filter := slices.Clone(p.Filter)
	for _, f := range settings.PullFilter {
		rule, err := parseFilterRule(f)
		if err != nil {
			return spec{}, api.NewProblem(api.CodeSettingInvalid, map[string]string{"setting": "pull_filter=" + f, "detail": err.Error()})
		}
		filter = append(filter, rule)
	}
	// Fail early, with the words for what a person must mend.
	if err := p.Unsupported(); err != nil {
		return s, profileProblem(api.CodeProfileUnsupported, err)
	}
	first, err := tlsConfig(p)
	var wait *failure
	if err != nil && !errors.As(err, &wait) { // the clock may be set soon, as at the start of a machine
		return s, err
	}
	s.announce = p.PushPeerInfo
	s.session = func(r remote, cr credentials) (ovpn.Config, error) {
		tc := first
		if first = nil; tc == nil { // another attempt: the certificate may have expired, or the clock may be set
			var err error
			if tc, err = tlsConfig(p); err != nil {
				return ovpn.Config{}, err
			}
		}
		of := timeouts[r]
		cfg := ovpn.Config{
			Role: ovpn.Client, TLS: tc, Wrap: r.wrap, Stream: r.stream,
			Ciphers: ciphersOf(p, insecure), Filter: filter, PeerInfo: peerInfo(p, runtime.GOOS),
			Username: cr.user, Password: cr.password, SSO: []string{"webauth", "openurl", "crtext"},
			MTU: cmp.Or(of.MTU, p.MTU), PacketSize: p.PacketSize, ReplayWindow: p.ReplayWindow, ReplayTime: p.ReplayTime,
			HandWindow: cmp.Or(p.HandWindow, max(r.poll, handshakeDefault)),
			TranWindow: p.TranWindow, TLSTimeout: p.TLSTimeout,
			Ping: p.Ping, PingRestart: p.PingRestart,
			RenegotiateBytes: p.RenegBytes, RenegotiatePackets: p.RenegPackets,
		}
		if !p.PointToPoint && !r.stream && p.PingRestart == 0 && !writes(p, "ping-restart") && !writes(p, "ping-exit") {
			cfg.PingRestart = pingRestartDefault
		}
		if p.RenegSet {
			cfg.Renegotiate, cfg.RenegotiateMin = p.RenegSec, p.RenegMin
		} else {
			cfg.Renegotiate = time.Hour // openvpn(8), --reneg-sec
		}
		notify := of.ExitNotify
		if notify < 0 {
			notify = p.ExitNotify
		}
		cfg.ExitNotify = notify > 0
		cfg.Auth, cfg.PointToPoint, cfg.Own, cfg.Compress = digestOf(p, cfg.Ciphers), p.PointToPoint, p.Own, p.Compress
		switch {
		case usable(p.Fallback, false):
			cfg.Fallback = p.Fallback
		case insecure && usable(p.BrokenFallback, true):
			cfg.Fallback = p.BrokenFallback
		}
		if !r.stream { // as openvpn has it; a stream needs none
			cfg.Fragment = cmp.Or(of.Fragment, p.Fragment)
		}
		return cfg, nil
	}
	return s, nil
}

// forbidsSaving says whether a profile signs in with a password that may not be kept.
func forbidsSaving(p *profile.Profile) bool {
	return p.AuthUserPass && !p.AuthFederate && p.WhyNotSaved() != ""
}

// noProxy is the setting that leads past the profile's proxies.
const noProxy = "none"

// remotesOf are p's servers, by way of the proxy that the setting says: "" is what p says.
func remotesOf(p *profile.Profile, setting string) ([]profile.Remote, error) {
	bad := func(err error) error {
		return api.NewProblem(api.CodeSettingInvalid, map[string]string{"setting": "proxy=" + setting, "detail": err.Error()})
	}
	var x *profile.Proxy
	switch setting {
	case "":
		return p.Remotes, nil
	case noProxy:
	default:
		var err error
		if x, err = profile.ParseProxy(setting); err != nil {
			return nil, bad(err)
		}
	}
	out, err := p.Through(x)
	if err != nil {
		return nil, bad(err)
	}
	return out, nil
}

// onAWS says whether a server is AWS Client VPN by its name: "….clientvpn.REGION.amazonaws.com".
func onAWS(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return strings.Contains(host, ".clientvpn.") &&
		(strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn"))
}

// writes says whether a profile has a line with the directive.
func writes(p *profile.Profile, directive string) bool {
	return slices.ContainsFunc(p.Directives, func(d profile.Directive) bool { return d.Words[0] == directive })
}

// ciphersOf is the list to offer, the fallback last: what package ovpn has of it. With insecure
// the broken ones of the profile come behind that.
func ciphersOf(p *profile.Profile, insecure bool) []string {
	list := slices.Clone(p.Ciphers)
	if len(list) == 0 {
		list = ovpn.DefaultCiphers()
	}
	if p.Fallback != "" && !slices.Contains(list, p.Fallback) {
		list = append(list, p.Fallback)
	}
	list = slices.DeleteFunc(list, func(name string) bool { return !usable(name, false) })
	if len(list) == 0 {
		list = ovpn.DefaultCiphers()
	}
	if insecure {
		for _, name := range p.Broken {
			if usable(name, true) && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list
}

// usable says whether package ovpn has a cipher that protects something; with insecure a broken one
// is enough. "none" never is.
func usable(name string, insecure bool) bool {
	c, ok := ovpn.LookupCipher(name)
	return ok && (!c.Insecure || insecure && c.Broken())
}

// digestOf is the digest for packets. Where none needs one, the profile may name one that nobody has.
func digestOf(p *profile.Profile, ciphers []string) string {
	if _, size, ok := ovpn.LookupDigest(p.Auth); ok && size > 0 {
		return p.Auth
	}
	if slices.ContainsFunc(ciphers, func(name string) bool { c, _ := ovpn.LookupCipher(name); return !c.AEAD() }) {
		return p.Auth // the Session says why not
	}
	return ""
}

// peerInfo is what the server gets to know about this machine: its system, as from every client that pulls, and what the
// profile wants (openvpn's ssl.c, push_peer_info). It cannot announce abilities: that is the Session's.
func peerInfo(p *profile.Profile, goos string) []string {
	var out []string
	if name, ok := map[string]string{"linux": "linux", "darwin": "mac", "windows": "win"}[goos]; ok && !p.PointToPoint {
		out = append(out, "IV_PLAT="+name)
	}
	if !p.PushPeerInfo {
		return out
	}
	for _, name := range slices.Sorted(maps.Keys(p.SetEnv)) {
		if strings.HasPrefix(name, "UV_") || name == "IV_PLAT_VER" || name == "IV_GUI_VER" {
			out = append(out, name+"="+p.SetEnv[name])
		}
	}
	return out
}

// certificateExpiry is the end of the first certificate in PEM text, or nil.
func certificateExpiry(text []byte) *time.Time {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			return &c.NotAfter
		}
	}
	return nil
}

// profileProblem words an error of package profile.
func profileProblem(code string, err error) *api.Problem {
	args := map[string]string{"reason": err.Error()}
	var e *profile.Error
	if errors.As(err, &e) {
		args["reason"] = e.Text
		if e.Directive != "" {
			args["reason"] = e.Directive + ": " + e.Text
		}
		if e.Line > 0 {
			args["line"] = strconv.Itoa(e.Line)
		}
	}
	return api.NewProblem(code, args)
}

// tlsConfig is the TLS side of a profile. Its errors are *api.Problem, in a *failure where a retry may heal it.
func tlsConfig(p *profile.Profile) (*tls.Config, error) {
	c, err := p.TLSConfig(time.Now)
	var own *profile.CertificateError
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &own):
		args := map[string]string{"detail": own.Text, "reason": own.Text}
		switch own.Kind {
		case profile.Expired, profile.NotYet:
			if block, _ := pem.Decode(p.Cert); block != nil {
				if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
					if wrong := wrongClock(time.Now(), cert, ""); wrong != nil {
						return nil, &failure{verdict: absent, problem: wrong, err: err}
					}
				}
			}
			if own.Kind == profile.NotYet {
				return nil, fail(absent, api.CodeOwnCertificateExpired, args, err)
			}
			return nil, api.NewProblem(api.CodeOwnCertificateExpired, args)
		case profile.Mismatch:
			return nil, api.NewProblem(api.CodeOwnKeyMismatch, args)
		case profile.Locked, profile.OnToken:
			return nil, api.NewProblem(api.CodeProfileUnsupported, args)
		}
		return nil, api.NewProblem(api.CodeProfileInvalid, args)
	}
	return nil, profileProblem(api.CodeProfileInvalid, err)
}
