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

	asks  netip.Addr           // whom all of them ping ten times in a second; invalid: nobody
	mu    sync.Mutex           // guards heard
	heard map[string]time.Time // when the last answer came, by tunnel address
}

func newCrowd(s *site, ca *authority) *crowd {
	s.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca.PEM))
	c := &crowd{s: s, ca: ca, tls: &tls.Config{RootCAs: roots, ServerName: "lab server",
		InsecureSkipVerify: true, // the server has a name, but no host name; who it is does not matter here
		MinVersion:         tls.VersionTLS12}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.heard = map[string]time.Time{}
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
	ended, stop := context.WithCancel(c.ctx)
	defer stop()
	var reader sync.WaitGroup
	reader.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if n > 0 && ovpnData(buf[0]) {
				c.answered(s.Data(), buf[:n])
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
				if c.asks.IsValid() {
					reader.Go(func() { c.ask(ended, s.Data(), conn, ev.Reply.Address.Addr()) })
				}
				tell(nil)
			case ovpn.AuthFailed:
				return errors.New("refused: " + ev.Reason)
			}
			return nil
		},
	})
	stop()
	conn.Close()
	reader.Wait()
	if err == nil {
		err = errors.New("ended")
	}
	tell(err)
}

// ask pings until ctx ends.
func (c *crowd) ask(ctx context.Context, data *ovpn.Data, conn net.Conn, me netip.Addr) {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		if packet, _ := data.Seal(time.Now(), nil, 0, &ovpn.List{echoRequest(me, c.asks)}, nil); len(packet) > 0 {
			conn.Write(packet) // what is lost is asked again
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// echoRequest is a ping over IPv4 (RFC 792).
func echoRequest(from, to netip.Addr) []byte {
	b := make([]byte, 28)
	b[0], b[3], b[8], b[9] = 0x45, 28, 64, 1
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	b[20], b[25], b[27] = 8, from.As4()[3], from.As4()[2]
	for _, part := range [][]byte{b[:20], b[20:]} {
		var sum uint32
		for i := 0; i < len(part); i += 2 {
			sum += uint32(part[i])<<8 | uint32(part[i+1])
		}
		sum = ^(sum>>16 + sum&0xffff)
		at := 10
		if len(part) == 8 {
			at = 2
		}
		part[at], part[at+1] = byte(sum>>8), byte(sum)
	}
	return b
}

// answered takes a data packet.
func (c *crowd) answered(data *ovpn.Data, packet []byte) {
	list := [][]byte{append(make([]byte, 0, len(packet)+64), packet...)}
	if n, _ := data.Open(time.Now(), list); n == 0 || len(list[0]) < 28 || list[0][20] != 0 {
		return
	}
	to := netip.AddrFrom4([4]byte(list[0][16:20])).String()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard[to] = time.Now()
}

// since is how many clients have heard an answer after a moment, and when the last answer came.
func (c *crowd) since(t time.Time) (clients int, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.heard {
		if at.After(t) {
			clients++
		}
		if at.After(last) {
			last = at
		}
	}
	return clients, last
}

// ovpnData says whether a packet's first byte is that of a data packet (opcodes 6 and 9).
func ovpnData(first byte) bool { return first>>3 == 6 || first>>3 == 9 }

// leave ends all clients.
func (c *crowd) leave() {
	c.cancel()
	c.wait.Wait()
}
