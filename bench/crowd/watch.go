//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/bench/report"
	"github.com/adit-vpn/adit/lab"
	"github.com/adit-vpn/adit/ovpn"
)

// The session that is busy while others connect.
const (
	streamRate   = 100e6 // bits per second of inner packets
	streamPacket = 1400  // bytes of one inner packet
	streamPause  = time.Millisecond
	pingPause    = 5 * time.Millisecond
	late         = time.Second // what has not come by then is lost
	sinkPort     = 5302
	sinkBuffer   = 16 << 20
	maxTrain     = 40 // datagrams; a train has less than 64 KiB
	sinkBatch    = 64 // datagrams
	sinkPause    = 5 * time.Millisecond
)

// watcher is one session with a stream to the target, and pings beside it.
type watcher struct {
	*client
	sink    net.PacketConn
	arrived atomic.Int64 // datagrams of the stream

	sealed  []byte // one batch, for send
	sizes   []int
	segment []byte // control message

	mu    sync.Mutex
	asked map[uint16]time.Time // pings without an answer yet
	took  []float64            // milliseconds

	cancel context.CancelFunc
	wg     sync.WaitGroup
	ended  chan struct{}
	err    error // of the session, when ended is closed
}

// newWatcher connects a session from one node through the server in another.
func newWatcher(from, server *lab.Node, start func(inner func([]byte)) (*client, error)) (*watcher, error) {
	w := &watcher{asked: map[uint16]time.Time{}, ended: make(chan struct{}), segment: make([]byte, unix.CmsgSpace(2))}
	err := server.Do(func() error {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(target), Port: sinkPort})
		if err != nil {
			return err
		}
		w.sink = conn
		raw, err := conn.SyscallConn()
		if err != nil {
			return err
		}
		var failed error
		err = raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, sinkBuffer)
		})
		return errors.Join(err, failed)
	})
	if err != nil {
		return nil, err
	}
	if err := from.Do(func() (err error) { w.client, err = start(w.inner); return err }); err != nil {
		w.sink.Close()
		return nil, err
	}
	w.wg.Go(w.receive)
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	up := make(chan struct{})
	w.wg.Go(func() {
		defer close(w.ended)
		w.err = w.run(ctx, func() { close(up) })
	})
	select {
	case <-up:
		return w, nil
	case <-w.ended:
	case <-time.After(soon):
	}
	w.close()
	return nil, errors.Join(errors.New("the session that is to be watched did not connect"), w.err)
}

// comeFirst lets this process's threads run before all that have no such priority: who watches stands for machines
// that nobody keeps busy. Threads that begin later inherit it, and so do processes.
func comeFirst() error {
	attr := &unix.SchedAttr{Policy: unix.SCHED_RR, Priority: 1}
	for done := map[int]bool{}; ; {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		before := len(done)
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil || done[id] {
				continue
			}
			if err := unix.SchedSetAttr(id, attr, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("priority of thread %d: %w", id, err)
			}
			done[id] = true
		}
		if len(done) == before { // none has begun meanwhile
			return nil
		}
	}
}

// close ends the session.
func (w *watcher) close() {
	w.cancel()
	w.sink.Close()
	w.wg.Wait()
}

// receive counts the stream, which waits in the socket: its buffer holds a second of it, and to be woken for each
// datagram costs more than to read it.
func (w *watcher) receive() {
	conn, ms := ipv4.NewPacketConn(w.sink), make([]ipv4.Message, sinkBatch)
	for i := range ms {
		ms[i].Buffers = [][]byte{make([]byte, 1)} // the rest is nobody's
	}
	for {
		n, err := conn.ReadBatch(ms, 0)
		if err != nil {
			return
		}
		w.arrived.Add(int64(n))
		if n < len(ms) {
			time.Sleep(sinkPause)
		}
	}
}

// inner takes a packet out of the tunnel: answers to pings.
func (w *watcher) inner(packet []byte) {
	now := time.Now()
	if len(packet) < ipv4.HeaderLen || packet[9] != 1 {
		return
	}
	m, err := icmp.ParseMessage(1, packet[ipv4.HeaderLen:])
	if err != nil || m.Type != ipv4.ICMPTypeEchoReply {
		return
	}
	e, ok := m.Body.(*icmp.Echo)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if asked, ok := w.asked[uint16(e.Seq)]; ok {
		delete(w.asked, uint16(e.Seq))
		w.took = append(w.took, now.Sub(asked).Seconds()*1e3)
	}
}

// watch streams and pings until the context ends.
func (w *watcher) watch(ctx context.Context) (*Watch, error) {
	w.mu.Lock()
	w.took = nil
	clear(w.asked)
	w.mu.Unlock()
	before := w.arrived.Load()
	packet := w.datagram()
	var due [][]byte
	start := time.Now()
	nextPing := start
	var result Watch
	tick := time.NewTicker(streamPause)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-w.ended:
			return nil, w.err
		case <-ctx.Done():
		case <-tick.C:
		}
		now := time.Now()
		due = due[:0]
		for want := int(now.Sub(start).Seconds() * streamRate / 8 / streamPacket); result.Sent < want; result.Sent++ {
			due = append(due, packet)
		}
		if !now.Before(nextPing) {
			nextPing = now.Add(pingPause)
			ping, err := w.ping(uint16(result.Pings), now)
			if err != nil {
				return nil, err
			}
			result.Pings++
			due = append(due, ping)
		}
		w.send(now, due)
	}
	result.Seconds = time.Since(start).Seconds()
	for until := time.Now().Add(late); time.Now().Before(until) && int(w.arrived.Load()-before) < result.Sent; {
		time.Sleep(streamPause)
	}
	result.Lost = result.Sent - int(w.arrived.Load()-before)
	w.mu.Lock()
	defer w.mu.Unlock()
	result.NoAnswer = len(w.asked)
	ms := slices.Clone(w.took)
	for range result.NoAnswer {
		ms = append(ms, late.Seconds()*1e3)
	}
	slices.Sort(ms)
	if len(ms) > 0 {
		result.P50, result.P99, result.Max = report.Percentile(ms, 50), report.Percentile(ms, 99), ms[len(ms)-1]
	}
	return &result, nil
}

// send seals packets and sends them: those of one length after the other as one train (UDP_SEGMENT, udp(7)).
func (w *watcher) send(now time.Time, packets [][]byte) {
	list := ovpn.List(packets)
	w.sealed, w.sizes = w.session.Data().Seal(now, w.sealed[:0], 0, &list, w.sizes)
	sealed, sizes := w.sealed, w.sizes
	for len(sizes) > 0 {
		n := 1
		for n < len(sizes) && n < maxTrain && sizes[n] == sizes[0] {
			n++
		}
		oob := w.segment
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		h.SetLen(unix.CmsgLen(2))
		binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], uint16(sizes[0]))
		_, _, _ = w.conn.WriteMsgUDP(sealed[:n*sizes[0]], oob, nil) // counted where it arrives
		sealed, sizes = sealed[n*sizes[0]:], sizes[n:]
	}
}

// datagram is one packet of the stream.
func (w *watcher) datagram() []byte {
	b := header(w.local, netip.MustParseAddr(target), 17, streamPacket)
	udp := b[ipv4.HeaderLen:]
	binary.BigEndian.PutUint16(udp, sinkPort)
	binary.BigEndian.PutUint16(udp[2:], sinkPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp))) // and no checksum
	return b
}

// ping is an echo request to the target.
func (w *watcher) ping(seq uint16, now time.Time) ([]byte, error) {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 1, Seq: int(seq)}}
	body, err := m.Marshal(nil)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.asked[seq] = now
	w.mu.Unlock()
	b := header(w.local, netip.MustParseAddr(target), 1, ipv4.HeaderLen+len(body))
	copy(b[ipv4.HeaderLen:], body)
	return b, nil
}

// header is an IPv4 packet of a size (RFC 791), empty but for its head.
func header(src, dst netip.Addr, protocol byte, size int) []byte {
	b := make([]byte, size)
	b[0], b[8], b[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(b[2:], uint16(size))
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	var sum uint32
	for i := 0; i < ipv4.HeaderLen; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return b
}
