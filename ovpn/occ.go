package ovpn

import (
	"fmt"
	"strings"
)

// occ is the options string that peers compare and warn about (options.c
// options_string); old servers read the cipher from it.
func (s *Session) occ() string {
	name := s.cfg.Ciphers[0]
	c, _ := LookupCipher(name)
	side, proto, link := "tls-client", "UDPv4", s.cfg.MTU+49
	if s.cfg.Role == Server {
		side = "tls-server"
	}
	if s.cfg.Stream {
		proto, link = "TCPv4_CLIENT", link+2
		if s.cfg.Role == Server {
			proto = "TCPv4_SERVER"
		}
	}
	return fmt.Sprintf("V4,dev-type tun,link-mtu %d,tun-mtu %d,proto %s,cipher %s,auth [null-digest],keysize %d,key-method 2,%s",
		link, s.cfg.MTU, proto, name, 8*c.KeySize, side)
}

// occCipher reads the cipher from a peer's options string.
func occCipher(options string) string {
	for o := range strings.SplitSeq(options, ",") {
		if name, ok := strings.CutPrefix(o, "cipher "); ok {
			return name
		}
	}
	return ""
}
