package ovpn

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// Session is one peer's control channel, in either role. One goroutine at a
// time; the caller passes now. After a *ProtocolError it is dead; after a
// dropped packet (errors.Is ErrDropped) it is not.
//
// A client's steps:
//  1. HARD_RESET_CLIENT_V2 out (V3 with tls-crypt-v2), HARD_RESET_SERVER_V2 in (session.go, key.go)
//  2. TLS handshake in CONTROL_V1 packets (tls.go, reliable.go)
//  3. key-method 2 out, the server's in: Established (keymethod.go, key.go)
//  4. PUSH_REQUEST out, PUSH_REPLY in: data keys, PushReply (message.go)
//
// A server's steps:
//  1. Gate answers the reset without state (gate.go); on TCP the Session does
//  2. TLS handshake
//  3. key-method 2 in, own one out: Established, Credentials; Accept or Deny
//  4. PushRequest; Push: PUSH_REPLY out, data keys
//
// Either side may start step 2 again with a SOFT_RESET_V1 and the next key id;
// the old key serves until the new one is known to work on both sides.
type Session struct {
	cfg  Config
	wrap wrap.Wrapper // of the first key's packets; nil: no protection
	next wrap.Wrapper // of all later keys' packets: dynamic tls-crypt; nil: wrap serves them too
	data *Data
	now  time.Time // of the current call; TLS reads it

	local, remote wire.SessionID
	keys          []*key // newest first: the one in negotiation or use, then the old one
	nextKeyID     uint8

	format     dataFormat
	exporter   bool // data keys come from the TLS exporter
	dynamic    bool // dynamic tls-crypt for later keys
	configured bool // push reply received or sent
	accepted   bool // server: the owner said yes once
	pushWanted bool // server: the client asked
	pushAsked  bool // server: PushRequest was emitted
	ccExit     bool // peer takes EXIT as a control message
	peerProto  uint32
	ownID      uint32 // the peer id that we want to receive, announced as ID=; NoPeerID = none
	peerID     uint32 // the one that the peer wants; NoPeerID = it did not say
	peerInfo   map[string]string

	established   time.Time     // of the first key
	pushBy        time.Time     // configured by then, or the session ends
	pushDue       time.Time     // client: next PUSH_REQUEST
	pushed        []string      // the options in force, as pushed
	pushParts     []string      // client: PUSH_REPLY or PUSH_UPDATE under way
	partBytes     int           //
	lastHeard     time.Time     // any authentic packet
	ping, silence time.Duration // keepalive in force
	exitNotify    bool          // say goodbye with OCC
	pinged        time.Time     // when a ping was due last
	heard         bool          // any authentic packet at all
	received      uint64        // messages, each once
	rekeyed       time.Time     // when the last attempt at another key began
	renegotiate   time.Time     // when we start a new key ourselves
	volume        volume        // inner traffic before the newest key
	token         push.Secret   // client: pushed auth-token, instead of the password
	tokenUser     string        // client: pushed auth-token-user
	forgotten     bool          // client: Forget was called

	acks   [][]byte // packets made outside a key
	says   [][]byte // in the data channel, not sealed yet
	outbox outbox   // messages for the key that is being negotiated
	events []Event
	dead   error
	ending time.Time // Close or Deny was called: dead at this time at the latest
}

// Timing of the push and of a new key.
const (
	pushFirst  = 0
	pushRepeat = 5 * time.Second
	promoteMax = 2 * time.Second
)

// Sizes of control packets (openvpn's ssl.c, calc_control_channel_frame_overhead).
const (
	minPayload   = 16     // what one carries at least, whatever the size limit
	maxPacket    = 2048   // peers read no larger ones (common.h, TLS_CHANNEL_BUF_SIZE)
	datagramHead = 40 + 8 // IPv6 and UDP, which the limit counts as well
)

// past is a deadline that is always due.
var past = time.Unix(0, 1)

// New starts a session. A client's first packet is ready at once.
func New(now time.Time, cfg Config) (*Session, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Auth = orDefault(cfg.Auth, "SHA1")
	cfg.MTU = orDefault(cfg.MTU, 1500)
	cfg.PacketSize = max(orDefault(cfg.PacketSize, 1250), 154)
	cfg.ReplayWindow = orDefault(cfg.ReplayWindow, 64)
	cfg.HandWindow = orDefault(cfg.HandWindow, 60*time.Second)
	cfg.TranWindow = orDefault(cfg.TranWindow, 3600*time.Second)
	cfg.TLSTimeout = orDefault(cfg.TLSTimeout, 2*time.Second)
	cfg.KeyMessage = orDefault(cfg.KeyMessage, maxKeyMessage)
	s := &Session{cfg: cfg, now: now, lastHeard: now, ping: cfg.Ping, silence: cfg.PingRestart, exitNotify: cfg.ExitNotify}
	s.cfg.TLS = cfg.TLS.Clone()
	s.cfg.TLS.Time = func() time.Time { return s.now }
	s.cfg.TLS.SessionTicketsDisabled = true
	s.cfg.TLS.DynamicRecordSizingDisabled = true // openvpn takes one record for one message, key-method 2 too
	if s.cfg.TLS.MinVersion == 0 {
		s.cfg.TLS.MinVersion = tls.VersionTLS12
	}
	s.ownID, s.peerID = wire.NoPeerID, wire.NoPeerID
	peerID := uint32(wire.NoPeerID)
	if cfg.Role == Server {
		peerID = cfg.PeerID
	}
	if cfg.Role == Client && !cfg.Classic {
		s.ownID = mathrand.Uint32N(wire.NoPeerID)
	}
	s.data = newData(cfg.Role, peerID, replayLimit{packets: cfg.ReplayWindow, time: cfg.ReplayTime})

	firstID := uint32(1)
	greeted := cfg.Hello != nil && cfg.Hello.Server != wire.SessionID{}
	if greeted {
		s.local, s.remote = cfg.Hello.Server, cfg.Hello.Client
		firstID = 2 // the Gate's reset had 1
	} else {
		rand.Read(s.local[:])
	}
	if cfg.Wrap != nil {
		s.wrap = cfg.Wrap.New(cfg.Role == Server, firstID)
	}
	k := s.newKey(now)
	switch {
	case cfg.Role == Client && cfg.Wrap != nil && cfg.Wrap.Trailer() > 0:
		k.rel.queue(wire.HardResetClientV3, nil)
	case cfg.Role == Client:
		k.rel.queue(wire.HardResetClientV2, nil)
	case greeted:
		k.rel.expect, k.rel.nextID = 1, 1 // both resets are behind us
		k.synced = true
		k.startTLS(s)
	}
	return s, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Data is the packet crypto; it exists from the start and passes packets once
// keys are installed.
func (s *Session) Data() *Data { return s.data }

// Peer is the peer's session id, zero before its first packet.
func (s *Session) Peer() wire.SessionID { return s.remote }

// Heard says whether any authentic packet has come from the peer.
func (s *Session) Heard() bool { return s.heard }

// Received is how many messages of the peer have arrived, each counted once: a peer that repeats what it said, or
// only acknowledges, goes no further.
func (s *Session) Received() uint64 { return s.received }

// Handle takes one control packet (any opcode but data), borrowed for the call.
func (s *Session) Handle(now time.Time, packet []byte) error {
	if s.dead != nil {
		return s.dead
	}
	s.now = now
	// The sender's id is in clear: another session's packet, authentic by the same
	// shared key, must not move the replay window.
	if id := (wire.SessionID{}); s.remote != id && len(packet) > len(id) {
		if copy(id[:], packet[1:]); id != s.remote {
			return fmt.Errorf("%w: from session %s, expected %s", ErrDropped, id, s.remote)
		}
	}
	c, err := s.unwrap(packet)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDropped, err)
	}
	if err := s.admit(c); err != nil {
		return err
	}
	if err := s.checkClientKey(); err != nil {
		return s.die(err)
	}
	k := s.keyFor(c, now)
	if k == nil {
		return fmt.Errorf("%w: opcode %d for unknown key %d", ErrDropped, c.Op, c.KeyID)
	}
	s.lastHeard, s.heard = now, true
	k.rel.acked(c.Acks)
	if c.Op != wire.AckV1 {
		if k.rel.receive(c.Op, c.ID, c.Payload) {
			s.received++
		}
	}
	if !s.ending.IsZero() && (s.outbox.empty() || k != s.keys[0]) {
		return nil // only acknowledgements count now
	}
	if err := s.advance(k); err != nil || !s.ending.IsZero() {
		return err
	}
	s.promote(now)
	return nil
}

// admit checks the session ids. A peer's first reset fixes its id.
func (s *Session) admit(c wire.Control) error {
	var zero wire.SessionID
	if len(c.Acks) > 0 && c.Peer != s.local {
		return fmt.Errorf("%w: acknowledges session %s, ours is %s", ErrDropped, c.Peer, s.local)
	}
	if s.remote != zero {
		if c.Session != s.remote {
			return fmt.Errorf("%w: from session %s, expected %s", ErrDropped, c.Session, s.remote)
		}
		return nil
	}
	want := wire.HardResetServerV2
	if s.cfg.Role == Server {
		if want = wire.HardResetClientV2; clientKeyKnown(s.wrap) {
			want = wire.HardResetClientV3
		}
	}
	if c.Op != want || c.KeyID != 0 || c.Session == zero {
		return fmt.Errorf("%w: opcode %d before the reset", ErrDropped, c.Op)
	}
	if c.ID != 0 {
		// Some peers (MikroTik) do not begin at 0. Nothing came before the reset.
		s.keys[0].rel.expect = c.ID
	}
	s.remote = c.Session
	return nil
}

// Collecting is how many bytes of the peer's first message inside TLS are kept until the rest of it has come.
func (s *Session) Collecting() (n int) {
	for _, k := range s.keys {
		n += cap(k.plain)
	}
	return n
}

// Prepare calculates what a client will say when the server answers its first packet: part of a millisecond that is
// free while that answer is on its way. Nobody has to call it; a second call, and a server's, does nothing.
func (s *Session) Prepare() {
	if s.dead == nil {
		s.keys[0].prepare(s)
	}
}

// NextMessage returns what the session has to say next in the data channel, for Data.SealMessage, or nil. Take it
// before NextPacket, which seals what is left, when other packets could be sealed later and leave before.
func (s *Session) NextMessage() []byte {
	if len(s.says) == 0 {
		return nil
	}
	m := s.says[0]
	if s.says = s.says[1:]; len(s.says) == 0 {
		s.says = nil
	}
	return m
}

// NextPacket returns the next packet to send, or nil. It is the caller's to keep.
// Drain it after every other call.
func (s *Session) NextPacket(now time.Time) []byte {
	for m := s.NextMessage(); m != nil; m = s.NextMessage() {
		s.acks = append(s.acks, s.data.sealMessage(now, m)...)
	}
	if len(s.acks) > 0 {
		p := s.acks[0]
		if s.acks = s.acks[1:]; len(s.acks) == 0 {
			s.acks = nil
		}
		return p
	}
	if s.dead != nil {
		return nil
	}
	s.now = now
	for _, k := range s.keys {
		if c, ok := k.rel.next(now); ok {
			return s.packet(k, c)
		}
	}
	return nil
}

// packet puts one control packet into its final form.
func (s *Session) packet(k *key, c wire.Control) []byte {
	c.KeyID, c.Session, c.Peer = k.id, s.local, s.remote
	plain := wire.AppendControl(make([]byte, 0, 64+len(c.Payload)), c)
	w := s.wrapOf(c.KeyID)
	if w == nil {
		return plain
	}
	return w.Wrap(make([]byte, 0, len(plain)+s.wrapOverhead()), s.now, plain)
}

// payloadSize is how much TLS ciphertext fits in one control packet.
func (s *Session) payloadSize() int {
	limit := min(s.cfg.PacketSize, maxPacket) - datagramHead
	return max(limit-(1+8+1+4*carryAcks+8+4)-s.wrapOverhead(), minPayload)
}

// NextEvent returns the next event, or nil. Drain it after every other call.
func (s *Session) NextEvent() Event {
	if len(s.events) == 0 {
		return nil
	}
	ev := s.events[0]
	if s.events = s.events[1:]; len(s.events) == 0 {
		s.events = nil // and what they hold
	}
	return ev
}

func (s *Session) emit(ev Event) { s.events = append(s.events, ev) }

// Tick does what is due at now: retransmission, ping, timeouts, renegotiation.
func (s *Session) Tick(now time.Time) error {
	if s.dead != nil {
		return s.dead
	}
	s.now = now
	if !s.ending.IsZero() {
		if !s.ending.After(now) || s.quiet() {
			return s.die(ErrClosed)
		}
		return nil
	}
	if err := s.timeouts(now); err != nil {
		return err
	}
	if s.cfg.Role == Client && !s.pushDue.IsZero() && !s.pushDue.After(now) {
		s.pushDue = now.Add(pushRepeat)
		if err := s.Send(now, "PUSH_REQUEST"); err != nil {
			return err
		}
	}
	s.promote(now)
	if err := s.outlived(nil); err != nil {
		return err
	}
	for i := len(s.keys) - 1; i > 0; i-- {
		if e := s.keys[i].expires; !e.IsZero() && !e.After(now) {
			s.dropKey(i)
		}
	}
	if s.configured && s.data.exited() {
		s.emit(PeerExit{Kind: "exit"})
		return s.die(ErrClosed)
	}
	s.answerProbe()
	if k := s.keys[0]; s.configured && k.done() && k.promoted && s.worn(now) {
		return s.Renegotiate(now)
	}
	if due := s.pingDue(); !due.IsZero() && !due.After(now) {
		s.pinged = now // also when there is no key to send with yet
		s.says = append(s.says, pingPayload())
	}
	return nil
}

// timeouts ends handshakes and sessions that took too long.
func (s *Session) timeouts(now time.Time) error {
	k := s.keys[0]
	switch {
	case !k.done() && !k.deadline.After(now):
		if !k.ready.IsZero() {
			// Only the owner's answer is missing. The client believes in its new key already.
			return s.Deny(now, "the authentication took too long")
		}
		if len(s.keys) > 1 {
			return s.giveUp(&ProtocolError{Cause: CauseTimeout, Text: "renegotiation timed out"})
		}
		if !s.heard {
			return s.die(&ProtocolError{Cause: CauseNoReply, Text: fmt.Sprintf("no reply within %v", s.cfg.HandWindow)})
		}
		return s.die(&ProtocolError{Cause: CauseTimeout, Text: fmt.Sprintf("handshake not finished within %v", s.cfg.HandWindow)})
	case !s.configured && !s.pushBy.IsZero() && !s.pushBy.After(now):
		waited := now.Sub(s.established).Round(time.Second)
		text := fmt.Sprintf("no configuration from the server within %v", waited)
		if s.cfg.Role == Server {
			text = fmt.Sprintf("client did not become ready within %v", waited)
		}
		return s.die(&ProtocolError{Cause: CauseTimeout, Text: text})
	case s.configured && s.silence > 0 && !s.silentSince().Add(s.silence).After(now):
		return s.die(&ProtocolError{Cause: CausePing, Text: fmt.Sprintf("peer silent for %v", s.silence)})
	}
	return nil
}

// silentSince is when the peer was last heard, on either channel.
func (s *Session) silentSince() time.Time {
	if d := s.data.LastOpened(); d.After(s.lastHeard) {
		return d
	}
	return s.lastHeard
}

// pingDue is when the next keepalive ping goes out; zero for never.
func (s *Session) pingDue() time.Time {
	if !s.configured || s.ping <= 0 {
		return time.Time{}
	}
	last := s.data.lastSealed()
	for _, t := range []time.Time{s.established, s.pinged} {
		if last.Before(t) {
			last = t
		}
	}
	return last.Add(s.ping)
}

// Deadline is when Tick must be called next; the zero time means never. For a
// dead session it is long past: Tick says why.
func (s *Session) Deadline() time.Time {
	if s.dead != nil {
		return past
	}
	var d time.Time
	earliest := func(t time.Time) {
		if !t.IsZero() && (d.IsZero() || t.Before(d)) {
			d = t
		}
	}
	for _, k := range s.keys {
		earliest(k.rel.deadline())
	}
	if !s.ending.IsZero() {
		if s.quiet() {
			return past
		}
		earliest(s.ending)
		return d
	}
	k := s.keys[0]
	if !k.done() {
		earliest(k.deadline)
	}
	if !s.configured {
		earliest(s.pushBy)
	}
	if s.configured {
		earliest(s.pingDue())
		if s.silence > 0 {
			earliest(s.silentSince().Add(s.silence))
		}
		earliest(s.promoteDue())
		if k.done() {
			earliest(k.expires)
			if k.promoted {
				earliest(s.renegotiate)
				earliest(s.volume.due)
			}
		}
	}
	earliest(s.pushDue)
	for _, k := range s.keys[1:] {
		earliest(k.expires)
	}
	return d
}
