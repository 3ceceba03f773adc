package ovpn

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// rekeying is a server that waits for its client to use, or confirm, a second key; the packets of the first one's data are open.
func rekeying(t *testing.T, now time.Time) *Session {
	t.Helper()
	s, err := New(now, Config{Role: Server, TLS: &tls.Config{}})
	if err != nil {
		t.Fatal(err)
	}
	old := s.keys[0]
	old.ready, old.authorized, old.installed, old.promoted = now, true, true, true
	old.synced, s.configured, s.heard = true, true, true
	k := s.newKey(now)
	k.ready, k.authorized, k.installed, k.accepted = now, true, true, now
	k.rel.queue(wire.ControlV1, []byte("x"))
	return s
}

// A peer that never confirms a new key costs what repeating the last packet does.
func TestUnconfirmedKeyIsNoPoll(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := rekeying(t, now)
	ticks := 0
	for end := now.Add(time.Minute); now.Before(end); ticks++ {
		for s.NextPacket(now) != nil {
		}
		now = s.Deadline()
		if err := s.Tick(now); err != nil {
			t.Fatal(err)
		}
	}
	if ticks > 10 || s.keys[0].promoted {
		t.Errorf("woke %d times in a minute; moved to the key: %v", ticks, s.keys[0].promoted)
	}
	s.keys[0].rel.acked([]uint32{0})
	if err := s.Tick(s.Deadline()); err != nil || !s.keys[0].promoted {
		t.Errorf("confirmed, and the server does not use the key: %v", err)
	}
}

// A client may begin a key each two seconds, whether its attempts succeed or not.
func TestClientsPauseBetweenKeys(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := rekeying(t, now)
	reset := wire.Control{Op: wire.SoftResetV1, KeyID: s.nextKeyID}
	if k := s.keyFor(reset, now.Add(resetPause-1)); k != nil {
		t.Error("a key begins at once")
	}
	now = now.Add(resetPause)
	if k := s.keyFor(reset, now); k == nil || k != s.keys[0] {
		t.Fatal("no key after the pause")
	}
	s.now = now
	if err := s.giveUp(errors.New("TLS failed")); err != nil {
		t.Fatal(err)
	}
	if k := s.keyFor(reset, now.Add(resetPause/2)); k != nil {
		t.Error("a key begins at once after one that failed")
	}
	if k := s.keyFor(reset, now.Add(resetPause)); k == nil {
		t.Error("no key after one that failed")
	}
}
