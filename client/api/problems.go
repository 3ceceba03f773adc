package api

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// The closed list of problem codes. The words for each are in English in this file;
// other languages are keyed by the same codes.
const (
	// Reaching the server.
	CodeServerUnreachable = "server_unreachable"
	CodeServerNameUnknown = "server_name_unknown"
	CodeOffline           = "offline"
	CodeCaptivePortal     = "captive_portal"
	CodeServerRefused     = "server_refused"
	CodeControlKeyWrong   = "control_key_wrong"
	CodeNoCommonCipher    = "no_common_cipher"
	CodePushRejected      = "push_rejected"
	CodeAddressPoolEmpty  = "address_pool_exhausted"
	CodeSessionEnded      = "session_ended"
	CodeNetworkChanged    = "network_changed"
	CodeTimeout           = "timeout"
	CodeTLSFailed         = "tls_failed"
	CodeProtocolError     = "protocol_error"

	// Signing in.
	CodeAuthFailed         = "auth_failed" // with the certificate alone
	CodePasswordRefused    = "password_refused"
	CodeCodeRefused        = "code_refused"
	CodeBrowserRefused     = "browser_sign_in_refused"
	CodeSignInExpired      = "sign_in_expired"
	CodeSignInTimedOut     = "sign_in_timed_out"
	CodeSignInCancelled    = "sign_in_cancelled"
	CodeSignInInputMissing = "sign_in_input_missing"
	CodeQuestionGone       = "question_gone"

	// A proxy in front of the server.
	CodeProxyUnreachable = "proxy_unreachable"
	CodeProxyAuthNeeded  = "proxy_auth_needed"
	CodeProxyAuthFailed  = "proxy_auth_failed"
	CodeProxyRefused     = "proxy_refused"
	CodeProxyUnusable    = "proxy_unusable"

	// Certificates of the server and our own.
	CodeCertificateUntrusted  = "certificate_untrusted"
	CodeCertificateExpired    = "certificate_expired"
	CodeCertificateName       = "certificate_name"
	CodeCertificateUsage      = "certificate_usage"
	CodeCertificateRevoked    = "certificate_revoked"
	CodeOwnCertificateExpired = "own_certificate_expired"
	CodeOwnCertificateRefused = "own_certificate_refused"
	CodeOwnKeyMismatch        = "own_key_mismatch"
	CodeClockWrong            = "clock_wrong"

	// This machine.
	CodeTUNNotPermitted   = "tun_not_permitted"
	CodeTUNFailed         = "tun_failed"
	CodeRoutesFailed      = "routes_failed"
	CodeNetworkConflict   = "network_conflict" // with another tunnel
	CodeDNSFailed         = "dns_failed"
	CodeGuardFailed       = "guard_failed"
	CodeMarkFailed        = "mark_failed"
	CodePlatformUnbuilt   = "platform_not_supported"
	CodeProfileStoreError = "profile_store_failed"

	// What was asked for.
	CodeProfileUnsupported = "profile_unsupported"
	CodeProfileInvalid     = "profile_invalid"
	CodeProfileNotFound    = "profile_not_found"
	CodeProfileExists      = "profile_exists"
	CodeProfileNameInvalid = "profile_name_invalid"
	CodeProfileInUse       = "profile_in_use"
	CodeProfileLocked      = "profile_locked" // its guard is closed for good
	CodeProfileManaged     = "profile_managed"
	CodeManaged            = "managed"            // a key of the policy stands against it
	CodeAlwaysOn           = "always_on"          //
	CodeServerNotAllowed   = "server_not_allowed" // by the policy
	CodePolicyUnreadable   = "policy_unreadable"
	CodeSettingInvalid     = "setting_invalid"
	CodeDestinationInvalid = "destination_invalid"
	CodeTooManyConnections = "too_many_connections"
	CodeNotConnected       = "not_connected"
	CodeAlreadyConnected   = "already_connected" // a note: the wish is fulfilled
	CodeAnotherSignsIn     = "another_signs_in"  // another user of the machine is asked
	CodeNotPermitted       = "not_permitted"
	CodeNotOwner           = "not_owner"
	CodeServiceUnreachable = "service_unreachable"
	CodeServiceStopping    = "service_stopping"
	CodeRequestInvalid     = "request_invalid"
	CodeInternal           = "internal"

	// Reading a profile as the person who names it, in that person's process.
	CodeFileNotFound   = "file_not_found"
	CodeFileUnreadable = "file_unreadable"
	CodeFileTooLarge   = "file_too_large"
	CodeNotAProfile    = "not_a_profile"
	CodeURLNotHTTPS    = "url_not_https"
	CodeFetchFailed    = "fetch_failed"
)

// What a file is with CodeNotAProfile.
const (
	FileEmpty     = "it is empty"
	FilePDF       = "it is a PDF document"
	FileArchive   = "it is an archive, or a document of an office program"
	FilePicture   = "it is a picture"
	FileWebPage   = "it is a web page"
	FileWireGuard = "it is for WireGuard"
	FileBinary    = "it is not text"
	FileText      = "no line of it is one of OpenVPN's"
)

// What comes after a sign-in to the network, with CodeCaptivePortal.
const (
	PortalRetried = "the connection is tried again by itself"
	PortalOver    = "connect again then"
)

// ArgPortal is an argument that any Problem may have: the address of the sign-in page that the network names. It adds a hint.
const ArgPortal = "portal"

// portalHint is for people where nobody knows whether the network wants the sign-in.
const portalHint = "this network names a sign-in page, {portal}: if web pages do not open either, sign in there first"

// ArgNoTime is an argument that any Problem may have: the profile whose closed guard stops time servers, while this machine's clock
// may be what is wrong. It adds a hint.
const ArgNoTime = "no_time"

// noTimeHint says how the clock gets right all the same.
const noTimeHint = "the guard of {no_time} stops time servers outside of the local network: set the clock by hand (Linux: timedatectl set-time), or disconnect until it is right; in lockdown only the former helps"

// The details of CodeServiceUnreachable that say what a person can do about it.
const (
	DetailNotRunning   = "it is not running"
	DetailNotPermitted = "permission denied"
)

// words are a code's message and hint. In both, {name} is replaced by the argument, and a
// part in [brackets] is left out when an argument that it names is missing.
// Lines of a hint are separate hints.
type words struct{ message, hint string }

// wordsOf returns the English words of a code.
func wordsOf(code string) (words, bool) {
	w, ok := english[code]
	return w, ok
}

// english is read-only.
var english = map[string]words{
	CodeServerUnreachable: {
		"no answer from {server}[ over {transport}][: {detail}]",
		"check that this machine is online and that the profile's remote line names the right host, port and protocol; a firewall on the way may drop them\na server also stays silent when the profile's tls-auth, tls-crypt or tls-crypt-v2 key is not its own"},
	CodeServerNameUnknown: {
		"cannot find the address of {server}[: {detail}]",
		"check the host name in the profile's remote line, and that this machine's DNS works[\nthe guard of {profile} is closed, and stops what this machine's own server for names asks: disconnect, and connect again; in lockdown connect once with guard=auto, or put the server's address into the hosts file]"},
	CodeOffline: {
		"no network of this machine leads to {server}",
		"check that it is online: cable, Wi-Fi, another VPN that has taken the routes\na server with an IPv6 address alone needs IPv6 here, one with an IPv4 address alone IPv4"},
	CodeCaptivePortal: {
		"{server} cannot be reached: this network seems to want you to sign in to it first[, at {url}]",
		"open a web page in the browser and sign in to the network; {what}[\nthe guard of {profile} blocks web pages meanwhile: disconnect it, sign in to the network, and connect again]"},
	CodeServerRefused: {
		"the server refused the connection[: {detail}]",
		"ask the server's administrator why; the server's log names the reason"},
	CodeProxyUnreachable: {
		"no way through the proxy {proxy}[: {detail}]",
		"check that the proxy runs, and that the profile's http-proxy or socks-proxy line names its host and port"},
	CodeProxyAuthNeeded: {
		"the proxy {proxy} wants a sign-in that the profile does not give[: {detail}]",
		"put user name and password into the profile's <http-proxy-user-pass> or <socks-proxy-user-pass> block; with http-proxy HOST PORT auto the method is what the proxy offers"},
	CodeProxyAuthFailed: {
		"the proxy {proxy} did not accept the sign-in[: {detail}]",
		"check the user name and password for the proxy; for NTLM the name may need its domain: DOMAIN\\user"},
	CodeProxyRefused: {
		"the proxy {proxy} does not connect to {server}[: {detail}]",
		"502, 503, 504 and \"connection refused\" mean that the server does not answer the proxy; else ask the proxy's administrator to allow this host and port, many allow only port 443"},
	CodeProxyUnusable: {
		"the proxy {proxy} cannot be used[: {detail}]",
		"check that it is a proxy of this kind: http-proxy is for HTTP, socks-proxy for SOCKS5"},
	CodeControlKeyWrong: {
		"the tls-auth, tls-crypt or tls-crypt-v2 key does not match[ that of {server}]",
		"get a fresh profile from the server's administrator; with tls-auth, check key-direction too"},
	CodeNoCommonCipher: {
		"this profile and the server[ {server}] have no data cipher in common[: {detail}]",
		"add a cipher that the server has to the profile's data-ciphers line: AES-256-GCM, AES-128-GCM or CHACHA20-POLY1305\na server that has only broken ones (BF-CBC, DES) should be updated; until then an administrator can allow them with: aditd --allow-insecure-ciphers"},
	CodePushRejected: {
		"the server pushed an option that is refused: {option}[ ({detail})]",
		"look at the profile's pull-filter lines, or ask the server's administrator to take the option out"},
	CodeAddressPoolEmpty: {
		"the server has no free address left",
		"try again later, or ask the server's administrator for a larger client address range"},
	CodeSessionEnded: {
		"the server ended the session[: {reason}]",
		"connect again with: adit connect[ {profile}]"},
	CodeNetworkChanged: {
		"this machine's network changed, and {server} does not answer on the old session",
		"nothing to do: a new session is made at once; see the steps with: adit logs"},
	CodeTimeout: {
		"not connected within {after}[: {detail}]",
		"try a longer --timeout, and see the steps with: adit logs"},
	CodeTLSFailed: {
		"the TLS handshake with {server} failed[: {detail}]",
		"see the steps with: adit logs; check tls-version-min and tls-cipher in the profile"},
	CodeProtocolError: {
		"{server} broke the OpenVPN protocol[: {detail}]",
		"check that the port belongs to an OpenVPN server, and see the steps with: adit logs"},
	CodeAuthFailed: {
		"the server did not accept the sign-in[: {reason}]",
		"check that the server still accepts this certificate; its log names the reason"},
	CodePasswordRefused: {
		"the server did not accept {what}[: {reason}]",
		"[where \"{reason}\" is not about them, ask the server's administrator; otherwise ]type them again; an account may also be locked, or have to change its password first"},
	CodeCodeRefused: {
		"the server did not accept the one-time code[: {reason}]",
		"wait for the next code and use each one once; if none is taken, check that the clock of the device that makes them is right"},
	CodeBrowserRefused: {
		"the server did not accept the sign-in of the browser[: {reason}]",
		"check which account the browser is signed in with; the administrator may have to allow it to use this VPN"},
	CodeSignInExpired: {
		"the sign-in has expired[: {reason}]",
		"sign in again[ with: adit connect {profile}]"},
	CodeSignInTimedOut: {
		"nobody signed in within {after}",
		"connect again, and answer in time: adit connect[ {profile}]"},
	CodeSignInCancelled: {
		"the sign-in was cancelled",
		"connect again with: adit connect[ {profile}]"},
	CodeSignInInputMissing: {
		"{profile} needs {what}, and there is no terminal to ask at",
		"give it with {flag}, or run this in a terminal"},
	CodeQuestionGone: {
		"this sign-in question is not open any more",
		"it was answered already, or it is too late; see what is asked now with: adit status"},

	CodeCertificateUntrusted: {
		"the certificate of {server} is not signed by a CA that the profile trusts[: {detail}]",
		"get the right CA from the server's administrator and put it into the profile's <ca> block"},
	CodeCertificateExpired: {
		"the certificate of {server} is not valid now[: {detail}]",
		"check this machine's clock; if it is right, the server's administrator must renew the certificate"},
	CodeCertificateName: {
		"the certificate of {server} names another server[: {detail}]",
		"check the profile's verify-x509-name line against the server's certificate"},
	CodeCertificateUsage: {
		"the certificate of {server} is not made for a server[: {detail}]",
		"somebody with a client certificate may be posing as the server; ask its administrator for a certificate with server usage, and keep remote-cert-tls server in the profile"},
	CodeCertificateRevoked: {
		"the certificate of {server} has been revoked[: {detail}]",
		"do not connect; ask the server's administrator"},
	CodeOwnCertificateExpired: {
		"your certificate is not valid now[: {detail}]",
		"check this machine's clock; if it is right, ask for a new certificate and import the profile again with --replace"},
	CodeOwnCertificateRefused: {
		"the server refuses your certificate[: {detail}]",
		"the certificate may be revoked or signed by another CA; ask the server's administrator for a new one"},
	CodeClockWrong: {
		"this machine's clock seems wrong: it says {now}, and the certificate[ of {server}] is valid from {from} to {until}",
		"set the clock, by the network where that can be reached (Linux: timedatectl set-ntp true), and connect again\nif it is right, ask the server's administrator for a certificate that is valid now"},
	CodeOwnKeyMismatch: {
		"the profile's private key does not belong to its certificate[: {detail}]",
		"put the key that was made with the certificate into the profile's <key> block"},

	CodeTUNNotPermitted: {
		"not permitted to make a tunnel device[: {detail}]",
		"run the service as root (Linux: with /dev/net/tun and CAP_NET_ADMIN) or as an administrator, or try: adit connect FILE --userspace"},
	CodeTUNFailed: {
		"cannot make the tunnel device[: {detail}]",
		"Linux: check that the kernel has tun (modprobe tun); Windows: that wintun.dll lies beside aditd.exe; or try: adit connect FILE --userspace"},
	CodeNetworkConflict: {
		"{profile} and {other} cannot be connected at once: both [take {network}][have the address {address}]",
		"disconnect {other} first[, or keep the network out of one of the two: adit set {profile} route-={network}]"},
	CodeRoutesFailed: {
		"cannot set the tunnel's routes[: {detail}]",
		"everything has been undone; see which route failed with: adit logs"},
	CodeGuardFailed: {
		"the guard against traffic outside the tunnel cannot be set[: {detail}]",
		"it needs nftables (Linux), the service BFE (Windows) or PF (macOS); to go without it: adit set NAME guard=off"},
	CodeDNSFailed: {
		"cannot set the tunnel's DNS[: {detail}]",
		"everything has been undone; see what the resolver said with: adit logs"},
	CodeMarkFailed: {
		"cannot mark the packets to {server}[: {detail}]",
		"the profile's mark line needs CAP_NET_ADMIN: use the service (adit import, adit connect), or run this as root, or take the line out"},
	CodePlatformUnbuilt: {
		"{what} is not supported yet on this system",
		"try: adit connect FILE --userspace"},
	CodeProfileStoreError: {
		"cannot keep the profile {profile}[: {detail}]",
		"check free space and permissions of the service's state directory"},

	CodeProfileUnsupported: {
		"the profile cannot be used: [line {line}: ]{reason}",
		"see every line's verdict with: adit check FILE"},
	CodeProfileInvalid: {
		"the profile cannot be read: [line {line}: ]{reason}",
		"see every line's verdict with: adit check FILE"},
	CodeProfileNotFound: {
		"there is no profile {profile}",
		"list yours with: adit profiles"},
	CodeProfileExists: {
		"a profile {profile} exists already",
		"choose another --name, or overwrite it with --replace"},
	CodeProfileNameInvalid: {
		"{profile} cannot be a profile's name[: {detail}]",
		"use letters, digits, dots, dashes, underscores and inner spaces, up to 64 bytes (letters other than a to z take two or three)"},
	CodeProfileInUse: {
		"the profile {profile} has a tunnel open",
		"first: adit disconnect {profile}"},
	CodeProfileLocked: {
		"the profile {profile} keeps all traffic blocked (guard=lockdown)",
		"first: adit set {profile} guard=auto"},
	CodeProfileManaged: {
		"the profile {profile} is managed: it can be connected, and not be changed, exported or removed",
		"the administrator of this machine keeps it; of its settings, save_password is yours"},
	CodeManaged: {
		"the administrator of this machine has decided that: {key}[ in {file}]",
		"see all that is decided with: adit status"},
	CodeAlwaysOn: {
		"the administrator of this machine keeps {profile} connected: AlwaysOn[ in {file}]",
		"see all that is decided with: adit status"},
	CodeServerNotAllowed: {
		"the policy of this machine does not allow {server}[: {detail}]",
		"see what it allows with: adit status; only the administrator of this machine can change it"},
	CodePolicyUnreadable: {
		"the policy of this machine cannot be read: nothing connects[: {detail}]",
		"the administrator of this machine has to mend it; the service sees that by itself"},
	CodeSettingInvalid: {
		"the setting {setting} cannot be applied[: {detail}]",
		"the settings are auto_connect, guard, route+=CIDR, route-=CIDR, pull_filter, proxy, save_password; see them with: adit set NAME"},
	CodeDestinationInvalid: {
		"cannot tell the way to {destination}[: {detail}]",
		"give an IP address, or a host name that this machine can resolve"},
	CodeTooManyConnections: {
		"there are {limit} tunnels already",
		"end one first with: adit disconnect NAME"},
	CodeNotConnected: {
		"{profile} is not connected",
		"connect with: adit connect {profile}"},
	CodeAlreadyConnected: {
		"{profile} is connected already",
		"see it with: adit status"},
	CodeAnotherSignsIn: {
		"{profile} waits for another user of this machine to sign in",
		"once they have signed in it is connected for everybody; if they have left the machine, connect again to take their place\nthe administrator of this machine can end it with: adit disconnect {profile}"},
	CodeNotPermitted: {
		"you may not {action}",
		"ask the administrator to add you to group adit (Linux), do it at the machine's own screen (macOS, Windows), or run it as root or administrator"},
	CodeNotOwner: {
		"{profile} belongs to {owner}",
		"only its owner can do this"},
	CodeServiceUnreachable: {
		"cannot reach the service at {socket}[: {detail}]",
		"start the service with: {start}\nif it listens elsewhere, name its socket with --socket or ADIT_SOCKET"},
	CodeServiceStopping: {
		"the service is stopping",
		"try again when it is back"},
	CodeRequestInvalid: {
		"the service does not understand the request[: {detail}]",
		"check that adit and aditd are of the same version with: adit version"},
	CodeInternal: {
		"something went wrong inside[: {detail}]",
		"see the service's log with: adit logs; please report it"},

	CodeFileNotFound: {
		"there is no file {file}",
		"give the path of an .ovpn file"},
	CodeFileUnreadable: {
		"cannot read {file}[: {detail}]",
		"check that you may read the file: ls -l {file}"},
	CodeFileTooLarge: {
		"{file} is larger than {limit}",
		"this does not look like a profile; check the path"},
	CodeNotAProfile: {
		"{file} is no OpenVPN profile: {what}",
		"give the .ovpn file itself; what came in an archive has to be unpacked first"},
	CodeURLNotHTTPS: {
		"a profile holds keys: {url} is not https",
		"use an https URL, or fetch it yourself and give the file"},
	CodeFetchFailed: {
		"fetch {url}[: {detail}]",
		"check the address in a browser, or fetch it yourself and give the file"},
}

// NewProblem makes the Problem for a code of the closed list, with its English words.
// It keeps a copy of args; an unknown code becomes "internal" that names the code.
// Pass no secrets: arguments are shown, logged and sent to user interfaces.
func NewProblem(code string, args map[string]string) *Problem {
	w, ok := wordsOf(code)
	if !ok {
		args = map[string]string{"detail": "problem code " + code + " has no words"}
		code = CodeInternal
		w, _ = wordsOf(code)
	}
	kept := map[string]string{}
	for name, value := range args {
		if value != "" {
			kept[name] = oneLine(value)
		}
	}
	hint := w.hint
	if kept[ArgPortal] != "" {
		hint += "\n" + portalHint
	}
	if kept[ArgNoTime] != "" {
		hint += "\n" + noTimeHint
	}
	return &Problem{Code: code, Message: Fill(w.message, kept), Hint: Fill(hint, kept), Args: kept}
}

// AsProblem finds the *Problem in err, or wraps err's text as "internal".
// It returns nil for nil.
func AsProblem(err error) *Problem {
	if err == nil {
		return nil
	}
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return NewProblem(CodeInternal, map[string]string{"detail": err.Error()})
}

// IsCode says whether err is, or wraps, a Problem with the code.
func IsCode(err error, code string) bool {
	var p *Problem
	return errors.As(err, &p) && p.Code == code
}

// Codes returns the closed list, sorted, for those who keep words in other languages.
func Codes() []string { return slices.Sorted(maps.Keys(english)) }

// Template returns the English message and hint of a code, in the form that Fill takes.
func Template(code string) (message, hint string, ok bool) {
	w, ok := wordsOf(code)
	return w.message, w.hint, ok
}

// Fill puts args into a template: {name} becomes the argument ("unknown" when it is
// missing), and a part in [brackets] is left out when an argument in it is missing.
func Fill(template string, args map[string]string) string {
	var out strings.Builder
	for template != "" {
		open := strings.IndexByte(template, '[')
		if open < 0 {
			open = len(template)
		}
		text, _ := fillFlat(template[:open], args)
		out.WriteString(text)
		template = template[open:]
		if template == "" {
			break
		}
		part, rest, _ := strings.Cut(template[1:], "]")
		if text, complete := fillFlat(part, args); complete {
			out.WriteString(text)
		}
		template = rest
	}
	return out.String()
}

// fillFlat fills a template without brackets and says whether no argument was missing.
func fillFlat(s string, args map[string]string) (string, bool) {
	var out strings.Builder
	complete := true
	for {
		before, after, found := strings.Cut(s, "{")
		out.WriteString(before)
		if !found {
			return out.String(), complete
		}
		name, rest, _ := strings.Cut(after, "}")
		value := args[name]
		if value == "" {
			complete, value = false, "unknown"
		}
		out.WriteString(value)
		s = rest
	}
}

// oneLine keeps a foreign text (a server's reason, an OS error) to one printable line.
func oneLine(s string) string {
	const limit = 1000 // bytes; a reason longer than that helps nobody
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.TrimSpace(s)
}
