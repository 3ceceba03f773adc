package ovpn

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// key is one negotiation and the data key that comes out of it: resets, TLS,
// key-method 2. A Session holds one, or two while it changes keys.
type key struct {
	id      uint8
	rel     reliable
	tls     *secure
	hello   *secure // client: becomes tls, which has calculated already what it will say first; or nil
	state   tls.ConnectionState
	started time.Time // when the reset was sent or seen
	ready   time.Time // when key-method 2 was exchanged; zero before
	expires time.Time // when an old key ends; zero for the newest

	deadline time.Time // of the negotiation, the owner's answer included
	accepted time.Time // server: when the owner said yes

	synced bool // the peer's reset is in
	// resendKey: the first control packet must carry our wrapped tls-crypt-v2 key (client).
	resendKey bool
	plain     []byte // a key-method-2 message that came in several records
	own       keySource
	peer      *keyMessage

	authorized bool // server: the owner accepted the credentials
	installed  bool // in Data, for opening
	promoted   bool // in Data, for sealing
}

// maxWaiting bounds the packets that wait for room in the window: TLS answers some
// of the peer's messages (key updates), and the peer may never confirm them.
const maxWaiting = 8192

// errPeerEnded ends the session, whichever key it came on.
var errPeerEnded = errors.New("peer ended the session")

// done says that the negotiation is over: data may use the key.
func (k *key) done() bool { return !k.ready.IsZero() && k.authorized }

func (k *key) close() {
	for _, c := range []*secure{k.tls, k.hello} {
		if c != nil {
			c.close()
		}
	}
}

// advance handles every packet that is there in order.
func (k *key) advance(s *Session) error {
	for {
		op, payload, ok := k.rel.deliver()
		if !ok {
			break
		}
		if op != wire.ControlV1 {
			if k.synced {
				return &ProtocolError{Cause: CauseProtocol, Text: "second reset in one negotiation"}
			}
			k.synced = true
			switch op {
			case wire.HardResetClientV2, wire.HardResetClientV3:
				k.rel.queue(wire.HardResetServerV2, nil)
			case wire.HardResetServerV2:
				if err := k.early(s, payload); err != nil {
					return err
				}
			}
			continue
		}
		if k.tls == nil {
			return &ProtocolError{Cause: CauseProtocol, Text: "control data before the reset was confirmed"}
		}
		k.tls.feed(payload)
		if err := k.pump(s); err != nil {
			return err
		}
	}
	// The TLS client starts when both resets are confirmed, the server waits for it.
	if k.tls == nil && k.synced && (s.cfg.Role == Server || k.rel.empty()) {
		k.startTLS(s)
		return k.pump(s)
	}
	return nil
}

func (k *key) startTLS(s *Session) {
	if k.tls, k.hello = k.hello, nil; k.tls == nil {
		k.tls = newSecure(s.cfg.Role, s.cfg.TLS)
	}
}

// prepare lets the client's TLS make its first flight, with the keys in it, before it may speak.
func (k *key) prepare(s *Session) {
	if s.cfg.Role != Client || k.tls != nil || k.hello != nil {
		return
	}
	k.hello = newSecure(s.cfg.Role, s.cfg.TLS)
	if k.hello.step().err != nil {
		k.hello = nil // it is tried again, and told, in its turn
	}
}

// pump lets TLS run until it wants more, and handles what it says.
func (k *key) pump(s *Session) error {
	for {
		step := k.tls.step()
		var err error
		switch {
		case step.err != nil:
			k.queueTLS(s)
			if errors.Is(step.err, io.EOF) {
				return &ProtocolError{Cause: CauseTLS, Text: "peer closed the control channel"}
			}
			return &ProtocolError{Cause: CauseTLS, Text: "control channel TLS failed", Err: step.err}
		case step.established:
			k.state = k.tls.conn.ConnectionState()
			if s.cfg.Role == Client {
				err = k.sendKeyMessage(s)
			}
		case step.plain != nil:
			err = k.record(s, step.plain)
		default:
			k.queueTLS(s)
			if len(k.rel.waiting) > maxWaiting {
				return &ProtocolError{Cause: CauseProtocol, Text: "peer asks for more than it confirms"}
			}
			return nil
		}
		k.queueTLS(s)
		if err != nil {
			return err
		}
		if s.dead != nil {
			return s.dead
		}
	}
}

// queueTLS cuts what TLS wants to send into control packets.
func (k *key) queueTLS(s *Session) {
	b := k.tls.drain()
	if k.resendKey && len(b) > 0 {
		b = k.queueKeyed(s, b)
	}
	for part := range slices.Chunk(b, s.payloadSize()) {
		k.rel.queue(wire.ControlV1, part)
	}
}

// send encrypts one control message.
func (k *key) send(s *Session, b []byte) error {
	if err := k.tls.write(b); err != nil {
		return &ProtocolError{Cause: CauseTLS, Text: "control channel TLS failed", Err: err}
	}
	k.queueTLS(s)
	return nil
}

func (k *key) sendKeyMessage(s *Session) error {
	m := &keyMessage{options: s.occ()}
	enc := Stock
	rand.Read(k.own.random1[:])
	rand.Read(k.own.random2[:])
	if s.cfg.Role == Client {
		if s.forgotten && s.token == "" {
			return s.die(&ProtocolError{Cause: CauseForgotten, Text: "the server wants the password again"})
		}
		rand.Read(k.own.preMaster[:])
		m.username, m.password = s.credentials()
		enc = s.cfg.Encoding
	}
	m.peerInfo = s.ownPeerInfo(k)
	if enc == Stock {
		for _, f := range []string{m.options, m.username, m.password.Reveal(), m.peerInfo} {
			if len(f) >= 1<<16-1 {
				return &ProtocolError{Cause: CauseProtocol, Text: fmt.Sprintf("%d bytes do not fit into one field of the key exchange", len(f))}
			}
		}
	}
	m.source = k.own
	b := appendKeyMessage(nil, s.cfg.Role, enc, m)
	defer clear(b) // the password
	return k.send(s, b)
}

// record handles one TLS record: key-method 2 first, then control messages.
func (k *key) record(s *Session, b []byte) error {
	if k.peer != nil {
		return s.record(k, b)
	}
	peerRole := Server
	if s.cfg.Role == Server {
		peerRole = Client
	}
	m, err := k.collect(b, peerRole, s.cfg.KeyMessage)
	if err != nil {
		return &ProtocolError{Cause: CauseProtocol, Text: "key exchange failed", Err: err}
	}
	if m == nil {
		return nil
	}
	k.peer = m
	again := !s.established.IsZero()
	info, username, password := parsePeerInfo(m.peerInfo), m.username, m.password
	m.username, m.password, m.peerInfo = "", "", "" // may be long: whoever gets the event keeps what it needs
	if !again {
		s.peerInfo, s.peerProto = keptPeerInfo(info), protoBits(info)
		s.agreeIDs()
	}
	if s.cfg.Role == Server {
		if err := k.sendKeyMessage(s); err != nil {
			return err
		}
	}
	k.ready = s.now
	if again {
		if err := s.sendWaiting(); err != nil {
			return err
		}
	}
	if !s.ending.IsZero() {
		return nil // that was all that this key was still needed for
	}
	s.emit(Established{KeyID: k.id, Renegotiation: again, TLS: k.state, PeerOptions: m.options})
	if !again {
		s.established = s.now
		s.pushBy = s.now.Add(s.cfg.HandWindow)
	}
	if s.cfg.Role == Server {
		if m.tooLong {
			return s.Deny(s.now, "Username or password is too long")
		}
		s.emit(Credentials{KeyID: k.id, Renegotiation: again, Username: username, Password: password, PeerInfo: info, TLS: k.state})
		return nil
	}
	k.authorized = true
	if !again && s.cfg.PointToPoint {
		return s.agreePeers(k)
	}
	if !again {
		s.pushDue = s.now.Add(pushFirst)
		return nil
	}
	return k.install(s)
}

// collect adds one record to the peer's key-method 2, of limit bytes at most; nil while more must follow.
func (k *key) collect(b []byte, sender Role, limit int) (*keyMessage, error) {
	k.plain = append(k.plain, b...)
	m, _, err := parseKeyMessage(k.plain, sender, limit)
	if errors.Is(err, errShortKeyMessage) || err == nil && m.fewer && len(b) == maxRecord {
		return nil, nil // long passwords do not fit in one record
	}
	clear(k.plain) // the password: m has copies
	k.plain = nil
	return m, err
}

// install derives the data key and lets Data open with it; promote follows
// when the peer is known to have it.
func (k *key) install(s *Session) error {
	var km *keyMaterial
	if s.exporter {
		var err error
		if km, err = deriveExporter(&k.state); err != nil {
			return &ProtocolError{Cause: CauseProtocol, Text: "TLS key export failed", Err: err}
		}
	} else {
		client, server := &k.own, &k.peer.source
		clientID, serverID := s.local, s.remote
		if s.cfg.Role == Server {
			client, server = server, client
			clientID, serverID = serverID, clientID
		}
		km = derivePRF(client, server, clientID, serverID)
	}
	defer clear(km[:])
	if err := s.data.install(k.id, s.format, km); err != nil {
		return &ProtocolError{Cause: CauseProtocol, Text: "data key", Err: err}
	}
	k.installed = true
	// Randomness is spent.
	k.own, k.peer.source = keySource{}, keySource{}
	if s.cfg.Role == Server {
		*k.peer = keyMessage{} // nobody reads the rest again, either
	}
	if s.cfg.Renegotiate > 0 {
		s.renegotiate = s.now.Add(s.interval())
	}
	s.restartVolume()
	return nil
}
