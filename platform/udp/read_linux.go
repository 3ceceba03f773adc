package udp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiveControl holds UDP_GRO's int and one in6_pktinfo with their headers, on
// any architecture.
const receiveControl = 96

// leastRead is how many messages are asked for when few come.
const leastRead = 4

// reader is the receiving half: one goroutine at a time.
type reader struct {
	transfer
	// room is how many messages one call asks for: twice as many as came, so that a single datagram
	// does not cost the preparation of a whole batch.
	room    int
	names   [batch]unix.RawSockaddrInet6
	control [batch][receiveControl]byte
}

func (r *reader) init() {
	r.prepare(unix.SYS_RECVMMSG)
	r.room = leastRead
	for i := range r.msgs {
		h := &r.msgs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Control = &r.control[i][0]
	}
}

func (l *linuxConn) ReadBatch(ms []Message) (int, error) {
	if len(ms) == 0 {
		return 0, nil
	}
	r := &l.r
	for {
		r.want = min(len(ms), r.room)
		for i := range r.want {
			h := &r.msgs[i].hdr
			h.Namelen = unix.SizeofSockaddrInet6
			h.SetControllen(receiveControl)
			h.Flags = 0
			r.iovs[i].Base = unsafe.SliceData(ms[i].Buf)
			r.iovs[i].SetLen(len(ms[i].Buf))
		}
		err := l.raw.Read(r.call)
		for i := range r.want {
			r.iovs[i].Base = nil // the buffers are the caller's
		}
		switch {
		case r.got >= r.room:
			r.room = min(2*r.room, batch)
		case r.got <= r.room/4:
			r.room = max(r.room/2, leastRead)
		}
		switch {
		case err != nil:
			if errors.Is(err, net.ErrClosed) {
				return 0, net.ErrClosed
			}
			return 0, err
		case r.err != nil:
			if passing(r.err) {
				continue
			}
			return 0, r.err
		}
		if n := r.deliver(ms); n > 0 {
			return n, nil
		}
	}
}

// deliver fills ms from what was received and returns how many are whole.
func (r *reader) deliver(ms []Message) int {
	n := 0
	for i := range r.got {
		h := &r.msgs[i].hdr
		if h.Flags&unix.MSG_TRUNC != 0 {
			continue
		}
		m := &ms[n]
		m.Buf, ms[i].Buf = ms[i].Buf, m.Buf
		m.Addr = getAddr(&r.names[i])
		m.N = int(r.msgs[i].n)
		m.Segment, m.Local = parseControl(r.control[i][:h.Controllen])
		if m.Segment >= m.N {
			m.Segment = 0
		}
		n++
	}
	return n
}

// parseControl reads the kernel's notes about a message: the size of the
// datagrams in a train, 0 if there is none, and where the message was sent to.
func parseControl(b []byte) (segment int, local netip.Addr) {
	for len(b) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			return
		}
		switch {
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 2:
			if len(data) >= 4 {
				segment = int(binary.NativeEndian.Uint32(data))
			} else {
				segment = int(binary.NativeEndian.Uint16(data))
			}
		case h.Level == unix.SOL_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// struct in_pktinfo: index, the address to answer from, the header's destination.
			local = netip.AddrFrom4([4]byte(data[4:8]))
		case h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			local = netip.AddrFrom16([16]byte(data[:16])).Unmap()
		}
		b = rest
	}
	return
}
