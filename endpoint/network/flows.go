package network

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// forwardTCP carries one connection. The target is dialled first, so that a
// client sees a refusal as a refusal. The stack calls it on a goroutine of the
// connection's own, which ends with the connection.
func (u *Userspace) forwardTCP(r *tcp.ForwarderRequest) {
	client, dst := clientOf(r.ID()), dstOf(r.ID())
	ctx, f, err := u.begin("tcp", client, dst)
	if err != nil {
		u.log.Debug("refused", "kind", "tcp", "client", client, "to", dst, "why", err)
		r.Complete(!errors.Is(err, errGroups))
		return
	}
	defer u.end(f)
	if u.policy.Load().inDemo(dst.Addr()) {
		if conn, _ := u.accept(r); conn != nil {
			if dst.Port() == 80 {
				u.demo.serveHTTP(ctx, conn)
			} else {
				serveDNSStream(ctx, conn)
			}
		}
		return
	}
	out, err := u.dial(ctx, "tcp", client, dst)
	if err != nil {
		u.log.Debug("target did not answer", "kind", "tcp", "client", client, "to", dst, "err", err)
		r.Complete(true)
		return
	}
	target := out.(*net.TCPConn)
	defer target.Close()
	if conn, ep := u.accept(r); conn != nil {
		u.relay(ctx, conn, ep, target)
	}
}

// keptPorts is the first port that is kept: below are those of services, which a client must not take.
const keptPorts = 32768

// dial opens a socket to a target, from the address of the client's association. With one, the client's port stays, as AWS keeps it,
// where it is free.
func (u *Userspace) dial(ctx context.Context, network string, client, dst netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{Timeout: u.limits.Dial}
	source := u.policy.Load().source(client.Addr(), dst.Addr(), u.local)
	from := func(port uint16) {
		if network == "tcp" {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, port))
		} else {
			dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, port))
		}
	}
	if source.IsValid() && client.Port() >= keptPorts {
		from(client.Port())
		out, err := dialer.DialContext(ctx, network, dst.String())
		var call *os.SyscallError
		if !errors.As(err, &call) || call.Syscall != "bind" && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return out, err
		} // somebody has the port
	}
	if source.IsValid() {
		from(0)
	}
	return dialer.DialContext(ctx, network, dst.String())
}

// accept completes the client's handshake; nil if the client is gone.
func (u *Userspace) accept(r *tcp.ForwarderRequest) (*gonet.TCPConn, tcpip.Endpoint) {
	var wq waiter.Queue
	ep, err := r.CreateEndpoint(&wq)
	if err != nil {
		r.Complete(true)
		return nil, nil
	}
	r.Complete(false)
	ep.SocketOptions().SetKeepAlive(true)
	ep.SocketOptions().SetDelayOption(false)
	return gonet.NewTCPConn(&wq, ep), ep
}

// relay copies both ways, each with its own half close, until both are through,
// one fails (which resets the other), nothing moved for the idle time, or ctx ends.
// A slow side holds back the other by its full buffers.
func (u *Userspace) relay(ctx context.Context, client *gonet.TCPConn, ep tcpip.Endpoint, target *net.TCPConn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	use := newUse()
	reset := func() {
		ep.Abort()
		target.SetLinger(0)
		target.Close()
	}
	var wg sync.WaitGroup
	half := func(dst io.Writer, src io.Reader, closeWrite func() error) {
		buf := u.buffers.Get().(*[]byte)
		defer u.buffers.Put(buf)
		for {
			n, err := src.Read(*buf)
			if n > 0 {
				if _, err := dst.Write((*buf)[:n]); err != nil {
					cancel()
					return
				}
				use.moved()
			}
			if errors.Is(err, io.EOF) {
				if closeWrite() != nil {
					cancel()
				}
				return
			}
			if err != nil {
				cancel()
				return
			}
		}
	}
	done := make(chan struct{})
	wg.Go(func() { half(target, client, target.CloseWrite) })
	wg.Go(func() { half(client, target, client.CloseWrite) })
	go func() { wg.Wait(); close(done) }()
	idle := time.NewTimer(u.limits.TCPIdle)
	defer idle.Stop()
	for {
		select {
		case <-done:
			client.Close()
			return
		case <-ctx.Done():
			reset()
			<-done
			return
		case <-idle.C:
			if left := use.left(u.limits.TCPIdle); left > 0 {
				idle.Reset(left)
				continue
			}
			cancel()
		}
	}
}

// forwardUDP carries one flow (one client port to one target port). It must not
// block: the stack calls it while it handles a packet.
func (u *Userspace) forwardUDP(r *udp.ForwarderRequest) {
	client, dst := clientOf(r.ID()), dstOf(r.ID())
	ctx, f, err := u.begin("udp", client, dst)
	if err != nil {
		u.log.Debug("refused", "kind", "udp", "client", client, "to", dst, "why", err)
		return
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	if terr != nil { // another packet of the flow was faster
		u.end(f)
		return
	}
	conn := gonet.NewUDPConn(&wq, ep)
	go func() {
		defer u.end(f)
		defer conn.Close()
		if u.policy.Load().inDemo(dst.Addr()) {
			if dst.Port() == 53 {
				serveDNSPackets(ctx, conn, u.limits.DNSIdle)
			}
			return
		}
		if err := u.relayUDP(ctx, conn, client, dst); err != nil {
			u.log.Debug("flow ended", "kind", "udp", "client", client, "to", dst, "err", err)
		}
	}()
}

func (u *Userspace) relayUDP(ctx context.Context, client *gonet.UDPConn, from, dst netip.AddrPort) error {
	target, err := u.dial(ctx, "udp", from, dst) // connected: only dst's answers come in
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	use := newUse()
	var wg sync.WaitGroup
	half := func(to, from net.Conn, packets *atomic.Int64) {
		defer cancel()
		buf := u.buffers.Get().(*[]byte)
		defer u.buffers.Put(buf)
		for {
			n, err := from.Read(*buf)
			if err != nil {
				return // closed, or refused by the target: the next packet starts a new flow
			}
			packets.Add(1)
			use.moved()
			if _, err := to.Write((*buf)[:n]); err != nil && !transient(err) {
				return
			}
		}
	}
	wg.Go(func() { half(target, client, &use.asked) })
	wg.Go(func() { half(client, target, &use.answered) })
	use.untilIdle(ctx, dst.Port(), &u.limits)
	client.Close()
	target.Close()
	wg.Wait()
	return nil
}

// use is when a flow was used last, and how. Safe for concurrent use.
type use struct {
	start           time.Time
	last            atomic.Int64 // nanoseconds after start
	asked, answered atomic.Int64 // packets, UDP only
}

func newUse() *use { return &use{start: time.Now()} }

func (s *use) moved() { s.last.Store(int64(time.Since(s.start))) }

// left is how long nothing more may move until idle is over.
func (s *use) left(idle time.Duration) time.Duration {
	return time.Duration(s.last.Load()) + idle - time.Since(s.start)
}

// dnsQuestions is how many packets of a flow may be a resolver's: it asks for both families, and again. One with more is
// something else at DNS's port.
const dnsQuestions = 4

// idle is how long nothing may move in a UDP flow, as it was used so far. Most are over with their answer, and would
// take the place of others.
func (s *use) idle(port uint16, l *Limits) time.Duration {
	asked, answered := s.asked.Load(), s.answered.Load()
	switch {
	case port == 53 && asked <= dnsQuestions && answered >= asked && answered > 0:
		return l.DNSIdle
	case asked <= 1 || answered == 0:
		return l.UDPOnce
	}
	return l.UDPIdle
}

// untilIdle returns when a UDP flow to a port has been idle for too long, or ctx ends.
func (s *use) untilIdle(ctx context.Context, port uint16, l *Limits) {
	soonest := min(l.DNSIdle, l.UDPOnce, l.UDPIdle) // what moves meanwhile may make the time shorter
	again := time.NewTimer(soonest)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		left := s.left(s.idle(port, l))
		if left <= 0 {
			return
		}
		again.Reset(min(left, soonest))
	}
}

// transient write errors lose one packet, not the flow.
func transient(err error) bool {
	return errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, syscall.EPERM)
}
