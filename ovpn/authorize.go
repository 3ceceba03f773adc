package ovpn

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The server's owner decides: Accept, Deny, Pending.

// Accept answers Credentials of one key: the peer may use the tunnel (server).
// An answer for a key that is gone is ignored. A *ProtocolError means that the
// peer may not after all: no common cipher.
func (s *Session) Accept(now time.Time, keyID uint8) error {
	if err := s.over(); err != nil {
		return err
	}
	s.now = now
	if s.cfg.Role != Server {
		return errors.New("ovpn: a client accepts nobody")
	}
	k := s.waiting(keyID)
	if k == nil {
		return nil
	}
	if s.accepted {
		k.authorized, k.accepted = true, now
		return k.install(s)
	}
	if s.cfg.PointToPoint {
		k.authorized, k.accepted, s.accepted = true, now, true
		return s.agreePeers(k)
	}
	if err := s.agree(k); err != nil {
		return err
	}
	k.authorized, k.accepted, s.accepted = true, now, true
	s.pushBy = later(s.pushBy, now.Add(s.cfg.HandWindow))
	if s.peerProto&protoRequestPush != 0 || s.pushWanted {
		s.askPush()
	}
	return nil
}

// waiting is the key whose credentials are not answered yet, if it has this id.
func (s *Session) waiting(keyID uint8) *key {
	i := slices.IndexFunc(s.keys, func(k *key) bool { return k.id == keyID && !k.ready.IsZero() && !k.authorized })
	if i < 0 {
		return nil
	}
	return s.keys[i]
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

// challengeMax is the longest AUTH_FAILED with a challenge, its NUL included. AWS's carry
// an address of 2.5 kB, which a stock client cuts at 1012 bytes and AWS's does not. One
// TLS record holds it.
const challengeMax = 8 << 10

// Deny answers Credentials, or ends an accepted session, with AUTH_FAILED
// (server). The session is over: no packet passes any more.
// The message goes on the newest key, since clients read no other, and waits for it if need be.
// It is cut at 1023 bytes, a challenge ("CRV1:…") at 8191.
func (s *Session) Deny(now time.Time, reason string) error {
	if err := s.over(); err != nil {
		return err
	}
	s.now = now
	text := "AUTH_FAILED"
	if reason != "" {
		text += "," + strings.Map(func(r rune) rune {
			if unprintable(r) {
				return ' ' // the client would drop the whole message
			}
			return r
		}, reason)
	}
	limit := pushBundle
	if strings.HasPrefix(reason, "CRV1:") {
		limit = challengeMax
	}
	if len(text) >= limit {
		text = strings.ToValidUTF8(text[:limit-1], "")
	}
	var err error
	switch k := s.keys[0]; {
	case !k.ready.IsZero():
		err = k.send(s, append([]byte(text), 0))
	case s.configured:
		err = s.say(text)
	default:
		return errors.New("ovpn: nothing to deny")
	}
	for id := range uint8(8) {
		s.data.retire(id)
	}
	s.end(now, denyTime)
	return err
}

// Pending tells a client that its authentication goes on elsewhere and gives it
// timeout from now, within the bounds of openvpn's push.c
// (send_auth_pending_messages): half the renegotiation interval or the hand
// window, whichever is longer, from the start of the handshake. Info is what the client shall
// do, for instance "WEB_AUTH::https://…"; empty for nothing (server).
func (s *Session) Pending(now time.Time, timeout time.Duration, info string) error {
	if err := s.over(); err != nil {
		return err
	}
	i := slices.IndexFunc(s.keys, func(k *key) bool { return !k.ready.IsZero() && !k.authorized })
	if i < 0 || s.cfg.Role != Server {
		return errors.New("ovpn: no authentication is under way")
	}
	if err := controlText("INFO_PRE," + info); err != nil {
		return err
	}
	s.now = now
	k := s.keys[i]
	left := s.pendingMax() - now.Sub(k.started)
	if left <= 0 {
		return errors.New("ovpn: the authentication took too long already")
	}
	timeout = min(timeout, left)
	text := "AUTH_PENDING"
	if s.peerProto&protoPendingWord != 0 {
		text = fmt.Sprintf("AUTH_PENDING,timeout %d", timeout/time.Second)
	}
	if err := k.send(s, append([]byte(text), 0)); err != nil {
		return s.die(err)
	}
	if info != "" {
		if err := k.send(s, append([]byte("INFO_PRE,"+info), 0)); err != nil {
			return s.die(err)
		}
	}
	k.deadline = later(k.deadline, now.Add(timeout))
	if !s.configured {
		s.pushBy = later(s.pushBy, now.Add(timeout))
	}
	return nil
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// unprintable characters have no place in a message (CVE-2024-5594).
func unprintable(r rune) bool { return r < ' ' || r == 0x7f }

// controlText checks what an owner wants to send as one message.
func controlText(text string) error {
	switch {
	case strings.ContainsFunc(text, unprintable):
		return errors.New("ovpn: control character in a message")
	case len(text) > pushBundle-1:
		return fmt.Errorf("ovpn: message of %d bytes is too long", len(text))
	}
	return nil
}
