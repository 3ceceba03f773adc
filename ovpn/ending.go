package ovpn

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// What the owner says to the peer, and how a session ends.

// Timing of the end.
const (
	lingerTime = time.Second     // for the last message to be acknowledged
	denyTime   = 3 * time.Second // the same for AUTH_FAILED, which saves the client a minute
	hurry      = 150 * time.Millisecond
)

// Bounds of what waits for a key. A configuration sent in parts (PUSH_UPDATE) must fit.
const (
	maxOutbox      = 1024
	maxOutboxBytes = 256 << 10
)

// outbox holds messages while a key is being negotiated: openvpn takes none on the
// old key from then on, in either role (ssl.c, tls_pre_decrypt: "key IDs out of
// sync"), and keeps its own back, too (tls_send_payload).
type outbox struct {
	messages []string
	bytes    int
}

func (o *outbox) empty() bool { return len(o.messages) == 0 }

// add takes all of messages or none.
func (o *outbox) add(messages []string) error {
	n := o.bytes
	for _, m := range messages {
		n += len(m)
	}
	if len(o.messages)+len(messages) > maxOutbox || n > maxOutboxBytes {
		return fmt.Errorf("ovpn: no room for another %d messages until the key negotiation is over: %d wait", len(messages), len(o.messages))
	}
	o.messages, o.bytes = append(o.messages, messages...), n
	return nil
}

// Send sends one control message, for instance "RESTART,reason": printable, at most 1023 bytes.
// While a new key is being negotiated, the message waits for it; an error says that too many do.
func (s *Session) Send(now time.Time, message string) error {
	if err := s.over(); err != nil {
		return err
	}
	if err := controlText(message); err != nil {
		return err
	}
	s.now = now
	return s.say(message)
}

// say sends messages on the newest key, in order, once it can carry them.
func (s *Session) say(messages ...string) error {
	k := s.keys[0]
	switch {
	case !s.configured && !k.done():
		return errors.New("ovpn: control channel not established")
	case k.ready.IsZero():
		return s.outbox.add(messages)
	}
	for _, m := range messages {
		if err := k.send(s, append([]byte(m), 0)); err != nil {
			return err
		}
	}
	return nil
}

// sendWaiting sends what waited for a key: the newest one carries messages now, or
// its negotiation was given up.
func (s *Session) sendWaiting() error {
	messages := s.outbox.messages
	s.outbox = outbox{}
	return s.say(messages...)
}

// end lets the last messages arrive, for d at most. They are repeated faster
// than usual, since little time is left.
func (s *Session) end(now time.Time, d time.Duration) {
	s.ending = now.Add(d)
	for _, k := range s.keys {
		k.rel.hurry(now, hurry)
	}
}

// quiet says that the peer has confirmed everything.
func (s *Session) quiet() bool {
	return s.outbox.empty() && !slices.ContainsFunc(s.keys, func(k *key) bool { return !k.rel.empty() })
}

// Close tells the peer (when exit notification is on) and ends the session.
// Drain NextPacket once more after it, and Tick until it returns an error.
func (s *Session) Close(now time.Time) {
	if s.dead != nil || !s.ending.IsZero() {
		return
	}
	s.now = now
	switch {
	case s.established.IsZero():
	case s.cfg.Role == Server && !s.cfg.PointToPoint:
		// What the owner said last (RESTART, HALT) shall arrive.
		s.end(now, lingerTime)
		return
	case s.configured && s.ccExit && s.Send(now, "EXIT") == nil:
		if !s.outbox.empty() && !s.cfg.Stream {
			s.sealExit(now) // the negotiation may not be over in time
		}
		s.end(now, lingerTime)
		return
	case s.configured && s.exitNotify && !s.cfg.Stream:
		s.sealExit(now)
	}
	s.die(ErrClosed)
}

// sealExit says goodbye in the data channel. OCC exit may be lost; three of them seldom are.
func (s *Session) sealExit(now time.Time) {
	for range 3 {
		if p := s.data.sealControl(now, exitPayload()); p != nil {
			s.acks = append(s.acks, p)
		}
	}
}

// Abort ends the session at once, without a word to the peer, and frees what it
// holds. After any other end it does nothing.
func (s *Session) Abort() { s.die(ErrClosed) }

// die ends the session; what is still queued (a TLS alert) may be sent.
func (s *Session) die(err error) error {
	if s.dead == nil {
		s.dead = err
		s.outbox, s.says = outbox{}, nil
		s.flush()
		for _, k := range s.keys {
			k.close()
		}
		for id := range uint8(8) {
			s.data.retire(id)
		}
	}
	return s.dead
}

// flush makes the last packets of a dying session; nothing is sent twice.
func (s *Session) flush() {
	for len(s.keys) > 0 {
		c, ok := s.keys[0].rel.next(s.now)
		if !ok {
			return
		}
		s.acks = append(s.acks, s.packet(s.keys[0], c))
	}
}
