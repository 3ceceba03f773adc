package profile

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// Code names a remark, whatever its words are.
type Code string

// Remark is something to say about a profile or a line of it. The English words are here; other languages are keyed by
// the code. It is an error where a line is refused for it.
type Remark struct {
	Code Code
	Args map[string]string
}

// remark makes a Remark of a code and pairs of an argument's name and value.
func remark(code Code, args ...string) *Remark {
	r := &Remark{Code: code}
	for i := 0; i+1 < len(args); i += 2 {
		if r.Args == nil {
			r.Args = map[string]string{}
		}
		r.Args[args[i]] = args[i+1]
	}
	return r
}

// Error gives the English words.
func (r *Remark) Error() string {
	var pairs []string
	for name, value := range r.Args {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(english[r.Code])
}

// remarkOf is the remark in err. What the parser says in its own words only is one with that detail.
func remarkOf(err error) *Remark {
	var r *Remark
	if errors.As(err, &r) {
		return r
	}
	return remark("value", "detail", err.Error())
}

// Codes are all codes of remarks, sorted.
func Codes() []Code { return slices.Sorted(maps.Keys(english)) }

// Template are a code's English words, with {name} for each argument.
func Template(c Code) string { return english[c] }

// say sets what there is to say of a line.
func (d *Directive) say(v Verdict, r *Remark) {
	d.Verdict, d.Note, d.Code, d.Args = v, r.Error(), r.Code, r.Args
}

// refuse sets why a line is refused. The note may say more than the remark: in which file.
func (d *Directive) refuse(err error) {
	d.say(Refused, remarkOf(err))
	d.Note = err.Error()
}

const lockedCode Code = "needs_passphrase"

// english are the words of each code. They go behind the directive, where the remark is about one. Read-only.
var english = map[Code]string{
	// Why a line is ignored.
	"server_only":          "only a server uses it",
	"float":                "a server that has moved is found again with a new session",
	"openvpn_ignores":      "openvpn ignores it as well",
	"system_default":       "the system's default is used",
	"device_names":         "the service names its devices",
	"no_compression":       "nothing is compressed",
	"tun_mtu_decides":      "tun-mtu decides",
	"routes_at_once":       "routes and addresses are set at once by system calls",
	"module_not_named":     "a module is a program, and a profile names none: name it with adit connect --userspace --pkcs11 MODULE",
	"token_pin":            "the token says itself how it wants its PIN; it is asked for once",
	"always_negotiated":    "the cipher is always negotiated",
	"crypto_tls":           "crypto/tls is used",
	"tls13_suites":         "TLS 1.3 has no weak ciphers: crypto/tls chooses",
	"feeds_scripts":        "it only feeds scripts",
	"server_pushes":        "the server pushes it",
	"handshake_again":      "a failed handshake is tried again after a pause",
	"not_needed":           "not needed",
	"not_needed_here":      "not needed by a tunnel of this kind",
	"no_program_reads":     "no program is run that could read it",
	"no_program":           "no program named by a profile is ever run",
	"service_decides":      "the service decides",
	"no_management":        "there is no management interface",
	"access_server":        "a note of Access Server",
	"each_try":             "each try looks a name up once; connect-retry-max says how many tries there are",
	"passphrase_once":      "adit import asks for the passphrase once",
	"outside_connection":   "is taken outside of <connection> only",
	"unknown_directive":    "unknown directive",
	"unknown_block":        "unknown inline block",
	"auth_unused":          "only tls-auth and old ciphers need it: nothing does here",
	"fallback_replaces":    "data-ciphers-fallback replaces it",
	"cipher_refused":       "{cipher} is broken and refused: a better one is negotiated, or the connection fails; an administrator can enable it with aditd --allow-insecure-ciphers",
	"cipher_broken":        "{cipher} is broken; a better one is negotiated, or the connection fails",
	"cipher_other":         "{cipher} is not supported; another one is negotiated, or the connection fails",
	"ciphers_default":      "{ciphers}: broken and refused; the default is offered instead; an administrator can enable it with aditd --allow-insecure-ciphers",
	"no_suite":             "names no suite that crypto/tls has; its default is used",
	"no_group":             "names no group that crypto/tls has; its default is used",
	"no_tcp":               "no server is reached over TCP",
	"exit_notify_over_tcp": "explicit-exit-notify has no effect over TCP",

	"udp_left_out": "servers over UDP are left out: an HTTP proxy cannot carry it",

	"device_posture": "only AWS's own client sends what the provider says of the device: an endpoint whose policy needs that refuses this one",

	// What is not supported.
	"system_store":        "not supported yet: keys in the system's store",
	"token_hidden":        "not supported yet: certificates that a token hides until the PIN is given, and ids from a management interface",
	"dev_null":            "not supported yet: dev null",
	"tap":                 "not supported yet: TAP devices (Ethernet frames); ask for a server with dev tun",
	"proxy_password":      "not supported yet: asking for the proxy's password; name it in <{directive}-user-pass>",
	"digest_unsupported":  "not supported: digest {digest}",
	"ciphers_unsupported": "not supported: {ciphers}",
	lockedCode:            "needs its passphrase: adit import asks for it, and stores the key without",

	// Why a line is refused.
	"server_file":            "this is a server's file",
	"directory":              "a directory cannot be imported: name the certificate with ca",
	"crl_directory":          "a directory cannot be imported: name one file",
	"other_file":             "another file cannot be included: put its lines here",
	"static_key":             "a static key has no forward secrecy: use certificates",
	"replay":                 "packets could be replayed",
	"nonces":                 "packets would repeat their nonces",
	"tls_remote":             "removed from openvpn; write verify-x509-name",
	"unknown_security":       "unknown, and by its name it checks who the server is: ignoring it is not safe",
	"unknown_security_block": "unknown inline block, and by its name it is about security",
	"values":                 "wrong number of values; want: {usage}",
	"control_character":      "has a control character",
	"value":                  "{detail}",
	"number":                 "{field} {value} is not a number from {low} to {high}",
	"one_of":                 "{field} {value} is not one of {words}",
	"host":                   "host {value} is not a name or an address",
	"protocol":               "proto {value} is not udp or tcp (or with 4 or 6 behind it)",
	"file_refused":           "refers to the file {file}; only profiles with everything inline are taken here",
	"file_unreadable":        "cannot read {file}: {detail}",
	"no_certificate":         "holds no certificate: truncated or not PEM?",
	"no_private_key":         "holds no private key: truncated or not PEM?",
	"certificates_damaged":   "{damaged} of {all} certificates are truncated or damaged",
	"no_static_key":          "holds no OpenVPN static key",
	"static_key_truncated":   "the OpenVPN static key is truncated",
	"static_key_damaged":     "the OpenVPN static key is not 256 bytes in hex",
	"no_server":              "no server is named",
	"connection_empty":       "has no remote",
	"connection_open":        "is never closed",
	"control_keys":           "cannot be used beside tls-crypt: one of tls-auth, tls-crypt and tls-crypt-v2",
	"needs_ca":               "needs a ca",
	"no_digest":              "without a digest packets could be forged",
	"no_encryption":          "packets would not be encrypted",
	"unknown_cipher":         "unknown cipher {cipher}",
	"only_broken":            "names only broken ciphers: {ciphers}",
	"proxy_udp":              "an HTTP proxy cannot carry UDP: write proto tcp",
	"not_login":              "is not a user name and a password, a line each",

	// Why a text cannot be read at all.
	"too_large":  "larger than {limit} bytes",
	"utf16":      "is UTF-16: save it as UTF-8",
	"not_utf8":   "is not UTF-8: save the file as UTF-8",
	"nul":        "has a NUL byte: not a text file",
	"long_line":  "longer than {limit} bytes",
	"block_open": "<{tag}> is never closed",

	// The certificates and the key.
	"no_server_check":        "nothing tells the server's certificate from another client's: anybody with a certificate of this CA could pose as the server; add \"remote-cert-tls server\"",
	"certificate_expired":    "{role} certificate {subject} expired on {date}",
	"certificate_not_yet":    "{role} certificate {subject} is valid only from {date} on; this machine's clock says {now}",
	"certificate_ends":       "{role} certificate {subject} expires on {date}",
	"weak_key":               "{role} certificate {subject} has a weak key of {bits} bits",
	"sha1":                   "{role} certificate {subject} is signed with SHA-1: most servers refuse it",
	"other_ca":               "the client certificate is not issued by the profile's CA: the server must trust another CA for clients",
	"unseen_pkcs12":          "not looked at without its passphrase: the certificate, the private key and any CA in the PKCS#12 file",
	"unseen_key":             "not looked at without its passphrase: whether the private key is whole and belongs to the certificate",
	"key_on_token":           "the private key is on a token (pkcs11-id): only adit connect --userspace --pkcs11 MODULE can use it",
	"pkcs12_locked":          "the PKCS#12 file needs its passphrase: adit import asks for it, and stores the key without",
	"pkcs12_ca_locked":       "the PKCS#12 file, which may hold the CA, needs its passphrase: adit import asks for it, and stores the key without",
	"key_locked":             "the private key needs its passphrase: adit import asks for it, and stores the key without",
	"certificate_missing":    "the profile has no client certificate (cert)",
	"key_missing":            "the profile has no private key (key)",
	"certificate_broken":     "client certificate: {detail}",
	"key_mismatch":           "the private key does not belong to the client certificate",
	"key_broken":             "private key: {detail}",
	"own_expired":            "the client certificate expired on {date}",
	"own_not_yet":            "the client certificate is valid only from {date} on; this machine's clock says {now}",
	"ca_missing":             "the profile names no CA (ca) and no peer-fingerprint: the server cannot be checked",
	"ca_broken":              "ca: {detail}",
	"revocation_list_broken": "crl-verify: {detail}",
}
