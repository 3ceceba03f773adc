//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/bench/report"
)

const (
	smallSize   = 64 // bytes of UDP payload
	smallPort   = 5301
	smallBatch  = 256
	smallLength = 400 * time.Millisecond // of one trial
	smallBuffer = 8 << 20                // of the receiving socket
	smallLate   = 4 * time.Millisecond
	smallPause  = 300 * time.Microsecond // of the sender, when nothing is due
	smallRest   = time.Millisecond       // of the receiver, which the buffer outlasts: tunnels need the processors
	// What a trial must keep to pass. A machine that is not alone loses a few of a million
	// packets at any rate.
	smallLoss  = 0.001
	smallPace  = 0.97 // of the rate that was asked for
	smallTries = 3    // of one rate
	leastRate  = 4000 // where the search begins
	mostRate   = 4e6

	steadyRate   = 20_000 // of the trials that measure processor time
	steadyTrials = 2
)

// smallPackets searches the highest rate of small UDP packets that goes through without loss.
func smallPackets(ctx context.Context, b *bench, sides []*side) error {
	before := map[string]float64{}
	return b.turns(ctx, sides, int(directions), func(s *side, part int) error {
		d := direction(part)
		l, err := newLane(s, d)
		if err != nil {
			return err
		}
		defer l.close()
		key := s.name + d.String()
		rate, err := search(ctx, max(leastRate, before[key]/3), l.passes)
		if err != nil {
			return err
		}
		before[key] = rate
		b.figures.Add(report.Metric{ID: "packets " + d.String(), Title: "64-byte UDP packets without loss, " + d.String(), Unit: "packets/s"}, s.name, l.best)
		if s.name == plainName {
			return nil
		}
		cost, err := l.cost(s)
		if err != nil {
			return err
		}
		b.figures.Add(report.Metric{ID: "packets processor " + d.String(), Title: fmt.Sprintf("processor time of both ends for a 64-byte UDP packet at %d packets/s, ", steadyRate) + d.String(), Unit: "µs", Less: true, Hide: true}, s.name, cost)
		return nil
	})
}

// cost is the tunnel's processor time for one packet, in microseconds, at a rate that all reach: other
// work on the machine changes it less than the rate without loss.
func (l *lane) cost(s *side) (float64, error) {
	before, err := used(s.all())
	if err != nil {
		return 0, err
	}
	got := int64(0)
	for range steadyTrials {
		if _, err := l.passes(steadyRate); err != nil {
			return 0, err
		}
		got += l.got.Load()
	}
	after, err := used(s.all())
	if err != nil {
		return 0, err
	}
	return float64(after-before) / 1e3 / max(1, float64(got)), nil
}

// search finds the highest rate that passes: in large steps up, then by halves. A rate fails only
// when it does so each time, as other work may have come between.
func search(ctx context.Context, from float64, passes func(rate float64) (bool, error)) (float64, error) {
	try := func(rate float64) (bool, error) {
		for range smallTries {
			if err := ctx.Err(); err != nil {
				return false, context.Cause(ctx)
			}
			if ok, err := passes(rate); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	}
	good, bad := 0.0, 0.0
	for rate := from; rate <= mostRate; rate *= 1.6 {
		ok, err := try(rate)
		if err != nil {
			return 0, err
		}
		if !ok {
			bad = rate
			break
		}
		good = rate
	}
	for bad > good*1.05 {
		rate := (good + bad) / 2
		if rate < 100 { // good is 0: even the first one was too much
			return 0, errors.New("not even 100 packets a second go through without loss")
		}
		ok, err := try(rate)
		if err != nil {
			return 0, err
		}
		if ok {
			good = rate
		} else {
			bad = rate
		}
	}
	return good, nil
}

// lane is a sender on one end of a tunnel and a receiver at the other. Not safe for concurrent use;
// one goroutine of its own receives, until close.
type lane struct {
	from, to net.PacketConn
	sender   *ipv4.PacketConn
	batch    []ipv4.Message
	number   uint64
	best     float64 // highest rate that was reached without loss

	wg    sync.WaitGroup
	trial atomic.Uint64 // what counts
	got   atomic.Int64
}

func newLane(s *side, d direction) (*lane, error) {
	server, err := s.server.ListenPacket("udp4", fmt.Sprintf("%s:%d", target, smallPort))
	if err != nil {
		return nil, err
	}
	client, err := s.client().node.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	l := &lane{from: client, to: server}
	addr := server.LocalAddr()
	if d == toClient {
		if addr, err = meet(client, server); err != nil {
			return nil, errors.Join(err, client.Close(), server.Close())
		}
		l.from, l.to = server, client
	}
	if err := errors.Join(growBuffer(l.to), connectTo(l.from, addr)); err != nil {
		return nil, errors.Join(err, client.Close(), server.Close())
	}
	l.sender = ipv4.NewPacketConn(l.from)
	payload := make([]byte, smallSize)
	for range smallBatch {
		l.batch = append(l.batch, ipv4.Message{Buffers: [][]byte{payload}})
	}
	l.wg.Go(l.receive)
	return l, nil
}

// meet lets the client send first, and says what the server sees as its address.
func meet(client, server net.PacketConn) (net.Addr, error) {
	buf := make([]byte, smallSize)
	for range 20 {
		if _, err := client.WriteTo(buf[:1], server.LocalAddr()); err != nil {
			return nil, err
		}
		if err := server.SetReadDeadline(time.Now().Add(lostAfter)); err != nil {
			return nil, err
		}
		if _, addr, err := server.ReadFrom(buf); err == nil {
			return addr, server.SetReadDeadline(time.Time{})
		}
	}
	return nil, errors.New("no packet of the client arrives")
}

// growBuffer gives a socket room beyond the system's limit (socket(7), SO_RCVBUFFORCE).
func growBuffer(c net.PacketConn) error {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, smallBuffer)
	})
	return errors.Join(err, inner)
}

// connectTo spares the sender the look for a route for each packet.
func connectTo(c net.PacketConn, addr net.Addr) error {
	to := addr.(*net.UDPAddr).AddrPort()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		inner = unix.Connect(int(fd), &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()})
	})
	return errors.Join(err, inner)
}

func (l *lane) close() {
	l.from.Close()
	l.to.Close()
	l.wg.Wait()
}

// receive counts what belongs to the trial.
func (l *lane) receive() {
	conn := ipv4.NewPacketConn(l.to)
	batch := make([]ipv4.Message, smallBatch)
	for i := range batch {
		batch[i].Buffers = [][]byte{make([]byte, smallSize)}
	}
	for {
		n, err := conn.ReadBatch(batch, 0)
		if err != nil {
			return // closed
		}
		count, trial := int64(0), l.trial.Load()
		for _, m := range batch[:n] {
			if m.N == smallSize && binary.BigEndian.Uint64(m.Buffers[0]) == trial {
				count++
			}
		}
		l.got.Add(count)
		if n < len(batch) {
			time.Sleep(smallRest)
		}
	}
}

// passes sends at a rate for one moment and says whether the rate was reached and all arrived.
func (l *lane) passes(rate float64) (bool, error) {
	l.number++
	l.got.Store(0)
	l.trial.Store(l.number)
	binary.BigEndian.PutUint64(l.batch[0].Buffers[0], l.number) // all share the buffer
	sent, err := l.send(rate)
	if err != nil {
		return false, err
	}
	for last := int64(-1); last != l.got.Load(); time.Sleep(50 * time.Millisecond) {
		last = l.got.Load()
	}
	reached, whole := passed(rate*smallLength.Seconds(), float64(sent), float64(l.got.Load()))
	if whole {
		l.best = max(l.best, float64(sent)/smallLength.Seconds())
	}
	return reached && whole, nil
}

// passed judges a trial: whether the sender kept the pace, and whether all arrived.
func passed(planned, sent, got float64) (reached, whole bool) {
	return sent >= smallPace*planned, got >= (1-smallLoss)*sent
}

// send keeps the pace on a thread of its own. What is more than smallLate late is given up, as
// a burst would fill queues that the rate itself would not.
func (l *lane) send(rate float64) (sent int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := time.Now()
	skipped := 0
	for {
		elapsed := time.Since(start)
		if elapsed >= smallLength {
			return sent, nil
		}
		due := int(rate*elapsed.Seconds()) - sent - skipped
		if late := int(rate * smallLate.Seconds()); due > late+smallBatch {
			skipped += due - late
			due = late
		}
		if due < 1 {
			pause := unix.NsecToTimespec(int64(smallPause))
			_ = unix.Nanosleep(&pause, nil) // a signal may end it early
			continue
		}
		n, err := l.sender.WriteBatch(l.batch[:min(due, smallBatch)], 0)
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return sent, err
		}
		sent += max(n, 0)
	}
}
