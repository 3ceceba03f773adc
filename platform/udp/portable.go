package udp

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// portableConn moves datagrams one by one through the net package: the
// implementation of systems without batches.
type portableConn struct {
	c         *net.UDPConn
	local     netip.AddrPort
	connected bool
	inet6     bool // the socket's family

	whole sync.Mutex // held by WriteWhole
}

func newPortable(c *net.UDPConn, o Options, connected bool) *portableConn {
	// A smaller buffer than wished for is still a buffer.
	_ = c.SetReadBuffer(wish(o.ReceiveBuffer))
	_ = c.SetWriteBuffer(wish(o.SendBuffer))
	local := localAddr(c)
	return &portableConn{c: c, local: local, connected: connected, inet6: local.Addr().Is6()}
}

func wish(bytes int) int {
	if bytes == 0 {
		return defaultBuffer
	}
	return bytes
}

func (p *portableConn) ReadBatch(ms []Message) (int, error) {
	if len(ms) == 0 {
		return 0, nil
	}
	for {
		n, from, err := p.c.ReadFromUDPAddrPort(ms[0].Buf)
		switch {
		case err == nil:
			from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			ms[0].Addr, ms[0].Local, ms[0].N, ms[0].Segment = from, netip.Addr{}, n, 0
			return 1, nil
		case errors.Is(err, net.ErrClosed):
			return 0, net.ErrClosed
		case !passing(err):
			return 0, err
		}
	}
}

func (p *portableConn) WriteBatch(ms []Message) error {
	var first error
	for i := range ms {
		for off := 0; ; {
			end := ms[i].N
			if s := ms[i].Segment; s > 0 {
				end = min(off+s, ms[i].N)
			}
			err := p.write(ms[i].Buf[off:end], ms[i].Addr)
			if err != nil && passing(err) {
				if first == nil {
					first = err
				}
				err = p.write(ms[i].Buf[off:end], ms[i].Addr)
			}
			if errors.Is(err, net.ErrClosed) {
				return net.ErrClosed
			}
			if err != nil && first == nil {
				first = err
			}
			if off = end; off >= ms[i].N {
				break
			}
		}
	}
	return first
}

func (p *portableConn) write(b []byte, to netip.AddrPort) error {
	var err error
	if p.connected {
		_, err = p.c.Write(b)
	} else {
		_, err = p.c.WriteToUDPAddrPort(b, to)
	}
	return err
}

// WriteWhole sets the bit for a moment: what others write meanwhile has it, too.
func (p *portableConn) WriteWhole(m Message) error {
	p.whole.Lock()
	defer p.whole.Unlock()
	if err := dontFragment(p.c, p.inet6, true); err != nil {
		return err
	}
	return errors.Join(p.WriteBatch([]Message{m}), dontFragment(p.c, p.inet6, false))
}

// PathMTU is not known: systems that say it do so each in another way.
func (p *portableConn) PathMTU() int { return 0 }

func (p *portableConn) BatchSize() int            { return 1 }
func (p *portableConn) BufferSize() int           { return maxDatagram }
func (p *portableConn) LocalAddr() netip.AddrPort { return p.local }

func (p *portableConn) Close() error {
	if err := p.c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
