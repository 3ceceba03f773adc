package udp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendControl holds UDP_SEGMENT's uint16 and one in6_pktinfo with their headers,
// on any architecture.
const sendControl = 96

// writer is the sending half, guarded by linuxConn.writing.
type writer struct {
	transfer
	names   [batch]unix.RawSockaddrInet6
	control [batch][sendControl]byte
	ends    [batch]cursor // where in the caller's messages each entry ends
	used    int           // entries that hold the caller's buffers
	trains  [batch]bool   // which entries the kernel is to cut
}

// cursor is a place in a slice of messages: a message and an offset in it.
type cursor struct{ message, offset int }

func (w *writer) init() { w.prepare(unix.SYS_SENDMMSG) }

func (l *linuxConn) WriteBatch(ms []Message) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.write(ms)
}

// write is WriteBatch; the caller holds writing.
func (l *linuxConn) write(ms []Message) error {
	w := &l.w
	defer w.forget()
	var (
		first   error
		at      cursor
		retried = false // the entry at the cursor was tried before
	)
	l.refused.expire()
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	for at.message < len(ms) {
		if err := l.fill(ms, at); err != nil {
			note(err)
			at = cursor{at.message + 1, 0}
			continue
		}
		if err := l.raw.Write(w.call); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return net.ErrClosed
			}
			return err
		}
		if w.err == nil {
			if w.got > 0 {
				at, retried = w.ends[w.got-1], false
			}
			continue
		}
		switch {
		case w.trains[0] && w.err == unix.EIO: // the device below cannot do checksums, or transforms packets
			l.gso.Store(false)
		case w.trains[0] && (w.err == unix.EINVAL || w.err == unix.EMSGSIZE): // not to this peer: its path is narrower
			l.refused.add(ms[at.message].Addr, ms[at.message].Segment)
		case passing(w.err) && !retried:
			note(w.err)
			retried = true
		default:
			note(w.err)
			at, retried = w.ends[0], false
		}
	}
	return first
}

// fill prepares entries from the cursor on. It fails only if the message at the
// cursor cannot be sent at all, and stops before such a message otherwise.
func (l *linuxConn) fill(ms []Message, at cursor) error {
	w := &l.w
	w.want = 0
	gso := l.gso.Load()
	for w.want < batch && at.message < len(ms) {
		m := &ms[at.message]
		i := w.want
		h := &w.msgs[i].hdr
		h.Name, h.Namelen = nil, 0
		if !l.connected {
			size, err := l.putAddr(&w.names[i], m.Addr)
			if err != nil {
				if i > 0 {
					return nil
				}
				return err
			}
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&w.names[i])), size
		}

		end := m.N
		train := false
		if s := m.Segment; s > 0 && m.N-at.offset > s {
			end = at.offset + s
			if gso && l.refused.allow(m.Addr, s) {
				end = min(m.N, at.offset+s*max(1, min(maxSegments, maxTrain/s)))
				train = end-at.offset > s
			}
		}
		// A message of no bytes is still a datagram.
		w.iovs[i].Base = unsafe.SliceData(m.Buf[at.offset:end])
		w.iovs[i].SetLen(end - at.offset)

		size := 0
		w.trains[i] = train
		if train {
			size += putControl(w.control[i][size:], unix.SOL_UDP, unix.UDP_SEGMENT, 2, func(data []byte) {
				binary.NativeEndian.PutUint16(data, uint16(m.Segment))
			})
		}
		if m.Local.IsValid() && !l.connected {
			size += l.putLocal(w.control[i][size:], m.Local)
		}
		h.Control = nil
		if size > 0 {
			h.Control = &w.control[i][0]
		}
		h.SetControllen(size)

		if end >= m.N {
			at = cursor{at.message + 1, 0}
		} else {
			at.offset = end
		}
		w.ends[i] = at
		w.want++
		w.used = max(w.used, w.want)
	}
	return nil
}

// putLocal asks for the source address; 0 bytes if the socket cannot send from it.
func (l *linuxConn) putLocal(b []byte, local netip.Addr) int {
	switch {
	case l.inet6:
		return putControl(b, unix.SOL_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo, func(data []byte) {
			a := local.As16()
			copy(data, a[:])
		})
	case local.Is4():
		return putControl(b, unix.SOL_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo, func(data []byte) {
			a := local.As4()
			copy(data[4:8], a[:]) // ipi_spec_dst
		})
	}
	return 0
}

// putControl writes one control message with size bytes of zeroed data, which
// set fills, and returns the space it takes.
func putControl(b []byte, level, kind int32, size int, set func(data []byte)) int {
	space := unix.CmsgSpace(size)
	clear(b[:space])
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(size))
	set(b[unix.CmsgLen(0):][:size])
	return space
}

// forget drops the caller's buffers.
func (w *writer) forget() {
	for i := range w.used {
		w.iovs[i].Base = nil
	}
	w.used = 0
}
