package ovpn

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// The life of keys: how the next one begins, takes over, or fails.

// keyFor finds the key that c belongs to; a soft reset makes the next one.
func (s *Session) keyFor(c wire.Control, now time.Time) *key {
	for _, k := range s.keys {
		if k.id == c.KeyID {
			return k
		}
	}
	// Any free id will do: the ends count differently after a negotiation that
	// only one of them saw fail.
	if c.Op == wire.SoftResetV1 && c.KeyID != 0 && c.ID == 0 && s.keys[0].done() && s.configured && s.ending.IsZero() && !s.hasty(now) {
		s.nextKeyID = c.KeyID
		k := s.newKey(now)
		k.rel.queue(wire.SoftResetV1, nil)
		return k
	}
	return nil
}

// resetPause is how soon a client may begin a key after the last attempt at one: each costs a server a TLS handshake.
const resetPause = 2 * time.Second

// hasty says that a client's reset comes too soon; it will repeat it. A key that is nearly used up is not made to wait.
func (s *Session) hasty(now time.Time) bool {
	return s.cfg.Role == Server && now.Sub(s.rekeyed) < resetPause && !s.data.exhausted()
}

// newKey makes the next key the newest one; a third one is dropped.
func (s *Session) newKey(now time.Time) *key {
	k := &key{id: s.nextKeyID, started: now, deadline: now.Add(s.cfg.HandWindow), rel: reliable{timeout: s.cfg.TLSTimeout}}
	// ssl_pkt.c, write_control_auth: SoftEther
	k.rel.few = s.cfg.Role == Client && s.cfg.Wrap == nil && !s.exporter
	s.nextKeyID = s.nextKeyID%7 + 1 // 0, then 1..7 for ever
	if len(s.keys) > 0 {
		s.rekeyed = now
		old := s.keys[0]
		if old.expires.IsZero() { // a failed attempt before this one does not prolong it
			old.expires = now.Add(s.cfg.TranWindow)
		}
		if old.installed && !old.promoted {
			// The peer goes on from it, so it has it; the key that sends now may be dropped.
			s.data.promote(old.id)
			old.promoted = true
		}
	}
	s.keys = append([]*key{k}, s.keys...)
	for len(s.keys) > 2 {
		s.dropKey(len(s.keys) - 1)
	}
	return k
}

func (s *Session) dropKey(i int) {
	k := s.keys[i]
	s.data.retire(k.id)
	k.close()
	s.keys = append(s.keys[:i:i], s.keys[i+1:]...)
}

// advance lets k go as far as what arrived allows.
func (s *Session) advance(k *key) error {
	err := k.advance(s)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errPeerEnded) || s.dead != nil:
		return s.die(err)
	case k != s.keys[0]:
		// The control channel of an old key is over; its data key serves on.
		k.close()
		return fmt.Errorf("%w: old key: %w", ErrDropped, err)
	case len(s.keys) > 1 && !k.done():
		s.flush() // the alert
		if err := s.giveUp(err); err != nil {
			return err
		}
		return fmt.Errorf("%w: renegotiation failed: %w", ErrDropped, err)
	}
	return s.die(err)
}

// giveUp drops the negotiation under way and stays on the old key, which keeps
// the end of its life; another attempt comes later.
func (s *Session) giveUp(err error) error {
	if k := s.keys[0]; !k.synced {
		s.nextKeyID = k.id // the peer has not heard of it
	}
	s.dropKey(0)
	if err := s.outlived(err); err != nil {
		return err
	}
	// Not at the same time as the peer, whose attempt may be what ours collided with.
	s.renegotiate = s.now.Add(s.cfg.HandWindow/2 + rand.N(s.cfg.HandWindow))
	s.volume.due = time.Time{} // that attempt tries again anyway
	if err := s.sendWaiting(); err != nil {
		return s.die(err)
	}
	return nil
}

// outlived ends a session whose only data key is too old: nothing replaced it in
// time, for instance because the peer's certificate was revoked.
func (s *Session) outlived(err error) error {
	if k := s.keys[0]; k.done() && !k.expires.IsZero() && !k.expires.After(s.now) {
		return s.die(&ProtocolError{Cause: CauseKeys, Text: "the data key expired and no renegotiation succeeded", Err: err})
	}
	return nil
}

// promote moves sending to a new key once the peer is known to have it.
func (s *Session) promote(now time.Time) {
	due := s.promoteDue()
	if due.IsZero() || due.After(now) {
		return
	}
	k := s.keys[0]
	s.data.promote(k.id)
	k.promoted = true
	if len(s.keys) > 1 && s.cfg.Role == Client {
		// Shows the server the new key, so that it moves too.
		s.says = append(s.says, pingPayload())
	}
}

// promoteDue is when the peer is taken to have the newest key: it used the key itself, or enough time passed since it
// confirmed its message. The zero time means never, or not before it does so, of which Handle or Data's Wake tell.
func (s *Session) promoteDue() time.Time {
	k := s.keys[0]
	switch {
	case !k.installed || k.promoted:
		return time.Time{}
	case s.data.openedWith(k.id):
		return past
	case !k.rel.empty():
		return time.Time{}
	case len(s.keys) == 1:
		return past
	}
	wait, since := promoteMax, k.ready
	switch {
	case s.cfg.Role == Server:
		// The client moves first; wait for it, in case its half is not ready.
		wait = 5 * promoteMax
		since = later(since, k.accepted)
	case s.cfg.Password != "" || s.token != "" || s.forgotten:
		// The server may think about the credentials for as long as openvpn does
		// (ssl.c, auth_deferred_expire_window), and refuses the new key until then.
		if wait = s.cfg.HandWindow; s.cfg.Renegotiate > 0 {
			wait = min(wait, s.cfg.Renegotiate/2)
		}
	}
	return since.Add(wait)
}

// interval is how long the next key serves; a server spreads its clients
// (openvpn's init.c, auto_jitter).
func (s *Session) interval() time.Duration {
	low := s.cfg.RenegotiateMin
	if low <= 0 && s.cfg.Role == Server {
		low = s.cfg.Renegotiate / 10 * 9
	}
	spread := s.cfg.Renegotiate - low
	if low <= 0 || spread <= 0 {
		return s.cfg.Renegotiate
	}
	return s.cfg.Renegotiate - rand.N(spread)
}

// volume is how much traffic had passed when the newest key began, for the limits
// of reneg-bytes and reneg-pkts; due is when to look again.
type volume struct {
	bytes, packets uint64
	due            time.Time
}

// volumePoll is how often the limits are looked at; openvpn does it about as often.
const volumePoll = time.Second

// traffic is the sum of both directions.
func (s *Session) traffic() volume {
	c := s.data.Counters()
	return volume{bytes: c.Bytes(), packets: c.RxPackets + c.TxPackets}
}

func (s *Session) restartVolume() {
	if s.cfg.RenegotiateBytes > 0 || s.cfg.RenegotiatePackets > 0 {
		s.volume = s.traffic()
		s.volume.due = s.now.Add(volumePoll)
	}
}

// worn says whether it is time for a new key: by the clock, by the traffic, or
// because the data key is nearly used up.
func (s *Session) worn(now time.Time) bool {
	if s.data.exhausted() || !s.renegotiate.IsZero() && !s.renegotiate.After(now) {
		return true
	}
	if s.volume.due.IsZero() || s.volume.due.After(now) {
		return false
	}
	s.volume.due = now.Add(volumePoll)
	t := s.traffic()
	bytes, packets := uint64(s.cfg.RenegotiateBytes), uint64(s.cfg.RenegotiatePackets)
	return bytes > 0 && t.bytes-s.volume.bytes >= bytes || packets > 0 && t.packets-s.volume.packets >= packets
}

// Renegotiate starts a new key now. It does nothing while one is under way, or before the peer is known to have the
// one before.
func (s *Session) Renegotiate(now time.Time) error {
	if s.dead != nil {
		return s.dead
	}
	s.now = now
	s.promote(now) // data may know more than the last tick did
	if k := s.keys[0]; !k.done() || !k.promoted || !s.configured || !s.ending.IsZero() {
		return nil
	}
	s.renegotiate, s.volume.due = time.Time{}, time.Time{}
	s.newKey(now).rel.queue(wire.SoftResetV1, nil)
	return nil
}
