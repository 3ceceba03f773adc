package profile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Redact hides private keys, static keys, passwords and the values of headers for
// a proxy in a profile's text. It works on any text, also on one that Parse refuses.
func Redact(text string) string {
	secret := []string{"key", "tls-auth", "tls-crypt", "tls-crypt-v2", "secret", "pkcs12", "auth-user-pass", "http-proxy-user-pass", "socks-proxy-user-pass"}
	var out []string
	until := "" // how the line begins that ends the secret part
	for line := range strings.SplitSeq(text, "\n") {
		trimmed := strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		switch tag, isTag := openTag(trimmed); {
		case until != "":
			if strings.HasPrefix(trimmed, until) {
				until = ""
				out = append(out, line)
			}
			continue
		case isTag && slices.Contains(secret, tag):
			until = "</" + tag + ">"
			out = append(out, line, "[redacted]")
			continue
		case strings.HasPrefix(trimmed, "-----BEGIN ") && (strings.Contains(trimmed, "PRIVATE KEY") || strings.Contains(trimmed, "OpenVPN")):
			until = "-----END " + strings.TrimPrefix(trimmed, "-----BEGIN ")
			out = append(out, line, "[redacted]")
			continue
		}
		out = append(out, redactLine(line))
	}
	return strings.Join(out, "\n")
}

// redactLine hides the secret that an option has in its own line, in each spelling that Parse reads; also in a comment.
func redactLine(line string) string {
	option := strings.TrimLeftFunc(line, func(r rune) bool { return r == '\ufeff' || r == '#' || r == ';' || unicode.IsSpace(r) })
	before := line[:len(line)-len(option)]
	words, err := push.Split(option)
	if err != nil && !errors.Is(err, push.ErrTooManyWords) { // where its words end is not known
		for _, name := range []string{"auth-token", "http-proxy-option"} {
			if strings.Contains(option, name) {
				return before + name + " [redacted]"
			}
		}
		return line
	}
	if len(words) > 0 {
		words[0] = strings.TrimPrefix(words[0], "--")
	}
	words, _ = unfold(words)
	if hidden := redactWords(words); !slices.Equal(hidden, words) {
		return before + string(push.AppendOption(nil, hidden...))
	}
	return line
}

// Export is a client profile as an endpoint hands it out, in the order of AWS
// Client VPN's exports. Empty fields are left out.
type Export struct {
	Host           string
	Port           uint16
	Proto          string // "udp" or "tcp"
	RandomHostname bool
	Cipher         string   // default AES-256-GCM
	DataCiphers    []string // beside it
	CA             []byte   // PEM
	Cert           []byte   // PEM
	Key            push.Secret
	TLSAuth        push.Secret // key file's text; the client's direction is 1
	TLSCrypt       push.Secret
	TLSCryptV2     push.Secret
	Auth           string // digest of tls-auth and of ciphers without their own authentication
	Compress       string // framing: "lzo-no", "stub" or "stub-v2"
	Fragment       int    // largest datagram body, bytes
	PushPeerInfo   bool   // push-peer-info

	UserPass        bool   // auth-user-pass with auth-retry interact and auth-nocache
	Federate        bool   // auth-federate
	StaticChallenge string // text of the prompt, with echo
	VerifyName      string // the server certificate's CN
	// DevicePosture are device trust providers, whose words on the device AWS's client sends (aws-auth-device-posture).
	DevicePosture []string
}

// Append appends the profile's text to b.
func (e Export) Append(b []byte) []byte {
	line := func(words ...string) { b = append(push.AppendOption(b, words...), '\n') }
	block := func(tag, body string) {
		if body != "" {
			b = fmt.Appendf(b, "<%s>\n%s\n</%s>\n", tag, strings.TrimSpace(body), tag)
		}
	}
	cipher := e.Cipher
	if cipher == "" {
		cipher = "AES-256-GCM"
	}
	line("client")
	line("dev", "tun")
	line("proto", e.Proto)
	line("remote", e.Host, strconv.Itoa(int(e.Port)))
	if e.RandomHostname {
		line("remote-random-hostname")
	}
	line("resolv-retry", "infinite")
	line("nobind")
	line("remote-cert-tls", "server")
	line("cipher", cipher)
	if len(e.DataCiphers) > 0 {
		line("data-ciphers", strings.Join(e.DataCiphers, ":"))
	}
	if e.Auth != "" {
		line("auth", e.Auth)
	}
	switch e.Compress {
	case "lzo-no":
		line("comp-lzo", "no")
	case "stub":
		line("compress")
	case "stub-v2":
		line("compress", e.Compress)
	}
	if e.Fragment > 0 {
		line("fragment", strconv.Itoa(e.Fragment))
	}
	if e.PushPeerInfo {
		line("push-peer-info")
	}
	line("verb", "3")
	block("ca", string(e.CA))
	if e.UserPass || e.Federate {
		line("auth-user-pass")
		if e.Federate {
			line("auth-federate")
		}
		if e.StaticChallenge != "" {
			line("static-challenge", e.StaticChallenge, "1")
		}
		line("auth-retry", "interact")
		line("auth-nocache")
	}
	block("cert", string(e.Cert))
	block("key", e.Key.Reveal())
	if e.TLSAuth != "" {
		line("key-direction", "1")
		block("tls-auth", e.TLSAuth.Reveal())
	}
	block("tls-crypt", e.TLSCrypt.Reveal())
	block("tls-crypt-v2", e.TLSCryptV2.Reveal())
	line("reneg-sec", "0")
	if e.VerifyName != "" {
		line("verify-x509-name", e.VerifyName, "name")
	}
	for _, provider := range e.DevicePosture {
		line("aws-auth-device-posture", provider)
	}
	return b
}
