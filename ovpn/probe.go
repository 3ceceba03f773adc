package ovpn

import (
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// Probe asks the peer for a sign of life over the data channel: a ping, by which a server that
// lets clients float learns a new source address, and an OCC request, which openvpn and this
// package answer in the data channel (openvpn's occ.c). Whoever calls it looks at LastHeard later:
// either packet may be lost. Before there are data keys it does nothing.
func (s *Session) Probe() error {
	if err := s.over(); err != nil {
		return err
	}
	s.says = append(s.says, pingPayload(), occPayload(occRequest))
	return nil
}

// LastHeard is when the last authentic packet came, on either channel; at first, when the
// session began.
func (s *Session) LastHeard() time.Time { return s.silentSince() }

// HasPeerID says whether what we send carries an id by which the peer can know us at another address.
func (s *Session) HasPeerID() bool { return s.configured && s.data.peerID.Load() != wire.NoPeerID }

// answerProbe tells a peer that asked what our options are, and what datagrams come through.
func (s *Session) answerProbe() {
	if s.configured {
		s.says = append(s.says, s.data.answers(s.occ)...)
	}
}
