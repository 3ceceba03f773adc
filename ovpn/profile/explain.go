package profile

import (
	"cmp"
	"slices"
	"strings"
)

// explained returns the directives with a plain sentence for each one that is used
// and has no note of its own.
func (p *Profile) explained() []Directive {
	list := append([]Directive{}, p.Directives...)
	for i := range list {
		if d := &list[i]; d.Verdict == Used && d.Note == "" {
			d.Does = cmp.Or(p.signsIn(d.Words), meaning(d.Words))
		}
	}
	return list
}

// signsIn says what a directive of the sign-in does beside the others; empty: what it always does.
func (p *Profile) signsIn(words []string) string {
	asks := p.AuthUserPass && !p.AuthFederate
	switch word := words[0]; {
	case word == "auth-user-pass" && p.AuthFederate:
		return "the browser signs in instead (auth-federate)"
	case word == "auth-user-pass" && p.Password != "":
		return "signs in with user name and password, which stand in the profile"
	case word == "auth-user-pass" && p.Username != "":
		return "signs in with the user name in the profile, and a password"
	case word == "static-challenge" && !asks, word == "auth-nocache" && !asks:
		return "no effect: no password is asked for"
	case word == "auth-nocache" && p.Password != "":
		return "no effect on the password that stands in the profile"
	case word == "auth-retry" && asks && len(words) > 1:
		return map[string]string{
			"none":       "a wrong password ends the connection",
			"nointeract": "a wrong password is tried again",
			"interact":   "a wrong password is asked for again",
		}[words[1]]
	}
	return ""
}

// meaning says what a used directive does.
func meaning(words []string) string {
	if words[0] == "setenv" && len(words) > 1 {
		switch words[1] {
		case "FORWARD_COMPATIBLE":
			return "unknown directives do not stop the import; they never do"
		case "CLIENT_CERT":
			return "says whether a client certificate is needed"
		case "PUSH_PEER_INFO":
			return "tells the server about this machine"
		case "FRIENDLY_NAME", "PROFILE_NAME":
			return "the profile's name"
		}
		return "is told to the server"
	}
	if strings.HasPrefix(words[0], "route") && slices.ContainsFunc(words[1:], func(w string) bool { return strings.HasPrefix(w, "net_gateway") }) {
		return "this network goes past the tunnel"
	}
	if words[0] == "reneg-sec" && len(words) > 1 && words[1] == "0" {
		return "only the server asks for a new key"
	}
	return meanings()[words[0]]
}

func meanings() map[string]string {
	return map[string]string{
		"client": "this side calls, and the server says what is routed", "pull": "the server says what is routed", "tls-client": "this side calls",
		"mode": "this side calls", "persist-tun": "the device stays while a server is sought again; it always does", "persist-key": "keys are read once; they always are",

		"remote": "a server to try", "port": "the server's port", "rport": "the server's port", "proto": "how packets travel",
		"remote-random": "servers are tried in random order", "remote-random-hostname": "a random label goes before the server's name",
		"resolv-retry": "a name is looked up again with each try", "connect-retry": "pause between tries", "connect-retry-max": "how often all servers are tried",
		"connect-timeout": "how long a server may take", "server-poll-timeout": "how long a server may take", "explicit-exit-notify": "the server is told when the tunnel ends",
		"nobind": "any local port is used", "bind": "the local address is fixed", "local": "the local address", "lport": "the local port",
		"mark":       "packets get this firewall mark",
		"http-proxy": "the server is reached through this HTTP proxy", "http-proxy-option": "what requests to the proxy say",
		"http-proxy-override": "every server is reached through this HTTP proxy", "socks-proxy": "the server is reached through this SOCKS5 proxy",
		"http-proxy-user-pass": "signs in at the proxy", "socks-proxy-user-pass": "signs in at the proxy",

		"dev": "the kind and the name of the device", "dev-type": "the kind of the device", "topology": "how addresses are laid out in the tunnel",
		"ifconfig": "the tunnel's own address", "ifconfig-ipv6": "the tunnel's own IPv6 address",
		"route": "this network goes through the tunnel", "route-ipv6": "this network goes through the tunnel", "route-gateway": "the gateway in the tunnel",
		"route-metric": "metric of routes that have none", "redirect-gateway": "all traffic goes through the tunnel", "redirect-private": "the server stays reachable beside broad routes",
		"route-nopull": "the server's routes and name servers are not taken", "pull-filter": "the server's options that begin so are treated so",
		"block-ipv6": "IPv6 is refused while the tunnel is up", "block-outside-dns": "names are looked up through the tunnel only",
		"register-dns": "name caches are emptied", "dhcp-option": "name servers and domains", "dns": "name servers and domains",
		"client-nat": "addresses in the tunnel are exchanged one to one",
		"ping":       "asks for a sign of life", "ping-restart": "when the server counts as gone", "ping-exit": "when the tunnel ends because the server is gone",
		"keepalive": "asks for signs of life, and when the server counts as gone", "inactive": "the tunnel ends when it is not used", "session-timeout": "the tunnel ends after so long",
		"sndbuf": "the socket's send buffer", "rcvbuf": "the socket's receive buffer", "echo": "a note",
		"comp-lzo": "packets carry a byte for compression; they are never compressed", "compress": "packets carry a byte for compression; they are never compressed",
		"tun-mtu": "the largest packet in the tunnel", "max-packet-size": "the largest control packet", "mssfix": "TCP in the tunnel is fitted to this size",
		"fragment": "larger datagrams are cut into pieces",

		"cd": "where the files are that the profile names", "ca": "the server's certificate must come from here", "cert": "the certificate that this side shows", "key": "the key of that certificate",
		"extra-certs": "completes the chain of that certificate", "pkcs12": "certificate, key and authority in one file", "pkcs11-id": "certificate and key are on a token", "crl-verify": "certificates that are not valid any more",
		"tls-auth": "signs the control channel", "tls-crypt": "encrypts the control channel", "tls-crypt-v2": "encrypts the control channel with a key of this client's own",
		"key-direction": "which half of the tls-auth key is used",
		"auth":          "the digest that signs packets", "cipher": "for a server that cannot negotiate", "data-ciphers": "the ciphers that are offered",
		"ncp-ciphers": "the ciphers that are offered", "data-ciphers-fallback": "for a server that cannot negotiate", "key-method": "how keys are agreed on",
		"tls-version-min": "the oldest TLS that is spoken", "tls-version-max": "the newest TLS that is spoken", "tls-cipher": "the suites of TLS 1.2",
		"tls-groups": "the groups of TLS's key exchange", "tls-cert-profile": "how strong certificates must be",

		"remote-cert-tls": "the server's certificate must be one for servers", "remote-cert-ku": "what the server's certificate must be for", "remote-cert-eku": "what the server's certificate must be for",
		"verify-x509-name": "the server's certificate must have this name", "verify-hash": "the authority must have this fingerprint", "peer-fingerprint": "the server's certificate must have this fingerprint",
		"x509-username-field": "where in the certificate the name stands",
		"auth-user-pass":      "signs in with user name and password", "auth-nocache": "the password is forgotten after use", "auth-retry": "what follows on a wrong password",
		"auth-federate": "the browser signs in (AWS)", "static-challenge": "asks for a one-time code beside the password",

		"hand-window": "how long a handshake may take", "tran-window": "how long an old key is good for", "tls-timeout": "when a control packet is sent again",
		"reneg-sec": "when a new key is made", "reneg-bytes": "when a new key is made", "reneg-pkts": "when a new key is made",
		"replay-window":  "how late a packet may come",
		"push-peer-info": "tells the server this machine's hardware address, and what setenv UV_… says", "ignore-unknown-option": "these may be unknown", "verb": "how much is logged",
	}
}
