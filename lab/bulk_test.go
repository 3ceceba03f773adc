//go:build linux

package lab

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestBulk moves data as fast as it goes, in both directions at once and with a
// renegotiation in the middle, and datagrams of every size up to the tunnel's MTU,
// whose outer packets are fragments.
func TestBulk(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for _, peers := range []string{aditToOpenVPN, openVPNToAdit, aditToEndpoint} {
		for _, transport := range []string{"udp", "tcp"} {
			t.Run(peers+"/"+transport, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				connectCell(s, newPKI(t), staticKey(), cell{Peers: peers, Transport: transport, Wrap: "plain", Cipher: "AES-256-GCM", Keys: "exporter", NCP: "ncp"})
				for _, host := range []netip.Addr{hostAddr, hostAddr6} {
					s.ok(sizes(s.client, s.host, netip.AddrPortFrom(host, 5003)))
					s.ok(bulk(s.client, s.host, netip.AddrPortFrom(host, 5004), 8<<20))
				}
			})
		}
	}
}

// bulk sends n random bytes each way over one connection and compares them.
func bulk(a, b *Node, addr netip.AddrPort, n int64) error { return bulkAt(a, b, addr, addr, n) }

// bulkAt is bulk where the listener's own address is another one than a knows it by.
func bulkAt(a, b *Node, addr, own netip.AddrPort, n int64) error {
	l, err := b.Listen("tcp", own.String())
	if err != nil {
		return err
	}
	defer l.Close()
	type result struct {
		sum [32]byte
		err error
	}
	// Each end sends the bytes of one seed and reads those of the other.
	end := func(c net.Conn, own, other byte) error {
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		got := make(chan result, 1)
		go func() {
			h := sha256.New()
			_, err := io.Copy(h, io.LimitReader(c, n))
			got <- result{[32]byte(h.Sum(nil)), err}
		}()
		if _, err := io.Copy(c, io.LimitReader(seeded(own), n)); err != nil {
			return fmt.Errorf("bulk: send to %s: %w", addr, err)
		}
		want := sha256.New()
		io.Copy(want, io.LimitReader(seeded(other), n))
		r := <-got
		if r.err == nil && !bytes.Equal(r.sum[:], want.Sum(nil)) {
			r.err = fmt.Errorf("the bytes are not those that were sent")
		}
		if r.err != nil {
			return fmt.Errorf("bulk: receive over %s: %w", addr, r.err)
		}
		return nil
	}
	far := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = end(c, 2, 1)
		}
		far <- err
	}()
	c, err := a.Dial("tcp", addr.String(), 5*time.Second)
	if err != nil {
		return err
	}
	if err := end(c, 1, 2); err != nil {
		return err
	}
	return <-far
}

func seeded(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// sizes sends datagrams of several sizes to b and wants each of them back.
func sizes(a, b *Node, addr netip.AddrPort) error {
	far, err := b.ListenPacket("udp", addr.String())
	if err != nil {
		return err
	}
	done := make(chan struct{})
	defer func() { far.Close(); <-done }()
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			n, from, err := far.ReadFrom(buf)
			if err != nil {
				return
			}
			far.WriteTo(buf[:n], from)
		}
	}()
	c, err := a.Dial("udp", addr.String(), time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, n := range datagramSizes(addr) {
		sent := make([]byte, n)
		io.ReadFull(seeded(byte(n)), sent)
		if _, err := c.Write(sent); err != nil {
			return fmt.Errorf("datagram of %d bytes to %s: %w", n, addr, err)
		}
		got := make([]byte, 64<<10)
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		k, err := c.Read(got)
		if err != nil {
			return fmt.Errorf("datagram of %d bytes to %s and back: %w", n, addr, err)
		}
		if !bytes.Equal(got[:k], sent) {
			return fmt.Errorf("datagram of %d bytes to %s came back with %d, or changed", n, addr, k)
		}
	}
	return nil
}

// datagramSizes are sizes around those where something changes; the last ones are fragments inside, too.
func datagramSizes(addr netip.AddrPort) []int {
	largest := 1500 - 28 // of the tunnel's MTU, without headers
	if addr.Addr().Is6() {
		largest = 1500 - 48
	}
	return []int{0, 1, 100, 1000, 1300, 1400, 1420, largest - 1, largest, largest + 1, 8000}
}

// sizesTo sends datagrams of several sizes to b, where each must arrive.
func sizesTo(a, b *Node, addr netip.AddrPort) error {
	far, err := b.ListenPacket("udp", addr.String())
	if err != nil {
		return err
	}
	defer far.Close()
	c, err := a.Dial("udp", addr.String(), time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, 64<<10)
	for _, n := range datagramSizes(addr) {
		if _, err := c.Write(make([]byte, n)); err != nil {
			return fmt.Errorf("datagram of %d bytes to %s: %w", n, addr, err)
		}
		far.SetReadDeadline(time.Now().Add(2 * time.Second))
		if got, _, err := far.ReadFrom(buf); err != nil || got != n {
			return fmt.Errorf("datagram of %d bytes to %s: %d arrived, %v", n, addr, got, err)
		}
	}
	return nil
}
