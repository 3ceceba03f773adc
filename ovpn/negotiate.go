package ovpn

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// What the two ends agree on: ciphers, protocol bits.

// IV_PROTO bits (ssl.h). Only those that this package does are announced.
const (
	protoDataV2      = 1 << 1
	protoRequestPush = 1 << 2
	protoTLSExport   = 1 << 3
	protoPendingWord = 1 << 4
	protoCCExit      = 1 << 7
	protoFailTemp    = 1 << 8
	protoDynTLSCrypt = 1 << 9
	protoDNS2        = 1 << 11
)

// pickPushedCipher takes the server's choice, or that of a server which does not
// negotiate: its own cipher when we allow it, else the fallback (openvpn's
// ssl_ncp.c, check_pull_client_ncp).
func (s *Session) pickPushedCipher(pushed, peerOptions string) error {
	name := pushed
	if name == "" {
		if name = occCipher(peerOptions); name == "" {
			name = s.cfg.Fallback
		}
	}
	switch {
	case name == "":
		return &ProtocolError{Cause: CauseCipher, Text: "server names no cipher, and there is no fallback"}
	case !s.offers(name) && !strings.EqualFold(name, s.cfg.Fallback):
		return &ProtocolError{Cause: CauseCipher, Text: fmt.Sprintf("server uses cipher %s, which is not among %s", name, strings.Join(s.cfg.Ciphers, ":"))}
	}
	s.cipher, _ = LookupCipher(name)
	return nil
}

func (s *Session) offers(name string) bool {
	return slices.ContainsFunc(s.cfg.Ciphers, func(c string) bool { return strings.EqualFold(c, name) })
}

// negotiateCipher walks our list and takes the first that the client has, or
// the fallback for a client that says nothing at all (openvpn's ssl_ncp.c
// ncp_get_best_cipher, multi.c multi_client_set_protocol_options); "" when there is none.
func (s *Session) negotiateCipher(peerOptions string) string {
	theirs, listed := peerCiphers(s.peerInfo)
	used := occCipher(peerOptions)
	if used != "" && !listed {
		theirs = append(theirs, used)
	}
	for _, c := range s.cfg.Ciphers {
		if slices.ContainsFunc(theirs, func(t string) bool { return strings.EqualFold(c, t) }) {
			return c
		}
	}
	if len(theirs) == 0 {
		return s.cfg.Fallback
	}
	return ""
}

// peerCiphers is what a peer says that it can; listed means by IV_CIPHERS.
func peerCiphers(info map[string]string) (names []string, listed bool) {
	if list, ok := info["IV_CIPHERS"]; ok {
		return strings.Split(list, ":"), true
	}
	if n, err := strconv.Atoi(info["IV_NCP"]); err == nil && n >= 2 {
		return []string{"AES-256-GCM", "AES-128-GCM"}, false
	}
	return nil, false
}

// canExport says whether the TLS exporter works on k's connection.
func (s *Session) canExport(k *key) bool {
	if s.cfg.PRF {
		return false
	}
	_, err := exportKeys(&k.state, exporterLabel, 16)
	return err == nil
}

// ownPeerInfo is what a client says about itself.
func (s *Session) ownPeerInfo(k *key) string {
	proto := protoDataV2 | protoRequestPush | protoPendingWord | protoCCExit | protoFailTemp | protoDNS2
	if s.canExport(k) {
		proto |= protoTLSExport
		if !s.cfg.Classic {
			proto |= protoDynTLSCrypt
		}
	}
	var b strings.Builder
	// IV_VER is the protocol level that servers look at, not our own version.
	fmt.Fprintf(&b, "IV_VER=2.6.0\nIV_PROTO=%d\nIV_CIPHERS=%s\nIV_MTU=%d\nIV_TCPNL=1\n", proto, strings.Join(s.cfg.Ciphers, ":"), max(1600, s.cfg.MTU))
	if s.offers("AES-256-GCM") && s.offers("AES-128-GCM") {
		b.WriteString("IV_NCP=2\n")
	}
	if len(s.cfg.SSO) > 0 {
		fmt.Fprintf(&b, "IV_SSO=%s\n", strings.Join(s.cfg.SSO, ","))
	}
	for _, line := range s.cfg.PeerInfo {
		b.WriteString(line + "\n")
	}
	return b.String()
}

func protoBits(info map[string]string) uint32 {
	n, err := strconv.ParseUint(info["IV_PROTO"], 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// agree fixes the format with a client, before its configuration (server).
func (s *Session) agree(k *key) error {
	if s.peerProto&protoDataV2 == 0 {
		return s.refuse(k.id, "the client is too old: it does not speak DATA_V2", CauseProtocol)
	}
	name := s.negotiateCipher(k.peer.options)
	if name == "" {
		return s.refuse(k.id, "Data channel cipher negotiation failed (no shared cipher)", CauseCipher)
	}
	s.cipher, _ = LookupCipher(name)
	s.exporter = s.peerProto&protoTLSExport != 0 && s.canExport(k)
	s.ccExit = s.peerProto&protoCCExit != 0
	return nil
}
