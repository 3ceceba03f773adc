package ovpn

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
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

// collect adds one message of a reply or an update that may come in parts;
// whole is true with the last one, and options are all of it.
func (s *Session) collect(rest string) (options []string, whole bool, err error) {
	s.partBytes += len(rest)
	if s.partBytes > maxPushBytes {
		return nil, false, &ProtocolError{Cause: CauseProtocol, Text: fmt.Sprintf("configuration larger than %d bytes", maxPushBytes)}
	}
	more := false
	for _, o := range push.SplitReply(rest) {
		if n, ok := strings.CutPrefix(o, "push-continuation "); ok {
			more = more || n == "2"
			continue
		}
		s.pushParts = append(s.pushParts, o)
	}
	if more {
		return nil, false, nil
	}
	options = s.pushParts
	s.pushParts, s.partBytes = nil, 0
	return options, true, nil
}

// pushReply collects the parts of a reply and, with the last one, brings the
// tunnel up.
func (s *Session) pushReply(k *key, rest string) error {
	if s.configured {
		s.latePush(rest)
		return nil
	}
	options, whole, err := s.collect(rest)
	if err != nil || !whole {
		return err
	}
	reply, err := push.Parse(options, s.cfg.Filter)
	if err != nil {
		return &ProtocolError{Cause: CauseRefusedPush, Text: "pushed configuration refused", Err: err}
	}
	for _, flag := range reply.Flags {
		if flag != "cc-exit" && flag != "tls-ekm" && flag != "aead-epoch" && (flag != "dyn-tls-crypt" || s.cfg.Classic || !s.canExport(k)) {
			return &ProtocolError{Cause: CauseProtocol, Text: fmt.Sprintf("server wants protocol flag %q, which was not offered", flag)}
		}
	}
	s.boundMTU(&reply)
	cipher, err := s.pickPushedCipher(reply.Cipher, k.peer.options)
	if err != nil {
		return err
	}
	asymmetric := s.ownID != wire.NoPeerID && s.peerID != wire.NoPeerID
	compress := s.cfg.Compress
	if reply.Compress != "" {
		compress = reply.Compress
	}
	// Without a peer id a server knows DATA_V1 only; ours and newer ones name one.
	s.setFormat(cipher, reply.PeerID < 0 && !asymmetric, slices.Contains(reply.Flags, "aead-epoch"), compress)
	if s.format.epoch != slices.Contains(reply.Flags, "aead-epoch") {
		return &ProtocolError{Cause: CauseProtocol, Text: "server wants epoch keys, which were not offered or do not fit"}
	}
	if s.exporter = reply.TLSExport; s.exporter && !s.canExport(k) {
		return &ProtocolError{Cause: CauseProtocol, Text: "server wants exported keys, which were not offered"}
	}
	s.ccExit = slices.Contains(reply.Flags, "cc-exit")
	if asymmetric {
		s.data.setPeerID(s.peerID) // each names its own; what is pushed does not count
	} else if reply.PeerID >= 0 {
		s.data.setPeerID(uint32(reply.PeerID))
	}
	s.setTimers(reply)
	s.configured, s.pushDue = true, time.Time{}
	s.token, s.tokenUser = reply.AuthToken, reply.TokenUser
	if s.dynamic = slices.Contains(reply.Flags, "dyn-tls-crypt"); s.dynamic {
		if err := s.startDynamic(k); err != nil {
			return err
		}
	}
	s.pushed = options
	if err := k.install(s); err != nil {
		return err
	}
	s.data.promote(k.id)
	k.promoted = true
	s.emit(PushReply{Reply: reply, Cipher: s.format.cipher.Name, Dynamic: s.dynamic})
	return nil
}

// pushUpdate applies a PUSH_UPDATE to the configuration, when all its parts are
// there (openvpn's options_util.c). What cannot be applied needs a new session.
func (s *Session) pushUpdate(rest string) error {
	if !s.configured {
		return nil // there is nothing to update; the reply will say it all
	}
	update, whole, err := s.collect(rest)
	if err != nil || !whole {
		return err
	}
	update, err = s.cfg.Filter.Update(s.pushed, update)
	if err != nil {
		return &ProtocolError{Cause: CauseRefusedPush, Text: "changed configuration refused", Err: err}
	}
	options, err := push.Merge(s.pushed, update)
	if err != nil {
		return &ProtocolError{Cause: CauseUpdate, Text: "the server changed what only a new session can take", Err: err}
	}
	reply, err := push.Parse(options, s.cfg.Filter)
	if err != nil {
		return &ProtocolError{Cause: CauseUpdate, Text: "changed configuration refused", Err: err}
	}
	s.boundMTU(&reply)
	s.pushed = options
	s.setTimers(reply)
	s.emit(PushUpdate{Reply: reply})
	return nil
}

// boundMTU takes of a tun-mtu what we announced at most, as openvpn does (init.c, do_deferred_options): a server pushes its
// own to everybody.
func (s *Session) boundMTU(reply *push.Reply) {
	if most := s.largestMTU(); reply.TunMTU > most {
		reply.Notes = append(reply.Notes, fmt.Sprintf("tun-mtu: the server has %d, this client takes %d at most", reply.TunMTU, most))
		reply.TunMTU = most
	}
}

// setTimers takes the keepalive and the farewell that a server pushed.
func (s *Session) setTimers(reply push.Reply) {
	if reply.Ping > 0 {
		s.ping = reply.Ping
	}
	if reply.PingRestart > 0 || reply.PingNever {
		s.silence = reply.PingRestart
	}
	s.exitNotify = s.cfg.ExitNotify || reply.ExitNotify > 0
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

// Forget drops the password that the session signed in with (client): it may hold a one-time code, or its
// owner wants it nowhere in memory. The user name stays. A token that the server gave goes on
// to serve; without one the next negotiation, whichever end begins it, ends the session with
// CauseForgotten before anything is sent in place of the password.
func (s *Session) Forget() {
	if s.cfg.Role == Client && s.cfg.Password != "" {
		s.cfg.Password, s.forgotten = "", true
	}
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
	if token == "" || strings.Contains(token.Reveal(), ",") {
		return errors.New("ovpn: not a token that can be pushed")
	}
	return s.Send(now, "PUSH_REPLY,auth-token "+token.Reveal())
}

// CanUpdate says whether the client takes PUSH_UPDATE (server).
func (s *Session) CanUpdate() bool {
	return s.cfg.Role == Server && s.configured && s.peerProto&protoPushUpdate != 0
}

// Update replaces the configuration of a running client (server). It sends what
// differs from the last one, which may be nothing. It fails and changes nothing
// when CanUpdate is false or the difference needs a new session.
func (s *Session) Update(now time.Time, reply push.Reply) error {
	if err := s.over(); err != nil {
		return err
	}
	if !s.CanUpdate() {
		return errors.New("ovpn: the client takes no changed configuration")
	}
	want := s.complete(reply).Options()
	update, ok := push.Difference(s.pushed, want)
	if !ok {
		return errors.New("ovpn: the change needs a new session")
	}
	if err := checkOptions(update); err != nil {
		return err
	}
	if len(update) > 0 {
		s.now = now
		if err := s.say(pushMessages("PUSH_UPDATE", update)...); err != nil {
			return err
		}
	}
	s.pushed = want
	return nil
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
	options := s.complete(reply).Options()
	if err := checkOptions(options); err != nil {
		return err
	}
	k := s.keys[0]
	if s.dynamic {
		if err := s.startDynamic(k); err != nil {
			return s.die(err)
		}
	}
	s.pushed = options
	for _, part := range pushMessages("PUSH_REPLY", s.pushed) {
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

// complete fills in what the session settles by itself (openvpn's push.c,
// prepare_push_reply).
func (s *Session) complete(reply push.Reply) push.Reply {
	reply.PeerID, reply.Cipher = int(s.cfg.PeerID), s.format.cipher.Name
	if s.peerID != wire.NoPeerID || s.peerProto&protoDataV2 == 0 {
		reply.PeerID = -1
	}
	if names, _ := peerCiphers(s.peerInfo); len(names) == 0 {
		reply.Cipher = "" // it would not understand
	}
	if most, err := strconv.Atoi(s.peerInfo["IV_MTU"]); err != nil {
		reply.TunMTU = 0
	} else {
		reply.TunMTU = min(reply.TunMTU, max(most, 0))
	}
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
	if s.dynamic {
		reply.Flags = append(reply.Flags, "dyn-tls-crypt")
	}
	if s.format.epoch {
		reply.Flags = append(reply.Flags, "aead-epoch")
	}
	reply.Compress = s.format.compress
	return reply
}

// pushBundle is the longest control message that peers take (common.h PUSH_BUNDLE_SIZE).
const pushBundle = 1024

// pushRoom is what of a message is left for options and its head.
const pushRoom = pushBundle - len(",push-continuation 2") - 1

// checkOptions refuses options that no client would read.
func checkOptions(options []string) error {
	for _, o := range options {
		name, _, _ := strings.Cut(o, " ")
		switch {
		case len("PUSH_UPDATE,")+len(o) > pushRoom:
			return fmt.Errorf("ovpn: option %s of %d bytes is too long to be pushed", name, len(o))
		case strings.ContainsFunc(o, unprintable):
			return fmt.Errorf("ovpn: control character in option %s", name)
		}
	}
	return nil
}

// pushMessages cuts options into messages of one kind with push-continuation.
func pushMessages(head string, options []string) []string {
	var out []string
	cur := head
	for _, o := range options {
		if len(cur)+1+len(o) > pushRoom && cur != head {
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
