//go:build linux

package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/drive"
)

// crowd is many clients of one endpoint that connect, get an address, and do
// nothing more. They run in this process, over sockets of the client node. Each has a
// certificate of its own: one that stays silent would be taken for one that comes back.
type crowd struct {
	s      *site
	ca     *authority
	tls    *tls.Config
	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

func newCrowd(s *site, ca *authority) *crowd {
	s.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca.PEM))
	c := &crowd{s: s, ca: ca, tls: &tls.Config{RootCAs: roots, ServerName: "lab server",
		InsecureSkipVerify: true, // the server has a name, but no host name; who it is does not matter here
		MinVersion:         tls.VersionTLS12}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// join adds n clients, some at a time, and returns when all have an address.
func (c *crowd) join(ctx context.Context, n int) error {
	slots := make(chan struct{}, 8)
	results := make(chan error, n)
	for i := range n {
		slots <- struct{}{}
		cert := c.ca.client(fmt.Sprint("client ", i))
		own, err := tls.X509KeyPair([]byte(cert.Cert), []byte(cert.Key))
		if err != nil {
			return err
		}
		cfg := c.tls.Clone()
		cfg.Certificates = []tls.Certificate{own}
		conn, err := c.dial()
		if err != nil {
			return err
		}
		up := make(chan error, 1)
		c.wait.Go(func() { c.live(conn, cfg, up) })
		c.wait.Go(func() {
			defer func() { <-slots }()
			select {
			case err := <-up:
				results <- err
			case <-time.After(soon):
				results <- errors.New("a client of the crowd got no address")
			}
		})
	}
	for range n {
		if err := <-results; err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) dial() (conn net.Conn, err error) {
	return c.s.client.Dial("udp", netip.AddrPortFrom(serverOuter, port).String(), time.Second)
}

// live is one client. up gets nil when it has an address, else what went wrong.
func (c *crowd) live(conn net.Conn, cfg *tls.Config, up chan<- error) {
	tell := func(err error) {
		select {
		case up <- err:
		default:
		}
	}
	s, err := ovpn.New(time.Now(), ovpn.Config{Role: ovpn.Client, TLS: cfg, Ciphers: ovpn.DefaultCiphers(), ExitNotify: true})
	if err != nil {
		tell(err)
		return
	}
	inbox := make(chan []byte, 64)
	var reader sync.WaitGroup
	reader.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if n == 0 || ovpnData(buf[0]) {
				continue
			}
			select {
			case inbox <- append([]byte(nil), buf[:n]...):
			default:
			}
		}
	})
	err = drive.Run(c.ctx, s, drive.Config{
		In:   inbox,
		Send: func(p []byte) error { _, err := conn.Write(p); return err },
		Handle: func(_ time.Time, _ *ovpn.Session, ev ovpn.Event) error {
			switch ev := ev.(type) {
			case ovpn.PushReply:
				tell(nil)
			case ovpn.AuthFailed:
				return errors.New("refused: " + ev.Reason)
			}
			return nil
		},
	})
	conn.Close()
	reader.Wait()
	if err == nil {
		err = errors.New("ended")
	}
	tell(err)
}

// ovpnData says whether a packet's first byte is that of a data packet (opcodes 6 and 9).
func ovpnData(first byte) bool { return first>>3 == 6 || first>>3 == 9 }

// leave ends all clients.
func (c *crowd) leave() {
	c.cancel()
	c.wait.Wait()
}
