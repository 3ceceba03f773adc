package ovpn

import (
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
)

// What tests in package ovpn_test may do to a Session.

// Pretend makes the peer one that said info about itself, and nothing else.
func (s *Session) Pretend(info map[string]string) {
	s.peerInfo, s.peerProto = info, protoBits(info)
}

// WithoutID forgets the peer id that a client would announce.
func (s *Session) WithoutID() { s.ownID = wire.NoPeerID }

// SetNextKey changes the id of the next key.
func (s *Session) SetNextKey(id uint8) { s.nextKeyID = id }

// Agreed is what both ends settled on.
func (s *Session) Agreed() (exporter, dynamic, epoch, v1 bool) {
	return s.exporter, s.next != nil, s.format.epoch, s.format.v1
}

// Held is how many bytes of packets wait: for an earlier one, for TLS, or for the rest of a key message.
func (s *Session) Held() (n int) {
	for _, k := range s.keys {
		for _, h := range k.rel.held {
			n += len(h.payload)
		}
		if k.tls != nil {
			n += len(k.tls.pipe.in)
		}
		n += len(k.plain)
	}
	return n
}

// Kept is how many bytes stay of what the peer said in its first message inside TLS, but for the options.
func (s *Session) Kept() (n int) {
	for _, v := range s.peerInfo {
		n += len(v)
	}
	for _, k := range s.keys {
		if k.peer != nil {
			n += len(k.peer.username) + len(k.peer.password) + len(k.peer.peerInfo)
		}
	}
	return n
}

// SignsInAs is what a client's next negotiation says.
func (s *Session) SignsInAs() (user string, password push.Secret) { return s.credentials() }

// SendRecord sends one record as it is, as no honest peer does.
func (s *Session) SendRecord(now time.Time, record string) error {
	s.now = now
	return s.keys[0].send(s, []byte(record))
}
