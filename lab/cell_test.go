//go:build linux

package lab

import (
	"slices"
	"strings"
)

// cell is one combination of peers and options. The zero value of a field is the
// plainest choice.
type cell struct {
	Peers     string
	Transport string // "udp" or "tcp"
	Outside   string // "v4" or "v6": the family between the peers
	Wrap      string // "plain", "tls-auth", "tls-crypt" or "tls-crypt-v2"
	Cipher    string // with "+" and the digest unless it authenticates itself
	Keys      string // "exporter" or "prf"
	NCP       string // "ncp" or "no-ncp": whether the client obeys the server's choice of cipher
	Topology  string // "subnet", "net30" or "p2p"
	Framing   string // of compression: "none", "stub-v2" or "comp-lzo"
	Fragment  string // "whole" or "fragment"
}

func (c cell) values() []string {
	return []string{c.Transport, c.Outside, c.Wrap, c.Cipher, c.Keys, c.NCP, c.Topology, c.Framing, c.Fragment}
}

func (c cell) name() string {
	return strings.Join(slices.DeleteFunc(append([]string{c.Peers}, c.values()...), func(v string) bool { return v == "" }), "/")
}

// possible says whether the options go together.
func (c cell) possible() bool {
	switch {
	case c.Fragment == "fragment" && c.Transport != "udp": // openvpn(8), --fragment
		return false
	case c.Peers == openVPNToOpenVPN && c.Keys == "prf": // OpenSSL exports keys without EMS, too
		return false
	case c.Peers == "" || c.Peers == aditToEndpoint:
	case openvpnMinor() < 6 && c.Keys == "exporter",
		openvpnMinor() < 5 && (c.Wrap == "tls-crypt-v2" || c.Cipher == "CHACHA20-POLY1305"):
		return false
	}
	return true
}

// forgetsFragment says whether the server is an openvpn that does not cut what it sends: one up to 2.4
// puts its frame back to what it was before --fragment at each client's reset, and only negotiation
// sets the limit again (forward.c, process_incoming_link_part1; ssl.c, tls_session_update_crypto_params).
func (c cell) forgetsFragment() bool {
	return c.Peers == aditToOpenVPN && openvpnMinor() < 5 && c.NCP == "no-ncp"
}

// cipher and digest are the two parts of Cipher; a cipher that authenticates
// itself has the digest "".
func (c cell) cipher() string { name, _, _ := strings.Cut(c.Cipher, "+"); return name }
func (c cell) digest() string { _, name, _ := strings.Cut(c.Cipher, "+"); return name }

// The peers of a cell: who connects to whom.
const (
	aditToOpenVPN    = "adit-openvpn"
	openVPNToAdit    = "openvpn-endpoint"
	aditToEndpoint   = "adit-endpoint"
	openVPNToOpenVPN = "openvpn-openvpn" // proves the cells themselves
)

// factors are the matrix's dimensions beside the peers, in the order of cell's fields.
func factors() [][]string {
	return [][]string{
		{"udp", "tcp"},
		{"v4", "v6"},
		{"plain", "tls-auth", "tls-crypt", "tls-crypt-v2"},
		{"AES-256-GCM", "CHACHA20-POLY1305", "AES-256-CBC+SHA256", "AES-128-CBC+SHA1"},
		{"exporter", "prf"},
		{"ncp", "no-ncp"},
		{"subnet", "net30", "p2p"},
		{"none", "stub-v2", "comp-lzo"},
		{"whole", "fragment"},
	}
}

func factorSizes() (sizes []int) {
	for _, f := range factors() {
		sizes = append(sizes, len(f))
	}
	return sizes
}

func cellOf(peers string, choice []int) cell {
	f := factors()
	of := func(i int) string { return f[i][choice[i]] }
	return cell{peers, of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7), of(8)}
}

// cells are those that the matrix runs: for each pair of peers a set in which
// every two options meet that can meet, or every three.
func cells(strength int, peers ...string) (list []cell) {
	for _, p := range peers {
		for _, choice := range cover(factorSizes(), strength, func(c []int) bool { return cellOf(p, c).possible() }) {
			list = append(list, cellOf(p, choice))
		}
	}
	return list
}
