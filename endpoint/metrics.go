package endpoint

import (
	"crypto/tls"
	"errors"
	"strings"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/endpoint/handler"
	"github.com/adit-vpn/adit/ovpn"
)

// Metrics are the figures of one endpoint at a moment, with the meanings of AWS Client VPN's CloudWatch metrics ("Amazon
// CloudWatch metrics for AWS Client VPN" in its administrator guide). The counters grow as long as the server's History lives.
type Metrics struct {
	Endpoint string // Leaves.EndpointID
	Active   int    // clients that are connected

	AuthenticationFailures uint64 // certificates, passwords, codes, assertions and tokens that did not pass

	// What sessions carried inside: rx from clients, tx to them.
	RxBytes, TxBytes, RxPackets, TxPackets uint64

	// What came of questions to the connect handler, but for those that let a client in.
	HandlerTimeouts, HandlerInvalid, HandlerOther, HandlerThrottled, HandlerDenied, HandlerService uint64

	LogLost  uint64   // entries of the connection log
	Expiries []Expiry // of the configuration in force
}

// Metrics reads them. The counters of packets are those of the sessions, which are asked now.
func (s *Server) Metrics() Metrics {
	m := Metrics{Endpoint: s.connLog.endpoint, LogLost: s.connLog.lostSoFar(), Expiries: s.gen.Load().expiries}
	h := s.history
	// With mu held nobody moves from the sessions into the history: nothing is counted twice, or not at all.
	h.mu.Lock()
	defer h.mu.Unlock()
	sum := h.moved
	for _, p := range s.peers.all() {
		if p.status.Load() == nil || p.remembered {
			continue
		}
		n := p.data.Counters()
		sum.add(n.RxBytes, n.TxBytes, n.RxPackets, n.TxPackets)
		m.Active++
	}
	m.RxBytes, m.TxBytes, m.RxPackets, m.TxPackets = sum.rxBytes, sum.txBytes, sum.rxPackets, sum.txPackets
	m.AuthenticationFailures = h.failures[failedAuthentication]
	m.HandlerTimeouts, m.HandlerInvalid, m.HandlerOther = h.failures[handler.TimedOut], h.failures[handler.InvalidAnswer], h.failures[handler.OtherError]
	m.HandlerThrottled, m.HandlerDenied, m.HandlerService = h.failures[handler.Throttled], h.failures[handler.Denied], h.failures[handler.ServiceFailure]
	return m
}

// ofCertificate says whether a handshake failed because of the certificate that the client has, or has not.
func ofCertificate(err error) bool {
	var protocol *ovpn.ProtocolError
	if !errors.As(err, &protocol) || protocol.Cause != ovpn.CauseTLS {
		return false
	}
	var chain *tls.CertificateVerificationError
	return errors.As(err, &chain) || errors.Is(err, auth.ErrRevoked) || errors.Is(err, auth.ErrCRLExpired) || errors.Is(err, auth.ErrNoName) ||
		strings.Contains(err.Error(), "client didn't provide a certificate") // crypto/tls has no typed error
}
