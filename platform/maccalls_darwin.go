package platform

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/net/route"
	"golang.org/x/sys/unix"
)

// kernelCalls are the real macCalls. It has no state.
type kernelCalls struct{}

const (
	// runTime bounds one program, runOutput what it may say.
	runTime   = 10 * time.Second
	runOutput = 1 << 20
)

func (kernelCalls) openTUN(name string, mtu int) (TUN, error) {
	tuns, err := CreateTUN(name, mtu, 1)
	if err != nil {
		return nil, err
	}
	return tuns[0], nil
}

func (kernelCalls) setMTU(device string, mtu int) error { return setMTU(device, mtu) }

func (kernelCalls) ioctl(family int, request uint, argument []byte) error {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(&argument[0]))); errno != 0 {
		return errno
	}
	return nil
}

func (kernelCalls) links() ([]macLink, error) {
	devices, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []macLink
	for _, d := range devices {
		l := macLink{Index: d.Index, Name: d.Name, Hardware: d.HardwareAddr.String()}
		addrs, err := d.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, _ := netip.AddrFromSlice(n.IP)
			if ones, size := n.Mask.Size(); size > 0 && ip.IsValid() {
				if size == 32 {
					ip = ip.Unmap()
				}
				l.Addresses = append(l.Addresses, netip.PrefixFrom(ip, ones))
			}
		}
		out = append(out, l)
	}
	return out, nil
}

func (kernelCalls) table() ([]macRoute, error) {
	raw, err := route.FetchRIB(unix.AF_UNSPEC, route.RIBTypeRoute, 0)
	if err != nil {
		return nil, err
	}
	messages, err := route.ParseRIB(route.RIBTypeRoute, raw)
	if err != nil {
		return nil, err
	}
	var out []macRoute
	for _, m := range messages {
		if rm, ok := m.(*route.RouteMessage); ok {
			if r, ok := routeOf(rm); ok {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// routeOf reads a row of either IP family.
func routeOf(m *route.RouteMessage) (r macRoute, ok bool) {
	at := func(i int) route.Addr {
		if i < len(m.Addrs) {
			return m.Addrs[i]
		}
		return nil
	}
	r = macRoute{Index: m.Index, Flags: m.Flags}
	dst, ok := ipOf(at(unix.RTAX_DST))
	if !ok {
		return r, false
	}
	bits := dst.BitLen()
	if m.Flags&unix.RTF_HOST == 0 {
		bits = 0 // a mask that is left out is the one of the default route
		switch mask := at(unix.RTAX_NETMASK).(type) {
		case *route.Inet4Addr:
			bits, _ = net.IPMask(mask.IP[:]).Size()
		case *route.Inet6Addr:
			bits, _ = net.IPMask(mask.IP[:]).Size()
		}
	}
	r.Destination = netip.PrefixFrom(dst.WithZone(""), bits).Masked()
	if gw, ok := ipOf(at(unix.RTAX_GATEWAY)); ok && m.Flags&unix.RTF_GATEWAY != 0 {
		r.Gateway = gw.WithZone("")
	}
	return r, true
}

func ipOf(a route.Addr) (netip.Addr, bool) {
	switch a := a.(type) {
	case *route.Inet4Addr:
		return netip.AddrFrom4(a.IP), true
	case *route.Inet6Addr:
		return netip.AddrFrom16(a.IP), true
	}
	return netip.Addr{}, false
}

func addrOf(a netip.Addr) route.Addr {
	if a.Is4() {
		return &route.Inet4Addr{IP: a.As4()}
	}
	return &route.Inet6Addr{IP: a.As16()}
}

// linkAddr is a device as a struct sockaddr_dl of full length (net/if_dl.h): with a shorter one the kernel finds no neighbours
// on an Ethernet.
func linkAddr(index int) route.Addr {
	b := make([]byte, 20)
	b[0], b[1] = 20, unix.AF_LINK
	binary.NativeEndian.PutUint16(b[2:], uint16(index))
	return &route.DefaultAddr{Raw: b}
}

func (kernelCalls) change(kind int, r macRoute) error {
	fd, err := unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	text, err := routeMessage(kind, r)
	if err != nil {
		return fmt.Errorf("route message: %w", err)
	}
	// The kernel answers the write itself; what comes back on the socket is for those who want to read it.
	_, err = unix.Write(fd, text)
	return err
}

// routeMessage is the inverse of routeOf, on the wire.
func routeMessage(kind int, r macRoute) ([]byte, error) {
	m := route.RouteMessage{Version: unix.RTM_VERSION, Type: kind, Flags: r.Flags, ID: uintptr(os.Getpid()), Seq: 1, Addrs: make([]route.Addr, unix.RTAX_MAX)}
	m.Addrs[unix.RTAX_DST] = addrOf(r.Destination.Addr())
	if r.Flags&unix.RTF_HOST == 0 {
		m.Addrs[unix.RTAX_NETMASK] = addrOf(netmask(r.Destination))
	}
	m.Addrs[unix.RTAX_GATEWAY] = linkAddr(r.Index)
	if r.Gateway.IsValid() {
		gateway := r.Gateway
		if gateway.IsLinkLocalUnicast() && gateway.Is6() { // the kernel wants the device inside the address, as route(8) says it
			b := gateway.As16()
			binary.BigEndian.PutUint16(b[2:], uint16(r.Index))
			gateway = netip.AddrFrom16(b)
		}
		m.Addrs[unix.RTAX_GATEWAY] = addrOf(gateway)
		if r.Index != 0 {
			m.Addrs[unix.RTAX_IFP] = linkAddr(r.Index)
		}
	}
	return m.Marshal()
}

// routeNotes is a route socket that listens.
type routeNotes struct {
	file *os.File
	buf  []byte
}

func (kernelCalls) notes() (macNotes, error) {
	fd, err := unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// os.File puts the socket under Go's poller, so that Close ends a blocked Read.
	return &routeNotes{file: os.NewFile(uintptr(fd), "route"), buf: make([]byte, 1<<16)}, nil
}

func (n *routeNotes) close() error { return n.file.Close() }

func (n *routeNotes) read() ([]macNote, error) {
	for {
		size, err := n.file.Read(n.buf)
		if errors.Is(err, unix.ENOBUFS) {
			return []macNote{{Kind: macAddrNew}}, nil // notes were lost: assume the worst
		} else if err != nil {
			return nil, err
		}
		messages, err := route.ParseRIB(route.RIBTypeRoute, n.buf[:size])
		if err != nil {
			continue // of a kind that nobody here knows
		}
		var out []macNote
		for _, m := range messages {
			switch m := m.(type) {
			case *route.RouteMessage:
				if m.Err == nil {
					out = append(out, macNote{m.Type, m.Index, m.Flags})
				}
			case *route.InterfaceMessage:
				out = append(out, macNote{m.Type, m.Index, m.Flags})
			case *route.InterfaceAddrMessage:
				out = append(out, macNote{m.Type, m.Index, m.Flags})
			}
		}
		if len(out) > 0 {
			return out, nil
		}
	}
}

func (kernelCalls) every(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTicker(d)
	return t.C, t.Stop
}

// output takes what a program says, as far as there is room.
type output struct{ bytes.Buffer }

func (o *output) Write(b []byte) (int, error) {
	if o.Len()+len(b) > runOutput {
		return 0, errors.New("it says too much")
	}
	return o.Buffer.Write(b)
}

func (kernelCalls) run(ctx context.Context, program string, args []string, text string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	var said output
	c := exec.CommandContext(ctx, program, args...)
	c.Env, c.Dir, c.Stdin, c.Stdout, c.Stderr = []string{}, "/", strings.NewReader(text), &said, &said
	c.WaitDelay = time.Second
	err := c.Run()
	out := said.String()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(afterNoise(out)))
	}
	return out, err
}
