package profile

import (
	"fmt"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// rule is what a directive is for. Without apply, verdict and note are fixed
// and its values are not looked at; with apply they are the default.
type rule struct {
	min, max int // number of values
	usage    string
	verdict  Verdict
	note     string // of a used one
	why      Code   // of any other
	apply    func(p *parser, d *Directive, a []string) error
}

const any16 = push.MaxWords

const maxTokenID = 1024 // bytes of pkcs11-id

// rules is the whole table, one entry per directive that openvpn, OpenVPN
// Connect, Access Server or AWS write into client files.
func rules() map[string]rule {
	t := map[string]rule{}
	add := func(r rule, names ...string) {
		for _, name := range names {
			t[name] = r
		}
	}
	ignore := func(why Code, names ...string) { add(rule{verdict: Ignored, why: why}, names...) }
	later := func(what Code, names ...string) { add(rule{verdict: Unsupported, why: what}, names...) }
	refuse := func(why Code, names ...string) { add(rule{verdict: Refused, why: why}, names...) }
	use := func(min, max int, usage string, apply func(p *parser, d *Directive, a []string) error, names ...string) {
		add(rule{min: min, max: max, usage: usage, apply: apply}, names...)
	}
	flag := func(set func(q *Profile), names ...string) {
		use(0, 0, "no value", func(p *parser, d *Directive, a []string) error { set(p.p); return nil }, names...)
	}
	duration := func(name string, into func(p *parser) *time.Duration) {
		use(1, 1, "seconds", func(p *parser, d *Directive, a []string) (err error) {
			*into(p), err = seconds("value", a[0])
			return err
		}, name)
	}

	// What kind of file it is
	flag(func(q *Profile) {}, "persist-tun", "persist-key")
	use(0, 0, "no value", func(p *parser, d *Directive, a []string) error {
		p.tls, p.pull = p.tls || d.Words[0] == "tls-client", p.pull || d.Words[0] != "tls-client"
		return nil
	}, "client", "pull", "tls-client")
	use(1, 1, "p2p", mode, "mode")
	ignore("server_only", "server", "server-ipv6", "server-bridge", "push", "push-reset", "push-remove", "push-peer-info-allow",
		"dh", "client-config-dir", "ccd-exclusive", "client-to-client", "duplicate-cn", "max-clients", "ifconfig-pool", "ifconfig-pool-persist",
		"ifconfig-push", "ifconfig-ipv6-push", "ifconfig-ipv6-pool", "iroute", "iroute-ipv6", "max-routes-per-client", "connect-freq", "connect-freq-initial", "hash-size", "bcast-buffers",
		"tcp-queue-limit", "username-as-common-name", "client-cert-not-required", "verify-client-cert", "auth-user-pass-optional", "auth-gen-token",
		"auth-gen-token-secret", "opt-verify", "stale-routes-check", "port-share", "disable", "tls-crypt-v2-verify", "tls-crypt-v2-max-age", "vlan-accept", "vlan-pvid", "vlan-tagging",
		"override-username", "ip-remote-hint", "allow-recursive-routing-server", "auth-user-pass-verify", "client-connect", "client-disconnect", "client-crresponse", "learn-address", "learn-address-limit", "force-tls-key-material-export")
	refuse("server_file", "tls-server")

	// Servers and transport
	use(1, 3, "host [port [proto]]", remote, "remote")
	use(1, 1, "port", setPort, "port", "rport")
	use(1, 1, "udp or tcp", setProto, "proto")
	flag(func(q *Profile) { q.RemoteRandom = true }, "remote-random")
	flag(func(q *Profile) { q.RandomHostname = true }, "remote-random-hostname")
	use(1, 1, "seconds or infinite", resolvRetry, "resolv-retry")
	use(1, 2, "seconds [maximum]", connectRetry, "connect-retry")
	use(1, 1, "number of rounds, 0 for no limit", func(p *parser, d *Directive, a []string) (err error) {
		p.p.ConnectRetryMax, err = number("value", a[0], 0, 1<<30)
		return err
	}, "connect-retry-max")
	for _, name := range []string{"connect-timeout", "server-poll-timeout"} {
		duration(name, func(p *parser) *time.Duration { return &p.scope().timeout })
	}
	use(0, 1, "[n]", exitNotify, "explicit-exit-notify")
	use(0, 0, "no value", nobind, "nobind")
	use(0, 1, "[ipv6only]", nobind, "bind")
	use(1, 1, "address", localAddress, "local")
	use(1, 1, "port", localPort, "lport")
	ignore("float", "float")
	use(1, 1, "mark", func(p *parser, d *Directive, a []string) (err error) {
		p.p.Mark, err = number("mark", a[0], 0, 1<<31-1)
		d.Note = "on Linux, by the service or root (CAP_NET_ADMIN); other systems have no such mark, and it has no effect there"
		return err
	}, "mark")
	use(2, 4, "host port [file|auto|auto-nct] [method]", httpProxy, "http-proxy")
	use(2, 4, "VERSION|AGENT|CUSTOM-HEADER value", httpProxyOption, "http-proxy-option")
	use(1, 1, "file", fileRef, "http-proxy-user-pass", "socks-proxy-user-pass")
	use(2, 3, "host port [nct]", httpProxyOverride, "http-proxy-override")
	use(1, 3, "host [port [file]]", socksProxy, "socks-proxy")
	ignore("openvpn_ignores", "http-proxy-retry", "http-proxy-timeout", "socks-proxy-retry", "auto-proxy")
	ignore("system_default", "multihome", "passtos", "socket-flags", "tcp-nodelay", "txqueuelen", "fast-io", "mtu-disc", "ip-mtu", "bind-dev", "proto-force", "disable-dco", "mtu-test", "mtu-dynamic")

	// Device and addresses
	use(1, 1, "tun or a device name", device, "dev")
	use(1, 1, "tun or tap", deviceType, "dev-type")
	ignore("device_names", "dev-node", "windows-driver", "lladdr", "iproute", "tun-ipv6", "ifconfig-nowarn", "ifconfig-noexec", "route-noexec")
	for _, name := range []string{
		"topology", "ifconfig", "ifconfig-ipv6", "route", "route-ipv6", "route-gateway", "route-metric", "redirect-gateway", "redirect-private",
		"block-ipv6", "block-outside-dns", "register-dns", "dhcp-option", "dns", "ping", "ping-restart", "ping-exit", "keepalive", "inactive", "session-timeout",
		"sndbuf", "rcvbuf", "echo", "comp-lzo", "compress", "client-nat",
	} {
		use(0, any16, "", ownOption, name)
	}
	use(1, 2, "bytes", tunMTU, "tun-mtu")
	use(1, 1, "bytes", func(p *parser, d *Directive, a []string) (err error) {
		p.p.PacketSize, err = number("size", a[0], 154, 65535)
		return err
	}, "max-packet-size")
	use(0, 2, "[bytes [mtu|fixed]]", mssfix, "mssfix")
	use(1, 2, "bytes [mtu]", fragment, "fragment")
	ignore("no_compression", "comp-noadapt", "allow-compression")
	ignore("tun_mtu_decides", "link-mtu", "tun-mtu-extra", "tun-mtu-max")
	flag(func(q *Profile) { q.RouteNoPull = true }, "route-nopull")
	use(2, any16, "accept|ignore|reject text", pullFilter, "pull-filter")
	ignore("routes_at_once", "route-delay", "route-method", "route-table", "route-ipv6-gateway", "ip-win32", "tap-sleep",
		"dhcp-renew", "dhcp-release", "dhcp-internal", "dhcp-pre-release", "max-routes", "allow-pull-fqdn", "allow-nonadmin", "pause-exit", "show-net-up", "allow-recursive-routing")

	// Keys and certificates
	use(1, 1, "file", fileRef, "ca", "cert", "key", "extra-certs", "pkcs12", "tls-crypt", "tls-crypt-v2")
	use(1, 2, "file", crlVerify, "crl-verify")
	use(1, 2, "file [direction]", tlsAuth, "tls-auth")
	use(1, 1, "0, 1 or bidirectional", keyDirection, "key-direction")
	refuse("directory", "capath")
	refuse("other_file", "config")
	refuse("static_key", "secret")
	later("system_store", "cryptoapicert", "management-external-key", "management-external-cert")
	use(1, 1, "id", func(p *parser, d *Directive, a []string) error {
		if len(a[0]) > maxTokenID {
			return fmt.Errorf("value is longer than %d bytes", maxTokenID)
		}
		p.p.PKCS11ID, d.Note = a[0], "with adit connect --userspace --pkcs11 MODULE only: the service has no token"
		return nil
	}, "pkcs11-id")
	ignore("module_not_named", "pkcs11-providers")
	ignore("token_pin", "pkcs11-protected-authentication", "pkcs11-private-mode", "pkcs11-pin-cache")
	later("token_hidden", "pkcs11-cert-private", "pkcs11-id-management")
	use(0, 1, "[file]", askPass, "askpass")

	// Ciphers
	use(1, 1, "digest", auth, "auth")
	use(1, 1, "cipher", cipherName, "cipher")
	use(1, 1, "list", dataCiphers, "data-ciphers", "ncp-ciphers")
	use(1, 1, "cipher", fallback, "data-ciphers-fallback")
	ignore("always_negotiated", "ncp-disable", "keysize", "data-ciphers-ignored", "compat-mode")
	refuse("replay", "no-replay")
	refuse("nonces", "no-iv")
	use(1, 1, "2", keyMethod, "key-method")
	ignore("crypto_tls", "prng", "engine", "providers", "ecdh-curve", "show-ciphers", "use-prediction-resistance", "allow-deprecated-insecure-static-crypto", "ssl-security-level")
	use(1, 2, "1.2 or 1.3", tlsMin, "tls-version-min")
	use(1, 1, "1.2 or 1.3", tlsMax, "tls-version-max")
	use(1, 1, "list", tlsCipher, "tls-cipher")
	ignore("tls13_suites", "tls-ciphersuites")
	use(1, 1, "list", tlsGroups, "tls-groups")
	use(1, 1, "legacy, preferred or suiteb", certProfile, "tls-cert-profile")

	// Who the server is
	use(1, 1, "server or client", remoteCertTLS, "remote-cert-tls")
	use(0, any16, "hexadecimal usages", remoteCertKU, "remote-cert-ku")
	use(1, 1, "OID or name", remoteCertEKU, "remote-cert-eku")
	use(1, 1, "server or client", nsCertType, "ns-cert-type")
	use(1, 2, "name [subject|name|name-prefix]", verifyName, "verify-x509-name")
	use(1, 3, "fingerprint [algorithm]", verifyHash, "verify-hash")
	use(1, any16, "SHA-256 fingerprints", peerFingerprint, "peer-fingerprint")
	use(1, any16, "fields", usernameField, "x509-username-field")
	refuse("tls_remote", "tls-remote")
	ignore("feeds_scripts", "x509-track", "tls-export-cert", "compat-names", "no-name-remapping")

	// Who the user is
	use(0, 1, "[file]", authUserPass, "auth-user-pass")
	flag(func(q *Profile) { q.AuthNoCache = true }, "auth-nocache")
	use(1, 1, "none, nointeract or interact", func(p *parser, d *Directive, a []string) error {
		p.p.AuthRetry = a[0]
		return oneOf("value", a[0], "none", "nointeract", "interact")
	}, "auth-retry")
	use(2, 3, `"text" 0|1 [scrv1|concat]`, staticChallenge, "static-challenge")
	use(0, 0, "no value", func(p *parser, d *Directive, a []string) error {
		p.p.AuthFederate = true
		return nil
	}, "auth-federate")
	ignore("device_posture", "aws-auth-device-posture")
	ignore("server_pushes", "auth-token", "auth-token-user")

	// Timers
	duration("hand-window", func(p *parser) *time.Duration { return &p.p.HandWindow })
	duration("tran-window", func(p *parser) *time.Duration { return &p.p.TranWindow })
	duration("tls-timeout", func(p *parser) *time.Duration { return &p.p.TLSTimeout })
	use(1, 2, "seconds [minimum]", renegSeconds, "reneg-sec")
	use(1, 1, "bytes", func(p *parser, d *Directive, a []string) (err error) {
		p.p.RenegBytes, err = count("bytes", a[0])
		return err
	}, "reneg-bytes")
	use(1, 1, "packets", func(p *parser, d *Directive, a []string) (err error) {
		p.p.RenegPackets, err = count("packets", a[0])
		return err
	}, "reneg-pkts")
	use(1, 2, "packets [seconds]", replayWindow, "replay-window")
	ignore("handshake_again", "tls-exit")
	add(rule{usage: "no value", note: "a client never has a second session beside the first", apply: nothing}, "single-session")
	add(rule{usage: "no value", note: "a client always knows its server", apply: nothing}, "ping-timer-rem")
	ignore("not_needed", "replay-persist", "mute-replay-warnings", "suppress-timestamps", "remap-usr1", "persist-local-ip",
		"persist-remote-ip", "disable-occ", "occ-disable", "rmtun", "mktun", "shaper", "test-crypto", "gremlin", "memstats", "errors-to-stderr", "push-continuation", "bufsize", "ncp-p2p", "nobind-ipv6", "udp-mtu")

	// Peer info and environment
	flag(func(q *Profile) { q.PushPeerInfo = true }, "push-peer-info")
	use(1, any16, "name [value]", setEnv, "setenv")
	ignore("no_program_reads", "setenv-safe")
	use(1, any16, "names", func(p *parser, d *Directive, a []string) error {
		for _, name := range a {
			p.tolerated[name] = true
		}
		return nil
	}, "ignore-unknown-option")

	// What the process does
	use(1, 1, "level", func(p *parser, d *Directive, a []string) (err error) {
		p.p.Verb, err = number("level", a[0], 0, 15)
		return err
	}, "verb")
	ignore("no_program", "up", "down", "route-up", "route-pre-down", "ipchange", "tls-verify", "plugin", "script-security", "dns-updown",
		"up-restart", "down-pre", "up-delay", "tls-verify-script", "service")
	use(1, 1, "folder", changeDir, "cd")
	ignore("service_decides", "user", "group", "chroot", "daemon", "inetd", "log", "log-append", "status", "status-version", "writepid", "syslog", "nice", "mlock",
		"mute", "machine-readable-output", "setcon", "tmp-dir", "connect-freq-user", "block-local")
	ignore("no_management", "management", "management-client", "management-hold", "management-query-passwords", "management-query-remote",
		"management-query-proxy", "management-log-cache", "management-up-down", "management-signal", "management-forget-disconnect", "management-client-user",
		"management-client-group", "management-client-auth", "management-client-pf")
	ignore("access_server", "host-name", "WSHOST", "WEB_CA_BUNDLE", "IS_OPENVPN_WEB_CA", "CLI_PREF_ALLOW_WEB_IMPORT", "CLI_PREF_BASIC_CLIENT",
		"CLI_PREF_ENABLE_CONNECT", "CLI_PREF_ENABLE_XD_PROXY", "NO_WEB")
	return t
}

// inlineRules are the tags of inline blocks.
func inlineRules() map[string]func(p *parser, d *Directive, body string) error {
	certs := func(into func(q *Profile) *[]byte) func(p *parser, d *Directive, body string) error {
		return func(p *parser, d *Directive, body string) error {
			if _, err := certificates([]byte(body)); err != nil {
				return err
			}
			*into(p.p) = []byte(body)
			return nil
		}
	}
	control := func(check func(body string) error, into func(k *ControlKeys) *push.Secret) func(p *parser, d *Directive, body string) error {
		return func(p *parser, d *Directive, body string) error {
			p.control(func(k *ControlKeys) { *into(k) = push.Secret(body) })
			return check(body)
		}
	}
	return map[string]func(p *parser, d *Directive, body string) error{
		"ca":          certs(func(q *Profile) *[]byte { return &q.CA }),
		"cert":        certs(func(q *Profile) *[]byte { return &q.Cert }),
		"extra-certs": certs(func(q *Profile) *[]byte { return &q.ExtraCerts }),
		"key": func(p *parser, d *Directive, body string) error {
			p.p.Key = push.Secret(body)
			if locked(body) {
				d.say(Unsupported, remark(lockedCode))
			}
			return privateKey([]byte(body))
		},
		"pkcs12":       (*parser).openPKCS12,
		"tls-auth":     control(staticKey, func(k *ControlKeys) *push.Secret { return &k.TLSAuth }),
		"tls-crypt":    control(staticKey, func(k *ControlKeys) *push.Secret { return &k.TLSCrypt }),
		"tls-crypt-v2": control(clientKeyV2, func(k *ControlKeys) *push.Secret { return &k.TLSCryptV2 }),
		"crl-verify": func(p *parser, d *Directive, body string) error {
			p.p.CRL = []byte(body)
			_, err := revocations(p.p.CRL)
			return err
		},
		"auth-user-pass":        (*parser).credentials,
		"http-proxy-user-pass":  proxyLogin,
		"socks-proxy-user-pass": proxyLogin,
		"secret": func(p *parser, d *Directive, body string) error {
			d.say(Refused, remark("static_key"))
			return nil
		},
		"dh": func(p *parser, d *Directive, body string) error {
			d.say(Ignored, remark("server_only"))
			return nil
		},
		"peer-fingerprint": func(p *parser, d *Directive, body string) error {
			return peerFingerprint(p, d, strings.Fields(body))
		},
	}
}
