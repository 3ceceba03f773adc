package ovpn

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// The configuration that a server gives its client.

// maxPushBytes bounds a PUSH_REPLY over all its parts.
const maxPushBytes = 1 << 20

// askPush asks the owner for the configuration, once and not before Accept.
func (s *Session) askPush() {
	s.pushWanted = true
	if s.accepted && !s.pushAsked {
		s.pushAsked = true
		s.emit(PushRequest{})
	}
}

// pushReply collects the parts of a reply and, with the last one, brings the
// tunnel up.
func (s *Session) pushReply(k *key, rest string) error {
	if s.configured {
		s.latePush(rest)
		return nil
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
	s.token, s.tokenUser = reply.AuthToken, reply.TokenUser
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

// latePush handles a PUSH_REPLY after the configuration: a repetition, or a
// server's fresh auth-token (openvpn's push.c, send_push_reply_auth_token).
func (s *Session) latePush(rest string) {
	options := push.SplitReply(rest)
	if len(options) == 0 || slices.ContainsFunc(options, func(o string) bool { return !strings.HasPrefix(o, "auth-token") }) {
		return
	}
	reply, err := push.Parse(options, s.cfg.Filter)
	if err != nil || reply.AuthToken == "" {
		return
	}
	s.token = reply.AuthToken
	if reply.TokenUser != "" {
		s.tokenUser = reply.TokenUser
	}
	s.emit(AuthToken{Token: s.token, User: s.tokenUser})
}

// credentials are what a client says about itself: its own, or the token that
// the server gave it.
func (s *Session) credentials() (user string, password push.Secret) {
	user, password = s.cfg.Username, s.cfg.Password
	if s.token != "" {
		password = s.token
		if s.tokenUser != "" {
			user = s.tokenUser
		}
	}
	return user, password
}

// PushToken gives the client a fresh auth-token, for instance after a
// renegotiation (server).
func (s *Session) PushToken(now time.Time, token push.Secret) error {
	if err := s.over(); err != nil {
		return err
	}
	if s.cfg.Role != Server || !s.configured {
		return errors.New("ovpn: token before the configuration")
	}
	if err := controlText(token.Reveal()); err != nil || token == "" || strings.Contains(token.Reveal(), ",") {
		return errors.New("ovpn: not a token that can be pushed")
	}
	return s.Send(now, "PUSH_REPLY,auth-token "+token.Reveal())
}

// CanUpdate says whether the client takes PUSH_UPDATE (server).
func (s *Session) CanUpdate() bool { return false }

// Update replaces the configuration of a running client (server). It fails, and
// changes nothing, when CanUpdate is false.
func (s *Session) Update(now time.Time, reply push.Reply) error {
	return errors.New("ovpn: the client takes no changed configuration")
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
	if s.peerProto&protoDynTLSCrypt != 0 && !s.cfg.Classic && s.canExport(k) {
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
