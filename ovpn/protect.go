package ovpn

import (
	"fmt"
	"slices"

	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// How a Session protects its control packets: the configured method for the first
// key, dynamic tls-crypt for the later ones, and the client key of tls-crypt-v2.

// unwrap turns a packet into its plain form. CONTROL_WKC_V1 becomes CONTROL_V1:
// the key behind it has done its work.
func (s *Session) unwrap(packet []byte) (c wire.Control, err error) {
	if len(packet) == 0 {
		return c, wire.ErrMalformed
	}
	_, keyID := wire.SplitHeader(packet[0])
	w := s.wrapOf(keyID)
	if w != nil {
		if packet, err = w.Unwrap(nil, s.now, packet); err != nil {
			return c, err
		}
	}
	if c, err = wire.ParseControl(packet); err != nil {
		return c, err
	}
	switch c.Op {
	case wire.HardResetClientV3, wire.ControlWKCV1:
		if !clientKeyKnown(w) {
			return c, errNoServerKey
		}
		if c.Op == wire.ControlWKCV1 {
			c.Op = wire.ControlV1
		}
	}
	return c, nil
}

// wrapOf is what protects the packets of a key, or nil.
func (s *Session) wrapOf(keyID uint8) wrap.Wrapper {
	if keyID > 0 && s.next != nil {
		return s.next
	}
	return s.wrap
}

// wrapOverhead is how many bytes the protection adds to a packet, at most.
func (s *Session) wrapOverhead() (n int) {
	if s.cfg.Wrap != nil {
		n = s.cfg.Wrap.Overhead()
	}
	if s.next != nil {
		n = max(n, wrap.DynamicOverhead)
	}
	return n
}

// ClientKey is what a client's tls-crypt-v2 key says about itself (server). ok is
// false for a client without such a key.
func (s *Session) ClientKey() (m wrap.Metadata, ok bool) {
	if keyed, is := s.wrap.(wrap.Keyed); is {
		return keyed.Client()
	}
	return nil, false
}

// ClientKeyID tells the client's tls-crypt-v2 key from others (wrap.ClientKey.ID, server); "" without one.
func (s *Session) ClientKeyID() string {
	if keyed, is := s.wrap.(wrap.Keyed); is {
		return keyed.ClientID()
	}
	return ""
}

// checkClientKey refuses a client key that is too old, when the client has
// proved its address: on UDP there is no Session before.
func (s *Session) checkClientKey() error {
	if m, ok := s.ClientKey(); ok && s.cfg.KeyAge > 0 && !s.heard && m.Expired(s.now, s.cfg.KeyAge) {
		return &ProtocolError{Cause: CauseProtocol, Text: fmt.Sprintf("the client's tls-crypt-v2 key is older than %v, or does not say how old it is", s.cfg.KeyAge)}
	}
	return nil
}

// startDynamic protects all packets of later keys with a key out of k, the first
// one (protocol flag dyn-tls-crypt).
func (s *Session) startDynamic(k *key) error {
	exported, err := exportKeys(&k.state, dynamicLabel, wrap.DynamicKeyLen)
	if err != nil {
		return &ProtocolError{Cause: CauseProtocol, Text: "TLS key export failed", Err: err}
	}
	var original *wrap.StaticKey
	if s.wrap != nil {
		original = s.wrap.Key()
	}
	if s.next, err = wrap.Dynamic(s.cfg.Role == Server, exported, original); err != nil {
		return &ProtocolError{Cause: CauseProtocol, Text: "control channel", Err: err}
	}
	return nil
}

// early reads what the server's reset says. It may ask for our wrapped key again; other
// clients have nothing to read, and may not even know who wrote it.
func (k *key) early(s *Session, payload []byte) error {
	if s.cfg.Wrap == nil || s.cfg.Wrap.Trailer() == 0 {
		return nil
	}
	e, err := wire.ParseEarly(payload)
	if err != nil {
		return &ProtocolError{Cause: CauseProtocol, Text: "the server's reset is malformed", Err: err}
	}
	k.resendKey = e.ResendWKC
	return nil
}

// queueKeyed queues the first control packet, with our wrapped key behind it, and
// returns what did not fit before the key.
func (k *key) queueKeyed(s *Session, b []byte) (rest []byte) {
	k.resendKey = false
	n := min(len(b), max(s.payloadSize()-s.cfg.Wrap.Trailer(), minPayload))
	k.rel.queue(wire.ControlWKCV1, slices.Clone(b[:n]))
	return b[n:]
}
