package ovpn

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
)

// What the two ends agree on: ciphers, protocol bits.

// IV_PROTO bits (ssl.h). Only those that this package does are announced.
const (
	protoDataV2      = 1 << 1
	protoRequestPush = 1 << 2
	protoTLSExport   = 1 << 3
	protoPendingWord = 1 << 4
	protoNCPP2P      = 1 << 5
	protoCCExit      = 1 << 7
	protoFailTemp    = 1 << 8
	protoDynTLSCrypt = 1 << 9
	protoEpoch       = 1 << 10
	protoDNS2        = 1 << 11
	protoPushUpdate  = 1 << 12
)

// pickPushedCipher takes the server's choice, or that of a server which does not
// negotiate: its own cipher when we allow it, else the fallback (openvpn's
// ssl_ncp.c, check_pull_client_ncp).
func (s *Session) pickPushedCipher(pushed, peerOptions string) (Cipher, error) {
	name := pushed
	if name == "" {
		if name = occCipher(peerOptions); name == "" {
			name = s.cfg.Fallback
		}
	}
	switch {
	case name == "":
		return Cipher{}, &ProtocolError{Cause: CauseCipher, Text: "server names no cipher, and there is no fallback"}
	case !s.offers(name) && !strings.EqualFold(name, s.cfg.Fallback):
		return Cipher{}, &ProtocolError{Cause: CauseCipher, Text: fmt.Sprintf("server uses cipher %s, which is not among %s", name, strings.Join(s.cfg.Ciphers, ":"))}
	}
	c, ok := LookupCipher(name)
	if !ok {
		return Cipher{}, &ProtocolError{Cause: CauseCipher, Text: fmt.Sprintf("server uses cipher %s, which is not known", name)}
	}
	return c, nil
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
	if len(theirs) == 0 || !listed && strings.EqualFold(used, s.cfg.Fallback) {
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

// ownPeerInfo is what we say about ourselves (openvpn's ssl.c, push_peer_info).
// A server that pushes says nothing, unless the client names its peer id.
func (s *Session) ownPeerInfo(k *key) string {
	var b strings.Builder
	if s.ownID != wire.NoPeerID {
		fmt.Fprintf(&b, "ID=%x\n", s.ownID)
	}
	if s.cfg.Role == Server && !s.cfg.PointToPoint {
		return b.String()
	}
	proto := protoDataV2 | protoCCExit | protoDNS2 | protoPushUpdate
	if s.canExport(k) {
		proto |= protoTLSExport
		if !s.cfg.Classic {
			proto |= protoDynTLSCrypt
		}
	}
	if s.cfg.PointToPoint {
		proto |= protoNCPP2P
	} else {
		proto |= protoRequestPush | protoPendingWord | protoFailTemp
		// IV_VER is the protocol level that servers look at, not our own version.
		fmt.Fprintf(&b, "IV_VER=2.6.0\nIV_MTU=%d\nIV_TCPNL=1\n", s.largestMTU())
		if s.offers("AES-256-GCM") && s.offers("AES-128-GCM") {
			b.WriteString("IV_NCP=2\n")
		}
	}
	if !s.cfg.Classic {
		proto |= protoEpoch
	}
	if !s.cfg.PointToPoint {
		b.WriteString(s.compressInfo())
	}
	fmt.Fprintf(&b, "IV_PROTO=%d\nIV_CIPHERS=%s\n", proto, strings.Join(s.cfg.Ciphers, ":"))
	if len(s.cfg.SSO) > 0 {
		fmt.Fprintf(&b, "IV_SSO=%s\n", strings.Join(s.cfg.SSO, ","))
	}
	for _, line := range s.cfg.PeerInfo {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// canDynamic says whether both ends do dynamic tls-crypt.
func (s *Session) canDynamic(k *key) bool {
	return s.peerProto&protoDynTLSCrypt != 0 && !s.cfg.Classic && s.canExport(k)
}

// setFormat fixes how datagrams look. Epoch keys need DATA_V2 and an AEAD cipher,
// and both ends' word.
func (s *Session) setFormat(c Cipher, v1, epoch bool, compress string) {
	s.format = dataFormat{
		cipher: c, digest: s.cfg.Auth, v1: v1, compress: compress, fragment: s.cfg.Fragment, packet: s.largestMTU(),
		epoch: epoch && !s.cfg.Classic && !v1 && c.AEAD(),
	}
}

// clientCompress is the framing for one client: the configured one, or with
// "migrate" what a client needs that asks for compression in its OCC string
// (openvpn's multi.c, multi_client_generate_tls_keys and its neighbours).
func (s *Session) clientCompress(peerOptions string) string {
	if s.cfg.Compress != "migrate" {
		return s.cfg.Compress
	}
	if _, uses := occValue(peerOptions, "comp-lzo"); !uses {
		return ""
	}
	if s.peerInfo["IV_COMP_STUBv2"] == "1" {
		return "stub-v2"
	}
	return "lzo-no"
}

// compressInfo announces which framing we take. Real algorithms are named only
// when the configuration has one: a server shall not begin to compress for us.
func (s *Session) compressInfo() string {
	const stubs = "IV_LZO_STUB=1\nIV_COMP_STUB=1\nIV_COMP_STUBv2=1\n"
	switch s.cfg.Compress {
	case "lzo", "lz4", "lz4-v2":
		return "IV_LZ4=1\nIV_LZ4v2=1\nIV_LZO=1\n" + stubs
	}
	return stubs
}

// largestMTU is the tun-mtu that a client takes at most (mtu.h, TUN_MTU_MAX_MIN).
func (s *Session) largestMTU() int { return max(1600, s.cfg.MTU) }

// agreeIDs reads the peer id that the peer wants to receive. When both ends
// say one, each sends the other's ("Negotiation of peer-id" in the RFC draft).
func (s *Session) agreeIDs() {
	n, err := strconv.ParseUint(s.peerInfo["ID"], 16, 32)
	if s.cfg.Classic || err != nil || n >= wire.NoPeerID || s.cfg.Role == Server && s.peerProto&protoDataV2 == 0 {
		return
	}
	s.peerID = uint32(n)
	if s.cfg.Role == Server && !s.cfg.PointToPoint {
		s.ownID = s.cfg.PeerID
		s.data.setPeerID(s.peerID)
	}
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
	name := s.negotiateCipher(k.peer.options)
	if name == "" {
		return s.refuse("Data channel cipher negotiation failed (no shared cipher)", CauseCipher)
	}
	c, _ := LookupCipher(name)
	s.setFormat(c, s.peerProto&protoDataV2 == 0, s.peerProto&protoEpoch != 0, s.clientCompress(k.peer.options))
	s.exporter = s.peerProto&protoTLSExport != 0 && s.canExport(k)
	s.ccExit = s.peerProto&protoCCExit != 0
	s.dynamic = s.canDynamic(k)
	return nil
}

// Point-to-point: the label under which the peer id is exported, and the id of
// ends that cannot export (ssl_ncp.c).
const (
	peerIDLabel   = "EXPORTER-OpenVPN-p2p-peerid"
	peerIDDefault = 0x76706e
)

// agreePeers fixes the format between two equal peers: each works it out alike
// (openvpn's ssl_ncp.c, p2p_mode_ncp). Packets flow from here on; PushReply
// says so, with nothing in it.
func (s *Session) agreePeers(k *key) error {
	name, equal := "", s.peerProto&protoNCPP2P != 0
	if theirs, listed := peerCiphers(s.peerInfo); listed && equal {
		first, second := s.cfg.Ciphers, theirs // the TLS server's order decides
		if s.cfg.Role == Client {
			first, second = second, first
		}
		i := slices.IndexFunc(first, func(c string) bool {
			return slices.ContainsFunc(second, func(o string) bool { return strings.EqualFold(c, o) })
		})
		if i >= 0 {
			name = first[i]
		}
	}
	if used := occCipher(k.peer.options); name == "" && s.offers(used) {
		name = used
	}
	if name == "" {
		name = s.cfg.Fallback
	}
	c, ok := LookupCipher(name)
	if !ok {
		return s.die(&ProtocolError{Cause: CauseCipher, Text: "no data channel cipher in common with the peer, and no fallback"})
	}
	v2 := equal && s.peerProto&protoDataV2 != 0
	s.setFormat(c, !v2, equal && s.peerProto&protoEpoch != 0, s.cfg.Compress)
	if equal {
		s.exporter = s.peerProto&protoTLSExport != 0 && s.canExport(k)
		s.ccExit = s.peerProto&protoCCExit != 0
		s.data.setPeerID(s.sharedID(k))
		if s.dynamic = s.canDynamic(k); s.dynamic {
			if err := s.startDynamic(k); err != nil {
				return s.die(err)
			}
		}
	}
	s.configured = true
	if err := k.install(s); err != nil {
		return s.die(err)
	}
	s.data.promote(k.id)
	k.promoted = true
	reply, err := push.Parse(nil, nil)
	if err != nil {
		return s.die(err)
	}
	s.emit(PushReply{Reply: reply, Cipher: s.format.cipher.Name, Dynamic: s.dynamic})
	return nil
}

// sharedID is the peer id of point-to-point packets.
func (s *Session) sharedID(k *key) uint32 {
	if s.peerProto&protoDataV2 == 0 {
		return wire.NoPeerID
	}
	if s.peerProto&protoTLSExport == 0 {
		return peerIDDefault
	}
	if s.ownID != wire.NoPeerID && s.peerID != wire.NoPeerID {
		return s.peerID
	}
	b, err := exportKeys(&k.state, peerIDLabel, 3)
	if err != nil {
		return peerIDDefault
	}
	return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
}
