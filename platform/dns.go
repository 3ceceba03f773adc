package platform

import (
	"fmt"
	"strings"

	"github.com/adit-vpn/adit/routes"
)

// validDNS refuses what must not reach a file or a program.
func validDNS(d routes.DNS) error {
	for _, s := range d.Servers {
		if !s.IsValid() || s.Port() == 0 {
			return fmt.Errorf("DNS server %q is not valid", s)
		}
	}
	for _, list := range [][]string{d.Search, d.Split} {
		for _, n := range list {
			if !validDomain(n) {
				return fmt.Errorf("domain %q is not valid", n)
			}
		}
	}
	if d.SNI != "" && !validDomain(d.SNI) {
		return fmt.Errorf("DNS server name %q is not valid", d.SNI)
	}
	switch d.Transport {
	case "", "plain", "DoT":
	default:
		return fmt.Errorf("DNS transport %q is not supported", d.Transport)
	}
	switch d.DNSSEC {
	case "", "yes", "optional", "no":
	default:
		return fmt.Errorf("DNSSEC mode %q is not valid", d.DNSSEC)
	}
	return nil
}

// validDomain accepts host name letters, digits, "-", "_" and single dots.
func validDomain(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}
