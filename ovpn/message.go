package ovpn

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// IV_PROTO bits (ssl.h). Only those that this package does are announced.
const (
	protoDataV2      = 1 << 1
	protoRequestPush = 1 << 2
	protoTLSExport   = 1 << 3
	protoCCExit      = 1 << 7
	protoDynTLSCrypt = 1 << 9
)

// maxPushBytes bounds a PUSH_REPLY over all its parts.
const maxPushBytes = 1 << 20

// record handles the messages in one record, each ended by NUL. A message that
// is not printable is ignored as a whole (CVE-2024-5594).
func (s *Session) record(k *key, b []byte) error {
	for text := range strings.SplitSeq(string(b), "\x00") {
		text = strings.TrimRight(text, "\r\n")
		if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			continue
		}
		if err := s.message(k, text); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) message(k *key, text string) error {
	verb, rest, _ := strings.Cut(text, ",")
	if s.cfg.Role == Server {
		return s.clientMessage(verb, text)
	}
	switch {
	case verb == "PUSH_REPLY":
		return s.pushReply(k, rest)
	case verb == "PUSH_UPDATE":
		s.emit(PushUpdate{Options: push.SplitReply(rest)})
	case verb == "AUTH_FAILED":
		s.emit(AuthFailed{Reason: rest})
		return errPeerEnded
	case verb == "AUTH_PENDING" && !s.configured:
		timeout := s.cfg.HandWindow
		if n, err := strconv.Atoi(strings.TrimPrefix(rest, "timeout ")); err == nil && n > 0 {
			timeout = min(time.Duration(n)*time.Second, max(s.cfg.HandWindow, s.cfg.Renegotiate/2))
		}
		s.established = s.now.Add(timeout - s.cfg.HandWindow)
		s.emit(AuthPending{Timeout: timeout})
	case verb == "RESTART":
		s.emit(PeerExit{Kind: "restart", Reason: rest})
		return errPeerEnded
	case verb == "HALT":
		s.emit(PeerExit{Kind: "halt", Reason: rest})
		return errPeerEnded
	case verb == "EXIT":
		s.emit(PeerExit{Kind: "exit", Reason: rest})
		return errPeerEnded
	default:
		s.emit(Message{Text: text})
	}
	return nil
}

func (s *Session) clientMessage(verb, text string) error {
	switch verb {
	case "PUSH_REQUEST":
		s.askPush()
	case "EXIT":
		s.emit(PeerExit{Kind: "exit"})
		return errPeerEnded
	default:
		s.emit(Message{Text: text})
	}
	return nil
}

// askPush asks the owner for the configuration, once and not before Accept.
func (s *Session) askPush() {
	if s.accepted && !s.pushAsked {
		s.pushAsked = true
		s.emit(PushRequest{})
	}
}

// pushReply collects the parts of a reply and, with the last one, brings the
// tunnel up.
func (s *Session) pushReply(k *key, rest string) error {
	if s.configured {
		return nil // repeated
	}
	s.partBytes += len(rest)
	if s.partBytes > maxPushBytes {
		return &ProtocolError{Cause: CauseProtocol, Text: fmt.Sprintf("push reply larger than %d bytes", maxPushBytes)}
	}
	options := push.SplitReply(rest)
	more := false
	options = slices.DeleteFunc(options, func(o string) bool {
		if n, ok := strings.CutPrefix(o, "push-continuation "); ok {
			more = more || n == "2"
			return true
		}
		return false
	})
	s.pushParts = append(s.pushParts, options...)
	if more {
		return nil
	}
	reply, err := push.Parse(s.pushParts, s.cfg.Filter)
	s.pushParts, s.partBytes = nil, 0
	if err != nil {
		return &ProtocolError{Cause: CauseRefusedPush, Text: "pushed configuration refused", Err: err}
	}
	for _, flag := range reply.Flags {
		if flag != "cc-exit" && flag != "tls-ekm" && (flag != "dyn-tls-crypt" || !s.canExport(k)) {
			return &ProtocolError{Cause: CauseProtocol, Text: fmt.Sprintf("server wants protocol flag %q, which was not offered", flag)}
		}
	}
	if reply.Compress != "" {
		return &ProtocolError{Cause: CauseRefusedPush, Text: fmt.Sprintf("server wants compression framing (%s), which is not supported yet", reply.Compress)}
	}
	if err := s.pickPushedCipher(reply.Cipher, k.peer.options); err != nil {
		return err
	}
	if s.exporter = reply.TLSExport; s.exporter && !s.canExport(k) {
		return &ProtocolError{Cause: CauseProtocol, Text: "server wants exported keys, which were not offered"}
	}
	s.ccExit = slices.Contains(reply.Flags, "cc-exit")
	if reply.PeerID >= 0 {
		s.data.setPeerID(uint32(reply.PeerID))
	}
	if reply.Ping > 0 {
		s.ping = reply.Ping
	}
	if reply.PingRestart > 0 {
		s.silence = reply.PingRestart
	}
	s.configured, s.pushDue = true, time.Time{}
	if slices.Contains(reply.Flags, "dyn-tls-crypt") {
		if err := s.startDynamic(k); err != nil {
			return err
		}
	}
	if err := k.install(s); err != nil {
		return err
	}
	s.data.promote(k.id)
	k.promoted = true
	s.emit(PushReply{Reply: reply, Cipher: s.cipher.Name})
	return nil
}

// pickPushedCipher takes the server's choice, or what an old server uses.
func (s *Session) pickPushedCipher(pushed, peerOptions string) error {
	name := pushed
	if name == "" {
		if name = occCipher(peerOptions); name == "" || !s.offers(name) {
			name = s.cfg.Ciphers[0]
		}
	}
	if !s.offers(name) {
		return &ProtocolError{Cause: CauseCipher, Text: fmt.Sprintf("server chose cipher %s, which is not among %s", name, strings.Join(s.cfg.Ciphers, ":"))}
	}
	s.cipher, _ = LookupCipher(name)
	return nil
}

func (s *Session) offers(name string) bool {
	return slices.ContainsFunc(s.cfg.Ciphers, func(c string) bool { return strings.EqualFold(c, name) })
}

// Accept answers Credentials: the peer may use the tunnel (server). A
// *ProtocolError means that it may not after all: no common cipher.
func (s *Session) Accept(now time.Time) error {
	if err := s.over(); err != nil {
		return err
	}
	s.now = now
	k := s.keys[0]
	if k.ready.IsZero() || k.authorized || s.cfg.Role != Server {
		return errors.New("ovpn: nothing to accept")
	}
	if s.accepted {
		k.authorized = true
		return k.install(s)
	}
	if s.peerProto&protoDataV2 == 0 {
		return s.refuse("the client is too old: it does not speak DATA_V2", CauseProtocol)
	}
	name := s.negotiateCipher(k.peer.options)
	if name == "" {
		return s.refuse("Data channel cipher negotiation failed (no shared cipher)", CauseCipher)
	}
	s.cipher, _ = LookupCipher(name)
	s.exporter = s.peerProto&protoTLSExport != 0 && s.canExport(k)
	s.ccExit = s.peerProto&protoCCExit != 0
	k.authorized, s.accepted = true, true
	if s.peerProto&protoRequestPush != 0 {
		s.askPush()
	}
	return nil
}

// over says why the owner can decide nothing any more.
func (s *Session) over() error {
	if s.dead != nil {
		return s.dead
	}
	if !s.ending.IsZero() {
		return ErrClosed
	}
	return nil
}

// refuse denies a client for a reason of the protocol.
func (s *Session) refuse(text string, cause Cause) error {
	if err := s.Deny(s.now, text); err != nil {
		return err
	}
	return &ProtocolError{Cause: cause, Text: text}
}

// negotiateCipher walks our list and takes the first that the client has
// (openvpn's ssl_ncp.c); "" when there is none.
func (s *Session) negotiateCipher(peerOptions string) string {
	var theirs []string
	switch list, ok := s.peerInfo["IV_CIPHERS"]; {
	case ok:
		theirs = strings.Split(list, ":")
	case s.peerInfo["IV_NCP"] == "2":
		theirs = []string{"AES-256-GCM", "AES-128-GCM"}
	default:
		theirs = []string{occCipher(peerOptions)}
	}
	for _, c := range s.cfg.Ciphers {
		if slices.ContainsFunc(theirs, func(t string) bool { return strings.EqualFold(c, t) }) {
			return c
		}
	}
	return ""
}

// Deny answers Credentials, or ends an accepted session, with AUTH_FAILED (server).
func (s *Session) Deny(now time.Time, reason string) error {
	if err := s.over(); err != nil {
		return err
	}
	s.now = now
	k := s.keys[0]
	if k.ready.IsZero() {
		return errors.New("ovpn: nothing to deny")
	}
	text := "AUTH_FAILED"
	if reason != "" {
		text += "," + reason
	}
	err := k.send(s, append([]byte(text), 0))
	for id := range uint8(8) {
		s.data.retire(id) // no packet passes any more
	}
	s.end(now, denyTime)
	return err
}

// Push answers PushRequest (server). The session fills in peer-id, cipher and
// protocol-flags; everything else is the caller's.
func (s *Session) Push(now time.Time, reply push.Reply) error {
	if err := s.over(); err != nil {
		return err
	}
	if !s.accepted || s.configured {
		return errors.New("ovpn: push before accept, or twice")
	}
	s.now = now
	k := s.keys[0]
	reply.PeerID, reply.Cipher = int(s.cfg.PeerID), s.cipher.Name
	reply.TLSExport, reply.Flags = false, nil
	switch {
	case s.ccExit:
		reply.Flags = []string{"cc-exit"}
		if s.exporter {
			reply.Flags = append(reply.Flags, "tls-ekm")
		}
	case s.exporter:
		reply.TLSExport = true
	}
	if s.peerProto&protoDynTLSCrypt != 0 && s.canExport(k) {
		reply.Flags = append(reply.Flags, "dyn-tls-crypt")
		if err := s.startDynamic(k); err != nil {
			return s.die(err)
		}
	}
	for _, part := range pushMessages(reply.Options()) {
		if err := k.send(s, append([]byte(part), 0)); err != nil {
			return s.die(err)
		}
	}
	s.configured = true
	if err := k.install(s); err != nil {
		return s.die(err)
	}
	return nil
}

// pushBundle is the longest control message that peers take (common.h PUSH_BUNDLE_SIZE).
const pushBundle = 1024

// pushMessages cuts options into PUSH_REPLY messages with push-continuation.
func pushMessages(options []string) []string {
	const head, room = "PUSH_REPLY", pushBundle - len(",push-continuation 2") - 1
	var out []string
	cur := head
	for _, o := range options {
		if len(cur)+1+len(o) > room && cur != head {
			out = append(out, cur)
			cur = head
		}
		cur += "," + o
	}
	out = append(out, cur)
	if len(out) > 1 {
		for i := range out {
			if i < len(out)-1 {
				out[i] += ",push-continuation 2"
			} else {
				out[i] += ",push-continuation 1"
			}
		}
	}
	return out
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
	proto := protoDataV2 | protoRequestPush | protoCCExit
	if s.canExport(k) {
		proto |= protoTLSExport | protoDynTLSCrypt
	}
	var b strings.Builder
	// IV_VER is the protocol level that servers look at, not our own version.
	fmt.Fprintf(&b, "IV_VER=2.6.0\nIV_PROTO=%d\nIV_CIPHERS=%s\nIV_MTU=%d\nIV_TCPNL=1\n", proto, strings.Join(s.cfg.Ciphers, ":"), max(1600, s.cfg.MTU))
	if s.offers("AES-256-GCM") && s.offers("AES-128-GCM") {
		b.WriteString("IV_NCP=2\n")
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
