package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch = 64 // messages per system call
)

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// linuxConn is a socket with recvmmsg, sendmmsg and, where the kernel has them,
// UDP_GRO and UDP_SEGMENT. Its buffers are made once: a batch allocates nothing.
type linuxConn struct {
	c         *net.UDPConn
	raw       syscall.RawConn
	local     netip.AddrPort
	inet6     bool // the socket's family, not the peers'
	connected bool
	gro       bool
	gso       atomic.Bool // turned off when the device below turns out not to manage

	r reader

	writing sync.Mutex // guards what follows
	w       writer
	refused refusals
}

// Control sets what must be set before a socket is bound or connected, for net.Dialer and
// net.ListenConfig. Mark and Device mean the same to TCP sockets.
func Control(o Options) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			if o.Mark != 0 {
				if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, o.Mark); err != nil {
					failed = fmt.Errorf("%w %d: %w", ErrMark, o.Mark, err)
				}
			}
			if o.Device != "" {
				if err := unix.BindToDevice(int(fd), o.Device); err != nil {
					failed = errors.Join(failed, fmt.Errorf("send by %s: %w", o.Device, err))
				}
			}
		})
		return errors.Join(err, failed)
	}
}

func newConn(c *net.UDPConn, o Options, connected, wildcard bool) (Conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	l := &linuxConn{c: c, raw: raw, local: localAddr(c), connected: connected}
	var failed error
	err = raw.Control(func(sock uintptr) {
		fd := int(sock)
		family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil {
			failed = fmt.Errorf("ask for the family: %w", err)
			return
		}
		l.inet6 = family == unix.AF_INET6
		raise(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, wish(o.ReceiveBuffer))
		raise(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, wish(o.SendBuffer))
		if _, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT); err == nil {
			l.gso.Store(true)
		}
		if err := mayCut(fd, l.inet6, true); err != nil {
			failed = err
			return
		}
		l.gro = groIsSound() && unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) == nil
		if wildcard {
			failed = askForLocal(fd, l.inet6)
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	l.r.init()
	l.w.init()
	return l, nil
}

// raise sets a buffer's size past the administrator's limit where we may, else up to it.
func raise(fd, force, plain, bytes int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, bytes) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, bytes) // smaller buffers still work
	}
}

// askForLocal makes each message come with the address that it was sent to.
func askForLocal(fd int, inet6 bool) error {
	level, option := unix.SOL_IP, unix.IP_PKTINFO
	if inet6 {
		level, option = unix.SOL_IPV6, unix.IPV6_RECVPKTINFO
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return fmt.Errorf("ask for destination addresses: %w", err)
	}
	return nil
}

// groIsSound reports whether the kernel is 5.12 or newer: older ones have UDP_GRO
// but lose datagrams of trains that pass through a tunnel or a bridge.
func groIsSound() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	return atLeast(unix.ByteSliceToString(name.Release[:]), 5, 12)
}

// atLeast compares a kernel release such as "6.1.0-9-amd64".
func atLeast(release string, major, minor int) bool {
	first, rest, _ := strings.Cut(release, ".")
	second := strings.FieldsFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	a, err := strconv.Atoi(first)
	if err != nil || len(second) == 0 {
		return false
	}
	b, err := strconv.Atoi(second[0])
	return err == nil && (a > major || a == major && b >= minor)
}

func (l *linuxConn) BatchSize() int            { return batch }
func (l *linuxConn) LocalAddr() netip.AddrPort { return l.local }

// BufferSize is the same without GRO: it is also the largest datagram.
func (l *linuxConn) BufferSize() int { return maxDatagram }

func (l *linuxConn) Close() error {
	if err := l.c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// putAddr writes a socket address for the socket's family and returns its length.
func (l *linuxConn) putAddr(to *unix.RawSockaddrInet6, a netip.AddrPort) (uint32, error) {
	addr := a.Addr()
	if !addr.IsValid() {
		return 0, unix.EDESTADDRREQ
	}
	if l.inet6 {
		*to = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: addr.As16()}
		putPort(&to.Port, a.Port())
		if zone := addr.Zone(); zone != "" {
			id, err := zoneID(zone)
			if err != nil {
				return 0, err
			}
			to.Scope_id = id
		}
		return unix.SizeofSockaddrInet6, nil
	}
	if addr = addr.Unmap(); !addr.Is4() {
		return 0, unix.EAFNOSUPPORT
	}
	v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(to)) // the smaller of the two
	*v4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr.As4()}
	putPort(&v4.Port, a.Port())
	return unix.SizeofSockaddrInet4, nil
}

// getAddr is the reverse of putAddr.
func getAddr(from *unix.RawSockaddrInet6) netip.AddrPort {
	switch from.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), getPort(&v4.Port))
	case unix.AF_INET6:
		addr := netip.AddrFrom16(from.Addr).Unmap()
		if from.Scope_id != 0 && addr.Is6() {
			addr = addr.WithZone(strconv.FormatUint(uint64(from.Scope_id), 10))
		}
		return netip.AddrPortFrom(addr, getPort(&from.Port))
	}
	return netip.AddrPort{}
}

// A port in a socket address is in network byte order, whatever the machine's.
func putPort(to *uint16, port uint16) {
	b := (*[2]byte)(unsafe.Pointer(to))
	b[0], b[1] = byte(port>>8), byte(port)
}

func getPort(from *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(from))
	return uint16(b[0])<<8 | uint16(b[1])
}

func zoneID(zone string) (uint32, error) {
	if id, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(id), nil
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("zone %q: %w", zone, err)
	}
	return uint32(ifi.Index), nil
}
