package userspace

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

const (
	associationIdle = 5 * time.Minute // without a datagram, either way
	maxLookups      = 16              // of one association at once; further datagrams to names are lost
	maxNames        = 256             // remembered by one association
)

// association is one UDP ASSOCIATE: a socket for the program and up to two in
// the tunnel.
type association struct {
	socks *SOCKS5
	near  *net.UDPConn
	from  netip.Addr // the only machine that may send
	used  atomic.Int64

	mu      sync.Mutex
	program netip.AddrPort // the first to send, zero before
	far     [2]*gonet.UDPConn
	names   map[string]netip.Addr
	lookups chan struct{}

	all    sync.WaitGroup
	ended  bool
	cancel context.CancelFunc
}

// associate serves one association until its TCP connection ends (RFC 1928 §7),
// it was idle for long, or ctx ends.
func (s *SOCKS5) associate(ctx context.Context, conn net.Conn) {
	local, ok1 := conn.LocalAddr().(*net.TCPAddr)
	remote, ok2 := conn.RemoteAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		answer(conn, replyFailure, netip.AddrPort{})
		return
	}
	near, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone})
	if err != nil {
		s.log.Warn("socks association failed", "error", err)
		answer(conn, replyFailure, netip.AddrPort{})
		return
	}
	if answer(conn, replyDone, near.LocalAddr().(*net.UDPAddr).AddrPort()) != nil {
		near.Close()
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &association{
		socks: s, near: near, from: remote.AddrPort().Addr().Unmap().WithZone(""), cancel: cancel,
		names: map[string]netip.Addr{}, lookups: make(chan struct{}, maxLookups),
	}
	a.touch()
	a.all.Go(func() { // the end of the TCP connection is the end
		defer cancel()
		io.Copy(io.Discard, conn)
	})
	a.all.Go(func() {
		defer cancel()
		a.outward(ctx)
	})
	a.all.Go(func() { a.watchIdle(ctx) })
	<-ctx.Done()
	conn.Close()
	near.Close()
	a.mu.Lock()
	a.ended = true
	for _, far := range a.far {
		if far != nil {
			far.Close()
		}
	}
	a.mu.Unlock()
	a.all.Wait()
}

func (a *association) touch() { a.used.Store(time.Now().UnixNano()) }

func (a *association) watchIdle(ctx context.Context) {
	tick := time.NewTicker(associationIdle / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if time.Since(time.Unix(0, a.used.Load())) > associationIdle {
				a.cancel()
			}
		}
	}
}

// outward moves the program's datagrams into the tunnel.
func (a *association) outward(ctx context.Context) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := a.near.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
				return
			}
			continue // an ICMP answer to what we sent
		}
		if !a.accept(from) {
			continue
		}
		to, payload, err := parseDatagram(buf[:n])
		if err != nil {
			a.socks.log.Debug("bad socks datagram", "from", from, "error", err)
			continue
		}
		a.touch()
		if to.addr.IsValid() {
			a.send(netip.AddrPortFrom(to.addr, to.port), payload)
			continue
		}
		a.sendToName(ctx, to, payload)
	}
}

// accept reports whether from is the program: the machine of the TCP connection,
// and the port that it used first.
func (a *association) accept(from netip.AddrPort) bool {
	from = netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
	if from.Addr() != a.from {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.program.IsValid() {
		a.program = from
	}
	return a.program == from
}

// parseDatagram reads the header of RFC 1928 §7. Fragments are refused, as the
// RFC permits.
func parseDatagram(b []byte) (to destination, payload []byte, err error) {
	if len(b) < 3 {
		return destination{}, nil, io.ErrUnexpectedEOF
	}
	if b[2] != 0 {
		return destination{}, nil, errors.New("fragments are not supported")
	}
	r := bytes.NewReader(b[3:])
	if to, err = readDestination(r); err != nil {
		return destination{}, nil, err
	}
	return to, b[len(b)-r.Len():], nil
}

// sendToName looks the name up beside the loop, unless it is known.
func (a *association) sendToName(ctx context.Context, to destination, payload []byte) {
	a.mu.Lock()
	addr, known := a.names[to.name]
	a.mu.Unlock()
	if known {
		a.send(netip.AddrPortFrom(addr, to.port), payload)
		return
	}
	select {
	case a.lookups <- struct{}{}:
	default:
		return
	}
	payload = bytes.Clone(payload)
	a.all.Go(func() {
		defer func() { <-a.lookups }()
		looking, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		addrs, err := a.socks.host.LookupHost(looking, to.name)
		if err != nil {
			a.socks.log.Info("socks datagram lost", "to", to.String(), "error", err)
			return
		}
		best := addrs[0]
		for _, addr := range addrs {
			if a.socks.host.admits(addr) == nil {
				best = addr
				break
			}
		}
		a.mu.Lock()
		if len(a.names) < maxNames {
			a.names[to.name] = best
		}
		a.mu.Unlock()
		a.send(netip.AddrPortFrom(best, to.port), payload)
	})
}

// send puts one datagram into the tunnel, or drops it.
func (a *association) send(to netip.AddrPort, payload []byte) {
	if err := a.socks.host.admits(to.Addr()); err != nil {
		a.socks.log.Debug("socks datagram refused", "to", to, "error", err)
		return
	}
	far, err := a.socket(to.Addr().Is4())
	if err != nil {
		a.socks.log.Debug("socks datagram lost", "to", to, "error", err)
		return
	}
	far.WriteTo(payload, net.UDPAddrFromAddrPort(to))
}

// socket is the association's socket of one family in the tunnel, opened at its first use.
func (a *association) socket(inet4 bool) (*gonet.UDPConn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	family := 0
	if !inet4 {
		family = 1
	}
	if a.ended {
		return nil, net.ErrClosed
	}
	if a.far[family] == nil {
		far, err := a.socks.host.listenUDP(inet4)
		if err != nil {
			return nil, err
		}
		a.far[family] = far
		a.all.Go(func() { a.inward(far) })
	}
	return a.far[family], nil
}

// inward moves answers to the program.
func (a *association) inward(far *gonet.UDPConn) {
	defer a.cancel() // the tunnel is gone, or the association ends anyway
	buf := make([]byte, 1<<16)
	packet := make([]byte, 0, 1<<16)
	for {
		n, from, err := far.ReadFrom(buf)
		if err != nil {
			return
		}
		sender, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		a.touch()
		a.mu.Lock()
		program := a.program
		a.mu.Unlock()
		packet = append(appendDestination(append(packet[:0], 0, 0, 0), sender.AddrPort()), buf[:n]...)
		a.near.WriteToUDPAddrPort(packet, program)
	}
}
