//go:build linux

package lab

import (
	"encoding/binary"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tap listens on a wire, as tcpdump would, and keeps what both peers of a
// datagram tunnel say in clear: the first bytes and sizes of their packets.
type tap struct {
	fd   int
	wait sync.WaitGroup

	mu   sync.Mutex
	ways [2]way // to the server, from the server
}

// way is one direction of a wire.
type way struct {
	opcodes map[byte]int    // packets of each
	largest int             // UDP payload of a data packet
	epochs  map[uint16]bool // what the first two bytes of DATA_V2's packet ids were
	control [][]byte        // all control packets
}

// Opcodes of packets (openvpn ssl_pkt.h).
const (
	opDataV1        = 6
	opDataV2        = 9
	opClientResetV3 = 10
	opControlWKC    = 11
)

// tap starts to listen on one of a node's devices, until the test ends.
func (s *site) tap(n *Node, device string) *tap {
	s.t.Helper()
	tp := &tap{}
	for i := range tp.ways {
		tp.ways[i].opcodes, tp.ways[i].epochs = map[byte]int{}, map[uint16]bool{}
	}
	s.ok(n.Do(func() (err error) {
		iface, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if tp.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		wake := unix.NsecToTimeval(int64(100 * time.Millisecond))
		if err := unix.SetsockoptTimeval(tp.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wake); err != nil {
			return err
		}
		return unix.Bind(tp.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: iface.Index})
	}))
	stop := make(chan struct{})
	tp.wait.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n, _, err := unix.Recvfrom(tp.fd, buf, 0); err == nil {
				tp.packet(buf[:n])
			} else if err != syscall.EAGAIN && err != syscall.EINTR {
				return
			}
		}
	})
	s.t.Cleanup(func() { close(stop); tp.wait.Wait(); unix.Close(tp.fd) })
	return tp
}

// packet takes an IP packet.
func (tp *tap) packet(b []byte) {
	head := 40
	switch {
	case len(b) < 20:
		return
	case b[0]>>4 == 4:
		head = int(b[0]&15) * 4
		if b[9] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 { // not the first fragment
			return
		}
	case len(b) >= 48 && b[6] == unix.IPPROTO_FRAGMENT && b[40] == unix.IPPROTO_UDP && binary.BigEndian.Uint16(b[42:])&0xfff8 == 0:
		head = 48
	case len(b) < 40 || b[6] != unix.IPPROTO_UDP:
		return
	}
	if len(b) < head+9 {
		return
	}
	udp := b[head:]
	direction := 0
	switch {
	case binary.BigEndian.Uint16(udp[2:]) == port:
	case binary.BigEndian.Uint16(udp) == port:
		direction = 1
	default:
		return
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	w, op := &tp.ways[direction], udp[8]>>3
	w.opcodes[op]++
	if op != opDataV1 && op != opDataV2 {
		w.control = append(w.control, append([]byte{}, udp[8:]...))
		return
	}
	w.largest = max(w.largest, int(binary.BigEndian.Uint16(udp[4:]))-8)
	if op == opDataV2 && len(udp) >= 8+4+8 {
		w.epochs[binary.BigEndian.Uint16(udp[12:])] = true
	}
}

// seen is what came so far.
func (tp *tap) seen() [2]way {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.ways
}

// checkCell demands that the packets of a cell over UDP have its shape.
func (tp *tap) checkCell(t *testing.T, c cell) {
	t.Helper()
	if c.Transport != "udp" {
		return
	}
	for i, direction := range []string{"to the server", "to the client"} {
		w := tp.seen()[i]
		if w.opcodes[opDataV2] < 500 || w.opcodes[opDataV1] > 0 {
			t.Errorf("packets %s by opcode: %v", direction, w.opcodes)
		}
		if c.Fragment == "fragment" && i == 1 && c.forgetsFragment() {
			continue
		}
		if c.Fragment == "fragment" && w.largest > fragmentSize || c.Fragment == "whole" && w.largest < largeEcho {
			t.Errorf("the largest packet %s has %d bytes", direction, w.largest)
		}
	}
}
