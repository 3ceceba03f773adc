package ovpn

import (
	"fmt"
	"net"
	"strings"

	"github.com/adit-vpn/adit/ovpn/wrap"
)

// OCC is the options string that peers exchange, compare and warn about; old
// ones read the cipher from it (openvpn's options.c options_string, mtu.c
// calc_options_string_link_mtu).

// occ is our own string. As openvpn 2.6 does it, a cipher stands in it only when
// we would use it with anybody, or between equal peers; the numbers without a
// fallback are BF-CBC's.
func (s *Session) occ() string {
	name, keySize := s.cfg.Fallback, 16
	if name == "" && len(s.cfg.Ciphers) == 1 {
		name = s.cfg.Ciphers[0]
	}
	c, known := LookupCipher(name)
	if known {
		name, keySize = c.Name, c.KeySize
	}
	auth, _, _ := LookupDigest(s.cfg.Auth)
	if c.AEAD() {
		auth = "[null-digest]"
	}
	side, proto := "tls-client", "UDPv4" // also over IPv6
	if s.cfg.Role == Server {
		side = "tls-server"
	}
	if s.cfg.Stream {
		proto = "TCPv4_CLIENT"
		if s.cfg.Role == Server {
			proto = "TCPv4_SERVER"
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "V4,dev-type tun,link-mtu %d,tun-mtu %d,proto %s", s.occLinkMTU(c), s.cfg.MTU, proto)
	b.WriteString(s.occAddresses())
	if s.framed() {
		b.WriteString(",comp-lzo")
	}
	if s.cfg.Fragment > 0 {
		b.WriteString(",mtu-dynamic")
	}
	directed, tlsAuth := s.cfg.Wrap.(wrap.Directed)
	if tlsAuth && directed.Direction() >= 0 {
		fmt.Fprintf(&b, ",keydir %d", directed.Direction())
	}
	if name != "" && (s.cfg.PointToPoint || s.offers(name)) {
		if strings.EqualFold(name, "none") {
			name = "[null-cipher]"
		}
		b.WriteString(",cipher " + name)
	}
	fmt.Fprintf(&b, ",auth %s,keysize %d", auth, 8*keySize)
	if tlsAuth {
		b.WriteString(",tls-auth")
	}
	b.WriteString(",key-method 2," + side)
	return b.String()
}

// occAddresses tells an equal peer our addresses as the other end writes them
// (openvpn's tun.c, ifconfig_options_string).
func (s *Session) occAddresses() (text string) {
	if !s.cfg.PointToPoint {
		return ""
	}
	own := s.cfg.Own
	if own.Address6.IsValid() {
		text = ",tun-ipv6"
	}
	switch a := own.Address; {
	case a.IsValid() && own.Peer.IsValid():
		text += fmt.Sprintf(",ifconfig %s %s", own.Peer, a.Addr())
	case a.IsValid():
		text += fmt.Sprintf(",ifconfig %s %s", a.Masked().Addr(), net.IP(net.CIDRMask(a.Bits(), a.Addr().BitLen())))
	}
	return text
}

// framed says whether the configuration has compression framing.
func (s *Session) framed() bool { return s.cfg.Compress != "" && s.cfg.Compress != "migrate" }

// occLinkMTU counts as old peers did: DATA_V1, and parts that no packet has.
func (s *Session) occLinkMTU(c Cipher) int {
	n := s.cfg.MTU + 1 + 4 // opcode, packet id
	switch s.cfg.Compress {
	case "lz4", "stub", "lzo", "lzo-no":
		n++
	}
	if s.cfg.Fragment > 0 {
		n += 4
	}
	if s.cfg.Stream {
		n += 2
	}
	switch {
	case c.Name == "":
		n += 8 + 8 // block and IV of BF-CBC
	case c.AEAD():
		return n + 16 + 12 + c.block // tag, IV
	case strings.EqualFold(c.Name, "none"):
	default:
		n += 2 * c.block // and the IV
		if strings.HasSuffix(c.Name, "-CFB") || strings.HasSuffix(c.Name, "-OFB") {
			n += 4 // their packet ids have a time
		}
	}
	_, digest, _ := LookupDigest(s.cfg.Auth)
	return n + digest
}

// occValue reads the value of one option of a peer's string; an option without
// a value is "" and true.
func occValue(options, name string) (string, bool) {
	for o := range strings.SplitSeq(options, ",") {
		if word, value, _ := strings.Cut(o, " "); word == name {
			return value, true
		}
	}
	return "", false
}

// occCipher is the cipher in a peer's string; "" when it names none.
func occCipher(options string) string {
	name, _ := occValue(options, "cipher")
	if name == "[null-cipher]" {
		return "none"
	}
	return name
}
