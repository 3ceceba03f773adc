//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// maxDatagram is more than any control packet or ping has.
const maxDatagram = 2048

// client is one Session with a socket of its own, on one goroutine: thousands of them are to leave some of
// the machine to the server.
type client struct {
	conn    *net.UDPConn
	session *ovpn.Session
	inner   func(packet []byte) // what comes out of the tunnel; nil: nobody wants it
	local   netip.Addr          // inside the tunnel, when run says that it is up
}

// clientTLS is the TLS configuration of a client whose server needs no name.
func clientTLS(own *tls.Certificate, roots *x509.CertPool) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{*own}, MinVersion: tls.VersionTLS12, CurvePreferences: []tls.CurveID{tls.X25519},
		InsecureSkipVerify: true, // of the name; the chain is checked here
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			return err
		},
	}
}

// dial opens the socket and starts the session. The source's port is any.
func dial(server netip.AddrPort, source netip.Addr, cfg *tls.Config, method wrap.Method, inner func([]byte)) (*client, error) {
	conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0)), net.UDPAddrFromAddrPort(server))
	if err != nil {
		return nil, err
	}
	s, err := ovpn.New(time.Now(), ovpn.Config{
		Role: ovpn.Client, TLS: cfg, Wrap: method, Ciphers: []string{"AES-256-GCM"},
		PingRestart: 2 * time.Minute, // until the server says something else
		Renegotiate: time.Hour,
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &client{conn: conn, session: s, inner: inner}, nil
}

// run drives the session until it ends, and says why; up is called when packets may flow.
func (c *client) run(ctx context.Context, up func()) error {
	defer c.conn.Close()
	defer c.session.Abort()
	defer context.AfterFunc(ctx, func() { c.conn.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, maxDatagram)
	for ctx.Err() == nil {
		if err := c.drain(up); err != nil {
			return err
		}
		deadline := c.session.Deadline()
		if err := c.conn.SetReadDeadline(deadline); err != nil {
			return err
		}
		n, err := c.conn.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = c.session.Tick(time.Now())
		case err != nil:
			return err
		case n == 0:
		case wire.IsData(buf[0]):
			packets := [][]byte{buf[:n]}
			if delivered, _ := c.session.Data().Open(time.Now(), packets); delivered == 1 && c.inner != nil {
				c.inner(packets[0])
			}
		default:
			err = c.session.Handle(time.Now(), buf[:n])
		}
		if err != nil && !errors.Is(err, ovpn.ErrDropped) {
			return reason(err)
		}
	}
	return context.Cause(ctx)
}

// drain sends what is ready and takes events.
func (c *client) drain(up func()) error {
	now := time.Now()
	for {
		for p := c.session.NextPacket(now); p != nil; p = c.session.NextPacket(now) {
			_, _ = c.conn.Write(p) // a lost one is sent again
		}
		switch ev := c.session.NextEvent().(type) {
		case nil:
			return nil
		case ovpn.PushReply:
			c.local = ev.Reply.Address.Addr()
			up()
		case ovpn.AuthFailed:
			return fmt.Errorf("refused: %s", ev.Reason)
		case ovpn.PeerExit:
			return fmt.Errorf("the server said %s: %s", ev.Kind, ev.Reason)
		}
	}
}

// reason is the part of an error that many clients have in common.
func reason(err error) error {
	var protocol *ovpn.ProtocolError
	if errors.As(err, &protocol) {
		return errors.New(protocol.Text)
	}
	return err
}
